//! SIGTERM: who has opted in is told when to come back, newcomers are sent away, and the service
//! manager hears of it (protocol.md 12).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::harness::server::{Directory, Run, binary};
use crate::harness::{Conn, PATIENCE, Request, Server, Wire, connect, connect_to, unique_number};

/// `after` of the packet that comes next, with close 1012 behind it.
#[track_caller]
fn expect_restart(conn: &mut Conn) -> u64 {
    let packet = conn.read_text("a restart");
    let after = packet.strip_prefix(r#"{"opcode":"restart","after":"#);
    let after = after.and_then(|rest| rest.strip_suffix('}'));
    let after = after.unwrap_or_else(|| panic!("no restart: {packet}"));
    assert_eq!(conn.expect_close_and_end(1012), "the server restarts");
    after.parse().expect("a whole number")
}

// protocol.md 12.1
// protocol.md 5.5
#[test]
fn who_has_opted_in_is_told_when_to_come_back_and_everybody_else_gets_1001() {
    let server = Server::start("drainSpread=300ms");
    let mut told: Vec<Conn> = [
        "/web?user=1",
        "/?resume=1",
        "/web?a=1&resume=1",
        "/?user=1&x",
    ]
    .iter()
    .map(|path| {
        let mut conn = connect(&server);
        conn.upgrade(&Request::to(path));
        assert!(conn.read_text("ready").starts_with(r#"{"opcode":"ready","#));
        conn
    })
    .collect();
    let mut script = server.open(&Request::php("/php?user=1"));
    let mut others = [
        server.web(),
        server.php(),
        server.open(&Request::to("/web?user=10")),
        server.open(&Request::to("/web?User=1")),
    ];
    server.signal(Signal::TERM);
    for other in &mut others {
        other.expect_close_and_end(1001);
    }
    for conn in &mut told {
        assert!(expect_restart(conn) <= 300);
    }
    assert!(expect_restart(&mut script) <= 300);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 12.2
#[test]
fn late_handshakes_get_503_while_pushes_still_arrive() {
    let server = Server::start("drainSpread=1h");
    // The first one is told at once, the second one in half an hour.
    let mut first = server.open(&Request::to("/web?user=1"));
    let mut second = server.open(&Request::to("/web?user=1"));
    server.signal(Signal::TERM);
    assert!(expect_restart(&mut first) <= 3_600_000);
    for request in [
        Request::to("/web"),
        Request::to("/web?user=1"),
        Request::php("/php"),
    ] {
        let response = connect(&server).request(&request);
        assert_eq!(response.status(), 503);
        let wait: u64 = response
            .header("Retry-After")
            .and_then(|seconds| seconds.parse().ok())
            .expect("seconds in Retry-After");
        assert!((1..=60).contains(&wait));
    }
    let packet = r#"{"opcode":"broadcast","message":"still here"}"#;
    let len = packet.len();
    let mut push = connect(&server);
    push.send_bytes(
        format!(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{packet}"
        )
        .as_bytes(),
    );
    assert_eq!(push.read_response().body, "{\"delivered\":1}\n");
    second.expect_text(packet);
    second.round_trip();
    // Nobody waits for half an hour who does not want to.
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 12.1
#[test]
fn five_thousand_come_back_to_the_next_server_spread_over_time() {
    // A TLS handshake takes as long as thirty without.
    let (count, spread_ms) = match crate::WIRE {
        Wire::Plain => (5_000, 2_000),
        Wire::Tls => (200, 500),
    };
    allow_files(count + 100);
    // So many may take longer to open than it is to a ping.
    let server = Server::start(&format!("drainSpread={spread_ms}ms\npingInterval=0"));
    let opted_in = Request::to("/web?user=1");
    let open = |address: SocketAddr| connect_to(address).open(&opted_in);
    let mut clients: Vec<Conn> = (0..count).map(|_| open(server.address())).collect();
    clients.iter_mut().step_by(50).for_each(Conn::round_trip);
    server.signal(Signal::TERM);
    // They are told in the order in which they have come.
    let mut afters: Vec<u64> = clients.iter_mut().map(expect_restart).collect();
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(afters.iter().all(|after| *after <= spread_ms));
    // Whenever each was told: of those who are told at one time, no more than chance allows come
    // back within any tenth of the spread, and all were told over the spread.
    let tenth = spread_ms / 10;
    for start in (0..spread_ms).step_by(tenth as usize) {
        let is_in = |after: &&u64| (start..start + tenth).contains(*after);
        let within = afters.iter().filter(is_in).count();
        let expected = count / 10;
        assert!(
            within < expected + 5 * expected.isqrt(),
            "{within} from {start} ms on"
        );
    }
    // The next one is there; they come in the order of their times.
    let next = Server::start(&format!("adress=ws://{}\npingInterval=0", server.address()));
    afters.sort_unstable();
    let mut back: Vec<Conn> = afters.iter().map(|_| open(next.address())).collect();
    back.iter_mut().for_each(Conn::round_trip);
}

/// Lets this process open so many files.
fn allow_files(count: usize) {
    let count = count as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum;
        assert!(
            maximum.is_none_or(|most| most >= count),
            "ulimit -Hn is below {count}"
        );
        let raised = Rlimit {
            current: Some(count),
            maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("the limit can be raised");
    }
}

// promise: load balancers learn of the end before clients do
#[test]
fn ready_says_no_first_and_everything_else_goes_on() {
    let server = Server::start("drainDelay=1h");
    let mut page = server.open(&Request::to("/web?user=1"));
    let status = |path: &str| {
        let mut conn = connect(&server);
        conn.send_bytes(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        conn.read_response().status()
    };
    assert_eq!((status("/ready"), status("/health")), (200, 200));
    server.signal(Signal::TERM);
    server.wait_for_log("drainDelay");
    assert_eq!((status("/ready"), status("/health")), (503, 200));
    server.web().round_trip();
    page.round_trip();
    server.signal(Signal::INT);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// promise: signals that operators send to other servers do not end this one
#[test]
fn usr1_says_how_the_server_is_and_quit_stops_it() {
    let server = Server::start("");
    let (mut page, _script) = (server.web(), server.php());
    server.signal(Signal::USR1);
    let line = server.wait_for_log("Status: ");
    assert!(line.contains("1 tabs, 1 scripts, "), "{line}");
    page.round_trip();
    server.signal(Signal::QUIT);
    page.expect_close_and_end(1001);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// ---- the service manager

/// A stand-in for systemd's socket.
struct Manager {
    socket: UnixDatagram,
    name: String,
    path: Option<PathBuf>,
}

impl Manager {
    fn at_path() -> Self {
        let path = std::env::temp_dir().join(unique("notify"));
        Self {
            socket: UnixDatagram::bind(&path).expect("a socket"),
            name: path.display().to_string(),
            path: Some(path),
        }
    }

    fn abstract_one() -> Self {
        let name = unique("notify");
        let address = UnixAddress::from_abstract_name(&name).expect("a name");
        Self {
            socket: UnixDatagram::bind_addr(&address).expect("a socket"),
            name: format!("@{name}"),
            path: None,
        }
    }

    /// Starts a server that reports here.
    #[track_caller]
    fn start(&self, ini: &str, variables: &[(&str, &str)]) -> (Run, SocketAddr, Directory) {
        let directory = Directory::new();
        let mut command = Command::new(binary());
        command.arg("-i").arg(directory.write_ini(ini));
        command.env("NOTIFY_SOCKET", &self.name);
        command.envs(variables.iter().copied());
        let run = Run::start(command);
        let address = run.wait_for_addresses(1)[0];
        (run, address, directory)
    }

    /// The next datagram; `None` if there is none within this time.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).expect("a time");
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The first datagram that has this line.
    #[track_caller]
    fn wait_for(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let text = self.next(PATIENCE).unwrap_or_default();
            if text.lines().any(|l| l.starts_with(line)) {
                return text;
            }
        }
        panic!("the manager does not hear {line}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn unique(what: &str) -> String {
    format!("websock-{what}-{}-{}", std::process::id(), unique_number())
}

// promise: the service manager hears when the server is ready, reloads and stops
#[test]
fn the_manager_hears_of_the_start_a_reload_and_the_end() {
    for manager in [Manager::at_path(), Manager::abstract_one()] {
        let (run, address, directory) = manager.start("drainSpread=1h", &[]);
        let ready = manager.wait_for("READY=1");
        assert!(ready.contains("\nSTATUS=0 tabs, 0 scripts, "), "{ready}");
        let mut page = connect_to(address).open(&Request::to("/web?user=1"));

        directory.write_ini("drainSpread=30m\npingInterval=bad");
        run.signal(Signal::HUP);
        let reloading = manager.wait_for("RELOADING=1");
        let microseconds = reloading
            .lines()
            .find_map(|l| l.strip_prefix("MONOTONIC_USEC="));
        let microseconds = microseconds.and_then(|number| number.parse::<u64>().ok());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        assert!(
            microseconds.is_some_and(|m| m / 1_000_000 <= now.tv_sec as u64),
            "{reloading}"
        );
        let ready = manager.wait_for("READY=1");
        assert!(ready.contains("the ini file is wrong"), "{ready}");

        directory.write_ini("drainSpread=30m");
        run.signal(Signal::HUP);
        manager.wait_for("RELOADING=1");
        let ready = manager.wait_for("READY=1");
        assert!(!ready.contains("is wrong"), "{ready}");

        run.signal(Signal::TERM);
        let stopping = manager.wait_for("STOPPING=1");
        let wanted = stopping
            .lines()
            .find_map(|l| l.strip_prefix("EXTEND_TIMEOUT_USEC="));
        let wanted: u64 = wanted.and_then(|n| n.parse().ok()).expect("a time");
        assert!(wanted >= 1_800_000_000, "{stopping}");
        expect_restart(&mut page);
        assert_eq!(run.wait_exit().code(), Some(0));
    }
}

// promise: a hung server is noticed by the service manager
#[test]
fn a_frozen_server_gives_no_sign_of_life_and_a_living_one_does() {
    let manager = Manager::at_path();
    let (run, address, _directory) = manager.start("", &[("WATCHDOG_USEC", "200000")]);
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    run.signal(Signal::STOP);
    // What was sent before.
    while manager.next(Duration::from_millis(1)).is_some() {}
    assert_eq!(manager.next(Duration::from_millis(600)), None);
    run.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");
    connect_to(address).open(&Request::to("/web")).round_trip();
}

// promise: a hung server is noticed by the service manager
#[test]
fn who_is_not_watched_and_whose_manager_is_gone_serves_all_the_same() {
    // For another process, and switched off.
    for variables in [
        &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")][..],
        &[("WATCHDOG_USEC", "0")],
    ] {
        let manager = Manager::at_path();
        let (_run, _, _directory) = manager.start("", variables);
        manager.wait_for("READY=1");
        assert_eq!(manager.next(Duration::from_millis(200)), None);
    }
    let manager = Manager::at_path();
    let (run, address, _directory) = manager.start("", &[("WATCHDOG_USEC", "20000")]);
    manager.wait_for("WATCHDOG=1");
    drop(manager);
    for _ in 0..20 {
        connect_to(address).open(&Request::to("/web")).round_trip();
    }
    run.signal(Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(0));
    for name in ["vsock:2:1", "nowhere/socket", "/nobody/is/there"] {
        let directory = Directory::new();
        let mut command = Command::new(binary());
        command.arg("-i").arg(directory.write_ini(""));
        command.env("NOTIFY_SOCKET", name);
        let run = Run::start(command);
        let address = run.wait_for_addresses(1)[0];
        connect_to(address).open(&Request::to("/web")).round_trip();
        if !name.starts_with('/') {
            run.wait_for_log(&format!("NOTIFY_SOCKET={name}: "));
        }
    }
}
