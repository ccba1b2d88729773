//! A command as the array of bulk strings that a server takes.

/// Appends a command, its name and its arguments, which may hold any bytes.
pub fn encode_command(parts: &[&[u8]], to: &mut Vec<u8>) {
    to.reserve(command_len(parts));
    write_header(b'*', parts.len(), to);
    for part in parts {
        write_header(b'$', part.len(), to);
        to.extend_from_slice(part);
        to.extend_from_slice(b"\r\n");
    }
}

/// Bytes that [`encode_command`] appends, at most.
pub fn command_len(parts: &[&[u8]]) -> usize {
    let part_len = |part: &&[u8]| part.len() + MAX_HEADER_BYTES + 2;
    MAX_HEADER_BYTES + parts.iter().map(part_len).sum::<usize>()
}

fn write_header(kind: u8, count: usize, to: &mut Vec<u8>) {
    to.push(kind);
    to.extend_from_slice(count.to_string().as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// A type, the digits of a `usize`, CR LF.
const MAX_HEADER_BYTES: usize = 1 + 20 + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        for (parts, expected) in [
            (&[b"PING".as_slice()][..], "*1\r\n$4\r\nPING\r\n"),
            (&[b"GET", b""], "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"),
            (
                &[b"GET", b"a\r\nDEL b"],
                "*2\r\n$3\r\nGET\r\n$8\r\na\r\nDEL b\r\n",
            ),
        ] {
            let mut bytes = Vec::new();
            encode_command(parts, &mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), expected);
            assert!(bytes.len() <= command_len(parts));
        }
    }
}
