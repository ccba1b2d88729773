//! Packets by HTTP, `POST /push`, which says how many got them: what a WebSocket's `next` does not.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::address::Address;
use super::error::Error;
use super::handshake::{MAX_HEAD_BYTES, MAX_HEADERS, start_of, words_of};
use super::message::string_of;
use super::settings::ClientSettings;
use super::stream::{Read, Stream};

/// A connection to push over, which is kept from one packet to the next.
#[derive(Debug)]
pub struct Push {
    address: Address,
    settings: ClientSettings,
    /// Before the names of what is asked for, such as `/push`.
    directory: String,
    /// What is kept, and since when it rests.
    stream: Option<(Stream, Instant)>,
}

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// In how many queues it stands.
    pub delivered: u64,
    /// For how many that are away it waits until they are back.
    pub queued: u64,
    /// How many tabs it has closed, if it was a logout.
    pub closed: Option<u64>,
    /// Why in none, or in fewer, if the server says so.
    pub error: Option<String>,
    /// How many other servers were asked, if there are some that have not answered.
    pub nodes: Option<Nodes>,
    /// Whether other servers could not be told: `delivered` counts this one only.
    pub is_partial: bool,
}

/// The other servers that a packet was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// So many were asked.
    pub asked: u64,
    /// So many have answered in time.
    pub answered: u64,
}

impl Push {
    /// Connects to the server behind a WebSocket's address, such as `ws://localhost:8096/php`: the
    /// packets go to `/push` there. A `?token=` in it counts if `settings` has none.
    ///
    /// # Errors
    /// [`Error`] says at which step it failed, and what to do.
    pub fn connect(address: &str, settings: &ClientSettings) -> Result<Self, Error> {
        let address = Address::parse(address)?;
        let (directory, token) = address.push_target();
        let mut settings = settings.clone();
        if settings.token.is_empty() {
            settings.token = token.unwrap_or_default();
        }
        Ok(Self {
            stream: Some((Stream::connect(&address, settings.timeout)?, Instant::now())),
            address,
            settings,
            directory,
        })
    }

    /// Pushes one packet.
    ///
    /// # Errors
    /// If the server takes no pushes from us. That nobody got the packet is none.
    pub fn send(&mut self, packet: &str) -> Result<Receipt, Error> {
        let (status, body) = self.exchange("POST", "push", Some(packet))?;
        match (status, receipt(&body)) {
            // Refused is the packet; all others have to do with us.
            (200 | 202 | 400 | 404 | 413 | 503 | 504, Some(receipt)) => Ok(receipt),
            (_, Some(Receipt { error, .. })) => {
                Err(Error::NoPush(status, error.unwrap_or_default()))
            }
            (_, None) => Err(Error::NoPush(status, words_of(&body))),
        }
    }

    /// Where the messages to all and to users are now. A page that is made now and connects later
    /// by [`ClientSettings::since`] misses none in between.
    ///
    /// # Errors
    /// If the server takes no pushes from us, or keeps nothing.
    pub fn position(&mut self) -> Result<String, Error> {
        let (status, body) = self.exchange("GET", "position", None)?;
        let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
        match string_of(&answer, "cursor").filter(|_| status == 200) {
            Some(cursor) => Ok(cursor),
            None => Err(Error::NoPush(status, words_of(&body))),
        }
    }

    fn exchange(
        &mut self,
        method: &str,
        name: &str,
        body: Option<&str>,
    ) -> Result<(u16, Vec<u8>), Error> {
        let kept = self.stream.take();
        let mut stream = match kept.and_then(|(kept, since)| alive(kept, since)) {
            Some(stream) => stream,
            None => Stream::connect(&self.address, self.settings.timeout)?,
        };
        let request = self.request(method, name, body);
        stream.write(request.as_bytes()).map_err(Error::Lost)?;
        let deadline = Instant::now() + self.settings.timeout;
        let (response, end) = read(&mut stream, deadline)?;
        if end == End::KeepAlive {
            self.stream = Some((stream, Instant::now()));
        }
        Ok(response)
    }

    fn request(&self, method: &str, name: &str, body: Option<&str>) -> String {
        let token = match self.settings.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let type_and_length = body.map(|body| {
            let len = body.len();
            format!("Content-Type: application/json\r\nContent-Length: {len}\r\n")
        });
        format!(
            "{method} {}/{name} HTTP/1.1\r\nHost: {}\r\n{}{token}\r\n{}",
            self.directory,
            self.address.authority,
            type_and_length.unwrap_or_default(),
            body.unwrap_or_default()
        )
    }
}

/// Whether the connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    KeepAlive,
    Close,
}

/// A response: status and body.
type Response = (u16, Vec<u8>);

fn read(stream: &mut Stream, deadline: Instant) -> Result<(Response, End), Error> {
    let mut answer = Vec::new();
    loop {
        if let Some(response) = parse(&answer, End::KeepAlive)? {
            return Ok(response);
        }
        match stream.read(Some(deadline), &mut answer) {
            Ok(Read::Some) => {}
            Ok(Read::TimedOut) => return Err(Error::Timeout("answer to the push")),
            Ok(Read::Ended) if answer.is_empty() => return Err(Error::Ended),
            Ok(Read::Ended) => {
                let whole = parse(&answer, End::Close)?;
                return whole.ok_or_else(|| Error::NoHttp(start_of(&answer)));
            }
            Err(error) => return Err(Error::Lost(error)),
        }
    }
}

/// The response in `answer`; `None` if more has to come. `end`: whether more can come.
fn parse(answer: &[u8], end: End) -> Result<Option<(Response, End)>, Error> {
    let no_http = || Error::NoHttp(start_of(answer));
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(answer) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(no_http()),
    };
    let status = response.code.unwrap_or_default();
    let rest = answer.get(head_len..).unwrap_or_default();
    if (100..200).contains(&status) {
        return parse(rest, end);
    }
    let header = |name: &str| {
        let mut all = response.headers.iter();
        let found = all.find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let is_last = response.version == Some(0)
        || header("Connection").is_some_and(|value| value.contains("close"));
    let next = if is_last || end == End::Close {
        End::Close
    } else {
        End::KeepAlive
    };
    if rest.len() > MAX_BODY_BYTES {
        return Err(no_http());
    }
    let is_chunked = header("Transfer-Encoding").is_some();
    let body = match header("Content-Length") {
        _ if is_chunked => joined_chunks(rest).ok_or_else(no_http)?,
        Some(len) => {
            let len: usize = len.trim().parse().map_err(|_| no_http())?;
            rest.get(..len).map(<[u8]>::to_vec)
        }
        None if status == 204 => Some(Vec::new()),
        // All that comes until the end.
        None => (end == End::Close).then(|| rest.to_vec()),
    };
    Ok(body.map(|body| ((status, body), next)))
}

/// The body in its chunks (RFC 9112 §7.1); `Some(None)` if more has to come, `None` if it is none.
fn joined_chunks(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let (start, len) = match httparse::parse_chunk_size(rest).ok()? {
            httparse::Status::Complete((start, len)) => (start, usize::try_from(len).ok()?),
            httparse::Status::Partial => return Some(None),
        };
        if len > MAX_BODY_BYTES {
            return None;
        }
        // With the line end behind it; the last one has nothing but that.
        let Some(chunk) = rest.get(start..start + len + 2) else {
            return Some(None);
        };
        if len == 0 {
            return Some(Some(body));
        }
        body.extend_from_slice(chunk.get(..len)?);
        rest = rest.get(start + len + 2..)?;
    }
}

fn receipt(body: &[u8]) -> Option<Receipt> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let count = |name: &str| body.get(name).and_then(Value::as_u64);
    let closed = count("closed");
    let of_nodes = |name: &str| body.get("nodes")?.get(name)?.as_u64();
    let nodes = of_nodes("asked").zip(of_nodes("answered"));
    Some(Receipt {
        delivered: count("delivered").or(closed.map(|_| 0))?,
        queued: count("queued").unwrap_or_default(),
        closed,
        error: string_of(&body, "error"),
        nodes: nodes.map(|(asked, answered)| Nodes { asked, answered }),
        is_partial: body.get("partial") == Some(&Value::Bool(true)),
    })
}

/// A connection that was kept, if it can still be used. The server ends those that rest for long,
/// and a packet that is sent into such an end must not be sent twice.
fn alive(mut stream: Stream, since: Instant) -> Option<Stream> {
    if since.elapsed() < RESTED {
        return Some(stream);
    }
    let looked = stream.read(Some(Instant::now() + LOOK), &mut Vec::new());
    matches!(looked, Ok(Read::TimedOut)).then_some(stream)
}

/// Far more than a receipt needs, and enough for a proxy's page.
const MAX_BODY_BYTES: usize = 256 << 10;

/// A look after each shorter rest would cost lines of standard input a millisecond each.
const RESTED: Duration = Duration::from_millis(500);

/// How long a look at a kept connection takes at most.
const LOOK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body and whether the connection is kept, as far as `answer` holds a response.
    fn shown(answer: &str, end: End) -> String {
        match parse(answer.as_bytes(), end) {
            Ok(Some(((status, body), next))) => {
                format!("{status} {} {next:?}", String::from_utf8_lossy(&body))
            }
            Ok(None) => "more".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn responses_are_read_by_length_by_chunks_and_until_the_end() {
        let table = [
            (
                "Content-Length: 2\r\n\r\n{}",
                End::KeepAlive,
                "200 {} KeepAlive",
            ),
            ("Content-Length: 2\r\n\r\n{", End::KeepAlive, "more"),
            (
                "Connection: close\r\nContent-Length: 0\r\n\r\n",
                End::KeepAlive,
                "200  Close",
            ),
            ("\r\n{}", End::KeepAlive, "more"),
            ("\r\n{}", End::Close, "200 {} Close"),
            (
                "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\n\r\n",
                End::KeepAlive,
                "200 {} KeepAlive",
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r",
                End::KeepAlive,
                "more",
            ),
            ("Content-Length: x\r\n\r\n", End::KeepAlive, "what answers"),
            (
                "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                End::KeepAlive,
                "what answers",
            ),
        ];
        for (rest, end, expected) in table {
            let answer = format!("HTTP/1.1 200 OK\r\n{rest}");
            let told = shown(&answer, end);
            assert!(told.starts_with(expected), "{rest:?}: {told}");
        }
        let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(shown(early, End::KeepAlive), "404  Close");
    }
}
