//! Tokens that a backend has signed (protocol.md 8.5).

use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::harness::{Request, Server, connect};
use crate::sign_in::{NOT_SIGNED_IN, expect_no, user_of};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a clock that runs").as_secs()
}

fn claims() -> Value {
    json!({"sub": "42", "exp": now() + 600, "aud": "websock"})
}

fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes()).expect("a key");
    encode(&Header::new(algorithm), claims, &key).expect("a token")
}

fn good() -> String {
    token(Algorithm::HS256, SECRET, &claims())
}

/// With one claim changed, or taken away by null.
fn with_claim(name: &str, value: Value) -> String {
    let mut claims = claims();
    let object = claims.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(object.remove(name)),
        value => drop(object.insert(name.to_owned(), value)),
    }
    token(Algorithm::HS256, SECRET, &claims)
}

fn in_cookie(token: &str) -> Request {
    Request::to("/web?user=1").with("Cookie", &format!("websock_token={token}"))
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

// protocol.md 8.5
#[test]
fn a_token_in_the_cookie_says_who_it_is() {
    let server = Server::start(&format!("authKey={SECRET}\n"));
    assert_eq!(
        user_of(&server, &in_cookie(&good())).1.as_deref(),
        Some("42")
    );
    let list = with_claim("aud", json!(["other", "websock"]));
    assert_eq!(user_of(&server, &in_cookie(&list)).1.as_deref(), Some("42"));
    let in_force = with_claim("nbf", json!(now() - 10));
    assert_eq!(
        user_of(&server, &in_cookie(&in_force)).1.as_deref(),
        Some("42")
    );
    let none = base64(r#"{"alg":"none"}"#);
    let payload = good().split('.').nth(1).expect("three parts").to_owned();
    let crit = {
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["x".to_owned()]);
        let key = EncodingKey::from_secret(SECRET.as_bytes()).expect("a key");
        encode(&header, &claims(), &key).expect("a token")
    };
    for (name, wrong) in [
        (
            "another secret",
            token(Algorithm::HS256, &SECRET.replace('0', "1"), &claims()),
        ),
        (
            "another algorithm",
            token(Algorithm::HS512, SECRET, &claims()),
        ),
        ("no algorithm", format!("{none}.{payload}.")),
        ("no signature", format!("{none}.{payload}")),
        ("critical header", crit),
        ("expired", with_claim("exp", json!(now() - 60))),
        ("no exp", with_claim("exp", Value::Null)),
        (
            "exp as text",
            with_claim("exp", json!((now() + 600).to_string())),
        ),
        ("from tomorrow", with_claim("nbf", json!(now() + 86_400))),
        ("no sub", with_claim("sub", Value::Null)),
        ("empty sub", with_claim("sub", json!(""))),
        ("sub as list", with_claim("sub", json!(["42"]))),
        ("no aud", with_claim("aud", Value::Null)),
        ("other aud", with_claim("aud", json!("shop"))),
        ("long", with_claim("x", json!("y".repeat(5000)))),
        ("cut off", good()[..good().len() - 1].to_owned()),
        ("empty", String::new()),
        ("no token", "x".to_owned()),
    ] {
        let mut conn = connect(&server);
        conn.upgrade(&in_cookie(&wrong));
        let text = conn.read_text(name);
        assert_eq!(text, NOT_SIGNED_IN, "{name}");
        conn.expect_close_and_end(4401);
    }
    // Never in a URL, and nothing to judge is no token.
    for target in ["/web?user=1&token=", "/web?user=1&websock_token="] {
        let request = Request::to(&format!("{target}{}", good()));
        assert_eq!(user_of(&server, &request).1, None);
    }
}

// protocol.md 8.5
#[test]
fn an_ed25519_key_takes_no_token_that_was_signed_with_its_public_half() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let directory = crate::sign_in::Sessions::new("pem");
    let file = directory.0.join("key.pem");
    std::fs::write(&file, pair.public_key_pem()).expect("written");
    let server = Server::start(&format!(
        "authKey={}\n[jsauth]\nrequire=true\n",
        file.display()
    ));
    let key = EncodingKey::from_ed_der(&pair.serialize_der());
    let signed = encode(&Header::new(Algorithm::EdDSA), &claims(), &key).expect("a token");
    assert_eq!(
        user_of(&server, &in_cookie(&signed)).1.as_deref(),
        Some("42")
    );
    let raw = pair.public_key_pem();
    for confused in [raw.as_str(), raw.trim()] {
        expect_no(
            &server,
            &in_cookie(&token(Algorithm::HS256, confused, &claims())),
        );
    }
    let confused = EncodingKey::from_secret(pair.public_key_raw()).expect("a key");
    let confused = encode(&Header::new(Algorithm::HS256), &claims(), &confused).expect("a token");
    expect_no(&server, &in_cookie(&confused));
}

// protocol.md 8.5
#[test]
fn the_first_message_may_bring_the_token_and_nothing_comes_before() {
    let server = Server::start(&format!("authKey={SECRET}\n"));
    let request = Request::to("/web?user=1&auth=1");
    let mut conn = connect(&server);
    conn.upgrade(&request);
    // It is nobody yet: a broadcast passes it by.
    let mut other = server.web();
    let mut script = server.open(&Request::php("/php"));
    script.send_for_next(r#"{"opcode":"broadcast","n":1}"#);
    other.expect_text(r#"{"opcode":"broadcast","n":1}"#);
    conn.send_text(&format!(r#"{{"opcode":"auth","token":"{}"}}"#, good()));
    conn.expect_next();
    let ready: Value = serde_json::from_str(&conn.read_text("ready")).expect("JSON");
    assert_eq!(
        (&ready["opcode"], &ready["user"]),
        (&json!("ready"), &json!("42"))
    );
    script.send_for_next(r#"{"opcode":"feedback","user":"42","n":2}"#);
    conn.expect_text(r#"{"opcode":"feedback","user":"42","n":2}"#);
    conn.round_trip();
}

// protocol.md 8.5
#[test]
fn another_first_message_is_a_no() {
    let server = Server::start(&format!(
        "authKey={SECRET}\nhandshakeTimeout=3s\nmaxClients=2\n"
    ));
    let wrong = token(Algorithm::HS256, &SECRET.replace('0', "1"), &claims());
    for message in [
        r#"{"opcode":"echo"}"#,
        r#"{"opcode":"auth"}"#,
        r#"{"opcode":"auth","token":7}"#,
        &format!(r#"{{"opcode":"auth","token":"{wrong}"}}"#),
        &format!(r#"{{"opcode":"Auth","token":"{}"}}"#, good()),
        "ping",
        "bufferON",
        "[",
    ] {
        let mut conn = connect(&server);
        conn.upgrade(&Request::to("/web?auth=1"));
        conn.send_text(message);
        conn.expect_next();
        conn.expect_text(NOT_SIGNED_IN);
        conn.expect_close_and_end(4401);
    }
    let mut silent = connect(&server);
    silent.upgrade(&Request::to("/web?auth=1"));
    silent.expect_text(NOT_SIGNED_IN);
    silent.expect_close_and_end(4401);
    let mut gone = connect(&server);
    gone.upgrade(&Request::to("/web?auth=1"));
    gone.close();
    // None of them holds a place.
    let (mut one, mut two) = (server.web(), server.web());
    one.round_trip();
    two.round_trip();
}

// protocol.md 8.7
#[test]
fn a_token_that_ends_ends_the_connection() {
    let server = Server::start(&format!("authKey={SECRET}\npingInterval=0\n"));
    // Clocks may differ by ten seconds: some are left to come in.
    let short = with_claim("exp", json!(now() - 5));
    let (mut conn, user) = user_of(&server, &in_cookie(&short));
    assert_eq!(user.as_deref(), Some("42"));
    conn.expect_text(NOT_SIGNED_IN);
    conn.expect_close_and_end(4401);
}
