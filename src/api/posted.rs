//! The body of `POST /send`: what a page says that reads a stream of events (protocol.md 9.10).

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::response::Response;

/// Who says what. Nothing of it is for the log.
pub struct Posted {
    /// The uuid of the stream.
    pub uuid: String,
    /// What its `ready` has told nobody else.
    pub secret: String,
    /// A text message, as it would have come by a WebSocket.
    pub message: String,
}

impl Posted {
    /// Reads a body. Other keys mean nothing.
    ///
    /// # Errors
    /// The response to one that is none.
    pub fn parse(body: &[u8]) -> Result<Self, Response> {
        serde_json::from_slice(body).map_err(|error| {
            // Its own words may cite the body.
            let what = match error.classify() {
                serde_json::error::Category::Data => NOT_ALL,
                _ => NOT_JSON,
            };
            Response::failure(400, what)
        })
    }
}

impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Posted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Posted, A::Error> {
        let (mut uuid, mut secret, mut message) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let place = match key.as_str() {
                "uuid" => &mut uuid,
                "secret" => &mut secret,
                "message" => &mut message,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(map.next_value()?);
        }
        let missing = || A::Error::custom("a key is missing");
        Ok(Posted {
            uuid: uuid.ok_or_else(missing)?,
            secret: secret.ok_or_else(missing)?,
            message: message.ok_or_else(missing)?,
        })
    }
}

const NOT_ALL: &str = "send uuid, secret and message, each a text";
const NOT_JSON: &str = "the body is not JSON in UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_three_texts_or_refused() {
        let body = br#"{"x":[{}],"message":"a\n\"b\"","secret":"s","uuid":"u"}"#;
        let posted = Posted::parse(body).ok().unwrap();
        let Posted {
            uuid,
            secret,
            message,
        } = posted;
        assert_eq!((&*uuid, &*secret, &*message), ("u", "s", "a\n\"b\""));
        for body in [
            &br#"{"uuid":"u","secret":"s"}"#[..],
            br#"{"uuid":"u","secret":"s","message":{}}"#,
            br#"{"uuid":1,"secret":"s","message":"m"}"#,
            br#"[]"#,
            br#""#,
            br#"{"uuid":"u","secret":"s","message":"m"} {}"#,
            b"{\"uuid\":\"u\",\"secret\":\"s\",\"message\":\"\xff\"}",
            br#"{"uuid":"u","secret":"s","message":"\ud800"}"#,
        ] {
            let response = Posted::parse(body).err().unwrap();
            assert_eq!(response.status(), 400, "{body:?}");
        }
    }
}
