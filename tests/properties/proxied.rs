//! What has to hold for the header by which a proxy tells whom it forwards (PROXY protocol §2).

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use websock::net::proxy_protocol::{Forwarded, HeaderReader};

use super::oracles::cuts;
use super::script::Script;

/// A header is read as a second, plain reading reads it, at every cut, with the first byte that
/// decides; nothing behind it is taken; what was refused stays so; what is written reads back.
pub fn proxy_header(bytes: &[u8]) {
    let whole = plain(bytes);
    assert_eq!(read(&[bytes]), result_of(whole, bytes), "whole");
    for cut in cuts(bytes.len()) {
        let (left, right) = bytes.split_at(cut);
        let early = plain(left);
        assert_eq!(read(&[left]), result_of(early, left), "the first {cut}");
        assert!(early == Verdict::Open || early == whole, "cut at {cut}");
        assert_eq!(read(&[left, right]).0, result_of(whole, bytes).0, "{cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single), result_of(whole, bytes), "byte by byte");
    written_headers(&mut Script(bytes));
}

/// What bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The beginning of a header, perhaps.
    Open,
    /// No header, whatever follows.
    Refused,
    /// A header of this length.
    Header(Forwarded, usize),
}

/// What the reader has to make of them, and how many bytes it has to leave.
fn result_of(verdict: Verdict, bytes: &[u8]) -> (Result<Forwarded, ErrorKind>, Option<usize>) {
    match verdict {
        Verdict::Open => (Err(ErrorKind::WouldBlock), Some(0)),
        Verdict::Refused => (Err(ErrorKind::InvalidData), None),
        Verdict::Header(forwarded, len) => (Ok(forwarded), Some(bytes.len() - len)),
    }
}

/// Reads what arrives in these pieces. The second is what is left of them, unless it was refused.
fn read(pieces: &[&[u8]]) -> (Result<Forwarded, ErrorKind>, Option<usize>) {
    let mut reader = HeaderReader::default();
    let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut result = Err(ErrorKind::WouldBlock);
    for piece in pieces {
        let mut socket = Socket(piece);
        result = reader.read(&mut socket).map_err(|error| error.kind());
        left -= piece.len() - socket.0.len();
        if result != Err(ErrorKind::WouldBlock) {
            break;
        }
    }
    let is_refused = result == Err(ErrorKind::InvalidData);
    (result, (!is_refused).then_some(left))
}

/// Gives what there is, then nothing for now.
struct Socket<'a>(&'a [u8]);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(buffer.len() <= V2_MOST, "{} at once", buffer.len());
        let len = buffer.len().min(self.0.len());
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let (front, rest) = self.0.split_at(len);
        buffer[..len].copy_from_slice(front);
        self.0 = rest;
        Ok(len)
    }
}

/// The specification once more, as plainly as it can be said.
fn plain(bytes: &[u8]) -> Verdict {
    if bytes.is_empty() {
        Verdict::Open
    } else if bytes.starts_with(V1) || V1.starts_with(bytes) {
        plain_line(bytes)
    } else if bytes.starts_with(V2) || V2.starts_with(bytes) {
        plain_binary(bytes)
    } else {
        Verdict::Refused
    }
}

/// Version 1: judged when its line ends, or is too long.
fn plain_line(bytes: &[u8]) -> Verdict {
    let most = &bytes[..bytes.len().min(107)];
    let shortest = b"PROXY UNKNOWN\r\n".len();
    let end = (shortest..=most.len()).find(|end| most[end - 1] == b'\n');
    match end {
        Some(end) => line_address(&most[..end]).map_or(Verdict::Refused, |forwarded| {
            Verdict::Header(forwarded, end)
        }),
        None if most.len() == 107 => Verdict::Refused,
        None => Verdict::Open,
    }
}

fn line_address(line: &[u8]) -> Option<Forwarded> {
    let line = line.strip_suffix(b"\r\n")?.strip_prefix(V1)?;
    if line.starts_with(b"UNKNOWN") {
        return (!line.contains(&b'\r')).then_some(Forwarded::ProxyUnidentified);
    }
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [protocol, source, destination, port, other_port] = fields[..] else {
        return None;
    };
    let address = match protocol {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    plain_port(other_port)?;
    Some(Forwarded::For(SocketAddr::new(address, plain_port(port)?)))
}

/// Decimal, as it is written when a number is.
fn plain_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

/// Version 2: its version and command, then its length, then all of it are judged.
fn plain_binary(bytes: &[u8]) -> Verdict {
    let is_local = match bytes.get(12) {
        None => return Verdict::Open,
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Verdict::Refused,
    };
    let Some(len) = bytes.get(14..16) else {
        return Verdict::Open;
    };
    let len = usize::from(len[0]) * 256 + usize::from(len[1]);
    if len > V2_MOST {
        return Verdict::Refused;
    }
    let Some(rest) = bytes.get(16..16 + len) else {
        return Verdict::Open;
    };
    match binary_address(bytes[13], rest) {
        Some(_) if is_local => Verdict::Header(Forwarded::ProxyUnidentified, 16 + len),
        Some(Address::Stream(source)) => Verdict::Header(Forwarded::For(source), 16 + len),
        Some(Address::None) => Verdict::Header(Forwarded::ProxyUnidentified, 16 + len),
        Some(Address::Datagram) | None => Verdict::Refused,
    }
}

enum Address {
    None,
    Stream(SocketAddr),
    Datagram,
}

fn binary_address(family: u8, rest: &[u8]) -> Option<Address> {
    let (source, port_at) = match family {
        0x00 => return Some(Address::None),
        0x11 | 0x12 => (IpAddr::from(*rest.first_chunk::<4>()?), 8),
        0x21 | 0x22 => (IpAddr::from(*rest.first_chunk::<16>()?), 32),
        0x31 | 0x32 => return (rest.len() >= 216).then_some(Address::None),
        _ => return None,
    };
    let ports = rest.get(port_at..port_at + 4)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(match family % 16 {
        1 => Address::Stream(SocketAddr::new(source, port)),
        _ => Address::Datagram,
    })
}

/// An address that the script names, told in both versions, with bytes behind the header.
fn written_headers(script: &mut Script<'_>) {
    let is_v6 = script.byte() % 2 == 1;
    let port = u16::from_be_bytes([script.byte(), script.byte()]);
    let bytes: [u8; 16] = std::array::from_fn(|_| script.byte());
    let v4 = Ipv4Addr::from(*bytes.first_chunk::<4>().expect("16 bytes"));
    let ip = if is_v6 {
        IpAddr::from(bytes)
    } else {
        IpAddr::from(v4)
    };
    let (name, family, len) = if is_v6 { (6, 0x21, 16) } else { (4, 0x11, 4) };
    let line = format!("PROXY TCP{name} {ip} {ip} {port} 65535\r\n");
    let extra = script.bytes(40);
    let ports = [port.to_be_bytes(), [0xFF; 2]].concat();
    let address = [&bytes[..len], &bytes[..len], &ports, extra].concat();
    let binary = [V2, &[0x21, family, 0, address.len() as u8], &address].concat();
    let expected = Ok(Forwarded::For(SocketAddr::new(ip, port)));
    for header in [line.as_bytes(), &binary] {
        let stream = [header, b"GET / HTTP/1.1"].concat();
        let (left, right) = stream.split_at(header.len() / 2);
        assert_eq!(read(&[left, right]), (expected, Some(14)), "{header:?}");
    }
}

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Most bytes behind the first 16 of version 2.
const V2_MOST: usize = 4096;
