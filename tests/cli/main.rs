//! Start-up of the real executable: options, ini files, exit codes, messages, the log.
//!
//! What a start needs is asked of `--check`, which ends by itself; what only a start that fails or
//! the log can show, of the plain command.

mod check;
mod files;
mod hints;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test: this package's own, unless WEBSOCK_BIN names another build of it.
fn binary() -> PathBuf {
    std::env::var_os("WEBSOCK_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_websock").into(), PathBuf::from)
}

/// A working directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("websock-cli-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn with_ini(text: impl AsRef<[u8]>) -> Self {
        let directory = Self::new();
        fs::write(directory.join("websock.ini"), text).expect("written");
        directory
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs `websock` in this directory, with LOG_FILE and RUST_LOG unset.
    fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = self
            .command(arguments)
            .envs(variables.iter().copied())
            .output()
            .expect("the executable runs");
        Outcome::of(&output)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(&self.0)
            .env_remove("LOG_FILE")
            .env_remove("RUST_LOG");
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Outcome {
    exit_code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self {
            exit_code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    #[track_caller]
    fn expect_exit(&self, code: i32) -> &Self {
        assert_eq!(self.exit_code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    #[track_caller]
    fn expect_stdout(&self, part: &str) -> &Self {
        assert!(self.stdout.contains(part), "no {part:?} in {self:#?}");
        self
    }

    #[track_caller]
    fn expect_stderr(&self, part: &str) -> &Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// Nothing but that this machine may not open as many files as the defaults want.
    #[track_caller]
    fn expect_no_finding(&self) -> &Self {
        let mut lines = self.stderr.lines();
        let is_limit = |line: &str| line.starts_with("warning: open files are limited to ");
        assert!(lines.all(is_limit), "{self:#?}");
        self
    }

    #[track_caller]
    fn expect_silent_stderr(&self) -> &Self {
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }
}

const SEED_2021: &str = "

adress='ws://localhost:8096'
logfile=D:/temp/websock.log
console=false
certFile=''
pkFile=''

";

const LAYOUT_2026: &str = "#
# Configuration for WebSocket Server only
[websocketserver]
adress = 'ws://localhost:8095'
logfile = ${LOG_FILE}
console = true
certFile =
pkFile =
[jsauth]
require=REQUIRED
ssp=${SAVE_SESSION_PATH}
key = allowconnect
[develop]
developsystem = true ; Set to false in production
";

#[test]
fn help_and_version_exit_0() {
    let directory = Directory::new();
    for option in ["-h", "--help", "-help"] {
        let outcome = directory.run(&[option]);
        outcome
            .expect_exit(0)
            .expect_stdout("usage: websock")
            .expect_silent_stderr();
    }
    for option in ["-V", "--version"] {
        let outcome = directory.run(&[option]);
        outcome
            .expect_exit(0)
            .expect_stdout(concat!("websock ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_exits_2() {
    let directory = Directory::new();
    let table: [(&[&str], &str); 5] = [
        (&["-bogus"], "Unrecognized option: 'bogus'"),
        (&["--bogus=1"], "Unrecognized option: 'bogus'"),
        (&["-adress"], "Argument to option 'adress' missing"),
        (&["serve"], "Unexpected argument: 'serve'"),
        (&["--check", "extra"], "Unexpected argument: 'extra'"),
    ];
    for (arguments, message) in table {
        let outcome = directory.run(arguments);
        outcome
            .expect_exit(2)
            .expect_stderr(message)
            .expect_stderr("--help");
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn the_shipped_ini_is_found_in_the_working_directory_and_fine() {
    let directory = Directory::with_ini(include_str!("../../websock.ini"));
    let outcome = directory.run(&["--check", "-adress", "localhost:0"]);
    outcome.expect_exit(0).expect_no_finding();
    assert_eq!(outcome.stdout, "fine\n");
    let outcome = directory.run(&["--check", "--verbose"]);
    let file = directory.join("websock.ini");
    outcome.expect_stdout(&format!("maxMessageSize=16M ; {}, line ", file.display()));
    outcome.expect_stdout("; ws://localhost:8096 listens on 127.0.0.1:8096\n");
    outcome.expect_stdout("; ws://localhost:8096 listens on [::1]:8096\n");
}

#[test]
fn an_ini_named_by_i_comes_before_the_working_directory() {
    let directory = Directory::with_ini("maxClients=1");
    let path = directory.join("other.ini");
    fs::write(&path, "maxClients=2\nadress=localhost:0").expect("written");
    for arguments in [
        ["-i", "other.ini", "--check", "-v"],
        ["--check", "--i", "other.ini", "-v"],
    ] {
        let outcome = directory.run(&arguments);
        outcome
            .expect_exit(0)
            .expect_stdout(&format!("maxClients=2 ; {}, line 1\n", path.display()));
    }
}

#[test]
fn an_ini_beside_the_executable_is_found() {
    let (beside, working) = (
        Directory::with_ini("maxClients=3\nadress=localhost:0"),
        Directory::new(),
    );
    let executable = beside.join("websock");
    // Linked, as a fresh copy is "busy" if another test forks while it is written.
    fs::hard_link(binary(), &executable).expect("linked");
    let output = Command::new(executable)
        .args(["--check", "-v"])
        .current_dir(&working.0)
        .output();
    let outcome = Outcome::of(&output.expect("the executable runs"));
    outcome
        .expect_exit(0)
        .expect_stdout("maxClients=3 ; ")
        .expect_no_finding();
}

#[test]
fn without_an_ini_the_defaults_hold_with_a_warning() {
    let installed = Path::new("/etc/websock/websock.ini");
    assert!(
        !installed.exists(),
        "this test wants a machine without {}",
        installed.display()
    );
    let directory = Directory::new();
    let outcome = directory.run(&["--check", "-v"]);
    outcome.expect_stdout("adress=ws://localhost:8096 ; default");
    outcome.expect_stderr(&format!(
        "warning: no ini file, the defaults hold; looked for {}, ",
        directory.join("websock.ini").display()
    ));
    outcome.expect_stderr("/etc/websock/websock.ini");
}

#[test]
fn an_ini_named_by_i_that_cannot_be_read_exits_1() {
    let directory = Directory::with_ini("");
    for name in ["missing.ini", "."] {
        let outcome = directory.run(&["-i", name]);
        outcome.expect_exit(1);
        outcome.expect_stderr(&format!(
            "error: command line: -i={name}: cannot be read: {}",
            directory.0.display()
        ));
    }
}

#[test]
fn an_ini_that_is_there_but_cannot_be_read_is_no_missing_one() {
    let directory = Directory::new();
    fs::create_dir(directory.join("websock.ini")).expect("a directory");
    let path = directory.join("websock.ini");
    directory
        .run(&[])
        .expect_exit(1)
        .expect_stderr(&format!("error: {}: cannot be read: ", path.display()));
}

#[test]
fn a_wrong_ini_exits_1_and_names_every_mistake() {
    let directory = Directory::with_ini("maxClients=abc\n\nmaxClientz=5\nhello\n");
    let file = directory.join("websock.ini");
    let expected = "\
error: FILE, line 1: maxClients=abc: a whole number from 1 to 10000000 is wanted
error: FILE, line 3: maxClientz=5: unknown key; is maxClients meant?
error: FILE, line 4: hello: a line is [section], key=value or a comment behind ; or #
"
    .replace("FILE", &file.display().to_string());
    for (arguments, stdout) in [(&[][..], ""), (&["--check"], "3 problems\n")] {
        let outcome = directory.run(arguments);
        assert_eq!(outcome.expect_exit(1).stderr, expected);
        assert_eq!(outcome.stdout, stdout);
    }
}

#[test]
fn a_wrong_value_on_the_command_line_exits_1() {
    let outcome = Directory::with_ini("").run(&["-console", "maybe", "-adress", "wss://a:1"]);
    outcome.expect_exit(1);
    outcome.expect_stderr("error: command line: -console=maybe: true, on, yes, 1 or false");
    let outcome = Directory::with_ini("").run(&["-adress", "wss://a:1"]);
    outcome.expect_exit(1);
    outcome.expect_stderr("certFile is not set: a PEM file is wanted, as adress has wss");
}

#[test]
fn the_command_line_goes_over_the_ini() {
    let directory = Directory::with_ini("adress=a:1\nlogfile=/a\nconsole=true\n");
    let outcome = directory.run(&[
        "-address",
        "127.0.0.1:0",
        "-logfile=x.log",
        "-console=false",
        "-check",
        "-v",
    ]);
    outcome.expect_exit(0);
    outcome.expect_stdout("adress=127.0.0.1:0 ; command line\n");
    outcome.expect_stdout("; 127.0.0.1:0 listens on 127.0.0.1:0\n");
    outcome.expect_stdout("logfile=x.log ; command line\n");
    outcome.expect_stdout("console=false ; command line\n");
}

#[test]
fn console_does_not_swallow_an_option() {
    let directory = Directory::with_ini("console=false\nadress=localhost:0");
    let outcome = directory.run(&["-console", "--check", "-v"]);
    outcome
        .expect_exit(0)
        .expect_stdout("console=true ; command line\n");
}

#[test]
fn an_unknown_host_exits_1() {
    let directory = Directory::with_ini("\nadress=no-such-host.invalid:8096");
    let outcome = directory.run(&["--check"]);
    outcome.expect_exit(1);
    outcome.expect_stderr("websock.ini, line 2: adress=no-such-host.invalid:8096: host ");
    assert_eq!(outcome.stdout, "1 problem\n");
}

#[test]
fn the_2021_ini_of_php_is_in_force_as_it_is() {
    let directory = Directory::with_ini(SEED_2021.replace('\n', "\r\n"));
    let outcome = directory.run(&["--check", "-v"]);
    let file = directory.join("websock.ini");
    for expected in [
        "adress=ws://localhost:8096 ; FILE, line 3\n",
        "logfile=D:/temp/websock.log ; FILE, line 4\n",
        "console=false ; FILE, line 5\n",
    ] {
        outcome.expect_stdout(&expected.replace("FILE", &file.display().to_string()));
    }
    let place = directory.join("D:/temp");
    let expected = format!(
        "warning: no directory {}: the log goes to ",
        place.display()
    );
    directory
        .run(&["--check", "-adress", "localhost:0"])
        .expect_exit(0)
        .expect_stderr(&expected);
}

#[test]
fn the_2026_ini_of_php_is_in_force_as_it_is() {
    let directory = Directory::with_ini(LAYOUT_2026.replace("REQUIRED", "false"));
    let check = &["--check", "-v", "-adress", "localhost:0"];
    let outcome = directory.run_with(check, &[("LOG_FILE", "D:\\Temp\\websock.log")]);
    outcome.expect_exit(0);
    let file = directory.join("websock.ini").display().to_string();
    let named = |text: &str| text.replace("FILE", &file);
    outcome.expect_stdout(&named("logfile=D:\\Temp\\websock.log ; FILE, line 5\n"));
    outcome.expect_stdout(&named("key=allowconnect ; FILE, line 12\n"));
    let outcome = directory.run(check);
    outcome
        .expect_exit(0)
        .expect_stdout(&named("logfile= ; FILE, line 5\n"));
    outcome.expect_stderr("the environment has no LOG_FILE, it is taken as empty");
}

#[test]
fn demanded_sign_in_is_never_silently_open() {
    for value in ["true", "'false'", "\"off\""] {
        let layout = LAYOUT_2026.replace("REQUIRED", value);
        let directory = Directory::with_ini(&layout);
        // SAVE_SESSION_PATH is not set: by what visitors sign in is not known.
        let outcome = directory.run(&["-adress", "192.0.2.1:9"]);
        outcome.expect_exit(1);
        outcome.expect_stderr("websock.ini, line 10: require=true: it has to be known");
        let check = &["--check", "-v", "-adress", "localhost:0"];
        let outcome = directory.run_with(check, &[("SAVE_SESSION_PATH", "/tmp")]);
        outcome.expect_exit(0).expect_stdout("require=true ; ");
    }
}

#[test]
fn an_old_comment_in_latin_1_stops_nobody() {
    let directory = Directory::with_ini(b"; f\xfcr den Server\nmaxClients=4\n");
    directory
        .run(&["--check", "-v", "-adress", "localhost:0"])
        .expect_exit(0)
        .expect_stdout("maxClients=4 ; ");
    let directory = Directory::with_ini(b"logfile=f\xfcr.log\n");
    let outcome = directory.run(&["--check"]);
    outcome
        .expect_exit(1)
        .expect_stderr("the file is not UTF-8 here");
}

#[test]
fn an_ini_without_end_is_refused() {
    let outcome = Directory::new().run(&["-i", "/dev/zero"]);
    outcome.expect_exit(1).expect_stderr("larger than 1 MiB");
}

#[test]
fn a_log_directory_that_is_missing_is_a_warning_and_the_console_gets_the_lines() {
    // A port that nobody can listen on ends the start right behind the first lines.
    let directory = Directory::with_ini(SEED_2021);
    let outcome = directory.run(&["-adress", "192.0.2.1:9"]);
    let file = directory.join("D:/temp/websock.log");
    outcome.expect_stderr(&format!("warning: logfile {}: ", file.display()));
    outcome.expect_stdout("; Starting server...\n");
}

#[test]
fn the_log_goes_to_the_file_under_its_plain_name() {
    let directory = Directory::with_ini("logfile=ws.log\nconsole=off\ncertFile=x\n");
    let outcome = directory.run(&["-adress", "192.0.2.1:9"]);
    assert_eq!(outcome.stdout, "");
    let log = fs::read_to_string(directory.join("ws.log")).expect("the log");
    assert!(log.contains("; Starting server...\n"), "{log}");
    assert!(
        log.contains("websock.ini, line 3: certFile=x: not used"),
        "{log}"
    );
}
