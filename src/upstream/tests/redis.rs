//! Calls to Redis: many at once on one connection, answered in their order.

use super::*;
use crate::upstream::redis::{ErrorKind, Request, Value};

/// What is answered to the introduction.
const WELCOME: &[u8] = b"+OK\r\n$0\r\n\r\n+PONG\r\n";
const INTRODUCTION: &str = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$7\r\nwebsock\r\n\
     *2\r\n$4\r\nINFO\r\n$7\r\ncluster\r\n*1\r\n$4\r\nPING\r\n";

impl Scene {
    fn redis(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::redis();
        change(&mut settings);
        Self::with(Target::redis("redis://127.0.0.1").unwrap(), settings)
    }

    fn begin(&mut self, request: Request, wait: u64) -> Result<CallId, CallError> {
        self.begin_call(request.into(), wait)
    }

    fn get(&mut self, key: &str) -> CallId {
        self.begin(get(key), 2000).unwrap()
    }

    /// Opens a connection that is let in.
    fn welcome(&mut self) -> LinkId {
        let link = self.connect();
        self.connected(link);
        assert_eq!(self.send(link), INTRODUCTION);
        self.receive(link, WELCOME);
        link
    }

    /// A call on a connection of its own, which has left.
    fn ask_redis(&mut self) -> (CallId, LinkId) {
        let call = self.get("a");
        let link = self.welcome();
        self.send(link);
        (call, link)
    }

    fn values(&mut self) -> Option<(CallId, Result<Vec<Value>, CallError>)> {
        let answer = self.upstream.next_answer()?;
        assert!(self.awaited.remove(&answer.call), "answered twice");
        Some((answer.call, answer.into_redis()))
    }

    #[track_caller]
    fn expect_values(&mut self, call: CallId, values: &[Value]) {
        assert_eq!(self.values(), Some((call, Ok(values.to_vec()))));
    }

    #[track_caller]
    fn expect_error(&mut self, call: CallId, error: CallError) {
        assert_eq!(self.values(), Some((call, Err(error))));
    }
}

fn get(key: &str) -> Request {
    Request::new("GET", &[key.as_bytes()])
}

fn publish(text: &str) -> Request {
    Request::new("PUBLISH", &[b"c", text.as_bytes()])
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.into())
}

#[test]
fn calls_of_a_turn_leave_together_and_are_answered_in_order() {
    let mut scene = Scene::redis(|_| {});
    let calls = [scene.get("a"), scene.get("b"), scene.get("c")];
    let link = scene.welcome();
    let sent = scene.send(link);
    assert_eq!(sent.matches("GET").count(), 3, "{sent:?}");
    assert_eq!(scene.action(), None);
    scene.receive(link, b"$1\r\nA\r\n$-1\r\n-WRONG");
    scene.expect_values(calls[0], &[bytes("A")]);
    scene.expect_values(calls[1], &[Value::Nil]);
    assert_eq!(scene.values(), None);
    scene.receive(link, b"TYPE x\r\n");
    scene.expect_values(calls[2], &[Value::Error(ErrorKind::WrongType)]);
    scene.end();
}

#[test]
fn a_call_of_several_commands_is_answered_once() {
    let mut scene = Scene::redis(|_| {});
    let request = Request::new("EXISTS", &[b"a_LOCK"]).then("GET", &[b"a"]);
    let call = scene.begin(request, 2000).unwrap();
    let link = scene.welcome();
    scene.send(link);
    scene.receive(link, b":0\r\n");
    assert_eq!(scene.values(), None);
    scene.receive(link, b"$1\r\nx\r\n");
    scene.expect_values(call, &[Value::Integer(0), bytes("x")]);
    scene.end();
}

#[test]
fn answers_are_the_same_wherever_they_are_cut() {
    let answers = b"$1\r\nA\r\n:7\r\n*2\r\n+x\r\n$-1\r\n";
    for cut in 0..answers.len() {
        let mut scene = Scene::redis(|_| {});
        let calls = [scene.get("a"), scene.get("b"), scene.get("c")];
        let link = scene.welcome();
        scene.send(link);
        scene.receive(link, &answers[..cut]);
        scene.receive(link, &answers[cut..]);
        scene.expect_values(calls[0], &[bytes("A")]);
        scene.expect_values(calls[1], &[Value::Integer(7)]);
        scene.expect_values(calls[2], &[Value::Array(vec![bytes("x"), Value::Nil])]);
        scene.end();
    }
}

#[test]
fn a_late_answer_is_dropped_and_the_order_kept() {
    let mut scene = Scene::redis(|_| {});
    let early = scene.begin(get("a"), 100).unwrap();
    let late = scene.begin(get("b"), 2000).unwrap();
    let cancelled = scene.get("c");
    let last = scene.get("d");
    let link = scene.welcome();
    scene.send(link);
    assert_eq!(scene.wait(), 100);
    scene.expect_error(early, CallError::Timeout);
    scene.cancel(cancelled);
    scene.receive(link, b"+a\r\n+b\r\n+c\r\n+d\r\n");
    scene.expect_values(late, &[bytes("b")]);
    scene.expect_values(last, &[bytes("d")]);
    assert_eq!((scene.counts().late, scene.counts().connected), (2, 1));
    scene.end();
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let mut scene = Scene::redis(|_| {});
    let (call, link) = scene.ask_redis();
    scene.wait();
    scene.expect_error(call, CallError::Timeout);
    let second = scene.get("b");
    scene.send(link);
    let third = scene.begin(publish("c"), 60_000).unwrap();
    scene.send(link);
    scene.wait();
    scene.expect_error(second, CallError::Timeout);
    assert_eq!(scene.wait(), 3000);
    scene.expect_close(link);
    // Whether it was published cannot be known.
    scene.expect_error(third, CallError::Timeout);
    scene.end();
}

#[test]
fn what_was_read_is_read_again_and_what_changes_something_is_not() {
    let mut scene = Scene::redis(|_| {});
    let (read, link) = scene.ask_redis();
    let written = scene.begin(publish("b"), 2000).unwrap();
    scene.send(link);
    // This one has not left.
    let waiting = scene.begin(publish("c"), 2000).unwrap();
    assert_eq!(scene.action(), Some(Action::Write(link)));
    scene.lost(link);
    scene.expect_close(link);
    scene.expect_error(written, CallError::Closed);
    assert_eq!(scene.counts().repeated, 2);
    assert!(scene.wait() < 100, "a pause first");
    let link = scene.welcome();
    let sent = scene.send(link);
    assert!(sent.contains("GET") && sent.ends_with("c\r\n"), "{sent:?}");
    // Once is enough.
    scene.lost(link);
    scene.expect_close(link);
    scene.expect_error(read, CallError::Closed);
    scene.expect_error(waiting, CallError::Closed);
    scene.end();
}

#[test]
fn who_is_not_let_in_waits_longer_each_time() {
    let mut scene = Scene::redis(|_| {});
    let call = scene.begin(get("a"), 10_000).unwrap();
    let mut waited = Vec::new();
    for _ in 0..6 {
        let link = scene.connect();
        scene.connected(link);
        scene.send(link);
        scene.receive(link, b"-NOAUTH Authentication required.\r\n");
        scene.expect_close(link);
        waited.push(scene.wait());
    }
    assert_eq!(waited, [99, 199, 399, 799, 1599, 3199]);
    let link = scene.connect();
    scene.connected(link);
    scene.send(link);
    scene.receive(link, b"-NOAUTH");
    scene.eof(link);
    scene.expect_close(link);
    scene.expect_error(call, CallError::Closed);
    scene.end();
}

#[test]
fn a_server_that_lets_in_and_closes_is_not_asked_without_end() {
    let mut scene = Scene::redis(|settings| settings.upkeep = Upkeep::Always);
    scene.run(|upstream, context| upstream.handle_timeout(context));
    let mut waited = 0;
    for _ in 0..6 {
        let link = scene.welcome();
        scene.eof(link);
        scene.expect_close(link);
        waited += scene.wait();
    }
    assert!(waited > 6000, "{waited} ms");
    let link = scene.welcome();
    // One that has answered is another matter.
    assert_eq!(scene.wait(), 10_000);
    assert_eq!(scene.send(link), "*1\r\n$4\r\nPING\r\n");
    scene.receive(link, b"+PONG\r\n");
    scene.lost(link);
    scene.expect_close(link);
    assert!(scene.wait() < 100);
    scene.welcome();
    scene.end();
}

#[test]
fn a_quiet_connection_is_pinged_or_closed() {
    let mut scene = Scene::redis(|_| {});
    let (call, link) = scene.ask_redis();
    scene.receive(link, b"+x\r\n");
    scene.expect_values(call, &[bytes("x")]);
    assert_eq!(scene.wait(), 30_000);
    scene.expect_close(link);
    assert_eq!(scene.upstream.next_deadline(), None);
    scene.end();

    let mut scene = Scene::redis(|settings| settings.upkeep = Upkeep::Always);
    scene.run(|upstream, context| upstream.handle_timeout(context));
    let link = scene.welcome();
    for _ in 0..3 {
        assert_eq!(scene.wait(), 10_000);
        scene.send(link);
        scene.receive(link, b"+PONG\r\n");
    }
    assert_eq!(scene.wait(), 10_000);
    scene.send(link);
    assert_eq!(scene.wait(), 5000, "no answer");
    scene.expect_close(link);
    scene.wait();
    scene.welcome();
    scene.end();
}

#[test]
fn what_nobody_has_asked_for_ends_the_connection() {
    let mut scene = Scene::redis(|_| {});
    let (call, link) = scene.ask_redis();
    scene.receive(link, b"+x\r\n+y\r\n");
    scene.expect_values(call, &[bytes("x")]);
    scene.expect_close(link);
    assert_eq!(scene.counts().unsolicited, 1);
    scene.wait();
    // An answer before its question is somebody else's.
    let call = scene.get("a");
    let link = scene.welcome();
    assert_eq!(scene.action(), Some(Action::Write(link)));
    scene.receive(link, b"+somebody's\r\n");
    scene.expect_close(link);
    assert_eq!((scene.values(), scene.counts().unsolicited), (None, 2));
    scene.wait();
    let link = scene.welcome();
    scene.send(link);
    scene.receive(link, b"+x\r\n");
    scene.expect_values(call, &[bytes("x")]);
    scene.end();
}

#[test]
fn an_answer_that_is_too_long_costs_its_own_call_only() {
    let mut scene = Scene::redis(|_| {});
    let (long, link) = scene.ask_redis();
    let other = scene.get("b");
    scene.send(link);
    scene.receive(link, format!("$101\r\n{}\r\n", "x".repeat(101)).as_bytes());
    scene.expect_error(long, CallError::TooLarge);
    scene.receive(link, b"+x\r\n");
    scene.expect_values(other, &[bytes("x")]);
    // All values together count.
    let request = get("a").then("GET", &[b"b"]).then("GET", &[b"c"]);
    let call = scene.begin(request, 2000).unwrap();
    scene.send(link);
    let other = scene.get("d");
    scene.send(link);
    let value = format!("$60\r\n{}\r\n", "x".repeat(60));
    scene.receive(link, (value.repeat(2) + "+c\r\n+d\r\n").as_bytes());
    scene.expect_error(call, CallError::TooLarge);
    scene.expect_values(other, &[bytes("d")]);
    // What no Redis sends is not waited for.
    let call = scene.get("a");
    scene.send(link);
    scene.receive(link, b"$999999999999\r\n");
    scene.expect_close(link);
    scene.expect_error(call, CallError::TooLarge);
    scene.end();
}

#[test]
fn requests_that_are_under_way_hold_a_bounded_number_of_bytes() {
    let mut scene = Scene::redis(|settings| settings.max_queued_bytes = 1000);
    let long = "x".repeat(900);
    let calls: Vec<_> = (0..3).map(|_| scene.begin(publish(&long), 2000)).collect();
    let full = Err(CallError::QueueFull);
    assert_eq!(calls[1..], [full, full], "nobody is connected");
    let link = scene.welcome();
    scene.send(link);
    let second = scene.begin(publish(&long), 2000).unwrap();
    scene.send(link);
    let third = scene.begin(publish(&long), 2000).unwrap();
    assert_eq!(scene.begin(publish(&long), 2000), full);
    assert_eq!((scene.action(), scene.upstream.queued_calls()), (None, 1));
    scene.receive(link, b":1\r\n");
    scene.expect_values(calls[0].unwrap(), &[Value::Integer(1)]);
    scene.send(link);
    scene.receive(link, b":2\r\n:3\r\n");
    scene.expect_values(second, &[Value::Integer(2)]);
    scene.expect_values(third, &[Value::Integer(3)]);
    scene.end();
}

#[test]
fn what_is_not_resp_fails_all_calls_under_way() {
    let mut scene = Scene::redis(|_| {});
    let (first, link) = scene.ask_redis();
    let second = scene.get("b");
    scene.send(link);
    scene.receive(link, b"HTTP/1.1 400 Bad Request\r\n");
    scene.expect_close(link);
    scene.expect_error(first, CallError::Malformed);
    scene.expect_error(second, CallError::Malformed);
    scene.end();
}

#[test]
fn an_error_that_only_another_connection_can_mend_ends_this_one() {
    for (error, kind) in [
        ("READONLY", ErrorKind::ReadOnly),
        ("LOADING", ErrorKind::NotReady),
        ("MOVED", ErrorKind::Cluster),
        ("NOAUTH", ErrorKind::PasswordMissing),
    ] {
        let mut scene = Scene::redis(|_| {});
        let (first, link) = scene.ask_redis();
        let second = scene.get("b");
        scene.send(link);
        scene.receive(link, format!("-{error} x\r\n").as_bytes());
        scene.expect_values(first, &[Value::Error(kind)]);
        // What is under way there is still answered; what comes now waits for another connection.
        let third = scene.get("c");
        assert_eq!(scene.action(), None);
        scene.receive(link, b"+x\r\n");
        scene.expect_values(second, &[bytes("x")]);
        scene.expect_close(link);
        assert_eq!(
            scene.upstream.last_failure(),
            Some(CallError::Rejected(kind))
        );
        scene.wait();
        let link = scene.welcome();
        scene.send(link);
        scene.receive(link, b"+y\r\n");
        scene.expect_values(third, &[bytes("y")]);
        scene.end();
    }
}

#[test]
fn no_more_calls_are_under_way_than_allowed() {
    let mut scene = Scene::redis(|settings| settings.max_pipelined_calls = 2);
    let calls = [scene.get("a"), scene.get("b"), scene.get("c")];
    let link = scene.welcome();
    assert_eq!(scene.send(link).matches("GET").count(), 2);
    assert_eq!((scene.upstream.queued_calls(), scene.action()), (1, None));
    scene.receive(link, b"+a\r\n");
    scene.expect_values(calls[0], &[bytes("a")]);
    assert_eq!(scene.send(link).matches("GET").count(), 1);
    scene.receive(link, b"+b\r\n+c\r\n");
    scene.expect_values(calls[1], &[bytes("b")]);
    scene.expect_values(calls[2], &[bytes("c")]);
    scene.end();
}

#[test]
fn a_call_in_another_protocol_is_refused() {
    let mut scene = Scene::redis(|_| {});
    let target = Target::http("http://a").unwrap();
    let http = super::Request::get(target.protocol(), []).unwrap();
    let refused = scene.begin_call(http.into(), 2000);
    assert_eq!(refused, Err(CallError::WrongProtocol));
    let mut scene = Scene::single();
    assert_eq!(scene.begin(get("a"), 2000), Err(CallError::WrongProtocol));
}

#[test]
fn what_is_under_way_when_the_server_ends_is_answered() {
    let mut scene = Scene::redis(|settings| settings.max_pipelined_calls = 1);
    let (first, link) = scene.ask_redis();
    let second = scene.get("b");
    scene.run(|upstream, _| upstream.shut_down());
    scene.expect_error(second, CallError::ShuttingDown);
    scene.expect_error(first, CallError::ShuttingDown);
    scene.expect_close(link);
    scene.end();
}
