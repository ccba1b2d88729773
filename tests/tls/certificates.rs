//! What starts, and what clients then see.

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::version::{TLS12, TLS13};

use crate::authority::{Authority, Files, dial, expect_dialogue, params, shown, try_dial};
use crate::harness::Server;

#[test]
fn keys_of_all_usual_kinds_and_forms_are_served_over_both_versions() {
    let authority = Authority::new();
    for (algorithm, old_label) in [
        (&PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
        (&PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
        (&PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
        (&PKCS_ED25519, None),
    ] {
        let leaf = authority.issue_for(&params("localhost"), algorithm);
        let old = old_label.map(|label| leaf.old_key_pem(label));
        for key in [Some(leaf.key_pem()), old].into_iter().flatten() {
            let files = Files::new();
            let server = Server::start(&files.pair(&leaf.pem, &key));
            for version in [&TLS12, &TLS13] {
                let config = authority.client_over(&[version]);
                let transport = dial(&server, config, "localhost");
                assert_eq!(
                    shown(&transport),
                    std::slice::from_ref(&leaf.der),
                    "{algorithm:?}"
                );
                expect_dialogue(transport);
            }
        }
    }
}

#[test]
fn a_chain_is_served_whole_and_nothing_is_warned_of() {
    let authority = Authority::new();
    let intermediate = authority.intermediate();
    let leaf = intermediate.issue("localhost");
    let chain = format!("{}{}", leaf.pem, intermediate.pem());
    let files = Files::new();
    let server = Server::start(&files.pair(&chain, &leaf.key_pem()));
    let transport = dial(&server, authority.client(), "localhost");
    assert_eq!(shown(&transport).len(), 2);
    assert_eq!(shown(&transport)[0], leaf.der);
    expect_dialogue(transport);
    assert!(!said(&server).contains("fullchain"), "{}", said(&server));
}

#[test]
fn a_leaf_alone_works_and_the_right_file_is_named() {
    let authority = Authority::new();
    let intermediate = authority.intermediate();
    let leaf = intermediate.issue("localhost");
    let files = Files::new();
    let server = Server::start(&files.pair(&leaf.pem, &leaf.key_pem()));
    let line = server.wait_for_log("fullchain.pem");
    assert!(line.contains("cert.pem"), "{line}");
    // Who knows only the root cannot verify it; who knows the intermediate can.
    let refused = try_dial(&server, authority.client(), "localhost").err();
    let refused = refused.expect("the chain has a gap");
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    expect_dialogue(dial(&server, intermediate.client(), "localhost"));
}

fn said(server: &Server) -> String {
    server.log_lines().join("\n") + &server.stderr()
}

#[test]
fn both_in_one_file_is_fine_in_either_order() {
    let authority = Authority::new();
    let leaf = authority.issue("localhost");
    for both in [
        format!("{}{}", leaf.pem, leaf.key_pem()),
        format!("{}{}", leaf.key_pem(), leaf.pem),
    ] {
        let files = Files::new();
        let file = files.write("both.pem", &both);
        for ini in [
            format!("certFile={file}\npkFile="),
            format!("certFile={file}"),
            format!("certFile={file}\npkFile={file}"),
        ] {
            let server = Server::start(&ini);
            expect_dialogue(dial(&server, authority.client(), "localhost"));
        }
    }
}

#[test]
fn several_are_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let names = ["localhost", "example.org", "*.example.net"];
    let leaves = names.map(|name| authority.issue(name));
    let files = Files::new();
    let (mut certs, mut keys) = (Vec::new(), Vec::new());
    for (index, leaf) in leaves.iter().enumerate() {
        certs.push(files.write(&format!("cert{index}.pem"), &leaf.pem));
        keys.push(files.write(&format!("key{index}.pem"), &leaf.key_pem()));
    }
    let ini = format!("certFile={}\npkFile={}", certs.join(", "), keys.join(","));
    let server = Server::start(&ini);
    for (name, index) in [
        ("localhost", 0),
        ("example.org", 1),
        ("EXAMPLE.org", 1),
        ("www.example.net", 2),
    ] {
        let transport = dial(&server, authority.client(), name);
        assert_eq!(shown(&transport), [leaves[index].der.clone()], "{name}");
        expect_dialogue(transport);
    }
    // The first is for all other names, and for those who ask for none: they refuse it.
    for name in ["example.com", "a.b.example.net", "example.net", "127.0.0.1"] {
        let error = try_dial(&server, authority.client(), name).err();
        let error = error.unwrap_or_else(|| panic!("{name} has no certificate"));
        assert!(
            error.contains("NotValidForName") || error.contains("not valid for name"),
            "{name}: {error}"
        );
        assert!(error.contains("localhost"), "the first is shown: {error}");
    }
}
