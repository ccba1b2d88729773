//! What does not start, and what is said about it (protocol.md 7.5).

use std::process::Command;

use rcgen::date_time_ymd;

use crate::authority::{Authority, Files, key, params, pem};
use crate::harness::server::{Directory, Run, binary};

/// The server does not start with these, and says of `file` what is in `said`; `--check` as well.
#[track_caller]
fn expect_fault(ini: &str, key: &str, file: &str, said: &[&str]) {
    for check in [false, true] {
        let directory = Directory::new();
        let mut command = Command::new(binary());
        command.arg("-i").arg(directory.write_ini(ini));
        if check {
            command.arg("--check");
        }
        let run = Run::start(command);
        assert_eq!(run.wait_exit().code(), Some(1), "{file}: {said:?}");
        let message = run.stderr() + &run.log_lines().join("\n");
        for part in said.iter().chain(&["websock.ini, line ", key, file]) {
            assert!(message.contains(part), "{part:?} in {message}");
        }
        assert!(!message.contains("PRIVATE KEY-----\nM"), "{message}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_told_with_the_date() {
    let authority = Authority::new();
    let mut expired = params("localhost");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 2, 3);
    let mut early = params("localhost");
    early.not_before = date_time_ymd(2090, 5, 6);
    for (params, said) in [
        (expired, &["has expired on ", "2021", "certbot renew"][..]),
        (early, &["is not valid before ", "2090"]),
    ] {
        let leaf = authority.issue_for(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
        let files = Files::new();
        let ini = files.pair(&leaf.pem, &leaf.key_pem());
        expect_fault(&ini, "certFile", "cert.pem", said);
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_told_with_both_files() {
    let authority = Authority::new();
    let leaf = authority.issue("localhost");
    let files = Files::new();
    let ini = files.pair(&leaf.pem, &key().serialize_pem());
    let said = ["is not the key of the certificate in ", "cert.pem"];
    expect_fault(&ini, "pkFile", "key.pem", &said);
    // The certificates of the chain in the wrong order come to the same.
    let chain = format!("{}{}", authority.pem(), leaf.pem);
    let ini = files.pair(&chain, &leaf.key_pem());
    expect_fault(&ini, "pkFile", "key.pem", &said);
}

#[test]
fn an_encrypted_key_is_told_with_the_command_that_decrypts_it() {
    let leaf = Authority::new().issue("localhost");
    let files = Files::new();
    let old = leaf.old_key_pem("EC PRIVATE KEY").replacen(
        '\n',
        "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n",
        1,
    );
    let new = pem("ENCRYPTED PRIVATE KEY", &leaf.key.serialize_der());
    for key in [new, old] {
        let ini = files.pair(&leaf.pem, &key);
        expect_fault(&ini, "pkFile", "key.pem", &["encrypted", "openssl pkey"]);
    }
}

#[test]
fn files_that_hold_something_else_are_told_with_what_is_missing() {
    let leaf = Authority::new().issue("localhost");
    let garbage = pem("CERTIFICATE", b"no DER at all");
    let cut = &leaf.pem[..leaf.pem.len() / 2];
    for (cert, key, ini_key, file, said) in [
        ("", &*leaf.key_pem(), "certFile", "cert.pem", "certificate"),
        (
            "hello\n",
            &*leaf.key_pem(),
            "certFile",
            "cert.pem",
            "certificate",
        ),
        (cut, &*leaf.key_pem(), "certFile", "cert.pem", "PEM"),
        (
            &*garbage,
            &*leaf.key_pem(),
            "certFile",
            "cert.pem",
            "cannot be read",
        ),
        (&*leaf.pem, "", "pkFile", "key.pem", "private key"),
        (&*leaf.pem, &*leaf.pem, "pkFile", "key.pem", "private key"),
        (&*leaf.pem, &*garbage, "pkFile", "key.pem", "private key"),
    ] {
        let files = Files::new();
        expect_fault(&files.pair(cert, key), ini_key, file, &[said]);
    }
}

#[test]
fn files_that_are_not_there_are_told() {
    let leaf = Authority::new().issue("localhost");
    let files = Files::new();
    let (cert, key) = (
        files.write("cert.pem", &leaf.pem),
        files.write("key.pem", &leaf.key_pem()),
    );
    let ini = format!("certFile={cert}.old\npkFile={key}");
    expect_fault(&ini, "certFile", "cert.pem.old", &["No such file"]);
    let ini = format!("certFile={cert}\npkFile={key}.old");
    expect_fault(&ini, "pkFile", "key.pem.old", &["No such file"]);
    let directory = files.path("").display().to_string();
    let ini = format!("certFile={directory}\npkFile={key}");
    expect_fault(&ini, "certFile", &directory, &["directory"]);
    let ini = format!("certFile={cert},{cert}\npkFile={key}");
    expect_fault(&ini, "pkFile", "key.pem", &["as many files as certFile"]);
    let ini = format!("certFile={cert}\npkFile=");
    expect_fault(&ini, "certFile", "cert.pem", &["private key"]);
}
