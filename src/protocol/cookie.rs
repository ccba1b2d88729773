//! Cookies of a request (RFC 6265 §4.2, §5.4).

use super::http::{Request, trim_blanks};

/// Value of the first cookie of this name, compared exactly, among those of all `Cookie` headers;
/// blanks around it trimmed. `None`: there is none.
///
/// The first counts as it does in PHP, also where it is empty or of no use. Nothing is unquoted or
/// decoded. A cookie without `=` is one with an empty value.
pub fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    request
        .header_values("Cookie")
        .flat_map(|value| value.split(|&byte| byte == b';'))
        .map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        })
        .find(|(found, _)| trim_blanks(found) == name.as_bytes())
        .map(|(_, value)| trim_blanks(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::php_session::SessionId;

    fn found(lines: &str) -> Option<String> {
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        cookie(&request, "PHPSESSID").map(|value| value.escape_ascii().to_string())
    }

    // protocol.md 8.2
    #[test]
    fn the_first_cookie_of_the_name_counts() {
        for (lines, expected) in [
            ("", None),
            ("Cookie: \r\n", None),
            ("Cookie: PHPSESSID=a\r\n", Some("a")),
            ("cookie:PHPSESSID=a;b=c\r\n", Some("a")),
            ("Cookie: x=1; \t PHPSESSID = a ; y\r\n", Some("a")),
            ("Cookie: PHPSESSID=a; PHPSESSID=b\r\n", Some("a")),
            (
                "Cookie: x=1\r\nCookie: PHPSESSID=a\r\nCookie: PHPSESSID=b\r\n",
                Some("a"),
            ),
            ("Cookie: PHPSESSID=; PHPSESSID=b\r\n", Some("")),
            ("Cookie: PHPSESSID; PHPSESSID=b\r\n", Some("")),
            ("Cookie: PHPSESSID=a=b\r\n", Some("a=b")),
            ("Cookie: PHPSESSID=a,b-C9\r\n", Some("a,b-C9")),
            // Another name, or none.
            ("Cookie: phpsessid=a; XPHPSESSID=a; PHPSESSID2=a\r\n", None),
            ("Cookie: X-PHPSESSID=a; x=PHPSESSID=a\r\n", None),
            ("Cookie: \"PHPSESSID\"=a; PHPSESSI%44=a\r\n", None),
            // The 2026 server looks in the whole head.
            ("X-Any: PHPSESSID=a\r\nSet-Cookie: PHPSESSID=a\r\n", None),
            ("X-PHPSESSID: a\r\nCookie2: PHPSESSID=a\r\n", None),
        ] {
            assert_eq!(found(lines).as_deref(), expected, "{lines}");
        }
    }

    // protocol.md 8.2
    #[test]
    fn what_is_no_id_is_no_session() {
        let long = "a".repeat(7900);
        for value in [
            "\"abc\"", "a%2Cb", "%61", "..", "../x", "a/b", "", "a b", &long,
        ] {
            let head = format!("GET / HTTP/1.1\r\nCookie: PHPSESSID={value}; PHPSESSID=b\r\n\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            let id = cookie(&request, "PHPSESSID").and_then(SessionId::parse);
            assert!(id.is_none(), "{value}");
        }
        // A NUL does not get so far.
        assert!(Request::parse(b"GET / HTTP/1.1\r\nCookie: PHPSESSID=a\0\r\n\r\n").is_err());
    }
}
