//! Who is here: `GET /users/ID` and `POST /users` (protocol.md 10.5).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::batch::{Reach, elements};
use super::response::Response;
use crate::base::free;
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

/// Users of whom it is asked how many tabs they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One (`GET /users/ID`).
    One(String),
    /// Those of a list (`POST /users`).
    Many(Vec<String>),
}

impl Asked {
    /// The list in a body.
    ///
    /// # Errors
    /// The response to one that is none.
    pub fn of_body(body: Vec<u8>) -> Result<Self, Response> {
        let asked = Self::parse(&body);
        free(body);
        asked
    }

    fn parse(body: &[u8]) -> Result<Self, Response> {
        let body = str::from_utf8(body).map_err(|_| refusal("the body is not UTF-8"))?;
        let ids = ids(body)?.into_iter().map(Cow::into_owned);
        Ok(Self::Many(ids.collect()))
    }

    /// The users, in their order.
    pub fn users(&self) -> &[String] {
        match self {
            Self::One(user) => std::slice::from_ref(user),
            Self::Many(users) => users,
        }
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let bytes = |user: &String| size_of::<String>() + user.capacity();
        self.users().iter().map(bytes).sum()
    }

    /// How many tabs each has here.
    pub fn tabs_here(&self, clients: &Clients) -> Vec<u64> {
        let count = |user: &String| clients.tabs_of(user).count() as u64;
        self.users().iter().map(count).collect()
    }

    /// The answer: `tabs` of each, as far as the nodes in `reach` have said. Of a list, those who
    /// have some.
    pub fn response(&self, tabs: &[u64], reach: Reach) -> Response {
        let Self::One(user) = self else {
            return Response::json(200, format!("{}\n", self.list(tabs, reach)));
        };
        let (user, count) = (
            Value::from(user.as_str()),
            tabs.first().copied().unwrap_or(0),
        );
        let (status, error) = match (count, reach.is_whole()) {
            (0, true) => (404, r#","error":"this user has no open tab""#),
            (0, false) => (504, r#","error":"not all servers have answered""#),
            (_, _) => (200, ""),
        };
        let body = format!("{{\"user\":{user},\"tabs\":{count}{reach}{error}}}\n");
        Response::json(status, body)
    }

    fn list(&self, tabs: &[u64], reach: Reach) -> String {
        let mut users = String::new();
        for (user, count) in self.users().iter().zip(tabs) {
            if *count > 0 {
                let separator = if users.is_empty() { "" } else { "," };
                let user = Value::from(user.as_str());
                users.push_str(&format!("{separator}{{\"user\":{user},\"tabs\":{count}}}"));
            }
        }
        format!("{{\"users\":[{users}]{reach}}}")
    }
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

    fn one(id: &str, clients: &Clients) -> Response {
        let asked = Asked::One(id.to_owned());
        asked.response(&asked.tabs_here(clients), Reach::default())
    }

    fn those_here(body: Vec<u8>, clients: &Clients) -> Response {
        Asked::of_body(body).map_or_else(
            |response| response,
            |asked| asked.response(&asked.tabs_here(clients), Reach::default()),
        )
    }
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
