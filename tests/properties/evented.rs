//! A stream of events: what frames become, however they are queued and however they leave.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::rc::Rc;

use websock::connection::{
    Connection, Event, EventIds, Limits, MonotonicTime, Outgoing, SendError, TurnContext, event_of,
};
use websock::protocol::close_code::CloseCode;
use websock::protocol::frame::{self, Opcode};

/// Queues messages, of which each is told by its first byte how, and lets them leave in pieces of
/// these sizes: the reader hears each message once, in order, whole and as it was, but for line ends,
/// which are all LF.
pub(crate) fn stream(messages: &[Vec<u8>], sizes: &[u8]) {
    let limits = Limits {
        max_queue_bytes: 4000,
        ..Limits::default()
    };
    let mut context = TurnContext::new(MonotonicTime::START, limits);
    let mut connection = opened(&mut context);
    let (mut wire, mut expected) = (Vec::new(), String::new());
    let mut sizes = sizes.iter().copied().cycle();
    for message in messages {
        let Some((&how, payload)) = message.split_first() else {
            continue;
        };
        let text = str::from_utf8(payload);
        let opcode = if text.is_ok() {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        let mut bytes = b"before".to_vec();
        frame::encode(opcode, payload, &mut bytes);
        let frame = 6..bytes.len();
        let plain = bytes[frame.clone()].to_vec();
        let sent = match how % 3 {
            0 => connection.send(&Outgoing::Copied(&bytes[frame]), &mut context),
            1 => {
                bytes.extend_from_slice(b"behind");
                connection.send(
                    &Outgoing::Shared(&Rc::new(bytes.into()), frame),
                    &mut context,
                )
            }
            _ => connection.reply(&mut bytes[frame].to_vec(), &mut context),
        };
        let sent = match sent {
            Err(SendError::EventWanted) => {
                // Only what costs more than a copy.
                assert!(plain.len() > 1000 && how % 3 == 1);
                let mut event = Vec::new();
                event_of(&plain, &mut event);
                connection.send_event(&Rc::new(event.into()), &plain, &mut context)
            }
            sent => sent,
        };
        match sent {
            Ok(()) => hear(text.ok(), &mut expected),
            // What goes back is not bounded here.
            Err(SendError::QueueFull) => assert!(how % 3 < 2, "{how}"),
            Err(SendError::NotOpen | SendError::EventWanted) => panic!("it is open"),
        }
        if how % 2 == 0 {
            drain(&mut connection, &mut context, sizes.next(), &mut wire);
        }
        assert_eq!(connection.held_bytes() == 0, connection.output_len() == 0);
    }
    connection.close(CloseCode::GOING_AWAY, "\n\ndata: x", &mut context);
    assert_eq!(
        connection.send(&Outgoing::Copied(b"\x81\x00"), &mut context),
        Err(SendError::NotOpen)
    );
    expected.push_str("close: {\"code\":1001,\"reason\":\"\\n\\ndata: x\"}\n");
    while connection.output_len() > 0 {
        drain(&mut connection, &mut context, sizes.next(), &mut wire);
    }
    assert!(connection.is_drained());
    assert_eq!(heard(&wire), expected);
}

/// A connection that has been answered by a stream.
fn opened(context: &mut TurnContext) -> Connection {
    let mut connection = Connection::new(context);
    let mut request = b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let event = connection.receive(&mut request.as_mut_slice(), context);
    assert!(matches!(event, Some(Event::Head(_))));
    connection.stream_events(b"retry: 1\n\n", EventIds::Cursors, context);
    assert!(connection.is_open() && connection.is_event_stream());
    connection
}

/// Takes at most so many bytes, from at most so many pieces.
fn drain(
    connection: &mut Connection,
    context: &mut TurnContext,
    size: Option<u8>,
    wire: &mut Vec<u8>,
) {
    let size = usize::from(size.unwrap_or(255)) * 37 + 1;
    let mut slices = [IoSlice::new(&[]); 3];
    let count = connection.output(&mut slices, context.now);
    let mut taken: Vec<u8> = slices[..count].concat_pieces();
    taken.truncate(size);
    connection.consume_output(taken.len(), context.now, &mut context.pool);
    connection.shrink_output(&mut context.pool);
    wire.append(&mut taken);
}

trait Pieces {
    fn concat_pieces(&self) -> Vec<u8>;
}

impl Pieces for [IoSlice<'_>] {
    fn concat_pieces(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }
}

/// What a reader is to hear of a message; `None`: one that is no text.
fn hear(text: Option<&str>, heard: &mut String) {
    let _ = match text {
        Some(text) => writeln!(heard, "message: {:?}", lines(text)),
        None => writeln!(heard, "binary"),
    };
}

/// All three kinds of line ends are one; in a packet each of their bytes is a blank.
fn lines(text: &str) -> String {
    match text.trim_ascii_start().starts_with('{') {
        true => text.replace(['\r', '\n'], " "),
        false => text.replace("\r\n", "\n").replace('\r', "\n"),
    }
}

/// A reader by HTML Standard §9.2.6.
fn heard(wire: &[u8]) -> String {
    let text = str::from_utf8(wire).expect("it is UTF-8, also where binary messages are");
    let (mut name, mut heard) = (String::new(), String::new());
    let mut data: Option<String> = None;
    assert!(!text.contains('\r'), "no other line ends");
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                match (&*name, data.take()) {
                    ("", Some(data)) => hear(Some(&data), &mut heard),
                    ("binary", Some(_)) => hear(None, &mut heard),
                    (name, Some(data)) => {
                        let _ = writeln!(heard, "{name}: {data}");
                    }
                    (_, None) => {}
                }
                name.clear();
            }
            "" | "retry" => {}
            "event" => value.clone_into(&mut name),
            "id" => assert!(!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())),
            "data" => match &mut data {
                Some(lines) => {
                    lines.push('\n');
                    lines.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => panic!("a field that nobody has written: {line:?}"),
        }
    }
    assert_eq!(data, None, "the last event is whole");
    heard
}
