//! What is told of certificates and of handshakes, by `/ready` and `/metrics`.

use rcgen::{PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustix::process::Signal;

use crate::authority::{Authority, Files, params, try_dial};
use crate::harness::http::Response;
use crate::harness::tls::client_config;
use crate::harness::{Server, connect_to_file, eventually};

#[track_caller]
fn ask(server: &Server, path: &str) -> Response {
    let mut conn = connect_to_file(&server.directory().join("status.sock"));
    conn.send_bytes(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
    conn.read_response()
}

/// The value of the only sample whose name begins so.
#[track_caller]
fn value(server: &Server, name: &str) -> String {
    let text = ask(server, "/metrics").body;
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_out_of_its_time_makes_the_server_not_ready_until_it_is_renewed() {
    let authority = Authority::new();
    let mut expired = params("localhost");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 2, 3);
    let expired = authority.issue_for(&expired, &PKCS_ECDSA_P256_SHA256);
    let files = Files::new();
    let ini = files.pair(&expired.pem, &expired.key_pem());
    let server = Server::start(&format!("status=unix:{{dir}}/status.sock\n{ini}"));
    server.wait_for_log("Status and metrics:");
    let ready = ask(&server, "/ready?drain=404");
    assert_eq!(ready.status(), 503);
    assert_eq!(
        ready.body,
        "a certificate is out of its time: see the log\n"
    );
    let end = "websock_certificate_not_after_timestamp_seconds{";
    assert_eq!(value(&server, end), "1612310400");

    let mut renewed = params("localhost");
    renewed.not_after = date_time_ymd(2091, 2, 3);
    let renewed = authority.issue_for(&renewed, &PKCS_ECDSA_P256_SHA256);
    files.pair(&renewed.pem, &renewed.key_pem());
    server.signal(Signal::HUP);
    eventually("the new one is in force", || {
        ask(&server, "/ready").status() == 200
    });
    assert_eq!(value(&server, end), "3821299200");
    assert_eq!(value(&server, "websock_certificate_failures"), "0");

    // A spoiled one changes nothing, and is told.
    files.write("cert.pem", "no certificate");
    server.signal(Signal::HUP);
    eventually("it is told", || {
        value(&server, "websock_certificate_failures") == "1"
    });
    assert_eq!(ask(&server, "/ready").status(), 200);
    assert_eq!(value(&server, end), "3821299200");
}

#[test]
fn a_handshake_that_comes_to_nothing_is_counted() {
    let authority = Authority::new();
    let leaf = authority.issue("localhost");
    let files = Files::new();
    let ini = files.pair(&leaf.pem, &leaf.key_pem());
    let server = Server::start(&format!("status=unix:{{dir}}/status.sock\n{ini}"));
    server.wait_for_log("Status and metrics:");
    let name = "websock_tls_handshake_failures_total";
    assert_eq!(value(&server, name), "0");
    // It knows another authority.
    let stranger = client_config().as_ref().clone();
    assert!(try_dial(&server, stranger, "localhost").is_err());
    eventually("it is counted", || value(&server, name) == "1");
    assert!(try_dial(&server, authority.client(), "localhost").is_ok());
    assert_eq!(value(&server, name), "1");
}
