//! [`ResponseReader`]: bytes → one [`Response`], under limits (RFC 9112 §2, §4, §6, §9.3).
//!
//! A line ends in CR LF and in nothing else; a length that is ambiguous is no length. The first
//! byte that decides decides: who does not speak HTTP is not waited for.

use httparse::Status;

use super::super::error::CallError;
use super::request::Method;
use super::response::{Headers, Response};
use crate::protocol::body::{BodyLength, BodyReader};
use crate::protocol::error::Rejection;

/// Reads the answer to one request.
#[derive(Debug)]
pub struct ResponseReader {
    method: Method,
    max_body_bytes: usize,
    state: State,
    /// Answers with a status of 1xx that have come before the one that counts.
    interim_count: usize,
    has_begun: bool,
}

/// What may become of the connection once an answer is whole (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterAnswer {
    /// It can carry another request.
    Keep,
    /// It has to be closed.
    Close,
}

#[derive(Debug)]
enum State {
    /// Status line and headers, as far as they have come.
    Head(Vec<u8>),
    /// The body, whose length is known or told chunk by chunk.
    Body(Box<Head>, BodyReader),
    /// The body, which ends with the connection.
    UntilClose(Box<Head>, Vec<u8>),
    /// The answer is whole.
    Done,
}

/// A head that counts, read.
#[derive(Debug)]
struct Head {
    status: u16,
    headers: Headers,
    after: AfterAnswer,
    body: BodyKind,
}

/// Where the body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Length(BodyLength),
    UntilClose,
}

impl ResponseReader {
    /// Awaits the answer to a request with this method, whose body has at most `max_body_bytes`.
    pub fn new(method: Method, max_body_bytes: usize) -> Self {
        Self {
            method,
            max_body_bytes,
            state: State::Head(Vec::new()),
            interim_count: 0,
            has_begun: false,
        }
    }

    /// Takes bytes from the front of `input`: the answer if it is whole, else all are taken.
    ///
    /// [`CallError::Malformed`] or [`CallError::TooLarge`] as soon as it is certain; the
    /// connection is of no use then.
    pub fn push(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<(Response, AfterAnswer)>, CallError> {
        self.has_begun |= !input.is_empty();
        while let State::Head(gathered) = &mut self.state {
            if !gather_head(gathered, input)? {
                return Ok(None);
            }
            let head = std::mem::take(gathered);
            self.take_head(&head)?;
        }
        match &mut self.state {
            State::Body(_, reader) => {
                let (len, body) = reader.push(input).map_err(body_error)?;
                *input = input.get(len..).unwrap_or_default();
                Ok(body.and_then(|body| self.finish(body)))
            }
            State::UntilClose(_, body) => {
                if input.len() > self.max_body_bytes - body.len() {
                    return Err(CallError::TooLarge);
                }
                body.extend_from_slice(input);
                *input = &[];
                Ok(None)
            }
            State::Head(_) | State::Done => Ok(None),
        }
    }

    /// The other end will send nothing more, and says so: the answer if that makes it whole.
    pub fn handle_eof(&mut self) -> Option<(Response, AfterAnswer)> {
        match &mut self.state {
            State::UntilClose(_, body) => {
                let body = std::mem::take(body);
                self.finish(body)
            }
            State::Head(_) | State::Body(..) | State::Done => None,
        }
    }

    /// Whether any byte has come.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Head(gathered) => gathered.capacity(),
            State::Body(_, reader) => size_of::<Head>() + reader.held_bytes(),
            State::UntilClose(_, body) => size_of::<Head>() + body.capacity(),
            State::Done => 0,
        }
    }

    fn finish(&mut self, body: Vec<u8>) -> Option<(Response, AfterAnswer)> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Body(head, _) | State::UntilClose(head, _) => {
                Some((Response::new(head.status, head.headers, body), head.after))
            }
            State::Head(_) | State::Done => None,
        }
    }

    /// Goes on behind a head: to its body, or, behind one of 1xx, to the next head
    /// (RFC 9110 §15.2).
    fn take_head(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let head = Head::parse(bytes, self.method)?;
        if head.status < 200 {
            self.interim_count += 1;
            // Nobody has asked for another protocol (RFC 9110 §15.2.2).
            if head.status == 101 || self.interim_count > MAX_INTERIM_ANSWERS {
                return Err(CallError::Malformed);
            }
            return Ok(());
        }
        self.state = match head.body {
            BodyKind::Length(length) => {
                let reader = BodyReader::new(length, self.max_body_bytes).map_err(body_error)?;
                State::Body(Box::new(head), reader)
            }
            BodyKind::UntilClose => State::UntilClose(Box::new(head), Vec::new()),
        };
        Ok(())
    }
}

impl Head {
    /// Reads a whole head. The answer to a request with `method` is wanted.
    fn parse(bytes: &[u8], method: Method) -> Result<Self, CallError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(bytes) {
            Ok(Status::Complete(len)) if len == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(CallError::TooLarge),
            Ok(_) | Err(_) => return Err(CallError::Malformed),
        }
        let status = parsed.code.filter(|code| (100..=599).contains(code));
        let status = status.ok_or(CallError::Malformed)?;
        let is_http_1_1 = parsed.version == Some(1);
        let mut headers = Headers::default();
        for field in parsed.headers.iter() {
            headers.push(field.name, field.value);
        }
        let told = body_kind(&headers, is_http_1_1)?;
        let body = match (method, status) {
            // RFC 9112 §6.3: none, whatever the headers say.
            (Method::Head, _) | (_, 100..=199 | 204 | 304) => BodyKind::Length(BodyLength::None),
            (Method::Get | Method::Post | Method::Put | Method::Delete, _) => told,
        };
        let after = match body {
            BodyKind::UntilClose => AfterAnswer::Close,
            BodyKind::Length(_) => after_answer(&headers, is_http_1_1),
        };
        Ok(Self {
            status,
            headers,
            after,
            body,
        })
    }
}

/// Moves a head over, up to its empty line; whether it is whole.
fn gather_head(gathered: &mut Vec<u8>, input: &mut &[u8]) -> Result<bool, CallError> {
    while let Some(at) = memchr::memchr(b'\n', input) {
        let (line, rest) = input.split_at(at + 1);
        check_room(gathered, line)?;
        gathered.extend_from_slice(line);
        *input = rest;
        check_beginning(gathered)?;
        if !gathered.ends_with(b"\r\n") {
            return Err(CallError::Malformed);
        }
        if gathered.ends_with(b"\r\n\r\n") {
            return Ok(true);
        }
    }
    check_room(gathered, input)?;
    gathered.extend_from_slice(input);
    *input = &[];
    check_beginning(gathered)?;
    Ok(false)
}

fn check_room(gathered: &[u8], piece: &[u8]) -> Result<(), CallError> {
    match gathered.len() + piece.len() <= MAX_HEAD_BYTES {
        true => Ok(()),
        false => Err(CallError::TooLarge),
    }
}

/// Refuses what does not begin as every answer does.
fn check_beginning(gathered: &[u8]) -> Result<(), CallError> {
    let len = gathered.len().min(BEGINNING.len());
    match gathered.get(..len) == BEGINNING.get(..len) {
        true => Ok(()),
        false => Err(CallError::Malformed),
    }
}

/// What the headers say about the body (RFC 9112 §6).
fn body_kind(headers: &Headers, is_http_1_1: bool) -> Result<BodyKind, CallError> {
    let mut codings = headers.values("Transfer-Encoding");
    let mut lengths = headers.values("Content-Length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(BodyKind::UntilClose),
        (Some(coding), None) if is_http_1_1 && codings.next().is_none() => {
            match coding.eq_ignore_ascii_case(b"chunked") {
                true => Ok(BodyKind::Length(BodyLength::Chunked)),
                false => Err(CallError::Malformed),
            }
        }
        // §6.1: HTTP/1.0 knows no codings; both is how one hides an answer behind another.
        (Some(_), _) => Err(CallError::Malformed),
        (None, Some(length)) => {
            let digits = str::from_utf8(length).ok();
            let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse().ok());
            let number = number.filter(|_| lengths.next().is_none());
            let bytes = number.map(BodyLength::Bytes).map(BodyKind::Length);
            bytes.ok_or(CallError::Malformed)
        }
    }
}

/// Whether the connection lives on (RFC 9112 §9.3).
fn after_answer(headers: &Headers, is_http_1_1: bool) -> AfterAnswer {
    let has_option = |option: &[u8]| {
        headers
            .values("Connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(option))
    };
    match (is_http_1_1, has_option(b"close")) {
        (_, true) => AfterAnswer::Close,
        (false, false) if !has_option(b"keep-alive") => AfterAnswer::Close,
        (_, false) => AfterAnswer::Keep,
    }
}

fn body_error(rejection: Rejection) -> CallError {
    match rejection {
        Rejection::BodyTooLarge => CallError::TooLarge,
        _ => CallError::Malformed,
    }
}

/// What each answer begins with; a newer minor version would begin so, too (RFC 9112 §2.3).
const BEGINNING: &[u8] = b"HTTP/1.";

/// Most bytes of one head. PHP's and nginx's own limits are below it.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most headers of one answer; Apache takes as many in a request.
const MAX_HEADERS: usize = 100;

/// Most answers of 1xx before the one that counts: 100 and 103 come once or twice.
const MAX_INTERIM_ANSWERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer, or what is wrong with it, and how many bytes were left behind it.
    type Outcome = Result<Option<(u16, Vec<u8>, AfterAnswer, usize)>, CallError>;

    const LIMIT: usize = 20;

    fn read<'a>(method: Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut reader = ResponseReader::new(method, LIMIT);
        let mut pieces = pieces.into_iter();
        while let Some(mut piece) = pieces.next() {
            if let Some((response, after)) = reader.push(&mut piece)? {
                let left = piece.len() + pieces.map(<[u8]>::len).sum::<usize>();
                return Ok(Some((response.status(), response.into_body(), after, left)));
            }
            assert!(piece.is_empty(), "all is taken until the answer is whole");
        }
        let end = reader.handle_eof();
        Ok(end.map(|(response, after)| (response.status(), response.into_body(), after, 0)))
    }

    /// The same at every cut and byte by byte.
    fn read_anyhow(method: Method, input: &[u8]) -> Outcome {
        let whole = read(method, [input]);
        let text = String::from_utf8_lossy(input.get(..200).unwrap_or(input));
        for cut in (0..input.len()).step_by(input.len() / 400 + 1) {
            let (front, back) = input.split_at(cut);
            assert_eq!(read(method, [front, back]), whole, "{text} at {cut}");
        }
        assert_eq!(read(method, input.chunks(1)), whole, "{text} bytewise");
        whole
    }

    fn answer(status: u16, body: &str, after: AfterAnswer, left: usize) -> Outcome {
        Ok(Some((status, body.into(), after, left)))
    }

    #[test]
    fn answers_are_read_alike_wherever_they_are_cut() {
        use AfterAnswer::*;
        let cut = || Ok(None);
        for (input, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
                answer(200, "abcde", Keep, 0),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
                answer(200, "a", Keep, 2),
            ),
            (
                "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n",
                answer(404, "", Keep, 0),
            ),
            (
                "HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n",
                answer(500, "", Keep, 0),
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", answer(204, "", Keep, 0)),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
                answer(204, "", Keep, 3),
            ),
            (
                "HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n",
                answer(304, "", Keep, 0),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                answer(200, "abc", Keep, 0),
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: x , Close\r\nContent-Length: 1\r\n\r\na",
                answer(200, "a", Close, 0),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
                answer(200, "a", Close, 0),
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
                answer(200, "a", Keep, 0),
            ),
            (
                "HTTP/1.1 502 Bad\r\n\r\nbody",
                answer(502, "body", Close, 0),
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n",
                answer(200, "", Close, 0),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\n\
                 HTTP/1.1 204 x\r\n\r\n",
                answer(204, "", Keep, 0),
            ),
            ("", cut()),
            ("HTT", cut()),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", cut()),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", cut()),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
                cut(),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
                cut(),
            ),
        ] {
            assert_eq!(
                read_anyhow(Method::Get, input.as_bytes()),
                expected,
                "{input}"
            );
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        for (length, left) in [
            ("Content-Length: 1000000", ""),
            ("Transfer-Encoding: chunked", ""),
            ("X: y", "abc"),
        ] {
            let input = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{left}");
            let expected = answer(200, "", AfterAnswer::Keep, left.len());
            assert_eq!(
                read_anyhow(Method::Head, input.as_bytes()),
                expected,
                "{length}"
            );
        }
    }

    #[test]
    fn two_readings_of_the_length_are_none() {
        for headers in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding:",
            "Transfer-Encoding : chunked",
            "X: y\r\n Content-Length: 1",
            "Content Length: 1",
        ] {
            for (method, status) in [(Method::Get, 200), (Method::Head, 200), (Method::Get, 204)] {
                let input = format!("HTTP/1.1 {status} OK\r\n{headers}\r\n\r\n");
                let outcome = read_anyhow(method, input.as_bytes());
                assert_eq!(outcome, Err(CallError::Malformed), "{headers}");
            }
        }
        let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read_anyhow(Method::Get, old), Err(CallError::Malformed));
    }

    #[test]
    fn what_is_no_answer_is_refused_by_its_first_wrong_byte() {
        for (input, wrong_at) in [
            ("SSH-2.0-OpenSSH", 1),
            ("HTTP/2 200", 6),
            ("\r\nHTTP/1.1 200 OK", 1),
            ("<html>", 1),
            ("\x15\x03\x01", 1),
            ("HTTP/1.1 200 OK\n", 16),
            ("HTTP/1.1 200 OK\r\nX: y\n", 22),
            ("HTTP/1.1 200 OK\r\nX: y\r\n\n", 24),
        ] {
            for len in 1..=input.len() {
                let bytes = input.as_bytes().get(..len).unwrap();
                let expected = match len < wrong_at {
                    true => Ok(None),
                    false => Err(CallError::Malformed),
                };
                assert_eq!(read_anyhow(Method::Get, bytes), expected, "{input} {len}");
            }
        }
        for head in [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 999 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1 abc OK",
            "HTTP/1.1",
            "HTTP/1.2 200 OK",
            "HTTP/1.1 101 Switching Protocols",
            "HTTP/1.1 200 OK\r\nX\r\n",
            "HTTP/1.1 200 OK\r\n: y",
            "HTTP/1.1 200 OK\r\nX: a\0b",
            "HTTP/1.1 200 OK\r\nX: a\rb",
        ] {
            let outcome = read_anyhow(Method::Get, format!("{head}\r\n\r\n").as_bytes());
            assert_eq!(outcome, Err(CallError::Malformed), "{head}");
        }
    }

    #[test]
    fn nothing_is_endless() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let headers = |count: usize| format!("HTTP/1.1 204 x\r\n{}\r\n", "a: b\r\n".repeat(count));
        let interim = |count: usize| {
            format!(
                "{}HTTP/1.1 204 x\r\n\r\n",
                "HTTP/1.1 100 x\r\n\r\n".repeat(count)
            )
        };
        let long_value = |len: usize| format!("HTTP/1.1 204 x\r\nX: {}\r\n\r\n", "y".repeat(len));
        let fine = || answer(204, "", AfterAnswer::Keep, 0);
        let head_len = long_value(0).len();
        for (input, expected) in [
            (headers(100), fine()),
            (headers(101), Err(CallError::TooLarge)),
            (headers(10_000), Err(CallError::TooLarge)),
            (long_value(MAX_HEAD_BYTES - head_len), fine()),
            (
                long_value(MAX_HEAD_BYTES - head_len + 1),
                Err(CallError::TooLarge),
            ),
            (interim(8), fine()),
            (interim(9), Err(CallError::Malformed)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n".to_owned(),
                Err(CallError::TooLarge),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n".to_owned(),
                Err(CallError::TooLarge),
            ),
            (
                format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(20)),
                answer(200, &"x".repeat(20), AfterAnswer::Close, 0),
            ),
            (
                format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(21)),
                Err(CallError::TooLarge),
            ),
            (
                format!("{chunked}{}", "1\r\na\r\n".repeat(21)),
                Err(CallError::TooLarge),
            ),
            (
                format!("{chunked}ffffffffffffffff\r\n"),
                Err(CallError::TooLarge),
            ),
            (
                format!("{chunked}1;{}", "x".repeat(2000)),
                Err(CallError::Malformed),
            ),
            (
                format!("{chunked}0\r\n{}", "a: b\r\n".repeat(2000)),
                Err(CallError::Malformed),
            ),
            (format!("{chunked}x\r\n"), Err(CallError::Malformed)),
            (format!("{chunked}1\r\nab\r\n"), Err(CallError::Malformed)),
        ] {
            let text = input.get(..60).unwrap_or(&input).to_owned();
            assert_eq!(
                read_anyhow(Method::Get, input.as_bytes()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut reader = ResponseReader::new(Method::Get, 1 << 30);
        let mut head = &b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"[..];
        assert_eq!(reader.push(&mut head), Ok(None));
        assert!(reader.has_begun() && reader.held_bytes() < 1000);
    }
}
