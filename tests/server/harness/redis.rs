//! As much of a Redis as several servers need between them: keys with a lifetime, channels. It can
//! be away, in cluster mode, or without an answer, and remembers what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The fake.
pub(crate) struct Redis {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    keys: BTreeMap<Vec<u8>, (Vec<u8>, Instant)>,
    connections: BTreeMap<u64, Connection>,
    connection_count: u64,
    /// Whoever connects is sent away.
    pub(crate) is_away: bool,
    /// What it says of itself.
    pub(crate) is_cluster: bool,
    /// `PUBLISH` has no answer, and no effect.
    pub(crate) is_stuck: bool,
    /// `PUBLISH` is answered as ever, and nobody gets it.
    pub(crate) loses_all: bool,
    /// All that was published: channel and payload.
    pub(crate) published: Vec<(Vec<u8>, Vec<u8>)>,
    /// All that was said to it but for that, as words.
    pub(crate) said: Vec<String>,
}

struct Connection {
    stream: TcpStream,
    channels: BTreeSet<Vec<u8>>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<Mutex<State>>::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and takes no more until [`come_back`](Self::come_back).
    pub(crate) fn go_away(&self) {
        let mut state = self.state();
        state.is_away = true;
        for connection in state.connections.values() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        state.connections.clear();
    }

    /// The same for those alone who are subscribed to a channel; nobody else has to connect anew.
    pub(crate) fn cut_off(&self, channel: &str) {
        let mut state = self.state();
        state.is_away = true;
        state.connections.retain(|_, connection| {
            let is_cut = connection.channels.contains(channel.as_bytes());
            if is_cut {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
            !is_cut
        });
    }

    pub(crate) fn come_back(&self) {
        self.state().is_away = false;
    }

    /// Publishes as anybody could who may; how many have got it.
    pub(crate) fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        publish(&mut self.state(), channel, payload)
    }

    /// How many are subscribed to a channel.
    pub(crate) fn subscriber_count(&self, channel: &str) -> usize {
        let state = self.state();
        let connections = state.connections.values();
        connections
            .filter(|connection| connection.channels.contains(channel.as_bytes()))
            .count()
    }

    /// Whether one connection is subscribed to all of these channels.
    pub(crate) fn is_subscribed_to_all(&self, channels: &[&str]) -> bool {
        let state = self.state();
        let mut connections = state.connections.values();
        connections.any(|connection| {
            let mut wanted = channels.iter();
            wanted.all(|channel| connection.channels.contains(channel.as_bytes()))
        })
    }

    /// The nodes that have a number.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let state = self.state();
        let names = state.keys.keys().map(|key| String::from_utf8_lossy(key));
        let numbers = names.filter_map(|key| Some(key.split_once("node:")?.1.to_owned()));
        numbers.collect()
    }

    /// Gives every key to somebody else, as if its holder had stood still for longer than it lives.
    pub(crate) fn give_keys_away(&self) {
        for (value, _) in self.state().keys.values_mut() {
            *value = b"another".to_vec();
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, shared: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let number = {
        let mut state = lock(shared);
        if state.is_away {
            return;
        }
        state.connection_count += 1;
        let number = state.connection_count;
        let channels = BTreeSet::new();
        let connection = Connection { stream, channels };
        state.connections.insert(number, connection);
        number
    };
    while let Some(command) = read_command(&mut reader) {
        let mut state = lock(shared);
        let answer = answer(&command, number, &mut state);
        let Some(connection) = state.connections.get_mut(&number) else {
            return;
        };
        if connection.stream.write_all(&answer).is_err() {
            break;
        }
    }
    lock(shared).connections.remove(&number);
}

/// `*2\r\n$3\r\nGET\r\n$1\r\na\r\n` → `["GET", "a"]`.
fn read_command(reader: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
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
            Some(bytes)
        })
        .collect()
}

fn answer(command: &[Vec<u8>], connection: u64, state: &mut State) -> Vec<u8> {
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let now = Instant::now();
    state.keys.retain(|_, (_, ends)| *ends > now);
    let shown: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
    if words.first() != Some(&&b"PUBLISH"[..]) {
        state.said.push(shown.join(" "));
    }
    match words[..] {
        [b"SET", key, token, b"NX", b"PX", millis] => {
            if state.keys.contains_key(key) {
                return b"$-1\r\n".to_vec();
            }
            let value = (token.to_vec(), now + lifetime(millis));
            state.keys.insert(key.to_vec(), value);
            b"+OK\r\n".to_vec()
        }
        [b"PEXPIRE", key, millis] => match state.keys.get_mut(key) {
            Some((_, ends)) => {
                *ends = now + lifetime(millis);
                b":1\r\n".to_vec()
            }
            None => b":0\r\n".to_vec(),
        },
        [b"GET", key] => match state.keys.get(key) {
            Some((value, _)) => bulk(value),
            None => b"$-1\r\n".to_vec(),
        },
        [b"PUBLISH", ..] if state.is_stuck => Vec::new(),
        [b"PUBLISH", channel, payload] => {
            let (channel, payload) = (channel.to_vec(), payload.to_vec());
            let count = publish(state, &channel, &payload);
            state.published.push((channel, payload));
            format!(":{count}\r\n").into_bytes()
        }
        [b"SUBSCRIBE", ..] | [b"UNSUBSCRIBE", ..] => change(&words, connection, state),
        [b"INFO", ..] => bulk(match state.is_cluster {
            true => b"cluster_enabled:1\r\n",
            false => b"cluster_enabled:0\r\n",
        }),
        [b"PING"] => match is_subscriber(state, connection) {
            true => b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
            false => b"+PONG\r\n".to_vec(),
        },
        _ => b"+OK\r\n".to_vec(),
    }
}

fn is_subscriber(state: &State, connection: u64) -> bool {
    let connection = state.connections.get(&connection);
    connection.is_some_and(|connection| !connection.channels.is_empty())
}

fn change(words: &[&[u8]], connection: u64, state: &mut State) -> Vec<u8> {
    let Some(connection) = state.connections.get_mut(&connection) else {
        return Vec::new();
    };
    let mut answer = Vec::new();
    for channel in &words[1..] {
        let kind: &[u8] = match words[0] {
            b"SUBSCRIBE" => {
                connection.channels.insert(channel.to_vec());
                b"subscribe"
            }
            _ => {
                connection.channels.remove(*channel);
                b"unsubscribe"
            }
        };
        answer.extend_from_slice(b"*3\r\n");
        answer.extend(bulk(kind));
        answer.extend(bulk(channel));
        answer.extend(format!(":{}\r\n", connection.channels.len()).bytes());
    }
    answer
}

fn publish(state: &mut State, channel: &[u8], payload: &[u8]) -> usize {
    let mut message = b"*3\r\n".to_vec();
    for part in [&b"message"[..], channel, payload] {
        message.extend(bulk(part));
    }
    let mut count = 0;
    for connection in state.connections.values_mut() {
        if !connection.channels.contains(channel) {
            continue;
        }
        if state.loses_all || connection.stream.write_all(&message).is_ok() {
            count += 1;
        }
    }
    count
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("${}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn lifetime(millis: &[u8]) -> Duration {
    let millis = str::from_utf8(millis).ok().and_then(|m| m.parse().ok());
    Duration::from_millis(millis.expect("milliseconds"))
}
