//! `examples/echo.rs`: a resource that opts out of the dialogue.

use std::path::Path;
use std::process::Command;

use crate::harness::frame::{self, BINARY, CONTINUATION, FIN, PING, TEXT, masked};
use crate::harness::server::Run;
use crate::harness::{Conn, Request, connect_to};

/// The example, which cargo builds along with the tests of a package.
struct Echo {
    run: Run,
}

impl Echo {
    #[track_caller]
    fn start() -> Self {
        let target = Path::new(env!("CARGO_BIN_EXE_websock")).parent();
        let file = target
            .expect("a file has a directory")
            .join("examples/echo");
        assert!(
            file.exists(),
            "no {}: `cargo build --examples` builds it, as `cargo test` without --test does",
            file.display()
        );
        let mut command = Command::new(file);
        command.arg("127.0.0.1:0");
        Self {
            run: Run::start(command),
        }
    }

    /// Upgraded; nothing else has been read.
    #[track_caller]
    fn open(&self, path: &str) -> Conn {
        let mut conn = connect_to(self.run.wait_for_addresses(1)[0]);
        conn.upgrade(&Request::to(path));
        conn
    }
}

// promise: a resource may do without the dialogue
#[test]
fn text_and_binary_come_back_on_any_path_and_nothing_else() {
    let echo = Echo::start();
    for path in ["/", "/web", "/any/path?at=all"] {
        let mut conn = echo.open(path);
        for text in [
            "",
            "x",
            "no JSON, größer",
            "bufferON",
            r#"{"opcode":"quit"}"#,
        ] {
            conn.send_text(text);
            conn.expect_text(text);
        }
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let bytes: Vec<u8> = (0..len).map(|index: usize| index as u8).collect();
            conn.send_binary(&bytes);
            conn.expect_binary(&bytes);
        }
        conn.send_close(3000, "done");
        conn.expect_close(3000);
        conn.expect_eof();
    }
}

// promise: a resource may do without the dialogue
#[test]
fn fragments_come_back_as_one_message() {
    let echo = Echo::start();
    let mut conn = echo.open("/");
    let parts = [
        masked(TEXT, b"fra"),
        masked(FIN | PING, b"p"),
        masked(CONTINUATION, b"gmen"),
        masked(FIN | CONTINUATION, b"ts"),
        masked(BINARY, b"\xff"),
        masked(FIN | CONTINUATION, b"\xfe"),
    ];
    conn.send_bytes(&parts.concat());
    conn.expect_pong(b"p");
    conn.expect_text("fragments");
    conn.expect_binary(b"\xff\xfe");
}

// promise: a resource may do without the dialogue
#[test]
fn a_raw_echo_is_as_strict_as_the_dialogue() {
    let echo = Echo::start();
    for (bytes, code) in [
        (frame::unmasked(FIN | TEXT, b"x"), 1002),
        (masked(FIN | TEXT, b"\xff"), 1007),
    ] {
        let mut conn = echo.open("/");
        conn.send_bytes(&bytes);
        conn.expect_close_and_end(code);
    }
}
