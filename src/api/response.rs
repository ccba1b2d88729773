//! One HTTP response, and its bytes (RFC 9112 §4, §6).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Status, header lines and body.
#[derive(Debug)]
pub struct Response {
    status: u16,
    /// Whole lines with their line ends.
    headers: String,
    body: Cow<'static, [u8]>,
}

/// Whether a response carries its body (RFC 9110 §9.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// It does.
    Sent,
    /// It does not, but tells its length: the request was HEAD.
    LeftOut,
}

impl Response {
    /// JSON text.
    pub fn json(status: u16, body: String) -> Self {
        Self::with_body(status, "application/json", body.into_bytes().into())
    }

    /// `{"delivered":0,"error":…}`
    pub fn error(status: u16, error: &str) -> Self {
        let error = serde_json::Value::from(error);
        Self::json(status, format!("{{\"delivered\":0,\"error\":{error}}}\n"))
    }

    /// `{"error":…}`
    pub fn failure(status: u16, error: &str) -> Self {
        let error = serde_json::Value::from(error);
        Self::json(status, format!("{{\"error\":{error}}}\n"))
    }

    /// 401 with the challenge (RFC 6750 §3).
    pub fn unauthorized(error: &str) -> Self {
        let mut response = Self::error(401, error);
        response.add_header("WWW-Authenticate", "Bearer realm=\"websock\"");
        response
    }

    /// 405 with the methods that are allowed (RFC 9110 §15.5.6).
    pub fn not_allowed(methods: &str) -> Self {
        let mut response = Self::error(405, &format!("allowed are {methods}"));
        response.add_header("Allow", methods);
        response
    }

    /// 204, the answer to OPTIONS (RFC 9110 §9.3.7).
    pub fn allowing(methods: &str) -> Self {
        let mut response = Self::empty(204);
        response.add_header("Allow", methods);
        response
    }

    /// A status alone.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: String::new(),
            body: Cow::Borrowed(b""),
        }
    }

    /// The head of a body that goes on until the connection ends; see
    /// [`write_head`](Self::write_head).
    pub fn stream(content_type: &str) -> Self {
        Self::with_body(200, content_type, Cow::Borrowed(b""))
    }

    /// A body of this type.
    pub fn with_body(status: u16, content_type: &str, body: Cow<'static, [u8]>) -> Self {
        let mut response = Self {
            body,
            ..Self::empty(status)
        };
        response.add_header("Content-Type", content_type);
        // What a browser gets is what it was told it is, and nothing else.
        response.add_header("X-Content-Type-Options", "nosniff");
        response
    }

    /// Adds a header line. Neither part may come from a peer.
    pub fn add_header(&mut self, name: &str, value: &str) {
        let _ = write!(self.headers, "{name}: {value}\r\n");
    }

    /// Lets the page of another origin read the response (Fetch Standard, CORS). `origin` has been
    /// found in `allowedOrigins`.
    pub fn share_with(&mut self, origin: &str) {
        self.add_header("Access-Control-Allow-Origin", origin);
        self.add_header("Vary", "Origin");
    }

    /// Whether the page of another origin may read it.
    pub fn is_shared(&self) -> bool {
        self.headers.contains("Access-Control-Allow-Origin")
    }

    /// The same, with the cookies of its user: what it may do anyway, as whoever connects.
    pub fn share_with_credentials(&mut self, origin: &str) {
        self.share_with(origin);
        self.add_header("Access-Control-Allow-Credentials", "true");
    }

    /// What the page of an allowed origin may ask of an event stream, and send to it.
    pub fn page_preflight(origin: &str, method: &str) -> Self {
        let mut response = Self::empty(204);
        response.share_with_credentials(origin);
        response.add_header("Access-Control-Allow-Methods", method);
        let headers = "Content-Type, Last-Event-ID, Cache-Control";
        response.add_header("Access-Control-Allow-Headers", headers);
        response.add_header("Access-Control-Max-Age", "600");
        response
    }

    /// What the page of an allowed origin may send to push.
    pub fn preflight(origin: &str) -> Self {
        let mut response = Self::empty(204);
        response.share_with(origin);
        response.add_header("Access-Control-Allow-Methods", "POST");
        response.add_header(
            "Access-Control-Allow-Headers",
            "Content-Type, Authorization",
        );
        response.add_header("Access-Control-Max-Age", "600");
        response
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Appends the whole response. `connection`: the value of the header Connection, if one is
    /// needed.
    pub fn write(&self, part: BodyPart, connection: Option<&str>, out: &mut Vec<u8>) {
        // RFC 9110 §8.6: it must not tell a length.
        let length = match self.status {
            204 => None,
            _ => Some(self.body.len()),
        };
        self.write_lines(length, connection, out);
        if part == BodyPart::Sent {
            out.extend_from_slice(&self.body);
        }
    }

    /// Appends the head alone, without a length.
    pub fn write_head(&self, connection: Option<&str>, out: &mut Vec<u8>) {
        self.write_lines(None, connection, out);
    }

    fn write_lines(&self, length: Option<usize>, connection: Option<&str>, out: &mut Vec<u8>) {
        let phrase = phrase(self.status);
        let mut head = format!("HTTP/1.1 {} {phrase}\r\n{}", self.status, self.headers);
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        if let Some(connection) = connection {
            let _ = write!(head, "Connection: {connection}\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 9110 §15.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response, part: BodyPart, connection: Option<&str>) -> String {
        let mut out = Vec::new();
        response.write(part, connection, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn responses_are_complete() {
        let error = Response::error(404, "nobody \"here\"");
        assert_eq!(
            written(&error, BodyPart::Sent, Some("close")),
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: 42\r\nConnection: close\r\n\r\n\
             {\"delivered\":0,\"error\":\"nobody \\\"here\\\"\"}\n"
        );
        let head = written(&error, BodyPart::LeftOut, None);
        assert!(head.ends_with("Content-Length: 42\r\n\r\n"), "{head}");
        assert_eq!(
            written(&Response::allowing("GET"), BodyPart::Sent, None),
            "HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n"
        );
    }
}
