//! JSON packets of the dialogue (protocol.md 2.4 to 2.6): text → [`Packet`], without a document.
//!
//! Owns what counts as valid JSON here and which fields of a packet the server reads. Refuses to
//! know who sent the packet and what is done with it: the sender's bytes are forwarded as they
//! are, so nothing is ever encoded again.
//!
//! serde_json checks the grammar (RFC 8259) and lends the raw text of the fields. Where it is
//! more lenient than docs/protocol.md, two passes over the bytes make up for it: nesting is limited
//! to [`MAX_DEPTH`], and surrogates in `\u` escapes must come in pairs. Numbers are never
//! converted, so none is out of range. Nothing here recurses; memory is taken only for picked
//! fields with escapes and for at most [`MAX_DEPTH`] bytes of nesting.

mod fields;
mod flat;
mod outline;

use std::borrow::Cow;

use memchr::memchr;

pub use self::fields::{MAX_DEPTH, Malformed};
pub use self::outline::{Outline, OutlineScanner};

use self::fields::Fields;

/// What a packet's field `opcode` asks for, compared exactly (protocol.md 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `echo`
    Echo,
    /// `broadcast`
    Broadcast,
    /// `feedback`
    Feedback,
    /// `quit`
    Quit,
    /// `uuid`
    Uuid,
    /// `logout`
    Logout,
    /// No opcode, an unknown one, one that is no text, or JSON that is no object.
    Unknown,
}

/// The packet's field `ident` (protocol.md 3.3, 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ident<'a> {
    /// Missing, empty, or of a type that matches nobody.
    None,
    /// A JSON string, unescaped; never empty.
    Text(Cow<'a, str>),
    /// A JSON number, as written.
    Number(&'a str),
}

/// The fields of one packet that the server reads. For a key given twice the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What is asked for.
    pub verb: Verb,
    /// Field `uuid` if it is a text, else `""`.
    pub uuid: Cow<'a, str>,
    /// Field `ident`.
    pub ident: Ident<'a>,
    /// Field `user` if it is a text, or the text of an integer, else `""`: ids of users that are
    /// numbers come as either (protocol.md 8.9).
    pub user: Cow<'a, str>,
    /// Field `session` if it is a text and `verb` is [`Verb::Logout`], else `""`.
    pub session: Cow<'a, str>,
    /// Field `message` if it is a text and `verb` is [`Verb::Uuid`], else `""`.
    pub message: Cow<'a, str>,
}

/// Whether a message is the bare text that common heartbeat libraries send instead of a packet; it
/// asks for nothing (protocol.md 2.6a).
pub fn is_heartbeat(text: &str) -> bool {
    text == "ping"
}

impl<'a> Packet<'a> {
    /// Validates the whole text and picks the fields out of it. Nothing is copied unless a field
    /// holds escapes.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = match flat::pick(text) {
            Some(fields) => fields,
            None => Fields::pick(text)?,
        };
        Ok(Self::of_fields(&fields))
    }

    fn of_fields(fields: &Fields<'a>) -> Self {
        let verb = Verb::from_raw(fields.opcode);
        let text_for = |wanted, raw| match verb == wanted {
            true => string(raw).unwrap_or_default(),
            false => Cow::default(),
        };
        Self {
            verb,
            uuid: string(fields.uuid).unwrap_or_default(),
            ident: Ident::from_raw(fields.ident),
            user: user(fields.user),
            session: text_for(Verb::Logout, fields.session),
            message: text_for(Verb::Uuid, fields.message),
        }
    }
}

impl Packet<'_> {
    /// Whether it is for a user: only where neither uuid nor ident names a receiver, so that
    /// packets which hold a `user` of their own go where they always went (protocol.md 8.9).
    pub fn is_to_user(&self) -> bool {
        self.uuid.is_empty() && self.ident == Ident::None && !self.user.is_empty()
    }
}

impl Verb {
    fn from_raw(raw: &str) -> Self {
        match string(raw).as_deref() {
            Some("echo") => Self::Echo,
            Some("broadcast") => Self::Broadcast,
            Some("feedback") => Self::Feedback,
            Some("quit") => Self::Quit,
            Some("uuid") => Self::Uuid,
            Some("logout") => Self::Logout,
            Some(_) | None => Self::Unknown,
        }
    }
}

impl<'a> Ident<'a> {
    fn from_raw(raw: &'a str) -> Self {
        if raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Self::Number(raw);
        }
        match string(raw) {
            Some(text) if !text.is_empty() => Self::Text(text),
            Some(_) | None => Self::None,
        }
    }
}

/// The id of a user: a text, or an integer as it is written. Nothing else, `""` included, is one.
pub fn user(raw: &str) -> Cow<'_, str> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match is_integer {
        true => Cow::Borrowed(raw),
        false => string(raw).unwrap_or_default(),
    }
}

/// The text that a raw JSON string means; `None` for a value of another type.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let content = raw.strip_prefix('"')?.strip_suffix('"')?;
    match memchr(b'\\', content.as_bytes()) {
        None => Some(Cow::Borrowed(content)),
        Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Packet<'_> {
        Packet::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn is_valid(text: &str) -> bool {
        Packet::parse(text).is_ok()
    }

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn a_heartbeat_is_the_bare_word_and_no_packet() {
        assert!(is_heartbeat("ping") && !is_valid("ping"));
        for text in [
            "", "Ping", "ping\n", " ping", "pong", "\"ping\"", "pingping",
        ] {
            assert!(!is_heartbeat(text), "{text:?}");
        }
    }

    #[test]
    fn opcodes_are_compared_exactly_and_unescaped() {
        let cases = [
            (r#"{"opcode":"echo"}"#, Verb::Echo),
            (r#"{"opcode":"broadcast"}"#, Verb::Broadcast),
            (r#"{"opcode":"feedback"}"#, Verb::Feedback),
            (r#"{"opcode":"quit"}"#, Verb::Quit),
            (r#"{"opcode":"uuid"}"#, Verb::Uuid),
            (
                "\r\n\t {\"a\" : 1 ,\n \"opcode\" :\t\"echo\" } \n",
                Verb::Echo,
            ),
            (r#"{"\u006fpcode":"\u0065cho"}"#, Verb::Echo),
            (r#"{"opcode":"Echo"}"#, Verb::Unknown),
            (r#"{"opcode":"echo "}"#, Verb::Unknown),
            (r#"{"Opcode":"echo"}"#, Verb::Unknown),
            (r#"{"opcode":""}"#, Verb::Unknown),
            (r#"{"opcode":1}"#, Verb::Unknown),
            (r#"{"opcode":null}"#, Verb::Unknown),
            (r#"{"opcode":["echo"]}"#, Verb::Unknown),
            (r#"{"a":{"opcode":"echo"}}"#, Verb::Unknown),
            ("{}", Verb::Unknown),
            (r#"[{"opcode":"echo"}]"#, Verb::Unknown),
            (r#""echo""#, Verb::Unknown),
            ("17", Verb::Unknown),
            ("null", Verb::Unknown),
            (" true ", Verb::Unknown),
        ];
        for (text, verb) in cases {
            assert_eq!(parse(text).verb, verb, "{text}");
        }
    }

    #[test]
    fn flat_packets_are_read_without_the_parser_and_others_with_it() {
        for (text, is_flat) in [
            ("{}", true),
            (" { } ", true),
            (r#"{"opcode":"echo"}"#, true),
            (
                "\t{\r\n\"opcode\" : \"uuid\" , \"message\":\"\u{fc}\", \"a\":17}\n",
                true,
            ),
            (r#"{"a":true,"b":false,"c":null,"d":0,"e":10}"#, true),
            (r#"{"message":"\"\\\/\b\f\n\r\t\u00fC\uD7ff\uE000"}"#, true),
            // Valid, but not flat.
            (r#"{"message":"\uD83D\uDE00"}"#, false),
            (r#"{"\u006fpcode":"echo"}"#, false),
            (r#"{"a":-1,"b":1.5}"#, false),
            (r#"{"a":[]}"#, false),
            ("[]", false),
            ("null", false),
            // Invalid.
            ("", false),
            ("{", false),
            ("{}}", false),
            ("{,}", false),
            (r#"{"a"}"#, false),
            (r#"{"a":}"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":1 2}"#, false),
            (r#"{"a":01}"#, false),
            (r#"{"a":tru}"#, false),
            (r#"{"a":"b}"#, false),
            ("{\"a\":\"b\u{1}\"}", false),
            (r#"{"a":"\x"}"#, false),
            (r#"{"a":"\u12g4"}"#, false),
            (r#"{"a":"\u123"}"#, false),
            (r#"{"a":"\"#, false),
            (r#"{"message":"\uDC00"}"#, false),
            (r#"{"message":"\ud800"}"#, false),
        ] {
            let flat = flat::pick(text);
            assert_eq!(flat.is_some(), is_flat, "{text}");
            assert!(flat.is_none() || flat == Fields::pick(text).ok(), "{text}");
        }
    }

    proptest! {
        /// Wherever a long string ends, is wrong or has an escape.
        #[test]
        fn a_flat_packet_reads_as_the_parser_reads_it(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("\""), Just(":"), Just(","), Just(" "),
                    Just("\"opcode\":\"echo\""), Just("\"message\":"), Just("\"ident\":12"),
                    Just("\"user\":42"), Just("\"session\":\"s\""),
                    Just("\\"), Just("\\u00e4"), Just("\\ud800"), Just("\u{1f}"), Just("\u{7f}"),
                    Just("\u{e4}\u{20ac}"), Just("0"), Just("true"), Just("x"),
                    Just("plain text, as long as a block and a bit"),
                ],
                0..12,
            ),
            is_object in any::<bool>(),
        ) {
            let text: String = parts.concat();
            let text = if is_object { format!("{{\"uuid\":\"{text}\"}}") } else { text };
            if let Some(fields) = flat::pick(&text) {
                prop_assert_eq!(Ok(fields), Fields::pick(&text));
            }
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        assert_eq!(
            parse(r#"{"opcode":"echo","opcode":"quit"}"#).verb,
            Verb::Quit
        );
        assert_eq!(
            parse(r#"{"opcode":"echo","\u006fpcode":1}"#).verb,
            Verb::Unknown
        );
        assert_eq!(parse(r#"{"uuid":"a","uuid":{}}"#).uuid, "");
        assert_eq!(
            parse(r#"{"ident":"a","ident":7}"#).ident,
            Ident::Number("7")
        );
    }

    // protocol.md 8.9
    #[test]
    fn a_user_is_a_text_or_an_integer_and_counts_where_nobody_else_is_named() {
        for (raw, user) in [
            (r#""42""#, "42"),
            ("42", "42"),
            ("-7", "-7"),
            ("0", "0"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#""\u0034\u0032""#, "42"),
            (r#""042""#, "042"),
            (r#""a\"b""#, "a\"b"),
            (r#""""#, ""),
            ("4.0", ""),
            ("4e2", ""),
            ("-0.0", ""),
            ("true", ""),
            ("null", ""),
            ("[42]", ""),
            (r#"{"id":42}"#, ""),
        ] {
            let text = format!(r#"{{"opcode":"feedback","user":{raw}}}"#);
            let packet = parse(&text);
            assert_eq!(packet.user, user, "{text}");
            assert_eq!(packet.is_to_user(), !user.is_empty(), "{text}");
        }
        for (fields, is_to_user) in [
            (r#""user":"42","uuid":"u""#, false),
            (r#""user":"42","ident":"i""#, false),
            (r#""user":"42","ident":7"#, false),
            (r#""user":"42","uuid":"","ident":"""#, true),
            (r#""user":"42","uuid":7,"ident":null"#, true),
            (r#""user":7,"user":"""#, false),
        ] {
            let text = format!(r#"{{"opcode":"feedback",{fields}}}"#);
            assert_eq!(parse(&text).is_to_user(), is_to_user, "{text}");
        }
    }

    // protocol.md 8.10
    #[test]
    fn a_session_is_read_in_logouts_only() {
        for (text, verb, session) in [
            (
                r#"{"opcode":"logout","session":"a\u0062"}"#,
                Verb::Logout,
                "ab",
            ),
            (r#"{"opcode":"logout","session":7}"#, Verb::Logout, ""),
            (r#"{"opcode":"Logout","session":"a"}"#, Verb::Unknown, ""),
            (r#"{"opcode":"feedback","session":"a"}"#, Verb::Feedback, ""),
        ] {
            let packet = parse(text);
            assert_eq!(
                (packet.verb, packet.session.as_ref()),
                (verb, session),
                "{text}"
            );
        }
    }

    #[test]
    fn fields_are_lent_and_copied_only_if_escaped() {
        let packet = parse(r#"{"opcode":"feedback","uuid":"ab","ident":"käse","message":"m"}"#);
        assert!(matches!(packet.uuid, Cow::Borrowed("ab")));
        assert!(matches!(packet.ident, Ident::Text(Cow::Borrowed("käse"))));
        assert_eq!(
            packet.message, "",
            "only the verb uuid has its message decoded"
        );

        let packet = parse(r#"{"uuid":"\"\\\/\n","ident":"k\u00e4\ud83d\ude00","opcode":"uuid"}"#);
        assert_eq!(packet.uuid, "\"\\/\n");
        assert_eq!(packet.ident, Ident::Text("kä😀".into()));
    }

    #[test]
    fn the_message_is_decoded_for_uuid_wherever_it_stands() {
        assert_eq!(
            parse(r#"{"message":"n\u0061me","opcode":"uuid"}"#).message,
            "name"
        );
        assert_eq!(parse(r#"{"opcode":"uuid","message":{"a":1}}"#).message, "");
        assert_eq!(parse(r#"{"opcode":"uuid"}"#).message, "");
    }

    #[test]
    fn idents_are_texts_or_numbers_and_nothing_else() {
        let cases = [
            (r#"{"ident":"42"}"#, Ident::Text("42".into())),
            (r#"{"ident": 42 }"#, Ident::Number("42")),
            (r#"{"ident":-0.50E+3}"#, Ident::Number("-0.50E+3")),
            (r#"{"ident":1e400}"#, Ident::Number("1e400")),
            (r#"{"ident":" "}"#, Ident::Text(" ".into())),
            (r#"{"ident":""}"#, Ident::None),
            (r#"{"ident":true}"#, Ident::None),
            (r#"{"ident":null}"#, Ident::None),
            (r#"{"ident":["a"]}"#, Ident::None),
            (r#"{"ident":{"a":1}}"#, Ident::None),
            ("{}", Ident::None),
        ];
        for (text, ident) in cases {
            assert_eq!(parse(text).ident, ident, "{text}");
        }
    }

    #[test]
    fn invalid_json_is_malformed() {
        let cases = [
            "",
            " ",
            "{",
            "{}}",
            "{} x",
            "{}{}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{1:1}",
            "\u{feff}{}",
            "\u{a0}{}",
            "{}\u{0}",
            "\u{c}{}",
            "\"a\nb\"",
            "\"a\tb\"",
            "{\"a\u{1}\":1}",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12"#,
            r#""\"#,
            "\"open",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "tru",
            "True",
            "[1 2]",
            "[}",
            "{]",
            "// c\n{}",
        ];
        for text in cases {
            assert!(!is_valid(text), "{text:?}");
            let inside_a_packet = format!("{{\"opcode\":\"echo\",\"x\":{text}}}");
            if !matches!(text, "" | " ") {
                assert!(!is_valid(&inside_a_packet), "{inside_a_packet:?}");
            }
        }
    }

    #[test]
    fn valid_json_of_all_kinds_passes() {
        let cases = [
            "{\"\":0}",
            "\"a\u{7f}\u{80}\u{2028}\"",
            r#""\b\f\n\r\t\/\\\"\u0000""#,
            "[-0, 0.0, 1E5, 1e+5, 1e-5, 1e400, -1e999999999, 123456789012345678901234567890]",
            "[[],{},[{}],\"[{\"]",
        ];
        for text in cases {
            assert!(is_valid(text), "{text:?}");
            assert!(is_valid(&format!("{{\"message\":{text}}}")), "{text:?}");
        }
    }

    #[test]
    fn surrogates_must_come_in_pairs() {
        let cases = [
            (r"\ud83d\ude00", true),
            (r"\uD83D\uDE00\uDBFF\uDFFF\uD800\uDC00", true),
            (r"\ud7ff\ue000", true),
            (r"\\ud800", true),
            (r"\\\\ud800", true),
            (r"\ud800", false),
            (r"\udc00", false),
            (r"\ude00\ud83d", false),
            (r"\ud83d\ud83d\ude00", false),
            (r"\ud83d\ude00\ude00", false),
            (r"\ud83d \ude00", false),
            (r"\ud83d\\ude00", false),
            (r"\ud83d\n", false),
            (r"\ud83du", false),
            (r"\\\ud800", false),
            (r"\u0041\u00e4\uDBFF", false),
        ];
        for (content, valid) in cases {
            for pad in ["", "long enough to leave the first block, "] {
                for text in [
                    format!("\"{pad}{content}\""),
                    format!("{{\"{pad}{content}\":1}}"),
                    format!("{{\"uuid\":\"{pad}{content}\"}}"),
                    format!("{{\"a\":[{{\"{content}{pad}\":\"\"}}]}}"),
                ] {
                    assert_eq!(is_valid(&text), valid, "{text}");
                }
            }
        }
    }

    #[test]
    fn nesting_is_limited_to_512() {
        for (depth, valid) in [(511, true), (512, true), (513, false), (100_000, false)] {
            assert_eq!(is_valid(&nested(depth)), valid, "{depth}");
            let packet = format!("{{\"a\":{}}}", nested(depth - 1));
            assert_eq!(is_valid(&packet), valid, "{depth}");
            assert!(!is_valid(&"[".repeat(depth)), "{depth}");
        }
        let objects = "{\"a\":".repeat(512) + "1" + &"}".repeat(512);
        assert!(is_valid(&objects));
        assert!(!is_valid(&format!("[{objects}]")));
        assert_eq!(
            Packet::parse(&nested(513)),
            Err(Malformed { position: 512 })
        );
    }

    #[test]
    fn brackets_that_do_not_nest_are_not_limited() {
        assert!(is_valid(&format!("[{}[]]", "[],".repeat(10_000))));
        assert!(is_valid(&format!(
            "[\"{}\",\"\\\"{}\",{}]",
            "[".repeat(9_999),
            "{".repeat(9_999),
            nested(511)
        )));
        assert!(is_valid(&format!(
            "{{\"a\\\\\":\"{}\"}}",
            "{\\\"".repeat(1_000)
        )));
        assert!(!is_valid(&format!(
            "[\"{}\",{}]",
            "]".repeat(9_999),
            nested(512)
        )));
    }

    #[test]
    fn the_position_is_that_of_the_fault() {
        let cases = [
            ("", 0),
            ("x", 0),
            ("{}x", 2),
            ("{\n\"a\":\nx}", 7),
            (r#"["\ud800"]"#, 2),
        ];
        for (text, position) in cases {
            assert_eq!(Packet::parse(text), Err(Malformed { position }), "{text}");
        }
        assert_eq!(
            Malformed { position: 7 }.to_string(),
            "invalid JSON at byte 7"
        );
    }

    #[test]
    fn every_cut_of_a_packet_is_malformed() {
        let text =
            r#"{"opcode":"uuid","ident":-1.5e3,"x":[{"y":"\ud83d\ude00"},null],"message":"ä"}"#;
        for (end, _) in text.char_indices() {
            assert!(!is_valid(&text[..end]), "{}", &text[..end]);
        }
        assert_eq!(parse(text).message, "ä");
    }

    /// JSON-like noise: tokens that meet in valid and invalid ways.
    fn noise() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u",
            "d83d",
            "\\ude00",
            "\"opcode\":",
            "\"echo\"",
            "\"uuid\":",
            "\"ident\":",
            "\"\"",
            "1",
            "-",
            "0.5",
            "e-9",
            "true",
            "null",
            " ",
            "\n",
            "ä",
            "\u{1}",
        ]);
        prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn what_passes_is_what_a_document_parser_accepts(text in noise()) {
            // Shallow and with small numbers, where serde_json's own limits do not bite.
            let document = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(is_valid(&text), document.is_ok(), "{}", text);
            if let (Ok(packet), Ok(document)) = (Packet::parse(&text), document) {
                let uuid = document["uuid"].as_str().unwrap_or_default();
                prop_assert_eq!(packet.uuid.as_ref(), uuid);
                prop_assert_eq!(packet.verb == Verb::Echo, document["opcode"] == "echo");
            }
        }

        #[test]
        fn any_text_survives_as_uuid_and_ident(value in any::<String>()) {
            let text = serde_json::json!({ "uuid": value, "ident": value }).to_string();
            let packet = Packet::parse(&text).unwrap();
            prop_assert_eq!(packet.uuid.as_ref(), &value);
            match packet.ident {
                Ident::Text(ident) => prop_assert_eq!(ident.as_ref(), &value),
                Ident::None => prop_assert!(value.is_empty()),
                Ident::Number(_) => prop_assert!(false),
            }
        }
    }
}
