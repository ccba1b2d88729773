//! The PROXY protocol, versions 1 and 2: by its header a proxy tells whom it forwards, before TLS
//! and HTTP.
//!
//! The header is asked for in pieces that never reach beyond its end, so that what follows stays in
//! the socket for whoever reads it next. What it says is read by a library.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

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

fn parse(bytes: &[u8]) -> io::Result<Forwarded> {
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, len)) if len == bytes.len() && has_plain_ports(bytes) => {
            match header.proxied_address() {
                None => Ok(Forwarded::ProxyUnidentified),
                Some(address) if address.protocol == Protocol::Stream => {
                    Ok(Forwarded::For(address.source))
                }
                Some(_) => Err(malformed("PROXY header for another protocol than TCP")),
            }
        }
        Ok(_) | Err(_) => Err(malformed("malformed PROXY header")),
    }
}

/// Whether the ports of a line of version 1 are written as §2.1 says: the library lets `+80` and
/// `080` pass, which others may read otherwise.
fn has_plain_ports(header: &[u8]) -> bool {
    let is_plain = |port: &[u8]| port == b"0" || matches!(port.first(), Some(b'1'..=b'9'));
    let mut ports = header.trim_ascii_end().rsplit(|byte| *byte == b' ').take(2);
    !header.starts_with(b"PROXY TCP") || ports.all(is_plain)
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 and its two commands (§2.2).
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

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
