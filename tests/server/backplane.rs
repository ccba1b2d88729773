//! Several servers as one (protocol.md §11), with what speaks as a Redis does between them.

use std::thread;

use crate::harness::http::Response;
use crate::harness::redis::Redis;
use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::users::{self, KEY, token};
use rustix::process::Signal;

const SECRET: &str = "a secret that is the same at all servers";

/// Servers around one Redis.
pub(crate) struct Cluster {
    pub(crate) redis: Redis,
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    #[track_caller]
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, "")
    }

    #[track_caller]
    pub(crate) fn start_with(count: usize, more: &str) -> Self {
        let mut cluster = Self {
            redis: Redis::start(),
            nodes: Vec::new(),
        };
        for _ in 0..count {
            cluster.add(more);
        }
        cluster.wait_for_peers();
        cluster
    }

    /// One more server.
    #[track_caller]
    pub(crate) fn add(&mut self, more: &str) {
        let ini = ini(&self.redis, more);
        let server = Server::start(&format!("authKey={KEY}\n{ini}"));
        server.wait_for_log("backplane: connected");
        self.nodes.push(server);
    }

    /// Waits until everybody knows of everybody.
    #[track_caller]
    pub(crate) fn wait_for_peers(&self) {
        let others = self.nodes.len() - 1;
        for node in &self.nodes {
            eventually("the others to be heard", || {
                metric(node, "websock_backplane_peers") == others.to_string()
                    && metric(node, "websock_backplane_connected") == "1"
            });
        }
    }

    /// A page with this ident. Whoever is looked for by it is so from here on.
    #[track_caller]
    fn named(&self, node: usize, ident: &str) -> Conn {
        let channel = format!("websock:i:{ident}");
        let before = self.redis.subscriber_count(&channel);
        let conn = self.nodes[node].web_named(ident);
        self.wait_for_subscribers(&channel, before + 1);
        conn
    }

    /// A tab of this user, of which others know.
    #[track_caller]
    fn tab(&self, node: usize, user: &str) -> Conn {
        let cookie = format!("websock_token={}", token(user));
        let conn = self.nodes[node].open(&Request::to("/web").with("Cookie", &cookie));
        self.wait_until_heard(&conn.uuid, &format!("websock:u:{user}"));
        conn
    }

    /// Waits until the node that this uuid names hears the channel, whoever else does.
    #[track_caller]
    pub(crate) fn wait_until_heard(&self, uuid: &str, channel: &str) {
        let own = format!("websock:n:{}", node_number(uuid));
        eventually("a subscription", || {
            self.redis.is_subscribed_to_all(&[&own, channel])
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_subscribers(&self, channel: &str, count: usize) {
        eventually("subscriptions", || {
            self.redis.subscriber_count(channel) >= count
        });
    }
}

/// The lines of an ini file by which a server belongs to those around this Redis.
fn ini(redis: &Redis, more: &str) -> String {
    let address = redis.address();
    // No test is slower than that, unless somebody is to be late.
    let timeout = match more.contains("backplaneTimeout") {
        true => "",
        false => "backplaneTimeout=10s\n",
    };
    format!("backplane=redis://{address}\nbackplaneSecret={SECRET}\n{timeout}{more}\n")
}

/// Whether an envelope has this packet in it.
fn holds(payload: &[u8], packet: &str) -> bool {
    let mut parts = payload.windows(packet.len());
    parts.any(|part| part == packet.as_bytes())
}

/// The number of the node that a uuid names.
#[track_caller]
fn node_number(uuid: &str) -> u16 {
    u16::from_str_radix(&uuid[32..], 16).expect("hexadecimal")
}

#[track_caller]
fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let (status, answer) = users::ask(server, method, path, body);
    (status, answer.trim_end().to_owned())
}

#[track_caller]
pub(crate) fn push(server: &Server, packet: &str) -> (u16, String) {
    ask(server, "POST", "/push", packet)
}

#[track_caller]
pub(crate) fn metric(server: &Server, name: &str) -> String {
    let (status, text) = ask(server, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(found, _)| *found == name);
    found.map_or_else(String::new, |(_, value)| value.to_owned())
}

pub(crate) fn delivered(count: usize) -> (u16, String) {
    (200, format!(r#"{{"delivered":{count}}}"#))
}

pub(crate) fn feedback(key: &str, value: &str, n: usize) -> String {
    format!(r#"{{"opcode":"feedback","{key}":"{value}","n":{n}}}"#)
}

const NOBODY: &str = r#"{"delivered":0,"error":"nobody has this uuid or ident"}"#;

// protocol.md 11.2
// protocol.md 11.3
#[test]
fn a_push_at_any_node_reaches_a_page_by_its_uuid_at_any_node() {
    let cluster = Cluster::start(3);
    let mut pages: Vec<Conn> = cluster.nodes.iter().map(Server::web).collect();
    for (n, page) in pages.iter_mut().enumerate() {
        for node in &cluster.nodes {
            let packet = feedback("uuid", &page.uuid, n);
            assert_eq!(push(node, &packet), delivered(1));
            page.expect_text(&packet);
        }
    }
    // Its node is in its last four digits, and nobody else's.
    let mut numbers: Vec<u16> = pages.iter().map(|page| node_number(&page.uuid)).collect();
    let nodes = cluster.redis.nodes();
    for number in &numbers {
        let is_claimed = nodes.contains(&number.to_string());
        assert!(is_claimed, "{number} is none of {nodes:?}");
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    // Whoever is not there, is said at once not to be, whatever node it names.
    let last = |uuid: &str, end: &str| format!("{}{end}", &uuid[..32]);
    for uuid in [
        "00000000-0000-4000-8000-000000000000".to_owned(),
        last(&pages[0].uuid, &pages[1].uuid[32..]),
        last(&pages[0].uuid, "0000"),
        "nobody".to_owned(),
    ] {
        let answer = push(&cluster.nodes[2], &feedback("uuid", &uuid, 0));
        assert_eq!(answer, (404, NOBODY.to_owned()), "{uuid}");
    }
    pages.iter_mut().for_each(Conn::round_trip);
}

// protocol.md 11.2
// protocol.md 11.4
#[test]
fn a_broadcast_and_a_feedback_to_a_user_count_all_nodes() {
    let cluster = Cluster::start(3);
    let mut tabs = [
        cluster.tab(0, "42"),
        cluster.tab(1, "42"),
        cluster.tab(1, "42"),
    ];
    let mut other = cluster.tab(2, "7");
    let packet = feedback("user", "42", 1);
    for node in &cluster.nodes {
        assert_eq!(push(node, &packet), delivered(3));
        tabs.iter_mut().for_each(|tab| tab.expect_text(&packet));
    }
    let packet = r#"{"opcode":"broadcast","n":1}"#;
    for node in &cluster.nodes {
        assert_eq!(push(node, packet), delivered(4));
        tabs.iter_mut().for_each(|tab| tab.expect_text(packet));
        other.expect_text(packet);
    }
    let nobody = r#"{"delivered":0,"error":"this user has no open tab"}"#;
    let answer = push(&cluster.nodes[0], &feedback("user", "8", 1));
    assert_eq!(answer, (404, nobody.to_owned()));
    // protocol.md 10.5
    let users = r#"{"users":[{"user":"42","tabs":3},{"user":"7","tabs":1}]}"#;
    let list = r#"["42","8",7]"#;
    for node in &cluster.nodes {
        assert_eq!(ask(node, "POST", "/users", list), (200, users.to_owned()));
        let one = ask(node, "GET", "/users/42", "");
        assert_eq!(one, (200, r#"{"user":"42","tabs":3}"#.to_owned()));
        assert_eq!(ask(node, "GET", "/users/8", "").0, 404);
        assert_eq!(ask(node, "POST", "/users", "[]").0, 200);
    }
}

// protocol.md 11.2
#[test]
fn a_logout_ends_the_tabs_at_all_nodes() {
    let cluster = Cluster::start(3);
    let mut tabs = [cluster.tab(0, "42"), cluster.tab(1, "42")];
    let mut other = cluster.tab(1, "7");
    let answer = push(&cluster.nodes[2], r#"{"opcode":"logout","user":"42"}"#);
    assert_eq!(answer, (200, r#"{"closed":2}"#.to_owned()));
    for tab in &mut tabs {
        tab.expect_text(r#"{"opcode":"close","error":"logged out"}"#);
        tab.expect_close_and_end(4401);
    }
    other.round_trip();
    let mut script = cluster.nodes[0].php();
    script.send_for_next(r#"{"opcode":"logout","user":"7"}"#);
    other.expect_text(r#"{"opcode":"close","error":"logged out"}"#);
    other.expect_close_and_end(4401);
}

// protocol.md 11.2
#[test]
fn pages_and_scripts_reach_those_at_other_nodes() {
    let cluster = Cluster::start(2);
    let (mut one, mut other) = (cluster.nodes[0].web(), cluster.nodes[1].web());
    let mut script = cluster.nodes[0].php_named("script");
    cluster.wait_for_subscribers("websock:i:script", 1);
    let packet = r#"{"opcode":"broadcast","n":1}"#;
    one.send_for_next(packet);
    other.expect_text(packet);
    let packet = feedback("uuid", &other.uuid, 2);
    script.send_for_next(&packet);
    other.expect_text(&packet);
    let packet = feedback("ident", "script", 3);
    other.send_for_next(&packet);
    script.expect_json(&packet);
    one.round_trip();
    other.round_trip();
}

// protocol.md 11.2
// protocol.md 3.1
#[test]
fn of_several_of_one_ident_the_one_that_opened_first_at_any_node_is_the_receiver() {
    let cluster = Cluster::start(3);
    let _asked = [0, 1, 2].map(|node| cluster.named(node, "asked"));
    // How far their clocks are apart is known as well as the fastest answers tell: as each of them has
    // asked all others meanwhile, that is by less than the next one opens later.
    let ask_all = |times: usize| {
        for node in cluster.nodes.iter().cycle().take(3 * times) {
            assert_eq!(push(node, &feedback("ident", "asked", 0)), delivered(1));
        }
    };
    ask_all(20);
    let mut first = cluster.named(1, "shop");
    ask_all(2);
    let mut second = cluster.named(0, "shop");
    ask_all(2);
    let mut third = cluster.named(2, "shop");
    let packet = feedback("ident", "shop", 1);
    for node in &cluster.nodes {
        assert_eq!(push(node, &packet), delivered(1));
        first.expect_text(&packet);
    }
    second.round_trip();
    third.round_trip();
    first.close();
    for node in &cluster.nodes {
        assert_eq!(push(node, &packet), delivered(1));
        second.expect_text(&packet);
    }
    third.round_trip();
}

// protocol.md 3.5
// protocol.md 11.2
#[test]
fn a_feedback_that_finds_nobody_at_any_node_is_a_debug_line_and_no_other_is() {
    let cluster = Cluster::start_with(2, "loglevel=debug");
    let mut sender = cluster.nodes[0].php();
    let mut there = cluster.nodes[1].web();
    let (mut tab, mut named) = (cluster.tab(1, "42"), cluster.named(1, "shop"));
    for (n, key, value, receiver) in [
        (1, "uuid", there.uuid.clone(), &mut there),
        (2, "user", "42".to_owned(), &mut tab),
        (3, "ident", "shop".to_owned(), &mut named),
    ] {
        let packet = feedback(key, &value, n);
        sender.send_for_next(&packet);
        receiver.expect_text(&packet);
    }
    let gone = format!("{}0000", &there.uuid[..32]);
    let unknown = format!("00000000-0000-4000-8000-00000000{}", &there.uuid[32..]);
    let nobody = [
        ("uuid", &*unknown),
        ("uuid", &*gone),
        ("uuid", "nobody"),
        ("ident", "nobody"),
        ("user", "nobody"),
    ];
    for (n, (key, value)) in nobody.into_iter().enumerate() {
        sender.send_for_next(&feedback(key, value, n));
        let is_about_it = |line: &&String| line.contains(" for feedback from #");
        eventually("a line", || {
            cluster.nodes[0]
                .log_lines()
                .iter()
                .filter(is_about_it)
                .count()
                > n
        });
        let lines = cluster.nodes[0].log_lines();
        let last = lines.iter().rfind(is_about_it).expect("a line");
        let words = match key {
            "user" => "no tab of a user for feedback",
            _ => "no receiver for feedback",
        };
        assert!(last.contains(words), "{key} {value}: {last}");
    }
    let lines = cluster.nodes[0].log_lines();
    let count = lines
        .iter()
        .filter(|line| line.contains(" for feedback from #"));
    assert_eq!(count.count(), nobody.len(), "{lines:#?}");
}

// protocol.md 11.3
// protocol.md 3.4
#[test]
fn idents_that_are_numbers_and_chosen_names_are_found_at_other_nodes() {
    let cluster = Cluster::start(2);
    let mut number = cluster.nodes[0].web_named("042");
    let mut name = cluster.nodes[0].open(&Request::to("/"));
    name.send_for_next(r#"{"opcode":"uuid","message":"Jane Doe"}"#);
    cluster.wait_for_subscribers("websock:c:Jane Doe", 1);
    eventually("a subscription", || {
        let said = cluster.redis.state().said.join("\n");
        said.contains("SUBSCRIBE") && said.contains("websock:d:")
    });
    let packet = r#"{"opcode":"feedback","ident":42,"n":1}"#;
    eventually("the subscription to be there", || {
        push(&cluster.nodes[1], packet) == delivered(1)
    });
    number.expect_text(packet);
    let other = r#"{"opcode":"feedback","ident":"42","n":1}"#;
    assert_eq!(push(&cluster.nodes[1], other).0, 404, "another text");
    let packet = feedback("uuid", "Jane Doe", 2);
    assert_eq!(push(&cluster.nodes[1], &packet), delivered(1));
    name.expect_text(&packet);
    let packet = feedback("uuid", &name.uuid, 3);
    assert_eq!(
        push(&cluster.nodes[1], &packet).0,
        404,
        "it has another name"
    );
}

// protocol.md 11.4
#[test]
fn a_batch_keeps_its_order_and_is_answered_packet_by_packet() {
    let cluster = Cluster::start(2);
    let (mut here, mut there) = (cluster.nodes[0].web(), cluster.nodes[1].web());
    let count = 3000;
    let text = "x".repeat(300);
    let packet = |n: usize| match n % 3 {
        0 => format!(r#"{{"opcode":"broadcast","n":{n}}}"#),
        1 => format!(
            r#"{{"opcode":"feedback","uuid":"{}","n":{n},"text":"{text}"}}"#,
            there.uuid
        ),
        _ => feedback("uuid", "nobody", n),
    };
    let packets: Vec<String> = (0..count).map(packet).collect();
    let (status, body) = push(&cluster.nodes[0], &format!("[{}]", packets.join(",")));
    assert_eq!(status, 200);
    let results = (0..count).map(|n| match n % 3 {
        0 => r#"{"delivered":2}"#,
        1 => r#"{"delivered":1}"#,
        _ => NOBODY,
    });
    let results: Vec<&str> = results.collect();
    let expected = format!(
        r#"{{"delivered":{count},"results":[{}]}}"#,
        results.join(",")
    );
    assert_eq!(body, expected);
    for (n, packet) in packets.iter().enumerate() {
        match n % 3 {
            0 => {
                here.expect_text(packet);
                there.expect_text(packet);
            }
            1 => there.expect_text(packet),
            _ => {}
        }
    }
    // Nobody waits for what becomes of it.
    let answer = ask(&cluster.nodes[0], "POST", "/push?wait=0", &packets[1]);
    assert_eq!(answer, (202, r#"{"accepted":1}"#.to_owned()));
    there.expect_text(&packets[1]);
}

// protocol.md 11.4
#[test]
fn whoever_does_not_answer_is_counted_and_waited_for_no_longer() {
    // The others answer in time on a busy machine, too.
    let cluster = Cluster::start_with(3, "backplaneTimeout=3s");
    let (mut one, mut other) = (cluster.nodes[0].web(), cluster.nodes[1].web());
    let of_third = cluster.nodes[2].web();
    cluster.nodes[2].signal(Signal::STOP);
    let nodes = r#""nodes":{"asked":2,"answered":1}"#;
    let packet = r#"{"opcode":"broadcast","n":1}"#;
    let answer = push(&cluster.nodes[0], packet);
    assert_eq!(answer, (200, format!(r#"{{"delivered":2,{nodes}}}"#)));
    one.expect_text(packet);
    other.expect_text(packet);
    let (status, body) = push(&cluster.nodes[0], &feedback("uuid", &of_third.uuid, 1));
    let asked = r#"{"delivered":0,"nodes":{"asked":1,"answered":0},"error":"#;
    assert!(status == 504 && body.starts_with(asked), "{status} {body}");
    let late = metric(&cluster.nodes[0], "websock_backplane_late_total");
    assert_eq!(late, "2");
    cluster.nodes[2].signal(Signal::CONT);
    eventually("the third one to answer", || {
        push(&cluster.nodes[0], packet) == delivered(3)
    });
}

/// A feedback to a user of about so many bytes.
fn long_feedback(user: &str, len: usize) -> String {
    let text = "x".repeat(len);
    format!(r#"{{"opcode":"feedback","user":"{user}","message":"{text}"}}"#)
}

// protocol.md 11.4
// protocol.md 11.5
#[test]
fn messages_of_any_length_get_through_a_queue_that_others_use() {
    let cluster = Cluster::start_with(2, "backplaneQueue=64K");
    let mut tab = cluster.tab(1, "jane");
    let packets: Vec<String> = [30_000, 60_000, 10, 200_000, 31_000, 40_000]
        .map(|len| long_feedback("jane", len))
        .into();
    let (status, body) = push(&cluster.nodes[0], &format!("[{}]", packets.join(",")));
    assert!(
        status == 200 && !body.contains("partial"),
        "{status} {body}"
    );
    assert!(body.starts_with(r#"{"delivered":6,"#), "{body}");
    packets.iter().for_each(|packet| tab.expect_text(packet));
    // Pushes of one packet, all at once.
    let many = 12;
    let mut conns: Vec<_> = (0..many).map(|_| connect(&cluster.nodes[0])).collect();
    let packet = long_feedback("jane", 60_000);
    for conn in &mut conns {
        let head = format!(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            packet.len()
        );
        conn.send_bytes(format!("{head}{packet}").as_bytes());
    }
    for conn in &mut conns {
        let response: Response = conn.read_response();
        let answer = (response.status(), response.body.trim_end().to_owned());
        assert_eq!(answer, delivered(1));
    }
    (0..many).for_each(|_| tab.expect_text(&packet));
}

// protocol.md 11.1
#[test]
fn a_start_while_redis_is_away_works_and_cluster_mode_is_refused() {
    let mut cluster = Cluster {
        redis: Redis::start(),
        nodes: Vec::new(),
    };
    cluster.redis.state().is_away = true;
    let server = Server::start(&ini(&cluster.redis, ""));
    let mut early = server.web();
    let packet = feedback("uuid", &early.uuid, 1);
    assert_eq!(push(&server, &packet), delivered(1));
    early.expect_text(&packet);
    let ready = ask(&server, "GET", "/ready", "");
    assert_eq!(ready.0, 200);
    assert!(ready.1.contains("are not reached"), "{}", ready.1);
    cluster.redis.come_back();
    server.wait_for_log("backplane: connected");
    // Whoever came before is found by others all the same.
    cluster.wait_for_subscribers(&format!("websock:c:{}", early.uuid), 1);
    cluster.nodes.push(server);
    cluster.add("");
    cluster.wait_for_peers();
    assert_eq!(push(&cluster.nodes[1], &packet), delivered(1));
    early.expect_text(&packet);
    assert_eq!(ask(&cluster.nodes[0], "GET", "/ready", "").1, "ready");

    let redis = Redis::start();
    redis.state().is_cluster = true;
    let server = Server::start(&ini(&redis, ""));
    server.wait_for_log("cluster mode");
    server.web().round_trip();
}

// protocol.md 11.1
#[test]
fn user_password_and_database_are_in_the_url_and_the_prefix_is_ones_own() {
    let redis = Redis::start();
    let address = redis.address();
    let url = format!("redis://jane:pa55word@{address}/3");
    let server = Server::start(&format!("backplane={url}\nbackplanePrefix=shop-\n"));
    server.wait_for_log("backplane: connected");
    server.wait_for_log("backplaneSecret is not set");
    eventually("a subscription", || redis.subscriber_count("shop-b") == 1);
    let said = redis.state().said.join("\n");
    for words in ["AUTH jane pa55word", "SELECT 3", "SET shop-node:"] {
        assert!(said.contains(words), "{said}");
    }
    let lines = server.log_lines().join("\n");
    assert!(!lines.contains("pa55word"), "{lines}");
}

// protocol.md 11.5
#[test]
fn while_redis_is_away_everybody_serves_its_own_and_says_what_is_missing() {
    let cluster = Cluster::start_with(2, "backplaneTimeout=300ms");
    let (mut here, there) = (cluster.nodes[0].web(), cluster.nodes[1].web());
    let mut named = cluster.named(0, "shop");
    cluster.redis.go_away();
    cluster.nodes[0].wait_for_log("Redis is away");
    let packet = feedback("uuid", &here.uuid, 1);
    assert_eq!(push(&cluster.nodes[0], &packet), delivered(1));
    here.expect_text(&packet);
    let packet = feedback("ident", "shop", 2);
    let partial = |count| (200, format!(r#"{{"delivered":{count},"partial":true}}"#));
    assert_eq!(push(&cluster.nodes[0], &packet), partial(1));
    named.expect_text(&packet);
    let packet = r#"{"opcode":"broadcast","n":3}"#;
    assert_eq!(push(&cluster.nodes[0], packet), partial(2));
    here.expect_text(packet);
    named.expect_text(packet);
    let (status, body) = push(&cluster.nodes[0], &feedback("uuid", &there.uuid, 4));
    let partial = r#"{"delivered":0,"partial":true,"error":"#;
    assert!(
        status == 504 && body.starts_with(partial),
        "{status} {body}"
    );
    cluster.redis.come_back();
    cluster.wait_for_peers();
    let packet = feedback("uuid", &there.uuid, 5);
    eventually("the way to be there again", || {
        push(&cluster.nodes[0], &packet) == delivered(1)
    });
}

// protocol.md 11.3
// protocol.md 11.5
#[test]
fn what_a_page_says_to_an_ident_at_another_node_waits_for_redis_too() {
    let cluster = Cluster::start(2);
    let (mut here, mut there) = (cluster.nodes[0].web(), cluster.named(1, "shop"));
    let own = format!("websock:n:{}", node_number(&here.uuid));
    cluster.redis.cut_off(&own);
    cluster.nodes[0].wait_for_log("Redis is away");
    let packet = feedback("ident", "shop", 1);
    here.send_for_next(&packet);
    cluster.redis.come_back();
    there.expect_text(&packet);
}

// protocol.md 11.5
#[test]
fn what_waits_for_redis_is_bounded_and_what_is_lost_is_counted() {
    let cluster = Cluster::start_with(2, "backplaneTimeout=100ms\nbackplaneQueue=64K");
    let mut there = cluster.nodes[1].web();
    cluster.redis.state().is_stuck = true;
    let text = "x".repeat(10_000);
    let packet = format!(r#"{{"opcode":"broadcast","text":"{text}"}}"#);
    for _ in 0..10 {
        let (status, body) = push(&cluster.nodes[0], &packet);
        assert_eq!((status, &*body), (200, r#"{"delivered":0,"partial":true}"#));
    }
    let value = |name: &str| {
        let value = metric(&cluster.nodes[0], &format!("websock_backplane_{name}"));
        value.parse::<usize>().expect("a number")
    };
    assert!(value("queue_bytes") <= value("queue_limit_bytes"));
    assert!(value("lost_total") >= 4, "{}", value("lost_total"));
    // What can be sent again is.
    cluster.redis.go_away();
    {
        let mut state = cluster.redis.state();
        (state.is_stuck, state.is_away) = (false, false);
    }
    let packet = r#"{"opcode":"broadcast","n":1}"#;
    eventually("the way to be there again", || {
        push(&cluster.nodes[0], packet) == delivered(1)
    });
    while there.read_text("all that was sent") != packet {}
}

// protocol.md 11.1
#[test]
fn what_is_forged_or_heard_before_or_was_for_another_channel_counts_nowhere() {
    let cluster = Cluster::start(2);
    let (mut here, mut there) = (cluster.nodes[0].web(), cluster.nodes[1].web());
    let packet = r#"{"opcode":"broadcast","n":1}"#;
    assert_eq!(push(&cluster.nodes[0], packet), delivered(2));
    let recorded = cluster.redis.state().published.clone();
    let of_message = recorded.iter().find(|(_, payload)| holds(payload, packet));
    let (channel, payload) = of_message.expect("it was sent");
    let mut spoiled = payload.clone();
    let at = payload.len() - 20;
    spoiled[at] ^= 1;
    for (channel, payload) in [
        (channel.clone(), payload.clone()),
        (channel.clone(), spoiled),
        (channel.clone(), payload[..payload.len() - 1].to_vec()),
        (channel.clone(), packet.as_bytes().to_vec()),
        (channel.clone(), Vec::new()),
    ] {
        assert_eq!(cluster.redis.publish(&channel, &payload), 2);
    }
    let other = format!("websock:n:{}", node_number(&there.uuid));
    assert_eq!(cluster.redis.publish(other.as_bytes(), payload), 1);
    let packet = r#"{"opcode":"broadcast","n":2}"#;
    assert_eq!(push(&cluster.nodes[0], packet), delivered(2));
    for page in [&mut here, &mut there] {
        page.expect_text(r#"{"opcode":"broadcast","n":1}"#);
        page.expect_text(packet);
    }
    let refused = |reason: &str| {
        let name = format!("websock_backplane_refused_total{{reason=\"{reason}\"}}");
        metric(&cluster.nodes[1], &name)
    };
    assert_eq!(refused("signature"), "5");
    assert_eq!(refused("repeated"), "1");
    // Another secret is another cluster.
    let address = cluster.redis.address();
    let stranger = "backplaneSecret=another secret of at least 32 bytes";
    let stranger = Server::start(&format!("backplane=redis://{address}\n{stranger}\n"));
    stranger.wait_for_log("backplane: connected");
    push(&stranger, r#"{"opcode":"broadcast","n":3}"#);
    here.round_trip();
    there.round_trip();
}

// protocol.md 11.3
#[test]
fn a_node_whose_number_is_anothers_by_now_takes_a_new_one_and_its_pages_are_found() {
    let cluster = Cluster::start(2);
    let mut page = cluster.nodes[0].web();
    let (mut told, _) = resuming(&cluster.nodes[0], "/web?user=1", "");
    let before = page.uuid[32..].to_owned();
    cluster.redis.give_keys_away();
    // It looks when it has come back, not only after some seconds.
    cluster.redis.go_away();
    cluster.nodes[0].wait_for_log("Redis is away");
    cluster.redis.come_back();
    for node in &cluster.nodes {
        node.wait_for_log("is another server by now");
        node.wait_for_lines("backplane: this is node ", 2);
        eventually("others to be reached", || {
            metric(node, "websock_backplane_connected") == "1"
        });
    }
    // Whoever has asked for new words comes back under the new one.
    let restart = told.read_text("restart");
    assert!(
        restart.starts_with(r#"{"opcode":"restart","after":"#),
        "{restart}"
    );
    told.expect_close_and_end(1012);
    assert_ne!(cluster.nodes[0].web().uuid[32..], before);
    cluster.wait_for_subscribers(&format!("websock:c:{}", page.uuid), 1);
    let packet = feedback("uuid", &page.uuid, 1);
    eventually("it to be found", || {
        push(&cluster.nodes[1], &packet) == delivered(1)
    });
    page.expect_text(&packet);
}

/// A page that has opted in to come back, with its `ready`.
#[track_caller]
fn resuming(server: &Server, target: &str, user: &str) -> (Conn, serde_json::Value) {
    let mut conn = connect(server);
    let request = Request::to(target);
    conn.upgrade(&match user {
        "" => request,
        user => request.with("Cookie", &format!("websock_token={}", token(user))),
    });
    let ready = conn.read_text("ready");
    let ready = serde_json::from_str(&ready).expect("JSON");
    (conn, ready)
}

// protocol.md 11.5
#[test]
fn whoever_has_opted_in_is_told_that_messages_of_others_are_missing() {
    let cluster = Cluster::start_with(2, "backplaneTimeout=3s");
    let (mut page, _) = resuming(&cluster.nodes[0], "/web?resume=1", "");
    let mut old = cluster.nodes[0].web();
    let packet = |n: usize| format!(r#"{{"opcode":"broadcast","n":{n}}}"#);
    assert_eq!(push(&cluster.nodes[1], &packet(1)), delivered(2));
    assert!(page.read_text("the first").contains(r#""n":1,"#));
    old.expect_text(&packet(1));
    // Redis says that it has gone to both. Nothing else is lost.
    cluster.redis.state().loses_all = true;
    let nodes = r#""nodes":{"asked":2,"answered":0}"#;
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| push(&cluster.nodes[1], &packet(2)));
        eventually("it is published", || {
            let mut state = cluster.redis.state();
            let mut published = state.published.iter();
            let is_lost = published.any(|(_, payload)| holds(payload, &packet(2)));
            state.loses_all = !is_lost;
            is_lost
        });
        answer.join().expect("an answer")
    });
    assert_eq!(answer, (200, format!(r#"{{"delivered":0,{nodes}}}"#)));
    assert_eq!(push(&cluster.nodes[1], &packet(3)), delivered(2));
    old.expect_text(&packet(3));
    let told = [page.read_text("one"), page.read_text("the other")];
    let gap = told
        .iter()
        .find(|text| text.starts_with(r#"{"opcode":"gap","gap":"backplane","cursor":""#));
    assert!(gap.is_some(), "{told:?}");
    assert!(
        told.iter().any(|text| text.contains(r#""n":3,"#)),
        "{told:?}"
    );
    // Whoever has not opted in is told nothing.
    assert_eq!(push(&cluster.nodes[1], &packet(4)), delivered(2));
    old.expect_text(&packet(4));
}

// protocol.md 11.5
// protocol.md 9.6
#[test]
fn what_is_pushed_at_another_node_is_kept_for_a_tab_that_is_away() {
    let cluster = Cluster::start(2);
    let mut page = connect(&cluster.nodes[0]);
    let cookie = format!("websock_token={}", token("42"));
    let request = Request::to("/web?resume=1").with("Cookie", &cookie);
    page.upgrade(&request.with("Ident", "till"));
    let ready = page.read_text("ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    cluster.wait_for_subscribers("websock:u:42", 1);
    cluster.wait_for_subscribers("websock:i:till", 1);
    page.close();
    let uuid = ready["uuid"].as_str().expect("a uuid");
    let by_ident = feedback("ident", "till", 0);
    for node in &cluster.nodes {
        let answer = push(node, &by_ident);
        assert_eq!(answer, (202, r#"{"delivered":0,"queued":1}"#.to_owned()));
    }
    for packet in [feedback("uuid", uuid, 1), feedback("user", "42", 2)] {
        let answer = push(&cluster.nodes[1], &packet);
        assert_eq!(answer, (202, r#"{"delivered":0,"queued":1}"#.to_owned()));
    }
    let (mut page, _) = resuming(&cluster.nodes[0], "/web?resume=1", "42");
    let text = |key: &str| ready[key].as_str().expect("a text").to_owned();
    page.send_text(&format!(
        r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{}","cursor":"{}"}}"#,
        text("resume"),
        text("cursor")
    ));
    page.expect_next();
    let resumed = page.read_text("resumed");
    assert!(resumed.contains(r#""replayed":4,"gap":null"#), "{resumed}");
    for _ in &cluster.nodes {
        assert!(page.read_text("by ident").contains(r#""n":0,"#));
    }
    assert!(page.read_text("the first").contains(r#""n":1,"#));
    assert!(page.read_text("the second").contains(r#""n":2,"#));
    // It is there as before.
    assert_eq!(
        push(&cluster.nodes[1], &feedback("uuid", uuid, 3)),
        delivered(1)
    );
}

// protocol.md 11.5
// protocol.md 9.8
#[test]
fn what_was_said_to_a_user_before_any_tab_of_it_was_here_is_a_gap() {
    let cluster = Cluster::start(2);
    let (status, body) = ask(&cluster.nodes[0], "GET", "/position", "");
    assert_eq!(status, 200);
    let position: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let cursor = position["cursor"].as_str().expect("a cursor");
    let target = format!("/web?resume=1&since={cursor}");
    let (mut page, _) = resuming(&cluster.nodes[0], &target, "42");
    let gap = page.read_text("a gap");
    let expected = r#"{"opcode":"gap","gap":"backplane","cursor":""#;
    assert!(gap.starts_with(expected), "{gap}");
    cluster.wait_for_subscribers("websock:u:42", 1);
    // The next one misses nothing.
    let (_, body) = ask(&cluster.nodes[0], "GET", "/position", "");
    let position: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let cursor = position["cursor"].as_str().expect("a cursor");
    let packet = feedback("user", "42", 1);
    assert_eq!(push(&cluster.nodes[1], &packet), delivered(1));
    let target = format!("/web?resume=1&since={cursor}");
    let (mut page, _) = resuming(&cluster.nodes[0], &target, "42");
    assert!(page.read_text("what was missed").contains(r#""n":1,"#));
}

// protocol.md 11.5
// protocol.md 9.8
#[test]
fn a_page_that_was_made_before_another_one_of_its_user_came_is_told_a_gap_too() {
    let cluster = Cluster::start(2);
    let (_, body) = ask(&cluster.nodes[0], "GET", "/position", "");
    let position: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let cursor = position["cursor"].as_str().expect("a cursor");
    for (user, target) in [("42", "/web"), ("43", "/web?resume=1")] {
        let packet = feedback("user", user, 1);
        assert_eq!(push(&cluster.nodes[1], &packet).0, 404);
        let (mut first, _) = resuming(&cluster.nodes[0], target, user);
        cluster.wait_for_subscribers(&format!("websock:u:{user}"), 1);
        let target = format!("/web?resume=1&since={cursor}");
        let (mut page, _) = resuming(&cluster.nodes[0], &target, user);
        let gap = page.read_text("a gap");
        let expected = r#"{"opcode":"gap","gap":"backplane","cursor":""#;
        assert!(gap.starts_with(expected), "{gap}");
        first.round_trip();
    }
}

// protocol.md 11.4
// protocol.md 11.5
// promise: a reload of each key takes effect
#[test]
fn what_is_longer_than_a_node_takes_is_said_to_be_missing_and_a_reload_lets_it_in() {
    let mut cluster = Cluster::start_with(1, "backplaneTimeout=500ms");
    cluster.add("maxMessageSize=1K");
    cluster.wait_for_peers();
    let (mut page, _) = resuming(&cluster.nodes[1], "/web?resume=1", "42");
    cluster.wait_for_subscribers("websock:u:42", 1);
    let packet = long_feedback("42", 200_000);
    let (status, body) = push(&cluster.nodes[0], &packet);
    let asked = r#"{"delivered":0,"nodes":{"asked":1,"answered":0},"error":"#;
    assert!(status == 504 && body.starts_with(asked), "{status} {body}");
    cluster.nodes[1].wait_for_log("longer than maxMessageSize");
    let refused = r#"websock_backplane_refused_total{reason="size"}"#;
    assert_eq!(metric(&cluster.nodes[1], refused), "1");
    // It is told by the next sign of life of whoever has sent it.
    let gap = page.read_text("a gap");
    assert!(
        gap.starts_with(r#"{"opcode":"gap","gap":"backplane""#),
        "{gap}"
    );
    let ini = ini(&cluster.redis, "maxMessageSize=1M");
    cluster.nodes[1].reload(&format!("authKey={KEY}\n{ini}"), "Settings read again");
    eventually("it to be let in", || {
        push(&cluster.nodes[0], &packet) == delivered(1)
    });
    let text = page.read_text("the long one");
    assert!(
        text.contains("xxx") && text.len() > 200_000,
        "{}",
        text.len()
    );
}

// promise: a reload of each key takes effect
#[test]
fn how_long_and_how_much_waits_follows_a_reload() {
    let cluster = Cluster::start_with(2, "backplaneTimeout=1m\nbackplaneQueue=1M");
    cluster.nodes[1].signal(Signal::STOP);
    let limit = || metric(&cluster.nodes[0], "websock_backplane_queue_limit_bytes");
    assert_eq!(limit(), "1048576");
    let ini = ini(&cluster.redis, "backplaneTimeout=50ms\nbackplaneQueue=64K");
    cluster.nodes[0].reload(&format!("authKey={KEY}\n{ini}"), "Settings read again");
    assert_eq!(limit(), "65536");
    let answer = push(&cluster.nodes[0], r#"{"opcode":"broadcast"}"#);
    let nodes = r#""nodes":{"asked":1,"answered":0}"#;
    assert_eq!(answer, (200, format!(r#"{{"delivered":0,{nodes}}}"#)));
    cluster.nodes[1].signal(Signal::CONT);
}

// protocol.md 11.4
#[test]
fn nodes_are_told_to_those_who_may_push() {
    let cluster = Cluster::start(2);
    let _page = cluster.nodes[1].web();
    let (status, body) = ask(&cluster.nodes[0], "GET", "/nodes", "");
    assert_eq!(status, 200);
    let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(told["connected"], true);
    let numbers = told["nodes"].as_array().expect("a list").iter();
    let mut numbers: Vec<String> = numbers.map(|node| node["node"].to_string()).collect();
    numbers.sort();
    let mut nodes = cluster.redis.nodes();
    nodes.sort();
    assert_eq!(numbers, nodes);
    let (status, body) = ask(&cluster.nodes[0], "GET", "/status.json", "");
    let status_page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &status_page["backplane"]["node"]),
        (200, &told["node"])
    );
    let alone = Server::start("");
    let (status, body) = ask(&alone, "GET", "/nodes", "");
    assert_eq!(status, 404);
    assert!(body.contains("backplane is not set"), "{body}");
    assert_eq!(metric(&alone, "websock_backplane_connected"), "");
}

// protocol.md 11.6
// protocol.md 9.4
#[test]
fn a_cursor_of_another_node_is_told_from_one_of_before_a_restart() {
    let cluster = Cluster::start(2);
    let (_page, ready) = resuming(&cluster.nodes[0], "/web?resume=1", "");
    let since = |cursor: &str| {
        let target = format!("/web?resume=1&since={cursor}");
        let (mut page, _) = resuming(&cluster.nodes[1], &target, "");
        page.read_text("a gap")
    };
    let expected = r#"{"opcode":"gap","gap":"backplane","cursor":""#;
    eventually("the node to have told what it keeps", || {
        let of_other = since(ready["cursor"].as_str().expect("a cursor"));
        of_other.starts_with(expected)
    });
    let of_nobody = since("0123456789abcdef.7");
    let expected = r#"{"opcode":"gap","gap":"restart","cursor":""#;
    assert!(of_nobody.starts_with(expected), "{of_nobody}");
}
