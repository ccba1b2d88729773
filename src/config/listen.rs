//! The value of `adress` → the addresses to listen on.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use super::value::{Wanted, list};

/// How a listener talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP: `ws`, `tcp`, or no scheme.
    Ws,
    /// TLS: `wss` or `ssl`.
    Wss,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    /// As it stands in websock.ini or on the command line, for messages.
    pub as_written: String,
}

impl Listen {
    /// The socket addresses that this one stands for, without duplicates.
    ///
    /// `localhost` is 127.0.0.1 and ::1, whatever the hosts file says: browsers try both. Other
    /// names are looked up, which can take as long as the system's resolver takes, and fail.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if self.host.eq_ignore_ascii_case("localhost") {
            let both = [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ];
            return Ok(both.map(|ip| SocketAddr::new(ip, self.port)).to_vec());
        }
        let mut addresses = Vec::new();
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_written)
    }
}

/// Reads a comma-separated list of addresses: at least one, none twice.
pub(super) fn listeners(text: &str) -> Result<Vec<Listen>, Wanted> {
    let mut listeners: Vec<Listen> = Vec::new();
    for part in list(text) {
        let listen = listener(part)?;
        let same = |other: &Listen| {
            listen.port != 0 && (&listen.host, listen.port) == (&other.host, other.port)
        };
        if listeners.iter().any(same) {
            return Err(format!("{part} is there twice"));
        }
        listeners.push(listen);
    }
    if listeners.is_empty() {
        return Err(format!("an address is wanted, {EXAMPLE}"));
    }
    Ok(listeners)
}

fn listener(text: &str) -> Result<Listen, Wanted> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (read_scheme(scheme)?, rest),
        None => (Scheme::Ws, text),
    };
    let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest))
        .filter(|(host, _)| is_host(host))
        .ok_or_else(|| {
            format!("{text} is no address; [SCHEME://]HOST[:PORT] is wanted, {EXAMPLE}")
        })?;
    let port = match (port, scheme) {
        (Some(port), _) => port
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| port.parse().ok())
            .flatten()
            .ok_or_else(|| format!("port {port} is none; a port from 0 to 65535 is wanted"))?,
        (None, Scheme::Ws) => 80,
        (None, Scheme::Wss) => 443,
    };
    Ok(Listen {
        scheme,
        host: host.to_owned(),
        port,
        as_written: text.to_owned(),
    })
}

fn read_scheme(text: &str) -> Result<Scheme, Wanted> {
    match text.to_ascii_lowercase().as_str() {
        "ws" | "tcp" => Ok(Scheme::Ws),
        "wss" | "ssl" => Ok(Scheme::Wss),
        _ => Err(format!(
            "scheme {text} is unknown; ws, tcp, wss or ssl is wanted"
        )),
    }
}

/// Host and port as texts; several colons outside brackets are a bare IPv6 address.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match behind {
            "" => Some((host, None)),
            _ => Some((host, Some(behind.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// An address, or a name of letters, digits, dots, dashes and underscores that does not look like
/// a broken address.
fn is_host(text: &str) -> bool {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.parse::<IpAddr>().is_ok()
        || !text.is_empty()
            && text.bytes().all(name_byte)
            && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

const EXAMPLE: &str = "such as ws://localhost:8096 or 0.0.0.0:8096 or [::]:8096";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_phps_schemes_and_default_ports() {
        let table = [
            ("ws://localhost:8096", Some("localhost 8096")),
            ("tcp://localhost:8096", Some("localhost 8096")),
            ("WS://localhost:8096", Some("localhost 8096")),
            ("localhost:8096", Some("localhost 8096")),
            ("ws://localhost:8096/", Some("localhost 8096")),
            ("ws://example.org", Some("example.org 80")),
            ("0.0.0.0:0", Some("0.0.0.0 0")),
            ("[::1]:8096", Some("::1 8096")),
            ("ws://[::]", Some(":: 80")),
            ("::1", Some("::1 80")),
            ("my_host-1:1", Some("my_host-1 1")),
            ("ws://a:1, ws://b:2", Some("a 1|b 2")),
            ("127.0.0.1:0,127.0.0.1:0", Some("127.0.0.1 0|127.0.0.1 0")),
            ("", None),
            (" , ", None),
            ("ws://", None),
            ("ws://:8096", None),
            ("http://localhost:8096", None),
            ("localhost:65536", None),
            ("localhost:", None),
            ("localhost:+80", None),
            ("localhost:http", None),
            ("[::1", None),
            ("[localhost]:1", None),
            ("[::1]8096", None),
            ("1.2.3:80", None),
            ("256.1.1.1:80", None),
            ("a b:80", None),
            ("*:8096", None),
            ("ws://a/b:1", None),
            ("a:1,a:1", None),
            ("1:2:3", None),
        ];
        for (text, expected) in table {
            let shown = listeners(text).ok().map(|all| {
                let each = all
                    .iter()
                    .map(|listen| format!("{} {}", listen.host, listen.port));
                each.collect::<Vec<_>>().join("|")
            });
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn wss_and_ssl_are_tls() {
        for text in ["wss://localhost", "ssl://localhost", "WSS://localhost:443"] {
            let listen = listener(text).unwrap();
            assert_eq!((listen.scheme, listen.port), (Scheme::Wss, 443), "{text}");
        }
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_an_address_is_itself() {
        let table = [
            ("localhost:8096", vec!["127.0.0.1:8096", "[::1]:8096"]),
            ("LocalHost:0", vec!["127.0.0.1:0", "[::1]:0"]),
            ("[::1]:0", vec!["[::1]:0"]),
            ("10.0.0.1", vec!["10.0.0.1:80"]),
        ];
        for (text, expected) in table {
            let addresses = listener(text)
                .expect(text)
                .resolve()
                .expect("no look-up needed");
            let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{text}");
        }
    }
}
