//! The server as a process: start, log lines, signals, end.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::http::Request;
use super::{Conn, PATIENCE, Wire, connect, tls, unique_number};

/// A running `websock` with a directory of its own for its ini file and logs. It is killed when the
/// test ends, which fails if the server has panicked.
pub(crate) struct Server {
    run: Run,
    directory: Directory,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts with this ini text and waits until it listens. `{dir}` in the text becomes the
    /// server's own directory. Unless the text says otherwise, it listens on a free port of
    /// 127.0.0.1 and logs to the console.
    #[track_caller]
    pub(crate) fn start(ini: &str) -> Self {
        Self::start_by(Command::new(binary()), ini)
    }

    /// Starts with at most `count` open descriptors.
    #[track_caller]
    pub(crate) fn start_with_descriptors(count: u32, ini: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c");
        shell.arg(format!("ulimit -n {count} && exec \"$0\" \"$@\""));
        shell.arg(binary());
        Self::start_by(shell, ini)
    }

    #[track_caller]
    fn start_by(mut command: Command, ini: &str) -> Self {
        let directory = Directory::new();
        let file = directory.write_ini(ini);
        command.arg("-i").arg(&file).current_dir(&directory.path);
        // Before it starts: this writes the certificate again, which the server must not see half.
        let address_count = addresses_in(&directory.ini(ini));
        let run = Run::start(command);
        let addresses = run.wait_for_addresses(address_count);
        if backplane().is_some() && !ini.contains("console=false") {
            run.wait_for_log("backplane: connected");
        }
        Self {
            run,
            directory,
            addresses,
        }
    }

    /// Ends it by this signal, and starts another one in its directory.
    #[track_caller]
    pub(crate) fn start_again(self, signal: Signal) -> Self {
        self.signal(signal);
        self.wait_exit();
        self.start_with_what_is_left()
    }

    /// Starts another one in the directory of this one, which has ended.
    #[track_caller]
    pub(crate) fn start_with_what_is_left(self) -> Self {
        let Self {
            run,
            directory,
            addresses,
        } = self;
        drop(run);
        let mut command = Command::new(binary());
        command.arg("-i").arg(directory.path.join("websock.ini"));
        command.current_dir(&directory.path);
        let run = Run::start(command);
        let addresses = run.wait_for_addresses(addresses.len());
        Self {
            run,
            directory,
            addresses,
        }
    }

    /// Gives it another ini text and has it read: waits until it says `told`, once more than before.
    #[track_caller]
    pub(crate) fn reload(&self, ini: &str, told: &str) {
        let count = |state: &State| state.stdout.iter().filter(|l| l.contains(told)).count();
        let before = count(&self.run.printed.lock());
        self.directory.write_ini(ini);
        self.signal(Signal::HUP);
        self.run
            .wait(told, |state| (count(state) > before).then_some(()));
    }

    /// Where it listens; the first place if there are several.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its own directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Opens a connection and reads `ready`.
    #[track_caller]
    pub(crate) fn open(&self, request: &Request) -> Conn {
        connect(self).open(request)
    }

    /// A web client on `/web`.
    #[track_caller]
    pub(crate) fn web(&self) -> Conn {
        self.open(&Request::to("/web"))
    }

    /// A web client with an ident.
    #[track_caller]
    pub(crate) fn web_named(&self, ident: &str) -> Conn {
        self.open(&Request::to("/web").with("Ident", ident))
    }

    /// A php client on `/php`.
    #[track_caller]
    pub(crate) fn php(&self) -> Conn {
        self.open(&Request::php("/php"))
    }

    /// A php client with an ident.
    #[track_caller]
    pub(crate) fn php_named(&self, ident: &str) -> Conn {
        self.open(&Request::php("/php").with("Ident", ident))
    }
}

impl std::ops::Deref for Server {
    type Target = Run;
    fn deref(&self) -> &Run {
        &self.run
    }
}

/// A started process and what it has printed.
pub(crate) struct Run {
    child: Mutex<Child>,
    printed: Arc<Printed>,
}

#[derive(Default)]
struct Printed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// Of the two streams.
    ended_count: u32,
}

impl Run {
    /// Starts it with both outputs read and nothing to read itself.
    #[track_caller]
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with_stdin(command, Stdio::null())
    }

    /// The same with something to read.
    #[track_caller]
    pub(crate) fn start_with_stdin(mut command: Command, stdin: impl Into<Stdio>) -> Self {
        command.stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("RUST_LOG");
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let printed = Arc::new(Printed::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        Printed::gather(&printed, stdout, |state| &mut state.stdout);
        Printed::gather(&printed, stderr, |state| &mut state.stderr);
        Self {
            child: Mutex::new(child),
            printed,
        }
    }

    /// Waits for `count` lines that say `Listening on ws://ADDRESS` or `wss://`.
    #[track_caller]
    pub(crate) fn wait_for_addresses(&self, count: usize) -> Vec<SocketAddr> {
        self.wait("the server listens", |state| {
            let found = addresses_printed(&state.stdout);
            (found.len() >= count).then_some(found)
        })
    }

    /// The first line of the log, from the start on, that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_line(text, |line| line.contains(text))
    }

    /// The first line of the log for which `wanted` holds.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait(what, |state| {
            state.stdout.iter().find(|line| wanted(line)).cloned()
        })
    }

    /// The first `count` lines of the log that contain `text`.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, text: &str, count: usize) -> Vec<String> {
        self.wait(&format!("{count} times {text}"), |state| {
            let lines = state.stdout.iter().filter(|line| line.contains(text));
            let lines: Vec<String> = lines.take(count).cloned().collect();
            (lines.len() == count).then_some(lines)
        })
    }

    /// The first line on stderr that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        self.wait(text, |state| {
            state
                .stderr
                .iter()
                .find(|line| line.contains(text))
                .cloned()
        })
    }

    /// All lines on stdout so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.printed.lock().stdout.clone()
    }

    /// All that stderr has got so far.
    pub(crate) fn stderr(&self) -> String {
        self.printed.lock().stderr.join("\n")
    }

    /// CPU time of the process so far, in ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc_file("stat")).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let times = fields.split_whitespace().skip(11).take(2);
        times
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Tells how many milliseconds the thread of its loop was ready and waited for a processor so far,
    /// by the kernel's schedstat; 0 where there is none.
    pub(crate) fn loop_waits(&self) -> impl Fn() -> u64 + use<> {
        let file = self.proc_file("schedstat");
        move || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let nanoseconds = text.split_whitespace().nth(1);
            let nanoseconds = nanoseconds.and_then(|number| number.parse::<u64>().ok());
            nanoseconds.unwrap_or(0) / 1_000_000
        }
    }

    /// Descriptors that the process has open.
    pub(crate) fn descriptor_count(&self) -> usize {
        let descriptors = fs::read_dir(self.proc_file("fd")).expect("it runs");
        descriptors.count()
    }

    /// Memory of the process that is resident and its own, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let rollup = fs::read_to_string(self.proc_file("smaps_rollup")).expect("it runs");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        kib.expect("a number of KiB") << 10
    }

    /// Most memory that was resident at a time, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> usize {
        let status = fs::read_to_string(self.proc_file("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        kib.expect("a number of KiB") << 10
    }

    fn proc_file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid()).into()
    }

    pub(crate) fn pid(&self) -> u32 {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.id()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).expect("the server is there");
        if signal == Signal::STOP {
            // It runs on for a moment, and might see the first of what the test sends next.
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(pid), stopped).expect("the server is there");
        }
        if [Signal::STOP, Signal::CONT].contains(&signal) {
            tls::server_is_stopped(signal == Signal::STOP);
        }
    }

    /// Waits until the process has ended; all it has printed is then there.
    #[track_caller]
    pub(crate) fn wait_exit(&self) -> ExitStatus {
        self.wait("the process ends", |state| {
            (state.ended_count == 2).then_some(())
        });
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.wait().expect("a child can be waited for")
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.printed.lock();
        loop {
            if let Some(result) = found(&state) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended_count == 2 {
                let all = state.summary();
                drop(state);
                panic!("not within {PATIENCE:?}: {what}{all}");
            }
            let waited = self.printed.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        let state = self.printed.lock();
        let summary = state.summary();
        let panicked = state.stderr.iter().any(|line| line.contains("panicked at"));
        drop(state);
        if thread::panicking() {
            eprintln!("{summary}");
        } else {
            assert!(!panicked, "the server has panicked{summary}");
        }
    }
}

impl Printed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `stream` to its end, line by line, on a thread of its own.
    fn gather(
        printed: &Arc<Self>,
        stream: impl Read + Send + 'static,
        lines_of: fn(&mut State) -> &mut Vec<String>,
    ) {
        let printed = Arc::clone(printed);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
                lines_of(&mut printed.lock()).push(text.into_owned());
                printed.changed.notify_all();
                line.clear();
            }
            printed.lock().ended_count += 1;
            printed.changed.notify_all();
        });
    }
}

impl State {
    fn summary(&self) -> String {
        let mut text = String::new();
        for (name, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let _ = write!(text, "\n--- {name} of the server");
            for line in lines.iter().skip(lines.len().saturating_sub(40)) {
                let _ = write!(text, "\n{line}");
            }
        }
        text
    }
}

/// What the log says in front of an address that the suite's clients can dial.
pub(crate) fn listening() -> &'static [&'static str] {
    match crate::WIRE {
        Wire::Plain => &["Listening on ws://", "Listening on wss://"],
        Wire::Tls => &["Listening on wss://"],
    }
}

fn addresses_printed(lines: &[String]) -> Vec<SocketAddr> {
    let of_line = |line: &String| {
        let rest = |words: &&str| line.split_once(words).map(|(_, rest)| rest);
        let rest = listening().iter().find_map(rest)?;
        let end = rest.find([' ', ',', '/']).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    lines.iter().filter_map(of_line).collect()
}

/// How many addresses the ini text names.
fn addresses_in(ini: &str) -> usize {
    let value = ini
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("adress="));
    let is_dialled = |part: &&str| match crate::WIRE {
        Wire::Plain => !part.contains("unix:"),
        Wire::Tls => part.contains("wss:") || part.contains("ssl:"),
    };
    value.map_or(1, |value| value.split(',').filter(is_dialled).count())
}

/// An address as it is written if TLS is to be spoken there.
fn with_tls(address: &str) -> String {
    for (plain, tls) in [("ws://", "wss://"), ("tcp://", "ssl://")] {
        if let Some(place) = address.strip_prefix(plain) {
            return format!("{tls}{place}");
        }
    }
    let is_bare = !address.contains("://") && !address.starts_with("unix:");
    format!("{}{address}", if is_bare { "wss://" } else { "" })
}

/// A directory that goes when the test ends.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// Where a certificate is, beside it.
    identity: PathBuf,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let name = format!("websock-{}-{}", std::process::id(), unique_number());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory for the test");
        let identity = path.with_extension("tls");
        Self { path, identity }
    }

    /// Writes `websock.ini` with the defaults of a test in front.
    pub(crate) fn write_ini(&self, ini: &str) -> PathBuf {
        let file = self.path.join("websock.ini");
        fs::write(&file, self.ini(ini)).expect("websock.ini can be written");
        file
    }

    fn ini(&self, ini: &str) -> String {
        let ini = ini.replace("{dir}", &self.path.display().to_string());
        let mut ini = format!("adress=ws://127.0.0.1:0\nconsole=true\n{ini}\n");
        if let Some(url) = backplane() {
            // Each server alone with its Redis: tests know of no other. Eight of them share two cores,
            // and none is about who answers late.
            let prefix = self.path.file_name().unwrap_or_default().display();
            ini += &format!("backplane={url}\nbackplanePrefix={prefix}:\nbackplaneTimeout=5s\n");
        }
        match crate::WIRE {
            Wire::Plain => ini,
            Wire::Tls => self.with_tls(&ini),
        }
    }

    /// The same with `wss` in place of `ws`, and a certificate.
    fn with_tls(&self, ini: &str) -> String {
        fs::create_dir_all(&self.identity).expect("a directory for the certificate");
        let lines = ini.lines().map(|line| match line.strip_prefix("adress=") {
            Some(list) => {
                let list: Vec<String> = list.split(',').map(|part| with_tls(part.trim())).collect();
                format!("adress={}\n", list.join(","))
            }
            None => format!("{line}\n"),
        });
        let mut text: String = lines.collect();
        if !ini.contains("certFile=") {
            text += &tls::write_identity(&self.identity);
        }
        text
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_dir_all(&self.identity);
    }
}

/// WEBSOCK_BACKPLANE=URL: each server has this Redis for its backplane, and all is as without one.
fn backplane() -> Option<String> {
    std::env::var("WEBSOCK_BACKPLANE").ok()
}

/// The server under test: this package's own, unless WEBSOCK_BIN names another build of it.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("WEBSOCK_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_websock").into(), PathBuf::from)
}
