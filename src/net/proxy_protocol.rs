//! The PROXY protocol, versions 1 and 2: by its header a proxy tells whom it forwards, before TLS
//! and HTTP.
//!
//! The header is asked for in pieces that never reach beyond its end, so that what follows stays in
//! the socket for whoever reads it next, and parsed when it is whole (PROXY protocol §2.1, §2.2).

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header on its way. Holds no more of it than 107 bytes of version 1, 4112 of version 2.
#[derive(Debug, Default)]
pub struct HeaderReader {
    bytes: Vec<u8>,
}

/// Whom the proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// A client of this address.
    For(SocketAddr),
    /// It does not tell, or connects for itself.
    ProxyUnidentified,
}

impl HeaderReader {
    /// Whether nothing has come.
    pub fn is_untouched(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads on from `socket`, as far as it has something.
    ///
    /// # Errors
    /// `WouldBlock`: the rest has not come. `InvalidData`: what came is no header.
    pub fn read(&mut self, socket: &mut impl Read) -> io::Result<Forwarded> {
        loop {
            let (start, wanted) = (self.bytes.len(), wanted(&self.bytes)?);
            if wanted == 0 {
                return parse(&self.bytes);
            }
            self.bytes.resize(start + wanted, 0);
            let read = socket.read(&mut self.bytes[start..]);
            self.bytes
                .truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// How many bytes of the header are certainly missing; 0: it is whole.
fn wanted(bytes: &[u8]) -> io::Result<usize> {
    let is_v1 = V1_START.starts_with(&bytes[..bytes.len().min(V1_START.len())]);
    let is_v2 = V2_START.starts_with(&bytes[..bytes.len().min(V2_START.len())])
        && matches!(
            bytes.get(V2_START.len()),
            None | Some(&(V2_LOCAL | V2_PROXY))
        );
    match bytes.len() {
        _ if !is_v1 && !is_v2 => Err(malformed("no PROXY header")),
        len if len < V1_LEAST => Ok(V1_LEAST - len),
        _ if is_v1 && bytes.ends_with(b"\n") => Ok(0),
        len if is_v1 && len < V1_MOST => Ok(1),
        _ if is_v1 => Err(malformed("PROXY line without end")),
        len if len < V2_HEAD => Ok(V2_HEAD - len),
        len => {
            let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            if rest > V2_MOST {
                return Err(malformed("PROXY header too long"));
            }
            Ok((V2_HEAD + rest).saturating_sub(len))
        }
    }
}

fn parse(header: &[u8]) -> io::Result<Forwarded> {
    let parsed = if header.starts_with(V1_START) {
        parse_line(header)
    } else {
        parse_binary(header)
    };
    parsed.ok_or_else(|| malformed("malformed PROXY header, or none for TCP"))
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT CRLF`, or `PROXY UNKNOWN`, behind which anything may
/// stand (§2.1).
fn parse_line(header: &[u8]) -> Option<Forwarded> {
    let line = header.strip_suffix(b"\r\n")?.strip_prefix(V1_START)?;
    if line.starts_with(b"UNKNOWN") {
        return (!line.contains(&b'\r')).then_some(Forwarded::ProxyUnidentified);
    }
    let mut fields = str::from_utf8(line).ok()?.split(' ');
    let family = fields.next()?;
    let ip = |text: &str| match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, _) = (ip(fields.next()?)?, ip(fields.next()?)?);
    let (port, _) = (parse_port(fields.next()?)?, parse_port(fields.next()?)?);
    let is_whole = fields.next().is_none();
    is_whole.then_some(Forwarded::For(SocketAddr::new(source, port)))
}

/// A port without sign and without leading zeros, which others may read otherwise.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Signature, command, family, length; then the addresses, and what else may follow is read over
/// (§2.2).
fn parse_binary(header: &[u8]) -> Option<Forwarded> {
    let (&[command, family, _, _], rest) = header.strip_prefix(V2_START)?.split_first_chunk()?;
    let address = match family {
        V2_TCP4 | V2_UDP4 => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let (_, rest) = rest.split_first_chunk::<4>()?;
            Some((IpAddr::V4(Ipv4Addr::from(*source)), rest))
        }
        V2_TCP6 | V2_UDP6 => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (_, rest) = rest.split_first_chunk::<16>()?;
            Some((IpAddr::V6(Ipv6Addr::from(*source)), rest))
        }
        V2_UNIX_STREAM | V2_UNIX_DATAGRAM if rest.len() >= V2_UNIX_LEN => None,
        V2_UNSPECIFIED => None,
        _ => return None,
    };
    let Some((ip, rest)) = address else {
        return Some(Forwarded::ProxyUnidentified);
    };
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    match family {
        // Its own connection, as for health checks: what it says of addresses does not count.
        _ if command == V2_LOCAL => Some(Forwarded::ProxyUnidentified),
        V2_TCP4 | V2_TCP6 => Some(Forwarded::For(SocketAddr::new(ip, port))),
        _ => None,
    }
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 and its two commands (§2.2).
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// Address families with their transports (§2.2).
const V2_UNSPECIFIED: u8 = 0x00;
const V2_TCP4: u8 = 0x11;
const V2_UDP4: u8 = 0x12;
const V2_TCP6: u8 = 0x21;
const V2_UDP6: u8 = 0x22;
const V2_UNIX_STREAM: u8 = 0x31;
const V2_UNIX_DATAGRAM: u8 = 0x32;

/// Length of two addresses of Unix sockets (§2.2).
const V2_UNIX_LEN: usize = 216;

/// Length of `PROXY UNKNOWN\r\n`; a header of version 2 is longer.
const V1_LEAST: usize = 15;

/// Longest line of version 1 (PROXY protocol §2.1).
const V1_MOST: usize = 107;

/// Length of what tells how long a header of version 2 is (§2.2).
const V2_HEAD: usize = 16;

/// Most bytes behind it: addresses and what proxies and load balancers add (certificates' names).
const V2_MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `piece` bytes at a time, then has nothing for now.
    struct Slow<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let len = self.piece.min(buffer.len()).min(self.bytes.len());
            buffer[..len].copy_from_slice(&self.bytes[..len]);
            self.bytes = &self.bytes[len..];
            Ok(len)
        }
    }

    /// The result, and how many bytes were left in the socket.
    fn read(bytes: &[u8], piece: usize) -> (Result<Forwarded, ErrorKind>, usize) {
        let mut socket = Slow { bytes, piece };
        let result = HeaderReader::default().read(&mut socket);
        (result.map_err(|error| error.kind()), socket.bytes.len())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = [V2_START, &[command, family]].concat();
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn a_header_is_read_in_any_pieces_and_nothing_behind_it() {
        let with_more = [&V4[..], &[4, 0, 1, 0]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8], &[0; 28][..], &[0x12, 0x34, 0, 80]].concat();
        let told = |text: &str| Forwarded::For(text.parse().unwrap());
        let line = |line: &str| format!("PROXY {line}\r\n").into_bytes();
        for (header, expected) in [
            (
                line("TCP4 192.0.2.7 10.0.0.1 4660 80"),
                told("192.0.2.7:4660"),
            ),
            (line("TCP4 1.1.1.1 1.1.1.1 1 1"), told("1.1.1.1:1")),
            (
                line("TCP6 2001:db8:: ::1 4660 80"),
                told("[2001:db8::]:4660"),
            ),
            (line("UNKNOWN"), Forwarded::ProxyUnidentified),
            (line("UNKNOWN what ever"), Forwarded::ProxyUnidentified),
            (v2(0x21, 0x11, &V4), told("192.0.2.7:4660")),
            (v2(0x21, 0x11, &with_more), told("192.0.2.7:4660")),
            (v2(0x21, 0x21, &v6), told("[2001:db8::]:4660")),
            (v2(0x20, 0x00, &[]), Forwarded::ProxyUnidentified),
            (v2(0x20, 0x11, &V4), Forwarded::ProxyUnidentified),
            (v2(0x21, 0x31, &[0; 216]), Forwarded::ProxyUnidentified),
        ] {
            for piece in 1..=header.len() + 5 {
                let stream = [&header[..], b"\x16\x03"].concat();
                assert_eq!(
                    read(&stream, piece),
                    (Ok(expected), 2),
                    "{header:?} {piece}"
                );
            }
            for len in 0..header.len() {
                let (result, _) = read(&header[..len], 7);
                assert_eq!(result, Err(ErrorKind::WouldBlock), "{header:?} {len}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_as_soon_as_it_is_certain() {
        for bytes in [
            &b"G"[..],
            b"PROXX",
            b"\x16\x03\x01",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\r\n\r\n\0\r\nQUIT\n\x22",
            b"PROXY TCP4 a b 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 ::1 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 01\r\n",
            b"PROXY TCP6 ::1 ::1 00 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
            &[&b"PROXY UNKNOWN "[..], &[b'a'; 200]].concat(),
            &v2(0x11, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x12, &V4),
            &v2(0x21, 0x41, &V4),
            &v2(0x21, 0x11, &[0; V2_MOST + 1]),
        ] {
            let (result, _) = read(bytes, 1);
            assert_eq!(result, Err(ErrorKind::InvalidData), "{bytes:?}");
        }
    }
}
