//! Close codes and close payloads (RFC 6455 §5.5.1, §7.4).

use super::close_code::CloseCode;
use super::error::Violation;

/// Longest reason in a close frame, in bytes: 125 less the code (§5.5).
pub const MAX_REASON_BYTES: usize = 123;

/// Reads the payload of a peer's close frame: its code and reason, or `None` if it is empty.
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::ShortClosePayload),
        [high, low, reason @ ..] => {
            let code = CloseCode::from_wire(u16::from_be_bytes([*high, *low]))
                .ok_or(Violation::InvalidCloseCode)?;
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Appends a close payload to `out`: the code and as much of `reason` as fits, cut at a character.
pub fn write(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&code.as_u16().to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON_BYTES)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_judged_as_the_rfc_says() {
        for code in 0..=u16::MAX {
            let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(CloseCode::from_wire(code).is_some(), legal, "{code}");
        }
    }

    #[test]
    fn payloads_read_back() {
        type Expected<'a> = Result<Option<(u16, &'a str)>, Violation>;
        let cases: [(&[u8], Expected<'_>); 6] = [
            (b"", Ok(None)),
            (b"\x03", Err(Violation::ShortClosePayload)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x03\xe8bye", Ok(Some((1000, "bye")))),
            (b"\x03\xed", Err(Violation::InvalidCloseCode)),
            (b"\x03\xe8\xff", Err(Violation::InvalidUtf8)),
        ];
        for (payload, expected) in cases {
            let got = parse(payload).map(|p| p.map(|(c, r)| (c.as_u16(), r)));
            assert_eq!(got, expected, "{payload:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        write(CloseCode::NORMAL, &"ä".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 122);
        assert_eq!(
            parse(&out),
            Ok(Some((CloseCode::NORMAL, "ä".repeat(61).as_str())))
        );
    }
}
