//! The server under test, in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use websock::app::{Client, Dialogue, Handle, Resource};
use websock::connection::Message;
use websock::net::{Endpoint, ServerSettings};

use crate::wire::{self, Security};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program, with the dialogue.
    Websock,
    /// The library with a resource that echoes, without the dialogue.
    Raw,
    /// Bytes back as they come: what the kernel costs.
    Tcp,
    /// The same for feedback: of each two connections, in the order in which they come, what the
    /// first one sends is answered with a `next` of nothing but length and passed on to the second.
    Relay,
}

impl Kind {
    /// As part of a row's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Websock => "dialogue",
            Self::Raw => "raw",
            Self::Tcp => "tcp",
            Self::Relay => "relay",
        }
    }
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    security: Security,
}

impl Server {
    /// Starts one of this kind on a free port.
    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::Websock => Self::start_program(Security::Plain, "loglevel=warn\n"),
            Kind::Raw | Kind::Tcp | Kind::Relay => {
                let mut command = pinned(std::env::current_exe().unwrap());
                command.arg("--serve").arg(kind.name());
                Self::await_address(command)
            }
        }
    }

    /// Starts the program with these lines added to its ini file, on a free port.
    pub(crate) fn start_program(security: Security, ini_lines: &str) -> Self {
        let port = free_port();
        let path = std::env::temp_dir().join(format!("websock-bench-{}.ini", std::process::id()));
        let (scheme, identity) = match security {
            Security::Plain => ("ws", String::new()),
            Security::Tls | Security::TlsResumed => ("wss", wire::ini_lines()),
        };
        let ini =
            format!("adress={scheme}://127.0.0.1:{port}\nconsole=true\n{identity}{ini_lines}");
        fs::write(&path, ini).unwrap();
        let mut command = pinned(env!("CARGO_BIN_EXE_websock").into());
        command.arg("-i").arg(&path);
        let process = command
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        fs::remove_file(path).unwrap();
        Self {
            process,
            address,
            security,
        }
    }

    /// Starts another server on a free port: `program PORT [CERT KEY]`.
    pub(crate) fn start_peer(program: &Path, security: Security, is_compressed: bool) -> Self {
        let port = free_port();
        let mut command = pinned(program.to_owned());
        command.arg(port.to_string());
        if security != Security::Plain {
            command.args(wire::identity_files());
        }
        if is_compressed {
            command.env("COMPRESSION", "on");
        }
        let process = command.stdout(Stdio::null()).spawn();
        let process = process.expect("the peer starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self {
            process,
            address,
            security,
        }
    }

    /// Starts a server that prints its address.
    fn await_address(mut command: Command) -> Self {
        let process = command.stdout(Stdio::piped()).spawn();
        let mut process = process.expect("the server starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().parse().expect("it says where it listens");
        Self {
            process,
            address,
            security: Security::Plain,
        }
    }

    /// Of the process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is spoken to.
    pub(crate) fn security(&self) -> Security {
        self.security
    }

    /// Memory of the process, shared pages divided among those who share them.
    pub(crate) fn pss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.process.id());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    /// The most memory that has been resident at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Has it end by itself, and waits for that.
    pub(crate) fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }

    /// User and system time so far, in ticks of 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu_time_of(self.process.id())
    }
}

/// User and system time of a process so far, in ticks of 10 ms.
pub(crate) fn cpu_time_of(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = text.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks = fields.skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that runs on the first core, where `taskset` is there.
pub(crate) fn pinned(program: PathBuf) -> Command {
    let version = Command::new("taskset")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    if version.is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// Serves as any kind but the program until it is killed.
pub(crate) fn serve(kind: &str) {
    match kind {
        kind if kind == Kind::Raw.name() => serve_raw(),
        kind if kind == Kind::Relay.name() => serve_tcp(relay_bytes),
        _ => serve_tcp(echo_bytes),
    }
}

/// Sends every message back.
struct Echo;

impl Resource for Echo {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _: Client, _: &Message<'_>, handle: &mut Handle<'_>) {
        handle.echo();
    }
}

fn serve_raw() {
    let endpoint = Endpoint::tcp("127.0.0.1", 0, websock::net::Security::Plain);
    let mut server = websock::net::Server::bind(ServerSettings::default(), &[endpoint]).unwrap();
    server.add_resource(None, Box::new(Echo));
    println!("{}", server.addresses()[0]);
    server.run().unwrap();
}

/// A connection, and what its socket has not taken.
type Stream = (mio::net::TcpStream, Vec<u8>);

/// One thread, one buffer, as the server has them, and nothing else but what `handle` does when the
/// stream of this number has something.
fn serve_tcp(handle: fn(&mut [Stream], usize, &mut [u8])) {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    println!("{}", listener.local_addr().unwrap());
    poll.registry()
        .register(&mut listener, Token(usize::MAX), Interest::READABLE)
        .unwrap();
    let mut events = Events::with_capacity(1024);
    // As the server's, of its size and in the middle of a page: see net/read_buffer.rs.
    let mut room = vec![0; (128 << 10) + 4096];
    let start = (2080 + 4096 - room.as_ptr().addr() % 4096) % 4096;
    let buffer = &mut room[start..start + (128 << 10)];
    let mut streams: Vec<Stream> = Vec::new();
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token().0 == usize::MAX {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    let token = Token(streams.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, token, interest)
                        .unwrap();
                    streams.push((stream, Vec::new()));
                }
            } else {
                handle(&mut streams, event.token().0, buffer);
            }
        }
    }
}

fn echo_bytes(streams: &mut [Stream], number: usize, buffer: &mut [u8]) {
    let (stream, unsent) = &mut streams[number];
    if !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(len) => drop(unsent.drain(..len)),
            Err(_) => return,
        }
    }
    while unsent.is_empty() {
        let Ok(len @ 1..) = stream.read(buffer) else {
            return;
        };
        let sent = stream.write(&buffer[..len]).unwrap_or(0);
        unsent.extend_from_slice(&buffer[sent..len]);
        if len < buffer.len() {
            return;
        }
    }
}

fn relay_bytes(streams: &mut [Stream], number: usize, buffer: &mut [u8]) {
    let Ok(len @ 1..) = streams[number].0.read(buffer) else {
        return;
    };
    // So little at a time is always taken.
    let _ = streams[number].0.write(&buffer[..wire::NEXT_LEN]);
    let _ = streams[number ^ 1].0.write(&buffer[..len - MASK_LEN]);
}

/// What a client's frame has that a server's has not, in bytes.
const MASK_LEN: usize = 4;
