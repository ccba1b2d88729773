//! What it costs that pages have opted in to replay (protocol.md §9), beside the same without.

use std::time::Duration;

use websock::protocol::frame;

use crate::load::{Flow, Outcome, Pace, drive};
use crate::peers::median;
use crate::rows;
use crate::server::{Kind, Server};
use crate::wire::NEXT_LEN;

/// What is done, for so long, with pages that have opted in or not.
type Measure = fn(bool, usize, Duration) -> Outcome;

/// Each with the number of its connections.
const ROWS: [(&str, usize, Measure); 5] = [
    ("echo-64x1-64", 64, |is_in, count, time| {
        echo(is_in, count, 1, time)
    }),
    ("echo-64x16-64", 64, |is_in, count, time| {
        echo(is_in, count, 16, time)
    }),
    ("broadcast-1000x1-128", 1000, |is_in, count, time| {
        broadcast(is_in, count, 1, time)
    }),
    ("broadcast-1000x16-128", 1000, |is_in, count, time| {
        broadcast(is_in, count, 16, time)
    }),
    ("feedback-8-among-1000", 1000, feedback),
];

/// Measures each row without and with, in turn, forwards and backwards; prints the medians.
pub(crate) fn run(time: Duration, rounds: usize, is_test: bool) {
    for (name, count, measure) in ROWS {
        let count = if is_test { count.min(20) } else { count };
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            for is_second in [false, true] {
                let is_in = is_second ^ (round % 2 == 1);
                let cost = measure(is_in, count, time).cpu_micros();
                figures[usize::from(is_in)].push(cost);
            }
        }
        let [without, with] = figures.map(median);
        let more = 100.0 * (with / without - 1.0);
        println!("{name:<24} without {without:>8.3} us, opted in {with:>8.3} us, {more:+.1} %");
    }
    let count = if is_test { 20 } else { 5000 };
    let memory = |is_in| {
        let bytes = (0..rounds.min(3))
            .map(|_| idle_bytes(is_in, count))
            .collect();
        median(bytes)
    };
    let (without, with) = (memory(false), memory(true));
    let more = with - without;
    println!("idle, {count} pages: without {without:.0} bytes, opted in {with:.0}, {more:+.0}");
}

fn echo(is_in: bool, connections: usize, depth: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let packet = rows::packet("echo", "", 64);
    let response_len = NEXT_LEN + frame::frame_len(packet.len());
    let page = || {
        let page = rows::page_as(&server, is_in, "");
        page.exchanging(rows::masked(packet.as_bytes()), response_len)
    };
    let mut flows: Vec<Flow> = (0..connections).map(|_| page()).collect();
    drive(&mut flows, Pace::Each(depth), time, &server)
}

fn broadcast(is_in: bool, receivers: usize, depth: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let packet = rows::packet("broadcast", "", 128);
    let request = rows::masked(packet.as_bytes());
    let mut flows = vec![rows::page_as(&server, is_in, "").exchanging(request, NEXT_LEN)];
    flows.extend((0..receivers).map(|_| rows::page_as(&server, is_in, "").receiving_frames()));
    drive(&mut flows, Pace::First(depth), time, &server)
}

/// From eight scripts, each to a page of its own.
fn feedback(is_in: bool, clients: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let scripts = 8;
    let others = scripts..clients;
    let _others: Vec<Flow> = others.map(|_| rows::page_as(&server, is_in, "")).collect();
    let mut flows = Vec::new();
    for number in 0..scripts {
        let packet = rows::packet("feedback", &format!("page{number}"), 64);
        let script = rows::script(&server);
        flows.push(script.exchanging(rows::masked(packet.as_bytes()), NEXT_LEN));
        let page = rows::page_as(&server, is_in, &format!("Ident: page{number}\r\n"));
        flows.push(page.receiving_frames());
    }
    rows::expect_half(drive(&mut flows, Pace::Each(1), time, &server))
}

/// Resident memory (PSS) per page.
fn idle_bytes(is_in: bool, count: usize) -> f64 {
    let server = Server::start(Kind::Websock);
    let before = server.pss_bytes();
    let _pages: Vec<Flow> = (0..count)
        .map(|_| rows::page_as(&server, is_in, ""))
        .collect();
    server.pss_bytes().saturating_sub(before) as f64 / count as f64
}
