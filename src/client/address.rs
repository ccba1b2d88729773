//! Where to connect: `ws://host:port/path?query`.

use super::error::Error;

/// A server and what is asked for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) security: Security,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, beginning with `/`.
    pub(super) target: String,
    /// Host and port as the header Host has them.
    pub(super) authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    Tls,
}

impl Address {
    /// Reads an address. `tcp` and `ssl` are what PHP calls the two schemes.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" | "tcp" => Security::Plain,
            "wss" | "https" | "ssl" => Security::Tls,
            _ => return Err(wrong()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = match target.strip_prefix('?') {
            Some(query) => format!("/?{query}"),
            None if target.is_empty() => "/".to_owned(),
            None => target.to_owned(),
        };
        let (host, port) = split_port(authority).ok_or_else(wrong)?;
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
        if host.is_empty() || !host.chars().all(is_plain) || !target.chars().all(is_plain) {
            return Err(wrong());
        }
        let default = match security {
            Security::Plain => 80,
            Security::Tls => 443,
        };
        Ok(Self {
            security,
            host: host.to_owned(),
            port: port.unwrap_or(default),
            target,
            authority: authority.to_owned(),
        })
    }
}

impl Address {
    /// The same with more fields in its query; those that it has already stay as they are.
    pub(super) fn with_fields<'a>(&self, more: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut target = self.target.clone();
        for (name, value) in more {
            let (_, query) = target.split_once('?').unwrap_or((&target, ""));
            let mut names = query.split('&').filter_map(|field| field.split('=').next());
            if !names.any(|known| known == name) {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.extend([name, "="]);
                target.extend(value.bytes().map(encoded));
            }
        }
        Self {
            target,
            ..self.clone()
        }
    }

    /// In which directory the same server takes pushes, and the token in the query, if there is one.
    pub(super) fn push_target(&self) -> (String, Option<String>) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let token = query.split('&').find_map(|f| f.strip_prefix("token="));
        (directory.to_owned(), token.map(str::to_owned))
    }
}

/// A byte as it stands in a query (RFC 3986 §2.3).
fn encoded(byte: u8) -> String {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

/// Host without brackets, and port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            (
                host,
                behind
                    .strip_prefix(':')
                    .or(Some("").filter(|_| behind.is_empty()))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    match port {
        "" => Some((host, None)),
        port => Some((host, Some(port.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_go_to_the_path_beside() {
        for (url, expected) in [
            ("ws://a/php", ("", None)),
            ("ws://a", ("", None)),
            (
                "wss://a/websock/php?x=1&token=abc",
                ("/websock", Some("abc")),
            ),
            ("ws://a/push", ("", None)),
            ("ws://a/x/", ("/x", None)),
        ] {
            let (path, token) = Address::parse(url).expect(url).push_target();
            assert_eq!((path.as_str(), token.as_deref()), expected, "{url}");
        }
    }

    #[test]
    fn fields_are_added_once_and_encoded() {
        let fields = [("resume", "1"), ("since", "a-b c&")];
        for (url, expected) in [
            ("ws://a/web", "/web?resume=1&since=a-b%20c%26"),
            ("ws://a?user=1", "/?user=1&resume=1&since=a-b%20c%26"),
            ("ws://a/web?since=x&resume=1", "/web?since=x&resume=1"),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.with_fields(fields.into_iter()).target, expected);
        }
    }

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            (
                "ws://localhost:8096/web",
                Some("Plain localhost 8096 /web localhost:8096"),
            ),
            (
                "WSS://example.org",
                Some("Tls example.org 443 / example.org"),
            ),
            ("ws://a?x=1", Some("Plain a 80 /?x=1 a")),
            (
                "tcp://[::1]:8096/php?token=x",
                Some("Plain ::1 8096 /php?token=x [::1]:8096"),
            ),
            ("ssl://[::1]", Some("Tls ::1 443 / [::1]")),
            ("localhost:8096", None),
            ("ftp://a", None),
            ("ws://", None),
            ("ws://a:x/", None),
            ("ws://a:70000/", None),
            ("ws://[::1]x/", None),
            ("ws://user@a/", None),
            ("ws://a/b c", None),
        ] {
            let address = Address::parse(text).ok();
            let shown = address.map(|a| {
                format!(
                    "{:?} {} {} {} {}",
                    a.security, a.host, a.port, a.target, a.authority
                )
            });
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }
}
