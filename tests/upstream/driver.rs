//! A small loop around one [`Upstream`]: its sockets, its resolver and its clock.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker, event::Source};
use websock::base::MonotonicTime;
use websock::net::resolver::Resolver;
use websock::upstream::http::{Method, Request, Response};
use websock::upstream::{
    Action, Address, Answer, Call, CallError, CallId, ConnectError, LinkId, Settings, Target,
    Upstream, UpstreamContext,
};

/// A loop around one upstream.
pub(crate) struct Driver {
    pub(crate) upstream: Upstream,
    poll: Poll,
    resolver: Resolver,
    sockets: HashMap<LinkId, Socket>,
    tokens: HashMap<Token, LinkId>,
    next_token: usize,
    next_call: u64,
    start: Instant,
    answers: VecDeque<Answer>,
    /// Body limit of the calls to come.
    pub(crate) max_body_bytes: usize,
}

struct Socket {
    stream: Stream,
    is_connected: bool,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Driver {
    /// Asks what this URL names.
    pub(crate) fn new(url: &str, settings: Settings) -> Self {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), WAKER).expect("a waker");
        let waker = Arc::new(waker);
        let wake = move || waker.wake().expect("the loop is awake");
        Self {
            upstream: Upstream::new(Target::http(url).expect("a URL"), settings),
            poll,
            resolver: Resolver::new(Box::new(wake)),
            sockets: HashMap::new(),
            tokens: HashMap::new(),
            next_token: 1,
            next_call: 0,
            start: Instant::now(),
            answers: VecDeque::new(),
            max_body_bytes: 8192,
        }
    }

    /// One connection at a time.
    pub(crate) fn single(url: &str) -> Self {
        let concurrency = 1;
        Self::new(
            url,
            Settings {
                concurrency,
                ..Settings::default()
            },
        )
    }

    /// Begins a call that may take `wait`.
    pub(crate) fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: &[u8],
        wait: Duration,
    ) -> Result<CallId, CallError> {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let protocol = self.upstream.target().protocol().clone();
        let request = Request::new(method, &protocol, path, [], body).expect("a request");
        let call = Call {
            id,
            request,
            deadline: self.now() + wait,
            max_body_bytes: self.max_body_bytes,
        };
        self.run(|upstream, context| upstream.call(call, context))?;
        self.turn_actions();
        Ok(id)
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<Response, CallError> {
        let id = self.begin(method, path, body, PATIENCE)?;
        let answer = self.next_answer();
        assert_eq!(answer.call, id);
        answer.result
    }

    /// Asks by GET: status and body.
    pub(crate) fn get(&mut self, path: &str) -> Result<(u16, String), CallError> {
        let response = self.ask(Method::Get, path, b"")?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        Ok((response.status(), body))
    }

    /// Asks by GET with a deadline that a slow server misses: why there is no answer.
    pub(crate) fn get_in_vain(&mut self, wait: Duration) -> CallError {
        match self.begin(Method::Get, "/", b"", wait) {
            Err(error) => error,
            Ok(_) => self.next_answer().result.expect_err("no answer"),
        }
    }

    /// Waits for an answer.
    pub(crate) fn next_answer(&mut self) -> Answer {
        self.turn_until(|driver| !driver.answers.is_empty());
        self.answers.pop_front().expect("it has been waited for")
    }

    /// Goes on until the condition holds.
    pub(crate) fn turn_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE * 2;
        while !is_enough(self) {
            assert!(
                Instant::now() < deadline,
                "what is waited for does not come"
            );
            self.turn();
        }
    }

    fn now(&self) -> MonotonicTime {
        MonotonicTime::START + self.start.elapsed()
    }

    fn run<T>(&mut self, act: impl FnOnce(&mut Upstream, &mut UpstreamContext<'_>) -> T) -> T {
        let now = self.now();
        let mut random = || u64::MAX / 2;
        let random = &mut random;
        act(&mut self.upstream, &mut UpstreamContext { now, random })
    }

    fn turn(&mut self) {
        let next = self.upstream.next_deadline();
        // Rounded up: mio's own rounding would wake just before.
        let wait = next.map_or(PATIENCE, |next| next - self.now()) + Duration::from_millis(1);
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            outcome => outcome.expect("events"),
        }
        for event in &events {
            if let Some(link) = self.tokens.get(&event.token()).copied() {
                self.handle(link);
            }
        }
        self.run(|upstream, context| upstream.handle_timeout(context));
        self.turn_actions();
    }

    fn turn_actions(&mut self) {
        loop {
            while let Some(resolved) = self.resolver.next_result() {
                self.run(|upstream, context| upstream.handle_resolved(resolved.result, context));
            }
            let Some(action) = self.upstream.next_action() else {
                break;
            };
            match action {
                Action::Resolve { host, port } => self.resolver.resolve(0, host, port),
                Action::Connect { link, address, .. } => self.connect(link, address),
                Action::Write(link) => self.write(link),
                Action::Close(link) => {
                    self.sockets.remove(&link);
                    self.tokens.retain(|_, known| *known != link);
                }
            }
        }
        while let Some(answer) = self.upstream.next_answer() {
            self.answers.push_back(answer);
        }
    }

    fn connect(&mut self, link: LinkId, address: Address) {
        let stream = match address {
            Address::Tcp(address) => TcpStream::connect(address).map(Stream::Tcp),
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        };
        let token = Token(self.next_token);
        self.next_token += 1;
        let stream = stream.and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(stream.source(), token, interest)?;
            Ok(stream)
        });
        match stream {
            Err(error) => self.fail(link, &error),
            Ok(stream) => {
                self.tokens.insert(token, link);
                let is_connected = false;
                self.sockets.insert(
                    link,
                    Socket {
                        stream,
                        is_connected,
                    },
                );
            }
        }
    }

    fn fail(&mut self, link: LinkId, error: &io::Error) {
        let error = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => ConnectError::Refused,
            _ => ConnectError::Unreachable,
        };
        self.run(|upstream, context| upstream.handle_connect_failed(link, error, context));
    }

    /// Something has happened to this socket: it is read before it is written.
    fn handle(&mut self, link: LinkId) {
        if let Some(socket) = self.sockets.get_mut(&link)
            && !socket.is_connected
        {
            match socket.stream.connected() {
                Ok(false) => return,
                Err(error) => return self.fail(link, &error),
                Ok(true) => {}
            }
            socket.is_connected = true;
            self.run(|upstream, context| upstream.handle_connected(link, context));
        }
        self.read(link);
        self.write(link);
    }

    fn read(&mut self, link: LinkId) {
        let mut buffer = [0; 4096];
        while let Some(socket) = self.sockets.get_mut(&link) {
            match socket.stream.read(&mut buffer) {
                Ok(0) => return self.run(|upstream, context| upstream.handle_eof(link, context)),
                Ok(len) => {
                    let bytes = buffer.get(..len).expect("what was read");
                    self.run(|upstream, context| upstream.receive(link, bytes, context));
                    // A machine that has had enough closes.
                    if self.upstream.link_count() == 0 {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.run(|upstream, context| upstream.handle_lost(link, context)),
            }
        }
    }

    fn write(&mut self, link: LinkId) {
        while let Some(socket) = self.sockets.get_mut(&link) {
            let output = self.upstream.output(link);
            if output.is_empty() {
                return;
            }
            match socket.stream.write(output) {
                Ok(len) => self.upstream.consume_output(link, len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What the other end has said before is still to be read.
                Err(_) => return,
            }
        }
    }
}

impl Stream {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// Whether the connection is established, or why it is not.
    fn connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Self::Tcp(stream) => (stream.take_error(), stream.peer_addr().map(drop)),
            Self::Unix(stream) => (stream.take_error(), stream.peer_addr().map(drop)),
        };
        match (error?, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(true),
            (None, Err(error)) if error.kind() == ErrorKind::NotConnected => Ok(false),
            (None, Err(error)) => Err(error),
        }
    }
}

const WAKER: Token = Token(0);

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
