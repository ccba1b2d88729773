//! Finding the master by asking Sentinels.

use super::*;
use crate::upstream::redis::{ErrorKind, Request};

const MASTER_WELCOME: &[u8] = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n+OK\r\n$0\r\n\r\n+PONG\r\n";
const QUESTION: &str = "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$1\r\nm\r\n";
const HERE: &[u8] = b"*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6379\r\n";

impl Scene {
    fn sentinels(url: &str) -> Self {
        Self::with(Target::redis(url).unwrap(), Settings::redis())
    }

    /// The next action, which opens a connection there.
    #[track_caller]
    fn connect_to(&mut self, expected: &str) -> LinkId {
        match self.action() {
            Some(Action::Connect { link, address, .. }) => {
                assert_eq!(address, Address::Tcp(expected.parse().unwrap()));
                link
            }
            other => panic!("{other:?}"),
        }
    }

    /// A Sentinel there is asked.
    #[track_caller]
    fn ask_sentinel(&mut self, address: &str) -> LinkId {
        let link = self.connect_to(address);
        self.connected(link);
        assert_eq!(self.send(link), QUESTION);
        link
    }

    fn get_key(&mut self, wait: u64) -> CallId {
        let request = Request::new("GET", &[b"a"]);
        self.begin_call(request.into(), wait).unwrap()
    }

    #[track_caller]
    fn expect_get(&mut self, link: LinkId) {
        assert!(self.send(link).contains("GET"));
        self.receive(link, b"$-1\r\n");
        let answer = self.upstream.next_answer().unwrap();
        assert!(self.awaited.remove(&answer.call));
        assert_eq!(answer.into_redis().unwrap().len(), 1);
    }

    fn resolve(&mut self, expected: &str, addresses: &[&str]) {
        let (host, port) = expected.rsplit_once(':').unwrap();
        let (host, port) = (host.to_owned(), port.parse().unwrap());
        assert_eq!(self.action(), Some(Action::Resolve { host, port }));
        self.resolved(addresses);
    }

    fn resolved(&mut self, addresses: &[&str]) {
        let read = |text: &&str| text.parse().unwrap();
        let addresses = addresses.iter().map(read).collect();
        self.run(|upstream, context| upstream.handle_resolved(Ok(addresses), context));
    }
}

#[test]
fn the_master_is_asked_for_and_then_asked() {
    let mut scene = Scene::sentinels("redis+sentinel://:p@10.0.0.1,10.0.0.2:5/m?database=3");
    scene.get_key(2000);
    let sentinel = scene.ask_sentinel("10.0.0.1:26379");
    for piece in HERE.chunks(1) {
        scene.receive(sentinel, piece);
    }
    scene.expect_close(sentinel);
    let link = scene.connect_to("10.0.0.9:6379");
    scene.connected(link);
    let said = scene.send(link);
    assert!(said.contains("AUTH") && said.contains("SELECT") && said.contains("ROLE"));
    scene.receive(link, b"+OK\r\n+OK\r\n");
    scene.receive(link, MASTER_WELCOME);
    scene.expect_get(link);
    assert_eq!(scene.counts().connected, 1);
    scene.end();
}

#[test]
fn a_sentinel_that_does_not_help_is_followed_by_the_next() {
    let mut scene = Scene::sentinels("redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4/m");
    scene.get_key(5000);
    let refusing = scene.connect_to("10.0.0.1:26379");
    scene.refused(refusing);
    scene.expect_close(refusing);
    let ignorant = scene.ask_sentinel("10.0.0.2:26379");
    scene.receive(ignorant, b"*-1\r\n");
    scene.expect_close(ignorant);
    let silent = scene.ask_sentinel("10.0.0.3:26379");
    assert_eq!(scene.wait(), 1250);
    scene.expect_close(silent);
    let knowing = scene.ask_sentinel("10.0.0.4:26379");
    scene.receive(knowing, HERE);
    scene.expect_close(knowing);
    let link = scene.connect_to("10.0.0.9:6379");
    scene.connected(link);
    scene.send(link);
    scene.receive(link, MASTER_WELCOME);
    scene.expect_get(link);
    // It is asked first from now on.
    scene.get_key(5000);
    scene.send(link);
    scene.lost(link);
    scene.expect_close(link);
    scene.wait();
    let again = scene.connect_to("10.0.0.4:26379");
    scene.lost(again);
    scene.expect_close(again);
    scene.ask_sentinel("10.0.0.1:26379");
}

#[test]
fn why_no_master_is_found_is_what_the_first_sentinel_says() {
    for (answer, expected) in [
        ("*-1\r\n", CallError::Rejected(ErrorKind::UnknownMaster)),
        (
            "-IDONTKNOW x\r\n",
            CallError::Rejected(ErrorKind::UnknownMaster),
        ),
        (
            "-NOAUTH x\r\n",
            CallError::Rejected(ErrorKind::PasswordMissing),
        ),
        ("*2\r\n$1\r\na\r\n$5\r\n99999\r\n", CallError::Malformed),
        ("*0\r\n", CallError::Malformed),
        ("+x\r\n", CallError::Malformed),
        ("HTTP/1.1 400 x\r\n", CallError::Malformed),
    ] {
        let mut scene = Scene::sentinels("redis+sentinel://10.0.0.1,10.0.0.2/m");
        scene.get_key(2000);
        let first = scene.ask_sentinel("10.0.0.1:26379");
        scene.receive(first, answer.as_bytes());
        scene.expect_close(first);
        let second = scene.ask_sentinel("10.0.0.2:26379");
        scene.eof(second);
        scene.expect_close(second);
        assert_eq!(scene.upstream.last_failure(), Some(expected), "{answer:?}");
        scene.wait();
        scene.ask_sentinel("10.0.0.1:26379");
    }
}

#[test]
fn names_of_sentinels_and_of_the_master_are_looked_up() {
    let mut scene = Scene::sentinels("rediss+sentinel://one,two/m");
    scene.get_key(2000);
    scene.resolve("one:26379", &[]);
    scene.resolve("two:26379", &["10.0.0.2:26379"]);
    let Some(Action::Connect {
        link, server_name, ..
    }) = scene.action()
    else {
        panic!("it is asked");
    };
    assert_eq!(server_name.as_deref(), Some("two"));
    scene.connected(link);
    scene.send(link);
    scene.receive(link, b"*2\r\n$5\r\nThree\r\n$1\r\n1\r\n");
    scene.expect_close(link);
    scene.resolve("three:1", &["10.0.0.3:1"]);
    let Some(Action::Connect {
        link, server_name, ..
    }) = scene.action()
    else {
        panic!("it is asked");
    };
    assert_eq!(server_name.as_deref(), Some("three"));
    scene.connected(link);
    scene.send(link);
    scene.receive(link, MASTER_WELCOME);
    scene.expect_get(link);
    scene.end();
}

#[test]
fn a_server_that_is_no_master_any_more_is_asked_nothing() {
    let mut scene = Scene::sentinels("redis+sentinel://10.0.0.1/m");
    scene.get_key(5000);
    let sentinel = scene.ask_sentinel("10.0.0.1:26379");
    scene.receive(sentinel, HERE);
    scene.expect_close(sentinel);
    let link = scene.connect();
    scene.connected(link);
    scene.send(link);
    scene.receive(
        link,
        b"*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:1\r\n",
    );
    scene.expect_close(link);
    let error = CallError::Rejected(ErrorKind::ReadOnly);
    assert_eq!(scene.upstream.last_failure(), Some(error));
    scene.wait();
    scene.ask_sentinel("10.0.0.1:26379");
}

#[test]
fn a_search_that_takes_too_long_is_given_up_and_begun_anew() {
    let mut scene = Scene::sentinels("redis+sentinel://one/m");
    scene.get_key(60_000);
    let resolve = |host: &str| {
        let (host, port) = (host.to_owned(), 26379);
        Some(Action::Resolve { host, port })
    };
    assert_eq!(scene.action(), resolve("one"));
    assert_eq!(scene.wait(), 5000);
    assert_eq!(scene.upstream.last_failure(), Some(CallError::Unresolved));
    scene.wait();
    assert_eq!(scene.action(), None, "never two names at a time");
    scene.resolved(&["10.0.0.8:1"]);
    scene.resolve("one:26379", &["10.0.0.1:1"]);
    let sentinel = scene.ask_sentinel("10.0.0.1:1");
    // The route does not wait for longer than for the look-up.
    scene.wait();
    scene.expect_close(sentinel);
    scene.wait();
    scene.resolve("one:26379", &["10.0.0.1:1"]);
    let sentinel = scene.ask_sentinel("10.0.0.1:1");
    scene.receive(sentinel, HERE);
    scene.expect_close(sentinel);
    scene.connect_to("10.0.0.9:6379");
}
