//! PHP's sessions in Redis (protocol.md 8.3), against what speaks as a Redis does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::harness::{Conn, Server, connect, eventually};
use crate::sign_in::{NOT_SIGNED_IN, Sessions, expect_no, expect_unknown, user_of, with_session};

/// What stands before the id of a session unless something else is set.
const PREFIX: &str = "PHPREDIS_SESSION:";

/// A Redis that has sessions, and may be told to say something else.
struct Redis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    is_well: Condvar,
}

#[derive(Default)]
struct State {
    /// The keys, and the milliseconds that they have left.
    keys: BTreeMap<String, (String, i64)>,
    /// The keys of all `GET`s so far.
    asked: Vec<String>,
    /// All that was said before the first of them.
    introduced: Vec<String>,
    fault: Option<Fault>,
}

/// What is said instead of an answer to this command, or to any of the three (`*`). If it is no
/// whole line, nothing follows until that is over, and then the connection ends.
#[derive(Clone, Copy, Debug)]
struct Fault(&'static str, &'static str);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redis {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                let writer = stream.try_clone().expect("a second handle");
                thread::spawn(move || serve(stream, writer, &shared));
            }
        });
        Self { address, shared }
    }

    /// Listens on a Unix socket, too.
    fn listen_at(&self, path: &Path) {
        let listener = UnixListener::bind(path).expect("a new socket");
        let of_thread = Arc::clone(&self.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                let writer = stream.try_clone().expect("a second handle");
                thread::spawn(move || serve(stream, writer, &shared));
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The lines of an ini file by which it counts, the user is `user`, and nobody else gets in.
    fn ini(&self, more: &str) -> String {
        let address = self.address;
        format!("sessions=redis://{address}\nuserKey=user\n{more}\n[jsauth]\nrequire=true\n")
    }

    fn put(&self, key: &str, content: &str) {
        let value = (content.to_owned(), 1_440_000);
        self.state().keys.insert(key.to_owned(), value);
    }

    /// What PHP would have stored under this id.
    fn sign_in(&self, id: &str, user: &str) {
        self.put(&format!("{PREFIX}{id}"), &session_of(user));
    }

    fn lock(&self, id: &str) {
        self.put(&format!("{PREFIX}{id}_LOCK"), "host|pid");
    }

    fn unlock(&self, id: &str) {
        self.remove(&format!("{id}_LOCK"));
    }

    fn remove(&self, id: &str) {
        let removed = self.state().keys.remove(&format!("{PREFIX}{id}"));
        assert!(removed.is_some(), "{id} was there");
    }

    fn break_down(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
        self.shared.is_well.notify_all();
    }

    /// Waits until it has been asked about this session so many times more.
    #[track_caller]
    fn wait_for_questions(&self, id: &str, count: usize) {
        let key = format!("{PREFIX}{id}");
        let asked = || self.state().asked.iter().filter(|one| **one == key).count();
        let wanted = asked() + count;
        eventually("questions about a session", || asked() >= wanted);
    }
}

fn session_of(user: &str) -> String {
    format!("user|s:{}:\"{user}\";", user.len())
}

fn serve(reader: impl Read, mut writer: impl Write, shared: &Shared) {
    let mut reader = BufReader::new(reader);
    while let Some(command) = read_command(&mut reader) {
        let answer = answer(&command, &mut shared.state());
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if !answer.ends_with("\r\n") {
            let is_ill = |state: &mut State| state.fault.is_some();
            drop(shared.is_well.wait_while(shared.state(), is_ill));
            return;
        }
    }
}

/// `*2\r\n$3\r\nGET\r\n$1\r\na\r\n` → `["GET", "a"]`.
fn read_command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let number = |reader: &mut dyn BufRead, mark: char| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.strip_prefix(mark)?.trim_end().parse::<usize>().ok()
    };
    (0..number(reader, '*')?)
        .map(|_| {
            let mut bytes = vec![0; number(reader, '$')? + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            String::from_utf8(bytes).ok()
        })
        .collect()
}

fn answer(command: &[String], state: &mut State) -> String {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let fault = state.fault;
    let said = match words[..] {
        ["EXISTS", key] => format!(":{}\r\n", u8::from(state.keys.contains_key(key))),
        ["GET", key] => {
            state.asked.push(key.to_owned());
            match state.keys.get(key) {
                Some((content, _)) => format!("${}\r\n{content}\r\n", content.len()),
                None => "$-1\r\n".to_owned(),
            }
        }
        ["PTTL", key] => format!(":{}\r\n", state.keys.get(key).map_or(-2, |(_, left)| *left)),
        _ => {
            state.introduced.push(command.join(" "));
            return match words[0] {
                "AUTH" if words[1..] != ["secret"] => "-WRONGPASS no\r\n".to_owned(),
                "INFO" => "$0\r\n\r\n".to_owned(),
                "PING" => "+PONG\r\n".to_owned(),
                _ => "+OK\r\n".to_owned(),
            };
        }
    };
    match fault {
        Some(Fault(wanted, text)) if wanted == "*" || wanted == words[0] => text.to_owned(),
        _ => said,
    }
}

#[track_caller]
fn expect_user(server: &Server, id: &str, user: &str) -> Conn {
    let (conn, found) = user_of(server, &with_session(id));
    assert_eq!(found.as_deref(), Some(user), "{id}");
    conn
}

// protocol.md 8.3
#[test]
fn a_session_is_found_in_its_database_under_its_prefix_on_any_socket() {
    let redis = Redis::start();
    let folder = Sessions::new("redis-socket");
    let socket = folder.0.join("redis.sock");
    redis.listen_at(&socket);
    redis.sign_in("one", "42");
    redis.put("shop:one", &session_of("43"));
    redis.put("shop &:one", &session_of("44"));
    redis.put("one", &session_of("45"));
    let (tcp, unix) = (format!("redis://{}", redis.address), socket.display());
    for (url, user, introduced) in [
        (tcp.clone(), "42", None),
        (
            format!("{tcp}/2?prefix=PHPREDIS_SESSION:"),
            "42",
            Some("SELECT 2"),
        ),
        (format!("{tcp}?prefix=shop:"), "43", None),
        (format!("{tcp}?prefix=shop%20%26:"), "44", None),
        (format!("unix:{unix}"), "42", None),
        (
            format!("unix:{unix}?password=secret&database=3&prefix=shop:"),
            "43",
            Some("SELECT 3"),
        ),
    ] {
        redis.state().introduced.clear();
        let ini = format!("sessions={url}\nuserKey=user\n[jsauth]\nrequire=true\n");
        let server = Server::start(&ini);
        expect_user(&server, "one", user);
        let said = redis.state().introduced.join("\n");
        let selected = said.lines().find(|line| line.starts_with("SELECT"));
        assert_eq!(selected, introduced, "{url}");
        assert_eq!(
            said.contains("AUTH secret"),
            url.contains("password"),
            "{url}"
        );
    }
    // Neither lifetime nor lock is needed: what is there counts.
    redis.state().keys.clear();
    redis.put("PHPREDIS_SESSION:ever", &session_of("7"));
    if let Some((_, left)) = redis.state().keys.get_mut("PHPREDIS_SESSION:ever") {
        *left = -1;
    }
    expect_user(&Server::start(&redis.ini("")), "ever", "7");
}

// protocol.md 8.3
#[test]
fn a_session_that_is_not_there_yet_is_waited_for_and_nobody_else_waits() {
    let redis = Redis::start();
    let server = Server::start(&redis.ini("sessionWait=60\nhandshakeTimeout=60"));
    redis.sign_in("other", "7");
    let mut early = connect(&server);
    early.send_bytes(&with_session("new").bytes());
    redis.wait_for_questions("new", 3);
    expect_user(&server, "other", "7").round_trip();
    assert!(!early.has_answer());
    redis.sign_in("new", "42");
    assert_eq!(early.read_response().status(), 101);
    let ready = early.read_text("ready");
    assert!(ready.contains(r#","user":"42""#), "{ready}");
}

// protocol.md 8.3
#[test]
fn a_session_that_a_script_has_locked_is_waited_for() {
    let redis = Redis::start();
    let server = Server::start(&redis.ini("sessionWait=60\nhandshakeTimeout=60"));
    // Begun, and begun long ago by somebody who signs in only now.
    for before in [None, Some("cart|i:1;")] {
        redis.state().keys.clear();
        if let Some(content) = before {
            redis.put(&format!("{PREFIX}one"), content);
        }
        redis.lock("one");
        let mut early = connect(&server);
        early.send_bytes(&with_session("one").bytes());
        redis.wait_for_questions("one", 3);
        // Written, as phpredis does, before the lock is given back.
        redis.sign_in("one", "42");
        redis.wait_for_questions("one", 2);
        assert!(!early.has_answer(), "{before:?}");
        redis.unlock("one");
        assert_eq!(early.read_response().status(), 101);
        let ready = early.read_text("ready");
        assert!(ready.contains(r#","user":"42""#), "{ready}");
    }
}

// protocol.md 8.3
#[test]
fn after_session_wait_counts_what_is_there() {
    let redis = Redis::start();
    let server = Server::start(&redis.ini("sessionWait=100ms"));
    redis.sign_in("in", "42");
    redis.put(&format!("{PREFIX}out"), "cart|i:1;");
    for id in ["in", "out", "begun"] {
        redis.lock(id);
    }
    expect_user(&server, "in", "42");
    for id in ["out", "begun", "gone"] {
        expect_no(&server, &with_session(id));
    }
}

// protocol.md 8.3
// protocol.md 8.6
#[test]
fn a_redis_that_gives_no_answer_lets_nobody_in_and_sends_nobody_away() {
    let redis = Redis::start();
    let server = Server::start(&redis.ini("authRecheck=1\npingInterval=0"));
    redis.sign_in("one", "42");
    redis.sign_in("stays", "43");
    let mut stays = expect_user(&server, "stays", "43");
    for fault in [
        Fault("*", "-NOAUTH Authentication required.\r\n"),
        Fault("*", "-LOADING Redis is loading the dataset in memory\r\n"),
        Fault("*", "-NOPERM this user has no permissions\r\n"),
        Fault("*", "-MOVED 3999 127.0.0.1:6381\r\n"),
        Fault("GET", "-WRONGTYPE Operation against a key\r\n"),
        Fault("EXISTS", "-ERR no\r\n"),
        Fault("PTTL", "-NOPERM this user has no permissions\r\n"),
        Fault("GET", ":1\r\n"),
        Fault("GET", "*1\r\n$1\r\na\r\n"),
        Fault("EXISTS", "HTTP/1.1 400 Bad Request\r\n\r\n"),
        Fault("GET", "$9223372036854775807\r\n"),
        Fault("GET", "$6\r\nuser|x\r\n"),
        Fault("GET", "$100\r\nuser|s:2:\"42\";"),
        Fault("*", ""),
    ] {
        redis.break_down(fault);
        let after = expect_unknown(&server, &with_session("one"));
        let is_later = after.parse::<u32>().is_ok_and(|seconds| seconds > 0);
        assert!(is_later, "{fault:?}: {after}");
        redis.break_down(None);
        // What was not known is asked again, as soon as there is an answer.
        eventually("Redis to answer again", || {
            connect(&server).request(&with_session("one")).status() == 101
        });
        stays.round_trip();
    }
    // Asked about while nothing is known.
    redis.break_down(Fault("*", "-LOADING\r\n"));
    redis.state().asked.clear();
    redis.wait_for_questions("stays", 2);
    stays.round_trip();
}

// protocol.md 8.3
#[test]
fn a_redis_that_wants_another_password_lets_nobody_in_and_the_log_says_so_once() {
    let redis = Redis::start();
    redis.sign_in("one", "42");
    let url = format!("redis://:pa55word@{}", redis.address);
    let server = Server::start(&format!(
        "sessions={url}\nuserKey=user\n[jsauth]\nrequire=true\n"
    ));
    for _ in 0..5 {
        expect_unknown(&server, &with_session("one"));
    }
    server.wait_for_log("sessions: ");
    let lines = server.log_lines();
    let about = |line: &&String| line.contains("sessions: ");
    assert_eq!(lines.iter().filter(about).count(), 1, "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("pa55word")),
        "{lines:?}"
    );
}

#[track_caller]
fn expect_signed_out(conn: &mut Conn) {
    conn.expect_text(NOT_SIGNED_IN);
    conn.expect_close_and_end(4401);
}

// protocol.md 8.3
// protocol.md 8.7
#[test]
fn a_session_that_is_destroyed_ends_its_tabs_and_one_at_work_keeps_them() {
    let redis = Redis::start();
    let server = Server::start(&redis.ini("authRecheck=1\nsessionWait=0\npingInterval=0"));
    let open = |id: &str, user| {
        redis.sign_in(id, user);
        expect_user(&server, id, user)
    };
    let (mut destroyed, mut emptied) = (open("destroyed", "1"), open("emptied", "2"));
    let (mut changed, mut locked) = (open("changed", "3"), open("locked", "4"));
    // session_regenerate_id(): what is new is not written yet.
    redis.lock("locked");
    redis.remove("locked");
    redis.remove("destroyed");
    redis.put(&format!("{PREFIX}emptied"), "");
    redis.sign_in("changed", "5");
    for conn in [&mut destroyed, &mut emptied, &mut changed] {
        expect_signed_out(conn);
    }
    redis.wait_for_questions("locked", 2);
    locked.round_trip();
}

// protocol.md 8.3
// protocol.md 8.7
#[test]
fn a_session_whose_time_has_run_out_keeps_its_tabs_unless_they_are_to_go() {
    for (idle, stays) in [("keep", true), ("close", false)] {
        let redis = Redis::start();
        let more = format!("authRecheck=1\nsessionWait=0\nauthIdle={idle}\npingInterval=0");
        let server = Server::start(&redis.ini(&more));
        redis.sign_in("idle", "42");
        if let Some((_, left)) = redis.state().keys.get_mut("PHPREDIS_SESSION:idle") {
            *left = 1;
        }
        let mut conn = expect_user(&server, "idle", "42");
        redis.remove("idle");
        match stays {
            true => {
                redis.wait_for_questions("idle", 2);
                conn.round_trip();
            }
            false => expect_signed_out(&mut conn),
        }
    }
}
