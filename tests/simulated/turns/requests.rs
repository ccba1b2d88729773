//! HTTP requests whose answers take several turns: what stands behind them stays as it is.

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
