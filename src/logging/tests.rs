use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use log::{LevelFilter, Log, Record};

use super::*;
use crate::base::escape;

/// A console whose text can be read, and which hangs while its gate is locked.
#[derive(Clone, Default)]
struct Console {
    text: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<()>>,
}

impl Console {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

impl Write for Console {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _passed = self.gate.lock().expect("not poisoned");
        self.text
            .lock()
            .expect("not poisoned")
            .extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixture {
    console: Console,
    logger: Logger,
    log: env_logger::Logger,
}

impl Fixture {
    fn new(config: &LogSettings, filters: &str) -> Self {
        let console = Console::default();
        let (logger, log) =
            Logger::build(config, filters, Box::new(console.clone())).expect("a thread");
        Self {
            console,
            logger,
            log,
        }
    }

    fn write(&self, level: Level, text: &str) {
        let mut record = Record::builder();
        self.log.log(
            &record
                .level(level)
                .target("websock")
                .args(format_args!("{text}"))
                .build(),
        );
    }

    /// The lines on the console, without their dates.
    fn console_texts(&self) -> Vec<String> {
        self.logger.flush();
        self.console.text().lines().map(without_date).collect()
    }
}

fn without_date(line: &str) -> String {
    line.split_once("; ").expect("a date").1.to_owned()
}

fn config(file: Option<PathBuf>, console: bool) -> LogSettings {
    LogSettings {
        file,
        console,
        level: LevelFilter::Info,
        max_bytes: 0,
        keep: 2,
    }
}

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("websock-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The lines of a file, without their dates.
fn texts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(without_date).collect()
}

#[test]
fn a_line_is_an_rfc_2822_date_and_the_text() {
    let line = line_of(Level::Info, &format_args!("Starting server..."));
    let (date, text) = line.split_once("; ").expect("a date");
    assert_eq!(text, "Starting server...\n");
    assert_eq!(
        date.len(),
        "Thu, 01 Jan 2026 00:00:00 +0000".len(),
        "{date}"
    );
    assert!(jiff::fmt::rfc2822::parse(date).is_ok(), "{date}");
}

#[test]
fn the_level_is_told_for_errors_and_warnings_only() {
    let fixture = Fixture::new(&config(None, true), "trace");
    for level in [
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ] {
        fixture.write(level, "text");
    }
    let expected = ["error: text", "warning: text", "text", "text", "text"];
    assert_eq!(fixture.console_texts(), expected);
}

#[test]
fn the_level_of_the_ini_holds_unless_rust_log_says_otherwise() {
    let table = [
        ("", 1),
        ("debug", 2),
        ("websock=debug", 2),
        ("other=debug", 1),
        ("off", 0),
    ];
    for (filters, expected) in table {
        let fixture = Fixture::new(&config(None, true), filters);
        fixture.write(Level::Info, "one");
        fixture.write(Level::Debug, "two");
        assert_eq!(fixture.console_texts().len(), expected, "{filters}");
    }
}

#[test]
fn one_record_is_one_line_whatever_a_peer_sends() {
    let fixture = Fixture::new(&config(None, true), "");
    fixture.write(
        Level::Info,
        "a\r\nThu, 01 Jan 2026 00:00:00 +0000; b\u{1b}[2J",
    );
    let expected = r"a\r\nThu, 01 Jan 2026 00:00:00 +0000; b\u{1b}[2J";
    assert_eq!(fixture.console_texts(), [expected]);
}

#[test]
fn control_characters_are_escaped_and_nothing_else() {
    let table = [
        ("plain", "plain"),
        ("größe 🙂 \\ '\"", "größe 🙂 \\ '\""),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\0\u{7f}\u{9b}", r"\u{0}\u{7f}\u{9b}"),
        ("\u{2028}\u{202e}\u{2066}", r"\u{2028}\u{202e}\u{2066}"),
        (r"\n", r"\n"),
    ];
    for (text, expected) in table {
        assert_eq!(escape(text).to_string(), expected);
        assert_eq!(escape(expected).to_string(), expected, "escaping twice");
    }
}

#[test]
fn the_file_is_appended_to_and_the_console_stays_silent() {
    let directory = Directory::new("append");
    let path = directory.join("ws.log");
    for text in ["one", "two"] {
        let fixture = Fixture::new(&config(Some(path.clone()), false), "");
        fixture.write(Level::Info, text);
        assert_eq!(fixture.console_texts(), Vec::<String>::new());
    }
    assert_eq!(texts(&path), ["one", "two"]);
}

#[test]
fn lines_go_to_file_and_console() {
    let directory = Directory::new("both");
    let path = directory.join("ws.log");
    let fixture = Fixture::new(&config(Some(path.clone()), true), "");
    fixture.write(Level::Info, "one");
    assert_eq!(fixture.console_texts(), ["one"]);
    assert_eq!(texts(&path), ["one"]);
}

#[test]
fn a_file_that_cannot_be_opened_leaves_the_console() {
    let path = Directory::new("unusable").join("missing/ws.log");
    let fixture = Fixture::new(&config(Some(path.clone()), false), "");
    fixture.write(Level::Info, "one");
    assert_eq!(fixture.console_texts(), ["one"]);
    assert!(!path.exists());
}

#[test]
fn without_file_and_console_lines_are_dropped() {
    let fixture = Fixture::new(&config(None, false), "");
    fixture.write(Level::Info, "one");
    assert_eq!(fixture.console_texts(), Vec::<String>::new());
}

#[test]
fn a_moved_file_is_left_at_reopen() {
    let directory = Directory::new("reopen");
    let (path, moved) = (directory.join("ws.log"), directory.join("ws.log.1"));
    let fixture = Fixture::new(&config(Some(path.clone()), false), "");
    fixture.write(Level::Info, "one");
    fixture.logger.flush();
    std::fs::rename(&path, &moved).expect("moved");
    fixture.write(Level::Info, "two");
    fixture.logger.flush();
    fixture.logger.reopen();
    fixture.write(Level::Info, "three");
    fixture.logger.flush();
    assert_eq!(texts(&moved), ["one", "two"]);
    assert_eq!(texts(&path), ["three"]);
}

#[test]
fn a_reopen_that_fails_keeps_the_old_file() {
    let directory = Directory::new("reopen-fails");
    let inner = directory.join("inner");
    std::fs::create_dir(&inner).expect("a directory");
    let fixture = Fixture::new(&config(Some(inner.join("ws.log")), false), "");
    let moved = directory.join("moved");
    std::fs::rename(&inner, &moved).expect("moved");
    fixture.logger.reopen();
    fixture.write(Level::Info, "one");
    fixture.logger.flush();
    assert_eq!(texts(&moved.join("ws.log")), ["one"]);
}

#[test]
fn a_full_file_is_rotated_between_lines_and_the_oldest_goes() {
    let directory = Directory::new("rotate");
    let path = directory.join("ws.log");
    let line_len = line_of(Level::Info, &format_args!("0")).len();
    let max_bytes = u64::try_from(2 * line_len).expect("small");
    let fixture = Fixture::new(
        &LogSettings {
            max_bytes,
            ..config(Some(path.clone()), false)
        },
        "",
    );
    for number in 0..9 {
        fixture.write(Level::Info, &number.to_string());
    }
    fixture.logger.flush();
    assert_eq!(texts(&path), ["8"]);
    assert_eq!(texts(&directory.join("ws.log.1")), ["6", "7"]);
    assert_eq!(texts(&directory.join("ws.log.2")), ["4", "5"]);
    assert!(!directory.join("ws.log.3").exists(), "keep is 2");
}

#[test]
fn rotation_survives_a_directory_that_is_gone() {
    let directory = Directory::new("rotate-gone");
    let inner = directory.join("inner");
    std::fs::create_dir(&inner).expect("a directory");
    let log = LogSettings {
        max_bytes: 1,
        ..config(Some(inner.join("ws.log")), false)
    };
    let fixture = Fixture::new(&log, "");
    let moved = directory.join("moved");
    fixture.write(Level::Info, "one");
    fixture.logger.flush();
    std::fs::rename(&inner, &moved).expect("moved");
    fixture.write(Level::Info, "two");
    fixture.logger.flush();
    assert_eq!(texts(&moved.join("ws.log")), ["one", "two"]);
    assert!(!inner.exists());
}

#[test]
fn an_output_that_hangs_delays_neither_the_caller_nor_the_other_output() {
    let directory = Directory::new("hang");
    let path = directory.join("ws.log");
    let fixture = Fixture::new(&config(Some(path.clone()), true), "");
    let gate = fixture.console.gate.lock().expect("not poisoned");
    fixture.write(Level::Info, "one");
    let workers = &fixture.logger.workers;
    workers[0].flush(Instant::now() + Duration::from_secs(10));
    assert_eq!(texts(&path), ["one"]);
    drop(gate);
    assert_eq!(fixture.console_texts(), ["one"]);
}

#[test]
fn lines_that_find_no_room_are_counted_and_the_count_is_told() {
    let fixture = Fixture::new(&config(None, true), "");
    let gate = fixture.console.gate.lock().expect("not poisoned");
    let (done, is_done): (Sender<()>, Receiver<()>) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..10_000).for_each(|number| fixture.write(Level::Info, &number.to_string()));
            done.send(()).expect("the test waits");
        });
        is_done
            .recv_timeout(Duration::from_secs(30))
            .expect("the caller does not wait");
    });
    drop(gate);
    let texts = fixture.console_texts();
    // Told whenever there was room again.
    let counts: Vec<usize> = texts
        .iter()
        .filter_map(|text| {
            text.strip_prefix("warning: ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let (lost, told) = (counts.iter().sum::<usize>(), counts.len());
    assert!(told > 0, "no count among {} lines", texts.len());
    assert_eq!(
        lost + texts.len() - told,
        10_000,
        "every line is written or counted"
    );
}
