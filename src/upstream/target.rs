//! [`Target`]: whom to ask, as a URL in a setting names it.
//!
//! Owns the syntax of these URLs. Refuses what has two readings, and says what to write instead.
//! No message repeats any part of the URL: it may hold a password.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::redis::Login;

/// Another server that this one asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    place: Place,
    security: Security,
    protocol: Protocol,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Tcp {
        /// Host name or IP address, without brackets, in lower case.
        host: String,
        /// Port, never 0.
        port: u16,
    },
    /// A Unix socket, by the absolute path of its file.
    Unix(PathBuf),
    /// Wherever one of these Sentinels says that the master is.
    Sentinels {
        /// Host names or IP addresses, and ports; at least one.
        hosts: Vec<(String, u16)>,
        /// What the Sentinels call the master.
        master: String,
        /// Who we are for them.
        login: Login,
    },
}

/// What is spoken below the target's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
}

/// What a target speaks, with what its URL says about that.
#[derive(Clone, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http {
        /// Host and port as the header `Host` has them.
        authority: String,
        /// Path and query; begins with `/`.
        path: String,
    },
    /// RESP2, of Redis or Valkey.
    Redis(Login),
}

/// Where one connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a URL names no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Neither `http://` nor `https://` nor `unix:/`.
    Scheme,
    /// A user or a password before the host.
    Userinfo,
    /// No host name and no IP address.
    Host,
    /// Not a port from 1 to 65535.
    Port,
    /// A character that no URL holds.
    Character,
    /// A `#`, which is never sent.
    Fragment,
    /// The path of a Unix socket is not absolute, or longer than the system allows.
    SocketPath,
    /// Behind the path of a Unix socket stands something else than `:/PATH`.
    UnixPath,
}

impl Target {
    /// Reads the URL of something that speaks HTTP: `http://HOST[:PORT][/PATH]`,
    /// `https://HOST[:PORT][/PATH]` or `unix:/SOCKET[:/PATH]`.
    ///
    /// A host is a name in ASCII, an IPv4 address or, in brackets, an IPv6 address.
    pub fn http(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once(':').ok_or(TargetError::Scheme)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "http" => Security::Plain,
            "https" => Security::Tls,
            "unix" => return Self::http_over_unix(rest),
            _ => return Err(TargetError::Scheme),
        };
        let rest = rest.strip_prefix("//").ok_or(TargetError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(TargetError::Userinfo);
        }
        let default_port = match security {
            Security::Plain => 80,
            Security::Tls => 443,
        };
        let (host, port) = read_authority(authority)?;
        Ok(Self {
            place: Place::Tcp {
                host,
                port: port.unwrap_or(default_port),
            },
            security,
            protocol: Protocol::Http {
                authority: authority.to_ascii_lowercase(),
                path: read_path(path)?,
            },
        })
    }

    /// `/SOCKET[:/PATH]`, the way nginx writes it.
    fn http_over_unix(rest: &str) -> Result<Self, TargetError> {
        let (socket, path) = match rest.split_once(":/") {
            Some((socket, _)) => rest.split_at(socket.len()),
            None => (rest, ":/"),
        };
        let is_path = |c: char| !c.is_control() && c != ':';
        if !socket.starts_with('/') || socket.len() > MAX_SOCKET_PATH_BYTES {
            return Err(TargetError::SocketPath);
        }
        if !socket.chars().all(is_path) {
            return Err(TargetError::UnixPath);
        }
        Ok(Self {
            place: Place::Unix(socket.into()),
            security: Security::Plain,
            protocol: Protocol::Http {
                authority: "localhost".to_owned(),
                path: read_path(path.get(1..).unwrap_or_default())?,
            },
        })
    }

    /// A target of these parts.
    pub(super) fn new(place: Place, security: Security, protocol: Protocol) -> Self {
        Self {
            place,
            security,
            protocol,
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is spoken below its protocol.
    pub fn security(&self) -> Security {
        self.security
    }

    /// What it speaks.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The name that its certificate has to bear, a host name or an IP address; `None` without
    /// TLS.
    pub fn server_name(&self) -> Option<&str> {
        match (&self.place, self.security) {
            (Place::Tcp { host, .. }, Security::Tls) => Some(host),
            _ => None,
        }
    }

    /// Whether TLS is spoken.
    pub fn is_encrypted(&self) -> bool {
        self.security == Security::Tls
    }

    /// Its addresses, in the order in which to try them, as far as no name has to be looked up for
    /// them: those of a Unix socket, of an IP address and of `localhost`, which is 127.0.0.1 and
    /// ::1 whatever the hosts file says. Empty: the name has to be looked up.
    pub fn fixed_addresses(&self) -> Vec<Address> {
        match &self.place {
            Place::Unix(path) => vec![Address::Unix(path.clone())],
            Place::Sentinels { .. } => Vec::new(),
            Place::Tcp { host, port } => {
                let tcp = |ip| Address::Tcp(SocketAddr::new(ip, *port));
                literal_addresses(host).into_iter().map(tcp).collect()
            }
        }
    }
}

/// Scheme, host and port, and path or database. Neither the query nor a user: they may be secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = match self.security {
            Security::Plain => "",
            Security::Tls => "s",
        };
        match (&self.protocol, &self.place) {
            (Protocol::Http { authority, path }, place) => {
                let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
                match place {
                    Place::Unix(socket) => write!(f, "unix:{}:{path}", socket.display()),
                    Place::Tcp { .. } | Place::Sentinels { .. } => {
                        write!(f, "http{s}://{authority}{path}")
                    }
                }
            }
            (Protocol::Redis(_), Place::Unix(socket)) => write!(f, "unix:{}", socket.display()),
            (Protocol::Redis(login), Place::Tcp { host, port }) => {
                let database = login.database;
                write!(f, "redis{s}://{}:{port}/{database}", bracketed(host))
            }
            (Protocol::Redis(_), Place::Sentinels { hosts, master, .. }) => {
                let show = |(host, port): &(String, u16)| format!("{}:{port}", bracketed(host));
                let hosts: Vec<_> = hosts.iter().map(show).collect();
                write!(f, "redis{s}+sentinel://{}/{master}", hosts.join(","))
            }
        }
    }
}

/// A host as a URL has it.
fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// As `Display` shows it: what may be secret is left out here, too.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Without the query: it may hold a token.
impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { authority, .. } => write!(f, "Http({authority})"),
            Self::Redis(login) => write!(f, "Redis({login:?})"),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => {
                "the URL has a scheme that cannot be asked: write http://HOST/PATH, \
                 https://HOST/PATH or unix:/SOCKET:/PATH"
            }
            Self::Userinfo => {
                "the URL holds a user or a password: leave out everything up to the @"
            }
            Self::Host => {
                "the URL names no host: write a name (beyond ASCII as xn--…), an IPv4 address, \
                 or an IPv6 address in brackets"
            }
            Self::Port => "the port in the URL is out of range: write one from 1 to 65535",
            Self::Character => {
                "the URL holds a blank or another character that no URL holds: percent-encode it"
            }
            Self::Fragment => "the URL holds a #, and what follows is never sent: leave it out",
            Self::SocketPath => {
                "the path of the Unix socket is not usable: write an absolute one of at most \
                 107 bytes"
            }
            Self::UnixPath => {
                "the URL of the Unix socket is not unix:/SOCKET:/PATH: begin the path behind \
                 the colon with /"
            }
        })
    }
}

impl std::error::Error for TargetError {}

/// The addresses that `host` means without being looked up: an IP address its own, `localhost`
/// both loopback addresses; none for other names.
pub(crate) fn literal_addresses(host: &str) -> Vec<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    host.parse().into_iter().collect()
}

/// Host, in lower case and without brackets, and port.
pub(super) fn read_authority(authority: &str) -> Result<(String, Option<u16>), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or(TargetError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| TargetError::Host)?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return Err(TargetError::Host),
            }
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            if !is_host_name(host) {
                return Err(TargetError::Host);
            }
            (host, port)
        }
    };
    Ok((host.to_ascii_lowercase(), port.map(read_port).transpose()?))
}

/// Whether `host` is a name that can be looked up, or an IPv4 address in its usual form. The
/// system's resolver would also take `127.1` and `0x7f000001`.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_fine)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x"));
    host.len() <= 253
        && host.split('.').all(is_label)
        && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
}

fn read_port(text: &str) -> Result<u16, TargetError> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok());
    port.filter(|port| *port != 0).ok_or(TargetError::Port)
}

/// Path and query as a request line has them (RFC 9112 §3.2.1).
fn read_path(text: &str) -> Result<String, TargetError> {
    if text.contains('#') {
        return Err(TargetError::Fragment);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TargetError::Character);
    }
    Ok(match text.strip_prefix('/') {
        Some(_) => text.to_owned(),
        None => format!("/{text}"),
    })
}

/// `sun_path` of Linux holds 108 bytes, the last of which is NUL.
pub(super) const MAX_SOCKET_PATH_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, TargetError> {
        let target = Target::http(url)?;
        let Protocol::Http { authority, path } = target.protocol() else {
            panic!("{target:?}");
        };
        Ok(match target.place() {
            Place::Tcp { host, port } => {
                format!("{:?} {host} {port} {authority} {path}", target.security())
            }
            Place::Unix(socket) => format!("unix {} {authority} {path}", socket.display()),
            Place::Sentinels { .. } => panic!("{target}"),
        })
    }

    #[test]
    fn urls_are_read() {
        for (url, expected) in [
            ("http://a", "Plain a 80 a /"),
            (
                "HTTPS://Shop.Example/auth.php",
                "Tls shop.example 443 shop.example /auth.php",
            ),
            (
                "http://127.0.0.1:8080/a?b=c:d/e@f",
                "Plain 127.0.0.1 8080 127.0.0.1:8080 /a?b=c:d/e@f",
            ),
            ("http://a?b", "Plain a 80 a /?b"),
            (
                "http://php_fpm.local:1/",
                "Plain php_fpm.local 1 php_fpm.local:1 /",
            ),
            (
                "http://3com.example/",
                "Plain 3com.example 80 3com.example /",
            ),
            ("https://[::1]:65535/x", "Tls ::1 65535 [::1]:65535 /x"),
            (
                "https://[2001:DB8::1]",
                "Tls 2001:db8::1 443 [2001:db8::1] /",
            ),
            (
                "unix:/run/php/auth.sock:/auth?x=:/y",
                "unix /run/php/auth.sock localhost /auth?x=:/y",
            ),
            (
                "unix:/run/with blank.sock",
                "unix /run/with blank.sock localhost /",
            ),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        use TargetError::*;
        let long = format!("http://{}/", "a.".repeat(127) + "aa");
        let long_socket = format!("unix:/{}", "a".repeat(107));
        for (url, expected) in [
            ("", Scheme),
            ("a", Scheme),
            ("localhost:8080/auth", Scheme),
            ("ftp://a/", Scheme),
            ("http:/a", Scheme),
            ("http:a", Scheme),
            (" http://a/", Scheme),
            ("redis://a/", Scheme),
            ("http://user@a/", Userinfo),
            ("http://user:secret@a/", Userinfo),
            ("http://@a/", Userinfo),
            ("http://", Host),
            ("http:///a", Host),
            ("http://:80/", Host),
            ("http://a..b/", Host),
            ("http://.a/", Host),
            ("http://a b/", Host),
            ("http://a%41/", Host),
            ("http://käse/", Host),
            ("http://::1/", Host),
            ("http://[::1/", Host),
            ("http://[::1]x/", Host),
            ("http://[1.2.3.4]/", Host),
            ("http://[fe80::1%eth0]/", Host),
            ("http://127.1/", Host),
            ("http://0x7f000001/", Host),
            ("http://0x7f.1/", Host),
            ("http://2130706433/", Host),
            ("http://1.2.3.256/", Host),
            (&long, Host),
            ("http://a:/", Port),
            ("http://a:0/", Port),
            ("http://a:+80/", Port),
            ("http://a:65536/", Port),
            ("http://a:80:80/", Port),
            ("http://[::1]:x/", Port),
            ("http://a/b c", Character),
            ("http://a/b\r\nX: y", Character),
            ("http://a/ä", Character),
            ("http://a/#b", Fragment),
            ("http://a#b", Fragment),
            ("unix:", SocketPath),
            ("unix:run/a.sock", SocketPath),
            ("unix::/a", SocketPath),
            (&long_socket, SocketPath),
            ("unix:/a.sock:auth", UnixPath),
            ("unix:/a\0b", UnixPath),
            ("unix:/a.sock:/b c", Character),
        ] {
            assert_eq!(shown(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn nothing_shown_holds_what_may_be_secret() {
        for url in ["http://a/b?token=secret", "unix:/s:/b?secret"] {
            let target = Target::http(url).unwrap();
            let shown = format!("{target} {target:?} {:?}", target.protocol());
            assert!(!shown.contains("secret"), "{shown}");
        }
        for url in ["http://user:secret@a/", "secret", "http://a:secret/"] {
            let error = Target::http(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_names_have_to_be_looked_up() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (url, expected) in [
            ("http://127.0.0.1:81", vec![tcp("127.0.0.1:81")]),
            ("https://[::1]", vec![tcp("[::1]:443")]),
            (
                "http://LOCALHOST",
                vec![tcp("127.0.0.1:80"), tcp("[::1]:80")],
            ),
            ("unix:/a", vec![Address::Unix("/a".into())]),
            ("http://a.example", vec![]),
        ] {
            let target = Target::http(url).unwrap();
            assert_eq!(target.fixed_addresses(), expected, "{url}");
        }
    }

    #[test]
    fn the_certificate_bears_the_host() {
        for (url, expected) in [
            ("https://a:81/", Some("a")),
            ("https://[::1]/", Some("::1")),
            ("http://a/", None),
            ("unix:/a", None),
        ] {
            assert_eq!(Target::http(url).unwrap().server_name(), expected, "{url}");
        }
    }
}
