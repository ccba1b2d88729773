//! The value of `allowedOrigins` → origins as browsers send them in the header `Origin` (RFC 6454
//! §6.2). One that no browser sends would never match, so it is an error that says what would.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::{Expected, list};

/// Reads a comma-separated list: lower case, without their scheme's own port.
pub(super) fn origins(text: &str) -> Result<Vec<String>, Expected> {
    list(text).map(origin).collect()
}

fn origin(text: &str) -> Result<String, Expected> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        // Pages without an origin of their own, such as files and sandboxed frames, send "null";
        // files in an Android WebView, and in some versions of Chromium, "file://".
        "null" | "file://" => return Ok(lower),
        "*" => {
            return Err("leave it empty to let all pages in, or name each origin".to_owned());
        }
        _ => {}
    }
    let Some((scheme, rest)) = lower.split_once("://").filter(|(s, _)| is_scheme(s)) else {
        let advice = format!("https://{lower}");
        return Err(unless(text, "has no scheme", origin_of(&advice)));
    };
    if scheme == "file" {
        return Err(unless(text, "has a path", Some("file://".to_owned())));
    }
    if let Some(page) = page_scheme(scheme) {
        let advice = origin_of(&format!("{page}://{rest}"));
        let fault = "is the socket's address, not its page's";
        return Err(unless(text, fault, advice));
    }
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if host.len() < rest.len() {
        let advice = origin_of(&format!("{scheme}://{host}"));
        return Err(unless(text, "has a path", advice));
    }
    if host.contains('*') {
        return Err(unless(text, "is a pattern; name each origin", None));
    }
    if !host.is_ascii() {
        return Err(unless(
            text,
            "is not ASCII; browsers send its xn-- form",
            None,
        ));
    }
    origin_of(&lower).ok_or_else(|| unless(text, "is not SCHEME://HOST[:PORT]", None))
}

/// The origin of a page whose address has this scheme, host and port; `None` if there is none.
fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let rest = rest.split(['/', '?', '#', '\\']).next()?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (ip, behind) = inside.split_once(']')?;
            (ipv6(ip.parse().ok()?), behind)
        }
        None => {
            let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            (name(host, scheme)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok()?)
        }
        Some(_) => return None,
    };
    Some(match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

/// A name as browsers take it (URL Standard §3.1). A page's name that ends in a number is an
/// address, or nothing; other schemes, such as those of extensions, have names of their own.
fn name(host: &str, scheme: &str) -> Option<String> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~{}".contains(&byte);
    let last = host.trim_end_matches('.').rsplit('.').next()?;
    let is_web = matches!(scheme, "http" | "https");
    let is_numeric = is_web && last.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = !host.is_empty() && host.bytes().all(is_fine);
    (is_whole && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())).then(|| host.to_owned())
}

/// As browsers write it (URL Standard §3.5): Rust writes an embedded IPv4 address with dots.
fn ipv6(ip: Ipv6Addr) -> String {
    match ip.to_ipv4() {
        Some(v4) if ip.to_string().contains('.') => {
            let [a, b, c, d] = v4.octets().map(u16::from);
            let prefix = if ip.segments()[5] == 0 {
                "::"
            } else {
                "::ffff:"
            };
            format!("[{prefix}{:x}:{:x}]", (a << 8) | b, (c << 8) | d)
        }
        Some(_) | None => format!("[{ip}]"),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The scheme of pages that open such sockets.
fn page_scheme(scheme: &str) -> Option<&'static str> {
    match scheme {
        "ws" | "tcp" => Some("http"),
        "wss" | "ssl" => Some("https"),
        _ => None,
    }
}

/// What is wrong with `text`, and what would match instead.
fn unless(text: &str, fault: &str, instead: Option<String>) -> Expected {
    let wanted = match instead {
        Some(origin) => format!("{origin} is wanted"),
        None => "scheme and host without a path are wanted, such as https://www.example.org; \
                 location.origin in the page's console shows it"
            .to_owned(),
    };
    format!("{text} is no origin, and no page would match: it {fault}; {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        let table = [
            ("", ""),
            ("https://Example.org", "https://example.org"),
            ("HTTPS://EXAMPLE.ORG:8443", "https://example.org:8443"),
            ("http://a:8080,https://b", "http://a:8080 https://b"),
            ("https://a:443", "https://a"),
            ("http://a:80", "http://a"),
            ("https://a:80", "https://a:80"),
            ("http://a:443", "http://a:443"),
            ("app://a:80", "app://a:80"),
            ("https://a:0443", "https://a"),
            ("https://a:", "https://a"),
            ("https://a.", "https://a."),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("http://[::FFFF:192.0.2.1]", "http://[::ffff:c000:201]"),
            (
                "https://xn--mller-kva.example",
                "https://xn--mller-kva.example",
            ),
            ("null", "null"),
            ("file://", "file://"),
            ("FILE://, Null", "file:// null"),
            ("capacitor://localhost", "capacitor://localhost"),
            (
                "chrome-extension://abcdefghijklmnop",
                "chrome-extension://abcdefghijklmnop",
            ),
        ];
        for (text, expected) in table {
            let read = origins(text).map(|all| all.join(" "));
            assert_eq!(read.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused_with_what_would() {
        let table = [
            (
                "wss://Example.org:8443/web",
                "; https://example.org:8443 is wanted",
            ),
            ("ws://a:80", "; http://a is wanted"),
            ("ssl://a", "; https://a is wanted"),
            ("tcp://a:1", "; http://a:1 is wanted"),
            ("example.org", "; https://example.org is wanted"),
            ("example.org:8080/x", "; https://example.org:8080 is wanted"),
            ("https://a/", "; https://a is wanted"),
            ("https://a:443/b?c", "; https://a is wanted"),
            ("https://a?b", "; https://a is wanted"),
            ("file:///", "; file:// is wanted"),
            ("file:///sdcard/a.html", "; file:// is wanted"),
            ("*", "leave it empty to let all pages in"),
            ("https://*.a.org", "is a pattern; name each origin"),
            ("https://*", "is a pattern"),
            ("https://müller.example", "xn--"),
            ("https://", "is no origin"),
            ("://a", "is no origin"),
            ("https://u@a", "is no origin"),
            ("https://a b", "is no origin"),
            ("https://a:99999", "is no origin"),
            ("https://a:+80", "is no origin"),
            ("https://a:b", "is no origin"),
            ("https://127.1", "is no origin"),
            ("https://256.0.0.1", "is no origin"),
            ("https://[::1", "is no origin"),
            ("https://[a]", "is no origin"),
            ("https://[::1]8", "is no origin"),
        ];
        for (text, expected) in table {
            let error = origins(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
