//! `wss://`, with a certificate that the system is told to trust.

use std::fs;
use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::harness::Server;
use crate::harness::server::{Directory, Run, binary};

/// A server with a certificate for localhost, and that certificate's file.
fn server() -> (Server, std::path::PathBuf) {
    let (server, trusted, _) = server_with("");
    (server, trusted)
}

/// The same with more in its ini text; `{dir}` is its directory. The certificate that it has read
/// is in another one.
fn server_with(more: &str) -> (Server, std::path::PathBuf, Directory) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let directory = Directory::new();
    let (cert_file, key_file) = (
        directory.path.join("cert.pem"),
        directory.path.join("key.pem"),
    );
    fs::write(&cert_file, cert.pem()).expect("a file");
    fs::write(&key_file, signing_key.serialize_pem()).expect("a file");
    let ini = format!(
        "{more}\ncertFile={}\npkFile={}\nadress=ws://127.0.0.1:0,wss://127.0.0.1:0",
        cert_file.display(),
        key_file.display()
    );
    let server = Server::start(&ini);
    let trusted = server.directory().join("trusted.pem");
    fs::copy(&cert_file, &trusted).expect("a file");
    (server, trusted, directory)
}

#[test]
fn a_trusted_certificate_is_taken_and_another_is_named() {
    let (server, trusted) = server();
    let line = server.wait_for_log("Listening on wss://");
    let port = line.rsplit(':').next().expect("a port").trim();
    for (host, roots, code, text) in [
        ("localhost", Some(&trusted), 0, "there and back"),
        ("127.0.0.1", Some(&trusted), 1, "not valid for name"),
        (
            "localhost",
            None,
            1,
            "who signed the certificate is not known",
        ),
    ] {
        let url = format!("wss://{host}:{port}/web");
        let mut command = Command::new(binary());
        command
            .args(["echo", "--url", &url])
            .env_remove("SSL_CERT_FILE");
        if let Some(roots) = roots {
            command
                .env("SSL_CERT_FILE", roots)
                .env_remove("SSL_CERT_DIR");
        }
        let output = command.output().expect("the program starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{host}: {said}");
        assert!(said.contains(text), "{host}: {said}");
    }
}

// protocol.md 9.7
#[test]
fn a_page_over_tls_that_a_hand_over_ends_misses_nothing() {
    let (server, trusted, _certificate) = server_with("takeoverSocket={dir}/control");
    let [plain, tls] = [server.addresses()[0], server.addresses()[1]];
    let mut listen = Command::new(binary());
    let url = format!("wss://localhost:{}/web", tls.port());
    listen.args(["listen", "--resume", "--url", &url]);
    listen.env("SSL_CERT_FILE", &trusted);
    let page = Run::start(listen);
    let uuid = page.wait_for_stderr("listening as ");
    let uuid = uuid.trim_start_matches("listening as ");
    let script = format!("ws://{plain}/php");
    let push = |message: &str| {
        let send = ["send", "--uuid", uuid, message, "--url", &script];
        let sent = Command::new(binary()).args(send).output();
        assert!(
            sent.expect("the program starts").status.success(),
            "{message}"
        );
    };
    push("1");
    page.wait_for_log(r#""message":1"#);
    let ini = server.directory().join("websock.ini");
    let text = fs::read_to_string(&ini).expect("its ini file");
    let fixed = format!("{text}\nadress=ws://{plain},wss://{tls}\n");
    let ini = server.directory().join("successor.ini");
    fs::write(&ini, fixed).expect("an ini file");
    let mut successor = Command::new(binary());
    successor.arg("-i").arg(ini).arg("--takeover");
    let _successor = Run::start(successor);
    assert_eq!(server.wait_exit().code(), Some(0));
    // Whether the page is back by now or not.
    push("2");
    push("3");
    page.wait_for_log(r#""message":3"#);
    let lines = page.log_lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let stderr = page.stderr();
    assert!(stderr.contains("resumed: "), "{stderr}");
    assert!(!stderr.contains("gap: "), "{stderr}");
}
