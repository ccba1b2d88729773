//! PHP's sessions in files (protocol.md 8.1, 8.2, 8.6).

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::harness::{Request, Server};
use crate::sign_in::{Sessions, expect_no, expect_unknown, user_of, with_session};

// protocol.md 8.1
#[test]
fn the_variable_decides_and_another_one_says_who_it_is() {
    let sessions = Sessions::new("jsauth");
    let folder = sessions.0.display();
    let jsauth = format!("[jsauth]\nrequire=true\nssp={folder}/\nkey=allowconnect\n");
    let server = Server::start(&jsauth);
    let named = Server::start(&format!("userKey=user.id\n{jsauth}"));
    for (content, is_in, user) in [
        ("allowconnect|b:1;", true, None),
        ("allowconnect|s:5:\"false\";", true, None),
        ("allowconnect|d:0.1;", true, None),
        ("allowconnect|a:1:{i:0;i:0;}", true, None),
        ("allowconnect|O:8:\"stdClass\":0:{}", true, None),
        ("allowconnect|b:0;", false, None),
        ("allowconnect|i:0;", false, None),
        ("allowconnect|N;", false, None),
        ("allowconnect|s:1:\"0\";", false, None),
        ("allowconnect|s:0:\"\";", false, None),
        ("allowconnect|a:0:{}", false, None),
        ("other|b:1;", false, None),
        ("", false, None),
        (
            "allowconnect|i:1;user|a:1:{s:2:\"id\";i:42;}",
            true,
            Some("42"),
        ),
        (
            "user|O:1:\"U\":1:{s:5:\"\0U\0id\";s:2:\"42\";}allowconnect|i:1;",
            true,
            Some("42"),
        ),
        (
            "a:2:{s:12:\"allowconnect\";b:1;s:4:\"user\";a:1:{s:2:\"id\";s:1:\"7\";}}",
            true,
            Some("7"),
        ),
        (
            "\u{c}allowconnectb:1;\u{4}usera:1:{s:2:\"id\";i:-1;}",
            true,
            Some("-1"),
        ),
        ("allowconnect|i:0;user|a:1:{s:2:\"id\";i:42;}", false, None),
        ("user|a:1:{s:2:\"id\";i:42;}", false, None),
    ] {
        sessions.put("one", content);
        let request = with_session("one");
        match is_in {
            true => assert_eq!(user_of(&server, &request).1, None, "{content}"),
            false => expect_no(&server, &request),
        }
        // `key` says yes and `userKey` finds nothing: no, as signing in is required.
        match user {
            Some(_) => assert_eq!(user_of(&named, &request).1.as_deref(), user, "{content}"),
            None => expect_no(&named, &request),
        }
    }
}

// protocol.md 8.1
#[test]
fn without_require_who_is_not_signed_in_is_anonymous() {
    let sessions = Sessions::new("open");
    let server = Server::start(&sessions.ini());
    sessions.sign_in("in", "42");
    sessions.put("out", "cart|a:0:{}");
    sessions.put("float", "user|d:4.2;");
    for (request, user) in [
        (with_session("in"), Some("42")),
        (with_session("out"), None),
        (with_session("float"), None),
        (with_session("gone"), None),
        (Request::to("/web?user=1"), None),
    ] {
        assert_eq!(user_of(&server, &request).1.as_deref(), user);
    }
    // As the PHP server: with require=false sessions of [jsauth] are not looked at.
    let folder = sessions.0.display();
    let php = Server::start(&format!(
        "[jsauth]\nrequire=false\nssp={folder}\nkey=user\n"
    ));
    fs::remove_dir_all(&sessions.0).expect("removed");
    fs::create_dir(&sessions.0).expect("made");
    symlink("/dev/zero", sessions.file("in")).expect("a link");
    user_of(&php, &with_session("in"));
}

// protocol.md 8.2
#[test]
fn only_a_cookie_that_holds_an_id_is_a_session() {
    let sessions = Sessions::new("cookies");
    sessions.sign_in("abc", "42");
    fs::create_dir(sessions.file("x")).expect("a folder");
    let server = Server::start(&format!("{}[jsauth]\nrequire=true\n", sessions.ini()));
    let cookie = |value: &str| Request::to("/web?user=1").with("Cookie", value);
    for value in [
        "PHPSESSID=abc",
        "a=b; PHPSESSID=abc",
        "a=b;PHPSESSID=abc",
        "PHPSESSID=abc; PHPSESSID=none",
        "a; PHPSESSID=abc ; b",
    ] {
        assert_eq!(
            user_of(&server, &cookie(value)).1.as_deref(),
            Some("42"),
            "{value}"
        );
    }
    let two_lines = cookie("a=b").with("Cookie", "PHPSESSID=abc");
    assert_eq!(user_of(&server, &two_lines).1.as_deref(), Some("42"));
    let long = format!("PHPSESSID={}", "a".repeat(251));
    for value in [
        "PHPSESSID=none; PHPSESSID=abc",
        "XPHPSESSID=abc",
        "phpsessid=abc",
        "PHPSESSID =abc",
        "PHPSESSID=\"abc\"",
        "PHPSESSID=%61bc",
        "PHPSESSID=abc%00",
        "PHPSESSID=../sess_abc",
        "PHPSESSID=x/../../sess_abc",
        "PHPSESSID=a.bc",
        "PHPSESSID=",
        "PHPSESSID",
        &long,
    ] {
        expect_no(&server, &cookie(value));
    }
    let elsewhere = Request::to("/web?PHPSESSID=abc").with("X-Any", "PHPSESSID=abc");
    expect_no(&server, &elsewhere);
}

// protocol.md 8.2
#[test]
fn what_cannot_be_read_is_not_known_and_what_is_too_old_is_none() {
    let sessions = Sessions::new("unreadable");
    let server = Server::start(&format!("{}[jsauth]\nrequire=true\n", sessions.ini()));
    sessions.put("cut", "user|s:2:\"4");
    sessions.put("odd", "user|x:2;");
    sessions.put(
        "igbinary",
        "\0\0\0\u{2}\u{14}\u{1}\u{11}\u{4}user\u{6}\u{2a}",
    );
    let large = format!("user|s:2:\"42\";x|s:2000000:\"{}\";", "y".repeat(2_000_000));
    sessions.put("large", &large);
    fs::create_dir(sessions.file("folder")).expect("a folder");
    sessions.sign_in("target", "42");
    symlink(sessions.file("target"), sessions.file("link")).expect("a link");
    let fifo = nix_fifo(&sessions);
    for id in ["cut", "odd", "igbinary", "large", "folder", "link", fifo] {
        let after = expect_unknown(&server, &with_session(id));
        assert!(
            after.parse::<u32>().is_ok_and(|seconds| seconds > 0),
            "{id}: {after}"
        );
    }
    sessions.sign_in("old", "42");
    let age = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    let set_age = |seconds| {
        let file = fs::File::options().write(true).open(sessions.file("old"));
        file.expect("it is there")
            .set_modified(age(seconds))
            .expect("a time");
    };
    set_age(1430);
    assert_eq!(
        user_of(&server, &with_session("old")).1.as_deref(),
        Some("42")
    );
    set_age(1441);
    expect_no(&server, &with_session("old"));
}

/// A session whose place is taken by a pipe that nobody writes to.
fn nix_fifo(sessions: &Sessions) -> &'static str {
    let made = std::process::Command::new("mkfifo")
        .arg(sessions.file("fifo"))
        .status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    "fifo"
}

// protocol.md 8.2
#[test]
fn a_script_that_has_the_session_is_waited_for_and_nobody_else_waits() {
    let sessions = Sessions::new("locked");
    let ini = format!(
        "{}sessionWait=60\nhandshakeTimeout=60\n[jsauth]\nrequire=true\n",
        sessions.ini()
    );
    let server = Server::start(&ini);
    sessions.put("new", "");
    sessions.sign_in("other", "7");
    let script = fs::File::options()
        .write(true)
        .open(sessions.file("new"))
        .expect("a session");
    script.lock().expect("nobody else has it");
    let mut early = crate::harness::connect(&server);
    early.send_bytes(&with_session("new").bytes());
    // Others come in meanwhile, and are served.
    let (mut other, user) = user_of(&server, &with_session("other"));
    assert_eq!(user.as_deref(), Some("7"));
    other.round_trip();
    sessions.sign_in("new", "42");
    drop(script);
    let response = early.read_response();
    assert_eq!(response.status(), 101);
    let ready = early.read_text("ready");
    assert!(ready.contains(r#","user":"42""#), "{ready}");
}

// protocol.md 8.2
#[test]
fn after_session_wait_counts_what_can_be_read() {
    let sessions = Sessions::new("long-locked");
    let server = Server::start(&format!(
        "{}sessionWait=100ms\n[jsauth]\nrequire=true\n",
        sessions.ini()
    ));
    for (id, is_in) in [("in", true), ("out", false)] {
        match is_in {
            true => sessions.sign_in(id, "42"),
            false => sessions.put(id, ""),
        }
        let script = fs::File::open(sessions.file(id)).expect("a session");
        script.lock().expect("nobody else has it");
        match is_in {
            true => assert_eq!(user_of(&server, &with_session(id)).1.as_deref(), Some("42")),
            false => expect_no(&server, &with_session(id)),
        }
    }
}

// protocol.md 8.13
#[test]
fn scripts_need_no_session() {
    let sessions = Sessions::new("scripts");
    let server = Server::start(&format!("{}[jsauth]\nrequire=true\n", sessions.ini()));
    let mut script = server.open(&Request::php("/php"));
    script.round_trip();
}

// protocol.md 8.2
#[test]
fn sessions_are_found_by_the_prefix_of_their_files() {
    let sessions = Sessions::new("prefix");
    let folder = sessions.0.display();
    let user = "__ci_last_regenerate|i:1732900000;user|s:2:\"42\";";
    fs::write(sessions.0.join("ci_sessionabc"), user).expect("a session");
    sessions.sign_in("abc", "7");
    let cookie = |id: &str| {
        Request::to("/web?user=1").with("Cookie", &format!("PHPSESSID=abc; ci_session={id}"))
    };
    let jsauth = "[jsauth]\nrequire=true\ncookie_name=ci_session\n";
    for keys in [
        format!("sessions={folder}\nuserKey=user\nsessionPrefix=ci_session\n{jsauth}"),
        format!("userKey=user\nsessionPrefix=ci_session\n{jsauth}ssp={folder}\n"),
    ] {
        let server = Server::start(&keys);
        let (_page, user) = user_of(&server, &cookie("abc"));
        assert_eq!(user.as_deref(), Some("42"), "{keys}");
        // PHP's own file of that id is none of these, nor is one whose name no file can have.
        for id in ["other", "sess_abc", &"a".repeat(246), &"a".repeat(250)] {
            expect_no(&server, &cookie(id));
        }
        fs::rename(sessions.0.join("ci_sessionabc"), sessions.file("kept")).expect("moved");
        expect_no(&server, &cookie("abc"));
        fs::rename(sessions.file("kept"), sessions.0.join("ci_sessionabc")).expect("moved back");
    }
    let server = Server::start(&format!("{}{jsauth}", sessions.ini()));
    assert_eq!(user_of(&server, &cookie("abc")).1.as_deref(), Some("7"));
}
