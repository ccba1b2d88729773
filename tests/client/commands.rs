//! `websock send`, `listen` and `echo`.

use std::process::{Command, Output};

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
    for (text, expected) in texts.iter().zip([stdout, stderr]) {
        let is_as_expected = match expected {
            "" => text.is_empty(),
            part => text.contains(part),
        };
        assert!(is_as_expected, "expected {expected:?}: {texts:?}");
    }
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
        "",
        "",
    );
    listener.wait_for_log(r#"{"opcode":"feedback","ident":"printer","message":[1.50]}"#);
    expect(
        &output(&["send", "--broadcast", "hello all", "--url", &php]),
        0,
        "",
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
    expect(&sent, 0, "", "");
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
            "one of --uuid U, --ident I, --broadcast",
        ),
        (&["send", "--broadcast"], 2, "one MESSAGE"),
        (&["listen", "x"], 2, "no message"),
        (&["echo", "--colour", "x"], 2, "colour"),
        (&["echo", "--timeout", "0"], 2, "1 to 3600"),
        (&["echo", "--url", "localhost"], 1, "is no address"),
        (&["echo", "--url", &nope], 1, "no resource /nope"),
        (&["echo", "--url", &web.replace("ws:", "wss:")], 1, "no TLS"),
    ] {
        expect(&output(arguments), code, "", stderr);
    }
}
