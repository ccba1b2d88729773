//! A server that is stopped and started again, over and over, while a script pushes and many pages
//! listen (protocol.md 9.7).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use websock::client::{Client, ClientSettings, Error, Message, Push};

use crate::harness::server::Directory;
use crate::harness::{PATIENCE, Server, eventually};

const TABS: u32 = 30;
const RESTARTS: u32 = 8;
/// Pushed between one restart and the next.
const BETWEEN: u32 = 40;

/// How far the script has got.
static PUSHED: AtomicU32 = AtomicU32::new(0);
/// 1 once it may stop.
static IS_ENOUGH: AtomicU32 = AtomicU32::new(0);

/// For all pages, or for one of them.
fn is_for(number: u32, tab: u32) -> bool {
    number.is_multiple_of(3) || number % TABS == tab
}

/// Whether a message has arrived at the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pushed {
    Surely,
    /// The server has ended before it has answered.
    Perhaps,
}

/// Pushes until it is enough, and then what everybody waits for.
fn push_all(place: SocketAddr, uuids: &[String]) -> Vec<Pushed> {
    let mut all = Vec::new();
    loop {
        let number = all.len() as u32;
        let is_last = IS_ENOUGH.load(Ordering::Relaxed) == 1 && number.is_multiple_of(3);
        let packet = match number {
            _ if is_last => format!(r#"{{"opcode":"broadcast","message":{number},"end":true}}"#),
            _ if number.is_multiple_of(3) => {
                format!(r#"{{"opcode":"broadcast","message":{number}}}"#)
            }
            _ => {
                let uuid = &uuids[(number % TABS) as usize];
                format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":{number}}}"#)
            }
        };
        let pushed = push(place, &packet);
        all.push(pushed);
        PUSHED.store(number, Ordering::Relaxed);
        if is_last && pushed == Pushed::Surely {
            return all;
        }
    }
}

fn push(place: SocketAddr, packet: &str) -> Pushed {
    let mut pushed = None;
    eventually("there is a server", || {
        let script = ClientSettings::script();
        let receipt =
            Push::connect(&format!("ws://{place}/php"), &script).map(|mut push| push.send(packet));
        pushed = match receipt {
            Err(_) => None,
            Ok(Ok(receipt)) => {
                let is_safe = receipt.error.is_none();
                assert!(is_safe, "{packet}: {receipt:?}");
                Some(Pushed::Surely)
            }
            // A connection that the kernel has taken for a server that is ending.
            Ok(Err(Error::Ended | Error::Lost(_))) => Some(Pushed::Perhaps),
            Ok(Err(error)) => panic!("{packet}: {error}"),
        };
        pushed.is_some()
    });
    pushed.expect("it is one of them")
}

/// All messages that a page gets until the end.
fn listen(mut page: Client) -> Vec<u32> {
    let mut received = Vec::new();
    loop {
        match page.receive(Some(PATIENCE)) {
            Ok(Some(Message::Text(text))) => {
                let packet: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                if let Some(number) = packet["message"].as_u64() {
                    received.push(number as u32);
                }
                if packet["end"] == true {
                    return received;
                }
            }
            Ok(other) => panic!("{other:?} behind {received:?}"),
            Err(_) => eventually("the page comes back", || match page.reconnect() {
                Ok(resumed) => {
                    assert_eq!(resumed.gap, None, "behind {received:?}");
                    true
                }
                Err(_) => false,
            }),
        }
    }
}

// protocol.md 9.7
#[test]
fn a_server_that_is_restarted_over_and_over_under_load_loses_and_doubles_nothing() {
    let state = Directory::new();
    let ini = format!("stateDir={}\nreplaySize=1000", state.path.display());
    let mut server = Server::start(&ini);
    let place = server.address();
    let settings = ClientSettings {
        resume: true,
        timeout: Duration::from_secs(5),
        ..ClientSettings::page()
    };
    let url = format!("ws://{place}/web");
    let connect = |_| Client::connect(&url, &settings).expect("it connects");
    let pages: Vec<Client> = (0..TABS).map(connect).collect();
    let uuids: Vec<String> = pages.iter().map(|page| page.uuid().to_owned()).collect();
    let pages: Vec<_> = pages
        .into_iter()
        .map(|page| thread::spawn(move || listen(page)))
        .collect();
    let script = thread::spawn(move || push_all(place, &uuids));
    for _ in 0..RESTARTS {
        let goal = PUSHED.load(Ordering::Relaxed) + BETWEEN;
        eventually("the script goes on", || {
            PUSHED.load(Ordering::Relaxed) >= goal || script.is_finished()
        });
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit().code(), Some(0));
        server = Server::start(&format!("adress=ws://{place}\n{ini}"));
    }
    IS_ENOUGH.store(1, Ordering::Relaxed);
    let pushed = script.join().expect("all is pushed");
    assert!(pushed.len() as u32 > RESTARTS * BETWEEN);
    for (tab, page) in pages.into_iter().enumerate() {
        let received = page.join().expect("the page has got it");
        let is_wanted = |number: u32, pushed: Pushed| {
            let is_there = || received.binary_search(&number).is_ok();
            is_for(number, tab as u32) && (pushed == Pushed::Surely || is_there())
        };
        let all = (0..).zip(&pushed);
        let wanted = all.filter(|(number, pushed)| is_wanted(*number, **pushed));
        let wanted: Vec<u32> = wanted.map(|(number, _)| number).collect();
        assert_eq!(received, wanted, "of tab {tab}");
    }
}
