//! Where the server listens, and for whom: files, words behind an address, sockets that the service
//! manager passes.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::events::{self, Events};
use crate::harness::server::{Directory, Run, binary};
use crate::harness::{Conn, Request, Server, connect_to, connect_to_file};

/// Starts a server on `websock.sock` in its own directory, with `words` behind it.
fn start_on_file(words: &str, ini: &str) -> (Server, PathBuf) {
    let adress = format!("adress=ws://127.0.0.1:0, unix:{{dir}}/websock.sock {words}\n{ini}");
    let server = Server::start(&adress);
    server.wait_for_log("Listening on unix:");
    let path = server.directory().join("websock.sock");
    (server, path)
}

#[track_caller]
fn expect_status(mut conn: Conn, request: &Request, status: u16) {
    assert_eq!(conn.request(request).status(), status);
}

// protocol.md 1.7
// protocol.md 6.1
#[test]
fn a_unix_socket_serves_pages_and_scripts_as_loopback_does() {
    let (server, path) = start_on_file("", "");
    let mut page = connect_to_file(&path).open(&Request::to("/web"));
    page.round_trip();
    let mut conn = connect_to_file(&path);
    let response = conn.upgrade(&Request::php("/php"));
    assert_eq!(response.head_len, 1024, "protocol.md 6.1");
    conn.expect_ready();
    conn.round_trip();
    let packet = r#"{"opcode":"broadcast","message":1}"#;
    conn.send_for_next(packet);
    page.expect_text(packet);
    server.wait_for_log("New client connecting from a Unix socket on socket #");
}

// promise: the server listens where the ini says, for whom it says
#[test]
fn a_unix_sockets_file_has_its_mode_and_goes_at_the_end() {
    for (words, mode) in [("", 0o660), ("mode=600", 0o600), ("mode=666", 0o666)] {
        let (server, path) = start_on_file(words, "");
        let metadata = fs::metadata(&path).expect("the file");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, mode);
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit().code(), Some(0));
        assert!(!path.exists(), "the file is left behind");
    }
}

// promise: the server listens where the ini says, for whom it says
#[test]
fn a_unix_sockets_file_is_given_to_its_group() {
    let id = |option| {
        let output = Command::new("id").arg(option).output().expect("id runs");
        let text = String::from_utf8(output.stdout).expect("numbers");
        text.trim().to_owned()
    };
    // A group that it would not have got by itself: root may give it to any, others to their own.
    let (own, all) = (id("-g"), id("-G"));
    let mut groups: Vec<&str> = all.split(' ').collect();
    if id("-u") == "0" {
        groups.push("1");
    }
    let directory = Directory::new();
    if let Some(other) = groups.iter().find(|group| **group != own) {
        let (server, path) = start_on_file(&format!("group={} mode=660", name_of(other)), "");
        let metadata = fs::metadata(&path).expect("the file");
        assert_eq!(metadata.gid().to_string(), *other);
        drop(server);
    } else {
        // To a foreign one nobody else may give it, so that the start fails.
        let run = start_in(&directory, "adress=unix:{dir}/a group=daemon");
        run.wait_for_stderr("daemon");
        assert_eq!(run.wait_exit().code(), Some(1));
    }
    let run = start_in(&directory, "adress=unix:{dir}/a group=no-such-group-x");
    run.wait_for_stderr("there is no group no-such-group-x");
    assert_eq!(run.wait_exit().code(), Some(1));
}

/// The name of the group with this number.
#[track_caller]
fn name_of(group: &str) -> String {
    let output = Command::new("getent").args(["group", group]).output();
    let entry = String::from_utf8(output.expect("getent runs").stdout).expect("a name");
    let name = entry.split(':').next().filter(|name| !name.is_empty());
    name.expect("a group has a name").to_owned()
}

#[track_caller]
fn start_in(directory: &Directory, ini: &str) -> Run {
    let mut command = Command::new(binary());
    command.arg("-i").arg(directory.write_ini(ini));
    Run::start(command)
}

// promise: the server listens where the ini says, for whom it says
#[test]
fn a_stale_file_is_replaced_and_a_used_one_is_not() {
    let directory = Directory::new();
    let path = directory.path.join("a.sock");
    // A socket whose owner is gone.
    drop(UnixListener::bind(&path).expect("bound"));
    assert!(path.exists());
    let run = start_in(&directory, "adress=unix:{dir}/a.sock");
    run.wait_for_log("Listening on unix:");
    connect_to_file(&path)
        .open(&Request::to("/web"))
        .round_trip();

    let second = start_in(&directory, "adress=unix:{dir}/a.sock");
    second.wait_for_stderr("is in use");
    assert_eq!(second.wait_exit().code(), Some(1));
    connect_to_file(&path)
        .open(&Request::to("/web"))
        .round_trip();

    fs::write(directory.path.join("b.sock"), "precious").expect("written");
    let third = start_in(&directory, "adress=unix:{dir}/b.sock");
    third.wait_for_stderr("is there and is no socket");
    assert_eq!(third.wait_exit().code(), Some(1));
    let kept = fs::read_to_string(directory.path.join("b.sock"));
    assert_eq!(kept.expect("it is still there"), "precious");
}

// protocol.md 1.7
// protocol.md 1.8
#[test]
fn behind_a_proxy_a_unix_socket_is_not_as_near_as_loopback() {
    let (_server, path) = start_on_file("", "trustedProxies=unix");
    let script = Request::php("/php");
    expect_status(connect_to_file(&path), &script, 403);
    let from = |ip| script.clone().with("X-Forwarded-For", ip);
    expect_status(connect_to_file(&path), &from("192.0.2.7"), 403);
    connect_to_file(&path).open(&from("127.0.0.1")).round_trip();
    let (_server, path) = start_on_file("scripts", "trustedProxies=unix");
    connect_to_file(&path).open(&script).round_trip();
}

// promise: the server listens where the ini says, for whom it says
#[test]
fn words_behind_an_address_say_whom_it_is_for() {
    let server = Server::start("adress=ws://127.0.0.1:0 web, ws://127.0.0.1:0 scripts");
    let [web, scripts] = server.addresses() else {
        panic!("two places: {:?}", server.addresses());
    };
    let (page, script) = (Request::to("/web"), Request::php("/php"));
    let push = Request::to("/push")
        .with_line("POST /push HTTP/1.1")
        .without("Upgrade")
        .set("Connection", "close")
        .with("Content-Type", "application/json")
        .with("Content-Length", "0");
    let mut receiver = connect_to(*web).open(&page);
    expect_status(connect_to(*web), &script, 403);
    expect_status(connect_to(*web), &push, 403);
    expect_status(connect_to(*scripts), &page, 403);
    let mut sender = connect_to(*scripts).open(&script);
    let packet = r#"{"opcode":"broadcast","message":1}"#;
    sender.send_for_next(packet);
    receiver.expect_text(packet);
}

// protocol.md 9.9
// protocol.md 9.10
#[test]
fn streams_of_events_are_for_pages() {
    let server = Server::start(
        "adress=ws://127.0.0.1:0 web, ws://127.0.0.1:0 scripts\nstatus=unix:{dir}/status.sock",
    );
    let [web, scripts] = server.addresses() else {
        panic!("two places: {:?}", server.addresses());
    };
    let request = events::request("/sse", events::EVENT_SOURCE);
    let events = Events::begin(connect_to(*web), &request);
    let body = events::body(&events.uuid, &events.secret, "ping");
    let status = server.directory().join("status.sock");
    let others: [&dyn Fn() -> Conn; 2] = [&|| connect_to(*scripts), &|| connect_to_file(&status)];
    for connect in others {
        for request in [request.clone(), request.replace("GET", "HEAD")] {
            let mut conn = connect();
            conn.send_bytes(request.as_bytes());
            assert_eq!(conn.read_head().status(), 403);
        }
        assert_eq!(events::post_by(connect(), &body, "").status(), 403);
    }
    assert_eq!(events::post_by(connect_to(*web), &body, "").status(), 204);
}

// promise: the server listens where the ini says, for whom it says
#[test]
fn ipv6_is_its_own_where_ipv4_is_listed_and_both_otherwise() {
    let free = || {
        let socket = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a free port");
        socket.local_addr().expect("an address").port()
    };
    for adress in ["[::]:PORT", "[::]:PORT, 0.0.0.0:PORT"] {
        let port = free();
        let server = Server::start(&format!(
            "adress={}\nallowedOrigins=",
            adress.replace("PORT", &port.to_string())
        ));
        for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let ip: std::net::IpAddr = ip;
            connect_to((ip, port).into())
                .open(&Request::to("/web"))
                .round_trip();
        }
        drop(server);
    }
}

/// A shell that passes its descriptor 3, to which `socket` is moved, as systemd does.
#[track_caller]
fn start_with_socket(
    socket: impl Into<std::os::fd::OwnedFd>,
    directory: &Directory,
    ini: &str,
) -> Run {
    let mut shell = Command::new("sh");
    // dash has no other way to give a descriptor on; the socket comes as standard input.
    shell.arg("-c");
    shell.arg("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"");
    shell.arg(binary()).arg("-i").arg(directory.write_ini(ini));
    Run::start_with_stdin(shell, socket.into())
}

// promise: sockets of the service manager are used as they are
#[test]
fn sockets_of_the_service_manager_are_used() {
    let directory = Directory::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("an address");
    let ini = format!("adress=ws://{address} web");
    let run = start_with_socket(tcp.try_clone().expect("a copy"), &directory, &ini);
    run.wait_for_log(&format!("Listening on ws://{address}"));
    connect_to(address).open(&Request::to("/web")).round_trip();
    expect_status(connect_to(address), &Request::php("/php"), 403);

    let path = directory.path.join("passed.sock");
    let unix = UnixListener::bind(&path).expect("bound");
    let run = start_with_socket(unix, &directory, "adress=unix:{dir}/passed.sock");
    run.wait_for_log("Listening on unix:");
    connect_to_file(&path)
        .open(&Request::to("/web"))
        .round_trip();
    run.signal(Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(0));
    assert!(path.exists(), "the file is the service manager's");
}

// promise: sockets of the service manager are used as they are
#[test]
fn a_passed_socket_that_is_not_listed_stops_the_start() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("an address");
    let directory = Directory::new();
    let run = start_with_socket(tcp, &directory, "adress=ws://127.0.0.1:0");
    run.wait_for_stderr(&format!("passes a socket for {address}"));
    assert_eq!(run.wait_exit().code(), Some(1));
}
