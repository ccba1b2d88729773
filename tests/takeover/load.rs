//! A crowd under load, while the process is replaced again and again.

use std::time::Duration;

use rustix::process::Signal;
use websock::net::control_message::Message;

use crate::crowd::{Crowd, Report, Size};
use crate::fleet::Fleet;
use crate::harness::eventually;
use crate::played::Played;

const NORMAL: Size = Size {
    page_count: 500,
    script_count: 50,
    rest: Duration::from_millis(100),
    broadcast_rest: Duration::from_millis(100),
};

const LONG: Size = Size {
    page_count: 5_000,
    script_count: 50,
    rest: Duration::from_secs(2),
    broadcast_rest: Duration::from_secs(2),
};

#[test]
fn nobody_loses_anything_while_the_server_is_replaced_twenty_times() {
    replace_twenty_times(NORMAL);
}

/// tests/run.sh --all
#[test]
#[ignore = "takes minutes: 5,000 pages"]
fn nor_do_five_thousand() {
    replace_twenty_times(LONG);
}

#[track_caller]
fn replace_twenty_times(size: Size) {
    let mut fleet = Fleet::start("takeoverTime=1m\nmaxQueue=16M");
    let idle_count = fleet.run.descriptor_count();
    let crowd = Crowd::gather(fleet.address, size);
    let (crowded_count, crowded_bytes) = (fleet.run.descriptor_count(), fleet.run.resident_bytes());
    let per_round = size.page_count as u64;
    for round in 0..20 {
        crowd.wait_for_answers(per_round);
        match round {
            5 => die_in_the_middle(&fleet),
            11 => be_of_another_version(&fleet),
            _ => {}
        }
        if round == 15 {
            crowd.begin_long_broadcast();
            let successor = fleet.successor();
            fleet.run.wait_for_log("takes over");
            crowd.end_long_broadcast();
            fleet.succeed(successor);
        } else {
            fleet.replace();
        }
    }
    crowd.wait_for_answers(per_round);
    assert_eq!(fleet.run.descriptor_count(), crowded_count);
    let bytes = fleet.run.resident_bytes();
    assert!(
        bytes < crowded_bytes * 3 / 2 + (16 << 20),
        "{crowded_bytes} bytes have become {bytes}"
    );
    let Report {
        echo_count,
        broadcast_count,
        feedback_count,
    } = crowd.leave();
    println!("{echo_count} echoes, {broadcast_count} broadcasts, {feedback_count} feedbacks");
    assert!(echo_count > 20 * per_round && broadcast_count > 0 && feedback_count > 0);
    eventually("the descriptors are back", || {
        fleet.run.descriptor_count() == idle_count
    });
    fleet.run.signal(Signal::TERM);
    assert!(fleet.run.wait_exit().success());
}

#[track_caller]
fn die_in_the_middle(fleet: &Fleet) {
    let (played, _) = Played::greet(&fleet.control_path());
    played.say(&Message::Begin);
    assert!(played.hear_links() > 0);
    drop(played);
    fleet.run.wait_for_log("failed, going on: it has gone");
}

#[track_caller]
fn be_of_another_version(fleet: &Fleet) {
    let played = Played::call(&fleet.control_path());
    played.say(&Message::Hello {
        formats: 77..=78,
        version: "77".to_owned(),
    });
    assert!(played.expect_refusal().contains("restart it instead"));
}
