//! The server suite over `wss://`: the same modules as `tests/server`, with servers that have a
//! certificate and clients that speak TLS ([`harness::tls`]); and what differs there.

#[path = "../server/compression.rs"]
mod compression;
#[path = "../server/control.rs"]
mod control;
#[path = "../server/dialogue.rs"]
mod dialogue;
#[path = "../server/feedback.rs"]
mod feedback;
#[path = "../server/forwarding.rs"]
mod forwarding;
#[expect(
    dead_code,
    reason = "the harness has what the plain suites need as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
#[path = "../server/isolation.rs"]
mod isolation;
#[path = "../server/long_messages.rs"]
mod long_messages;
#[path = "../server/operation.rs"]
mod operation;
#[path = "../server/order.rs"]
mod order;
#[path = "../server/push.rs"]
mod push;
mod records;
#[path = "../server/restart.rs"]
mod restart;
#[path = "../server/sse.rs"]
mod sse;
#[path = "../server/upgrade.rs"]
mod upgrade;

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Tls;

/// Modules of `tests/server` that are not run here, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("coverage", "counts the tests of tests/server"),
    ("dial", "has certificates and servers of its own"),
    ("echo_example", "the example has no certificate"),
    ("log_lines", "a failed handshake is in tls"),
    ("listeners", "Unix sockets and passed ones, which are plain"),
    (
        "monitoring",
        "what is counted is counted above TLS; tests/tls has certificates",
    ),
    (
        "php_clients",
        "protocol.md 6.1, plain TCP; over TLS it is 6.2: records",
    ),
    ("plain_http", "above TLS; records has what differs for HTTP"),
    (
        "proxy_protocol",
        "its header stands before TLS, not in it: records",
    ),
    (
        "backplane",
        "between servers: how a page is connected does not matter",
    ),
    (
        "backplane_moves",
        "between servers: how a page is connected does not matter",
    ),
    ("reload", "reads the same file"),
    (
        "replay",
        "above TLS: what is kept does not depend on it; coming back over TLS is in tests/client",
    ),
    ("replay_edges", "above TLS, as replay"),
    ("replay_names", "above TLS, as replay"),
    (
        "reload_keys",
        "the same keys; those of certificates are in tls",
    ),
    ("web_sends", "about packets, which are the same over TLS"),
    ("sign_in", "above TLS: who it is does not depend on it"),
    (
        "sign_in_asking",
        "above TLS: who it is does not depend on it",
    ),
    (
        "sign_in_redis",
        "above TLS: who it is does not depend on it",
    ),
    (
        "sign_in_sessions",
        "above TLS: who it is does not depend on it",
    ),
    (
        "sign_in_staying",
        "above TLS: who it is does not depend on it",
    ),
    (
        "sign_in_tokens",
        "above TLS: who it is does not depend on it",
    ),
    ("sign_in_url", "above TLS: who it is does not depend on it"),
    ("sse_sign_in", "above TLS: who it is does not depend on it"),
    ("users", "above TLS: who it is does not depend on it"),
];

#[test]
fn every_module_of_the_plain_suite_is_here_or_left_out_for_a_reason() {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server");
    let here = include_str!("main.rs");
    for entry in std::fs::read_dir(suite).expect("the plain suite") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let name = name.expect("a name").to_owned();
        let is_here = here.contains(&format!("\nmod {name};"));
        let is_left_out = LEFT_OUT.iter().any(|(other, _)| *other == name);
        let is_main = name == "main";
        assert!(is_here ^ is_left_out ^ is_main, "{name}");
    }
}
