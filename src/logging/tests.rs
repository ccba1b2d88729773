use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use log::{LevelFilter, Log, Record};

use super::line::line_of;
use super::*;
use crate::base::escape;
use crate::base::log_target::REFUSALS;

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
            Logger::build(config, filters, || Box::new(console.clone())).expect("a thread");
        Self {
            console,
            logger,
            log,
        }
    }

    fn write(&self, level: Level, text: &str) {
        self.write_to("websock", level, text);
    }

    fn write_to(&self, target: &str, level: Level, text: &str) {
        let mut record = Record::builder();
        self.log.log(
            &record
                .level(level)
                .target(target)
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
        connections: true,
        format: LogFormat::Text,
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
    let file = fixture.logger.running().workers[0].clone();
    file.flush(Instant::now() + Duration::from_secs(10));
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

#[test]
fn a_long_text_is_cut_at_a_character_and_the_rest_is_counted() {
    let table = [
        ("x".repeat(4_096), "x".repeat(4_096)),
        ("x".repeat(4_097), "x".repeat(4_096) + "… (1 bytes more)"),
        (
            "x".repeat(4_095) + "é and more",
            "x".repeat(4_095) + "… (11 bytes more)",
        ),
        (
            "\n".repeat(1 << 20),
            r"\n".repeat(2_048) + "… (2093056 bytes more)",
        ),
    ];
    for (text, expected) in table {
        let line = line_of(Level::Info, &format_args!("{text}"));
        let (_, written) = line.split_once("; ").expect("a date");
        assert!(written == expected + "\n", "{} bytes", text.len());
    }
    // However it comes in pieces.
    let (one, two) = ("x".repeat(4_000), "é".repeat(49));
    let line = line_of(Level::Warn, &format_args!("{one}{two}y"));
    assert!(line.ends_with("é… (3 bytes more)\n"), "{line}");
}

#[test]
fn lines_that_the_file_does_not_take_go_to_the_console() {
    let fixture = Fixture::new(&config(Some("/dev/full".into()), false), "");
    fixture.write(Level::Info, "one");
    fixture.logger.flush();
    fixture.write(Level::Info, "two");
    assert_eq!(fixture.console_texts(), ["one", "two"]);
    let both = Fixture::new(&config(Some("/dev/full".into()), true), "");
    both.write(Level::Info, "one");
    assert_eq!(both.console_texts(), ["one"], "not twice");
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_rotated() {
    let directory = Directory::new("link");
    std::fs::create_dir(directory.join("disk")).expect("a directory");
    let (link, target) = (directory.join("ws.log"), directory.join("disk/real.log"));
    std::os::unix::fs::symlink("disk/real.log", &link).expect("a link");
    let log = LogSettings {
        max_bytes: 1,
        ..config(Some(link.clone()), false)
    };
    let fixture = Fixture::new(&log, "");
    for text in ["one", "two", "three", "four"] {
        fixture.write(Level::Info, text);
    }
    fixture.logger.flush();
    assert!(link.is_symlink());
    assert_eq!(texts(&target), ["four"]);
    assert_eq!(texts(&directory.join("disk/real.log.1")), ["three"]);
    assert_eq!(texts(&directory.join("disk/real.log.2")), ["two"]);
    assert!(!directory.join("ws.log.1").exists());
}

#[test]
fn files_of_a_time_when_more_were_kept_go_at_the_next_rotation() {
    let directory = Directory::new("fewer");
    for number in 1..=6 {
        let path = directory.join(&format!("ws.log.{number}"));
        std::fs::write(path, format!("{number}")).expect("written");
    }
    let log = LogSettings {
        max_bytes: 1,
        ..config(Some(directory.join("ws.log")), false)
    };
    let fixture = Fixture::new(&log, "");
    fixture.write(Level::Info, "one");
    fixture.write(Level::Info, "two");
    fixture.logger.flush();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    assert_eq!(read("ws.log.2").as_deref(), Some("1"));
    assert_eq!(read("ws.log.3"), None);
    assert_eq!(read("ws.log.6"), None);
}

#[test]
fn what_is_no_file_for_a_log_leaves_the_console() {
    let directory = Directory::new("kinds");
    let pipe = directory.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let socket = directory.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    for (path, expected) in [
        (&pipe, "it is a pipe (FIFO)"),
        (&socket, "it is a socket"),
        (&directory.0, "it is a directory"),
    ] {
        assert!(fault_of(path).is_some_and(|fault| fault.starts_with(expected)));
        let error = file::append_to(path).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
        let fixture = Fixture::new(&config(Some(path.clone()), false), "");
        fixture.write(Level::Info, "one");
        assert_eq!(fixture.console_texts(), ["one"]);
    }
    assert_eq!(fault_of(&directory.join("none")), None);
    assert_eq!(fault_of(Path::new("/dev/null")), None);
}

#[test]
fn a_pipe_that_is_read_is_a_log_and_is_not_rotated() {
    let directory = Directory::new("pipe");
    let path = directory.join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // For both ways, so that opening it does not wait for the log.
    let mut reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("opened");
    let log = LogSettings {
        max_bytes: 1,
        ..config(Some(path), false)
    };
    let fixture = Fixture::new(&log, "");
    fixture.write(Level::Info, "one");
    fixture.write(Level::Info, "two");
    fixture.logger.flush();
    let mut read = [0; 1_000];
    let count = io::Read::read(&mut reader, &mut read).expect("lines");
    let text = String::from_utf8_lossy(&read[..count]).into_owned();
    let lines: Vec<_> = text.lines().map(without_date).collect();
    assert_eq!(lines, ["one", "two"]);
    assert!(!directory.join("pipe.1").exists());
}

#[test]
fn a_line_of_json_is_one_object_whatever_stands_in_it() {
    let log = LogSettings {
        format: LogFormat::Json,
        ..config(None, true)
    };
    let fixture = Fixture::new(&log, "");
    fixture.write(Level::Warn, "a \"quote\", a \\ and\na line, jürgen");
    fixture.logger.flush();
    let text = fixture.console.text();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("JSON");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(line["level"], "warn");
    assert_eq!(line["message"], "a \"quote\", a \\ and\\na line, jürgen");
    let time = line["time"].as_str().expect("a time");
    assert!(
        time.ends_with('Z') && time.len() == "2026-11-29T12:00:00.000Z".len(),
        "{time}"
    );
}

#[test]
fn the_journal_gets_priorities_instead_of_dates() {
    for (level, expected) in [
        (Level::Error, "<3>text\n"),
        (Level::Warn, "<4>text\n"),
        (Level::Info, "<6>text\n"),
        (Level::Debug, "<7>text\n"),
    ] {
        assert_eq!(Layout::Journal.line(level, &format_args!("text")), expected);
    }
}

#[test]
fn connections_are_told_at_debug_or_where_they_are_wanted() {
    for (connections, level, is_told) in [
        (true, LevelFilter::Info, true),
        (false, LevelFilter::Info, false),
        (false, LevelFilter::Debug, true),
        (true, LevelFilter::Warn, false),
    ] {
        let log = LogSettings {
            connections,
            level,
            ..config(None, true)
        };
        let fixture = Fixture::new(&log, "");
        fixture.write_to(CONNECTIONS, Level::Info, "New client");
        fixture.write(Level::Error, "end");
        fixture.logger.flush();
        assert_eq!(
            fixture.console.text().contains("New client"),
            is_told,
            "{level}"
        );
    }
}

#[test]
fn a_flood_of_refusals_is_counted_and_drowns_nothing_else() {
    let fixture = Fixture::new(&config(None, true), "");
    for number in 0..10_000 {
        fixture.write_to(REFUSALS, Level::Warn, &format!("refused {number}"));
    }
    fixture.write(Level::Warn, "another matter");
    fixture.logger.flush();
    let text = fixture.console.text();
    let count = text.lines().filter(|line| line.contains("refused")).count();
    assert!(
        count >= flood::LINES_PER_SECOND as usize && count < 5_000,
        "{count}"
    );
    assert!(text.contains("another matter"), "{text}");
}
