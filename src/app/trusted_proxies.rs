//! Who is at the other end of a proxy: which proxies are believed, and what they say
//! (protocol.md 1.8).
//!
//! Owns the headers `X-Forwarded-For` and `Forwarded` (RFC 7239) and which other headers show that
//! a request was forwarded. Whatever is not certain ends in [`AddressSource::Unknown`], from where no script
//! is let in; a header alone never opens a role.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::peer::{AddressSource, Peer};
use crate::protocol::http::{Request, is_token};

/// The proxies that are believed (`trustedProxies`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Whoever connects to a Unix socket is one.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether the peer of this address is one of them; `None`: it is on a Unix socket.
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        match ip {
            Some(ip) => self.networks.iter().any(|network| network.contains(&ip)),
            None => self.unix,
        }
    }

    /// Whose `request` is, which has come from `peer`.
    ///
    /// Believed is the right-most hop that is no trusted proxy, for every proxy appends the
    /// address that it has seen itself; what is left of it may be made up. Two headers that do not
    /// agree make nobody known, since a proxy lets the one pass that it does not write.
    pub fn locate(&self, request: &Request<'_>, peer: Peer) -> Peer {
        if peer.source != AddressSource::Known || !is_forwarded(request) {
            return peer;
        }
        if !self.contains(peer.ip) {
            let source = AddressSource::Untrusted;
            return Peer { source, ..peer };
        }
        let hops = [x_forwarded_for(request), forwarded(request)];
        let mut clients = hops.iter().flatten().map(|hops| self.client_of(hops));
        let client = clients.next().flatten();
        match client.filter(|_| clients.all(|other| other == client)) {
            Some(client) => Peer {
                ip: Some(client),
                source: AddressSource::Known,
                ..peer
            },
            None => Peer {
                source: AddressSource::Unknown,
                ..peer
            },
        }
    }

    /// `None` if a hop that would have to be known is not.
    fn client_of(&self, hops: &[Hop]) -> Option<IpAddr> {
        let mut client = None;
        for hop in hops.iter().rev() {
            match hop {
                Hop::Ip(ip) => client = Some(*ip),
                Hop::Unix if self.unix => continue,
                Hop::Unix | Hop::Unknown => return None,
            }
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// One station on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Ip(IpAddr),
    /// A peer on a Unix socket of the proxy, as nginx writes it.
    Unix,
    Unknown,
}

/// Whether somebody has forwarded the request, or pretends to.
fn is_forwarded(request: &Request<'_>) -> bool {
    request.names().any(|name| {
        let is_named = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        let prefix = name.get(..FORWARDED_PREFIX.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(FORWARDED_PREFIX))
            || FORWARDING_HEADERS.iter().any(is_named)
    })
}

/// All lines together; `None` without any.
fn joined(request: &Request<'_>, name: &str) -> Option<String> {
    let lines: Vec<_> = request
        .header_values(name)
        .map(String::from_utf8_lossy)
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn x_forwarded_for(request: &Request<'_>) -> Option<Vec<Hop>> {
    let value = joined(request, "X-Forwarded-For")?;
    Some(value.split(',').map(|hop| read_hop(hop.trim())).collect())
}

/// An address, also with brackets or a port as some proxies write it.
fn read_hop(text: &str) -> Hop {
    if text == "unix:" {
        return Hop::Unix;
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let ip = address.or_else(|_| {
        text.parse()
            .map(|address: std::net::SocketAddr| address.ip())
    });
    ip.map_or(Hop::Unknown, |ip| Hop::Ip(ip.to_canonical()))
}

fn forwarded(request: &Request<'_>) -> Option<Vec<Hop>> {
    let value = joined(request, "Forwarded")?;
    if !has_plain_quotes(&value) {
        return Some(vec![Hop::Unknown]);
    }
    let hop = |element| read_element(element).unwrap_or(Hop::Unknown);
    Some(value.split(',').map(hop).collect())
}

/// One element, `for=ADDRESS;by=…;proto=…` (RFC 7239 §4). `None` if it breaks the grammar, has no
/// `for`, or has any parameter twice: readers differ in which of two they believe.
fn read_element(element: &str) -> Option<Hop> {
    let mut names: Vec<&str> = Vec::new();
    let mut hop = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        let is_repeated = names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_repeated || names.len() == MAX_PARAMETERS || !is_token(name.as_bytes()) {
            return None;
        }
        names.push(name);
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            // Some proxies leave the quotes out that a port or an IPv6 address needs.
            None if value.bytes().all(|byte| !b" \t\"".contains(&byte)) => value,
            None => return None,
        };
        if name.eq_ignore_ascii_case("for") {
            hop = read_node(value);
        }
    }
    hop
}

/// An address with or without a port; IPv6 in brackets (RFC 7239 §6). `None` for what is hidden.
fn read_node(node: &str) -> Option<Hop> {
    let (ip, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    // §6.3: up to five digits, or a name that hides the port.
    let is_port = |text: &str| match text.strip_prefix('_') {
        Some(name) => is_token(name.as_bytes()),
        None => matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_fine.then(|| Hop::Ip(ip.to_canonical()))
}

/// Whether quotes come in pairs with nothing between them that could pass for another hop: a proxy
/// may quote what the client has sent as Host.
fn has_plain_quotes(value: &str) -> bool {
    let parts: Vec<_> = value.split('"').collect();
    let mut quoted = parts.iter().skip(1).step_by(2);
    parts.len() % 2 == 1 && !quoted.any(|text| text.contains([',', ';', '\\']))
}

/// Most parameters of one element; RFC 7239 knows four.
const MAX_PARAMETERS: usize = 16;

const FORWARDED_PREFIX: &[u8] = b"x-forwarded-";

/// What proxies and content delivery networks add, besides X-Forwarded-For and its like.
const FORWARDING_HEADERS: &[&str] = &[
    "Forwarded",
    "Via",
    "X-Real-IP",
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::peer::ListenerRole;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32"];
        TrustedProxies {
            networks: networks.map(|n| n.parse().expect(n)).to_vec(),
            unix: true,
        }
    }

    fn locate(from: &str, headers: &str) -> (String, AddressSource) {
        let head = format!("GET / HTTP/1.1|{headers}|").replace('|', "\r\n");
        let request = Request::parse(head.as_bytes()).expect(headers);
        let peer = Peer::direct(from.parse().ok(), ListenerRole::All);
        let located = trusted().locate(&request, peer);
        let ip = located.ip.map_or_else(String::new, |ip| ip.to_string());
        (ip, located.source)
    }

    #[test]
    fn the_right_most_hop_that_is_no_trusted_proxy_is_believed() {
        for (headers, expected) in [
            ("X-Forwarded-For: 192.0.2.7|", "192.0.2.7"),
            ("x-forwarded-for: 127.0.0.1, 192.0.2.7|", "192.0.2.7"),
            (
                "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.0.0.9|",
                "192.0.2.7",
            ),
            (
                "X-Forwarded-For: 1.1.1.1|X-Forwarded-For: 192.0.2.7|",
                "192.0.2.7",
            ),
            ("X-Forwarded-For: 10.0.0.8, 10.0.0.9|", "10.0.0.8"),
            ("X-Forwarded-For: garbage, 192.0.2.7, unix:|", "192.0.2.7"),
            ("X-Forwarded-For: 192.0.2.7:4711|", "192.0.2.7"),
            ("X-Forwarded-For: [2001:db9::1]:4711|", "2001:db9::1"),
            ("X-Forwarded-For: [2001:db9::1]|", "2001:db9::1"),
            ("X-Forwarded-For: ::ffff:192.0.2.7|", "192.0.2.7"),
            ("Forwarded: for=192.0.2.7;proto=https|", "192.0.2.7"),
            ("Forwarded: For=\"[2001:db9::1]:4711\"|", "2001:db9::1"),
            ("Forwarded: for=\"[2001:db9::1]\"|", "2001:db9::1"),
            ("Forwarded: for=\"192.0.2.7:4711\"|", "192.0.2.7"),
            ("Forwarded: for=192.0.2.7:4711|", "192.0.2.7"),
            ("Forwarded: for=\"192.0.2.7:_hidden\"|", "192.0.2.7"),
            ("Forwarded: for=\"[::ffff:192.0.2.7]\"|", "192.0.2.7"),
            (
                "Forwarded: by=_a;for=192.0.2.7; host=\"a:80\" ;proto=https|",
                "192.0.2.7",
            ),
            ("Forwarded: for=unknown, for=192.0.2.7|", "192.0.2.7"),
            (
                "Forwarded: for=1.1.1.1;for=2.2.2.2,for=192.0.2.7|",
                "192.0.2.7",
            ),
            (
                "Forwarded: for=1.1.1.1, for=192.0.2.7, for=10.1.1.1|",
                "192.0.2.7",
            ),
            (
                "Forwarded: for=192.0.2.7|X-Forwarded-For: 192.0.2.7|",
                "192.0.2.7",
            ),
        ] {
            for from in ["127.0.0.1", "10.2.3.4", "unix"] {
                let expected = (expected.to_owned(), AddressSource::Known);
                assert_eq!(locate(from, headers), expected, "{from}: {headers}");
            }
        }
    }

    #[test]
    fn what_is_not_certain_makes_nobody_known() {
        for headers in [
            "X-Forwarded-For:|",
            "X-Forwarded-For: unknown|",
            "X-Forwarded-For: 192.0.2.7, garbage|",
            "X-Forwarded-For: 192.0.2.7,|",
            "X-Forwarded-For: 127.0.0.1.|",
            "Forwarded: for=unknown|",
            "Forwarded: for=_hidden|",
            "Forwarded: by=192.0.2.7|",
            "Forwarded: nothing|",
            "Forwarded:|",
            "Forwarded: for=192.0.2.7,|",
            "Forwarded: for=192.0.2.1;for=127.0.0.1|",
            "Forwarded: for=192.0.2.7;FOR=192.0.2.7|",
            "Forwarded: for=192.0.2.7;proto=http;proto=https|",
            "Forwarded: for=192.0.2.7;;proto=http|",
            "Forwarded: for=192.0.2.7;proto|",
            "Forwarded: for=192.0.2.7;=a|",
            "Forwarded: for =192.0.2.7|",
            "Forwarded: for= 192.0.2.7|",
            "Forwarded: for=192.0.2.7 for=127.0.0.1|",
            "Forwarded: for=\"192.0.2.7|",
            "Forwarded: for=\"192.0.2.7\"x|",
            "Forwarded: for=\"\"192.0.2.7\"\"|",
            "Forwarded: for=192.0.2.7:|",
            "Forwarded: for=192.0.2.7:+1|",
            "Forwarded: for=192.0.2.7:123456|",
            "Forwarded: for=\"[192.0.2.7]\"|",
            "Forwarded: for=\"[2001:db9::1]x\"|",
            "Forwarded: for=2001:db9::1|",
            "Forwarded: for=192.0.2.7;host=\"a, for=127.0.0.1\"|",
            "Forwarded: for=192.0.2.7;host=\"a\\\"|",
            "Forwarded: for=127.0.0.1|X-Forwarded-For: 192.0.2.7|",
            "Via: 1.1 proxy|",
            "X-Real-IP: 127.0.0.1|",
            "X-Forwarded-Proto: https|",
        ] {
            let expected = ("10.0.0.1".to_owned(), AddressSource::Unknown);
            assert_eq!(locate("10.0.0.1", headers), expected, "{headers}");
        }
    }

    #[test]
    fn from_others_no_header_is_believed() {
        for header in [
            "X-Forwarded-For: 127.0.0.1|",
            "x-forwarded-host: a|",
            "Forwarded: for=127.0.0.1|",
            "Via: 1.1 proxy|",
            "X-REAL-IP: 127.0.0.1|",
            "CF-Connecting-IP: 127.0.0.1|",
        ] {
            let expected = ("192.0.2.1".to_owned(), AddressSource::Untrusted);
            assert_eq!(locate("192.0.2.1", header), expected, "{header}");
        }
    }

    #[test]
    fn what_nobody_has_forwarded_is_the_peers_own() {
        for from in ["192.0.2.1", "10.0.0.1"] {
            let expected = (from.to_owned(), AddressSource::Known);
            assert_eq!(locate(from, "X-Forwarded: 1|Forward: 2|"), expected);
        }
    }
}
