//! Those who come back get what they have missed as it is kept: the same bytes for all, in the form
//! that each of them reads, whatever they take at once.

use websock::net::ServerSettings;

use crate::random::Random;
use crate::server::{Client, NEXT, Server, request_to, settings};
use crate::system::FarEnd;

/// How somebody comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Compressed,
    /// With a window too small for what many share.
    FewBits,
    EventStream,
}

const KINDS: [Kind; 4] = [
    Kind::Plain,
    Kind::Compressed,
    Kind::FewBits,
    Kind::EventStream,
];

impl Kind {
    fn offer(self) -> &'static str {
        match self {
            Self::Compressed => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            Self::FewBits => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"
            }
            Self::Plain | Self::EventStream => "",
        }
    }

    fn request(self, query: &str) -> Vec<u8> {
        match self {
            Self::EventStream => format!(
                "GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            )
            .into_bytes(),
            Self::Plain | Self::Compressed | Self::FewBits => {
                request_to(&format!("/web?{query}"), self.offer())
            }
        }
    }

    fn connect(self, server: &Server, query: &str, capacity: usize) -> FarEnd {
        let end = server.connect_with("192.0.2.3", capacity);
        end.send(&self.request(query));
        end
    }
}

fn compressing() -> ServerSettings {
    let mut settings = settings();
    settings.compression.is_on = true;
    settings.compression.threshold_bytes = 100;
    settings.compression.keeps_context = true;
    settings
}

/// Broadcasts around the sizes from which on they are shared, compressed, or made events of once; some
/// of which get no shorter, and some of several lines.
fn broadcasts() -> Vec<String> {
    let mut random = Random::new(1);
    let lens = [
        0, 50, 90, 100, 180, 200, 210, 230, 900, 990, 1100, 4000, 70_000,
    ];
    let text = |(at, len): (usize, usize)| {
        let noise = |_| char::from(b'!' + 2 + random.below(50) as u8);
        let pad: String = match at % 3 {
            0 => "p".repeat(len),
            _ => (0..len).map(noise).filter(|&one| one != '\\').collect(),
        };
        let line_end = if at % 4 == 3 { "\n" } else { "" };
        format!(r#"{{"opcode":"broadcast",{line_end}"n":{at},"pad":"{pad}"}}"#)
    };
    let all = lens.into_iter().cycle().take(3 * lens.len());
    all.enumerate().map(text).collect()
}

/// The value of a key, a text without quotation marks.
fn value<'a>(packet: &'a str, key: &str) -> &'a str {
    let (_, rest) = packet.split_once(&format!(r#""{key}":""#)).expect(key);
    rest.split('"').next().unwrap()
}

/// Somebody who stays, and where it was before it was told anything.
fn open_first(server: &mut Server) -> (Client, String) {
    let end = Kind::Plain.connect(server, "resume=1", 1 << 20);
    let mut first = Client::new(end);
    server.settle();
    let ready = first.heard().remove(0);
    let cursor = value(&ready, "cursor").to_owned();
    (first, cursor)
}

/// Takes all that comes, at most so many bytes at once.
fn read_all(server: &mut Server, end: &FarEnd, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    server.settle();
    while end.waiting_len() > 0 {
        bytes.extend(end.take(step));
        server.settle();
    }
    bytes
}

// protocol.md 9.2, 9.3, 9.8
#[test]
fn what_was_missed_comes_as_it_came_to_those_who_were_there_at_any_split() {
    let mut server = Server::new(&compressing());
    let (mut first, cursor) = open_first(&mut server);
    let stream = Kind::EventStream.connect(&server, "resume=1", 1 << 20);
    let start = String::from_utf8(read_all(&mut server, &stream, usize::MAX)).unwrap();
    assert!(start.contains("\"ready\""), "{start}");
    let speaker = server.open("192.0.2.1");
    let (texts, mut told, mut events) = (broadcasts(), Vec::new(), Vec::new());
    let (missed, live) = texts.split_at(texts.len() - 5);
    for text in missed {
        speaker.say(text);
        events.extend(read_all(&mut server, &stream, usize::MAX));
        told.extend(first.heard());
    }
    assert_eq!(told.len(), missed.len());
    let query = format!("resume=1&since={cursor}");
    let mut ends = Vec::new();
    for (at, kind) in KINDS.into_iter().cycle().take(16).enumerate() {
        let capacity = [70, 333, 5000, 1 << 20][at / KINDS.len()];
        ends.push((kind, kind.connect(&server, &query, capacity)));
    }
    server.settle();
    for text in live {
        speaker.say(text);
        events.extend(read_all(&mut server, &stream, usize::MAX));
        told.extend(first.heard());
    }
    for (kind, end) in ends {
        let name = format!("{kind:?}");
        if kind == Kind::EventStream {
            let bytes = read_all(&mut server, &end, 61);
            assert!(bytes.ends_with(&events), "{name}: what is live differs");
            let before = String::from_utf8(bytes[..bytes.len() - events.len()].to_vec());
            let before = before.unwrap();
            assert_eq!(before.matches("data:").count(), 1, "{name}: {before}");
            continue;
        }
        let mut client = Client::new(end);
        let mut heard = client.heard();
        server.settle();
        while client.end.waiting_len() > 0 {
            client.take(61);
            server.settle();
        }
        heard.extend(client.heard());
        assert!(heard[0].starts_with(r#"{"opcode":"ready""#), "{name}");
        assert!(
            heard[1..] == told,
            "{name}: {} of {}",
            heard.len() - 1,
            told.len()
        );
    }
}

// protocol.md 9.3
#[test]
fn a_tab_that_proves_who_it_was_is_told_so_before_what_it_has_missed() {
    for (kind, capacity) in [(Kind::Plain, 1 << 20), (Kind::Compressed, 200)] {
        let mut server = Server::new(&compressing());
        let (mut first, _) = open_first(&mut server);
        let mut tab = Client::new(kind.connect(&server, "resume=1", 1 << 20));
        server.settle();
        let ready = tab.heard().remove(0);
        tab.end.reset();
        server.settle();
        let speaker = server.open("192.0.2.1");
        let mut told = Vec::new();
        for text in broadcasts() {
            speaker.say(&text);
            server.settle();
            told.extend(first.heard());
        }
        let mut tab = Client::new(kind.connect(&server, "resume=1", capacity));
        let mut heard = Vec::new();
        while heard.is_empty() {
            server.settle();
            heard.extend(tab.heard());
        }
        let claim = ["uuid", "cursor"].map(|key| format!(r#""{key}":"{}""#, value(&ready, key)));
        let (claim, secret) = (claim.join(","), value(&ready, "resume"));
        tab.say(&format!(
            r#"{{"opcode":"resume",{claim},"secret":"{secret}"}}"#
        ));
        tab.say(r#"{"opcode":"echo","n":1}"#);
        server.settle();
        while tab.end.waiting_len() > 0 {
            tab.take(61);
            server.settle();
        }
        heard.extend(tab.heard());
        let expected = format!(r#""replayed":{},"gap":null"#, told.len());
        assert_eq!(heard[1], NEXT);
        assert!(heard[2].contains(&expected), "{}", heard[2]);
        assert!(heard[3..][..told.len()] == told, "{kind:?}");
        assert_eq!(
            heard[3 + told.len()..],
            [NEXT, r#"{"opcode":"echo","n":1}"#]
        );
    }
}

// protocol.md 9.2
#[test]
fn those_who_come_back_and_do_not_read_hold_what_is_kept_once() {
    for kind in [Kind::Plain, Kind::Compressed, Kind::EventStream] {
        for line_end in ["", "\n"] {
            expect_one_copy(kind, line_end);
        }
    }
}

fn expect_one_copy(kind: Kind, line_end: &str) {
    let mut settings = compressing();
    // Nobody needs a deflater of its own for `ready`.
    settings.compression.threshold_bytes = 1000;
    let mut server = Server::new(&settings);
    let (mut first, cursor) = open_first(&mut server);
    let speaker = server.open("192.0.2.1");
    let say = |server: &mut Server, pad: &str| {
        speaker.say(&format!(
            r#"{{"opcode":"broadcast",{line_end}"pad":"{pad}"}}"#
        ));
        server.settle();
    };
    let mut random = Random::new(2);
    let digits = |_| char::from(b'0' + random.below(10) as u8);
    let pad: String = (0..30_000).map(digits).collect();
    (0..30).for_each(|_| say(&mut server, &pad));
    first.heard();
    server.settle();
    server.turn();
    let before = server.event_loop.held_bytes();
    assert!(before > 30 * pad.len(), "{before} bytes: it is not kept");
    let query = format!("resume=1&since={cursor}");
    let ends: Vec<FarEnd> = (0..60)
        .map(|_| kind.connect(&server, &query, 4 << 10))
        .collect();
    server.settle();
    assert!(ends.iter().all(|end| end.waiting_len() > 1000));
    let grown = server.event_loop.held_bytes().saturating_sub(before);
    // In another form it is there once more.
    assert!(
        grown < 30 * pad.len() * 3 / 2 + (400 << 10),
        "{grown} bytes more for {kind:?}"
    );
    // It is no longer kept for anybody else, but it is still there.
    (0..100).for_each(|_| say(&mut server, "short"));
    first.heard();
    server.settle();
    let held = server.event_loop.held_bytes();
    assert!(
        held > 30 * pad.len() / 3,
        "{held} bytes for {kind:?}: not all is counted"
    );
    ends.iter().for_each(FarEnd::reset);
    server.settle();
    server.turn();
    let held = server.event_loop.held_bytes();
    assert!(held < 450 << 10, "{held} bytes stay for {kind:?}");
}
