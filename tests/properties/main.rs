//! Promises that hold for any input: generated here, found by the fuzzer in `fuzz/`, and the
//! fuzzer's corpus as far as it is kept.

#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod asked;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod coded;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod conversation;
mod evented;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod handed;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod oracles;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod proxied;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod resp;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod script;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod stage;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod stored;
#[expect(unreachable_pub, reason = "the library of fuzz/ exports it")]
mod stream;

use std::path::Path;

use proptest::prelude::*;

/// Pieces of an input that meet in any order: those given, and a few arbitrary bytes.
fn mix(words: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..most).prop_map(|words| words.concat())
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

const HEAD_WORDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST http://a:1/b?c HTTP/1.0\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"GET",
    b" ",
    b"/a?b",
    b"HTTP/1.1",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b"Host: a\r\n",
    b"host:[::1]:80\n",
    b"Upgrade: websocket\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"X: \tk\xc3\xa4se\xff \r\n",
    b"\r\n\r\n",
];

const TEXT_WORDS: &[&[u8]] = &[
    b"a",
    b"plain text that is longer than a vector register, all of it ASCII......",
    "é".as_bytes(),
    "€".as_bytes(),
    "𐍈".as_bytes(),
    b"\xe2\x82",
    b"\xf0\x90",
    b"\x80",
    b"\xed\xa0",
    b"\xf4\x8f",
    b"\xc0",
];

const JSON_WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\"\\ud83d\"",
    b"\"\\udbff\\udc00\"",
    b"d83d",
    b"\\ude00",
    b"\"opcode\":",
    b"\"echo\"",
    b"\"uuid\":",
    b"\"uuid\"",
    b"\"ident\":",
    b"\"message\":",
    b"\"\"",
    b"17",
    b"-",
    b"0.5",
    b"e-9",
    b"true",
    b"null",
    b" ",
    b"\n",
    b"\xc3\xa4",
    b"\x01",
];

const BODY_WORDS: &[&[u8]] = &[
    b"0\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"3;name=\"value\"\r\nabc\r\n",
    b"1388\r\n",
    b"1389\r\n",
    b"fffffffffffffffff\r\n",
    b"A",
    b"\n",
    b" ",
    b"-1\r\n",
    b"Trailer: x\r\n",
    b"0\r\n\n",
    b"a: b\n",
    b"c\0\r\n",
    b";x\r\n",
];

const ANSWER_WORDS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 \r\n",
    b"HTTP/1.0 404 Not Found\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1",
    b" 200 ",
    b"Content-Length: 3\r\n",
    b"Content-Length: 1001\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"X: y\r\n",
    b":",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
];

const SESSION_WORDS: &[&[u8]] = &[
    b"a|",
    b"b|",
    b"\x01a",
    b"\x01b",
    b"a:2:{",
    b"a:1:{",
    b"O:1:\"A\":1:{",
    b"}",
    b"s:1:\"a\";",
    b"s:1:\"b\";",
    b"s:4:\"\0A\0b\";",
    b"s:3:\"a|N\";",
    b"i:0;",
    b"i:-1;",
    b"d:0.5;",
    b"b:1;",
    b"N;",
    b"E:1:\"E\";",
    b"C:1:\"C\":1:{}}",
    b"R:1;",
    b"R:2;",
    b"r:1;",
    b"r:2;",
    b";",
    b"\"",
    b":",
    b"|",
];

const INI_WORDS: &[&[u8]] = &[
    b"[websocketserver]\n",
    b"[jsauth]\n",
    b"require=false\n",
    b"adress=ws://localhost:8080\n",
    b"adress='tcp://[::1]:1, 127.0.0.1:2'\n",
    b"logfile=\"C:\\logs\\\"\n",
    b"console=on\n",
    b"maxMessageSize=",
    b"memoryLimit=",
    b"pingInterval=",
    b"maxPerIP=",
    b"allowedIP=10.0.0.0/8, ::1\n",
    b"allowedOrigins=",
    b"16M",
    b"0",
    b"30",
    b"${NAME}",
    b"${NONE:-x}",
    b"'",
    b"\"",
    b"=",
    b";",
    b" # ",
    b"\n",
    b"\r\n",
];

const PROXY_WORDS: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"1.2.3.4",
    b"255.255.255.255",
    b"01.2.3.4",
    b"::1",
    b"2001:db8::7:8",
    b"::ffff:1.2.3.4",
    b"fe80::1%1",
    b" ",
    b" ",
    b" ",
    b"1",
    b"65535",
    b"65536",
    b"+1",
    b"01",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n",
    b"a long word that is no part of any header, and is there to make it long",
];

/// A line of version 1 that is nearly right.
fn proxy_line() -> impl Strategy<Value = Vec<u8>> {
    let word = || prop::sample::select(PROXY_WORDS).prop_map(<[u8]>::to_vec);
    let v4 = || prop_oneof![9 => Just(b"10.0.0.1".to_vec()), 1 => word()];
    let port = || prop_oneof![9 => Just(b"80".to_vec()), 1 => word()];
    let end = prop_oneof![9 => Just(b"\r\nGET".to_vec()), 1 => word()];
    (v4(), v4(), port(), port(), end).prop_map(|(source, destination, port, other, end)| {
        let fields = [b"PROXY TCP4".to_vec(), source, destination, port, other].join(&b' ');
        [fields, end].concat()
    })
}

/// A header of version 2 with a command, a family and a length that may fit what follows.
fn proxy_binary() -> impl Strategy<Value = Vec<u8>> {
    let command = prop_oneof![9 => 0x20..0x22_u8, 1 => any::<u8>()];
    let families = vec![0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32];
    let family = prop_oneof![9 => prop::sample::select(families), 1 => any::<u8>()];
    let len = prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let short = prop::sample::select(vec![0, 11, 12, 13, 35, 36, 37, 215, 216, 217, 4096, 4097]);
    (command, family, len, short, any::<u8>()).prop_map(|(command, family, len, rest, byte)| {
        let len = len.unwrap_or(rest as u16).to_be_bytes();
        let start = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &len].concat();
        [start, vec![byte; rest + 3]].concat()
    })
}

/// Steps of a conversation that go on after the upgrade; see `script::steps`.
fn conversation_bytes() -> impl Strategy<Value = Vec<u8>> {
    let offer = any::<u8>().prop_map(|offer| vec![16, offer]);
    let head = prop_oneof![Just(vec![0]), offer];
    let steps = prop::collection::vec(conversation_step(), 0..24);
    (any::<[u8; 3]>(), head, steps)
        .prop_map(|(setting, head, steps)| [setting.to_vec(), head, steps.concat()].concat())
}

fn conversation_step() -> impl Strategy<Value = Vec<u8>> {
    let first_byte = prop::sample::select(vec![
        0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x89, 0x8A, 0x88, 0xC1,
    ]);
    let frame = (
        first_byte,
        prop_oneof![0_u8..8, any::<u8>()],
        any::<[u8; 4]>(),
        any_bytes(12),
    )
        .prop_map(|(first, len, key, payload)| {
            let len = if payload.len() < 12 {
                payload.len() as u8
            } else {
                len
            };
            [&[4, first, len], &key[..], &payload].concat()
        });
    prop_oneof![
        6 => frame,
        1 => any_bytes(20).prop_map(|bytes| [&[2, bytes.len() as u8], &bytes[..]].concat()),
        1 => any::<u8>().prop_map(|time| vec![9, time]),
        2 => (any::<u8>(), any_bytes(40)).prop_map(|(kind, bytes)| with_len(&[10, kind], &bytes)),
        2 => any::<u8>().prop_map(|len| vec![12, len]),
        2 => (any::<u8>(), mix(JSON_WORDS, 30)).prop_map(|(kind, text)| with_len(&[21, kind], &text)),
        1 => any_bytes(8).prop_map(|bytes| [&[14, 3, 232, bytes.len() as u8], &bytes[..]].concat()),
        1 => Just(vec![15]),
    ]
}

/// Requests one behind the other, some cut or wrong, and an upgrade now and then.
fn requests_bytes() -> impl Strategy<Value = Vec<u8>> {
    let step = prop_oneof![
        8 => (any::<u8>(), any_bytes(30)).prop_map(|(kind, body)| with_len(&[18, kind], &body)),
        2 => Just(vec![20]),
        1 => mix(HEAD_WORDS, 8).prop_map(|bytes| with_len(&[2], &bytes)),
        1 => mix(BODY_WORDS, 8).prop_map(|bytes| with_len(&[2], &bytes)),
        1 => any::<u8>().prop_map(|time| vec![9, time]),
        2 => any::<u8>().prop_map(|len| vec![12, len]),
        1 => Just(vec![0]),
        1 => Just(vec![15]),
    ];
    let steps = prop::collection::vec(step, 0..24);
    (any::<[u8; 3]>(), steps)
        .prop_map(|(setting, steps)| [setting.to_vec(), steps.concat()].concat())
}

/// Steps of asking that go well more often than not; see `asked::upstream`.
fn asking_step() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..8_u8, any::<u8>(), 50..255_u8).prop_map(|(len, method, time)| {
            [&[0, len * 4][..], &vec![b'x'; usize::from(len)], &[method, time]].concat()
        }),
        1 => any::<u8>().prop_map(|call| vec![2, call]),
        2 => any::<u8>().prop_map(|count| vec![3, count]),
        2 => any::<[u8; 2]>().prop_map(|[time, random]| vec![4, time / 4, random]),
        3 => any::<u8>().prop_map(|link| vec![6, link]),
        1 => any::<u8>().prop_map(|link| vec![7, link]),
        4 => any::<u8>().prop_map(|link| vec![8, link, 255]),
        1 => any::<u8>().prop_map(|link| vec![9, link]),
        1 => any::<u8>().prop_map(|link| vec![10, link]),
        5 => (any::<u8>(), 0..11_u8).prop_map(|(link, kind)| vec![11, link, kind, 0]),
    ]
}

/// A step that takes bytes of this number.
fn with_len(start: &[u8], bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(255)];
    [start, &[bytes.len() as u8], bytes].concat()
}

const EVENT_WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b"event: close\n",
    b"data: x",
    b"id: evil\n",
    b"retry: 1\n",
    b":",
    b" ",
    b"\xc3\xa4",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b",\"cursor\":\"c-1\"}",
    b",\"cursor\":\"a\nb\"}",
    &[b'x'; 1500],
];

proptest! {
    #[test]
    fn frames_as_events(
        messages in prop::collection::vec(
            (any::<u8>(), mix(EVENT_WORDS, 12))
                .prop_map(|(how, bytes)| [vec![how], bytes].concat()),
            0..12,
        ),
        sizes in any_bytes(6),
    ) {
        evented::stream(&messages, &sizes);
    }

    #[test]
    fn request_heads(bytes in mix(HEAD_WORDS, 16)) {
        oracles::request_head(&bytes);
    }

    #[test]
    fn frame_headers(bytes in any_bytes(160)) {
        oracles::frame_decoder(&bytes);
    }

    #[test]
    fn frames_that_begin_well(first in 0..=0x0F_u8, bytes in any_bytes(160)) {
        oracles::frame_decoder(&[&[0x80 | first], bytes.as_slice()].concat());
    }

    #[test]
    fn long_lengths(
        first in prop::sample::select(vec![0x81, 0x02, 0x80, 0xC1]),
        second in prop::sample::select(vec![0x7E, 0x7F, 0xFE, 0xFF]),
        len in prop::collection::vec(prop::sample::select(vec![0, 0, 0, 1, 125, 126, 0x7F, 0x80, 0xFF]), 0..10),
    ) {
        oracles::frame_decoder(&[&[first, second], len.as_slice()].concat());
    }

    #[test]
    fn messages(start in any::<[u8; 3]>(), bytes in mix(TEXT_WORDS, 24)) {
        let pieces = bytes.chunks(5).flat_map(|piece| [&[1, piece.len() as u8], piece].concat());
        oracles::assembler(&start.into_iter().chain(pieces).collect::<Vec<_>>());
        oracles::assembler(&bytes);
    }

    #[test]
    fn texts(bytes in mix(TEXT_WORDS, 24)) {
        oracles::utf8_text(&bytes);
    }

    #[test]
    fn close_payloads(
        code in prop_oneof![995..1020_u16, 2995..3005_u16, 4995..5005_u16],
        reason in mix(TEXT_WORDS, 8),
    ) {
        oracles::close_payload(&reason);
        oracles::close_payload(&[&code.to_be_bytes(), reason.as_slice()].concat());
    }

    #[test]
    fn packets(bytes in mix(JSON_WORDS, 24)) {
        oracles::packet(&bytes);
    }

    #[test]
    fn compressed_messages(bytes in any_bytes(200)) {
        coded::deflate(&bytes);
    }

    #[test]
    fn repetitive_messages(start in any::<[u8; 3]>(), bytes in mix(JSON_WORDS, 200)) {
        coded::deflate(&[&start[..], &bytes].concat());
    }

    #[test]
    fn bodies(bytes in mix(BODY_WORDS, 20)) {
        coded::body(&[&[2][..], &bytes].concat());
        coded::body(&bytes);
    }

    #[test]
    fn answers(bytes in mix(ANSWER_WORDS, 12)) {
        asked::http_answer(&[b"\x04HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        asked::http_answer(&[b"\x04", bytes.as_slice()].concat());
        asked::http_answer(&bytes);
    }

    /// Kept records, changed in some places.
    #[test]
    fn handovers(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        bytes in any_bytes(60),
    ) {
        let seeds = corpus_of("handover");
        let mut seed = seeds[seed.index(seeds.len())].clone();
        for (at, byte) in changes {
            let at = at.index(seed.len());
            seed[at] = byte;
        }
        handed::handover(&seed);
        handed::handover(&bytes);
    }

    #[test]
    fn upstreams(bytes in any_bytes(400)) {
        asked::upstream(&bytes);
    }

    #[test]
    fn upstreams_that_answer(setting in any::<u8>(), steps in prop::collection::vec(asking_step(), 0..60)) {
        asked::upstream(&[&[setting][..], &steps.concat()].concat());
    }

    #[test]
    fn redis_upstreams(bytes in any_bytes(400)) {
        asked::redis_upstream(&bytes);
    }

    #[test]
    fn redis_upstreams_that_answer(setting in any::<u8>(), steps in prop::collection::vec(asking_step(), 0..60)) {
        asked::redis_upstream(&[&[setting][..], &steps.concat()].concat());
    }

    #[test]
    fn resp_values(bytes in mix(RESP_WORDS, 24)) {
        resp::resp(&bytes);
    }

    #[test]
    fn resp_bytes(bytes in any_bytes(100)) {
        resp::resp(&bytes);
    }

    #[test]
    fn php_sessions(kind in any::<u8>(), bytes in any_bytes(200)) {
        stored::php_session(&[&[kind][..], &bytes].concat());
    }

    #[test]
    fn php_sessions_of_words(bytes in mix(SESSION_WORDS, 24)) {
        stored::php_session(&[b"\x03", bytes.as_slice()].concat());
    }

    #[test]
    fn ini_texts(bytes in mix(INI_WORDS, 16)) {
        oracles::ini(&bytes);
    }

    #[test]
    fn proxy_words(bytes in mix(PROXY_WORDS, 16)) {
        proxied::proxy_header(&bytes);
        proxied::proxy_header(&[b"PROXY ", bytes.as_slice()].concat());
    }

    #[test]
    fn proxy_lines(bytes in proxy_line()) {
        proxied::proxy_header(&bytes);
    }

    #[test]
    fn proxy_binaries(bytes in proxy_binary()) {
        proxied::proxy_header(&bytes);
    }

    #[test]
    fn conversations(bytes in conversation_bytes()) {
        oracles::connection(&bytes);
    }

    #[test]
    fn requests(bytes in requests_bytes()) {
        oracles::connection(&bytes);
    }

    #[test]
    fn arbitrary_conversations(bytes in any_bytes(300)) {
        oracles::connection(&bytes);
    }
}

/// What RESP2 is made of.
const RESP_WORDS: &[&[u8]] = &[
    b"+OK\r\n",
    b"-NOAUTH x\r\n",
    b":1\r\n",
    b":-9223372036854775808\r\n",
    b"$3\r\nabc\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"$7\r\nmessage\r\n",
    b"$300\r\n",
    b"$",
    b"*",
    b":",
    b"-",
    b"+",
    b"1",
    b"0",
    b"\r\n",
    b"\r",
    b"\n",
    b"a",
    b"*65536\r\n",
    b"$99999999999\r\n",
];

type Oracle = fn(&[u8]);

/// By the names of the fuzz targets, which are those of the corpus too.
const ORACLES: [(&str, Oracle); 17] = [
    ("request_head", oracles::request_head),
    ("frame_decoder", oracles::frame_decoder),
    ("assembler", oracles::assembler),
    ("utf8", oracles::utf8_text),
    ("close_payload", oracles::close_payload),
    ("packet", oracles::packet),
    ("ini", oracles::ini),
    ("connection", oracles::connection),
    ("deflate", coded::deflate),
    ("body", coded::body),
    ("proxy_header", proxied::proxy_header),
    ("http_answer", asked::http_answer),
    ("upstream", asked::upstream),
    ("php_session", stored::php_session),
    ("resp", resp::resp),
    ("redis_upstream", asked::redis_upstream),
    ("handover", handed::handover),
];

#[test]
fn kept_handovers_are_understood_so_that_their_changes_reach_far() {
    let is_understood = |bytes: &Vec<u8>| handed::is_understood(bytes);
    let seeds = corpus_of("handover");
    // But for a client whose resource is not here.
    assert_eq!(
        seeds.iter().filter(|bytes| is_understood(bytes)).count(),
        seeds.len() - 1
    );
}

/// The inputs that are kept for a target.
fn corpus_of(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(directory).expect("the corpus");
    let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file?.path());
    files.map(|file| read(file).expect("a file")).collect()
}

#[test]
fn the_kept_corpus_passes() {
    for (target, oracle) in ORACLES {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let files =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{target}: {error}"));
        let mut file_count = 0;
        for file in files {
            let path = file.expect("a directory can be read").path();
            println!("{}", path.display());
            oracle(&std::fs::read(&path).expect("a file can be read"));
            file_count += 1;
        }
        assert_ne!(file_count, 0, "{target} has no corpus");
    }
}
