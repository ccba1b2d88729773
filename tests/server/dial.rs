//! `--check` and `--check --dial`: what an operator is told, and at which step a connection fails.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use crate::harness::Server;
use crate::harness::redis::Redis;
use crate::harness::server::{Directory, binary};

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `--check` with `ini` in a directory of its own, trusting the CA in `trusted`.
fn check(ini: &str, arguments: &[&str], trusted: Option<&Path>) -> Outcome {
    let directory = Directory::new();
    let mut command = Command::new(binary());
    command
        .arg("--check")
        .arg("-i")
        .arg(directory.write_ini(ini));
    command.args(arguments).env_remove("SSL_CERT_DIR");
    if let Some(file) = trusted {
        command.env("SSL_CERT_FILE", file);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Outcome {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

#[track_caller]
fn expect_failure(url: &str, trusted: Option<&Path>, expected: &str) {
    let outcome = check("", &["--dial", url], trusted);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    assert!(
        outcome.stderr.contains(expected),
        "{expected}: {}",
        outcome.stderr
    );
}

#[track_caller]
fn expect_ready(url: &str, ini: &str, trusted: Option<&Path>) {
    let outcome = check(ini, &["--dial", url], trusted);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("answers: ready"),
        "{}",
        outcome.stdout
    );
}

/// Someone who reads a request and answers with `answer`, once.
fn stranger(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut request);
    });
    address.to_string()
}

// promise: `--check` and `--dial` name what is wrong, at which step
#[test]
fn a_server_that_works_is_ready() {
    let server = Server::start("");
    expect_ready(&format!("ws://{}/web", server.address()), "", None);
    let origin = "allowedOrigins=https://good.example";
    let server = Server::start(origin);
    let url = format!("ws://{}/web", server.address());
    expect_ready(&url, origin, None);
    expect_failure(
        &url,
        None,
        "fails at HTTP: no WebSocket there, 403: The origin",
    );
}

// promise: `--check` and `--dial` name what is wrong, at which step
#[test]
fn each_step_that_fails_is_named() {
    expect_failure("example.org", None, "fails at address");
    expect_failure("ws://no-such-host.invalid/", None, "fails at DNS");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = free.local_addr().expect("an address");
    drop(free);
    expect_failure(
        &format!("ws://{closed}/"),
        None,
        "fails at TCP: nobody listens",
    );
    let server = Server::start("");
    let plain = server.address();
    let wrong_path = format!("ws://{plain}/nope");
    expect_failure(
        &wrong_path,
        None,
        "fails at ready: the server refuses: no resource /nope",
    );
    for (answer, expected) in [
        (
            &b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 31\r\n\r\n\
               <html><h1>502 nginx</h1></html>"[..],
            "fails at HTTP: no WebSocket there, 502: 502 nginx",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n\
              This is a WebSocket server: send Upgrade: websocket.\n",
            "fails at upgrade",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            "fails at upgrade: the server's 101 is wrong",
        ),
        (b"SSH-2.0-x\r\n", "fails at HTTP"),
    ] {
        expect_failure(&format!("ws://{}/", stranger(answer)), None, expected);
    }
}

/// A server on wss with this certificate, signed by a CA whose file is returned.
fn start_tls(change: impl FnOnce(&mut CertificateParams)) -> (Server, Directory) {
    start_tls_with("", change)
}

/// The same with words behind the address, and whatever else is in the ini.
pub(crate) fn start_tls_with(
    words: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (Server, Directory) {
    let directory = Directory::new();
    let mut ca = CertificateParams::new([]).expect("no names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "Test CA");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    change(&mut params);
    let leaf = params.signed_by(&key, &ca).expect("a certificate");
    let write = |name: &str, text: String| {
        fs::write(directory.path.join(name), text).expect("written");
    };
    write("ca.pem", ca.pem());
    write("cert.pem", leaf.pem() + &ca.pem());
    write("key.pem", key.serialize_pem());
    let files = directory.path.display();
    let server = Server::start(&format!(
        "certFile={files}/cert.pem\npkFile={files}/key.pem\nadress=wss://127.0.0.1:0 {words}"
    ));
    (server, directory)
}

// promise: `--check` and `--dial` name what is wrong, at which step
#[test]
fn certificates_are_judged_as_a_browser_does() {
    let (server, files) = start_tls(|_| {});
    let port = server.address().port();
    let ca = files.path.join("ca.pem");
    let url = format!("wss://localhost:{port}/web");
    expect_ready(&url, "", Some(&ca));
    let other_ca = start_tls(|_| {}).1;
    let unknown = other_ca.path.join("ca.pem");
    expect_failure(&url, Some(&unknown), "fails at TLS");
    let other_name = format!("wss://127.0.0.1:{port}/web");
    expect_failure(
        &other_name,
        Some(&ca),
        "the certificate is for another name",
    );
    let plain = Server::start("");
    let no_tls = format!("wss://localhost:{}/web", plain.address().port());
    expect_failure(&no_tls, Some(&ca), "fails at TLS");
    expect_failure(
        &format!("ws://localhost:{port}/web"),
        None,
        "This port speaks TLS",
    );
}

// promise: `--check` and `--dial` name what is wrong, at which step
#[test]
fn check_describes_the_certificate() {
    let (_server, files) = start_tls(|params| params.not_after = date_time_ymd(2040, 1, 2));
    let path = files.path.display();
    let outcome = check(
        &format!("adress=wss://127.0.0.1:0\ncertFile={path}/cert.pem\npkFile={path}/key.pem"),
        &["--verbose"],
        None,
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for part in [
        "is for localhost, until 2040-01-02T00:00:00Z",
        "Test CA, 2 in the chain",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
}

// protocol.md 11.1
#[test]
fn check_warns_of_a_redis_that_is_away_and_fails_for_one_that_refuses() {
    let redis = Redis::start();
    let ini = |address: &dyn std::fmt::Display| {
        format!(
            "adress=ws://127.0.0.1:0\nbackplane=redis://:pa55word@{address}\nbackplaneSecret={}\n",
            "s".repeat(32)
        )
    };
    let there = check(&ini(&redis.address()), &["--verbose"], None);
    assert_eq!(there.code, Some(0), "{}", there.stderr);
    assert!(there.stdout.contains("backplane: "), "{}", there.stdout);
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let away = check(&ini(&address), &[], None);
    assert_eq!((away.code, &*away.stdout), (Some(0), "fine\n"));
    let refused = |line: &&str| line.contains("the connection was refused");
    let warning = away.stderr.lines().find(refused).unwrap_or(&away.stderr);
    assert!(warning.starts_with("warning: "), "{warning}");
    assert!(warning.contains("serves its own"), "{warning}");
    assert!(!away.stderr.contains("pa55word"), "{}", away.stderr);
    redis.state().is_cluster = true;
    let refused = check(&ini(&redis.address()), &[], None);
    assert_eq!((refused.code, &*refused.stdout), (Some(1), "1 problem\n"));
    assert!(refused.stderr.contains("cluster"), "{}", refused.stderr);
}

// promise: `--check` and `--dial` name what is wrong, at which step
#[test]
fn check_tells_what_the_machine_does_not_allow() {
    let server = Server::start("");
    let ini = format!("adress=ws://{}\nmaxClients=10000000", server.address());
    let outcome = check(&ini, &[], None);
    // The server that is running is not in the way of the next one.
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let busy = format!("warning: {} is in use by websock (", server.address());
    assert!(outcome.stderr.contains(&busy), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "fine\n");
    let few = "fewer than maxClients=10000000";
    let is_small = outcome.stderr.contains(few);
    let hard = Command::new("sh")
        .args(["-c", "ulimit -Hn"])
        .output()
        .expect("sh runs");
    let hard = String::from_utf8(hard.stdout).expect("a number");
    let is_limited = hard
        .trim()
        .parse::<u64>()
        .is_ok_and(|hard| hard < 10_000_000);
    assert_eq!(is_small, is_limited, "{}", outcome.stderr);
    let missing = check("adress=unix:/no/such/directory/a", &[], None);
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
    assert!(
        missing.stderr.contains(": /no/such/directory: "),
        "{}",
        missing.stderr
    );
    assert_eq!(missing.stdout, "1 problem\n");
}
