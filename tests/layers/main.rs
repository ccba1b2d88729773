//! The layers of `src`: who may use whom, which crates, and what only a few may touch; and no circle,
//! neither of files nor of folders.
//!
//! Names are compared, not words: imports are spread out, `self::` and `super::` resolved, re-exports
//! followed to where a thing stands; comments, texts and everything under `#[cfg(test)]` are left
//! out. `cargo test --test layers -- --nocapture` prints what is tolerated today.

mod circles;
mod rules;
mod self_test;
mod source;

use std::fs;
use std::path::Path;

use rules::What::{Below, BelowBut, Within, Word};
use rules::{Ban, Breach, Layer, Rules, ban, has, layer};
use source::Tree;

/// The house, from the ground up. A layer uses those above it in this table only.
const LAYERS: &[Layer] = &[
    layer("base", "", "aws_lc_rs"),
    layer(
        "protocol",
        "base",
        "base64 httparse memchr redis_protocol serde serde_json sha1 simdutf8 zlib_rs",
    ),
    layer("connection", "base protocol", ""),
    layer("upstream", "base protocol", "httparse memchr"),
    layer(
        "registry",
        "base protocol connection",
        "fixedbitset hashbrown smol_str uuid",
    ),
    layer(
        "api",
        "base protocol registry",
        "log percent_encoding serde serde_json",
    ),
    layer(
        "app",
        "base protocol connection upstream registry api",
        "aws_lc_rs base64 ipnet jsonwebtoken log serde_json subtle",
    ),
    layer(
        "ops",
        "base protocol",
        "base64 listenfd log memchr mio nix rustls rustls_native_certs sd_notify signal_hook \
         signal_hook_mio x509_cert",
    ),
    layer(
        "net",
        "base protocol connection upstream registry api app ops",
        "log mio nix rustix rustls rustls_native_certs socket2",
    ),
    layer("logging", "base", "env_logger jiff log nix"),
    layer(
        "client",
        "base protocol ops",
        "base64 httparse rustls rustls_native_certs serde_json",
    ),
    layer(
        "config",
        "base protocol connection upstream registry api app net ops logging",
        "ini ipnet log strsim",
    ),
    layer(
        "cli",
        "base net ops logging client config",
        "getopts log nix serde serde_json socket2 strsim",
    ),
];

/// Layers without a file yet.
const PLANNED: &str = "";

/// Layers that see neither the machine nor the time.
const PURE: &str = "protocol connection upstream registry api app";
const ALL: &str = "base protocol connection upstream registry api app ops net logging client \
    config cli main lib";

/// What only a few may touch. The logger has threads and lines with dates; clients wait, and those
/// of the command line say how long it took.
const BANS: &[Ban] = &[
    ban(
        "base protocol",
        Below("std::thread std::fs std::env std::process std::os"),
        "the protocol sees no machine",
    ),
    ban(
        "base protocol",
        BelowBut("std::net", "IpAddr Ipv4Addr Ipv6Addr"),
        "the protocol sees no machine",
    ),
    ban(
        "base protocol",
        BelowBut("std::time", "Duration"),
        "the protocol sees no machine",
    ),
    ban(
        "base protocol connection upstream registry api app ops config main lib",
        Within("Instant::now"),
        "only the loop asks the clock",
    ),
    ban(
        "base protocol connection upstream registry api app net",
        Within("SystemTime"),
        "only the loop asks the clock",
    ),
    ban(
        "base protocol connection upstream registry api app main",
        Word(".elapsed"),
        "only the loop asks the clock",
    ),
    ban(
        ALL,
        Within("Uuid::new_v4"),
        "base::random needs no /dev/urandom, and uuid panics without it",
    ),
    ban(PURE, Below("std::thread"), "no threads"),
    ban(
        PURE,
        Below("std::os std::fs std::env std::process"),
        "no files, no environment",
    ),
    ban(
        "base protocol connection upstream registry api app config logging",
        Below("std::net::Tcp* std::net::Udp* std::net::ToSocketAddrs"),
        "only net touches sockets",
    ),
    ban(
        "registry",
        BelowBut("crate::connection", "ConnId"),
        "of connection only its names",
    ),
    ban(
        "app",
        BelowBut(
            "crate::connection",
            "AfterResponse ConnId EventIds Expectation Keepalive Message PhpFraming Text",
        ),
        "of connection only its values",
    ),
    ban(
        "app api",
        Below(
            "crate::protocol::frame::Decoder crate::protocol::frame::Header \
             crate::protocol::frame::encode_header",
        ),
        "no frames in resources",
    ),
    ban(
        "ops",
        BelowBut("mio", "Interest Registry Token"),
        "signals are events, sockets are not for ops",
    ),
    ban(
        "ops config",
        Below(
            "crate::protocol::frame crate::protocol::mask crate::protocol::message \
             crate::protocol::utf8 crate::protocol::handshake crate::protocol::http",
        ),
        "no decisions of the protocol",
    ),
    ban(ALL, Word("unsafe"), "no unsafe"),
];

/// The rules of this house. What is tolerated is a list of what is still to do.
const RULES: Rules = Rules {
    layers: LAYERS,
    bans: BANS,
    tolerated_uses: &[],
    tolerated_paths: &[],
    tolerated_circles: &[],
};

#[test]
fn everybody_keeps_to_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tree = Tree::new();
    take_files(root, &root.join("src"), &mut tree);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    for layer in LAYERS {
        let is_there = tree
            .keys()
            .any(|file| circles::folder_of(file) == layer.name);
        let is_planned = has(PLANNED, layer.name);
        assert!(is_there ^ is_planned, "{} is built or planned", layer.name);
    }
    for line in RULES.tolerated(&tree) {
        println!("tolerated: {line}");
    }
    let breaches = RULES.breaches(&tree, &dependencies(&manifest));
    let mut lines: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    lines.extend(RULES.idle_crates(&tree));
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

fn take_files(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            take_files(root, &path, tree);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("it is in there");
            let text = fs::read_to_string(&path).expect("a source");
            tree.insert(name.to_string_lossy().into_owned(), text);
        }
    }
}

/// The crates that the manifest names, as the code calls them.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_inside = line.trim_end_matches(']').ends_with("dependencies");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| is_inside) {
            let name = name.split('.').next().unwrap_or_default().trim();
            names.push(match name {
                "rust-ini" => "ini".to_owned(),
                name => name.replace('-', "_"),
            });
        }
    }
    names
}
