//! Several servers as one (protocol.md §11): what a message to another node costs the servers and Redis
//! together, beside Socket.IO with its Redis adapter; a crowd that comes back; growth with the nodes.
//!
//! One operation is under way at a time: the next one begins when the last one has arrived, so that
//! the latencies are those of a quiet cluster, and the processors' time that of single messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::backplane_plot;
use crate::server::{Server, cpu_time_of, free_port, pinned};
use crate::users;
use crate::wire::{PATIENCE, Security};

/// Whose servers they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Websock,
    SocketIo,
}

/// A Redis, and servers that are one by it.
struct Cluster<'a> {
    maker: Maker,
    redis: &'a Redis,
    nodes: Vec<Node>,
}

enum Node {
    Websock(Server),
    SocketIo(Child, SocketAddr),
}

/// What one kind of operation has cost.
pub(crate) struct Cost {
    servers_us: f64,
    redis_us: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Debian's Redis on a Unix socket, in a folder of its own.
struct Redis {
    process: Child,
    folder: PathBuf,
}

impl Redis {
    fn start() -> Self {
        let folder =
            std::env::temp_dir().join(format!("websock-bench-redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = pinned("redis-server".into())
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(folder.join("redis.sock"))
            .arg("--dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let redis = Self { process, folder };
        while UnixStream::connect(redis.path()).is_err() {
            std::thread::yield_now();
        }
        redis
    }

    fn path(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    fn cpu_time(&self) -> Duration {
        cpu_time_of(self.process.id())
    }

    /// The first line of an answer.
    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.path()).unwrap();
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        let mut answer = vec![0; 4096];
        let len = stream.read(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..len]);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Channels that somebody hears.
    fn channel_count(&self) -> usize {
        self.ask("PUBSUB CHANNELS *")
            .trim_start_matches('*')
            .parse()
            .unwrap_or(0)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl<'a> Cluster<'a> {
    fn start(maker: Maker, redis: &'a Redis, peers: Option<&Path>, node_count: usize) -> Self {
        redis.ask("FLUSHALL");
        let nodes = (0..node_count)
            .map(|_| match (maker, peers) {
                (Maker::SocketIo, Some(folder)) => socket_io(folder, redis),
                _ => websock(redis),
            })
            .collect();
        let cluster = Self {
            maker,
            redis,
            nodes,
        };
        cluster.await_each_other();
        cluster
    }

    /// Until a message to everybody reaches a page at each node.
    fn await_each_other(&self) {
        let mut tabs: Vec<Tab> = (0..self.nodes.len()).map(|at| self.open(at)).collect();
        for sender in 0..tabs.len() {
            let wanted = tabs.len() - 1;
            loop {
                let before: usize = tabs.iter().map(|tab| tab.messages).sum();
                let packet = self.broadcast("hello");
                tabs[sender].send(&packet);
                let until = Instant::now() + Duration::from_millis(300);
                let heard = |tabs: &mut [Tab]| {
                    tabs.iter_mut().for_each(Tab::read);
                    tabs.iter().map(|tab| tab.messages).sum::<usize>() - before
                };
                while heard(&mut tabs) < wanted && Instant::now() < until {
                    std::thread::yield_now();
                }
                if heard(&mut tabs) >= wanted {
                    break;
                }
            }
        }
    }

    fn address(&self, node: usize) -> SocketAddr {
        match &self.nodes[node] {
            Node::Websock(server) => server.address(),
            Node::SocketIo(_, address) => *address,
        }
    }

    fn open(&self, node: usize) -> Tab {
        Tab::open(self.maker, self.address(node), "")
    }

    fn broadcast(&self, text: &str) -> String {
        match self.maker {
            Maker::Websock => format!(r#"{{"opcode":"broadcast","message":"{text}"}}"#),
            Maker::SocketIo => format!(r#"42["broadcast","{text}"]"#),
        }
    }

    fn feedback(&self, id: &str, text: &str) -> String {
        match self.maker {
            Maker::Websock => {
                format!(r#"{{"opcode":"feedback","uuid":"{id}","message":"{text}"}}"#)
            }
            Maker::SocketIo => format!(r#"42["feedback","{id}","{text}"]"#),
        }
    }

    fn cpu_time(&self) -> Duration {
        let of = |node: &Node| match node {
            Node::Websock(server) => server.cpu_time(),
            Node::SocketIo(process, _) => cpu_time_of(process.id()),
        };
        self.nodes.iter().map(of).sum()
    }

    /// Does it again and again for so long, and at least once.
    fn measure(&self, time: Duration, mut operation: impl FnMut()) -> Cost {
        (0..20).for_each(|_| operation());
        let (servers, redis) = (self.cpu_time(), self.redis.cpu_time());
        let mut took = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time || took.is_empty() {
            let before = Instant::now();
            operation();
            took.push(before.elapsed());
        }
        let per_operation = |time: Duration| time.as_secs_f64() * 1e6 / took.len() as f64;
        let servers_us = per_operation(self.cpu_time() - servers);
        let redis_us = per_operation(self.redis.cpu_time() - redis);
        took.sort_unstable();
        let percentile = |percent: usize| took[(took.len() - 1) * percent / 100];
        Cost {
            servers_us,
            redis_us,
            p50_us: percentile(50).as_secs_f64() * 1e6,
            p99_us: percentile(99).as_secs_f64() * 1e6,
        }
    }

    /// From a client of the first node to one of the last.
    fn measure_feedback(&self, time: Duration) -> Cost {
        let (mut sender, mut receiver) = (self.open(0), self.open(self.nodes.len() - 1));
        let packet = self.feedback(&receiver.id, &"x".repeat(64));
        self.measure(time, || {
            sender.send(&packet);
            receiver.await_messages(1);
            sender.read();
        })
    }

    /// From a client of the first node to so many at each.
    fn measure_broadcast(&self, tab_count: usize, time: Duration) -> Cost {
        let mut sender = self.open(0);
        let mut poll = Poll::new().unwrap();
        let mut tabs: Vec<Tab> = (0..self.nodes.len() * tab_count)
            .map(|at| {
                let mut tab = self.open(at % self.nodes.len());
                let (socket, token) = (&mut tab.socket, Token(at));
                poll.registry()
                    .register(socket, token, Interest::READABLE)
                    .unwrap();
                tab
            })
            .collect();
        let packet = self.broadcast(&"x".repeat(128));
        let mut events = Events::with_capacity(4096);
        self.measure(time, || {
            let wanted = tabs.iter().map(|tab| tab.messages).sum::<usize>() + tabs.len();
            sender.send(&packet);
            while tabs.iter().map(|tab| tab.messages).sum::<usize>() < wanted {
                poll.poll(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "a broadcast has not reached everybody");
                events.iter().for_each(|event| tabs[event.token().0].read());
            }
            sender.read();
        })
    }

    /// By HTTP at the first node, to a client of the last; it ends with the answer.
    fn measure_push(&self, time: Duration) -> Cost {
        let mut receiver = self.open(self.nodes.len() - 1);
        let mut stream = TcpStream::connect(self.address(0)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (path, body) = match self.maker {
            Maker::Websock => (
                "/push".to_owned(),
                self.feedback(&receiver.id, &"x".repeat(64)),
            ),
            Maker::SocketIo => (format!("/push?{}", receiver.id), "x".repeat(64)),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = vec![0; 4096];
        self.measure(time, || {
            stream.write_all(request.as_bytes()).unwrap();
            let len = stream.read(&mut answer).unwrap();
            let text = String::from_utf8_lossy(&answer[..len]);
            assert!(text.contains("\"delivered\":1"), "{text}");
            receiver.await_messages(1);
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Self::SocketIo(process, _) = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn websock(redis: &Redis) -> Node {
    let path = redis.path();
    let auth = users::AUTH_KEY_LINE;
    let ini = format!(
        "loglevel=error\n{auth}backplane=unix:{}\nbackplaneSecret=a secret of thirty-two bytes or more\n\
         backplaneTimeout=10s\n",
        path.display()
    );
    Node::Websock(Server::start_program(Security::Plain, &ini))
}

fn socket_io(folder: &Path, redis: &Redis) -> Node {
    let port = free_port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/loopback/socketio.cjs");
    let process = pinned("node".into())
        .env("NODE_PATH", folder.join("node_modules"))
        .env("NODE_ENV", "production")
        .arg(script)
        .arg(port.to_string())
        .arg(redis.path())
        .spawn()
        .expect("node is installed");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    Node::SocketIo(process, address)
}

/// A client that counts what it is sent.
struct Tab {
    socket: mio::net::TcpStream,
    input: Vec<u8>,
    /// By which others reach it.
    id: String,
    messages: usize,
    is_ready: bool,
}

impl Tab {
    fn open(maker: Maker, address: SocketAddr, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let path = match maker {
            Maker::Websock => "/web",
            Maker::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        stream.set_nonblocking(true).unwrap();
        let mut tab = Self {
            socket: mio::net::TcpStream::from_std(stream),
            input: Vec::new(),
            id: String::new(),
            messages: 0,
            is_ready: false,
        };
        if maker == Maker::SocketIo {
            tab.send("40");
        }
        while !tab.is_ready {
            tab.read();
            std::thread::yield_now();
        }
        tab
    }

    fn send(&mut self, text: &str) {
        let mut bytes = vec![0x81];
        match text.len() {
            len @ ..126 => bytes.push(0x80 | len as u8),
            len => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
        }
        // A mask of zeros.
        bytes.extend([0; 4]);
        bytes.extend(text.as_bytes());
        self.socket.write_all(&bytes).unwrap();
    }

    /// Takes in what has come.
    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the server has closed"),
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        while let Some((payload, len)) = first_frame(&self.input) {
            let text = String::from_utf8_lossy(payload).into_owned();
            self.input.drain(..len);
            self.hear(&text);
        }
    }

    fn hear(&mut self, text: &str) {
        if let Some(rest) = text.strip_prefix(r#"{"opcode":"ready","uuid":""#) {
            (self.id, self.is_ready) = (rest[..36].to_owned(), true);
        } else if let Some(rest) = text.strip_prefix(r#"40{"sid":""#) {
            (self.id, self.is_ready) = (rest.split('"').next().unwrap().to_owned(), true);
        } else if text == "2" {
            self.send("3");
        } else if text.contains(r#""message":"#) || text.starts_with(r#"42["m""#) {
            self.messages += 1;
        }
    }

    fn await_messages(&mut self, count: usize) {
        let wanted = self.messages + count;
        let until = Instant::now() + PATIENCE;
        while self.messages < wanted {
            self.read();
            assert!(Instant::now() < until, "a message has not arrived");
        }
    }
}

/// The payload of the first whole frame, and the bytes of that.
fn first_frame(input: &[u8]) -> Option<(&[u8], usize)> {
    let (len, start) = match *input.get(1)? {
        126 => (
            usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)),
            4,
        ),
        len => (usize::from(len), 2),
    };
    Some((input.get(start..start + len)?, start + len))
}

/// Measures everything; `peers`: the folder in which npm has installed Socket.IO.
pub(crate) fn run(time: Duration, peers: Option<&Path>, svg: &Path, is_test: bool) {
    let installed = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if installed.is_err() {
        return println!("backplane: redis-server is not installed");
    }
    let redis = Redis::start();
    let tab_count = if is_test { 5 } else { 1000 };
    let makers = [Maker::Websock, Maker::SocketIo, Maker::Websock];
    let most = if peers.is_some() { 3 } else { 1 };
    for maker in &makers[..most] {
        let cluster = Cluster::start(*maker, &redis, peers, 3);
        report(*maker, "feedback", &cluster.measure_feedback(time));
        report(*maker, "push with receipt", &cluster.measure_push(time));
        let name = format!("broadcast to 3 x {tab_count}");
        report(*maker, &name, &cluster.measure_broadcast(tab_count, time));
    }
    crowd(&redis, if is_test { 50 } else { 10_000 });
    let counts = if is_test { &[1, 2][..] } else { &[1, 2, 4, 8] };
    let growth: Vec<_> = counts
        .iter()
        .map(|&count| {
            let cluster = Cluster::start(Maker::Websock, &redis, None, count);
            let feedback = cluster.measure_feedback(time);
            let broadcast = cluster.measure_broadcast(if is_test { 2 } else { 100 }, time);
            for (name, cost) in [
                ("feedback", &feedback),
                ("broadcast, 100 tabs each", &broadcast),
            ] {
                report(Maker::Websock, &format!("{count} nodes: {name}"), cost);
            }
            let total = |cost: &Cost| (cost.servers_us, cost.redis_us);
            (count, total(&feedback), total(&broadcast))
        })
        .collect();
    backplane_plot::draw(svg, &growth).unwrap();
    println!("{}", svg.display());
}

fn report(maker: Maker, name: &str, cost: &Cost) {
    let Cost {
        servers_us,
        redis_us,
        p50_us,
        p99_us,
    } = cost;
    println!(
        "{:<9} {name:<36} servers {servers_us:>9.1} us  Redis {redis_us:>7.1} us  \
         p50 {p50_us:>7.0} us  p99 {p99_us:>7.0} us",
        format!("{maker:?}")
    );
}

/// Tabs of as many users at one node, whose subscriptions Redis loses all at once.
fn crowd(redis: &Redis, count: usize) {
    let cluster = Cluster::start(Maker::Websock, redis, None, 1);
    let _tabs: Vec<Tab> = (0..count)
        .map(|at| Tab::open(Maker::Websock, cluster.address(0), &users::cookie(at)))
        .collect();
    while redis.channel_count() < count {
        std::thread::yield_now();
    }
    let (servers, redis_time, began) = (cluster.cpu_time(), redis.cpu_time(), Instant::now());
    redis.ask("CLIENT KILL TYPE pubsub");
    // Asking how many there are costs Redis more than what is measured: once, when it is over.
    let uptime = Duration::from_millis(200);
    let mut asked = 0;
    loop {
        let next = Instant::now() + uptime;
        while Instant::now() < next {
            std::thread::yield_now();
        }
        asked += 1;
        if redis.channel_count() >= count {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "crowd: {count} users subscribed to again within {seconds:.2} s (asked {asked} times), \
         server {:.0} ms, Redis {:.0} ms",
        (cluster.cpu_time() - servers).as_secs_f64() * 1e3,
        (redis.cpu_time() - redis_time).as_secs_f64() * 1e3,
    );
}
