//! Who is here: `GET /users/ID` and `POST /users` (protocol.md 10.5).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::batch::elements;
use super::response::Response;
use crate::protocol::packet;
use crate::registry::Clients;

/// The user whose id is in a path behind `/users/`. Escapes are undone; a `+` and further slashes
/// are part of the id. `Err` is the response to a path that names nobody.
pub(super) fn id_of(path: &str) -> Result<String, Response> {
    let id = percent_decode_str(path).decode_utf8();
    match id {
        Ok(id) if !id.is_empty() => Ok(id.into_owned()),
        Ok(_) => Err(refusal("the path has no user's id behind /users/")),
        Err(_) => Err(refusal("the user's id in the path is not UTF-8")),
    }
}

/// The answer to `GET /users/ID`.
pub fn one(id: &str, clients: &Clients) -> Response {
    let (user, count) = (serde_json::Value::from(id), clients.tabs_of(id).count());
    match count {
        0 => Response::json(
            404,
            format!("{{\"user\":{user},\"tabs\":0,\"error\":\"this user has no open tab\"}}\n"),
        ),
        _ => Response::json(200, format!("{{\"user\":{user},\"tabs\":{count}}}\n")),
    }
}

/// The answer to `POST /users`: those of the list in `body` who have a tab, in its order.
pub fn those_here(body: Vec<u8>, clients: &Clients) -> Response {
    let Ok(body) = String::from_utf8(body) else {
        return refusal("the body is not UTF-8");
    };
    let ids = match ids(&body) {
        Ok(ids) => ids,
        Err(response) => return response,
    };
    let mut users = String::new();
    for id in ids {
        let count = clients.tabs_of(&id).count();
        if count > 0 {
            let separator = if users.is_empty() { "" } else { "," };
            let user = serde_json::Value::from(id);
            users.push_str(&format!("{separator}{{\"user\":{user},\"tabs\":{count}}}"));
        }
    }
    Response::json(200, format!("{{\"users\":[{users}]}}\n"))
}

/// The ids in a list, as many as packets may stand in the body of a push.
fn ids(body: &str) -> Result<Vec<Cow<'_, str>>, Response> {
    if !body.trim_ascii_start().starts_with('[') {
        return Err(refusal(NO_LIST));
    }
    let ranges = elements(body, "users")?;
    let ids = ranges.into_iter().map(|range| {
        let raw = body.get(range).unwrap_or_default();
        Some(packet::user(raw)).filter(|id| !id.is_empty())
    });
    ids.collect::<Option<_>>().ok_or_else(|| refusal(NO_LIST))
}

fn refusal(error: &str) -> Response {
    Response::error(400, error)
}

const NO_LIST: &str = "the body is a list of users' ids: texts that are not empty, or integers";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::BodyPart;
    use crate::connection::ConnId;
    use crate::registry::{ClientKind, ClientUuid, Identity, UserId};

    fn clients(users: &[&str]) -> Clients {
        let mut clients = Clients::default();
        for (slot, user) in (0..).zip(users) {
            let id = ConnId {
                slot,
                generation: 1,
            };
            clients.open(id, ClientKind::Web, ClientUuid::Standard(slot.into()), "");
            let identity = Identity {
                user: UserId::new(user),
                session: None,
            };
            assert!(clients.identify(id, &identity));
        }
        clients
    }

    fn written(response: &Response) -> (u16, String) {
        let mut out = Vec::new();
        response.write(BodyPart::Sent, None, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (response.status(), body.to_owned())
    }

    #[test]
    fn ids_in_paths_are_decoded() {
        for (path, id) in [
            ("42", Some("42")),
            ("a%40b.c", Some("a@b.c")),
            ("J%C3%A4n%20Doe", Some("Jän Doe")),
            ("a+b", Some("a+b")),
            ("a%2Fb/c", Some("a/b/c")),
            ("50%", Some("50%")),
            ("%00", Some("\0")),
            ("", None),
            ("%ff", None),
        ] {
            assert_eq!(id_of(path).ok().as_deref(), id, "{path}");
        }
    }

    // protocol.md 10.5
    #[test]
    fn those_who_are_here_are_told_with_their_tabs() {
        let clients = clients(&["42", "7", "42", "a\"b", ""]);
        let list = r#" [42, "7", "8", "a\"b", "\u0037", -1] "#;
        let all = "{\"users\":[{\"user\":\"42\",\"tabs\":2},{\"user\":\"7\",\"tabs\":1},\
            {\"user\":\"a\\\"b\",\"tabs\":1},{\"user\":\"7\",\"tabs\":1}]}\n";
        for (body, status, text) in [
            (list, 200, all),
            ("[]", 200, "{\"users\":[]}\n"),
            ("[\"8\"]", 200, "{\"users\":[]}\n"),
        ] {
            let response = those_here(body.into(), &clients);
            assert_eq!(written(&response), (status, text.to_owned()), "{body}");
        }
        for body in [
            "", "42", "{}", "[1", "[1]x", "[1.5]", "[null]", "[[]]", "[\"\"]", "[true]", "[1,]",
        ] {
            assert_eq!(those_here(body.into(), &clients).status(), 400, "{body}");
        }
        assert_eq!(those_here(b"[\"\xff\"]".to_vec(), &clients).status(), 400);
        for (count, status) in [(10_000, 200), (10_001, 413)] {
            let body = format!("[{}]", vec!["1"; count].join(","));
            assert_eq!(those_here(body.into(), &clients).status(), status);
        }
        let here = "{\"user\":\"a\\\"b\",\"tabs\":1}\n".to_owned();
        assert_eq!(written(&one("a\"b", &clients)), (200, here));
        assert_eq!(one("8", &clients).status(), 404);
    }
}
