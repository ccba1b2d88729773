//! What is read and written: ini files of odd kinds, the log file.

use std::fs;
use std::process::Command;

use crate::{Directory, Outcome};

#[test]
fn every_line_end_of_an_ini_counts() {
    let text = "; a comment\nadress=localhost:0\nmaxClients=7\nmaxPerIP=3";
    for end in ["\n", "\r\n", "\r"] {
        let directory = Directory::with_ini(text.replace('\n', end));
        let outcome = directory.run(&["--check", "-v"]);
        outcome.expect_exit(0).expect_no_finding();
        for expected in ["maxClients=7 ; ", "websock.ini, line 3\n", "maxPerIP=3 ; "] {
            outcome.expect_stdout(expected);
        }
    }
}

#[test]
fn an_ini_in_utf_16_is_named_as_such() {
    let text = "adress=localhost:0\r\nmaxClients=7\r\n";
    let little =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (bytes, expected) in [
        (
            little(&format!("\u{feff}{text}")),
            "the file is UTF-16; save it as UTF-8",
        ),
        (little(text), "the file is UTF-16LE; save it as UTF-8"),
        (b"adress=localhost:0\n\0".to_vec(), "it holds NUL bytes"),
    ] {
        let outcome = Directory::with_ini(bytes).run(&["--check"]);
        outcome.expect_exit(1).expect_stderr(expected);
        assert_eq!(outcome.stdout, "1 problem\n");
    }
    let marked = Directory::with_ini(format!("\u{feff}{text}"));
    marked.run(&["--check"]).expect_exit(0);
}

#[test]
fn a_start_that_fails_is_told_in_the_log_file_as_well() {
    for (ini, expected) in [
        ("adress=192.0.2.1:9", "adress=192.0.2.1:9: "),
        ("maxClients=x", "maxClients=x: a whole number"),
        ("adress=wss://a:1", "certFile is not set"),
    ] {
        let directory = Directory::with_ini(format!("logfile=ws.log\nconsole=off\n{ini}\n"));
        let outcome = directory.run(&[]);
        outcome.expect_exit(1).expect_stderr(expected);
        assert_eq!(outcome.stdout, "");
        let log = fs::read_to_string(directory.join("ws.log")).expect("the log");
        let line = log.lines().last().expect("a line");
        assert!(
            line.contains("; error: ") && line.contains(expected),
            "{expected}: {log}"
        );
    }
}

/// Runs the program with at most so many blocks in a file, until it finds no address to listen on.
fn run_limited(directory: &Directory) -> Outcome {
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1; exec \"$0\" -adress 192.0.2.1:9"])
        .arg(crate::binary())
        .current_dir(&directory.0)
        .output();
    Outcome::of(&output.expect("sh runs"))
}

#[test]
fn a_file_size_limit_ends_nothing_and_the_lines_go_to_the_console() {
    let directory = Directory::with_ini("logfile=ws.log\nconsole=off\n");
    fs::write(directory.join("ws.log"), "x\n".repeat(1_000)).expect("written");
    let outcome = run_limited(&directory);
    outcome
        .expect_exit(1)
        .expect_stdout("; Starting server...\n")
        .expect_stderr("ws.log not written: File too large");
    let told = outcome.stderr.matches("not written").count();
    assert_eq!(told, 1, "{outcome:#?}");
}

#[test]
fn a_log_line_ends_somewhere() {
    let directory = Directory::with_ini(format!("certFile={}\n", "x".repeat(100_000)));
    let outcome = directory.run(&["-adress", "192.0.2.1:9"]);
    let longest = outcome.stdout.lines().map(str::len).max();
    assert!(longest.is_some_and(|len| len < 5_000), "{longest:?}");
    outcome.expect_stdout(" bytes more)\n");
}
