//! What does not start, and what is said about it (protocol.md 7.5).

use std::process::Command;

use rcgen::date_time_ymd;

use crate::authority::{Authority, Files, key, params, pem, try_dial};
use crate::harness::Server;
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

/// What `--check` says to these, and whether it finds no fault.
#[track_caller]
fn check(ini: &str) -> (Option<i32>, String) {
    let directory = Directory::new();
    let mut command = Command::new(binary());
    command
        .arg("-i")
        .arg(directory.write_ini(ini))
        .arg("--check");
    let run = Run::start(command);
    let code = run.wait_exit().code();
    (code, run.stderr() + &run.log_lines().join("\n"))
}

/// A clock that is wrong, or a renewal that has failed, must not end what has nothing to do with
/// it. Clients see what is wrong with the certificate better than with a closed port.
#[test]
fn a_certificate_out_of_its_time_is_served_and_told_as_an_error_with_the_date() {
    let authority = Authority::new();
    let mut expired = params("localhost");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 2, 3);
    let mut early = params("localhost");
    early.not_before = date_time_ymd(2090, 5, 6);
    for (params, said) in [
        (expired, &["has expired on 2021-02-03", "certbot renew"][..]),
        (early, &["is not valid before 2090-05-06", "clock"]),
    ] {
        let leaf = authority.issue_for(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
        let files = Files::new();
        let ini = files.pair(&leaf.pem, &leaf.key_pem());
        let server = Server::start(&ini);
        let line = server.wait_for_log(said[0]);
        for part in said.iter().chain(&["cert.pem", "; error: "]) {
            assert!(line.contains(part), "{part:?} in {line}");
        }
        let error = try_dial(&server, authority.client(), "localhost").err();
        let error = error.expect("the client refuses it");
        assert!(error.contains("certificate"), "{error}");
        let (code, message) = check(&ini);
        assert_eq!(code, Some(1), "{message}");
        for part in said.iter().chain(&["error: ", "cert.pem"]) {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
}

/// The chain is as good as its first certificate to end.
#[test]
fn an_expired_certificate_further_up_the_chain_is_told_with_its_name() {
    let authority = Authority::new();
    let intermediate = authority.intermediate_until((2021, 2, 3));
    let leaf = intermediate.issue("localhost");
    let files = Files::new();
    let chain = format!("{}{}", leaf.pem, intermediate.pem());
    let ini = files.pair(&chain, &leaf.key_pem());
    let said = "certificate 2 of the chain, CN=Test Intermediate, has expired on 2021-02-03";
    Server::start(&ini).wait_for_log(said);
    let (code, message) = check(&ini);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(said), "{message}");
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
        (
            cut,
            &*leaf.key_pem(),
            "certFile",
            "cert.pem",
            "line 1 begins has no end: the file is cut off",
        ),
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
    let empty = Directory::new();
    let directory = empty.path.display().to_string();
    let ini = format!("certFile={directory}\npkFile={key}");
    expect_fault(
        &ini,
        "certFile",
        &directory,
        &["the directory holds no file"],
    );
    let ini = format!("certFile={cert},{cert}\npkFile={key}");
    expect_fault(&ini, "pkFile", "key.pem", &["as many files as certFile"]);
    let ini = format!("certFile={cert}\npkFile=");
    expect_fault(&ini, "certFile", "cert.pem", &["private key"]);
}

/// What is passed over in silence is a chain with a gap, or worse.
#[test]
fn nothing_in_a_pem_file_is_skipped() {
    let authority = Authority::new();
    let intermediate = authority.intermediate();
    let leaf = intermediate.issue("localhost");
    let joined = format!("{}{}", leaf.pem.trim_end(), intermediate.pem());
    let trusted = intermediate
        .pem()
        .replace(" CERTIFICATE", " TRUSTED CERTIFICATE");
    for (cert, said) in [
        (
            joined,
            "holds an END and a BEGIN; give each a line of its own",
        ),
        (
            format!("{}{trusted}", leaf.pem),
            "begins a TRUSTED CERTIFICATE",
        ),
        (leaf.pem.replace("-----B", "----B"), "line 1 is no boundary"),
    ] {
        let files = Files::new();
        let ini = files.pair(&cert, &leaf.key_pem());
        expect_fault(&ini, "certFile", "cert.pem", &[said]);
    }
}

/// A file that went through a variable or JSON has its line ends as two characters.
#[test]
fn no_byte_of_a_file_is_told() {
    let authority = Authority::new();
    let leaf = authority.issue("localhost");
    let both = format!("{}{}", leaf.key_pem(), leaf.pem);
    let escaped = both.replace('\n', r"\n");
    let one_line = both.replace('\n', "");
    let damaged = both.replace("MIG", "MI?");
    for text in [escaped, one_line, damaged] {
        let files = Files::new();
        let file = files.write("cert.pem", &text);
        for ini in [
            format!("certFile={file}"),
            format!("certFile={file}\npkFile={file}"),
        ] {
            let (code, message) = check(&ini);
            assert_eq!(code, Some(1), "{message}");
            assert!(message.contains("cert.pem"), "{message}");
            expect_no_secret(&message, &leaf.key_pem());
        }
    }
}

/// Whoever writes the key in place of its file's name has it told to nobody.
#[test]
fn a_key_written_into_the_ini_is_not_told() {
    let authority = Authority::new();
    let leaf = authority.issue("localhost");
    let files = Files::new();
    let cert = files.write("cert.pem", &leaf.pem);
    let key = leaf.key_pem();
    let bare: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    for value in [
        key.clone(),
        format!("'{key}'"),
        format!("\"{key}\""),
        key.replace('\n', r"\n"),
        format!("'{}'", key.replace('\n', r"\n")),
        bare,
    ] {
        let (code, message) = check(&format!("certFile={cert}\npkFile={value}"));
        assert_eq!(code, Some(1), "{message}");
        assert!(
            message.contains("the name of a file is wanted"),
            "{message}"
        );
        expect_no_secret(&message, &key);
    }
}

/// Neither as it is written nor as the bytes of it.
#[track_caller]
fn expect_no_secret(message: &str, pem: &str) {
    for line in pem.lines().filter(|line| !line.starts_with('-')) {
        // A part of it is as bad as all of it.
        for part in line.as_bytes().chunks_exact(8) {
            let text = String::from_utf8_lossy(part);
            assert!(!message.contains(&*text), "{message}");
            let bytes: Vec<_> = part.iter().map(u8::to_string).collect();
            assert!(!message.contains(&bytes.join(", ")), "{message}");
        }
    }
}

/// To open a FIFO is to wait for who writes to it; the server must not.
#[test]
fn what_is_no_regular_file_is_told_at_once() {
    let leaf = Authority::new().issue("localhost");
    let files = Files::new();
    let cert = files.write("cert.pem", &leaf.pem);
    let fifo = files.fifo("fifo");
    let said = ["is a FIFO, and a regular file is wanted"];
    expect_fault(&format!("certFile={fifo}"), "certFile", "fifo", &said);
    let ini = format!("certFile={cert}\npkFile={fifo}");
    expect_fault(&ini, "pkFile", "fifo", &said);
    let said = ["is a device, and a regular file is wanted"];
    expect_fault("certFile=/dev/zero", "certFile", "/dev/zero", &said);
    let large = files.write("large", &"x\n".repeat(600_000));
    expect_fault(
        &format!("certFile={large}"),
        "certFile",
        "large",
        &["1048576"],
    );
}
