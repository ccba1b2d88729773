//! The real server in its own process, measured over loopback from a small generator.
//!
//! ```text
//! cargo bench --bench loopback -- [ROW...] [--clients N] [--json]
//! ```
//!
//! Rows: `idle` opens N web clients (default 10,000), keeps them through two rounds of pings at
//! `pingInterval=5`, and shows that each is still served. It prints the server's memory per client
//! (PSS of the process, kernel memory not included) and its CPU time. Server and generator are kept
//! on different cores where `taskset` is there.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // a measurement that fails has to stop

mod client;
mod server;

use std::time::{Duration, Instant};

use client::Client;
use mio::{Events, Interest, Poll, Token};
use server::Server;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_json = arguments.iter().any(|a| a == "--json");
    let clients = arguments
        .iter()
        .position(|a| a == "--clients")
        .map_or(10_000, |at| {
            arguments
                .get(at + 1)
                .and_then(|n| n.parse().ok())
                .expect("--clients N")
        });
    rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap();
    // `cargo test` runs benches with --test: a small round shows that they still work.
    let clients = if arguments.iter().any(|a| a == "--test") {
        50
    } else {
        clients
    };
    idle(clients, is_json);
}

/// Opens `count` clients and keeps them through two rounds of pings.
fn idle(count: usize, is_json: bool) {
    let server = Server::start("pingInterval=5\npongTimeout=4\n");
    let memory_before = server.pss_bytes();
    let mut poll = Poll::new().unwrap();
    let mut clients: Vec<Client> = (0..count)
        .map(|index| {
            let mut client = Client::open(server.address());
            poll.registry()
                .register(client.socket(), Token(index), Interest::READABLE)
                .unwrap();
            client
        })
        .collect();
    let memory_after = server.pss_bytes();
    let cpu_before = server.cpu_time();
    let began = Instant::now();

    let mut events = Events::with_capacity(1024);
    while clients.iter().any(|client| client.ping_count() < 2) {
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
            r#"{{"row":"idle","clients":{count},"pss_per_client":{per_client:.0},"pings":{},"seconds":{:.1},"cpu_seconds":{:.3}}}"#,
            2 * count,
            elapsed.as_secs_f64(),
            cpu.as_secs_f64()
        );
    } else {
        println!("idle: {count} web clients, all served after two rounds of pings");
        println!("  memory: {per_client:.0} bytes of PSS per client, {memory_before} bytes before");
        println!(
            "  CPU: {:.2} s in {:.1} s ({cpu_share:.1} % of a core), {:.1} us per ping and pong",
            cpu.as_secs_f64(),
            elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / (2 * count) as f64
        );
    }
}
