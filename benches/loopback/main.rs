//! The real server in its own process, measured over loopback from a small generator.
//!
//! ```text
//! cargo bench --bench loopback -- [ROW...] [--clients N] [--seconds S] [--json] [--compare FILE]
//!     [--svg FILE]
//! ```
//!
//! Rows: `idle` opens N web clients (default 10,000), keeps them through two rounds of pings at
//! `pingInterval=5`, and shows that each is still served; it prints the server's memory per client
//! (PSS of the process, kernel memory not included) and its CPU time; `idle-tls` the same with a
//! fifth of them, as each costs a handshake before the first ping is due; `signin-idle` with clients
//! each of which has signed in as a user of its own. All others are named by what
//! they do, connections, messages under way and bytes; a ROW chooses those that begin with it. They
//! print the server's CPU time per operation, operations per second, and the generator's latencies.
//! `echo-tcp` and `feedback-tcp` rows are bare TCP, the floor; `-tls` rows speak TLS 1.3 to an ECDSA P-256
//! certificate, `connect-tls` with a full handshake each. With `--json` a line of JSON for each row, which
//! `--compare` takes from a file and holds the new figures against.
//!
//! Three more run only where they are named:
//! `growth` measures echo, broadcast, feedback, push, connect and memory at 1 to 15,000 connections
//! and draws them into `--svg FILE` (default: benches/growth.svg); `vps` holds the server to one core
//! and 512 MB, opens as many tabs as descriptors allow, and tells what it does beside them;
//! `busy-day` keeps 10,000 tabs, 200 scripts and a broadcast each second for ten minutes;
//! `tails` sends a feedback every millisecond while something big goes on (`--loads abcde`, all by
//! default: see `tail_loads.rs`), `--rounds` times `--seconds`, and draws how long they took
//! (default: benches/tails.svg). `tails peers DIR` does so with every program in DIR, too, in turn:
//! each is started as `FILE PORT [CERT KEY]`, with COMPRESSION=on in its environment for (e), and
//! speaks the dialogue on `/web`. Priorities are raised where that is allowed.
//!
//! `peers DIR` measures echo, broadcast, feedback, connect and an idle page's memory, here and on every
//! program in DIR, in turn (`--rounds`), and prints the medians: a table beside others in one run.
//!
//! `backplane` measures three servers that are one by a Redis (protocol.md §11), what a message to
//! another of them costs the servers and Redis, a crowd that comes back, and growth with the number of
//! servers (default: benches/backplane.svg); `backplane peers DIR` Socket.IO with its Redis adapter as
//! well, which `npm install --prefix DIR socket.io @socket.io/redis-adapter redis` has put into DIR.
//!
//! `opted-in` runs echo, broadcast and feedback with all pages opted in to replay (`?resume=1`) and
//! without, in turn (`--rounds`), and compares an idle page's memory.
//!
//! `restart` stops a server (SIGTERM) for which `--clients` tabs may come back, each with as much as is
//! kept for it, starts another, has all come back at once, and draws when each has got everything
//! (default: benches/restart.svg).
//!
//! The server runs on the first core (by `taskset`), the generator on the second.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // a measurement that fails has to stop

mod backplane;
mod backplane_plot;
mod busy_day;
mod client;
mod growth;
mod load;
mod opted_in;
mod peers;
mod restart;
mod rows;
mod server;
mod sources;
mod tail_loads;
mod tail_plot;
mod tails;
mod users;
mod vps;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::Client;
use mio::{Events, Interest, Poll, Token};
use server::Server;
use wire::Security;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(kind) = value_of(&arguments, "--serve") {
        return server::serve(kind);
    }
    let is_json = arguments.iter().any(|a| a == "--json");
    // `cargo test` runs benches with --test: a small round shows that they still work.
    let is_test = arguments.iter().any(|a| a == "--test");
    websock::ops::raise_open_file_limit(0);
    run_on_second_core();
    let known =
        value_of(&arguments, "--compare").map(|file| std::fs::read_to_string(file).unwrap());
    let seconds = value_of(&arguments, "--seconds").map_or(3.0, |s| s.parse().unwrap());
    let time = Duration::from_secs_f64(if is_test { 0.05 } else { seconds });
    let clients = value_of(&arguments, "--clients").map_or(10_000, |n| n.parse().unwrap());
    let chosen = names(&arguments);
    let is_chosen = |name: &str| {
        chosen.is_empty() || chosen.iter().any(|begin| name.starts_with(begin.as_str()))
    };
    for (name, security, count, who) in [
        ("idle", Security::Plain, clients, Who::Anonymous),
        ("idle-tls", Security::Tls, clients / 5, Who::Anonymous),
        ("signin-idle", Security::Plain, clients, Who::Users),
    ] {
        if is_chosen(name) {
            let count = if is_test { 50 } else { count };
            idle((name, security, count, who), is_json);
        }
    }
    for row in rows::rows().iter().filter(|row| is_chosen(&row.name)) {
        report(&row.name, &(row.run)(time), is_json, known.as_deref());
    }
    let is_named = |name: &str| is_test || chosen.iter().any(|row| row == name);
    let svg = value_of(&arguments, "--svg").map_or_else(|| plot("growth", is_test), PathBuf::from);
    if is_named("growth") {
        growth::run(time, &svg, is_json, is_test);
    }
    if is_named("vps") {
        vps::run(time, is_json, is_test);
    }
    let peers_at = chosen.iter().position(|name| name == "peers");
    let peers_at = peers_at.map(|at| Path::new(&chosen[at + 1]));
    // Behind the name of another row they belong to that.
    if is_test || chosen.first().is_some_and(|name| name == "peers") {
        let rounds = value_of(&arguments, "--rounds").map_or(7, |n| n.parse().unwrap());
        let programs = peers_at.map_or_else(Vec::new, peers::programs_in);
        peers::run(&programs, time, if is_test { 1 } else { rounds }, is_test);
    }
    if is_named("tails") {
        let programs = peers_at.map_or_else(Vec::new, peers::programs_in);
        let plan = tails_plan(&arguments, programs, time, is_test);
        let svg =
            value_of(&arguments, "--svg").map_or_else(|| plot("tails", is_test), PathBuf::from);
        tails::run(&plan, &svg, is_json);
    }
    if is_named("backplane") {
        let svg =
            value_of(&arguments, "--svg").map_or_else(|| plot("backplane", is_test), PathBuf::from);
        backplane::run(time, peers_at, &svg, is_test);
    }
    if is_named("opted-in") {
        let rounds = value_of(&arguments, "--rounds").map_or(7, |n| n.parse().unwrap());
        opted_in::run(time, if is_test { 1 } else { rounds }, is_test);
    }
    if is_named("restart") {
        let svg =
            value_of(&arguments, "--svg").map_or_else(|| plot("restart", is_test), PathBuf::from);
        restart::run(if is_test { 20 } else { clients }, &svg);
    }
    if is_named("busy-day") {
        let time = Duration::from_secs_f64(
            value_of(&arguments, "--seconds").map_or(600.0, |s| s.parse().unwrap()),
        );
        busy_day::run(busy_day::plan(time, is_test), is_json);
    }
    wire::clean_up();
}

/// Where the plot goes; that of a test is of no use to anybody.
fn plot(name: &str, is_test: bool) -> PathBuf {
    if is_test {
        std::env::temp_dir().join(format!("websock-{name}-{}.svg", std::process::id()))
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/{name}.svg"))
    }
}

fn tails_plan(
    arguments: &[String],
    peers: Vec<PathBuf>,
    time: Duration,
    is_test: bool,
) -> tails::Plan {
    let letters = value_of(arguments, "--loads").unwrap_or("abcde");
    let loads = tail_loads::Load::ALL.into_iter();
    let rounds = value_of(arguments, "--rounds").map_or(3, |n| n.parse().unwrap());
    tails::Plan {
        loads: loads
            .filter(|load| letters.contains(load.letter()))
            .collect(),
        peers,
        rounds: if is_test { 1 } else { rounds },
        time,
        scale: match is_test {
            true => tail_loads::Scale::Test,
            false => tail_loads::Scale::Full,
        },
    }
}

/// What stands behind an option.
fn value_of<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|a| a == option)?;
    Some(arguments.get(at + 1).expect("an option's value"))
}

/// The arguments that are neither options nor their values.
fn names(arguments: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--clients" | "--seconds" | "--compare" | "--svg" | "--loads" | "--rounds" => {
                rest.next();
            }
            name if name.starts_with("--") => {}
            name => names.push(name.to_owned()),
        }
    }
    names
}

fn run_on_second_core() {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(1);
    // A machine with one core has to do.
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}

fn report(name: &str, outcome: &load::Outcome, is_json: bool, known: Option<&str>) {
    let cpu = outcome.cpu_micros();
    let per_second = outcome.operations as f64 / outcome.seconds;
    let [p50, p99] = [50, 99].map(|percent| outcome.percentile(percent).as_secs_f64() * 1e6);
    if is_json {
        println!(
            r#"{{"row":"{name}","server_us":{cpu:.3},"per_second":{per_second:.0},"p50_us":{p50:.0},"p99_us":{p99:.0}}}"#
        );
        return;
    }
    let before = known.and_then(|lines| {
        let line = lines
            .lines()
            .find(|line| line.contains(&format!("\"{name}\"")))?;
        let figure = line.split(r#""server_us":"#).nth(1)?;
        figure.split(',').next()?.parse::<f64>().ok()
    });
    let change = before.map_or(String::new(), |before| {
        format!("  {:+.1} %", (cpu / before - 1.0) * 100.0)
    });
    println!(
        "{name:<28} {cpu:>9.3} us  {per_second:>9.0}/s  p50 {p50:>7.0} us  p99 {p99:>7.0} us{change}"
    );
}

/// Whose clients are idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Anonymous,
    /// Each is signed in as another user.
    Users,
}

/// Opens `count` clients and keeps them through two rounds of pings.
fn idle((name, security, count, who): (&str, Security, usize, Who), is_json: bool) {
    let pings = "pingInterval=5\npongTimeout=4\n";
    let ini = match who {
        Who::Anonymous => pings.to_owned(),
        Who::Users => format!("{pings}{}", users::AUTH_KEY_LINE),
    };
    let server = Server::start_program(security, &ini);
    let memory_before = server.pss_bytes();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    for index in 0..count {
        let mut client = match who {
            Who::Anonymous => Client::open(&server),
            Who::Users => Client::open_as(&server, &users::cookie(index)),
        };
        poll.registry()
            .register(client.socket(), Token(index), Interest::READABLE)
            .unwrap();
        clients.push(client);
        // On a busy machine the first ones are pinged before the last one is there.
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        for event in &events {
            clients[event.token().0].answer_pings();
        }
    }
    let memory_after = server.pss_bytes();
    let pings_before: Vec<usize> = clients.iter().map(Client::ping_count).collect();
    let cpu_before = server.cpu_time();
    let began = Instant::now();

    let is_missing = |(client, before): (&Client, &usize)| client.ping_count() < before + 2;
    while clients.iter().zip(&pings_before).any(is_missing) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "two rounds of pings took over 60 s"
        );
        poll.poll(&mut events, Some(Duration::from_secs(1)))
            .unwrap();
        for event in &events {
            clients[event.token().0].answer_pings();
        }
    }
    let (elapsed, cpu) = (began.elapsed(), server.cpu_time() - cpu_before);
    for client in &mut clients {
        client.expect_echo();
    }
    let per_client = (memory_after - memory_before) as f64 / count as f64;
    let cpu_share = 100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64();
    if is_json {
        println!(
            r#"{{"row":"{name}","clients":{count},"pss_per_client":{per_client:.0},"pings":{},"seconds":{:.1},"cpu_seconds":{:.3}}}"#,
            2 * count,
            elapsed.as_secs_f64(),
            cpu.as_secs_f64()
        );
    } else {
        println!("{name}: {count} web clients, all served after two rounds of pings");
        println!("  memory: {per_client:.0} bytes of PSS per client, {memory_before} bytes before");
        println!(
            "  CPU: {:.2} s in {:.1} s ({cpu_share:.1} % of a core), {:.1} us per ping and pong",
            cpu.as_secs_f64(),
            elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / (2 * count) as f64
        );
    }
}
