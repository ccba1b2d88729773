//! What a server may say: HTTP responses, each complete and in the order of the requests, and
//! behind a 101 the frames that a client may get.

use websock::connection::{Keepalive, PhpFraming};
use websock::protocol::close;
use websock::protocol::frame::{Header, Opcode, Role, Rsv1};
use websock::protocol::http;
use zlib_rs::{Inflate, InflateFlush};

use super::script::Setting;

/// An HTTP response that the peer is to get.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What follows the head; `None`: nothing, whatever length it tells (HEAD).
    pub body: Option<Vec<u8>>,
}

/// What a peer has read, and what it should have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Responses, in order.
    pub answers: Vec<Answer>,
    /// Messages accepted for sending, in order.
    pub sent: Vec<(Opcode, Vec<u8>)>,
    /// Some of it may be missing at the end.
    pub was_aborted: bool,
}

/// Every response is there once, whole, in order, and nothing behind one that closes; then the
/// messages, in the order in which they were accepted, and nothing behind a close frame.
pub fn legal_output(setting: &Setting, heard: &Heard) {
    let mut rest = heard.bytes.as_slice();
    let mut codec = None;
    let mut is_last = false;
    for answer in &heard.answers {
        assert!(!is_last, "{answer:?} behind the last response");
        let Some((head, len)) = read_answer(rest, answer) else {
            assert!(heard.was_aborted, "half of {answer:?}");
            return;
        };
        is_last = answer.status == 101 || has_line(head, "Connection: close");
        codec = Codec::of(head);
        rest = &rest[len..];
    }
    let is_open = heard.answers.last().is_some_and(|last| last.status == 101);
    assert!(is_open || rest.is_empty(), "bytes behind the responses");
    let messages = messages(setting, heard, codec, rest);
    assert!(
        heard.was_aborted || messages.len() == heard.sent.len(),
        "a message is missing"
    );
    assert!(messages.len() <= heard.sent.len());
    for ((opcode, got), (sent_opcode, sent)) in messages.iter().zip(&heard.sent) {
        assert_eq!(opcode, sent_opcode);
        let padding = got.strip_prefix(sent.as_slice()).expect("what was sent");
        let may_pad = *opcode == Opcode::Text && setting.framing != PhpFraming::Stream;
        assert!(padding.is_empty() || may_pad && padding.iter().all(|byte| *byte == b' '));
    }
}

/// The head of the response at the front and the length of all of it, once it is whole.
fn read_answer<'a>(bytes: &'a [u8], answer: &Answer) -> Option<(&'a str, usize)> {
    let head_len = http::head_len(bytes, 0)?;
    let head = std::str::from_utf8(&bytes[..head_len]).expect("our heads are ASCII");
    let start = format!("HTTP/1.1 {} ", answer.status);
    assert!(head.starts_with(&start), "{head} for {answer:?}");
    let told = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map(|len| len.parse::<usize>().expect("a number"));
    let has_no_body = matches!(answer.status, 100..=199 | 204);
    assert_eq!(told.is_none(), has_no_body, "{head}");
    let Some(body) = &answer.body else {
        return Some((head, head_len));
    };
    assert_eq!(told.unwrap_or(0), body.len());
    let got = bytes.get(head_len..head_len + body.len())?;
    assert_eq!(got, body, "another body");
    Some((head, head_len + body.len()))
}

fn has_line(head: &str, line: &str) -> bool {
    head.lines().any(|known| known == line)
}

/// The data frames, inflated where they are compressed.
fn messages(
    setting: &Setting,
    heard: &Heard,
    mut codec: Option<Codec>,
    mut rest: &[u8],
) -> Vec<(Opcode, Vec<u8>)> {
    let rsv1 = match codec {
        Some(_) => Rsv1::MarksCompressed,
        None => Rsv1::Forbidden,
    };
    let mut messages = Vec::new();
    let mut is_closed = false;
    while !rest.is_empty() {
        assert!(!is_closed, "bytes behind the close frame");
        let header = Header::parse(rest, Role::Client, rsv1).expect("a legal header");
        let whole = header.and_then(|(header, start)| {
            let end = start + header.payload_len as usize;
            Some((header, rest.get(start..end)?, end))
        });
        let Some((header, payload, end)) = whole else {
            assert!(heard.was_aborted, "half a frame");
            break;
        };
        assert!(header.fin, "a fragment");
        match header.opcode {
            Opcode::Text | Opcode::Binary => {
                let codec = codec.as_mut().filter(|_| header.rsv1);
                let message = codec.map_or(payload.to_vec(), |codec| codec.inflate(payload));
                messages.push((header.opcode, message));
            }
            Opcode::Close => {
                close::parse(payload).expect("a legal close payload");
                is_closed = true;
            }
            Opcode::Ping => assert_eq!(setting.keepalive, Keepalive::Pings),
            Opcode::Pong => {}
            Opcode::Continuation => panic!("{header:?}"),
        }
        rest = &rest[end..];
    }
    messages
}

/// The peer's end of permessage-deflate, with no larger window and no more memory of earlier
/// messages than the answer grants the server.
struct Codec {
    stream: Inflate,
    keeps_context: bool,
}

impl Codec {
    fn of(head: &str) -> Option<Self> {
        let answer = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))?;
        let window_bits = answer
            .split("; ")
            .find_map(|parameter| parameter.strip_prefix("server_max_window_bits="))
            .map_or(15, |bits| bits.parse().expect("a number"));
        Some(Self {
            stream: Inflate::new(false, window_bits),
            keeps_context: !answer.contains("server_no_context_takeover"),
        })
    }

    /// One byte at a time, so that nothing but the window can be referred to.
    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let bytes = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let (mut input, mut message) = (bytes.as_slice(), Vec::new());
        loop {
            let mut byte = [0];
            let before = (self.stream.total_in(), self.stream.total_out());
            let result = self
                .stream
                .decompress(input, &mut byte, InflateFlush::NoFlush);
            result.expect("DEFLATE within the window");
            input = &input[(self.stream.total_in() - before.0) as usize..];
            if self.stream.total_out() == before.1 {
                break;
            }
            message.extend(byte);
        }
        assert!(input.is_empty(), "the message ends too early");
        if !self.keeps_context {
            self.stream.reset(false);
        }
        message
    }
}
