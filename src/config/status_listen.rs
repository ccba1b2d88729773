//! The value of `status` → the addresses that tell how the server does, and nothing else.

use super::listen::{Listen, listeners};
use super::value::{Expected, list};
use crate::app::peer::ListenerRole;
use crate::net::ProxyProtocol;

/// Reads a comma-separated list of addresses, none twice; there may be none.
pub(super) fn status_listeners(text: &str) -> Result<Vec<Listen>, Expected> {
    if list(text).next().is_none() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = list(text).collect();
    let spoken: Vec<String> = parts.iter().map(|part| in_words_of_adress(part)).collect();
    let mut all = listeners(&spoken.join(","))?;
    for (listen, part) in all.iter_mut().zip(parts) {
        let options = &mut listen.endpoint.options;
        if options.role != ListenerRole::All || options.proxy_protocol != ProxyProtocol::None {
            return Err(format!(
                "{part}: behind an address of status nothing is wanted, behind a unix: socket \
                 mode=660 or group=NAME"
            ));
        }
        options.role = ListenerRole::Status;
        part.clone_into(&mut listen.as_written);
    }
    Ok(all)
}

/// HTTP is what is spoken there, and what `adress` calls ws.
fn in_words_of_adress(part: &str) -> String {
    for (scheme, known) in [("http://", "ws://"), ("https://", "wss://")] {
        if let Some((before, rest)) = part.split_at_checked(scheme.len())
            && before.eq_ignore_ascii_case(scheme)
        {
            return format!("{known}{rest}");
        }
    }
    part.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_http() {
        let table = [
            ("", Some("")),
            (" , ", Some("")),
            ("http://127.0.0.1:9108", Some("ws 127.0.0.1:9108")),
            ("HTTPS://a:1", Some("wss a:1")),
            (
                "10.0.0.1:9108, [::1]:9108",
                Some("ws 10.0.0.1:9108|ws [::1]:9108"),
            ),
            ("unix:/run/s.sock mode=600", Some("ws unix:/run/s.sock")),
            ("ws://a:1", Some("ws a:1")),
            ("http://a:1 web", None),
            ("http://a:1 scripts", None),
            ("http://a:1 proxy", None),
            ("http://a:1/status", None),
            ("http://a:1,ws://a:1", None),
            ("9108", None),
        ];
        for (text, expected) in table {
            let shown = status_listeners(text).ok().map(|all| {
                let each = all.iter().map(|listen| {
                    let endpoint = &listen.endpoint;
                    assert_eq!(endpoint.options.role, ListenerRole::Status, "{text}");
                    let scheme = endpoint.options.security.scheme();
                    format!("{scheme} {}", endpoint.address)
                });
                each.collect::<Vec<_>>().join("|")
            });
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }
}
