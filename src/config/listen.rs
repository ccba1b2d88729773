//! The value of `adress` → the addresses to listen on.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::value::{Expected, is_host, list};
use crate::app::peer::ListenerRole;
use crate::net::{Endpoint, ListenAddress, ProxyProtocol, Security, SocketFile};

/// One entry of `adress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What it means.
    pub endpoint: Endpoint,
    /// As it stands in websock.ini or on the command line, for messages.
    pub as_written: String,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_written)
    }
}

/// Reads a comma-separated list of addresses: at least one, none twice.
pub(super) fn listeners(text: &str) -> Result<Vec<Listen>, Expected> {
    let mut listeners: Vec<Listen> = Vec::new();
    for part in list(text) {
        let listen = listener(part)?;
        let address = &listen.endpoint.address;
        let is_fixed = !matches!(address, ListenAddress::Tcp { port: 0, .. });
        let same = |other: &Listen| is_fixed && is_same(address, &other.endpoint.address);
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

fn is_same(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one.path == other.path,
        _ => one == other,
    }
}

/// An address and the words behind it.
fn listener(text: &str) -> Result<Listen, Expected> {
    let mut words = text.split_whitespace();
    let address = words.next().unwrap_or_default();
    let mut endpoint = match address.strip_prefix("unix:") {
        Some(path) => socket_file(path)?,
        None => tcp(address)?,
    };
    for word in words {
        take_word(&mut endpoint, word)?;
    }
    Ok(Listen {
        endpoint,
        as_written: text.to_owned(),
    })
}

fn take_word(endpoint: &mut Endpoint, word: &str) -> Result<(), Expected> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let options = &mut endpoint.options;
    match (name, value, &mut endpoint.address) {
        ("web", None, _) => options.role = ListenerRole::Web,
        ("scripts", None, _) => options.role = ListenerRole::Scripts,
        ("proxy", None, _) => options.proxy_protocol = ProxyProtocol::ProxyHeader,
        ("mode", Some(mode), ListenAddress::Unix(file)) => file.mode = file_mode(mode)?,
        ("group", Some(group), ListenAddress::Unix(file)) if !group.is_empty() => {
            file.group = Some(group.to_owned());
        }
        ("mode" | "group", Some(_), ListenAddress::Tcp { .. }) => {
            return Err(format!("{word} is for a unix: socket only"));
        }
        _ => {
            return Err(format!(
                "{word} is unknown; behind an address web, scripts or proxy is wanted, \
                 behind a unix: socket also mode=660 or group=NAME"
            ));
        }
    }
    Ok(())
}

fn file_mode(text: &str) -> Result<u32, Expected> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| (1..=0o777).contains(mode) && !text.starts_with('+'))
        .ok_or_else(|| format!("mode={text} is none; permission bits such as 660 are wanted"))
}

fn socket_file(path: &str) -> Result<Endpoint, Expected> {
    if !path.starts_with('/') || path.len() > MAX_SOCKET_PATH || path.contains('\0') {
        return Err(format!(
            "unix:{path} is no socket; unix: and an absolute path of up to {MAX_SOCKET_PATH} bytes \
             is wanted, such as unix:/run/websock/websock.sock"
        ));
    }
    let address = ListenAddress::Unix(SocketFile {
        path: PathBuf::from(path),
        mode: 0o660,
        group: None,
    });
    let tcp = Endpoint::tcp("", 0, Security::Plain);
    Ok(Endpoint { address, ..tcp })
}

fn tcp(text: &str) -> Result<Endpoint, Expected> {
    let (security, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (read_scheme(scheme)?, rest),
        None => (Security::Plain, text),
    };
    let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest))
        .filter(|(host, port)| is_host(host) && !port.is_some_and(|port| port.contains(PATH_BYTES)))
        .ok_or_else(|| no_address(text, rest))?;
    let port = match (port, security) {
        (Some(port), _) => port
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| port.parse().ok())
            .flatten()
            .ok_or_else(|| format!("port {port} is none; a port from 0 to 65535 is wanted"))?,
        (None, Security::Plain) => 80,
        (None, Security::Tls) => 443,
    };
    Ok(Endpoint::tcp(host, port, security))
}

/// What is wrong with `text`, whose part behind the scheme is `rest`, and the address that may be
/// meant.
fn no_address(text: &str, rest: &str) -> Expected {
    let scheme = text.strip_suffix(rest).unwrap_or_default();
    let (place, path) = rest.split_at(rest.find(PATH_BYTES).unwrap_or(rest.len()));
    let is_place = |place: &str| tcp(&format!("{scheme}{place}")).is_ok();
    if !path.is_empty() && is_place(place) {
        return format!(
            "{text} has a path, and all paths are served on each address; {scheme}{place} is wanted"
        );
    }
    let port = place.strip_prefix('*').unwrap_or(place);
    let port = port.strip_prefix(':').unwrap_or(port);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && is_place(&format!("localhost:{port}")) {
        let scheme = if scheme.is_empty() { "ws://" } else { scheme };
        return format!(
            "{text} has no host; {scheme}localhost:{port} is wanted, or {scheme}0.0.0.0:{port} \
             to be reached from other machines"
        );
    }
    format!("{text} is no address; [SCHEME://]HOST[:PORT] is wanted, {EXAMPLE}")
}

fn read_scheme(text: &str) -> Result<Security, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "ws" | "tcp" => Ok(Security::Plain),
        "wss" | "ssl" => Ok(Security::Tls),
        "http" => {
            Err("scheme http is unknown; ws is wanted, which answers HTTP as well".to_owned())
        }
        "https" => {
            Err("scheme https is unknown; wss is wanted, which answers HTTPS as well".into())
        }
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

/// Bytes of a Unix socket's name that every system takes (sockaddr_un, unix(7)).
const MAX_SOCKET_PATH: usize = 103;

/// What begins a path, a query or a fragment.
const PATH_BYTES: [char; 3] = ['/', '?', '#'];

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
                let each = all.iter().map(|listen| shown(&listen.endpoint));
                each.collect::<Vec<_>>().join("|")
            });
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_newcomers_write_is_told_with_what_is_meant() {
        let table = [
            ("ws://localhost:9001/web", "; ws://localhost:9001 is wanted"),
            ("localhost:9001/web", "; localhost:9001 is wanted"),
            ("wss://[::1]:1/?a", "; wss://[::1]:1 is wanted"),
            ("ws://a:1//", "; ws://a:1 is wanted"),
            (
                "9001",
                "; ws://localhost:9001 is wanted, or ws://0.0.0.0:9001",
            ),
            (":9001", "; ws://localhost:9001 is wanted"),
            ("*:9001", "; ws://localhost:9001 is wanted"),
            ("wss://:443", "; wss://localhost:443 is wanted"),
            ("http://a:1", "ws is wanted"),
            ("https://a:1", "wss is wanted"),
            ("99999", "is no address"),
            ("a b", "b is unknown"),
            ("ws:///web", "is no address"),
        ];
        for (text, expected) in table {
            let error = listeners(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    fn shown(endpoint: &Endpoint) -> String {
        match &endpoint.address {
            ListenAddress::Tcp { host, port } => format!("{host} {port}"),
            ListenAddress::Unix(file) => {
                let group = file.group.as_deref().unwrap_or("-");
                format!("{} {:o} {group}", file.path.display(), file.mode)
            }
        }
    }

    #[test]
    fn wss_and_ssl_are_tls() {
        for text in ["wss://localhost", "ssl://localhost", "WSS://localhost:443"] {
            let endpoint = listener(text).unwrap().endpoint;
            assert_eq!(endpoint.options.security, Security::Tls, "{text}");
            assert_eq!(shown(&endpoint), "localhost 443");
        }
    }

    #[test]
    fn unix_sockets_have_a_mode_and_a_group() {
        let long = format!("unix:/{}", "a".repeat(MAX_SOCKET_PATH));
        let table = [
            ("unix:/run/a.sock", Some("/run/a.sock 660 -")),
            ("unix:/a mode=600 group=www-data", Some("/a 600 www-data")),
            ("unix:/a scripts\tmode=0777", Some("/a 777 -")),
            ("unix:a.sock", None),
            ("unix:", None),
            (&long, None),
            ("unix:/a mode=999", None),
            ("unix:/a mode=1777", None),
            ("unix:/a mode=0", None),
            ("unix:/a mode=+66", None),
            ("unix:/a group=", None),
            ("unix:/a, unix:/a mode=600", None),
            ("ws://a mode=600", None),
        ];
        for (text, expected) in table {
            let all = listeners(text).ok();
            let read = all.map(|all| shown(&all[0].endpoint));
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn words_say_whom_a_listener_is_for() {
        let options = |text| listener(text).ok().map(|listen| listen.endpoint.options);
        let role = |text| options(text).map(|options| options.role);
        assert_eq!(role("ws://a:1"), Some(ListenerRole::All));
        assert_eq!(role("ws://a:1 scripts"), Some(ListenerRole::Scripts));
        assert_eq!(role("ws://a:1  web proxy"), Some(ListenerRole::Web));
        let opening = |text| options(text).map(|options| options.proxy_protocol);
        assert_eq!(
            opening("ws://a:1 web proxy"),
            Some(ProxyProtocol::ProxyHeader)
        );
        assert_eq!(opening("ws://a:1 web"), Some(ProxyProtocol::None));
        for text in ["ws://a:1 Web", "ws://a:1 php", "a:1 proxy=on", "a:1 web="] {
            assert_eq!(options(text), None, "{text}");
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
                .endpoint
                .resolve()
                .expect("no look-up needed");
            let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{text}");
        }
    }
}
