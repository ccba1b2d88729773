//! A tab that comes back to another node than the one it was at (protocol.md 11.6).

use rustix::process::Signal;

use crate::backplane::{Cluster, delivered, feedback, metric, push};
use crate::harness::frame::CLOSE;
use crate::harness::{Request, Server, eventually};
use crate::replay::{Lost, Return, Tab};
use crate::users::token;

const QUEUED: &str = r#"{"delivered":0,"queued":1}"#;

/// A page of this user that can come back.
fn request(user: &str) -> Request {
    let cookie = format!("websock_token={}", token(user));
    Request::to("/web?resume=1").with("Cookie", &cookie)
}

/// A tab of user 42, of which others know.
#[track_caller]
fn open(cluster: &Cluster, node: usize) -> Tab {
    let tab = Tab::open_as(&cluster.nodes[node], &request("42"));
    cluster.wait_until_heard(&tab.uuid, "websock:u:42");
    tab
}

fn broadcast(n: usize) -> String {
    format!(r#"{{"opcode":"broadcast","n":{n}}}"#)
}

#[track_caller]
fn come_back(lost: &Lost, server: &Server) -> Return {
    lost.come_back_as(server, &request("42"))
}

/// Comes back to another node, under its name and without a gap, with so many messages to follow.
#[track_caller]
fn expect_missed(lost: &Lost, server: &Server, count: u64) -> Tab {
    let back = come_back(lost, server);
    assert_eq!((back.gap.as_deref(), back.replayed), (None, count));
    assert_eq!(back.tab.uuid, lost.uuid, "it is the old one");
    back.tab
}

#[track_caller]
fn expect_gap(lost: &Lost, server: &Server, gap: &str) -> Tab {
    let back = come_back(lost, server);
    assert_eq!((back.gap.as_deref(), back.replayed), (Some(gap), 0));
    back.tab
}

/// Nobody keeps anything for a tab that is away.
#[track_caller]
fn wait_until_taken(cluster: &Cluster) {
    for node in &cluster.nodes {
        eventually("the other node to have let go", || {
            metric(node, r#"websock_replay_tabs{state="away"}"#) == "0"
        });
    }
}

/// Each node reaches the tab by all its names, and it gets all of that once.
#[track_caller]
fn expect_reached(cluster: &Cluster, tab: &mut Tab, first: usize) {
    wait_until_taken(cluster);
    for (at, node) in cluster.nodes.iter().enumerate() {
        let n = first + at * 10;
        for packet in [
            feedback("uuid", &tab.uuid, n),
            feedback("user", "42", n + 1),
            broadcast(n + 2),
        ] {
            assert_eq!(push(node, &packet), delivered(1));
            tab.expect(&packet);
        }
    }
    tab.conn.round_trip();
}

// protocol.md 11.6
// protocol.md 9.6
#[test]
fn a_tab_that_comes_back_to_another_node_misses_nothing() {
    let cluster = Cluster::start(3);
    let mut tab = open(&cluster, 0);
    assert_eq!(push(&cluster.nodes[2], &broadcast(1)), delivered(1));
    tab.expect(&broadcast(1));
    let uuid = tab.uuid.clone();
    let mut lost = tab.lose();
    // To another one each time, in the end to where it was first, and to where it is.
    for (round, to) in [1, 2, 0, 0, 1].into_iter().enumerate() {
        let first = 100 * (round + 1);
        let mut missed = Vec::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            let n = first + at * 10;
            let queued = (202, QUEUED.to_owned());
            let by_uuid = feedback("uuid", &uuid, n);
            eventually("its name to be heard", || push(node, &by_uuid) == queued);
            assert_eq!(push(node, &feedback("user", "42", n + 1)), queued);
            assert_eq!(push(node, &broadcast(n + 2)), delivered(0));
            missed.extend([by_uuid, feedback("user", "42", n + 1), broadcast(n + 2)]);
        }
        let mut tab = expect_missed(&lost, &cluster.nodes[to], 9);
        missed.iter().for_each(|packet| tab.expect(packet));
        expect_reached(&cluster, &mut tab, first + 50);
        lost = tab.lose();
    }
}

// protocol.md 11.6
// protocol.md 11.3
#[test]
fn what_pages_and_scripts_say_reaches_a_tab_that_has_moved() {
    let cluster = Cluster::start(3);
    let lost = open(&cluster, 0).lose();
    let mut tab = expect_missed(&lost, &cluster.nodes[1], 0);
    expect_reached(&cluster, &mut tab, 100);
    for (n, node) in cluster.nodes.iter().enumerate() {
        let mut page = node.web();
        let packet = feedback("uuid", &tab.uuid, n);
        page.send_for_next(&packet);
        tab.expect(&packet);
        // An ident beside it that nobody has.
        let packet = format!(
            r#"{{"opcode":"feedback","uuid":"{}","ident":"nobody","n":{n}}}"#,
            tab.uuid
        );
        assert_eq!(push(node, &packet), delivered(1));
        tab.expect(&packet);
    }
    tab.conn.round_trip();
}

// protocol.md 11.6
// protocol.md 9.3
#[test]
fn a_connection_that_still_stands_at_the_other_node_is_closed() {
    let cluster = Cluster::start(2);
    let mut tab = open(&cluster, 0);
    let claim = tab.claim();
    let packet = feedback("uuid", &tab.uuid, 1);
    // It is sent, and perhaps never arrives.
    assert_eq!(push(&cluster.nodes[1], &packet), delivered(1));
    tab.expect(&packet);
    let mut other = expect_missed(&claim, &cluster.nodes[1], 1);
    other.expect(&packet);
    tab.conn.expect_close_and_end(4409);
    expect_reached(&cluster, &mut other, 10);
}

// protocol.md 11.6
// protocol.md 9.4
// protocol.md 9.5
#[test]
fn whoever_does_not_prove_at_another_node_who_it_is_gets_nothing() {
    let cluster = Cluster::start(2);
    let lost = open(&cluster, 0).lose();
    let packet = feedback("uuid", &lost.uuid, 1);
    assert_eq!(push(&cluster.nodes[1], &packet), (202, QUEUED.to_owned()));
    let guessed = Lost {
        secret: "0".repeat(32),
        ..lost.clone()
    };
    let other = expect_gap(&guessed, &cluster.nodes[1], "unknown");
    assert_ne!(other.uuid, lost.uuid);
    other.conn.close();
    for request in [request("7"), Request::to("/web?resume=1")] {
        let back = lost.come_back_as(&cluster.nodes[1], &request);
        assert_eq!(back.gap.as_deref(), Some("unknown"));
        assert_ne!(back.tab.uuid, lost.uuid);
    }
    for cursor in ["", "nonsense", "0123456789abcdef.ffffffffffffffff"] {
        let cursor = cursor.to_owned();
        let gap = come_back(
            &Lost {
                cursor,
                ..guessed.clone()
            },
            &cluster.nodes[1],
        )
        .gap;
        assert!(gap.is_some());
    }
    // It has taken no harm.
    let mut tab = expect_missed(&lost, &cluster.nodes[1], 1);
    tab.expect(&packet);
    // Nor does anybody come by what it has used, once it has said something.
    tab.conn.round_trip();
    // The old one has let go of it when a push there finds it at the new one.
    let packet = feedback("uuid", &lost.uuid, 9);
    eventually("the other node to have let go", || {
        push(&cluster.nodes[0], &packet) == delivered(1)
    });
    expect_gap(&lost, &cluster.nodes[0], "unknown");
    expect_gap(&lost, &cluster.nodes[1], "unknown");
    assert_eq!(push(&cluster.nodes[0], &packet), delivered(1));
}

// protocol.md 11.6
// protocol.md 9.3
#[test]
fn a_tab_that_has_not_heard_the_answer_says_the_same_again_at_any_node() {
    for again in [0, 1, 2] {
        let cluster = Cluster::start(3);
        let lost = open(&cluster, 0).lose();
        let packet = feedback("uuid", &lost.uuid, 1);
        assert_eq!(push(&cluster.nodes[2], &packet), (202, QUEUED.to_owned()));
        let first = expect_missed(&lost, &cluster.nodes[1], 1);
        cluster.wait_for_subscribers(&format!("websock:c:{}", lost.uuid), 1);
        wait_until_taken(&cluster);
        first.lose();
        assert_eq!(push(&cluster.nodes[0], &broadcast(0)), delivered(0));
        let mut tab = expect_missed(&lost, &cluster.nodes[again], 2);
        tab.expect(&packet);
        tab.expect(&broadcast(0));
        tab.conn.round_trip();
    }
}

// protocol.md 11.6
// protocol.md 9.4
#[test]
fn more_than_is_kept_is_a_gap_and_the_name_stays() {
    let cluster = Cluster::start_with(2, "replaySize=3");
    let lost = open(&cluster, 0).lose();
    for n in 0..4 {
        assert_eq!(push(&cluster.nodes[1], &broadcast(n)), delivered(0));
    }
    let mut tab = expect_gap(&lost, &cluster.nodes[1], "overflow");
    assert_eq!(tab.uuid, lost.uuid);
    expect_reached(&cluster, &mut tab, 10);
}

// protocol.md 11.6
// protocol.md 2.9
#[test]
fn a_tab_moves_although_others_elsewhere_have_chosen_its_name() {
    let cluster = Cluster::start(4);
    let request = Request::to("/?resume=1");
    let choose = |node: usize| {
        let mut tab = Tab::open_as(&cluster.nodes[node], &request);
        tab.conn
            .send_for_next(r#"{"opcode":"uuid","message":"kiosk"}"#);
        tab.uuid = "kiosk".to_owned();
        tab
    };
    let _others = [2, 3].map(choose);
    let mut lost = choose(0).lose();
    cluster.wait_for_subscribers("websock:c:kiosk", 3);
    for to in [1, 0, 1] {
        let back = lost.come_back_as(&cluster.nodes[to], &request);
        assert_eq!((back.gap.as_deref(), back.replayed), (None, 0));
        assert_eq!(back.tab.uuid, "kiosk");
        wait_until_taken(&cluster);
        lost = back.tab.lose();
    }
}

// protocol.md 11.6
#[test]
fn more_than_the_other_node_reads_is_a_gap_for_nobody_else() {
    let cluster = Cluster::start_with(2, "maxMessageSize=1K");
    let lost = open(&cluster, 0).lose();
    let long = "x".repeat(900);
    for n in 0..90 {
        let packet = format!(r#"{{"opcode":"broadcast","n":{n},"message":"{long}"}}"#);
        assert_eq!(push(&cluster.nodes[1], &packet), delivered(0));
    }
    expect_gap(&lost, &cluster.nodes[1], "backplane");
    let refused = r#"websock_backplane_refused_total{reason="size"}"#;
    assert_eq!(metric(&cluster.nodes[1], refused), "0");
}

// protocol.md 11.6
// protocol.md 9.4
#[test]
fn who_cannot_be_asked_or_does_not_answer_is_a_gap() {
    // The one that goes on answers in time on a busy machine, too.
    let cluster = Cluster::start_with(3, "backplaneTimeout=3s");
    let losts = [0, 0, 0, 2].map(|node| open(&cluster, node).lose());
    cluster.nodes[0].signal(Signal::STOP);
    let mut tab = expect_gap(&losts[0], &cluster.nodes[1], "backplane");
    tab.conn.round_trip();
    // It is not asked twice, and what it says too late changes nothing.
    cluster.nodes[0].signal(Signal::CONT);
    cluster.wait_for_peers();
    let mut other = expect_missed(&losts[1], &cluster.nodes[1], 0);
    other.conn.round_trip();
    tab.conn.round_trip();
    cluster.nodes[2].signal(Signal::KILL);
    eventually("it to be gone", || {
        let gap = come_back(&losts[3], &cluster.nodes[1]).gap;
        gap.as_deref() == Some("backplane")
    });
    cluster.redis.go_away();
    cluster.nodes[1].wait_for_log("Redis is away");
    expect_gap(&losts[2], &cluster.nodes[1], "backplane");
}

// protocol.md 11.6
#[test]
fn of_two_nodes_that_ask_for_one_tab_exactly_one_gets_it() {
    let cluster = Cluster::start(3);
    let lost = open(&cluster, 0).lose();
    let packet = feedback("uuid", &lost.uuid, 1);
    assert_eq!(push(&cluster.nodes[2], &packet), (202, QUEUED.to_owned()));
    let mut tabs = [1, 2].map(|node| Tab::open_as(&cluster.nodes[node], &request("42")));
    for tab in &mut tabs {
        tab.conn.send_text(&lost.packet());
    }
    let resumed = tabs.each_mut().map(|tab| {
        tab.conn.expect_next();
        tab.conn.read_text("resumed")
    });
    // Perhaps neither had heard of it; so the one who has asked last has it, as at one node.
    let is_whole = |text: &String| text.contains(r#""replayed":1,"gap":null"#);
    assert!(resumed.iter().all(is_whole), "{resumed:?}");
    tabs.iter_mut().for_each(|tab| tab.expect(&packet));
    wait_until_taken(&cluster);
    eventually("one of them to be closed", || {
        let count = |node| metric(node, r#"websock_replay_tabs{state="connected"}"#) == "1";
        cluster.nodes.iter().filter(|node| count(node)).count() == 1
    });
    let packet = feedback("uuid", &lost.uuid, 2);
    assert_eq!(push(&cluster.nodes[0], &packet), delivered(1));
    let is_closed = tabs.each_mut().map(|tab| {
        let frame = tab.conn.read_frame();
        match frame.opcode {
            CLOSE => assert_eq!(frame.payload[..2], 4409_u16.to_be_bytes()),
            _ => assert!(
                frame
                    .payload
                    .starts_with(packet.trim_end_matches('}').as_bytes())
            ),
        }
        frame.opcode == CLOSE
    });
    assert_ne!(is_closed[0], is_closed[1]);
}

// protocol.md 11.6
// protocol.md 9.1
#[test]
fn a_tab_that_moves_is_not_told_what_it_has_said_itself() {
    let cluster = Cluster::start(2);
    let mut tab = open(&cluster, 0);
    let mut other = cluster.nodes[0].web();
    let mut there = cluster.nodes[1].web();
    tab.conn.send_for_next(&broadcast(1));
    for page in [&mut other, &mut there] {
        page.expect_text(&broadcast(1));
    }
    there.close();
    let lost = tab.lose();
    let mut tab = expect_missed(&lost, &cluster.nodes[1], 0);
    // Else it is still known where it comes back to, by a cursor that is not from there.
    wait_until_taken(&cluster);
    tab.conn.send_for_next(&broadcast(2));
    let lost = tab.lose();
    other.expect_text(&broadcast(2));
    let packet = broadcast(3);
    assert_eq!(push(&cluster.nodes[0], &packet), delivered(1));
    other.expect_text(&packet);
    let mut tab = expect_missed(&lost, &cluster.nodes[0], 1);
    tab.expect(&broadcast(3));
    tab.conn.round_trip();
}
