//! What has to hold for any input, one function per parser.
//!
//! Each takes bytes, makes of them what the parser wants, and panics if a promise is broken. The
//! property tests in `main.rs` call these with generated input, the fuzz targets in `fuzz/` with
//! the fuzzer's.

use std::path::Path;

use websock::cli::options::Options;
use websock::config::Config;
use websock::protocol::close;
use websock::protocol::close_code::CloseCode;
use websock::protocol::error::{Rejection, Violation};
use websock::protocol::frame::{self, Header, MAX_HEADER_BYTES, Opcode, Role, Rsv1};
use websock::protocol::handshake::Upgrade;
use websock::protocol::http::{self, BodyPart, MAX_HEAD_BYTES, Request};
use websock::protocol::message::{Assembler, MessageKind, MessageLimits};
use websock::protocol::packet::{Ident, OutlineScanner, Packet, Verb};
use websock::protocol::{mask, utf8};

pub use super::conversation::connection;
use super::script::Script;

/// Most cut points that are tried for one input.
const MAX_CUTS: usize = 600;

/// Every place to cut `len` bytes, or an even choice of them if there are too many.
pub fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).step_by(len / MAX_CUTS + 1)
}

// ---- request heads

/// The end of a head is found once and wherever the bytes are cut; what parses parses again from
/// its parts; every answer is a complete HTTP response.
pub fn request_head(bytes: &[u8]) {
    let whole = http::head_len(bytes, 0);
    assert!(whole.is_none_or(|len| len <= bytes.len() && bytes[len - 1] == b'\n'));
    for cut in cuts(bytes.len()) {
        let early = http::head_len(&bytes[..cut], 0);
        assert_eq!(early, whole.filter(|len| *len <= cut), "cut at {cut}");
        if early.is_none() {
            assert_eq!(http::head_len(bytes, cut), whole, "searched {cut}");
        }
    }
    let expected = match whole {
        Some(len) if len <= MAX_HEAD_BYTES => Ok(Some(len)),
        _ if bytes.len() >= MAX_HEAD_BYTES => Err(Rejection::HeadTooLarge),
        _ => Ok(None),
    };
    assert_eq!(http::find_head(bytes, 0), expected);

    match Request::parse(bytes) {
        Ok(request) => {
            assert_eq!(whole, Some(bytes.len()), "parsed, but not one head");
            good_request(bytes, &request);
        }
        Err(rejection) => complete_answer(rejection),
    }
    if let Some(len) = whole.filter(|len| *len < bytes.len()) {
        request_head(&bytes[..len]);
    }
}

fn good_request(head: &[u8], request: &Request<'_>) {
    assert!(Request::parse(&head[..head.len() - 1]).is_err());
    assert!(Request::parse(&[head, b"x"].concat()).is_err());
    assert!(!request.method().is_empty());
    assert!(request.path().starts_with(['/', '*']) || request.method() == "CONNECT");
    assert!(!request.path().contains(['?', ' ', '\r', '\n']));
    let header_count = request.headers().count();
    assert!(header_count <= http::MAX_HEADERS);
    for (name, value) in request.headers() {
        let last = request.header_values(name).last().expect("it is there");
        assert_eq!(request.header(name), std::str::from_utf8(last).ok());
        assert_eq!(
            request.header(&name.to_ascii_uppercase()),
            request.header(name)
        );
        assert!(
            !value
                .bytes()
                .any(|byte| byte.is_ascii_control() && byte != b'\t')
        );
        assert_eq!(value, value.trim_matches([' ', '\t']));
        let count = request.header_values(name).count();
        assert_eq!(request.only_header(name).is_some(), count == 1);
    }
    if request.path().starts_with('/') {
        rewritten_request(request);
    }
    match Upgrade::check(request) {
        Ok(upgrade) => good_upgrade(request, &upgrade),
        Err(rejection) => complete_answer(rejection),
    }
}

/// What was read, written plainly, reads back as the same.
fn rewritten_request(request: &Request<'_>) {
    let query = Some(request.query()).filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let version = if request.is_http_1_1() { "1.1" } else { "1.0" };
    let mut text = format!(
        "{} {}{query} HTTP/{version}\n",
        request.method(),
        request.path()
    );
    for (name, value) in request.headers() {
        text += &format!("{name}:{value}\n");
    }
    text += "\n";
    match Request::parse(text.as_bytes()) {
        Ok(again) => {
            assert_eq!(again.method(), request.method());
            assert_eq!(
                (again.path(), again.query()),
                (request.path(), request.query())
            );
            assert!(again.headers().eq(request.headers()));
        }
        Err(rejection) => assert!(text.len() > MAX_HEAD_BYTES, "{rejection:?}: {text:?}"),
    }
}

fn good_upgrade(request: &Request<'_>, upgrade: &Upgrade) {
    assert_eq!(request.method(), "GET");
    assert!(request.is_http_1_1() && request.host().is_ok());
    assert_eq!(request.header("Sec-WebSocket-Key").map(str::len), Some(24));
    let mut plain = Vec::new();
    upgrade.write_response(None, &mut plain);
    assert_eq!(http::head_len(&plain, 0), Some(plain.len()));
    for padded_len in [200, 201, 1024] {
        let mut padded = Vec::new();
        upgrade.write_response(Some(padded_len), &mut padded);
        assert_eq!(http::head_len(&padded, 0), Some(padded_len));
        assert_eq!(padded.len(), padded_len);
        assert_eq!(padded[..plain.len() - 4], plain[..plain.len() - 4]);
    }
}

fn complete_answer(rejection: Rejection) {
    let mut answer = Vec::new();
    rejection.write_response(BodyPart::Sent, &mut answer);
    assert_eq!(answer_len(&answer), Some(answer.len()), "{rejection:?}");
    let mut head = Vec::new();
    rejection.write_response(BodyPart::LeftOut, &mut head);
    assert_eq!(http::head_len(&answer, 0), Some(head.len()));
    assert!(answer.starts_with(&head), "{rejection:?}");
    let start = format!("HTTP/1.1 {} ", rejection.status());
    assert!(answer.starts_with(start.as_bytes()), "{rejection:?}");
}

/// Length of the HTTP response at the front, its body included, if it is complete.
fn answer_len(bytes: &[u8]) -> Option<usize> {
    let head_len = http::head_len(bytes, 0)?;
    let head = std::str::from_utf8(&bytes[..head_len]).expect("our heads are ASCII");
    let body_len = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let body_len: usize = body_len.map_or(0, |len| len.parse().expect("a number"));
    Some(head_len + body_len).filter(|len| *len <= bytes.len())
}

// ---- frames

/// A header is read as the RFC says, with the first byte that decides, and written as it was read;
/// masking is the RFC's, twice is not at all, in any two pieces.
pub fn frame_decoder(bytes: &[u8]) {
    for role in [Role::Server, Role::Client] {
        for rsv1 in [Rsv1::Forbidden, Rsv1::MarksCompressed] {
            let start = &bytes[..bytes.len().min(MAX_HEADER_BYTES + 4)];
            for cut in 0..=start.len() {
                let got = Header::parse(&start[..cut], role, rsv1);
                assert_eq!(
                    got,
                    plain_header(&start[..cut], role, rsv1),
                    "{:?}",
                    &start[..cut]
                );
            }
            if let Ok(Some((header, len))) = Header::parse(bytes, role, rsv1) {
                good_header(bytes, role, header, len);
            }
        }
    }
    let mut script = Script(bytes);
    let (offset, key) = (usize::from(script.byte()), script.key());
    masking(key, offset, script.0);
}

fn good_header(bytes: &[u8], role: Role, header: Header, len: usize) {
    assert!(len <= bytes.len().min(MAX_HEADER_BYTES));
    if role == Role::Client && !header.rsv1 {
        let mut again = Vec::new();
        let payload_len = usize::try_from(header.payload_len).expect("64 bits");
        frame::encode_header(header.fin, header.opcode, payload_len, &mut again);
        assert_eq!(again, bytes[..len]);
        assert_eq!(frame::header_len(payload_len), len);
    }
    let rest = &bytes[len..];
    if role == Role::Server && header.fin && !header.rsv1 && header.payload_len <= rest.len() as u64
    {
        let (payload, _) = rest.split_at(header.payload_len as usize);
        let mut plain = payload.to_vec();
        mask::apply(header.masking_key, 0, &mut plain);
        let mut again = Vec::new();
        frame::encode_masked(header.opcode, header.masking_key, &plain, &mut again);
        assert_eq!(again, bytes[..len + payload.len()]);
    }
}

fn masking(key: [u8; 4], offset: usize, payload: &[u8]) {
    let expected: Vec<u8> = payload
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ key[(i + offset) % 4])
        .collect();
    let mut whole = payload.to_vec();
    mask::apply(key, offset, &mut whole);
    assert_eq!(whole, expected);
    let cut = offset.min(payload.len());
    let mut pieces = payload.to_vec();
    let (left, right) = pieces.split_at_mut(cut);
    mask::apply(key, offset, left);
    mask::apply(key, offset + cut, right);
    assert_eq!(pieces, expected);
    mask::apply(key, offset, &mut whole);
    assert_eq!(whole, payload);
}

/// RFC 6455 §5.2 once more, as plainly as it can be said.
fn plain_header(
    bytes: &[u8],
    role: Role,
    rsv1: Rsv1,
) -> Result<Option<(Header, usize)>, Violation> {
    let Some(first) = bytes.first() else {
        return Ok(None);
    };
    let opcode = match first % 16 {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Violation::ReservedOpcode),
    };
    let (fin, is_control) = (*first >= 128, first % 16 >= 8);
    let marks = rsv1 == Rsv1::MarksCompressed && (1..=2).contains(&(first % 16));
    match first / 16 % 8 {
        0 => {}
        4 if marks => {}
        _ => return Err(Violation::ReservedBits),
    }
    if is_control && !fin {
        return Err(Violation::FragmentedControl);
    }
    let Some(second) = bytes.get(1) else {
        return Ok(None);
    };
    let is_masked = *second >= 128;
    match role {
        Role::Server if !is_masked => return Err(Violation::Unmasked),
        Role::Client if is_masked => return Err(Violation::Masked),
        Role::Server | Role::Client => {}
    }
    let short = u64::from(second % 128);
    if is_control && short > 125 {
        return Err(Violation::LongControl);
    }
    let (width, least) = match short {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let long = &bytes[2..bytes.len().min(2 + width)];
    if width == 8 && long.first().is_some_and(|top| *top >= 128) {
        return Err(Violation::LengthTopBit);
    }
    if least_possible(long, width) < least && most_possible(long, width) < least {
        return Err(Violation::NonMinimalLength);
    }
    if long.len() < width {
        return Ok(None);
    }
    let payload_len = if width == 0 {
        short
    } else {
        least_possible(long, width)
    };
    let mut header = Header {
        fin,
        rsv1: first / 16 % 8 == 4,
        opcode,
        masking_key: [0; 4],
        payload_len,
    };
    if !is_masked {
        return Ok(Some((header, 2 + width)));
    }
    let Some(key) = bytes.get(2 + width..6 + width) else {
        return Ok(None);
    };
    header.masking_key.copy_from_slice(key);
    Ok(Some((header, 6 + width)))
}

fn least_possible(known: &[u8], width: usize) -> u64 {
    (0..width).fold(0, |sum, i| {
        sum << 8 | u64::from(known.get(i).copied().unwrap_or(0))
    })
}

fn most_possible(known: &[u8], width: usize) -> u64 {
    (0..width).fold(0, |sum, i| {
        sum << 8 | u64::from(known.get(i).copied().unwrap_or(0xFF))
    })
}

// ---- messages

/// Fragments are taken exactly as far as the limits go; text fails with the first certain piece;
/// whole pieces, single bytes and pieces that come where they stay, in a used buffer, agree; memory
/// follows what has arrived.
pub fn assembler(bytes: &[u8]) {
    let mut script = Script(bytes);
    let kind = if script.byte() % 2 == 0 {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    let limits = MessageLimits {
        max_bytes: usize::from(script.byte()) * 4,
        max_fragments: u32::from(script.byte()),
    };
    let mut whole = Assembler::new(kind);
    let mut bytewise = Assembler::new(kind);
    let mut in_place = Assembler::with_buffer(kind, vec![0xFF; 300]);
    let mut expected = Vec::new();
    let mut fragment_count = 0;
    while !script.is_empty() {
        let promised = if script.byte() % 8 == 0 {
            u64::MAX >> 1
        } else {
            u64::from(script.byte())
        };
        let header = Header {
            fin: false,
            rsv1: false,
            opcode: Opcode::Continuation,
            masking_key: [0; 4],
            payload_len: promised,
        };
        fragment_count += 1;
        let verdict = if fragment_count > limits.max_fragments {
            Err(Violation::TooManyFragments)
        } else if expected.len() as u64 + promised > limits.max_bytes as u64 {
            Err(Violation::MessageTooBig)
        } else {
            Ok(())
        };
        assert_eq!(whole.begin_fragment(&header, limits), verdict);
        assert_eq!(bytewise.begin_fragment(&header, limits), verdict);
        assert_eq!(in_place.begin_fragment(&header, limits), verdict);
        if verdict.is_err() {
            return;
        }
        let piece = script.bytes(promised as usize);
        expected.extend_from_slice(piece);
        let verdict = if kind == MessageKind::Text && is_certainly_no_text(&expected) {
            Err(Violation::InvalidUtf8)
        } else {
            Ok(())
        };
        assert_eq!(whole.push(piece), verdict);
        assert_eq!(
            piece.iter().try_for_each(|byte| bytewise.push(&[*byte])),
            verdict
        );
        assert_eq!(push_in_place(&mut in_place, piece), verdict);
        if verdict.is_err() {
            return;
        }
        assert_eq!(in_place.len(), expected.len());
        assert_eq!(
            (whole.len(), whole.is_empty()),
            (expected.len(), expected.is_empty())
        );
        assert!(
            whole.held_bytes() <= 2 * expected.len() + 64,
            "{}",
            whole.held_bytes()
        );
    }
    let is_whole = kind == MessageKind::Binary || std::str::from_utf8(&expected).is_ok();
    let expected = if is_whole {
        Ok((kind, expected))
    } else {
        Err(Violation::InvalidUtf8)
    };
    for assembler in [whole, bytewise, in_place] {
        let gathered = assembler.finish();
        let gathered = gathered.map(|gathered| (gathered.kind(), gathered.into_bytes()));
        assert_eq!(gathered, expected);
    }
}

/// Each byte less one, as if masked, into room that is larger.
fn push_in_place(assembler: &mut Assembler, piece: &[u8]) -> Result<(), Violation> {
    let room = assembler
        .payload_buffer(piece.len() + 3)
        .expect("not compressed");
    assert_eq!(room.len(), piece.len() + 3);
    for (place, byte) in room.iter_mut().zip(piece) {
        *place = byte.wrapping_sub(1);
    }
    assembler.fill_payload_buffer(piece.len(), |block| {
        block
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(1))
    })
}

/// Whether no bytes behind these can make them text.
fn is_certainly_no_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}

/// Valid and invalid are what the standard library says, in one piece, in two cut anywhere, and
/// byte by byte with the first certain byte.
pub fn utf8_text(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4096)];
    let expected = std::str::from_utf8(bytes).ok();
    assert_eq!(utf8::check(bytes), expected);
    for cut in cuts(bytes.len()) {
        let mut validator = utf8::Validator::default();
        let (left, right) = bytes.split_at(cut);
        assert_eq!(
            validator.feed(left).is_err(),
            is_certainly_no_text(left),
            "cut at {cut}"
        );
        if is_certainly_no_text(left) {
            continue;
        }
        assert_eq!(
            validator.feed(right).is_err(),
            is_certainly_no_text(bytes),
            "cut at {cut}"
        );
        if !is_certainly_no_text(bytes) {
            assert_eq!(
                validator.finish().is_ok(),
                expected.is_some(),
                "cut at {cut}"
            );
        }
    }
    let mut validator = utf8::Validator::default();
    for (i, byte) in bytes.iter().enumerate().take(MAX_CUTS) {
        let failed = validator.feed(&[*byte]).is_err();
        assert_eq!(failed, is_certainly_no_text(&bytes[..=i]), "byte {i}");
        if failed {
            break;
        }
    }
}

// ---- close payloads

/// A payload that reads well is written as it was read; any code and reason fit a control frame
/// and read back, the reason as far as it fits.
pub fn close_payload(bytes: &[u8]) {
    let code = bytes.first_chunk().map(|code| u16::from_be_bytes(*code));
    let is_legal = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    match (close::parse(bytes), code) {
        (Ok(None), _) => assert!(bytes.is_empty()),
        (Err(Violation::ShortClosePayload), _) => assert_eq!(bytes.len(), 1),
        (Err(Violation::InvalidCloseCode), Some(code)) => assert!(!is_legal(code)),
        (Err(Violation::InvalidUtf8), Some(code)) => {
            assert!(is_legal(code) && std::str::from_utf8(&bytes[2..]).is_err());
        }
        (Ok(Some((got, reason))), Some(code)) => {
            assert!(is_legal(code));
            assert_eq!((got.as_u16(), reason.as_bytes()), (code, &bytes[2..]));
            if bytes.len() <= frame::MAX_CONTROL_BYTES {
                let mut again = Vec::new();
                close::write(got, reason, &mut again);
                assert_eq!(again, bytes);
            }
        }
        (other, _) => panic!("{other:?}"),
    }

    let mut script = Script(bytes);
    let number = u16::from_be_bytes([script.byte(), script.byte()]);
    let code = CloseCode::from_wire(1000 + number % 4000).unwrap_or(CloseCode::NORMAL);
    let reason = String::from_utf8_lossy(script.0);
    let mut payload = Vec::new();
    close::write(code, &reason, &mut payload);
    assert!(payload.len() <= frame::MAX_CONTROL_BYTES);
    let read = close::parse(&payload)
        .expect("we have written it")
        .expect("a code is there");
    assert_eq!(read.0, code);
    assert!(reason.starts_with(read.1));
    assert!(reason.len() - read.1.len() < 4 || payload.len() > frame::MAX_CONTROL_BYTES - 4);
}

// ---- packets

/// What passes is JSON to a document parser too, apart from that one's own limits, and the fields
/// are the document's; blanks around a packet do not matter; every cut of a packet is malformed;
/// what is read while it arrives is what is read of it whole.
pub fn packet(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let parsed = Packet::parse(text);
    let document = serde_json::from_str::<serde_json::Value>(text);
    match (&parsed, &document) {
        (Ok(packet), Ok(document)) => same_fields(packet, document),
        (Ok(_), Err(error)) => {
            let error = error.to_string();
            let own_limits = ["recursion limit exceeded", "number out of range"];
            assert!(
                own_limits.iter().any(|limit| error.starts_with(limit)),
                "{error}: {text:?}"
            );
        }
        (Err(malformed), Ok(_)) => panic!("{malformed}: {text:?}"),
        (Err(malformed), Err(_)) => assert!(malformed.position <= text.len()),
    }
    read_in_pieces(text, parsed.as_ref().ok());
    assert_eq!(
        Packet::parse(&format!(" \t\r\n{text}\n")).is_ok(),
        parsed.is_ok()
    );
    let trimmed = text.trim_ascii();
    if parsed.is_ok() && trimmed.starts_with(['{', '[', '"']) {
        for cut in cuts(trimmed.len() - 1).filter(|cut| trimmed.is_char_boundary(*cut)) {
            assert!(
                Packet::parse(&trimmed[..cut]).is_err(),
                "{:?}",
                &trimmed[..cut]
            );
        }
    }
    let written = serde_json::json!({ "opcode": "uuid", "ident": text, "message": text });
    let written = written.to_string();
    let packet = Packet::parse(&written).expect("a document was written");
    assert_eq!((packet.verb, packet.message.as_ref()), (Verb::Uuid, text));
    match packet.ident {
        Ident::Text(ident) => assert_eq!(ident, text),
        Ident::None => assert!(text.is_empty()),
        Ident::Number(number) => panic!("{number}"),
    }
}

/// Cut at every place, and byte by byte: only objects are read so.
fn read_in_pieces(text: &str, expected: Option<&Packet<'_>>) {
    let read = |ends: &mut dyn Iterator<Item = usize>| {
        let mut scanner = OutlineScanner::default();
        ends.for_each(|end| scanner.advance(&text.as_bytes()[..end]));
        scanner.finish()
    };
    let whole = read(&mut std::iter::once(text.len()));
    assert_eq!(read(&mut (0..=text.len())), whole, "{text:?}");
    for cut in cuts(text.len()) {
        assert_eq!(
            read(&mut [cut, text.len()].into_iter()),
            whole,
            "{text:?} cut at {cut}"
        );
    }
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']);
    assert_eq!(whole.is_some(), first.starts_with('{'), "{text:?}");
    if let Some(outline) = whole {
        let packet = outline.packet(text.as_bytes());
        assert_eq!(packet.as_ref().ok(), expected, "{text:?}");
    }
}

fn same_fields(packet: &Packet<'_>, document: &serde_json::Value) {
    let text_of = |key: &str| document[key].as_str().unwrap_or_default();
    assert_eq!(packet.uuid, text_of("uuid"));
    let verb = match text_of("opcode") {
        "echo" => Verb::Echo,
        "broadcast" => Verb::Broadcast,
        "feedback" => Verb::Feedback,
        "quit" => Verb::Quit,
        "uuid" => Verb::Uuid,
        "logout" => Verb::Logout,
        _ => Verb::Unknown,
    };
    assert_eq!(packet.verb, verb);
    let message = if verb == Verb::Uuid {
        text_of("message")
    } else {
        ""
    };
    assert_eq!(packet.message, message);
    match (&packet.ident, &document["ident"]) {
        (Ident::Number(raw), serde_json::Value::Number(_)) => {
            assert!(serde_json::from_str::<f64>(raw).is_ok(), "{raw}");
        }
        (Ident::Text(ident), value) => assert_eq!(Some(ident.as_ref()), value.as_str()),
        (Ident::None, value) => {
            assert!(
                !value.is_number() && value.as_str().is_none_or(str::is_empty),
                "{value}"
            );
        }
        (Ident::Number(raw), value) => panic!("{raw} is {value}"),
    }
}

// ---- websock.ini

/// A configuration that exists is usable and survives being written down; line ends, a byte order
/// mark and comments change nothing; a refusal says something, on lines of its own.
pub fn ini(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read = |text: &str| {
        let variable = |name: &str| (name == "NAME").then(|| "value".to_owned());
        Config::parse(
            Some(Path::new("fuzz.ini")),
            text,
            &Options::default(),
            &variable,
        )
    };
    let config = read(&text);
    if !text.starts_with('\u{feff}') {
        assert_eq!(read(&format!("\u{feff}{text}")), config);
    }
    if !text.contains('\r') {
        assert_eq!(read(&text.replace('\n', "\r\n")), config);
    }
    assert_eq!(read(&format!("{text}\n; comment\n\n# comment\n")), config);
    let config = match config {
        Ok(config) => config,
        Err(errors) => {
            let errors = errors.to_string();
            assert!(!errors.trim().is_empty() && !errors.contains('\r'));
            return;
        }
    };
    assert!(!config.listen.is_empty());
    assert!(config.server.memory_limit_bytes >= config.server.limits.max_message_bytes);
    assert!(config.server.memory_limit_bytes >= config.server.limits.max_queue_bytes);
    assert!(
        config
            .warnings
            .iter()
            .all(|warning| !warning.contains(['\r', '\n']))
    );

    let is_plain = |value: &str| !value.contains(['\'', '\n', '\r']) && !value.contains("${");
    if config
        .settings
        .iter()
        .all(|setting| is_plain(&setting.value))
    {
        let lines = config.settings.iter().map(|s| match s.key {
            // The last section; in quotes, PHP would take a false for true.
            "require" => format!("[jsauth]\nrequire={}\n", s.value),
            key => format!("{key}='{}'\n", s.value),
        });
        let again = read(&lines.collect::<String>()).expect("it was in force");
        let without_places = |mut config: Config| {
            (config.settings, config.warnings) = Default::default();
            config
        };
        assert_eq!(without_places(again), without_places(config));
    }
}
