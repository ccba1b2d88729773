//! Calls on connections that can be reached.

use super::*;

#[test]
fn a_connection_carries_one_call_after_the_other() {
    let mut scene = Scene::single();
    let calls = [scene.call(), scene.call(), scene.call()];
    let link = scene.connect();
    scene.connected(link);
    for call in calls {
        let request = scene.send(link);
        assert_eq!(request, "GET /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
        assert_eq!(scene.action(), None, "one at a time");
        scene.receive(link, EMPTY);
        assert_eq!(scene.answer(), Some((call, Ok(204))));
    }
    let counts = Counts {
        answered: 3,
        connected: 1,
        ..Counts::default()
    };
    assert_eq!(scene.counts(), counts);
    scene.end();
}

#[test]
fn no_more_connections_than_allowed_and_no_more_than_needed() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 2);
    let calls = [scene.call(), scene.call(), scene.call(), scene.call()];
    let links = [scene.connect(), scene.connect()];
    for link in links {
        scene.connected(link);
        scene.send(link);
    }
    assert_eq!(scene.action(), None);
    scene.receive(links[1], EMPTY);
    scene.send(links[1]);
    scene.receive(links[1], EMPTY);
    scene.send(links[1]);
    scene.receive(links[0], EMPTY);
    scene.receive(links[1], EMPTY);
    for call in [calls[1], calls[2], calls[0], calls[3]] {
        assert_eq!(scene.answer(), Some((call, Ok(204))));
    }
    scene.end();
}

#[test]
fn what_is_kept_is_used_and_closed_one_day() {
    let mut scene = Scene::single();
    let (call, link) = scene.ask_on_kept();
    scene.now += Duration::from_secs(1);
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    assert_eq!(scene.wait(), 30_000);
    scene.expect_close(link);
    assert_eq!(scene.upstream.next_deadline(), None);
    scene.end();
}

#[test]
fn an_answer_that_ends_the_connection_ends_it() {
    for answer in [
        "HTTP/1.1 200 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 x\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut scene = Scene::single();
        let (call, link) = scene.ask();
        scene.receive(link, answer.as_bytes());
        assert_eq!(scene.answer(), Some((call, Ok(200))));
        scene.expect_close(link);
        scene.end();
    }
}

#[test]
fn a_body_may_end_with_the_connection_if_that_was_meant() {
    let mut scene = Scene::single();
    let (call, link) = scene.ask();
    scene.receive(link, b"HTTP/1.0 200 x\r\n\r\nabc");
    scene.eof(link);
    assert_eq!(scene.answer(), Some((call, Ok(200))));
    scene.expect_close(link);

    let (call, link) = scene.ask();
    scene.receive(link, b"HTTP/1.0 200 x\r\n\r\nabc");
    scene.lost(link);
    assert_eq!(scene.answer(), Some((call, Err(CallError::Closed))));
    scene.expect_close(link);
    scene.end();
}

#[test]
fn a_kept_connection_that_was_dead_costs_nobody_an_answer() {
    for (method, sent, is_repeated) in [
        (Method::Get, 1, true),
        (Method::Head, 1, true),
        (Method::Put, 1, true),
        (Method::Delete, 1, true),
        // Whether it was taken cannot be known.
        (Method::Post, 1, false),
        (Method::Post, 0, true),
    ] {
        let mut scene = Scene::single();
        let (call, link) = scene.ask();
        scene.receive(link, EMPTY);
        assert_eq!(scene.answer(), Some((call, Ok(204))));
        let call = scene.call_with(method, b"", 2000).unwrap();
        assert_eq!(scene.action(), Some(Action::Write(link)));
        scene.upstream.consume_output(link, sent);
        scene.eof(link);
        scene.expect_close(link);
        if !is_repeated {
            assert_eq!(scene.answer(), Some((call, Err(CallError::Closed))));
            continue;
        }
        assert_eq!((scene.answer(), scene.counts().repeated), (None, 1));
        let fresh = scene.connect();
        scene.connected(fresh);
        let request = scene.send(fresh);
        assert!(request.starts_with(method.as_str()));
        // Once is enough.
        scene.eof(fresh);
        assert_eq!(scene.answer(), Some((call, Err(CallError::Closed))));
        scene.expect_close(fresh);
        scene.end();
    }
}

#[test]
fn a_second_attempt_takes_a_fresh_connection() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 3);
    let links: Vec<_> = (0..3).map(|_| scene.ask().1).collect();
    for link in &links {
        scene.receive(*link, EMPTY);
        assert!(scene.answer().is_some());
    }
    let call = scene.call();
    let Some(Action::Write(used)) = scene.action() else {
        panic!("one is kept");
    };
    scene.upstream.consume_output(used, 1);
    scene.lost(used);
    // The others have most likely ended, too.
    let mut closed: Vec<_> = (0..3)
        .map(|_| match scene.action() {
            Some(Action::Close(link)) => link,
            other => panic!("{other:?}"),
        })
        .collect();
    closed.sort_unstable();
    assert_eq!(closed, links);
    let fresh = scene.connect();
    scene.connected(fresh);
    scene.send(fresh);
    scene.receive(fresh, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    scene.end();
}

#[test]
fn a_second_attempt_does_not_take_what_another_call_leaves_over() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 2);
    let (busy, busy_link) = scene.ask();
    let (first, link) = scene.ask();
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((first, Ok(204))));
    let again = scene.call();
    scene.send(link);
    scene.lost(link);
    scene.expect_close(link);
    let fresh = scene.connect();
    scene.receive(busy_link, EMPTY);
    assert_eq!(scene.answer(), Some((busy, Ok(204))));
    assert_eq!(scene.action(), None);
    scene.refused(fresh);
    scene.expect_close(fresh);
    // It holds the last place; the pause over, it has to make room.
    let other = scene.call();
    scene.send(busy_link);
    scene.wait();
    let fresh = scene.connect();
    scene.connected(fresh);
    scene.send(fresh);
    scene.receive(fresh, EMPTY);
    scene.receive(busy_link, EMPTY);
    assert_eq!(scene.answer(), Some((again, Ok(204))));
    assert_eq!(scene.answer(), Some((other, Ok(204))));
    scene.end();
}

#[test]
fn a_kept_connection_makes_room_for_a_second_attempt() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 2);
    let links = [scene.ask().1, scene.ask().1];
    scene.receive(links[0], EMPTY);
    let again = scene.call();
    scene.send(links[0]);
    scene.lost(links[0]);
    scene.expect_close(links[0]);
    let fresh = scene.connect();
    scene.receive(links[1], EMPTY);
    scene.refused(fresh);
    scene.expect_close(fresh);
    scene.call();
    scene.send(links[1]);
    // Both places are taken while the pause ends: one kept, one busy is the most.
    scene.receive(links[1], EMPTY);
    scene.wait();
    let fresh = scene.connect();
    scene.connected(fresh);
    scene.send(fresh);
    scene.receive(fresh, EMPTY);
    let answers: Vec<_> = std::iter::from_fn(|| scene.answer()).collect();
    assert_eq!(answers.last(), Some(&(again, Ok(204))));
    scene.end();
}

#[test]
fn the_queue_is_bounded_by_count_and_by_bytes() {
    let mut scene = Scene::new("unix:/a", |settings| {
        settings.concurrency = 1;
        settings.max_queued_calls = 3;
        settings.max_queued_bytes = 10_000;
    });
    let full = Err(CallError::QueueFull);
    assert_eq!(scene.call_with(Method::Post, &[0; 10_000], 2000), full);
    let calls = [scene.call(), scene.call(), scene.call()];
    assert_eq!(scene.call_with(Method::Get, b"", 2000), full);
    let link = scene.connect();
    scene.connected(link);
    assert_eq!(scene.upstream.queued_calls(), 2);
    assert_eq!(scene.call_with(Method::Post, &[0; 9950], 2000), full);
    scene.call_with(Method::Post, &[0; 9000], 2000).unwrap();
    assert_eq!(scene.call_with(Method::Get, b"", 2000), full);
    scene.send(link);
    for call in calls {
        scene.receive(link, EMPTY);
        assert_eq!(scene.answer(), Some((call, Ok(204))));
        scene.send(link);
    }
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer().map(|(_, status)| status), Some(Ok(204)));
    assert_eq!(scene.counts().failed, 4);
    // What has left does not count any more.
    scene.call_with(Method::Post, &[0; 9000], 2000).unwrap();
}

#[test]
fn a_call_that_waits_too_long_is_answered_in_time() {
    let mut scene = Scene::single();
    let (busy, link) = scene.ask();
    scene.now += Duration::from_millis(500);
    let waiting = scene.call();
    let short = scene.call_with(Method::Get, b"", 100).unwrap();
    assert_eq!(scene.wait(), 100);
    assert_eq!(scene.answer(), Some((short, Err(CallError::Timeout))));
    assert_eq!(scene.wait(), 1400);
    assert_eq!(scene.answer(), Some((busy, Err(CallError::Timeout))));
    assert_eq!(scene.wait(), 500);
    assert_eq!(scene.answer(), Some((waiting, Err(CallError::Timeout))));
    assert_eq!(
        scene.call_with(Method::Get, b"", 0),
        Err(CallError::Timeout)
    );
    // The connection is occupied as long as the other end may still work on the first call.
    assert_eq!(scene.action(), None);
    assert_eq!(scene.wait(), 4500);
    scene.expect_close(link);
    scene.end();
}

#[test]
fn a_late_answer_is_counted_dropped_and_frees_its_connection() {
    let mut scene = Scene::single();
    let (call, link) = scene.ask();
    scene.wait();
    assert_eq!(scene.answer(), Some((call, Err(CallError::Timeout))));
    let next = scene.call();
    assert_eq!(
        scene.action(),
        None,
        "the other end is still at the first one"
    );
    scene.receive(link, b"HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((scene.answer(), scene.counts().late), (None, 1));
    scene.send(link);
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((next, Ok(204))));
    scene.end();
}

#[test]
fn a_request_that_is_not_taken_is_not_waited_for() {
    let mut scene = Scene::single();
    let call = scene.call();
    let link = scene.connect();
    scene.connected(link);
    assert_eq!(scene.action(), Some(Action::Write(link)));
    scene.upstream.consume_output(link, 3);
    assert_eq!(scene.wait(), 2000);
    assert_eq!(scene.answer(), Some((call, Err(CallError::Timeout))));
    scene.expect_close(link);
    scene.end();
}

#[test]
fn cancelled_calls_have_no_answer_in_any_state() {
    let mut scene = Scene::single();
    let [sent, waiting] = [scene.call(), scene.call()];
    let link = scene.connect();
    scene.connected(link);
    scene.send(link);
    scene.cancel(waiting);
    assert_eq!(scene.upstream.queued_calls(), 0);
    scene.cancel(sent);
    scene.cancel(sent);
    scene.cancel(CallId(99));
    scene.receive(link, EMPTY);
    assert_eq!((scene.answer(), scene.counts().late), (None, 1));
    // An end is no answer either.
    let call = scene.call();
    scene.send(link);
    scene.cancel(call);
    scene.lost(link);
    scene.expect_close(link);
    scene.end();
}

#[test]
fn the_end_answers_everybody_and_closes_everything() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 2);
    let (first, link) = scene.ask();
    let others = [scene.call(), scene.call()];
    let connecting = scene.connect();
    scene.run(|upstream, _| upstream.shut_down());
    let mut answers: Vec<_> = std::iter::from_fn(|| scene.answer()).collect();
    answers.sort_unstable_by_key(|(call, _)| *call);
    let ended = Err(CallError::ShuttingDown);
    assert_eq!(
        answers,
        [(first, ended), (others[0], ended), (others[1], ended)]
    );
    let asked = scene.call_with(Method::Get, b"", 2000);
    assert_eq!(asked, Err(CallError::ShuttingDown));
    let mut closed = [scene.action(), scene.action()];
    closed.sort_unstable_by_key(|action| *action != Some(Action::Close(link)));
    assert_eq!(
        closed,
        [link, connecting].map(|link| Some(Action::Close(link)))
    );
    scene.connected(connecting);
    scene.receive(link, EMPTY);
    assert_eq!(scene.upstream.next_deadline(), None);
    scene.end();
}
