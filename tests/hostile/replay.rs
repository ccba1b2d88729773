//! Tabs that come back, or say that they do: abandoned by the thousand, guessed, in storms, and those
//! who ask for everything and read nothing.

use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::scene::{Scene, honest_client};

/// What a tab is told first.
struct Tab {
    conn: Conn,
    uuid: String,
    secret: String,
    cursor: String,
}

impl Tab {
    #[track_caller]
    fn open(server: &Server) -> Self {
        let mut conn = connect(server);
        conn.upgrade(&Request::to("/web?resume=1"));
        let ready = conn.read_text("ready");
        Self {
            conn,
            uuid: value(&ready, "uuid"),
            secret: value(&ready, "resume"),
            cursor: value(&ready, "cursor"),
        }
    }

    #[track_caller]
    fn expect_gap(&mut self, uuid: &str, secret: &str, cursor: &str, gap: &str) {
        let packet = format!(
            r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{secret}","cursor":"{cursor}"}}"#
        );
        self.conn.send_text(&packet);
        self.conn.expect_next();
        let resumed = self.conn.read_text("resumed");
        assert!(resumed.contains(&format!(r#""gap":"{gap}""#)), "{resumed}");
        assert_eq!(value(&resumed, "uuid"), self.uuid, "it is nobody else");
    }
}

#[track_caller]
fn value(packet: &str, key: &str) -> String {
    let (_, rest) = packet.split_once(&format!(r#""{key}":""#)).expect(key);
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A figure of the server's.
#[track_caller]
fn metric(server: &Server, name: &str) -> u64 {
    let mut conn = connect(server);
    conn.send_bytes(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let body = conn.read_response().body;
    let line = body.lines().find_map(|line| line.strip_prefix(name));
    let value = line.expect(name).trim().parse::<f64>();
    value.expect("a number") as u64
}

const AWAY: &str = "websock_replay_tabs{state=\"away\"}";

#[test]
fn ten_thousand_abandoned_tabs_are_bounded_and_then_gone() {
    let scene = Scene::start("replayMemory=1M\nreplayTime=4s");
    let server = &scene.server;
    let mut most = 0;
    for number in 0..10_000 {
        let tab = Tab::open(server);
        match number % 3 {
            0 => tab.conn.reset(),
            1 => tab.conn.close(),
            _ => drop(tab),
        }
        if number % 500 == 0 {
            most = most.max(metric(server, AWAY));
            assert!(metric(server, "websock_replay_bytes") <= (1 << 20) + (64 << 10));
        }
        scene.step();
    }
    assert!(most > 100, "nobody was kept");
    eventually("they are forgotten", || metric(server, AWAY) == 0);
    scene.end();
}

#[test]
fn guessed_and_stolen_secrets_change_nothing_for_whom_they_are_about() {
    let scene = Scene::start("");
    let server = &scene.server;
    let mut victim = Tab::open(server);
    let other = Tab::open(server);
    let far = format!("{}.ffffffffffffffff", value_of_epoch(&victim.cursor));
    for number in 0..200_u32 {
        let mut thief = Tab::open(server);
        let guess = format!("{number:032x}");
        let (uuid, secret, cursor) = match number % 5 {
            0 => (&victim.uuid, &guess, &victim.cursor),
            1 => (&victim.uuid, &other.secret, &victim.cursor),
            2 => (&other.uuid, &victim.secret, &victim.cursor),
            3 => (&victim.uuid, &guess, &far),
            _ => (&victim.uuid, &victim.cursor, &guess),
        };
        let (uuid, secret, cursor) = (uuid.clone(), secret.clone(), cursor.clone());
        thief.expect_gap(&uuid, &secret, &cursor, "unknown");
        scene.step();
    }
    // The victim is where it was.
    let text = format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, victim.uuid);
    let mut sender = honest_client(server);
    sender.send_text(&text);
    sender.expect_next();
    let told = victim.conn.read_text("what it is told");
    assert!(told.starts_with(text.trim_end_matches('}')), "{told}");
    drop((victim, other, sender));
    scene.end();
}

fn value_of_epoch(cursor: &str) -> &str {
    cursor.split('.').next().unwrap_or_default()
}

#[test]
fn those_who_ask_for_everything_and_read_nothing_do_not_fill_memory() {
    let scene = Scene::start("memoryLimit=32M\nreplayMemory=4M\nmaxQueue=1M\ncloseTimeout=1");
    let server = &scene.server;
    let mut first = Tab::open(server);
    let since = first.cursor.clone();
    let mut sender = honest_client(server);
    for number in 0..60 {
        let pad = "p".repeat(50_000);
        sender.send_text(&format!(
            r#"{{"opcode":"broadcast","n":{number},"pad":"{pad}"}}"#
        ));
        sender.expect_next();
        let told = first.conn.read_text("a broadcast");
        assert!(told.len() > 50_000);
    }
    // Each has three megabytes to come.
    let request = Request::to(&format!("/web?resume=1&since={since}")).bytes();
    let mut greedy = Vec::new();
    for _ in 0..60 {
        let mut conn = connect(server);
        let _ = conn.try_send_bytes(&request);
        greedy.push(conn);
        scene.step();
    }
    assert!(scene.grown_bytes() < 64 << 20, "{}", scene.grown_bytes());
    drop((first, sender, greedy));
    scene.end_keeping(40 << 20);
}
