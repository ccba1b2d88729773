//! Sessions in which anything may be changed, cut, doubled or put in at random.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;

use crate::handshakes::{dial, expect_records, read_to_end, record};
use crate::harness::Request;
use crate::harness::tls::{roots, session, trusting_over};
use crate::random::Random;
use crate::scene::Scene;
use crate::sessions::VERSIONS;

/// Spoils what a client is about to send.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.between(1, 3) {
        let place = random.below(bytes.len() + 1);
        let end = random.between(place, bytes.len());
        match random.below(6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            1 => bytes.truncate(place),
            2 => drop(bytes.drain(place..end)),
            3 => {
                let piece = bytes[place..end].to_vec();
                bytes.splice(place..place, piece);
            }
            4 => {
                let len = random.below(40);
                let inserted = record(20 + random.below(5) as u8, &random.bytes(len));
                let place = if random.chance(50) { 0 } else { place };
                bytes.splice(place..place, inserted);
            }
            _ => {
                let len = random.below(40);
                let noise = random.bytes(len);
                bytes.splice(place..end, noise);
            }
        }
    }
}

/// Goes through a handshake and a request, of which the flight number `spoiled` is.
fn play(random: &mut Random, stream: &mut TcpStream, session: &mut ClientConnection) {
    let spoiled = random.below(4);
    for flight in 0..4 {
        if flight == 2 {
            let request = Request::to("/web").bytes();
            session.writer().write_all(&request).expect("room");
        }
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).expect("a vector takes it");
        }
        if flight == spoiled {
            spoil(random, &mut bytes);
        }
        for piece in random.split(&bytes, 4) {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
        if flight >= spoiled {
            // Nothing may come after it.
            break;
        }
        // To a Finished nothing need be answered.
        if session.is_handshaking() || flight == 2 {
            let read = session.read_tls(stream).is_ok_and(|count| count > 0);
            if !read || session.process_new_packets().is_err() {
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

#[test]
fn a_thousand_spoiled_sessions_harm_nobody() {
    let scene = Scene::start("");
    let configs = VERSIONS.map(|version| Arc::new(trusting_over(roots(), &[version])));
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let config = &configs[random.below(configs.len())];
        let mut session = session(Arc::clone(config));
        let mut stream = dial(&scene.server);
        play(&mut random, &mut stream, &mut session);
        let end = read_to_end(&mut stream);
        // What does not begin like TLS is answered in plain.
        if !end.starts_with(b"HTTP/1.1 400 ") {
            expect_records(&format!("seed {seed}"), &end);
        }
        scene.step();
    }
    scene.end();
}
