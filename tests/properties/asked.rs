//! What has to hold for the server as a client: answers over HTTP, and the machine that asks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use websock::base::MonotonicTime;
use websock::upstream::http::{AfterAnswer, Method, Request, ResponseReader};
use websock::upstream::redis::{self, SubscriberEvent};
use websock::upstream::{
    Action, Call, CallError, CallId, ConnectError, LinkId, Protocol, ResolveError, Settings,
    Target, Upstream, UpstreamContext,
};

use super::oracles::cuts;
use super::script::Script;

/// Longest body, in bytes.
const LIMIT: usize = 1000;

// ---- answers

/// An answer is the same wherever it is cut, takes no byte beyond its end and little memory; what
/// it says reads back, with a length and in chunks.
pub fn http_answer(bytes: &[u8]) {
    let mut script = Script(bytes);
    let method = method(&mut script);
    let input = script.0;
    let whole = read(method, &[input]);
    for cut in cuts(input.len()) {
        let (left, right) = input.split_at(cut);
        assert_eq!(read(method, &[left, right]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(read(method, &single), whole, "byte by byte");
    if let Ok(Some((status, body, ..))) = whole {
        assert!((200..600).contains(&status) && body.len() <= LIMIT);
        reads_back(status, &body);
    }
}

fn reads_back(status: u16, body: &[u8]) {
    if matches!(status, 204 | 304) {
        return assert_eq!(body, b"", "{status}");
    }
    let start = format!("HTTP/1.1 {status} x\r\n");
    let length = format!("{start}Content-Length: {}\r\n\r\n", body.len());
    let mut chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(7) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for written in [[length.as_bytes(), body].concat(), chunked] {
        let expected = (status, body.to_vec(), AfterAnswer::Keep, 0);
        assert_eq!(read(Method::Get, &[&written]), Ok(Some(expected)));
    }
}

/// Status, body, what becomes of the connection, and how many bytes were left.
type Read = Result<Option<(u16, Vec<u8>, AfterAnswer, usize)>, CallError>;

fn read(method: Method, pieces: &[&[u8]]) -> Read {
    let mut reader = ResponseReader::new(method, LIMIT);
    let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
    for piece in pieces {
        let mut rest = *piece;
        let outcome = reader.push(&mut rest)?;
        assert!(reader.held_bytes() <= 70_000, "{}", reader.held_bytes());
        left -= piece.len() - rest.len();
        if let Some((response, after)) = outcome {
            return Ok(Some((response.status(), response.into_body(), after, left)));
        }
        assert!(rest.is_empty(), "all is taken until the answer is whole");
    }
    let end = reader.handle_eof();
    Ok(end.map(|(response, after)| (response.status(), response.into_body(), after, 0)))
}

fn method(script: &mut Script<'_>) -> Method {
    match script.byte() % 5 {
        0 => Method::Head,
        1 => Method::Post,
        2 => Method::Put,
        3 => Method::Delete,
        _ => Method::Get,
    }
}

// ---- the machine

/// Whatever happens in whatever order: each connection is opened once and closed once, no more of
/// them than allowed; each call is answered once, at its deadline at the latest; one name is
/// looked up at a time; and when nothing happens any more, nothing is left.
pub fn upstream(bytes: &[u8]) {
    let mut script = Script(bytes);
    let setting = script.byte();
    let url = match setting / 3 % 3 {
        0 => "unix:/a",
        1 => "http://localhost/",
        _ => "https://a.example/",
    };
    let target = Target::http(url).expect("a URL");
    go_through(Scene::new(setting, target, Upstream::new), script);
}

/// The same for Redis, also by Sentinels: many calls are under way on a connection. A subscriber,
/// which is there for ever, takes none; it ends when the server does.
pub fn redis_upstream(bytes: &[u8]) {
    let mut script = Script(bytes);
    let setting = script.byte();
    let url = match setting / 3 % 4 {
        0 => "unix:/a?user=u&password=p",
        1 => "redis://localhost/3",
        2 => "rediss://a.example",
        _ => "redis+sentinel://a.example,10.0.0.1/m",
    };
    let target = Target::redis(url).expect("a URL");
    match setting < 128 {
        true => go_through(Scene::new(setting, target, Upstream::new), script),
        false => go_through(Scene::new(setting, target, Upstream::subscriber), script),
    }
}

fn go_through(mut scene: Scene, mut script: Script<'_>) {
    while !script.is_empty() {
        scene.step(&mut script);
        scene.check();
    }
    if scene.upstream.is_subscriber() {
        scene.run(|upstream, _| upstream.shut_down());
    }
    // Nothing comes any more; only time passes.
    for _ in 0..10_000 {
        let Some(deadline) = scene.upstream.next_deadline() else {
            break;
        };
        scene.now = scene.now.max(deadline);
        scene.time_out();
        scene.check();
    }
    assert_eq!(scene.upstream.next_deadline(), None);
    assert!(scene.open.is_empty() && scene.awaited.is_empty());
}

struct Scene {
    upstream: Upstream,
    settings: Settings,
    now: MonotonicTime,
    random: u64,
    /// Connections, in the order in which they were opened.
    open: Vec<LinkId>,
    known: HashSet<LinkId>,
    awaited: HashMap<CallId, MonotonicTime>,
    calls: u64,
    is_looking_up: bool,
    /// A subscriber has lost its connection, and nothing has come since.
    is_lost: bool,
}

impl Scene {
    fn new(setting: u8, target: Target, begin: impl Fn(Target, Settings) -> Upstream) -> Self {
        let settings = Settings {
            concurrency: 1 + usize::from(setting % 3),
            max_queued_calls: 4,
            max_queued_bytes: 400,
            max_pipelined_calls: 3,
            max_channels: 5,
            ..Settings::default()
        };
        Self {
            upstream: begin(target, settings),
            settings,
            now: MonotonicTime::START,
            random: 0,
            open: Vec::new(),
            known: HashSet::new(),
            awaited: HashMap::new(),
            calls: 0,
            is_looking_up: false,
            is_lost: true,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte();
        let link = |scene: &Self, byte: u8| {
            let count = scene.open.len().max(1);
            scene.open.get(usize::from(byte) % count).copied()
        };
        match step % 12 {
            0 | 1 => self.call(script),
            2 => {
                let call = CallId(u64::from(script.byte()) % self.calls.max(1));
                self.awaited.remove(&call);
                self.run(|upstream, context| upstream.cancel(call, context));
            }
            3 => self.resolved(script.byte()),
            4 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 20);
                self.random = u64::from(script.byte()) << 56;
                self.time_out();
            }
            5 if step == 5 => self.run(|upstream, _| upstream.shut_down()),
            _ => {
                let Some(link) = link(self, script.byte()) else {
                    return;
                };
                self.arrive(step, link, script);
            }
        }
    }

    /// Something happens on a connection.
    fn arrive(&mut self, step: u8, link: LinkId, script: &mut Script<'_>) {
        match step % 12 {
            6 => self.run(|upstream, context| upstream.handle_connected(link, context)),
            7 => {
                let error = ConnectError::Refused;
                self.run(|upstream, context| upstream.handle_connect_failed(link, error, context));
            }
            8 => {
                let waiting = self.upstream.output(link).len();
                let len = waiting.min(usize::from(script.byte()));
                self.upstream.consume_output(link, len);
            }
            9 => self.run(|upstream, context| upstream.handle_eof(link, context)),
            10 => self.run(|upstream, context| upstream.handle_lost(link, context)),
            _ => {
                let kind = usize::from(script.byte());
                let len = usize::from(script.byte());
                let answers = match self.upstream.target().protocol() {
                    Protocol::Http { .. } => ANSWERS,
                    Protocol::Redis(_) => REDIS_ANSWERS,
                };
                let bytes = match answers.get(kind) {
                    Some(answer) => answer,
                    None => script.bytes(len),
                };
                // Nothing comes before the loop has said that the connection stands.
                self.run(|upstream, context| upstream.handle_connected(link, context));
                self.run(|upstream, context| upstream.receive(link, bytes, context));
            }
        }
    }

    fn call(&mut self, script: &mut Script<'_>) {
        let body_len = usize::from(script.byte()) / 4;
        let body = script.bytes(body_len);
        if self.upstream.is_subscriber() {
            return self.change_channels(body);
        }
        let id = CallId(self.calls);
        self.calls += 1;
        let protocol = self.upstream.target().protocol().clone();
        let request = match (&protocol, script.byte()) {
            (Protocol::Http { .. }, byte) => {
                let method = method(&mut Script(&[byte]));
                let request = Request::new(method, &protocol, "/", [], body);
                request.expect("a request").into()
            }
            (Protocol::Redis(_), 0..100) => redis::Request::new("GET", &[body]).into(),
            (Protocol::Redis(_), 100..200) => redis::Request::new("PUBLISH", &[body, body]).into(),
            (Protocol::Redis(_), _) => {
                let request = redis::Request::new("EXISTS", &[body]);
                request.then("GET", &[body]).into()
            }
        };
        let deadline = self.now + Duration::from_millis(u64::from(script.byte()) * 40);
        let call = Call {
            id,
            request,
            deadline,
            max_body_bytes: LIMIT,
        };
        self.awaited.insert(id, deadline);
        if self
            .run(|upstream, context| upstream.call(call, context))
            .is_err()
        {
            self.awaited.remove(&id);
        }
    }

    /// Each byte is a channel, which is wanted or not.
    fn change_channels(&mut self, channels: &[u8]) {
        for channel in channels.chunks(1) {
            self.run(|upstream, context| match channel[0] < 128 {
                true => drop(upstream.subscribe([channel], context)),
                false => upstream.unsubscribe([&[channel[0] - 128][..]], context),
            });
        }
    }

    fn resolved(&mut self, byte: u8) {
        if !std::mem::take(&mut self.is_looking_up) {
            return;
        }
        let address = |number| ([192, 0, 2, number], 80).into();
        let result = match byte % 4 {
            3 => Err(ResolveError::NotFound),
            count => Ok((0..count).map(address).collect()),
        };
        self.run(|upstream, context| upstream.handle_resolved(result, context));
    }

    fn time_out(&mut self) {
        self.run(|upstream, context| upstream.handle_timeout(context));
        let next = self.upstream.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "served, and due");
        let overdue = self.awaited.values().any(|deadline| *deadline <= self.now);
        assert!(!overdue, "a call has not been answered in time");
    }

    fn run<T>(&mut self, act: impl FnOnce(&mut Upstream, &mut UpstreamContext<'_>) -> T) -> T {
        let number = self.random;
        let mut random = move || number;
        let random = &mut random;
        let now = self.now;
        let outcome = act(&mut self.upstream, &mut UpstreamContext { now, random });
        while let Some(action) = self.upstream.next_action() {
            self.take(action);
        }
        while let Some(answer) = self.upstream.next_answer() {
            let call = self.awaited.remove(&answer.call);
            assert!(call.is_some(), "answered twice, or not asked");
        }
        while let Some(event) = self.upstream.next_subscriber_event() {
            match event {
                SubscriberEvent::Lost => assert!(!std::mem::replace(&mut self.is_lost, true)),
                SubscriberEvent::Ready
                | SubscriberEvent::Skipped
                | SubscriberEvent::Message { .. }
                | SubscriberEvent::Subscribed { .. } => self.is_lost = false,
            }
        }
        outcome
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Resolve { .. } => {
                assert!(!std::mem::replace(&mut self.is_looking_up, true));
            }
            Action::Connect { link, .. } => {
                assert!(self.known.insert(link), "opened twice");
                self.open.push(link);
            }
            Action::Write(link) => assert!(self.known.contains(&link), "never opened"),
            Action::Close(link) => {
                let at = self.open.iter().position(|open| *open == link);
                self.open.remove(at.expect("closed twice"));
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.open.len(), self.upstream.link_count());
        assert!(self.open.len() <= self.settings.concurrency);
        let under_way = self.settings.concurrency * self.settings.max_pipelined_calls;
        let most = self.settings.max_queued_calls + under_way;
        assert!(self.upstream.channel_count() <= self.settings.max_channels);
        assert!(self.upstream.queued_calls() <= most);
        let counts = self.upstream.counts();
        assert!(counts.answered + counts.failed <= self.calls);
    }
}

/// What a target may say.
const ANSWERS: &[&[u8]] = &[
    b"HTTP/1.1 204 x\r\n\r\n",
    b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 x\r\n\r\nuntil close",
    b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"1\r\na\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 204 x\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
    b"HTTP/1.1 200 x\r\nContent-Length: 1001\r\n\r\n",
    b"HTTP/1.1 100 x\r\n\r\n",
    b"wrong",
];

/// What a Redis may say.
const REDIS_ANSWERS: &[&[u8]] = &[
    b"+OK\r\n$0\r\n\r\n+PONG\r\n",
    b"+OK\r\n+OK\r\n$0\r\n\r\n+PONG\r\n",
    b"*1\r\n+master\r\n+OK\r\n$0\r\n\r\n+PONG\r\n",
    b"*2\r\n$9\r\n10.0.0.15\r\n$1\r\n1\r\n",
    b"*2\r\n$1\r\nx\r\n$1\r\n1\r\n",
    b"+PONG\r\n",
    b":0\r\n",
    b"$1\r\nx\r\n",
    b"$-1\r\n",
    b"*2\r\n:1\r\n:2\r\n",
    b":1\r\n:2\r\n:3\r\n",
    b"-READONLY x\r\n",
    b"-NOAUTH x\r\n",
    b"-ERR x\r\n",
    b"$2000\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\n\x01\r\n:1\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$1\r\n\x01\r\n:0\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\n\x01\r\n$1\r\nx\r\n",
    b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    b"*1\r\n",
    b"wrong",
];
