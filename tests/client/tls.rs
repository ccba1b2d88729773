//! `wss://`, with a certificate that the system is told to trust.

use std::fs;
use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::harness::Server;
use crate::harness::server::binary;

/// A server with a certificate for localhost, and that certificate's file.
fn server() -> (Server, std::path::PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let directory = crate::harness::server::Directory::new();
    let (cert_file, key_file) = (
        directory.path.join("cert.pem"),
        directory.path.join("key.pem"),
    );
    fs::write(&cert_file, cert.pem()).expect("a file");
    fs::write(&key_file, signing_key.serialize_pem()).expect("a file");
    let ini = format!(
        "certFile={}\npkFile={}\nadress=ws://127.0.0.1:0,wss://127.0.0.1:0",
        cert_file.display(),
        key_file.display()
    );
    let server = Server::start(&ini);
    let trusted = server.directory().join("trusted.pem");
    fs::copy(&cert_file, &trusted).expect("a file");
    (server, trusted)
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
