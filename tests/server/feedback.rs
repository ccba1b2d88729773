//! Who gets a feedback (protocol.md 3).

use crate::harness::{Conn, Request, Server};

/// A feedback packet with these fields, as `"uuid":"…","ident":"…"`.
fn feedback(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"opcode":"feedback","message":"m"{comma}{fields}}}"#)
}

/// The sender's packet reaches exactly this one.
#[track_caller]
fn expect_received(sender: &mut Conn, receiver: &mut Conn, fields: &str) {
    let packet = feedback(fields);
    sender.send_for_next(&packet);
    receiver.expect_text(&packet);
    receiver.round_trip();
}

/// The sender's packet reaches none of these.
#[track_caller]
fn expect_lost(sender: &mut Conn, others: &mut [Conn], fields: &str) {
    sender.send_for_next(&feedback(fields));
    for other in others {
        other.round_trip();
    }
}

// protocol.md 3.1
#[test]
fn of_several_with_one_ident_the_oldest_gets_it() {
    let server = Server::start("");
    let mut sender = server.php();
    let mut first = server.web_named("printer");
    let mut second = server.php_named("printer");
    let mut third = server.web_named("printer");
    let ident = r#""ident":"printer""#;
    expect_received(&mut sender, &mut first, ident);
    second.round_trip();
    third.round_trip();

    first.close();
    expect_received(&mut sender, &mut second, ident);
    third.round_trip();

    let mut fourth = server.web_named("printer");
    second.close();
    expect_received(&mut sender, &mut third, ident);
    fourth.round_trip();
    third.close();
    expect_received(&mut sender, &mut fourth, ident);
}

// protocol.md 3.1
#[test]
fn of_one_named_by_uuid_and_one_by_ident_the_older_gets_it() {
    let server = Server::start("");
    let mut sender = server.web();
    let mut older = server.web_named("older");
    let mut younger = server.web_named("younger");
    let by_uuid = format!(r#""uuid":"{}","ident":"younger""#, older.uuid);
    expect_received(&mut sender, &mut older, &by_uuid);
    younger.round_trip();
    let by_ident = format!(r#""ident":"older","uuid":"{}""#, younger.uuid);
    expect_received(&mut sender, &mut older, &by_ident);
    younger.round_trip();
    let both = format!(r#""ident":"younger","uuid":"{}""#, younger.uuid);
    expect_received(&mut sender, &mut younger, &both);
    older.round_trip();
}

// protocol.md 3.1
#[test]
fn the_older_of_two_still_gets_it_in_a_place_that_was_used_before() {
    let server = Server::start("");
    let mut sender = server.php();
    let gone = server.web();
    let mut older = server.web_named("x");
    gone.close();
    let mut younger = server.web_named("x");
    expect_received(&mut sender, &mut older, r#""ident":"x""#);
    younger.round_trip();
}

// protocol.md 3.1
#[test]
fn resources_do_not_matter() {
    let server = Server::start("");
    let paths = ["/", "/web", "/php"];
    let mut receivers = paths.map(|path| server.open(&Request::to(path).with("Ident", path)));
    for from in paths {
        let mut sender = server.open(&Request::to(from));
        for (to, receiver) in paths.iter().zip(&mut receivers) {
            expect_received(&mut sender, receiver, &format!(r#""ident":"{to}""#));
            let uuid = format!(r#""uuid":"{}""#, receiver.uuid);
            expect_received(&mut sender, receiver, &uuid);
        }
    }
}

// protocol.md 3.1
#[test]
fn the_sender_can_be_the_receiver() {
    let server = Server::start("");
    let mut clients = [
        ("web", server.web_named("web")),
        ("php", server.php_named("php")),
    ];
    for (ident, conn) in &mut clients {
        let packet = feedback(&format!(r#""ident":"{ident}""#));
        conn.send_text(&packet);
        conn.expect_next();
        conn.expect_text(&packet);
        conn.round_trip();
    }
    let web = &mut clients[0].1;
    let packet = feedback(&format!(r#""uuid":"{}""#, web.uuid));
    web.send_text(&packet);
    web.expect_next();
    web.expect_text(&packet);
}

// protocol.md 3.2
#[test]
fn a_script_is_reached_by_ident_only() {
    let server = Server::start("");
    let mut sender = server.web();
    for path in ["/", "/web", "/php"] {
        let mut script = server.open(&Request::php(path).with("Ident", "script"));
        expect_received(&mut sender, &mut script, r#""ident":"script""#);
        let uuid = format!(r#""uuid":"{}""#, script.uuid);
        let mut others = [script];
        expect_lost(&mut sender, &mut others, &uuid);
        let uuid_and_wrong_ident = format!(r#"{uuid},"ident":"nobody""#);
        expect_lost(&mut sender, &mut others, &uuid_and_wrong_ident);
        others.into_iter().for_each(Conn::close);
    }
}

// protocol.md 3.2
#[test]
fn a_web_client_with_ident_is_reached_by_both() {
    let server = Server::start("");
    let mut sender = server.php();
    let mut receiver = server.web_named("both");
    let uuid = receiver.uuid.clone();
    expect_received(&mut sender, &mut receiver, r#""ident":"both""#);
    expect_received(&mut sender, &mut receiver, &format!(r#""uuid":"{uuid}""#));
    let with_empty_ident = format!(r#""ident":"","uuid":"{uuid}""#);
    expect_received(&mut sender, &mut receiver, &with_empty_ident);
    expect_received(&mut sender, &mut receiver, r#""uuid":"","ident":"both""#);
    expect_received(
        &mut sender,
        &mut receiver,
        r#""uuid":"nobody","ident":"both""#,
    );
}

// protocol.md 3.3
#[test]
fn missing_and_empty_keys_match_nobody() {
    let server = Server::start("");
    let mut sender = server.web();
    let mut others = [
        server.web(),
        server.web_named(""),
        server.php(),
        server.php_named(""),
    ];
    for fields in [
        "",
        r#""uuid":"""#,
        r#""ident":"""#,
        r#""uuid":"","ident":"""#,
        r#""uuid":null,"ident":null"#,
        r#""uuid":0,"ident":0"#,
        r#""uuid":[],"ident":{}"#,
        r#""uuid":true"#,
    ] {
        expect_lost(&mut sender, &mut others, fields);
    }
}

// protocol.md 3.4
#[test]
fn a_number_matches_an_ident_of_equal_value() {
    let server = Server::start("");
    let mut sender = server.web();
    for (ident, numbers) in [
        ("42", &["42", "42.0", "4.2e1", "420e-1"][..]),
        ("042", &["42"]),
        ("1e3", &["1000", "1e3", "1000.0"]),
        ("1000", &["1E3"]),
        ("1.50", &["1.5", "15e-1"]),
        ("-7", &["-7", "-7.0"]),
        ("0", &["0", "-0", "0.0"]),
        ("12345678901234567890", &["12345678901234567890"]),
    ] {
        let mut receiver = server.web_named(ident);
        for number in numbers {
            expect_received(&mut sender, &mut receiver, &format!(r#""ident":{number}"#));
        }
        receiver.close();
    }
}

// protocol.md 3.4
#[test]
fn a_number_matches_no_ident_of_another_value_or_form() {
    let server = Server::start("");
    let mut sender = server.web();
    for (ident, numbers) in [
        ("42", &["43", "4", "420", "-42", "42.1"][..]),
        ("42x", &["42"]),
        ("x42", &["42"]),
        ("0x2a", &["42"]),
        ("4 2", &["42"]),
        ("abc", &["0"]),
        ("true", &["1", "0"]),
        ("1e", &["1"]),
        ("e3", &["0", "3"]),
        (".", &["0"]),
        ("NaN", &["0"]),
        ("inf", &["1e400"]),
    ] {
        let mut others = [server.web_named(ident)];
        for number in numbers {
            expect_lost(&mut sender, &mut others, &format!(r#""ident":{number}"#));
        }
        others.into_iter().for_each(Conn::close);
    }
}

// protocol.md 3.4
#[test]
fn numbers_beyond_a_doubles_precision_are_not_mixed_up() {
    let server = Server::start("");
    let mut sender = server.web();
    let mut receiver = server.web_named("9007199254740993");
    expect_received(&mut sender, &mut receiver, r#""ident":9007199254740993"#);
    expect_lost(&mut sender, &mut [receiver], r#""ident":9007199254740992"#);
}

// protocol.md 3.4
#[test]
fn texts_match_only_equal_texts() {
    let server = Server::start("");
    let mut sender = server.web();
    let mut receivers = [
        server.web_named("042"),
        server.web_named("1e3"),
        server.web_named("Kasse"),
    ];
    for ident in [
        "42",
        "1000",
        "1E3",
        "kasse",
        "KASSE",
        "Kasse ",
        " 042",
        "042\\u0000",
    ] {
        expect_lost(
            &mut sender,
            &mut receivers,
            &format!(r#""ident":"{ident}""#),
        );
    }
    for (ident, receiver) in ["042", "1e3", "Kasse"].iter().zip(&mut receivers) {
        expect_received(&mut sender, receiver, &format!(r#""ident":"{ident}""#));
    }
    expect_received(&mut sender, &mut receivers[2], r#""ident":"\u004basse""#);
}

// protocol.md 3.4
#[test]
fn of_several_idents_of_equal_value_the_oldest_gets_it() {
    let server = Server::start("");
    let mut sender = server.web();
    let mut first = server.web_named("0042");
    let mut second = server.web_named("42");
    expect_received(&mut sender, &mut first, r#""ident":42"#);
    expect_received(&mut sender, &mut second, r#""ident":"42""#);
    first.close();
    expect_received(&mut sender, &mut second, r#""ident":42"#);
}

// protocol.md 3.4
#[test]
fn other_types_match_nobody() {
    let server = Server::start("");
    let mut sender = server.web();
    let idents = ["1", "0", "true", "null", "Array", "42", "{}", "[]"];
    let mut others = idents.map(|ident| server.web_named(ident));
    for value in [
        "true",
        "false",
        "null",
        "[]",
        "[42]",
        r#"["42"]"#,
        "{}",
        r#"{"ident":"42"}"#,
    ] {
        expect_lost(&mut sender, &mut others, &format!(r#""ident":{value}"#));
    }
}

// protocol.md 3.5
#[test]
fn a_feedback_to_nobody_is_next_only_and_a_debug_line() {
    let server = Server::start("loglevel=debug");
    let mut sender = server.web();
    let mut others = [server.web(), server.php_named("somebody")];
    let is_about_feedback = |line: &str| line.to_lowercase().contains("feedback");
    assert!(
        !server
            .log_lines()
            .iter()
            .any(|line| is_about_feedback(line))
    );
    expect_lost(&mut sender, &mut others, r#""ident":"nobody""#);
    expect_lost(&mut sender, &mut others, r#""uuid":"nobody""#);
    server.wait_for_line("a line about the feedback", is_about_feedback);
}

// protocol.md 3.5
#[test]
fn who_has_gone_is_nobody() {
    let server = Server::start("");
    let mut sender = server.web();
    let gone = server.web_named("gone");
    let uuid = gone.uuid.clone();
    gone.close();
    let mut others = [server.web()];
    expect_lost(&mut sender, &mut others, r#""ident":"gone""#);
    expect_lost(&mut sender, &mut others, &format!(r#""uuid":"{uuid}""#));
}
