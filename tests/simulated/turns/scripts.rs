//! Frames to deployed PHP clients: gaps where they are needed, and none elsewhere (protocol.md 6.1).

use std::time::Duration;

use crate::server::{NEXT, Server, push, settings};

const FEEDBACK: &str = r#"{"opcode":"feedback","uuid":"nobody"}"#;

const GAP: Duration = Duration::from_micros(200);

#[test]
fn frames_in_a_row_are_a_gap_apart_and_the_loop_wakes_for_each() {
    let mut server = Server::new(&settings());
    let mut script = server.open_php("script", "127.0.0.1");
    server.advance(Duration::from_millis(10));
    script.end.take_writes();
    script.say(r#"{"opcode":"echo"}"#);
    server.settle();
    assert_eq!(script.heard(), [NEXT], "the echo keeps its distance");
    assert_eq!(
        server.event_loop.next_wait(),
        Some(GAP),
        "a timer of its own"
    );
    server.advance(GAP - Duration::from_micros(1));
    assert_eq!(script.heard(), [""; 0]);
    server.advance(Duration::from_micros(1));
    assert_eq!(script.heard(), [r#"{"opcode":"echo"}"#]);
    let writes = script.end.take_writes();
    assert_eq!(
        writes.iter().map(|(len, _)| *len).collect::<Vec<_>>(),
        [8192; 2]
    );
    assert_eq!(writes[1].1 - writes[0].1, GAP);
}

#[test]
fn a_script_that_waits_for_each_next_gets_it_at_once() {
    let mut server = Server::new(&settings());
    let mut script = server.open_php("script", "127.0.0.1");
    // The clock stands still: nothing may wait for it.
    for round in 0..500 {
        script.say(FEEDBACK);
        server.turn();
        assert_eq!(script.heard(), [NEXT], "round {round}");
    }
}

const PUSHED: &str = r#"{"opcode":"feedback","ident":"script"}"#;

fn push_to_script(server: &mut Server) {
    let answer = server.ask(&push(PUSHED), "127.0.0.1");
    assert!(answer.ends_with("{\"delivered\":1}\n"), "{answer}");
}

#[test]
fn a_frame_that_others_have_pushed_in_between_keeps_its_distance() {
    let mut server = Server::new(&settings());
    let mut script = server.open_php("script", "127.0.0.1");
    server.advance(Duration::from_millis(10));
    script.end.take_writes();
    let mut heard = Vec::new();
    for round in 1..=100 {
        push_to_script(&mut server);
        // It is slower than the gap now and then.
        server.advance(GAP / 2 * (round % 4));
        script.say(FEEDBACK);
        server.settle();
        while heard.iter().filter(|h| *h == NEXT).count() < round as usize {
            heard.extend(script.heard());
            server.advance(GAP / 4);
            assert!(heard.len() < 300);
        }
    }
    assert_eq!(heard.iter().filter(|h| *h == PUSHED).count(), 100);
    let writes = script.end.take_writes();
    assert_eq!(writes.len(), 200, "one write for each");
    for (two, first) in writes.windows(2).zip(&heard) {
        let gap = two[1].1 - two[0].1;
        assert!(
            first == NEXT || gap >= GAP,
            "{gap:?} behind what may be unread"
        );
    }
}

#[test]
fn a_script_that_speaks_before_it_has_its_next_has_not_read_what_came_before() {
    let mut server = Server::new(&settings());
    let mut script = server.open_php("script", "127.0.0.1");
    server.advance(Duration::from_millis(10));
    script.end.take_writes();
    push_to_script(&mut server);
    for _ in 0..2 {
        script.say(FEEDBACK);
        server.settle();
    }
    server.advance(Duration::from_millis(10));
    assert_eq!(script.heard(), [PUSHED, NEXT, NEXT]);
    let writes = script.end.take_writes();
    assert!(writes[1].1 - writes[0].1 >= GAP, "{writes:?}");
}

#[test]
fn scripts_from_elsewhere_get_two_milliseconds() {
    let mut server = Server::new(&settings());
    let mut script = server.open_php("script", "203.0.113.1");
    server.advance(Duration::from_millis(10));
    script.say(r#"{"opcode":"echo"}"#);
    server.settle();
    assert_eq!(script.heard(), [NEXT]);
    server.advance(Duration::from_micros(1999));
    assert_eq!(script.heard(), [""; 0]);
    server.advance(Duration::from_micros(1));
    assert_eq!(script.heard(), [r#"{"opcode":"echo"}"#]);
}

#[test]
fn a_script_that_does_not_read_is_told_when_it_reads_again() {
    let mut server = Server::new(&settings());
    let end = server.connect_with("127.0.0.1", 10_000);
    let headers = "Client-Type: php\r\nIdent: script\r\n";
    let mut script = server.open_on(end, "/php", headers);
    server.advance(Duration::from_millis(10));
    let echoes: Vec<String> = (0..20)
        .map(|n| format!(r#"{{"opcode":"echo","n":{n}}}"#))
        .collect();
    echoes.iter().for_each(|echo| script.say(echo));
    server.advance(Duration::from_secs(20));
    assert_eq!(
        server.event_loop.next_wait(),
        None,
        "it waits for room, not for time"
    );
    let mut heard = Vec::new();
    for _ in 0..200 {
        heard.extend(script.heard());
        server.advance(Duration::from_millis(1));
    }
    let expected: Vec<&str> = echoes.iter().flat_map(|echo| [NEXT, echo]).collect();
    assert_eq!(heard, expected);
}
