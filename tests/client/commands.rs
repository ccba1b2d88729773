//! `websock send`, `listen` and `echo`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::address;
use crate::harness::server::{Run, binary};
use crate::harness::{Server, eventually};

fn output(arguments: &[&str]) -> Output {
    let command = Command::new(binary()).args(arguments).output();
    command.expect("the program starts")
}

/// An exit code, and what is among the words on each stream: nothing for none at all.
#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert_eq!(output.status.code(), Some(code), "{texts:?}");
    for (text, part) in [(&texts[0], stdout), (&texts[1], stderr)] {
        // Nothing wanted means that nothing is there.
        let is_fine = if part.is_empty() {
            text.is_empty()
        } else {
            text.contains(part)
        };
        assert!(is_fine, "{part:?} in {texts:?}");
    }
}

/// Runs `arguments` with `input` to read.
fn output_of(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it is read");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn what_is_sent_is_printed_by_those_who_listen() {
    let server = Server::start("");
    let (web, php) = (address(&server, "/web"), address(&server, "/php"));
    let mut listen = Command::new(binary());
    listen.args(["listen", "--ident", "printer", "--url", &web]);
    let listener = Run::start(listen);
    eventually("it listens", || {
        let probe = ["send", "--ident", "printer", "there?", "--url", &php];
        output(&probe).status.success() && !listener.log_lines().is_empty()
    });
    expect(
        &output(&["send", "--ident", "printer", "[1.50]", "--url", &php]),
        0,
        "delivered to 1\n",
        "",
    );
    listener.wait_for_log(r#"{"opcode":"feedback","ident":"printer","message":[1.50]}"#);
    expect(
        &output(&["send", "--broadcast", "hello all", "--url", &php]),
        0,
        "delivered to 1\n",
        "",
    );
    listener.wait_for_log(r#"{"opcode":"broadcast","message":"hello all"}"#);
}

#[test]
fn who_listens_says_the_uuid_to_send_to() {
    let server = Server::start("");
    let mut listen = Command::new(binary());
    listen.args(["listen", "--url", &address(&server, "/web")]);
    let listener = Run::start(listen);
    let line = listener.wait_for_stderr("listening as ");
    let uuid = line.trim_start_matches("listening as ");
    let php = address(&server, "/php");
    let sent = output(&["send", "--uuid", uuid, "hello", "--url", &php]);
    expect(&sent, 0, "delivered to 1\n", "");
    listener.wait_for_log(&format!(
        r#"{{"opcode":"feedback","uuid":"{uuid}","message":"hello"}}"#
    ));
}

#[test]
fn echo_comes_back_with_its_time() {
    let server = Server::start("");
    let echoed = output(&["echo", "hi", "--url", &address(&server, "/web")]);
    expect(
        &echoed,
        0,
        "{\"opcode\":\"echo\",\"message\":\"hi\"}\nthere and back in ",
        "",
    );
}

#[test]
fn mistakes_are_told_on_stderr_with_their_exit_code() {
    let server = Server::start("");
    let (web, nope) = (address(&server, "/web"), address(&server, "/nope"));
    for (arguments, code, stderr) in [
        (
            &["send", "x"][..],
            2,
            "one of --uuid U, --ident I, --user ID, --broadcast",
        ),
        (&["send", "--broadcast"], 2, "one MESSAGE"),
        (
            &["send", "--user", "1", "--uuid", "2", "x"],
            2,
            "one of --uuid",
        ),
        (&["logout"], 2, "one of --user ID and --session ID"),
        (
            &["logout", "--user", "1", "--session", "2"],
            2,
            "one of --user",
        ),
        (&["logout", "--user", "1", "x"], 2, "no message"),
        (&["listen", "x"], 2, "no message"),
        (&["listen", "ws://a"], 2, "--url ws://a is meant"),
        (&["echo", "--colour", "x"], 2, "colour"),
        (&["echo", "--timeout", "0"], 2, "1 to 3600"),
        (&["echo", "--url", "localhost"], 1, "is no address"),
        (&["echo", "--url", &nope], 1, "no resource /nope"),
        (&["echo", "--url", &web.replace("ws:", "wss:")], 1, "no TLS"),
    ] {
        expect(&output(arguments), code, "", stderr);
    }
}

#[test]
fn what_reaches_nobody_is_told_and_fails() {
    let server = Server::start("");
    let php = address(&server, "/php");
    let nobody = "nobody has this uuid or ident";
    for to in ["--uuid", "--ident"] {
        let sent = output(&["send", to, "NOBODY", "hi", "--url", &php]);
        expect(&sent, 1, "delivered to 0\n", nobody);
    }
    let sent = output(&["send", "--broadcast", "hi", "--url", &php]);
    expect(&sent, 1, "delivered to 0\n", "");
    let sent = output(&["send", "--user", "42", "hi", "--url", &php]);
    expect(&sent, 1, "delivered to 0\n", "this user has no open tab");
    // Nobody being there is what a logout is for.
    for whom in ["--user", "--session"] {
        let done = output(&["logout", whom, "42", "--url", &php]);
        expect(&done, 0, "closed 0\n", "");
    }
}

#[test]
fn a_token_is_sent_and_a_wrong_one_is_told() {
    let server = Server::start("pushToken=0123456789abcdef");
    let page = server.web();
    let (php, with_token) = (
        address(&server, "/php"),
        address(&server, "/php?token=0123456789abcdef"),
    );
    let send = ["send", "--broadcast", "hi", "--url"];
    for url in [
        &[php.as_str(), "--token", "0123456789abcdef"][..],
        &[&with_token],
    ] {
        let sent = output(&[&send[..], url].concat());
        expect(&sent, 0, "delivered to 1\n", "");
    }
    let sent = output(&[&send[..], &[&php]].concat());
    expect(&sent, 1, "", "the push is refused, 401: a token is needed");
    drop(page);
}

#[test]
fn each_line_is_sent_and_one_that_is_not_utf_8_is_named() {
    let server = Server::start("");
    let (web, php) = (address(&server, "/web"), address(&server, "/php"));
    let mut listen = Command::new(binary());
    listen.args(["listen", "--url", &web]);
    let listener = Run::start(listen);
    listener.wait_for_stderr("listening as ");
    let input = b"one\nM\xfcller\r\nthree\r\n[4]";
    let sent = output_of(&["send", "--broadcast", "-", "--url", &php], input);
    let told = "websock: line 2: it is not UTF-8 and was left out\n";
    expect(&sent, 1, &"delivered to 1\n".repeat(3), told);
    for message in [r#""one""#, r#""three""#, "[4]"] {
        listener.wait_for_log(&format!(r#"{{"opcode":"broadcast","message":{message}}}"#));
    }
    assert_eq!(listener.log_lines().len(), 3);
    let sent = output_of(&["send", "--ident", "no", "-", "--url", &php], b"a\nb\n");
    expect(
        &sent,
        1,
        "delivered to 0\ndelivered to 0\n",
        "line 2: nobody",
    );
    let sent = output_of(&["send", "--broadcast", "-", "--url", &php], b"a\nb\n");
    expect(&sent, 0, "delivered to 1\ndelivered to 1\n", "");
}

#[test]
fn an_output_that_takes_nothing_is_told_as_such() {
    let server = Server::start("");
    let (web, php) = (address(&server, "/web"), address(&server, "/php"));
    let page = server.web();
    for arguments in [
        &["echo", "--url", &web][..],
        &["send", "--broadcast", "x", "--url", &php],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full");
        let output = Command::new(binary())
            .args(arguments)
            .stdout(full.expect("/dev/full"))
            .output()
            .expect("the program starts");
        expect(&output, 1, "", "standard output: No space left");
    }
    drop(page);
}
