//! Tails: how long a feedback takes to its tab while something big goes on, here and on peers.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustix::process::{Pid, setpriority_process};

use crate::load::permille;
use crate::peers;
use crate::rows;
use crate::server::Server;
use crate::tail_loads::{Load, Scale};
use crate::tail_plot;
use crate::wire::{PATIENCE, Wire};

/// What is to be measured.
pub(crate) struct Plan {
    pub(crate) loads: Vec<Load>,
    /// Each is started as `FILE PORT [CERT KEY]`, and speaks the dialogue on `/web`.
    pub(crate) peers: Vec<PathBuf>,
    pub(crate) rounds: usize,
    /// Of one server under one load, in one round.
    pub(crate) time: Duration,
    pub(crate) scale: Scale,
}

/// All that was measured of one server under one load.
pub(crate) struct Tail {
    pub(crate) server: String,
    pub(crate) load: Load,
    /// By round, each in order of length.
    rounds: Vec<Vec<Duration>>,
}

impl Tail {
    /// The median of the rounds, of what so many of 1,000 do not exceed.
    fn permille(&self, permille_of: usize) -> Duration {
        let figures = self.rounds.iter().map(|round| permille(round, permille_of));
        let mut figures: Vec<Duration> = figures.collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    }

    /// All rounds together, in order of length.
    pub(crate) fn all(&self) -> Vec<Duration> {
        let mut all = self.rounds.concat();
        all.sort_unstable();
        all
    }
}

/// Measures all servers in turn, forwards and backwards; prints, and draws into `svg`.
pub(crate) fn run(plan: &Plan, svg: &Path, is_json: bool) {
    let mut tails: Vec<Tail> = Vec::new();
    for &load in &plan.loads {
        let first = tails.len();
        let names =
            std::iter::once("websock".to_owned()).chain(plan.peers.iter().map(|p| peers::name(p)));
        tails.extend(names.map(|server| Tail {
            server,
            load,
            rounds: Vec::new(),
        }));
        for round in 0..plan.rounds {
            let mut order: Vec<usize> = (0..=plan.peers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let server = start(load, at.checked_sub(1).map(|peer| &*plan.peers[peer]));
                let mut latencies = measure(&server, load, plan);
                latencies.sort_unstable();
                tails[first + at].rounds.push(latencies);
            }
        }
        tails[first..].iter().for_each(|tail| print(tail, is_json));
    }
    tail_plot::draw(svg, &tails).unwrap();
    println!("{}", svg.display());
}

fn start(load: Load, peer: Option<&Path>) -> Server {
    let server = match peer {
        Some(program) => Server::start_peer(program, load.security(), load.is_compressed()),
        None => Server::start_program(load.security(), load.ini_lines()),
    };
    // What else runs on the machine is not what is measured.
    raise_priority(Pid::from_raw(server.process_id() as i32));
    server
}

/// Of a process, where that is allowed.
fn raise_priority(process: Option<Pid>) {
    let _ = setpriority_process(process, -20);
}

/// Has this thread run as soon as it is woken, where that is allowed.
fn run_at_once() {
    raise_priority(None);
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["-f", "-p", "10", &thread]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn measure(server: &Server, load: Load, plan: &Plan) -> Vec<Duration> {
    let mut probe = Probe::open(server);
    let (is_over, is_under_way) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Dropped when the probe is through, and when it panics.
        let _stop = SetAtEnd(&is_over);
        scope.spawn(|| load.run(server, plan.scale, &is_under_way, &is_over));
        while !is_under_way.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // On a thread of its own: whatever this one starts would run at once, too.
        let probing = scope.spawn(|| {
            run_at_once();
            probe.run(plan.time)
        });
        probing.join().unwrap()
    })
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn print(tail: &Tail, is_json: bool) {
    let ms = |of| tail.permille(of).as_secs_f64() * 1e3;
    let (load, server) = (tail.load.letter(), &tail.server);
    let count: usize = tail.rounds.iter().map(Vec::len).sum();
    let [p50, p99, p999, most] = [ms(500), ms(990), ms(999), ms(1000)];
    if is_json {
        println!(
            r#"{{"row":"tails","load":"{load}","server":"{server}","count":{count},"p50_ms":{p50:.3},"p99_ms":{p99:.3},"p999_ms":{p999:.3},"max_ms":{most:.3}}}"#
        );
    } else {
        println!(
            "tails ({load}) {server:<16} p50 {p50:>8.3}  p99 {p99:>8.3}  p99.9 {p999:>8.3}  max {most:>8.3} ms  ({count})"
        );
    }
}

/// A script, and the tab that it tells something every millisecond.
struct Probe {
    script: Wire,
    tab: Wire,
    uuid: String,
    poll: Poll,
}

impl Probe {
    fn open(server: &Server) -> Self {
        let open = |headers: &str| {
            let read = RefCell::new(Vec::new());
            let opening = rows::opening(headers);
            let is_ready = |answer: &[u8]| {
                answer.clone_into(&mut read.borrow_mut());
                answer.ends_with(b"\"}")
            };
            let wire = Wire::open(server.address(), server.security(), &opening, is_ready);
            (wire, read.into_inner())
        };
        let (script, _) = open(rows::SCRIPT_HEADERS);
        let (mut tab, ready) = open("");
        let ready = String::from_utf8_lossy(&ready).into_owned();
        let uuid = ready.split(r#""uuid":""#).nth(1).and_then(|u| u.get(..36));
        let uuid = uuid.expect("ready has a uuid").to_owned();
        let poll = Poll::new().unwrap();
        poll.registry()
            .register(tab.socket(), Token(0), Interest::READABLE)
            .unwrap();
        Self {
            script,
            tab,
            uuid,
            poll,
        }
    }

    /// Sends on time, whether or not those before have arrived, and measures from when it was to
    /// send: nobody else in the queue would wait less for that.
    fn run(&mut self, time: Duration) -> Vec<Duration> {
        let count = (time.as_nanos() / INTERVAL.as_nanos()) as usize;
        let began = Instant::now() + INTERVAL;
        let due = |number: usize| began + INTERVAL * number as u32;
        let (script, uuid) = (&mut self.script, &self.uuid);
        let (tab, poll) = (&mut self.tab, &mut self.poll);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                run_at_once();
                for number in 0..count {
                    if let Some(rest) = due(number).checked_duration_since(Instant::now()) {
                        std::thread::sleep(rest);
                    }
                    let packet = format!(
                        r#"{{"opcode":"feedback","uuid":"{uuid}","message":"{MARK}{number:09}"}}"#
                    );
                    let request = rows::masked(packet.as_bytes());
                    script.write_all(&request).unwrap();
                    drain(script);
                }
            });
            let mut arrivals = Arrivals::default();
            let mut latencies = Vec::new();
            let mut events = Events::with_capacity(4);
            while latencies.len() < count {
                match tab.read(&mut arrivals.chunk) {
                    Ok(0) => panic!("the server has closed"),
                    Ok(len) => {
                        let now = Instant::now();
                        arrivals.take(len, |number| {
                            assert_eq!(number, latencies.len(), "in order, none lost");
                            latencies.push(now - due(number));
                        });
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let began = Instant::now();
                        match poll.poll(&mut events, Some(PATIENCE)) {
                            Err(error) if error.kind() == ErrorKind::Interrupted => {}
                            polled => polled.unwrap(),
                        }
                        assert!(began.elapsed() < PATIENCE, "feedbacks were lost");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            latencies
        })
    }
}

/// Finds the numbers of feedbacks in what a tab reads.
struct Arrivals {
    chunk: Vec<u8>,
    /// The end of what was read before, in which a mark may have begun.
    kept: Vec<u8>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            chunk: vec![0; 64 << 10],
            kept: Vec::new(),
        }
    }
}

impl Arrivals {
    fn take(&mut self, len: usize, mut on_number: impl FnMut(usize)) {
        self.kept.extend_from_slice(&self.chunk[..len]);
        let mut end = 0;
        while let Some(at) = memchr::memmem::find(&self.kept[end..], MARK.as_bytes()) {
            let digits = end + at + MARK.len()..end + at + MARK_LEN;
            let Some(text) = self.kept.get(digits.clone()) else {
                break;
            };
            on_number(std::str::from_utf8(text).unwrap().parse().unwrap());
            end = digits.end;
        }
        let kept_from = end.max(self.kept.len().saturating_sub(MARK_LEN - 1));
        self.kept.drain(..kept_from);
    }
}

/// Reads what is there, which nobody looks at.
pub(crate) fn drain(wire: &mut Wire) -> usize {
    let (mut count, mut chunk) = (0, [0; 64 << 10]);
    loop {
        match wire.read(&mut chunk) {
            Ok(0) => panic!("the server has closed"),
            Ok(len) => {
                count += len;
                if len < chunk.len() && wire.reads_all() {
                    return count;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Stands before the number of a feedback, which has nine digits.
const MARK: &str = "probe";
const MARK_LEN: usize = MARK.len() + 9;

/// From one feedback to the next.
const INTERVAL: Duration = Duration::from_millis(1);
