//! Long messages leave and arrive a share at a time: others have their turn in between, and what
//! comes of them is what would have come of them whole.

use std::time::Duration;

use crate::client::{self, TEXT};
use crate::server::{Client, NEXT, Server, settings};
use crate::system::FarEnd;

const ECHO: &str = r#"{"opcode":"echo","to":"me"}"#;

/// More than one write takes, however much the socket would.
const LONG: usize = 3 << 20;

fn open_with(server: &mut Server, capacity: usize) -> Client {
    let end = server.connect_with("192.0.2.1", capacity);
    server.open_on(end, "/web", "")
}

/// Sends all, as the server takes it.
fn send_all(server: &mut Server, end: &FarEnd, bytes: &[u8]) {
    let mut sent = 0;
    for _ in 0..1_000 {
        if sent == bytes.len() {
            return;
        }
        sent += end.offer(&bytes[sent..]);
        server.turn();
    }
    panic!("it is not taken");
}

#[test]
fn whoever_has_little_to_say_is_answered_between_the_writes_of_a_long_message() {
    let mut server = Server::new(&settings());
    let long = open_with(&mut server, 32 << 20);
    let mut honest = server.open("192.0.2.2");
    let text = format!(r#"{{"opcode":"echo","x":"{}"}}"#, "x".repeat(LONG));
    // Longer than a slice: so is each write.
    server.system.let_writes_take(Duration::from_millis(1));
    send_all(&mut server, &long.end, &client::text(&text));
    let mut answered_count = 0;
    while long.end.waiting_len() < LONG {
        honest.say(ECHO);
        server.turn();
        assert_eq!(honest.heard(), [NEXT, ECHO]);
        answered_count += 1;
        assert!(answered_count < 1_000, "the rest does not leave");
    }
    assert!(answered_count >= 5, "{answered_count}");
    server.settle();
    let writes = long.end.take_writes();
    let most = writes.iter().map(|(len, _)| *len).max();
    assert_eq!(most, Some(256 << 10), "no write takes more");
}

/// Those who get it are few, and many.
#[test]
fn whoever_has_little_to_say_is_answered_between_the_receivers_of_a_long_broadcast() {
    for count in [20, 200] {
        let mut server = Server::new(&settings());
        let speaker = server.open("192.0.2.1");
        let mut honest = server.open("192.0.2.2");
        let mut members: Vec<Client> = (0..count).map(|_| server.open("192.0.2.3")).collect();
        members.iter().for_each(|m| drop(m.end.take_writes()));
        // Longer than a slice: so is each write.
        server.system.let_writes_take(Duration::from_millis(1));
        let text = format!(r#"{{"opcode":"broadcast","x":"{}"}}"#, "x".repeat(300_000));
        send_all(&mut server, &speaker.end, &client::text(&text));
        for turn in 0.. {
            let write_counts = members.iter().map(|m| m.end.take_writes().len());
            let write_count = write_counts.sum::<usize>();
            assert!(write_count <= 2, "{count}: {write_count} in turn {turn}");
            if members.iter().all(|m| m.end.waiting_len() > text.len()) {
                break;
            }
            assert!(turn < 1_000, "the rest does not leave");
            honest.say(ECHO);
            server.turn();
            assert!(honest.heard().iter().any(|text| text == ECHO));
        }
        for member in &mut members {
            assert_eq!(member.heard(), [text.as_str()], "{count}");
        }
    }
}

/// Whatever the socket takes and a write costs, all that is said arrives in the order in which it was
/// said.
#[test]
fn nothing_overtakes_what_leaves_in_shares() {
    for capacity in [40_000, 300_000, 32 << 20] {
        for cost in [0, 7, 900].map(Duration::from_micros) {
            let mut server = Server::new(&settings());
            let mut reader = open_with(&mut server, capacity);
            let speaker = server.open("192.0.2.2");
            server.system.let_writes_take(cost);
            let broadcasts: Vec<String> = (0..40)
                .map(|n| format!(r#"{{"opcode":"broadcast","n":{n}}}"#))
                .collect();
            let echoes: Vec<String> = [LONG, 10, 700_000, 0, 300_000, 1]
                .iter()
                .map(|len| format!(r#"{{"opcode":"echo","x":"{}"}}"#, "y".repeat(*len)))
                .collect();
            let bytes: Vec<u8> = echoes.iter().flat_map(|text| client::text(text)).collect();
            let (mut sent, mut said, mut heard) = (0, broadcasts.iter(), Vec::new());
            let expected_count = 2 * echoes.len() + broadcasts.len();
            for _ in 0..5_000 {
                sent += reader.end.offer(&bytes[sent..]);
                if let Some(text) = said.next() {
                    speaker.say(text);
                }
                server.turn();
                heard.extend(reader.heard());
                if heard.len() == expected_count {
                    break;
                }
            }
            let name = format!("{capacity} bytes, {cost:?}");
            let of = |kind: &str| -> Vec<&String> {
                heard.iter().filter(|text| text.contains(kind)).collect()
            };
            assert!(of("broadcast").into_iter().eq(&broadcasts), "{name}");
            assert!(of("echo").into_iter().eq(&echoes), "{name}");
            assert_eq!(of("next").len(), echoes.len(), "{name}");
        }
    }
}

/// What comes of a text: what the others hear, and how the sender is closed if it is.
fn outcome(text: &str, pieces: &[usize]) -> (Vec<String>, Vec<String>) {
    let mut server = Server::new(&settings());
    let mut sender = server.open("192.0.2.1");
    let end = server.connect("192.0.2.2");
    let mut receiver = server.open_on(end, "/web", "Ident: 7\r\n");
    let mut rest: &[u8] = &client::text(text);
    for len in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let len = sender.end.offer(&rest[..rest.len().min(*len)]);
        rest = &rest[len..];
        server.settle();
    }
    (receiver.heard(), sender.heard())
}

/// Long packets are read while they arrive.
#[test]
fn a_long_packet_means_the_same_wherever_it_is_cut() {
    let pad = "z".repeat(50_000);
    let escaped = r"\u00e4\ud83d\ude00\n".repeat(2_500);
    let deep = |depth| format!("{}\"{pad}\"{}", "[".repeat(depth), "]".repeat(depth));
    let feedback = |value: &str| format!(r#"{{"x":{value},"opcode":"feedback","ident":"7"}}"#);
    let quoted = |text: &str| format!("\"{text}\"");
    for (text, is_heard, is_refused) in [
        (feedback(&quoted(&pad)), true, false),
        (feedback(&quoted(&escaped)), true, false),
        (feedback(&deep(511)), true, false),
        (feedback(&deep(512)), false, true),
        (
            feedback(&format!("[{}]", "{\"a\":[1,{}]},".repeat(4_000) + "-0")),
            true,
            false,
        ),
        (feedback(&quoted(&format!("{pad}\\x"))), false, true),
        (feedback(&quoted(&format!("{pad}\\ud800"))), false, true),
        (format!("{} x", feedback(&quoted(&pad))), false, true),
        (feedback(&pad), false, true),
        (
            format!(r#"{{"opcode":"broadcast","x":"{pad}"}}"#),
            true,
            false,
        ),
        (
            format!(r#"{{"opcode":"nothing","x":"{pad}"}}"#),
            false,
            false,
        ),
        (format!(r#"["{pad}"]"#), false, false),
        (pad.clone(), false, true),
    ] {
        let whole = outcome(&text, &[usize::MAX]);
        let name = &text[..60.min(text.len())];
        assert_eq!(whole.0.contains(&text), is_heard, "{name}");
        let is_closed = whole.1.contains(&"close 1007".to_owned());
        assert_eq!(is_closed, is_refused, "{name}");
        for pieces in [&[1_000][..], &[16_383, 2], &[49_000, 7, 1], &[70_000]] {
            assert!(outcome(&text, pieces) == whole, "{name} in {pieces:?}");
        }
    }
}

/// The same where it comes compressed, in a frame for each half.
#[test]
fn a_long_packet_that_comes_compressed_means_the_same() {
    let mut settings = settings();
    settings.compression.is_on = true;
    let mut server = Server::new(&settings);
    let mut sender = server.open_compressed("192.0.2.1");
    let end = server.connect_with("192.0.2.2", 4 << 20);
    let mut receiver = server.open_on(end, "/web", "Ident: 7\r\n");
    for len in [10, 20_000, 300_000, 1_000_000] {
        let pad = r"some words, \u00fc and more. ".repeat(len / 28);
        let text = format!(r#"{{"opcode":"feedback","ident":7,"x":"{pad}"}}"#);
        let frame = sender.frame_of(&text);
        for piece in frame.chunks(300) {
            sender.end.send(piece);
            server.settle();
        }
        assert!(receiver.heard() == [text], "{len}");
    }
    let text = format!(
        r#"{{"opcode":"feedback","ident":7,"x":"{}\x"}}"#,
        "w".repeat(100_000)
    );
    let frame = sender.frame_of(&text);
    assert_eq!(frame[0], 0xC0 | TEXT);
    sender.end.send(&frame);
    server.settle();
    assert_eq!(sender.heard().last().unwrap(), "close 1007");
    assert_eq!(receiver.heard(), [""; 0]);
}
