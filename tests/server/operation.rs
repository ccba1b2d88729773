//! Starting, listening and logging as a running server shows them (protocol.md 7). The command line
//! and the ini file are covered by `tests/cli`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::frame::{self, FIN, TEXT, masked};
use crate::harness::server::{Directory, Run, binary};
use crate::harness::{Conn, Request, Server, connect, connect_to, eventually};

/// The number behind `#` at the end of what `before` and a line of the log have in common.
#[track_caller]
fn socket_number(server: &Server, before: &str) -> String {
    let line = server.wait_for_log(before);
    let (_, rest) = line.split_once(before).expect("it was looked for");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(!digits.is_empty(), "no number behind {before:?}: {line}");
    digits
}

/// `Mon, 23 Nov 2026 01:10:00 +0100`
fn is_rfc_2822(date: &str) -> bool {
    let in_list = |word: &str, list: &str| word.len() == 3 && list.contains(word);
    let number = |word: &str, len: usize| {
        word.len() == len && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words: Vec<&str> = date.split(' ').collect();
    let [weekday, day, month, year, time, zone] = words.as_slice() else {
        return false;
    };
    let times: Vec<&str> = time.split(':').collect();
    let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    weekday
        .strip_suffix(',')
        .is_some_and(|name| in_list(name, "Mon Tue Wed Thu Fri Sat Sun"))
        && (number(day, 2) || number(day, 1))
        && in_list(month, months)
        && number(year, 4)
        && times.len() == 3
        && times.iter().all(|part| number(part, 2))
        && zone
            .strip_prefix(['+', '-'])
            .is_some_and(|hours| number(hours, 4))
}

#[track_caller]
fn expect_log_format(lines: &[String]) {
    assert!(!lines.is_empty());
    for line in lines {
        let (date, text) = line.split_once("; ").unwrap_or_default();
        assert!(is_rfc_2822(date) && !text.is_empty(), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

fn file_lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

// protocol.md 7.4
#[test]
fn a_log_file_that_cannot_be_opened_is_a_warning_and_the_server_runs() {
    for logfile in [
        "{dir}/missing/directory/websock.log",
        "D:/temp/websock.log",
        // A file where a directory should be.
        "{dir}/websock.ini/websock.log",
        // A directory where a file should be.
        "{dir}",
    ] {
        let server = Server::start(&format!("logfile={logfile}"));
        let name = logfile.replace("{dir}", &server.directory().display().to_string());
        server.wait_for_stderr(&name);
        server.wait_for_log("Starting server...");
        server.web().close();
        server.wait_for_log("Connection closed to socket #");
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

// protocol.md 7.4
#[test]
fn without_log_file_and_console_the_server_still_runs() {
    let directory = Directory::new();
    let address = free_address();
    let ini = format!("adress=ws://{address}\nconsole=false\nlogfile=D:/temp/websock.log");
    let run = start_in(&directory, &ini);
    run.wait_for_stderr("D:/temp/websock.log");
    eventually("the server listens", || TcpStream::connect(address).is_ok());
    connect_to(address).open(&Request::to("/web")).close();
    run.signal(Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(0));
}

/// An address that nobody listens on, for servers that do not say where they listen.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Starts the server, and does not wait for it to listen.
#[track_caller]
fn start_in(directory: &Directory, ini: &str) -> Run {
    let mut command = Command::new(binary());
    command.arg("-i").arg(directory.write_ini(ini));
    command.current_dir(&directory.path);
    Run::start(command)
}

// protocol.md 7.4
#[test]
fn a_log_file_that_cannot_be_reopened_does_not_stop_the_server() {
    let logs = Directory::new();
    let server = Server::start(&format!("logfile={}/websock.log", logs.path.display()));
    let mut conn = server.web();
    // Its directory goes, and a file takes its place.
    fs::remove_dir_all(&logs.path).expect("the directory can go");
    fs::write(&logs.path, "in the way").expect("a file");
    server.signal(Signal::HUP);
    conn.wait_until_handled();
    let later = server.web();
    server.wait_for_log(&format!(
        "New client connecting from {}",
        later.local_addr()
    ));
    conn.round_trip();
    fs::remove_file(&logs.path).expect("the file can go");
}

// protocol.md 7.5
#[test]
fn a_port_in_use_is_told_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let directory = Directory::new();
    let adress = format!("ws://127.0.0.1:{port}");
    let run = start_in(&directory, &format!("; a comment\nadress={adress}"));
    assert_eq!(run.wait_exit().code(), Some(1));
    let message = run.stderr();
    // write_ini puts two lines in front, and the value is in the fourth.
    for part in ["websock.ini", "line 4", "adress", &adress["ws".len()..]] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

// protocol.md 7.5
#[test]
fn a_second_server_on_the_port_of_a_running_one_gives_up_and_the_first_one_stays() {
    let first = Server::start("");
    let directory = Directory::new();
    let second = start_in(&directory, &format!("adress=ws://{}", first.address()));
    assert_eq!(second.wait_exit().code(), Some(1));
    assert!(second.stderr().contains("adress"), "{}", second.stderr());
    first.web().round_trip();
}

// protocol.md 7.6
#[test]
fn the_texts_that_people_grep_for_are_there() {
    let server = Server::start("");
    server.wait_for_log("; Starting server...");
    for path in ["/", "/web", "/php"] {
        let text = format!("; Registered resource : {path}");
        server.wait_for_line(&text, |line| line.ends_with(&text));
    }

    let web = server.web();
    let connecting = format!(
        "; New client connecting from {} on socket #",
        web.local_addr()
    );
    let number = socket_number(&server, &connecting);
    server.wait_for_log("; ClientType:websocket");
    server.wait_for_log(&format!("; Telling Client to start on  #{number}"));
    web.close();
    server.wait_for_log(&format!("; Connection closed to socket #{number}"));

    let mut php = server.php();
    let connecting = format!(
        "; New client connecting from {} on socket #",
        php.local_addr()
    );
    let number = socket_number(&server, &connecting);
    server.wait_for_log("; ClientType:tcp");
    php.send_text(r#"{"opcode":"quit"}"#);
    php.expect_next();
    php.expect_close_and_end(1000);
    server.wait_for_log(&format!("; QUIT; Connection closed to socket #{number}"));

    let mut bad = server.web();
    let connecting = format!(
        "; New client connecting from {} on socket #",
        bad.local_addr()
    );
    let number = socket_number(&server, &connecting);
    bad.send_text("no JSON");
    bad.expect_next();
    bad.expect_close_and_end(1007);
    server.wait_for_log(&format!("; jsonerror closing #{number}"));
    expect_log_format(&server.log_lines());
}

// protocol.md 7.6
#[test]
fn pings_are_logged() {
    let server = Server::start("pingInterval=100ms");
    let mut conn = server.web();
    conn.expect_ping();
    server.wait_for_log("; Ping Clients");
}

// protocol.md 7.6
#[test]
fn what_peers_send_cannot_forge_a_line_of_the_log() {
    let server = Server::start("loglevel=trace\nlogfile={dir}/websock.log");
    let requests = [
        Request::to("/web").with("Ident", "a\x1b[31m\x07b"),
        Request::to("/nope\x1b[2J"),
        Request::to("/web").with("Ident", "x\rMon, 23 Nov 2026 01:10:00 +0100; forged"),
        Request::to("/web").with("Origin", "https://\u{9b}31m"),
        Request::to("/web").with("User-Agent", "\u{202e}\x08\x08"),
        Request::to("/web").with_line("GET /\x00 HTTP/1.1"),
    ];
    for request in requests {
        let mut conn = connect(&server);
        conn.send_bytes(&request.bytes());
        conn.read_response();
    }
    let mut conn = server.web();
    conn.send_close(1000, "bye\r\nforged\x1b[0m");
    conn.expect_close(1000);
    conn.expect_eof();
    server.signal(Signal::TERM);
    server.wait_exit();
    expect_log_format(&server.log_lines());
    let lines = file_lines(&server.directory().join("websock.log"));
    expect_log_format(&lines);
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("Mon, 23 Nov 2026 01:10:00 +0100; forged"))
    );
}

// protocol.md 7.6
// protocol.md 7.7
#[test]
fn the_log_file_has_its_plain_name_and_the_lines_of_the_console() {
    let server = Server::start("logfile={dir}/websock.log");
    server.web().close();
    server.wait_for_log("Connection closed to socket #");
    server.signal(Signal::TERM);
    server.wait_exit();
    let names = names_in(server.directory());
    assert_eq!(names, ["websock.ini", "websock.log"]);

    let text = fs::read_to_string(server.directory().join("websock.log")).expect("the log");
    assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    expect_log_format(&lines);
    for part in [
        "Starting server...",
        "Telling Client to start on  #",
        "Connection closed",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the test's directory");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

// protocol.md 7.7
#[test]
fn lines_are_added_to_a_log_file_that_is_there() {
    let directory = Directory::new();
    let file = directory.path.join("old.log");
    fs::write(&file, "an old line\n").expect("the log");
    let server = Server::start(&format!("logfile={}", file.display()));
    eventually("new lines", || file_lines(&file).len() > 1);
    assert_eq!(file_lines(&file)[0], "an old line");
    drop(server);
}

// protocol.md 7.7
#[test]
fn the_log_file_is_reopened_on_sighup() {
    let server = Server::start("logfile={dir}/websock.log");
    let file = server.directory().join("websock.log");
    let moved = server.directory().join("websock.log.1");
    let mut conn = server.web();
    eventually("the log file has lines", || !file_lines(&file).is_empty());

    fs::rename(&file, &moved).expect("the log can be moved");
    server.signal(Signal::HUP);
    eventually("there is a new log file", || file.exists());
    let later = server.web();
    let text = format!("New client connecting from {}", later.local_addr());
    eventually("new lines in the new file", || {
        file_lines(&file).iter().any(|line| line.contains(&text))
    });
    assert!(!file_lines(&moved).iter().any(|line| line.contains(&text)));
    // Nobody was disturbed.
    conn.round_trip();
    expect_log_format(&file_lines(&file));
}

// protocol.md 7.7
#[test]
fn the_log_file_can_be_rotated_by_size() {
    let server = Server::start("logfile={dir}/websock.log\nlogMaxSize=4K\nlogKeep=2");
    let logs = || -> Vec<String> {
        let names = names_in(server.directory());
        names
            .into_iter()
            .filter(|name| name.starts_with("websock.log"))
            .collect()
    };
    eventually("three log files", || {
        server.web().close();
        logs().len() == 3
    });
    for _ in 0..200 {
        server.web().close();
    }
    server.signal(Signal::TERM);
    server.wait_exit();
    assert_eq!(logs().len(), 3);
    for name in logs() {
        let len = fs::metadata(server.directory().join(&name))
            .expect("a log")
            .len();
        assert!(len <= 8192, "{name} has {len} bytes");
    }
}

// protocol.md 7.8
#[test]
fn contents_of_messages_are_never_logged() {
    const SECRET: &str = "s3cr3t";
    let server =
        Server::start("loglevel=trace\nlogfile={dir}/websock.log\nmaxMessageSize=4K\nmaxChunks=2");
    let mut receiver = server.web_named("receiver");
    let mut conn = server.open(&Request::to("/"));
    for packet in [
        r#"{"opcode":"echo","message":"s3cr3t"}"#,
        r#"{"opcode":"broadcast","message":"s3cr3t"}"#,
        r#"{"opcode":"feedback","ident":"receiver","message":"s3cr3t"}"#,
        r#"{"opcode":"feedback","ident":"nobody","message":"s3cr3t"}"#,
        r#"{"opcode":"feedback","uuid":"nobody","message":"s3cr3t"}"#,
        r#"{"opcode":"s3cr3t"}"#,
        r#"{"opcode":["s3cr3t"]}"#,
        r#""s3cr3t""#,
        r#"{"opcode":"uuid","message":"s3cr3t"}"#,
        r#"{"opcode":"uuid","message":"s3cr3t\n"}"#,
        r#"{"opcode":"uuid","message":["s3cr3t"]}"#,
    ] {
        conn.send_text(packet);
        conn.expect_next();
        conn.send_ping(SECRET.as_bytes());
        while conn.read_frame().opcode != frame::PONG {}
        conn.send_pong(SECRET.as_bytes());
    }
    receiver.read_text("the broadcast");
    receiver.read_text("the feedback");

    let quoted = format!("\"{SECRET}");
    let too_long = format!("\"{}\"", SECRET.repeat(1000));
    for last in [
        frame::text(SECRET),
        frame::text(&quoted),
        masked(FIN | TEXT, b"\"s3cr3t\xff"),
        frame::text(&too_long),
        frame::unmasked(FIN | TEXT, SECRET.as_bytes()),
        masked(FIN | frame::BINARY, b"\"s3cr3t\xff"),
        ["bufferON", SECRET, SECRET, SECRET, SECRET]
            .map(frame::text)
            .concat(),
        ["bufferON", SECRET, "bufferOFF"].map(frame::text).concat(),
    ] {
        let mut conn = server.web();
        conn.send_bytes(&last);
        read_to_close(&mut conn);
    }
    let mut dying = server.web();
    dying.send_bytes(&masked(TEXT, SECRET.as_bytes()));
    dying.reset();
    conn.wait_until_handled();
    conn.close();
    receiver.close();

    server.signal(Signal::TERM);
    server.wait_exit();
    let log = server.log_lines().join("\n");
    let file = fs::read_to_string(server.directory().join("websock.log")).expect("the log");
    assert!(log.contains("Starting server...") && file.contains("Starting server..."));
    for text in [log, file, server.stderr()] {
        if let Some(line) = text.lines().find(|line| line.contains(SECRET)) {
            panic!("logged: {line}");
        }
    }
}

#[track_caller]
fn read_to_close(conn: &mut Conn) {
    while conn.read_frame().opcode != frame::CLOSE {}
}

// promise: every address in the ini is listened on
#[test]
fn localhost_listens_on_both_loopback_addresses() {
    TcpListener::bind("[::1]:0").expect("a machine with ::1, as these tests need it");
    let server = Server::start("adress=ws://localhost:0");
    let addresses = server.wait_for_addresses(2);
    for loopback in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        let address = addresses.iter().find(|address| address.ip() == loopback);
        let address = address.unwrap_or_else(|| panic!("no {loopback} in {addresses:?}"));
        connect_to(*address).open(&Request::to("/web")).round_trip();
    }
}

// promise: every address in the ini is listened on
#[test]
fn several_addresses_are_all_listened_on() {
    let server = Server::start("adress=ws://127.0.0.1:0, tcp://127.0.0.2:0,127.0.0.1:0");
    assert_eq!(server.addresses().len(), 3);
    let mut conns: Vec<Conn> = server
        .addresses()
        .iter()
        .map(|address| connect_to(*address).open(&Request::to("/web")))
        .collect();
    let packet = r#"{"opcode":"broadcast"}"#;
    conns[0].send_for_next(packet);
    for conn in &mut conns[1..] {
        conn.expect_text(packet);
    }
}
