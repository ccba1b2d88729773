//! The main rows beside other programs that speak the dialogue, all in one run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use websock::protocol::frame;

use crate::load::{Flow, Pace, drive};
use crate::rows;
use crate::server::{Kind, Server};
use crate::wire::{NEXT_LEN, Security};

/// A row's name, its number of connections, and what is measured with so many.
type Row = (&'static str, usize, fn(&Server, usize, Duration) -> f64);

const ROWS: [Row; 10] = [
    ("echo-64x1-64", 64, |server, count, time| {
        echo(server, (count, 1, 64), time)
    }),
    ("echo-64x16-64", 64, |server, count, time| {
        echo(server, (count, 16, 64), time)
    }),
    ("echo-16x1-16384", 16, |server, count, time| {
        echo(server, (count, 1, 16 << 10), time)
    }),
    ("echo-4x1-1048576", 4, |server, count, time| {
        echo(server, (count, 1, 1 << 20), time)
    }),
    ("echo-64x1-1048576", 64, |server, count, time| {
        echo(server, (count, 1, 1 << 20), time)
    }),
    ("broadcast-1000x1-128", 1000, |server, count, time| {
        broadcast(server, (count, 1), time)
    }),
    ("broadcast-1000x16-128", 1000, |server, count, time| {
        broadcast(server, (count, 16), time)
    }),
    ("feedback-8-among-1000", 1000, feedback),
    ("connect", 0, |server, _, time| connect(server, time)),
    ("idle-5000", 5000, |server, count, _| idle(server, count)),
];

/// The programs in a directory: its executable files.
pub(crate) fn programs_in(directory: &Path) -> Vec<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let entries = std::fs::read_dir(directory).expect("the directory of peers");
    let mut programs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    programs.retain(is_program);
    programs.sort();
    programs
}

/// A program as it stands in a table.
pub(crate) fn name(program: &Path) -> String {
    program.file_name().unwrap().to_string_lossy().into_owned()
}

/// Measures each row here and on `peers`, in turn, forwards and backwards, each time on a new server;
/// prints the medians, in brackets our part of each.
pub(crate) fn run(peers: &[PathBuf], time: Duration, rounds: usize, is_test: bool) {
    for (row, count, measure) in ROWS {
        let count = if is_test { count.min(20) } else { count };
        let mut figures = vec![Vec::new(); peers.len() + 1];
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..figures.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let server = match at.checked_sub(1) {
                    Some(peer) => Server::start_peer(&peers[peer], Security::Plain, false),
                    None => Server::start(Kind::Websock),
                };
                figures[at].push(measure(&server, count, time));
            }
        }
        let figures: Vec<f64> = figures.into_iter().map(median).collect();
        let unit = if row.starts_with("idle") {
            "bytes"
        } else {
            "us"
        };
        let mut line = format!("{row:<22} websock {:.3} {unit}", figures[0]);
        for (peer, figure) in peers.iter().zip(&figures[1..]) {
            line += &format!("  {} {figure:.3} ({:.2})", name(peer), figures[0] / figure);
        }
        println!("{line}");
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn page(server: &Server) -> Flow {
    rows::page_as(server, false, "")
}

fn echo(server: &Server, (connections, depth, len): (usize, usize, usize), time: Duration) -> f64 {
    let packet = rows::packet("echo", "", len);
    let response_len = NEXT_LEN + frame::frame_len(packet.len());
    let flow = || page(server).exchanging(rows::masked(packet.as_bytes()), response_len);
    let mut flows: Vec<Flow> = (0..connections).map(|_| flow()).collect();
    drive(&mut flows, Pace::Each(depth), time, server).cpu_micros()
}

fn broadcast(server: &Server, (receivers, depth): (usize, usize), time: Duration) -> f64 {
    let mut pages: Vec<Flow> = (0..receivers).map(|_| page(server)).collect();
    rows::broadcast_to(server, &mut pages, depth, time).cpu_micros()
}

/// By uuid, from scripts each of which has a page.
fn feedback(server: &Server, pages: usize, time: Duration) -> f64 {
    let scripts = 8;
    let _others: Vec<Flow> = (scripts..pages).map(|_| page(server)).collect();
    let mut flows = Vec::new();
    for _ in 0..scripts {
        let is_ready = |answer: &[u8]| answer.ends_with(b"\"}");
        let (page, ready) = Flow::open_until(server, &rows::opening(""), is_ready);
        let ready = String::from_utf8_lossy(&ready);
        let uuid = ready.split(r#""uuid":""#).nth(1).and_then(|u| u.get(..36));
        let uuid = uuid.expect("ready has a uuid");
        let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"xxxxxxxx"}}"#);
        flows.push(rows::script(server).exchanging(rows::masked(packet.as_bytes()), NEXT_LEN));
        flows.push(page.receiving_frames());
    }
    rows::expect_half(drive(&mut flows, Pace::Each(1), time, server)).cpu_micros()
}

fn connect(server: &Server, time: Duration) -> f64 {
    rows::connect_to(server, |_| String::new(), time).cpu_micros()
}

/// Memory (PSS) for each page, behind the first 100: code that is reached by the first one is in
/// memory once, however many follow.
fn idle(server: &Server, count: usize) -> f64 {
    let first: Vec<Flow> = (0..count / 50).map(|_| page(server)).collect();
    let before = server.pss_bytes();
    let rest: Vec<Flow> = (first.len()..count).map(|_| page(server)).collect();
    server.pss_bytes().saturating_sub(before) as f64 / rest.len() as f64
}
