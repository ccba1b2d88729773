//! Broadcasts that go on over several turns: at any split each receiver gets what it would have got if
//! every broadcast had been queued for all at once, and in the same order.

use std::sync::Arc;
use std::time::Duration;

use websock::app::sign_in::SessionStore;
use websock::ops::signals::Signal;
use websock::protocol::php_session::{SessionFolder, SessionOutcome, StoredSession};

use crate::client::{self, PING};
use crate::random::Random;
use crate::server::{Client, NEXT, Server, push, request_to, settings};
use crate::system::FarEnd;

const ECHO: &str = r#"{"opcode":"echo","to":"me"}"#;

/// More than get a broadcast at once.
const CROWD: usize = 300;

/// What a write takes: the whole of a broadcast in one turn, some dozen members a turn, one look at the
/// clock a turn.
const WRITE_COSTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_micros(7),
    Duration::from_micros(60),
    Duration::from_micros(900),
];

fn crowd(server: &mut Server, count: usize) -> Vec<Client> {
    let ends: Vec<FarEnd> = (0..count)
        .map(|_| server.connect_with("192.0.2.8", 64 << 10))
        .collect();
    let open = |(at, end)| server.open_on(end, "/web", &format!("Ident: m{at}\r\n"));
    ends.into_iter().enumerate().map(open).collect()
}

/// All take what comes until nothing does.
fn read_all(server: &mut Server, members: &mut [Client]) {
    server.settle();
    while members.iter().any(|member| member.end.waiting_len() > 0) {
        members
            .iter_mut()
            .for_each(|member| member.take(usize::MAX));
        server.settle();
    }
}

fn broadcast(n: usize) -> String {
    format!(r#"{{"opcode":"broadcast","n":{n}}}"#)
}

/// A member, and what it has to hear.
struct Member {
    client: Client,
    expected: Vec<String>,
    is_open: bool,
}

impl Member {
    fn new(client: Client) -> Self {
        Self {
            client,
            expected: Vec::new(),
            is_open: true,
        }
    }
}

/// Everybody acts at random, one turn after the other; says what each has to hear.
struct Scene {
    server: Server,
    members: Vec<Member>,
    random: Random,
    said_count: usize,
    /// Answers to pushes that are still to come, and how many they were delivered to.
    pushes: Vec<(FarEnd, usize)>,
}

impl Scene {
    fn new(write_cost: Duration, seed: u64) -> Self {
        let mut settings = settings();
        settings.compression.is_on = true;
        settings.compression.threshold_bytes = 16;
        let mut server = Server::new(&settings);
        let mut members: Vec<Member> = crowd(&mut server, CROWD)
            .into_iter()
            .map(Member::new)
            .collect();
        members.extend((0..20).map(|_| Member::new(server.open_compressed("192.0.2.7"))));
        server.system.let_writes_take(write_cost);
        Self {
            server,
            members,
            random: Random::new(seed),
            said_count: 0,
            pushes: Vec::new(),
        }
    }

    fn act(&mut self) {
        self.said_count += 1;
        let at = self.random.below(self.members.len());
        if !self.members[at].is_open {
            return;
        }
        let open_count = self.members.iter().filter(|member| member.is_open).count();
        let text = broadcast(self.said_count);
        match self.random.below(8) {
            0 | 1 => {
                let frame = self.members[at].client.frame_of(&text);
                self.members[at].client.end.send(&frame);
                for (number, member) in self.members.iter_mut().enumerate() {
                    let heard = if number == at { NEXT } else { &text };
                    member.expect(heard);
                }
            }
            2 => {
                self.push(&text, open_count);
                self.members.iter_mut().for_each(|m| m.expect(&text));
            }
            3 | 4 if at < CROWD => {
                let n = self.said_count;
                let text = format!(r#"{{"opcode":"feedback","ident":"m{at}","n":{n}}}"#);
                self.push(&text, 1);
                self.members[at].expect(&text);
            }
            5 => {
                self.members[at]
                    .client
                    .end
                    .send(&client::frame(PING, b"there?"));
                self.members[at].expect("pong there?");
            }
            6 => {
                self.members[at].client.end.send(&client::close(1000, ""));
                self.members[at].expect("close 1000");
                self.members[at].is_open = false;
                return self.let_in_a_newcomer();
            }
            _ => {
                let frame = self.members[at].client.frame_of(ECHO);
                self.members[at].client.end.send(&frame);
                self.members[at].expect(NEXT);
                self.members[at].expect(ECHO);
            }
        }
        self.server.turn();
    }

    fn push(&mut self, text: &str, receiver_count: usize) {
        let end = self.server.connect("127.0.0.1");
        end.offer(push(text).as_bytes());
        // It is accepted in one turn, and read in the next.
        self.server.turn();
        self.pushes.push((end, receiver_count));
    }

    /// Into the slot of whoever has just gone, while broadcasts are under way that it is not for.
    fn let_in_a_newcomer(&mut self) {
        self.server.turn();
        let end = self.server.connect("192.0.2.6");
        end.send(&request_to("/web", ""));
        let mut newcomer = Client::new(end);
        for _ in 0..3 {
            self.server.turn();
        }
        let heard = newcomer.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].starts_with(r#"{"opcode":"ready""#), "{heard:?}");
        self.members.push(Member::new(newcomer));
    }

    fn end(mut self, name: &str) {
        self.server.settle();
        for (at, member) in self.members.iter_mut().enumerate() {
            assert_eq!(
                member.client.heard(),
                member.expected,
                "member {at}, {name}"
            );
        }
        for (end, delivered) in &self.pushes {
            let answer = String::from_utf8(end.take(usize::MAX)).unwrap();
            let body = format!("{{\"delivered\":{delivered}}}\n");
            assert!(answer.ends_with(&body), "{answer}, not {body}, {name}");
        }
    }
}

impl Member {
    fn expect(&mut self, text: &str) {
        if self.is_open {
            self.expected.push(text.to_owned());
        }
    }
}

#[test]
fn each_receiver_gets_everything_in_order_at_any_split() {
    for write_cost in WRITE_COSTS {
        for seed in 1..4 {
            let mut scene = Scene::new(write_cost, seed);
            (0..150).for_each(|_| scene.act());
            scene.end(&format!("{write_cost:?} a write, seed {seed}"));
        }
    }
}

#[test]
fn a_broadcast_goes_on_over_turns_and_whoever_speaks_meanwhile_gets_it_first() {
    let mut server = Server::new(&settings());
    let mut members = crowd(&mut server, CROWD);
    let mut speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(60));
    let texts = [1, 2, 3].map(broadcast);
    let frames: Vec<u8> = texts.iter().flat_map(|text| client::text(text)).collect();
    speaker.end.send(&frames);
    server.turn();
    assert_eq!(speaker.heard(), [NEXT; 3], "who speaks is not kept waiting");
    let has_heard = |member: &Client| member.end.waiting_len() > 0;
    let count = members.iter().filter(|member| has_heard(member)).count();
    assert!(
        (1..CROWD).contains(&count),
        "{count} have heard in one turn"
    );
    assert!(
        members[..count].iter().all(has_heard),
        "in the order of their slots"
    );
    // Somebody who has not heard it yet speaks: first what was said before.
    let late = CROWD - 1;
    members[late].say(ECHO);
    server.turn();
    let expected: Vec<&str> = texts.iter().map(String::as_str).collect();
    let own = [expected.as_slice(), &[NEXT, ECHO]].concat();
    assert_eq!(members[late].heard(), own);
    server.settle();
    for member in &mut members[..late] {
        assert_eq!(member.heard(), expected);
    }
    assert_eq!(members[late].heard(), [""; 0], "nothing comes twice");
}

#[test]
fn a_push_is_answered_when_all_have_it_and_its_answer_counts_them_all() {
    let mut settings = settings();
    settings.limits.max_queue_bytes = 64 << 10;
    let mut server = Server::new(&settings);
    let mut members = crowd(&mut server, CROWD);
    let deaf = server.connect_with("192.0.2.9", 4 << 10);
    let mut deaf = server.open_on(deaf, "/web", "");
    let pad = "p".repeat(40 << 10);
    let text = format!(r#"{{"opcode":"broadcast","pad":"{pad}"}}"#);
    for _ in 0..2 {
        server.ask(&push(&text), "127.0.0.1");
        members.iter_mut().for_each(|member| drop(member.heard()));
    }
    server.system.let_writes_take(Duration::from_micros(60));
    let end = server.connect("127.0.0.1");
    end.offer(push(&text).as_bytes());
    for _ in 0..6 {
        server.turn();
    }
    assert_eq!(end.waiting_len(), 0, "it is not through");
    assert_eq!(members[CROWD - 1].heard(), [""; 0]);
    server.settle();
    let answer = String::from_utf8(end.take(usize::MAX)).unwrap();
    assert!(answer.ends_with("{\"delivered\":300}\n"), "{answer}");
    for member in &mut members {
        assert!(member.heard() == [text.as_str()]);
    }
    server.settle();
    for _ in 0..100 {
        deaf.take(usize::MAX);
        server.settle();
    }
    assert_eq!(deaf.heard().last().unwrap(), "close 1008");
}

#[test]
fn a_storm_of_broadcasts_does_not_queue_faster_than_it_leaves() {
    let mut server = Server::new(&settings());
    let mut members = crowd(&mut server, CROWD);
    let mut speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(60));
    let texts: Vec<String> = (100..500).map(broadcast).collect();
    let len = texts[0].len() + 2;
    let (mut sent_count, mut most_behind, mut most_held) = (0, 0, 0);
    for some in texts.chunks(8) {
        some.iter().for_each(|text| speaker.say(text));
        sent_count += some.len();
        server.turn();
        let least = members.iter().map(|member| member.end.waiting_len()).min();
        most_behind = most_behind.max(sent_count - least.unwrap() / len);
        most_held = most_held.max(server.event_loop.held_bytes());
    }
    assert!(most_behind <= 64, "some are {most_behind} messages behind");
    assert!(most_held < 256 << 10, "{most_held} bytes are held");
    server.settle();
    assert_eq!(speaker.heard().len(), texts.len());
    for member in &mut members {
        assert!(member.heard() == texts);
    }
    assert!(server.event_loop.held_bytes() < 4 << 10);
}

#[test]
fn long_frames_are_queued_for_all_before_too_many_are_under_way() {
    let mut server = Server::new(&settings());
    let open = |server: &mut Server| server.open("192.0.2.8");
    let mut members: Vec<Client> = (0..CROWD).map(|_| open(&mut server)).collect();
    let speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(900));
    let pad = "p".repeat(100 << 10);
    let text = format!(r#"{{"opcode":"broadcast","pad":"{pad}"}}"#);
    let mut most_held = 0;
    for _ in 0..24 {
        speaker.say(&text);
        server.turn();
        members.iter_mut().for_each(|m| m.take(usize::MAX));
        most_held = most_held.max(server.event_loop.held_bytes());
    }
    assert!(most_held < 3 << 19, "{most_held} bytes are held");
    read_all(&mut server, &mut members);
    for member in &mut members {
        assert_eq!(member.heard().len(), 24);
    }
}

#[test]
fn a_stop_in_the_middle_of_a_broadcast_lets_everybody_have_it() {
    let mut server = Server::new(&settings());
    let mut members = crowd(&mut server, CROWD);
    let speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(60));
    speaker.say(&broadcast(1));
    let end = server.connect("127.0.0.1");
    end.offer(push(&broadcast(2)).as_bytes());
    server.turn();
    server.turn();
    server.system.signal(Signal::Stop);
    server.settle();
    for member in &mut members {
        assert_eq!(member.heard(), [&broadcast(1), &broadcast(2), "close 1001"]);
    }
    let answer = String::from_utf8(end.take(usize::MAX)).unwrap();
    assert!(answer.ends_with("{\"delivered\":301}\n"), "{answer}");
}

#[test]
fn nobody_is_cut_for_memory_that_members_are_still_to_get() {
    let mut settings = settings();
    settings.memory_limit_bytes = 400 << 10;
    let mut server = Server::new(&settings);
    let open = |server: &mut Server| server.open("192.0.2.8");
    let mut members: Vec<Client> = (0..150).map(|_| open(&mut server)).collect();
    let (speaker, mut other) = (server.open("192.0.2.1"), server.open("192.0.2.2"));
    server.system.let_writes_take(Duration::from_micros(900));
    let pad = "p".repeat(150 << 10);
    let text = format!(r#"{{"opcode":"broadcast","pad":"{pad}"}}"#);
    speaker.say(&text);
    server.turn();
    assert!(members[149].end.waiting_len() == 0, "it is under way");
    let echo = format!(r#"{{"opcode":"echo","pad":"{pad}{pad}"}}"#);
    let frame = client::text(&echo);
    let (most, rest) = frame.split_at(frame.len() - 9);
    other.end.send(most);
    server.turn();
    server.turn();
    assert!(members[149].end.waiting_len() > 0, "it had to be through");
    other.end.send(rest);
    read_all(&mut server, &mut members);
    for member in &mut members {
        assert_eq!((member.heard().len(), member.end.closed()), (1, None));
    }
    assert_eq!(other.heard(), [&text, NEXT, &echo]);
}

/// Some dozen members get a broadcast in one turn.
const SLOW_WRITE: Duration = Duration::from_micros(60);

#[test]
fn a_newcomer_in_the_slot_of_one_who_has_gone_gets_nothing_of_what_is_under_way() {
    for leave in [FarEnd::reset as fn(&FarEnd), FarEnd::end] {
        let mut server = Server::new(&settings());
        let mut members = crowd(&mut server, CROWD);
        let speaker = server.open("192.0.2.1");
        server.system.let_writes_take(SLOW_WRITE);
        (1..3).for_each(|n| speaker.say(&broadcast(n)));
        server.turn();
        // The last but one in the order of slots, so that somebody waits for longer.
        let gone = members.remove(CROWD - 2);
        assert_eq!(gone.end.waiting_len(), 0);
        leave(&gone.end);
        server.turn();
        assert!(gone.end.closed().is_some(), "its slot is free");
        let end = server.connect("192.0.2.6");
        end.send(&request_to("/web", ""));
        let mut newcomer = Client::new(end);
        (0..3).for_each(|_| server.turn());
        let last = members.last_mut().unwrap();
        assert_eq!(last.heard(), [""; 0], "it is through");
        let heard = newcomer.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].starts_with(r#"{"opcode":"ready""#), "{heard:?}");
        speaker.say(&broadcast(3));
        server.settle();
        assert_eq!(newcomer.heard(), [broadcast(3)]);
        for member in &mut members {
            assert_eq!(member.heard(), [1, 2, 3].map(broadcast));
        }
    }
}

/// Those who have opted in are an audience of their own, so that a few of them are sent to at once.
fn few(server: &mut Server) -> Vec<Client> {
    let open = |_| server.open_at("/web?resume=1", "", "192.0.2.4");
    (0..2).map(open).collect()
}

/// Their cursors left out.
fn said(heard: Vec<String>) -> Vec<String> {
    let plain = |text: String| match text.split_once(r#","cursor""#) {
        Some((start, _)) => format!("{start}}}"),
        None => text,
    };
    heard.into_iter().map(plain).collect()
}

#[test]
fn a_broadcast_to_a_few_is_sent_at_once_in_every_turn() {
    let mut server = Server::new(&settings());
    let mut members = crowd(&mut server, CROWD);
    let mut few = few(&mut server);
    let speaker = server.open("192.0.2.1");
    server.system.let_writes_take(SLOW_WRITE);
    for n in 1..100 {
        speaker.say(&broadcast(n));
        server.turn();
        for one in &mut few {
            assert_eq!(said(one.heard()), [broadcast(n)]);
        }
        assert_eq!(members[CROWD - 1].end.waiting_len(), 0, "{n} is through");
        server.settle();
        members.iter_mut().for_each(|m| m.take(usize::MAX));
    }
}

#[test]
fn many_broadcasts_to_a_few_are_no_longer_sent_at_once_when_together_they_are_many() {
    let mut server = Server::new(&settings());
    let mut resuming: Vec<Client> = (0..100)
        .map(|_| server.open_at("/web?resume=1", "", "192.0.2.4"))
        .collect();
    let mut plain = crowd(&mut server, 100);
    let speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(900));
    speaker.say(&broadcast(1));
    server.turn();
    let all = resuming.iter().chain(&plain);
    let count = all.filter(|client| client.end.waiting_len() > 0).count();
    assert!((100..120).contains(&count), "{count} have it in one turn");
    server.settle();
    for client in resuming.iter_mut().chain(&mut plain) {
        assert_eq!(said(client.heard()), [broadcast(1)]);
    }
}

/// Two tabs of the user 42, who have signed in by a PHP session.
fn tabs_of_a_user(server: &mut Server) -> [Client; 2] {
    [(); 2].map(|()| {
        let mut tab = Client::new(server.connect("192.0.2.5"));
        let cookie = "Cookie: PHPSESSID=a\r\n";
        tab.end.send(&request_to("/web", cookie));
        server.settle();
        let (call, _) = server.system.asked_session().unwrap();
        let session = StoredSession {
            bytes: b"user_id|i:42;".to_vec().into(),
            age: Duration::from_secs(1),
        };
        let found = SessionOutcome::Found(session);
        server.system.answer_session(call, found);
        server.settle();
        assert_eq!(tab.heard().len(), 1, "it is ready");
        tab
    })
}

#[test]
fn what_is_for_a_few_does_not_overtake_what_is_under_way() {
    let mut settings = settings();
    let folder = SessionFolder::parse("/var/lib/php/sessions").unwrap();
    settings.sign_in.sessions.store = Some(SessionStore::Folder(Arc::new(folder)));
    settings.sign_in.sessions.user_key = "user_id".to_owned();
    let mut server = Server::new(&settings);
    let script = server.open_php("script", "127.0.0.1");
    let mut members = crowd(&mut server, CROWD);
    let mut tabs = tabs_of_a_user(&mut server);
    let mut last = server.open("192.0.2.8");
    server.system.let_writes_take(Duration::from_micros(900));
    let feedback = r#"{"opcode":"feedback","user":"42"}"#;
    script.say(&broadcast(1));
    script.say(&broadcast(2));
    script.say(feedback);
    server.turn();
    script.say(&broadcast(3));
    server.turn();
    assert_eq!(members[CROWD - 1].heard(), [""; 0], "it is under way");
    for tab in &mut tabs {
        assert_eq!(tab.heard(), [&broadcast(1), &broadcast(2), feedback]);
    }
    server.settle();
    for tab in &mut tabs {
        assert_eq!(tab.heard(), [broadcast(3)]);
    }
    for member in members.iter_mut().chain([&mut last]) {
        assert_eq!(member.heard(), [1, 2, 3].map(broadcast));
    }
}

#[test]
fn who_is_closed_or_says_goodbye_gets_first_what_is_under_way() {
    let mut server = Server::new(&settings());
    let mut members = crowd(&mut server, CROWD);
    let speaker = server.open("192.0.2.1");
    server.system.let_writes_take(Duration::from_micros(900));
    speaker.say(&broadcast(1));
    server.turn();
    for (at, bytes, expected) in [
        (CROWD - 1, client::close(1000, ""), vec!["close 1000"]),
        (
            CROWD - 2,
            client::text(r#"{"opcode":"quit"}"#),
            vec![NEXT, "close 1000"],
        ),
        (CROWD - 3, client::text("{"), vec![NEXT, "close 1007"]),
        (CROWD - 4, client::frame(0x3, b"x"), vec!["close 1002"]),
        (CROWD - 5, client::frame(PING, b"?"), vec!["pong ?"]),
    ] {
        assert_eq!(members[at].heard(), [""; 0]);
        members[at].end.send(&bytes);
        server.turn();
        let text = broadcast(1);
        let expected = [vec![text.as_str()], expected].concat();
        assert_eq!(members[at].heard(), expected);
    }
    assert_eq!(members[CROWD - 6].heard(), [""; 0], "it is through");
}
