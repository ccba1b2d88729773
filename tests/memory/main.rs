//! What the server allocates: nothing per message, once it has served a few.
//!
//! The server runs on a thread of this process whose allocations are counted. The same exchange is
//! run short and long: what the long one allocates more is what its messages cost. Memory under
//! attack is measured from outside, in `tests/hostile`.

mod client;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use client::{Client, HEAD_LEN, NEXT_LEN, serve};
use websock::connection::{ConnId, MonotonicTime};
use websock::registry::mailbox::Newcomer;
use websock::registry::{
    ClientKind, ClientUuid, Clients, Identity, Mailbox, ReplaySettings, SessionDigest, UserId,
};

/// Length of an unmasked frame with this text.
fn frame_len(text: &str) -> usize {
    text.len() + if text.len() < 126 { 2 } else { 4 }
}

/// What a server allocates while `drive` uses it. One at a time, as several would get each other's
/// signal.
fn measure_during(drive: impl FnOnce(SocketAddr)) -> AllocationInfo {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _only = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    serve(
        |mut server| measure(|| server.run().expect("it runs")),
        drive,
    )
}

/// One message and all that comes of it.
type Exchange = fn(&mut [Client], &str);

fn echo(clients: &mut [Client], pad: &str) {
    let packet = format!(r#"{{"opcode":"echo","pad":"{pad}"}}"#);
    clients[0].send(&packet);
    clients[0].skip(NEXT_LEN + frame_len(&packet));
}

fn feedback(clients: &mut [Client], pad: &str) {
    let packet = format!(r#"{{"opcode":"feedback","ident":"page","pad":"{pad}"}}"#);
    clients[0].send(&packet);
    clients[0].skip(NEXT_LEN);
    clients[1].skip(frame_len(&packet));
}

fn broadcast(clients: &mut [Client], pad: &str) {
    let packet = format!(r#"{{"opcode":"broadcast","pad":"{pad}"}}"#);
    clients[0].send(&packet);
    clients[0].skip(NEXT_LEN);
    for client in &mut clients[1..] {
        client.skip(frame_len(&packet));
    }
}

fn allocations_of(exchange: Exchange, pad: &str, count: usize) -> u64 {
    let info = measure_during(|address| {
        let mut clients = vec![
            Client::open(address, ""),
            Client::open(address, "Ident: page\r\n"),
            Client::open(address, ""),
        ];
        for _ in 0..count {
            exchange(&mut clients, pad);
        }
    });
    info.count_total
}

#[test]
fn messages_allocate_nothing() {
    for (name, exchange) in [
        ("echo", echo as Exchange),
        ("feedback", feedback),
        ("broadcast", broadcast),
    ] {
        for len in [0, 1000, 20_000] {
            let pad = "p".repeat(len);
            let short = allocations_of(exchange, &pad, 200);
            let long = allocations_of(exchange, &pad, 2200);
            // Where reads and writes happen to be cut may differ between the two.
            assert!(
                long <= short + 100,
                "2000 more messages of {name} with {len} bytes: {short} and {long} allocations"
            );
        }
    }
}

/// Most bytes that a server holds while so many tabs come back, of which each has missed 6 MB, and read
/// no more of it than that they are welcome.
fn peak_bytes_of_returns(count: usize) -> u64 {
    let info = measure_during(|address| {
        let mut first = Client::connect(address, "/web?resume=1", "");
        first.skip(HEAD_LEN);
        let ready = first.read_text();
        let (_, cursor) = ready.split_once(r#""cursor":""#).expect("a cursor");
        let cursor = cursor.split('"').next().unwrap_or_default();
        let mut speaker = Client::open(address, "");
        let packet = format!(r#"{{"opcode":"broadcast","pad":"{}"}}"#, "p".repeat(60_000));
        for _ in 0..100 {
            speaker.send(&packet);
            speaker.skip(NEXT_LEN);
            assert!(first.read_text().len() > packet.len());
        }
        let target = format!("/web?resume=1&since={cursor}");
        let comes_back = |_| {
            let mut client = Client::connect(address, &target, "");
            client.skip(HEAD_LEN);
            assert!(client.read_text().starts_with(r#"{"opcode":"ready""#));
            client
        };
        let tabs: Vec<Client> = (0..count).map(comes_back).collect();
        drop(tabs);
    });
    info.bytes_max
}

// protocol.md 9.2
#[test]
fn those_who_come_back_and_do_not_read_share_what_is_kept() {
    let (few, many) = (peak_bytes_of_returns(2), peak_bytes_of_returns(60));
    println!("{few} bytes at most for 2 tabs, {many} for 60");
    assert!(few > 6_000_000, "{few} bytes: it is not kept");
    let each = (many - few) / 58;
    assert!(each < 20_000, "{each} bytes for each more");
}

/// Bytes that a registry keeps for `count` clients, of whom `identity` says who they are.
fn registry_bytes(count: u32, identity: impl Fn(u32) -> Identity) -> i64 {
    let mut clients = Clients::default();
    let info = measure(|| {
        for slot in 0..count {
            let id = ConnId {
                slot,
                generation: 1,
            };
            let uuid = ClientUuid::Standard(u128::from(slot));
            clients.open(id, ClientKind::Web, uuid, "");
            assert!(clients.identify(id, &identity(slot)));
        }
    });
    info.bytes_current
}

#[test]
fn the_registry_keeps_100_bytes_for_a_signed_in_client_and_none_for_an_anonymous_one() {
    let signed_in = |slot: u32| Identity {
        user: UserId::new(&format!("user-{slot}@example.org")),
        session: Some(SessionDigest::of(&slot.to_string())),
    };
    // Tables double: right after that they are at their emptiest.
    for (count, most) in [(10_000, 100.0), (28_672, 92.0), (28_673, 103.0)] {
        let without = registry_bytes(count, |_| Identity::default());
        let with = registry_bytes(count, signed_in);
        let each = (with - without) as f64 / f64::from(count);
        assert!(each <= most, "{each} bytes for each of {count}");
        assert!(each > 50.0, "{each} bytes: nothing was kept");
    }
    // Those who share a user and a session take less.
    let shared = |_| signed_in(0);
    let each =
        (registry_bytes(10_000, shared) - registry_bytes(10_000, |_| Identity::default())) / 10_000;
    assert!(each < 60, "{each} bytes");
}

/// Bytes that are kept for `count` tabs that have opted in to be told what they miss, each of a user
/// of its own or of none; and for the same when they are away.
fn mailbox_bytes(count: u32, user: impl Fn(u32) -> Option<UserId>) -> (i64, usize) {
    let mut mailbox = Mailbox::new(ReplaySettings::default());
    let info = measure(|| {
        for slot in 0..count {
            let uuid = ClientUuid::Standard(u128::from(slot) + 1);
            mailbox.open(&Newcomer {
                slot,
                kind: ClientKind::Web,
                uuid: &uuid,
                user: user(slot).as_ref(),
            });
        }
    });
    (info.bytes_current, mailbox.held_bytes())
}

#[test]
fn a_tab_that_has_opted_in_and_is_idle_takes_120_bytes_more() {
    // Tables double: right after that they are at their emptiest.
    for count in [10_000, 28_672, 28_673, 100_000] {
        let user = |slot: u32| UserId::new(&format!("user-{slot}"));
        for (bytes, counted) in [mailbox_bytes(count, |_| None), mailbox_bytes(count, user)] {
            let each = bytes as f64 / f64::from(count);
            println!(
                "{each:.1} bytes for each of {count}, counted as {}",
                counted / count as usize
            );
            assert!(each <= 120.0, "{each} bytes for each of {count}");
            assert!(each > 40.0, "{each} bytes: nothing is kept");
            let ratio = counted as f64 / bytes as f64;
            assert!(
                (0.8..1.25).contains(&ratio),
                "{counted} bytes are counted, not {bytes}"
            );
        }
    }
}

/// What is counted for those who are away is what they take.
#[test]
fn tabs_that_are_away_are_counted_as_what_they_take() {
    for is_user in [false, true] {
        let count: u32 = 20_000;
        let settings = ReplaySettings {
            max_bytes: 1 << 30,
            ..ReplaySettings::default()
        };
        let mut mailbox = Mailbox::new(settings);
        let now = MonotonicTime::START + Duration::from_secs(1000);
        let info = measure(|| {
            let mut clients = Clients::default();
            for slot in 0..count {
                let id = ConnId {
                    slot,
                    generation: 1,
                };
                let uuid = ClientUuid::Standard(u128::from(slot) + 1);
                let identity = Identity {
                    user: UserId::new(&format!("user-{slot}")).filter(|_| is_user),
                    session: None,
                };
                clients.open(id, ClientKind::Web, uuid.clone(), "");
                clients.identify(id, &identity);
                mailbox.open(&Newcomer {
                    slot,
                    kind: ClientKind::Web,
                    uuid: &uuid,
                    user: identity.user.as_ref(),
                });
                mailbox.leave(id, &clients, now, now);
                clients.close(id);
            }
        });
        let (bytes, counted) = (info.bytes_current as f64, mailbox.held_bytes() as f64);
        let each = bytes / f64::from(count);
        println!(
            "{each:.1} bytes for each that is away, counted as {:.1}",
            counted / f64::from(count)
        );
        assert!(
            (0.8..1.6).contains(&(counted / bytes)),
            "{counted} are counted, not {bytes}"
        );
        // In the end nothing is left.
        let info = measure(|| {
            while let Some(due) = mailbox.next_deadline() {
                mailbox.handle_timeout(due);
            }
        });
        assert_eq!(mailbox.held_bytes(), 0);
        let left = bytes + info.bytes_current as f64;
        assert!(left < bytes / 10.0, "{left} of {bytes} bytes are left");
    }
}
