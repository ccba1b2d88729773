//! The header `Ident`, by which a client takes a name (protocol.md 1.9).

use super::error::Rejection;
use super::http::Request;

/// The ident that `request` asks for, blanks around it trimmed; empty: none. Of several headers the
/// last one counts (protocol.md 1.3).
///
/// [`Rejection::IdentNotUtf8`] and, for more than `max_bytes` (`maxIdent`),
/// [`Rejection::IdentTooLong`]: without its name the client would be reached by nobody and would not
/// know why.
pub fn of<'a>(request: &Request<'a>, max_bytes: usize) -> Result<&'a str, Rejection> {
    let value = request.header_values("Ident").last().unwrap_or_default();
    if value.len() > max_bytes {
        return Err(Rejection::IdentTooLong);
    }
    str::from_utf8(value).map_err(|_| Rejection::IdentNotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_is_text_of_bounded_length() {
        for (lines, expected) in [
            (&b""[..], Ok("")),
            (b"Ident:\r\n", Ok("")),
            (b"ident: \t a b \r\n", Ok("a b")),
            (b"Ident: 1234\r\n", Ok("1234")),
            (b"Ident: 12345\r\n", Err(Rejection::IdentTooLong)),
            (b"Ident: \xc3\xbc\xc3\xbc\r\n", Ok("\u{fc}\u{fc}")),
            (
                b"Ident: \xc3\xbc\xc3\xbcx\r\n",
                Err(Rejection::IdentTooLong),
            ),
            (b"Ident: M\xfcl\r\n", Err(Rejection::IdentNotUtf8)),
            (b"Ident: a\r\nIdent: \xff\r\n", Err(Rejection::IdentNotUtf8)),
            (b"Ident: 12345\r\nIdent: a\r\n", Ok("a")),
        ] {
            let head = [b"GET / HTTP/1.1\r\n", lines, b"\r\n"].concat();
            let request = Request::parse(&head).unwrap();
            assert_eq!(of(&request, 4), expected, "{}", lines.escape_ascii());
        }
    }
}
