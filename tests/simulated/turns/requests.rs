//! HTTP requests whose answers take several turns: what stands behind them stays as it is.

use websock::ops::signals::Signal;

use crate::server::{Client, NEXT, Server, push, settings};
use crate::system::FarEnd;

const PACKETS: usize = 10_000;

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn batch() -> String {
    let packet = |n| format!(r#"{{"opcode":"broadcast","n":{n}}}"#);
    let packets: Vec<String> = (0..PACKETS).map(packet).collect();
    push(&format!("[{}]", packets.join(",")))
}

/// Heads and bodies of responses that have come whole.
fn responses(bytes: &[u8]) -> Vec<(u16, String)> {
    let mut text = std::str::from_utf8(bytes).unwrap();
    let mut responses = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let (_, length) = head.split_once("\r\nContent-Length: ").expect(head);
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        responses.push((status, rest[..length].to_owned()));
        text = &rest[length..];
    }
    assert_eq!(text, "", "half a response");
    responses
}

/// A batch that spans turns, and behind it, partly in the same segment, more requests. `finish`
/// ends the far end's side in some way.
fn run(finish: impl Fn(&FarEnd)) {
    let mut server = Server::new(&settings());
    let mut members: Vec<Client> = (0..20).map(|_| server.open("192.0.2.1")).collect();
    let mut honest = server.open_php("script", "203.0.113.1");
    let end = server.connect("127.0.0.1");
    let last = r#"{"opcode":"broadcast","n":"last"}"#;
    let feedback = r#"{"opcode":"feedback","ident":"script","n":1}"#;
    let (batch, more) = (batch(), [HEALTH, &push(last)].concat());
    end.send(
        [&batch, HEALTH, &push(feedback), &more[..70]]
            .concat()
            .as_bytes(),
    );
    server.turn();
    let mut turns = 1;
    while end.waiting_len() == 0 {
        if turns == 2 {
            end.send(&more.as_bytes()[70..]);
            finish(&end);
        }
        server.turn();
        turns += 1;
        assert!(turns < 100, "no answer");
    }
    assert!(turns > 4, "{turns} turns are too few for this test");
    server.settle();
    let responses = responses(&end.take(usize::MAX));
    let statuses: Vec<u16> = responses.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200; 5], "{:?}", &responses[1..]);
    let start = format!(
        r#"{{"delivered":{},"results":[{{"delivered":20}},"#,
        20 * PACKETS
    );
    assert!(responses[0].1.starts_with(&start));
    let bodies: Vec<&str> = responses[1..]
        .iter()
        .map(|(_, body)| body.as_str())
        .collect();
    let delivered = |n| format!("{{\"delivered\":{n}}}\n");
    assert_eq!(bodies, ["ok\n", &delivered(1), "ok\n", &delivered(20)]);
    let packet = |n: usize| format!(r#"{{"opcode":"broadcast","n":{n}}}"#);
    let mut expected: Vec<String> = (0..PACKETS).map(packet).collect();
    expected.push(last.to_owned());
    for member in &mut members {
        assert!(member.heard() == expected);
    }
    server.advance(std::time::Duration::from_millis(10));
    assert_eq!(honest.heard(), [feedback]);
}

#[test]
fn what_is_pipelined_behind_a_batch_that_spans_turns_is_answered_in_order() {
    run(|_| {});
}

#[test]
fn who_ends_its_side_behind_a_batch_is_answered_all_the_same() {
    run(FarEnd::end);
}

#[test]
fn others_are_heard_while_a_batch_goes_on() {
    let mut server = Server::new(&settings());
    let _members: Vec<Client> = (0..20).map(|_| server.open("192.0.2.1")).collect();
    let mut honest = server.open_at("/echo", "", "192.0.2.2");
    let end = server.connect("127.0.0.1");
    end.send(batch().as_bytes());
    let mut turns = 0;
    while end.waiting_len() == 0 {
        honest.say("hello");
        server.turn();
        assert_eq!(honest.heard(), ["hello"]);
        turns += 1;
        assert!(turns < 100, "no answer");
    }
    assert!(turns > 4, "{turns}");
}

#[test]
fn who_resets_in_the_middle_of_its_batch_is_forgotten() {
    let mut server = Server::new(&settings());
    let mut member = server.open("192.0.2.1");
    let members: Vec<Client> = (0..20).map(|_| server.open("192.0.2.1")).collect();
    let end = server.connect("127.0.0.1");
    end.send(batch().as_bytes());
    server.turn();
    end.reset();
    server.settle();
    assert_eq!(server.event_loop.link_count(), 1 + members.len());
    assert_eq!(server.event_loop.held_bytes(), 0);
    assert!(!member.heard().is_empty());
    member.say(r#"{"opcode":"none"}"#);
    server.settle();
    assert_eq!(member.heard(), [NEXT]);
}

#[test]
fn a_response_that_had_to_wait_for_its_reader_is_followed_by_the_end_at_once() {
    let mut server = Server::new(&settings());
    let _members: Vec<Client> = (0..3).map(|_| server.open("192.0.2.1")).collect();
    let end = server.connect_with("127.0.0.1", 2_000);
    let batch = batch().replacen("Content-Type", "Connection: close\r\nContent-Type", 1);
    end.send(batch.as_bytes());
    server.settle();
    let mut heard = Vec::new();
    while !end.has_ended() {
        let piece = end.take(usize::MAX);
        assert!(!piece.is_empty(), "all has come but the end");
        heard.extend(piece);
        server.settle();
    }
    heard.extend(end.take(usize::MAX));
    assert_eq!(responses(&heard).len(), 1);
}

#[test]
fn a_batch_that_a_stop_meets_half_way_is_carried_out_and_answered() {
    let mut server = Server::new(&settings());
    let mut members: Vec<Client> = (0..20).map(|_| server.open("192.0.2.1")).collect();
    let end = server.connect("127.0.0.1");
    end.send(batch().as_bytes());
    let mut first = Vec::new();
    while first.is_empty() {
        server.turn();
        first = members[0].heard();
    }
    assert!(
        first.len() < PACKETS && end.waiting_len() == 0,
        "it is half way"
    );
    server.system.signal(Signal::Stop);
    server.turn();
    server.settle();
    let responses = responses(&end.take(usize::MAX));
    assert_eq!(responses[0].0, 200);
    let start = format!("{{\"delivered\":{},", 20 * PACKETS);
    assert!(
        responses[0].1.starts_with(&start),
        "{}",
        &responses[0].1[..60]
    );
    let rest = members.iter_mut().map(|member| member.heard().len());
    let rest: Vec<usize> = rest.collect();
    // And behind them that the server stops.
    let mut expected = [PACKETS + 1; 20];
    expected[0] -= first.len();
    assert_eq!(rest, expected);
}

#[test]
fn an_answered_push_weighs_nothing_when_memory_is_short() {
    let mut server = Server::new(&websock::ServerSettings {
        memory_limit_bytes: 4 << 20,
        ..settings()
    });
    let pusher = server.connect("127.0.0.1");
    let packet = format!(r#"{{"opcode":"broadcast","pad":"{}"}}"#, "p".repeat(200));
    let body = format!("[{}]", vec![packet; 4_000].join(","));
    send_all(&mut server, &pusher, push(&body).as_bytes());
    assert_eq!(responses(&pusher.take(usize::MAX)).len(), 1);
    // Others begin messages of 900 KB until somebody has to go.
    let heavy: Vec<Client> = (0..8)
        .map(|n| server.open(&format!("203.0.113.{n}")))
        .collect();
    let head = [0x81, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0x42, 0x40, 0, 0, 0, 0];
    let begun = [&head[..], &[b'x'; 900_000]].concat();
    for client in &heavy {
        send_all(&mut server, &client.end, &begun);
    }
    assert!(heavy.iter().any(|client| client.end.closed().is_some()));
    assert!(pusher.closed().is_none(), "who holds nothing was cut");
}

/// Sends as fast as the server takes it; whoever is cut meanwhile is left alone.
fn send_all(server: &mut Server, end: &FarEnd, bytes: &[u8]) {
    let mut sent = 0;
    while sent < bytes.len() && end.closed().is_none() {
        sent += end.offer(&bytes[sent..]);
        server.settle();
    }
}

#[test]
fn a_push_that_is_the_last_of_a_turns_share_is_answered_though_its_sender_has_ended() {
    for health_count in 505..520 {
        let mut server = Server::new(&settings());
        let end = server.connect("127.0.0.1");
        let packets = vec![r#"{"opcode":"broadcast"}"#; 1_900].join(",");
        let last = push(&format!("[{packets}]"));
        end.send([HEALTH.repeat(health_count), last].concat().as_bytes());
        end.end();
        server.settle();
        let count = responses(&end.take(usize::MAX)).len();
        assert_eq!(count, health_count + 1);
    }
}
