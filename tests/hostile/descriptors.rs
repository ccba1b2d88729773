//! No descriptors left.

use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::scene::{QUIET_KEY, Scene, honest_client};

#[test]
fn without_descriptors_newcomers_are_refused_and_it_is_said_once() {
    let server = Server::start_with_descriptors(100, QUIET_KEY);
    let scene = Scene::with(server);
    let mut established = honest_client(&scene.server);
    let mut crowd: Vec<Conn> = (0..300).map(|_| connect(&scene.server)).collect();
    scene.server.wait_for_log("cannot accept");
    let request = Request::to("/web").bytes();
    let mut refused = 0;
    for conn in &mut crowd {
        let _ = conn.try_send_bytes(&request);
        let answer = conn.wait_for_answer();
        refused += usize::from(answer.starts_with(b"HTTP/1.1 503 "));
        established.round_trip();
        scene.step();
    }
    assert!(refused >= 200, "{refused} of 300 got 503");
    // Many attempts later there is still one line.
    let lines = scene.server.log_lines();
    let count = lines
        .iter()
        .filter(|line| line.contains("cannot accept"))
        .count();
    assert_eq!(count, 1, "a flood of log lines");
    drop(crowd);
    eventually("the server takes somebody new", || {
        let mut conn = connect(&scene.server);
        let _ = conn.try_send_bytes(&request);
        conn.wait_for_answer().starts_with(b"HTTP/1.1 101 ")
    });
    drop(established);
    scene.end();
}
