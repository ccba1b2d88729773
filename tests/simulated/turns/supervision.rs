//! What the service manager hears, by a stand-in for its socket.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use websock::ops::notify::Notifier;
use websock::ops::signals::Signal;

use crate::client;
use crate::server::{Server, settings};

type Heard = Rc<RefCell<Vec<String>>>;

fn supervised(watchdog: Option<Duration>) -> (Server, Heard) {
    let mut settings = settings();
    settings.drain.spread = Some(Duration::from_secs(60));
    let mut server = Server::new(&settings);
    let heard = Heard::default();
    let log = Rc::clone(&heard);
    let notifier = Notifier::new(
        move |text| {
            log.borrow_mut().push(text.to_owned());
            Ok(())
        },
        watchdog,
    );
    server.event_loop.set_notifier(Some(notifier));
    server.event_loop.tell_ready();
    (server, heard)
}

#[test]
fn the_loop_gives_a_sign_of_life_in_each_half_of_the_watchdogs_time() {
    let (mut server, heard) = supervised(Some(Duration::from_secs(2)));
    assert!(heard.borrow()[0].starts_with("READY=1\nSTATUS=0 tabs, 0 scripts"));
    server.advance(Duration::from_secs(20));
    let heard = heard.borrow();
    let alive = heard.iter().filter(|text| text.contains("WATCHDOG=1"));
    let count = alive.count();
    assert!((16..=20).contains(&count), "{count} in 20 seconds");
}

#[test]
fn a_loop_that_does_not_go_round_gives_none() {
    let (mut server, heard) = supervised(Some(Duration::from_secs(2)));
    server.advance(Duration::from_secs(3));
    let count = heard.borrow().len();
    // The clock goes on, the loop does not.
    server
        .system
        .let_sleep_until(server.system.time() + Duration::from_secs(60));
    assert_eq!(heard.borrow().len(), count);
}

#[test]
fn the_status_is_told_when_it_has_changed_and_not_more_often_than_every_ten_seconds() {
    let (mut server, heard) = supervised(None);
    server.advance(Duration::from_secs(60));
    assert_eq!(heard.borrow().len(), 1, "nothing has changed");
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.open("192.0.2.1"));
        server.advance(Duration::from_millis(200));
    }
    let heard = heard.borrow();
    assert!((2..=4).contains(&heard.len()), "{heard:?}");
    assert!(
        heard.last().unwrap().contains(" tabs, 0 scripts, "),
        "{heard:?}"
    );
}

#[test]
fn an_end_that_takes_long_asks_for_the_time_that_it_needs() {
    let (mut server, heard) = supervised(None);
    let clients: Vec<_> = (0..4)
        .map(|_| server.open_at("/web?user=1", "", "192.0.2.1"))
        .collect();
    heard.borrow_mut().clear();
    server.system.signal(Signal::Stop);
    server.advance(Duration::from_secs(50));
    for client in &clients {
        client.end.offer(&client::close(1012, ""));
    }
    server.settle();
    let heard = heard.borrow();
    let first = &heard[0];
    assert!(
        first.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC="),
        "{first}"
    );
    assert!(first.contains("STATUS=stopping, 4 tabs"), "{first}");
    let wanted: Vec<u64> = heard
        .iter()
        .filter_map(|text| text.split("EXTEND_TIMEOUT_USEC=").nth(1)?.lines().next())
        .map(|number| number.parse::<u64>().unwrap() / 1_000_000)
        .collect();
    // Spread, time for goodbyes and a margin; less as time goes by.
    assert_eq!(wanted[0], 75, "{wanted:?}");
    assert!(
        wanted.len() >= 4 && *wanted.last().unwrap() < 40,
        "{wanted:?}"
    );
    assert!(server.event_loop.is_done());
}
