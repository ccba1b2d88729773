//! Hosts as HTTP and URLs write them (RFC 9110 §4.2.3, RFC 3986 §3.2.2): text → [`Host`].
//!
//! A host is a name or an address, with or without a port, and nothing else. The grammar of URLs
//! would allow more (percent-encoding, user names, ports of any length), but no client sends that,
//! and what two readers take apart differently lets one of them be deceived.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name or an address, perhaps with a port, borrowed from its text.
///
/// Two are equal if their texts are; compare [`name`](Self::name) or [`ip`](Self::ip) to ask for
/// the same host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    text: &'a str,
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`. `None` for any other text.
    ///
    /// A name consists of ASCII letters, digits, hyphens and underscores, in labels between dots;
    /// one dot may end it (RFC 1034 §3.1). Only IPv6 addresses stand in brackets. A port is 1 to
    /// 65535, without a sign and without leading zeros.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, behind) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, behind) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (address, behind)
            }
            None => {
                let (name, behind) = text.split_at(text.find(':').unwrap_or(text.len()));
                let name = name.strip_suffix('.').unwrap_or(name);
                if !is_name(name) {
                    return None;
                }
                (name, behind)
            }
        };
        let port = match behind {
            "" => None,
            _ => Some(parse_port(behind.strip_prefix(':')?)?),
        };
        Some(Self { text, name, port })
    }

    /// The whole text, as it was sent.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The name, without the dot that may end it, or the address, without brackets. Names have no
    /// case.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The port, if one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, if this is one; an IPv4 address that is written as IPv6 as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        if self.text.starts_with('[') {
            let ip = self.name.parse::<Ipv6Addr>().ok()?;
            return Some(ip.to_canonical());
        }
        self.name.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Underscores are no part of host names (RFC 952), but Docker and Windows give such names.
fn is_name(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_name_byte);
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label)
}

/// A port as it is written when a number is.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain =
        matches!(text.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Longest name of the DNS as text (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for (text, name, port) in [
            ("localhost", "localhost", None),
            ("localhost:8096", "localhost", Some(8096)),
            ("LocalHost.:1", "LocalHost", Some(1)),
            ("push.example:65535", "push.example", Some(65_535)),
            ("xn--mller-kva.example", "xn--mller-kva.example", None),
            ("my_app-1:80", "my_app-1", Some(80)),
            ("4e5d6f708192", "4e5d6f708192", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "::1", None),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1", None),
        ] {
            let host = Host::parse(text).expect(text);
            assert_eq!((host.name(), host.port()), (name, port), "{text}");
            assert_eq!(host.to_string(), text);
        }
        assert!(Host::parse(&"a.".repeat(126)).is_some());
        assert!(Host::parse(&"a".repeat(253)).is_some());
    }

    #[test]
    fn anything_else_is_no_host() {
        for text in [
            "",
            ".",
            ":80",
            "localhost:",
            "localhost:evil.com",
            "localhost:80:80",
            "localhost:+80",
            "localhost:-1",
            "localhost:080",
            "localhost:0",
            "localhost:65536",
            "localhost:4294967376",
            "localhost: 80",
            "localhost,evil.com",
            "localhost;evil.com",
            "localhost/",
            "localhost\\",
            "localhost#",
            "localhost?",
            "localhost%2eevil.com",
            "local host",
            "user@localhost",
            "user:80@localhost",
            "localhost@evil.com",
            "http://localhost",
            "a..b",
            ".localhost",
            "localhost..",
            "m\u{fc}ller",
            "::1",
            "[]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1]]",
            "[[::1]]",
            "[::1].evil.com",
            "[::1]:80.evil.com",
            "[127.0.0.1]",
            "[localhost]",
            "[fe80::1%25eth0]",
            "[v1.a]",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
        assert_eq!(Host::parse(&"a".repeat(254)), None);
    }

    #[test]
    fn addresses_are_told_from_names() {
        let ip = |text: &'static str| Host::parse(text).expect(text).ip();
        assert_eq!(ip("127.0.0.1:80"), "127.0.0.1".parse().ok());
        assert_eq!(ip("[::1]:80"), "::1".parse().ok());
        assert_eq!(ip("[::ffff:192.0.2.1]"), "192.0.2.1".parse().ok());
        for text in [
            "localhost",
            "127.1",
            "0x7f000001",
            "2130706433",
            "127.0.0.01",
        ] {
            assert_eq!(ip(text), None, "{text}");
        }
    }
}
