//! SIGHUP: the ini file is read again, all of it or nothing.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::server::{Directory, Run, binary};
use crate::harness::{Request, Server, connect, connect_to, eventually};

const READ: &str = "Settings read again";
const REFUSED: &str = "everything stays as it was";

fn status(server: &Server, request: &Request) -> u16 {
    connect(server).request(request).status()
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn each_change_is_told_with_both_values_and_secrets_without() {
    let server = Server::start("maxClients=50\npushToken=0123456789abcdef");
    let mut page = server.web();
    server.reload("maxClients=60\npushToken=fedcba9876543210\nbacklog=7", READ);
    for line in [
        "Changed: maxClients=60, was 50; holds for newcomers",
        "Changed: pushToken changed; holds for newcomers",
        "warning: Not changed: backlog=7, was 1024; not before a restart, the old value holds",
        "Settings read again: 2 changes",
    ] {
        server.wait_for_log(line);
    }
    server.reload("maxClients=60\npushToken=fedcba9876543210\nbacklog=7", READ);
    server.wait_for_log("Settings read again: nothing has changed");
    let log = server.log_lines().join("\n");
    assert!(
        !log.contains("0123456789abcdef") && !log.contains("fedcba98"),
        "{log}"
    );
    page.round_trip();
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn a_wrong_file_changes_nothing_and_is_told_with_file_line_key_and_value() {
    let foreign = Request::to("/web").with("Origin", "https://b.example");
    let good = "allowedOrigins=https://a.example";
    let server = Server::start(good);
    for (wrong, told) in [
        // The harness puts two lines in front.
        (
            "allowedOrigins=\nmaxClients=many",
            "websock.ini, line 4: maxClients=many: ",
        ),
        (
            "allowedOrigins=\nnosuchkey=1",
            "websock.ini, line 4: nosuchkey=1: unknown key",
        ),
        (
            "allowedOrigins=\nmaxWebMessage=1G",
            "line 4: maxWebMessage=1G: ",
        ),
        (
            "allowedOrigins=\nlogfile={dir}/no/x.log",
            "line 4: logfile=",
        ),
        ("allowedOrigins=\nadress=wss://127.0.0.1:0", "certFile"),
    ] {
        server.reload(wrong, REFUSED);
        let line = server.wait_for_log(told);
        assert!(line.contains("; error: "), "{line}");
        assert_eq!(status(&server, &foreign), 403, "{wrong}");
    }
    let log = server.log_lines().join("\n");
    assert!(!log.contains("Changed: "), "{log}");
    server.reload("allowedOrigins=", READ);
    assert_eq!(status(&server, &foreign), 101);
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn a_file_that_is_gone_or_never_ends_changes_nothing_and_holds_up_nobody() {
    let server = Server::start("maxPerIP=9");
    let file = server.directory().join("websock.ini");
    fs::remove_file(&file).expect("removed");
    server.signal(Signal::HUP);
    server.wait_for_log("websock.ini: cannot be read: ");
    // Nobody writes into this pipe: whoever reads it waits.
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo").success());
    // Signals of a kind that come together are one.
    eventually("a second reading is asked for", || {
        server.signal(Signal::HUP);
        let log = server.log_lines();
        log.iter().any(|line| line.contains("still being read"))
    });
    server.web().round_trip();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn many_reloads_in_a_row_end_with_the_last_file() {
    let server = Server::start("");
    for count in 1..=30 {
        server.reload(&format!("maxClients={count}00"), READ);
    }
    // What comes while a reading is under way is made up for.
    let file = server.directory().join("websock.ini");
    let text = fs::read_to_string(&file).expect("the ini file");
    fs::write(&file, text.replace("maxClients=3000", "demo=true")).expect("written");
    for _ in 0..20 {
        server.signal(Signal::HUP);
    }
    eventually("the demo page", || {
        let mut conn = connect(&server);
        conn.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        conn.read_response().status() == 200
    });
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn the_command_line_goes_over_the_file_again() {
    let directory = Directory::new();
    let log = directory.path.join("typed.log");
    let mut command = Command::new(binary());
    command.arg("-i").arg(directory.write_ini("maxIdent=3"));
    command.arg("-logfile").arg(&log).arg("-console");
    let run = Run::start(command);
    let address = run.wait_for_addresses(1)[0];
    directory.write_ini("maxIdent=4\nlogfile=/nowhere/at/all.log\nconsole=false");
    run.signal(Signal::HUP);
    run.wait_for_log("Settings read again: 1 change");
    let named = Request::to("/web").with("Ident", "abcd");
    connect_to(address).open(&named).round_trip();
    // The file has a thread of its own.
    eventually("the change in the log file", || {
        let text = fs::read_to_string(&log).expect("the log");
        text.contains("Changed: maxIdent=4, was 3")
    });
}

// promise: SIGHUP reads the ini file again, all of it or nothing
#[test]
fn a_log_directory_that_came_later_is_taken_into_use() {
    let server = Server::start("logfile={dir}/logs/websock.log");
    server.wait_for_stderr("logs/websock.log");
    fs::create_dir(server.directory().join("logs")).expect("made");
    server.reload("logfile={dir}/logs/websock.log", READ);
    let file = server.directory().join("logs/websock.log");
    server.web().close();
    eventually("lines in the file", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("New client connecting"))
    });
}
