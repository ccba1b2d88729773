use super::*;

/// The same session by each serializer, as PHP 8.2 writes it: allowconnect=true, user_id=42,
/// name="Jürgen|x", f=1.5, a=['x'=>1, 2], n=null, no=false, o=stdClass{p:"q"}.
const PHP: &[u8] = b"allowconnect|b:1;user_id|i:42;name|s:9:\"J\xc3\xbcrgen|x\";f|d:1.5;\
    a|a:2:{s:1:\"x\";i:1;i:0;i:2;}n|N;no|b:0;o|O:8:\"stdClass\":1:{s:1:\"p\";s:1:\"q\";}";
const PHP_SERIALIZE: &[u8] = b"a:8:{s:12:\"allowconnect\";b:1;s:7:\"user_id\";i:42;s:4:\"name\";\
    s:9:\"J\xc3\xbcrgen|x\";s:1:\"f\";d:1.5;s:1:\"a\";a:2:{s:1:\"x\";i:1;i:0;i:2;}s:1:\"n\";N;\
    s:2:\"no\";b:0;s:1:\"o\";O:8:\"stdClass\":1:{s:1:\"p\";s:1:\"q\";}}";
const PHP_BINARY: &[u8] = b"\x0callowconnectb:1;\x07user_idi:42;\x04names:9:\"J\xc3\xbcrgen|x\";\
    \x01fd:1.5;\x01aa:2:{s:1:\"x\";i:1;i:0;i:2;}\x01nN;\x02nob:0;\
    \x01oO:8:\"stdClass\":1:{s:1:\"p\";s:1:\"q\";}";
const IGBINARY: &[u8] = b"\x00\x00\x00\x02\x14\x08\x11\x0callowconnect\x05\x11\x07user_id\x06\x2a";

fn parse(bytes: &[u8]) -> Session<'_> {
    Session::parse(bytes).unwrap_or_else(|error| panic!("{error:?}: {}", bytes.escape_ascii()))
}

/// What `find` gives, in words.
#[track_caller]
fn found(bytes: &[u8], path: &str) -> String {
    match parse(bytes).find(path) {
        Ok(Some(value)) => words(value),
        Ok(None) => "-".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

fn words(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::String(value) => format!("\"{}\"", value.escape_ascii()),
        Value::Array { len } => format!("array {len}"),
        Value::Object => "object".to_owned(),
    }
}

fn names(bytes: &[u8]) -> Vec<String> {
    parse(bytes).keys().iter().map(Key::to_string).collect()
}

// protocol.md 8.2
#[test]
fn the_same_session_is_read_from_each_serializer() {
    for (bytes, serializer) in [
        (PHP, Serializer::Php),
        (PHP_SERIALIZE, Serializer::PhpSerialize),
        (PHP_BINARY, Serializer::PhpBinary),
    ] {
        assert_eq!(parse(bytes).serializer(), serializer);
        for (path, expected) in [
            ("allowconnect", "true"),
            ("user_id", "42"),
            ("name", r#""J\xc3\xbcrgen|x""#),
            ("f", "1.5"),
            ("a", "array 2"),
            ("a.x", "1"),
            ("a.0", "2"),
            ("a.1", "-"),
            ("n", "null"),
            ("n.x", "-"),
            ("no", "false"),
            ("o", "object"),
            ("o.p", r#""q""#),
            ("o.p.q", "-"),
            ("user", "-"),
            ("user_id2", "-"),
            ("", "-"),
            (".", "-"),
            ("a.", "-"),
        ] {
            assert_eq!(found(bytes, path), expected, "{path} by {serializer:?}");
        }
        let expected = ["allowconnect", "user_id", "name", "f", "a", "n", "no", "o"];
        assert_eq!(names(bytes), expected);
    }
}

// protocol.md 8.2
#[test]
fn igbinary_is_known_and_the_key_to_change_is_named() {
    let error = Session::parse(IGBINARY).unwrap_err();
    assert_eq!(error, SessionError::Igbinary);
    assert!(error.to_string().contains("session.serialize_handler"));
}

// Each row of what the serializers do with keys and values that are out of the ordinary.
#[test]
fn unusual_keys_and_values_are_read() {
    let key_of_128 = "k".repeat(128);
    let key_of_127 = "k".repeat(127);
    for (bytes, path, expected) in [
        // Nothing stored.
        (&b""[..], "x", "-"),
        (b"a:0:{}", "x", "-"),
        // A key with a bar, kept by two of the three.
        (b"a:1:{s:3:\"a|b\";i:1;}", "a|b", "1"),
        (b"\x03a|bi:1;", "a|b", "1"),
        // `!` was a mark in old versions.
        (b"!x|i:1;y!|i:2;", "!x", "1"),
        (b"!x|i:1;y!|i:2;", "y!", "2"),
        (b"a:2:{s:2:\"!x\";i:1;s:2:\"y!\";i:2;}", "y!", "2"),
        (b"\x02!xi:1;\x02y!i:2;", "!x", "1"),
        // An integer key.
        (b"a:1:{i:5;s:1:\"v\";}", "5", "\"v\""),
        (b"a:1:{i:-5;i:1;}", "-5", "1"),
        // An empty key.
        (b"|s:1:\"e\";", "", "\"e\""),
        (b"a:1:{s:0:\"\";s:1:\"e\";}", "", "\"e\""),
        (b"\x00s:1:\"e\";", "", "\"e\""),
        (b"\x00a:1:{s:1:\"x\";i:3;}", ".x", "3"),
        // Long keys.
        (format!("{key_of_128}|i:1;").as_bytes(), &key_of_128, "1"),
        (
            format!("a:1:{{s:128:\"{key_of_128}\";i:1;}}").as_bytes(),
            &key_of_128,
            "1",
        ),
        (format!("\x7f{key_of_127}i:1;").as_bytes(), &key_of_127, "1"),
        // A key that is as long as its own first character says in the other format.
        (
            format!("A{}|i:1;", "i".repeat(90)).as_bytes(),
            &format!("A{}", "i".repeat(90)),
            "1",
        ),
        // Floats.
        (b"x|d:0.1;", "x", "0.1"),
        (b"x|d:1.0E+100;", "x", "1e100"),
        (b"x|d:1.5E-7;", "x", "1.5e-7"),
        (b"x|d:100;", "x", "100.0"),
        (b"x|d:-0;", "x", "-0.0"),
        (b"x|d:INF;", "x", "inf"),
        (b"x|d:-INF;", "x", "-inf"),
        (b"x|d:NAN;", "x", "NaN"),
        (b"\x01xd:NAN;", "x", "NaN"),
        (b"a:1:{s:1:\"x\";d:1.0E+100;}", "x", "1e100"),
        // Integers.
        (b"x|i:9223372036854775807;", "x", "9223372036854775807"),
        (b"x|i:-9223372036854775808;", "x", "-9223372036854775808"),
        // Values that look like separators.
        (b"a|s:8:\"b|i:2;c|\";c|i:3;", "c", "3"),
        (b"a|s:8:\"b|i:2;c|\";c|i:3;", "b", "-"),
        (b"a|s:1:\"\"\";c|i:3;", "c", "3"),
        // The last of two counts, as in PHP.
        (b"a|i:1;a|i:2;", "a", "2"),
    ] {
        assert_eq!(
            found(bytes, path),
            expected,
            "{path} in {}",
            bytes.escape_ascii()
        );
    }
}

const OBJECT: &[u8] = b"u|O:1:\"U\":3:{s:1:\"a\";i:1;s:4:\"\0*\0b\";s:1:\"x\";s:4:\"\0U\0c\";N;}\
    e|E:5:\"E:One\";s|C:1:\"S\":7:{}\";|i:1}v|i:7;";

#[test]
fn properties_are_found_whoever_may_use_them() {
    for (path, expected) in [
        ("u", "object"),
        ("u.a", "1"),
        ("u.b", "\"x\""),
        ("u.c", "null"),
        ("u.d", "-"),
        ("e", "object"),
        ("e.One", "-"),
        ("s", "object"),
        ("s.x", "-"),
        ("v", "7"),
    ] {
        assert_eq!(found(OBJECT, path), expected, "{path}");
    }
    // A private one of the class that it is derived from, and its own.
    let both = b"o|O:1:\"B\":2:{s:4:\"\0B\0p\";i:2;s:4:\"\0A\0p\";i:1;}";
    assert_eq!(found(both, "o.p"), "2");
    let public = b"o|O:1:\"B\":2:{s:1:\"p\";i:3;s:4:\"\0A\0p\";i:1;}";
    assert_eq!(found(public, "o.p"), "3");
    // In an array such a name is one like any other.
    let array = b"o|a:1:{s:4:\"\0A\0p\";i:1;}";
    assert_eq!(found(array, "o.p"), "-");
}

#[test]
fn names_of_variables_can_be_shown() {
    assert_eq!(
        names(b"J\xc3\xbc|N;a\nb\x1b|N;\xff|N;"),
        ["J\u{fc}", r"a\nb\u{1b}", "\u{fffd}"]
    );
    assert_eq!(
        names(b"a:2:{i:5;N;s:1:\"x\";a:1:{s:1:\"y\";N;}}"),
        ["5", "x"]
    );
}

// protocol.md 8.2
#[test]
fn references_are_numbered_as_php_does_and_followed() {
    // $_SESSION['p'] = 'r'; $_SESSION['q'] = &$_SESSION['p']; o2 is o1.
    let php = &b"p|s:1:\"r\";q|R:1;o1|O:8:\"stdClass\":1:{s:1:\"x\";i:9;}o2|r:2;z|i:5;y|R:5;"[..];
    let serialize = b"a:6:{s:1:\"p\";s:1:\"r\";s:1:\"q\";R:2;s:2:\"o1\";O:8:\"stdClass\":1:\
        {s:1:\"x\";i:9;}s:2:\"o2\";r:3;s:1:\"z\";i:5;s:1:\"y\";R:6;}";
    let binary = b"\x01ps:1:\"r\";\x01qR:1;\x02o1O:8:\"stdClass\":1:{s:1:\"x\";i:9;}\x02o2r:2;\
        \x01zi:5;\x01yR:5;";
    for bytes in [php, serialize, binary] {
        for (path, expected) in [
            ("q", "\"r\""),
            ("o2", "object"),
            ("o2.x", "9"),
            ("o1.x", "9"),
            ("y", "5"),
        ] {
            assert_eq!(
                found(bytes, path),
                expected,
                "{path} in {}",
                bytes.escape_ascii()
            );
        }
    }
    // An array that holds itself.
    let loops = b"a|a:2:{s:1:\"a\";R:1;s:1:\"x\";i:1;}";
    assert_eq!(found(loops, "a.a.a.a.x"), "1");
    let itself = b"a:1:{s:4:\"self\";R:1;}";
    assert_eq!(found(itself, "self.self"), "array 1");
}

#[test]
fn references_that_lead_nowhere_are_no_session() {
    for bytes in [
        &b"a|R:1;"[..],
        b"a|i:1;b|R:2;",
        b"a|i:1;b|R:0;",
        b"a|r:1;",
        b"a|O:1:\"A\":0:{}b|r:2;",
        b"a:1:{s:1:\"x\";R:2;}",
    ] {
        let error = Session::parse(bytes).unwrap_err();
        assert!(matches!(error, SessionError::Malformed { .. }), "{error:?}");
    }
    // `r` stands for objects only.
    let not_an_object = parse(b"a|i:1;b|r:1;").find("b");
    assert!(matches!(not_an_object, Err(SessionError::Malformed { .. })));
}

#[test]
fn numbers_behind_an_object_that_serializes_itself_are_not_guessed() {
    let bytes = b"a|i:1;c|C:1:\"X\":2:{ab}d|i:2;e|R:1;f|R:3;g|R:9;";
    assert_eq!(found(bytes, "e"), "1");
    assert_eq!(found(bytes, "f"), "UnknownReference");
    assert_eq!(found(bytes, "g"), "UnknownReference");
    assert_eq!(found(bytes, "d"), "2");
}

#[test]
fn names_with_dots_are_found_before_shorter_ones() {
    let bytes = b"user|a:2:{s:2:\"id\";i:1;s:4:\"name\";i:2;}user.id|i:3;\
        a.b|a:1:{s:3:\"c.d\";i:4;}";
    for (path, expected) in [
        ("user.id", "3"),
        ("user.name", "2"),
        ("a.b.c.d", "4"),
        ("a.b", "array 1"),
        ("a", "-"),
        ("a.b.c", "-"),
    ] {
        assert_eq!(found(bytes, path), expected, "{path}");
    }
}

// protocol.md 8.1
#[test]
fn truth_is_that_of_php() {
    for (value, expected) in [
        ("b:0;", false),
        ("N;", false),
        ("i:0;", false),
        ("i:-0;", false),
        ("s:1:\"0\";", false),
        ("s:0:\"\";", false),
        ("d:0;", false),
        ("d:0.0;", false),
        ("d:-0;", false),
        ("a:0:{}", false),
        ("b:1;", true),
        ("i:1;", true),
        ("i:-1;", true),
        ("d:0.1;", true),
        ("d:NAN;", true),
        ("d:INF;", true),
        ("s:5:\"false\";", true),
        ("s:2:\"00\";", true),
        ("s:3:\"0.0\";", true),
        ("s:1:\" \";", true),
        ("a:1:{i:0;N;}", true),
        ("O:8:\"stdClass\":0:{}", true),
        ("E:5:\"E:One\";", true),
        ("C:1:\"X\":0:{}", true),
    ] {
        let bytes = format!("key|{value}");
        let value = parse(bytes.as_bytes()).find("key").unwrap().unwrap();
        assert_eq!(value.is_true(), expected, "{bytes}");
    }
}

/// A session that is just being written is read as what it was before, or is said to be cut off.
#[test]
fn every_cut_is_noticed() {
    for bytes in [PHP, PHP_SERIALIZE, PHP_BINARY, OBJECT] {
        let whole = names(bytes);
        for cut in 0..bytes.len() {
            match Session::parse(&bytes[..cut]) {
                Ok(_) => assert!(whole.starts_with(&names(&bytes[..cut])), "{cut}"),
                Err(error) => assert_eq!(error, SessionError::CutOff, "{cut}"),
            }
        }
    }
}

#[test]
fn what_no_serializer_writes_is_malformed() {
    for bytes in [
        &b"a|x:1;"[..],
        b"a|b:2;",
        b"a|b:;",
        b"a|i:;",
        b"a|i:1",
        b"a|i:1.5;",
        b"a|i:+-1;",
        b"a|i:9223372036854775808;",
        b"a|d:;",
        b"a|d:nan;",
        b"a|d:inf;",
        b"a|d:-NAN;",
        b"a|d:1e;",
        b"a|s:-1:\"\";",
        b"a|s:99999999999999999999:\"\";",
        b"a|s:1:\"ab\";",
        b"a|s:2:\"a\";b|i:1;",
        b"a|a:1:{N;i:1;}",
        b"a|a:1:{b:1;i:1;}",
        b"a|a:1:{i:1;i:1;i:2;i:2;}",
        b"a|a:0:{}}",
        b"a|a:0:{]b|i:1;",
        b"a|a:1:{i:1;i:1;]b|i:1;",
        b"a|O:1:\"A\":0:{]b|i:1;",
        b"a|a:-1:{}",
        b"a|O:1:\"A\":0:{};",
        b"a|n;",
        b"a:1:{s:1:\"x\";i:1;}trailing",
        b"a:1:{s:1:\"x\";i:1;}x|i:1",
        b"i:1;",
        b"{\"user\":1}",
        b"\x80ai:1;",
        b"\xff\xfe\xfd",
    ] {
        let error = Session::parse(bytes).map(drop).unwrap_err();
        assert_ne!(error, SessionError::Igbinary, "{}", bytes.escape_ascii());
    }
    let error = Session::parse(b"a|i:1;b|x:1;").unwrap_err();
    assert_eq!(error, SessionError::Malformed { at: 8 });
}

// protocol.md 8.2
#[test]
fn where_two_formats_fit_the_one_that_parses_to_the_end_is_taken() {
    for (bytes, serializer, path, expected) in [
        // Begins like one array, and is a variable with that name.
        (&b"a:1:{x|i:5;"[..], Serializer::Php, "a:1:{x", "5"),
        // Begins like a name behind its length, and is one before a bar.
        (b"\x01ab:1;z|i:5;", Serializer::Php, "\x01ab:1;z", "5"),
        // The other way round: the bar stands in a text.
        (
            b"\x01as:5:\"|i:1;\";",
            Serializer::PhpBinary,
            "a",
            "\"|i:1;\"",
        ),
    ] {
        assert_eq!(
            parse(bytes).serializer(),
            serializer,
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(found(bytes, path), expected);
    }
}

/// A visitor who may choose a text of the session does not choose its format with it.
#[test]
fn a_text_does_not_choose_the_format() {
    // 'n' is 110: behind as many bytes there stands what would be a variable of php_binary, up to
    // the very end.
    let start = "name|s:200:\"";
    let filler = "x".repeat(111 - start.len());
    let forged = format!("{start}{filler}b:1;\x05admins:");
    let rest = 200 - (forged.len() - start.len());
    let inner = rest - 5;
    let forged = format!("{forged}{inner:03}:\"{}\";", "y".repeat(inner));
    let bytes = forged.as_bytes();
    let session = parse(bytes);
    assert_eq!(
        session.serializer(),
        Serializer::Php,
        "{}",
        bytes.escape_ascii()
    );
    assert_eq!(names(bytes), ["name"]);
    // The other way round.
    let text = "|i:1;admin|b:1;x|s:0:\"";
    let bytes = format!("\x04names:{}:\"{text}\";", text.len());
    assert_eq!(parse(bytes.as_bytes()).serializer(), Serializer::PhpBinary);
    assert_eq!(names(bytes.as_bytes()), ["name"]);
}

/// No input makes it recurse, or allocate more than a number for each level.
#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let open = "a:1:{i:0;".repeat(depth);
        format!("x|{open}N;{}", "}".repeat(depth))
    };
    let deepest = nested(walk::MAX_DEPTH);
    let path = format!("x{}", ".0".repeat(walk::MAX_DEPTH));
    assert_eq!(found(deepest.as_bytes(), &path[..41]), "array 1");
    assert!(Session::parse(deepest.as_bytes()).is_ok());
    let deeper = nested(walk::MAX_DEPTH + 1);
    assert_eq!(
        Session::parse(deeper.as_bytes()).unwrap_err(),
        SessionError::TooDeep
    );
    // Only the beginnings, a megabyte of them.
    let endless = format!("x|{}", "a:1:{i:0;".repeat(120_000));
    assert_eq!(
        Session::parse(endless.as_bytes()).unwrap_err(),
        SessionError::TooDeep
    );
    let objects = format!("x|{}", "O:1:\"A\":1:{s:1:\"a\";".repeat(50_000));
    assert_eq!(
        Session::parse(objects.as_bytes()).unwrap_err(),
        SessionError::TooDeep
    );
}

/// Objects by `r` that each name the one before would have each hop walk through everything.
#[test]
fn references_are_followed_a_few_times_only() {
    let mut bytes = b"a0|O:1:\"A\":0:{}".to_vec();
    for at in 1..=1000 {
        bytes.extend(format!("a{at}|r:{at};").bytes());
    }
    assert_eq!(found(&bytes, "a1"), "object");
    assert_eq!(found(&bytes, "a2"), "object");
    assert_eq!(found(&bytes, "a1000"), "TooDeep");
}

#[test]
fn nothing_of_a_session_is_shown() {
    let session = parse(b"password|s:6:\"secret\";");
    let value = session.find("password").unwrap().unwrap();
    let shown = format!("{session:?} {value:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("password"),
        "{shown}"
    );
    let error = Session::parse(b"password|s:6:\"secret\"x").unwrap_err();
    assert!(!error.to_string().contains("secret"));
}
