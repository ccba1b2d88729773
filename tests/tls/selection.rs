//! Which certificate is used where several could be.

use std::fs;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd};
use rustix::process::Signal;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SignatureScheme, SupportedProtocolVersion};

use crate::authority::{Authority, Files, Leaf, dial, expect_dialogue, params, shown};
use crate::harness::Server;

/// A certificate that was issued in this year.
fn issued(authority: &Authority, name: &str, year: i32) -> Leaf {
    let mut params = params(name);
    params.not_before = date_time_ymd(year, 1, 1);
    authority.issue_for(&params, &PKCS_ECDSA_P256_SHA256)
}

fn write(files: &Files, name: &str, leaf: &Leaf) {
    files.write(&format!("{name}.key"), &leaf.key_pem());
    files.write(&format!("{name}.crt"), &leaf.pem);
}

#[track_caller]
fn expect_shown(server: &Server, authority: &Authority, name: &str, leaf: &Leaf) {
    let transport = dial(server, authority.client(), name);
    assert_eq!(shown(&transport), std::slice::from_ref(&leaf.der), "{name}");
    expect_dialogue(transport);
}

/// Panels give the files new names at each renewal.
#[test]
fn a_pattern_stands_for_the_newest_certificate_of_each_name() {
    let authority = Authority::new();
    let files = Files::new();
    let (first, other) = (
        issued(&authority, "localhost", 2001),
        issued(&authority, "example.org", 2002),
    );
    write(&files, "localhost-1", &first);
    write(&files, "other-1", &other);
    // Of 2000, so that it is not used, and without a key, so that it cannot be.
    write(&files, "older", &issued(&authority, "localhost", 2000));
    files.write("keyless.crt", &issued(&authority, "example.org", 2003).pem);
    files.write("note.txt", "no certificate");
    let pattern = |end: &str| files.path(&format!("*.{end}")).display().to_string();
    let ini = format!("certFile={}\npkFile={}", pattern("crt"), pattern("key"));
    let server = Server::start(&ini);
    let line = server.wait_for_log("keyless.crt");
    assert!(line.contains("not used"), "{line}");
    expect_shown(&server, &authority, "localhost", &first);
    expect_shown(&server, &authority, "example.org", &other);
    let second = issued(&authority, "localhost", 2004);
    write(&files, "localhost-2", &second);
    server.signal(Signal::HUP);
    server.wait_for_log("New certificate in force");
    expect_shown(&server, &authority, "localhost", &second);
    expect_shown(&server, &authority, "example.org", &other);
    // The old one has gone, and the new one is damaged: what is in force stays.
    fs::remove_file(files.path("localhost-1.crt")).expect("it goes");
    files.write("localhost-2.crt", "no certificate");
    fs::remove_file(files.path("older.crt")).expect("it goes");
    server.signal(Signal::HUP);
    let kept = "the old certificate stays in force";
    let line = server.wait_for_log(kept);
    assert!(line.contains("localhost-2.crt"), "{line}");
    expect_shown(&server, &authority, "localhost", &second);
    expect_shown(&server, &authority, "example.org", &other);
}

/// As certbot keeps them: of the certificate alone and the certificate with those that signed it,
/// the latter is shown; that of the signer and a note are no fault.
#[test]
fn a_directory_stands_for_all_its_files() {
    let authority = Authority::new();
    let intermediate = authority.intermediate();
    let leaf = intermediate.issue("localhost");
    let files = Files::new();
    files.write("cert.pem", &leaf.pem);
    files.write("chain.pem", &intermediate.pem());
    files.write(
        "fullchain.pem",
        &format!("{}{}", leaf.pem, intermediate.pem()),
    );
    files.write("privkey.pem", &leaf.key_pem());
    files.write("README", "no certificate");
    let server = Server::start(&format!("certFile={}", files.path("").display()));
    let transport = dial(&server, authority.client(), "localhost");
    assert_eq!(shown(&transport).len(), 2);
    expect_dialogue(transport);
    for word in ["; warning: ", "; error: "] {
        let lines = server.log_lines();
        assert!(!lines.iter().any(|line| line.contains(word)), "{lines:?}");
    }
}

/// The signatures that a client can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signatures {
    Rsa,
    All,
}

fn client(
    authority: &Authority,
    signatures: Signatures,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut config = authority.client_over(&[version]);
    if signatures == Signatures::Rsa {
        let mut provider = aws_lc_rs::default_provider();
        let mapping = provider.signature_verification_algorithms.mapping;
        let is_rsa = |scheme: SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        let mapping = mapping
            .iter()
            .copied()
            .filter(|(scheme, _)| is_rsa(*scheme));
        provider.signature_verification_algorithms.mapping = Vec::leak(mapping.collect::<Vec<_>>());
        config = authority.client_by(provider, version);
    }
    config
}

#[test]
fn of_an_rsa_and_an_ecdsa_certificate_each_client_gets_one_that_it_can_check() {
    let authority = Authority::new_rsa();
    let [rsa, ecdsa] = [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256]
        .map(|algorithm| authority.issue_for(&params("localhost"), algorithm));
    let files = Files::new();
    write(&files, "rsa", &rsa);
    write(&files, "ecdsa", &ecdsa);
    let path = |name: &str| files.path(name).display().to_string();
    for ini in [
        format!(
            "certFile={}, {}\npkFile={}, {}",
            path("rsa.crt"),
            path("ecdsa.crt"),
            path("rsa.key"),
            path("ecdsa.key")
        ),
        format!(
            "certFile={}, {}\npkFile={}, {}",
            path("ecdsa.crt"),
            path("rsa.crt"),
            path("ecdsa.key"),
            path("rsa.key")
        ),
        format!("certFile={}", path("")),
    ] {
        let server = Server::start(&ini);
        for version in [&TLS12, &TLS13] {
            for (signatures, leaf) in [(Signatures::Rsa, &rsa), (Signatures::All, &ecdsa)] {
                let config = client(&authority, signatures, version);
                let transport = dial(&server, config, "localhost");
                assert_eq!(
                    shown(&transport),
                    std::slice::from_ref(&leaf.der),
                    "{ini} {signatures:?}"
                );
                expect_dialogue(transport);
            }
        }
    }
}
