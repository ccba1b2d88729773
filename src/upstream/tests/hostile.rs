//! Targets that do what no server should do.

use super::*;

/// What becomes of a call that is answered by these pieces, and whether the connection is kept.
fn outcome<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Option<Result<u16, CallError>>, bool) {
    let mut scene = Scene::single();
    let (call, link) = scene.ask();
    for piece in pieces {
        scene.receive(link, piece);
    }
    let answer = scene.answer().map(|(answered, result)| {
        assert_eq!(answered, call);
        result
    });
    assert_eq!(scene.answer(), None);
    (answer, scene.open.contains(&link))
}

#[test]
fn an_answer_counts_the_same_wherever_it_is_cut() {
    let unsolicited = [EMPTY, b"HTTP/1.1 200 x\r\n"].concat();
    for (input, expected) in [
        (EMPTY, (Some(Ok(204)), true)),
        (&unsolicited, (Some(Ok(204)), false)),
        (
            b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            (Some(Ok(200)), true),
        ),
        (
            b"HTTP/1.1 200 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            (Some(Err(CallError::Malformed)), false),
        ),
        (
            b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nabc",
            (None, true),
        ),
    ] {
        let text = String::from_utf8_lossy(input);
        assert_eq!(outcome([input]), expected, "{text}");
        for cut in 0..input.len() {
            let (front, back) = input.split_at(cut);
            assert_eq!(outcome([front, back]), expected, "{text} at {cut}");
        }
        assert_eq!(outcome(input.chunks(1)), expected, "{text} bytewise");
    }
}

#[test]
fn a_target_that_drips_is_cut_off_at_the_deadline() {
    let mut scene = Scene::single();
    let (call, link) = scene.ask();
    let drops = b"HTTP/1.1 200 OK\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'y'))
        .take(1999);
    for drop in drops {
        scene.now += Duration::from_millis(1);
        scene.receive(link, &[*drop]);
    }
    assert_eq!(scene.answer(), None);
    assert_eq!(scene.wait(), 1);
    assert_eq!(scene.answer(), Some((call, Err(CallError::Timeout))));
    // Nor does it keep its connection by dripping on.
    for _ in 0..4999 {
        scene.now += Duration::from_millis(1);
        scene.receive(link, b"y");
    }
    scene.wait();
    scene.expect_close(link);
    scene.receive(link, b"y");
    scene.end();
}

#[test]
fn what_is_too_much_or_wrong_ends_the_connection_at_once() {
    let chunked = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = "HTTP/1.1 200 x\r\n";
    for (input, expected) in [
        (
            "220 smtp.example ESMTP\r\n".to_owned(),
            CallError::Malformed,
        ),
        (
            format!("{head}{}\r\n", "a: b\r\n".repeat(10_000)),
            CallError::TooLarge,
        ),
        (
            format!("{chunked}{}", "1\r\na\r\n".repeat(10_000)),
            CallError::TooLarge,
        ),
        (
            format!("{head}Content-Length: 1073741824\r\n\r\n"),
            CallError::TooLarge,
        ),
        (
            format!("{head}\r\n{}", "x".repeat(1 << 20)),
            CallError::TooLarge,
        ),
        (
            format!("{chunked}0\r\n{}", "a: b\r\n".repeat(10_000)),
            CallError::Malformed,
        ),
        (
            "HTTP/1.1 100 x\r\n\r\n".repeat(10_000),
            CallError::Malformed,
        ),
    ] {
        let text = input.get(..40).unwrap_or(&input);
        let expected = (Some(Err(expected)), false);
        assert_eq!(outcome([input.as_bytes()]), expected, "{text}");
        assert_eq!(outcome(input.as_bytes().chunks(4096)), expected, "{text}");
    }
}

#[test]
fn a_target_that_closes_in_the_middle_has_not_answered() {
    let whole = b"HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\nabc";
    for len in 0..whole.len() {
        let mut scene = Scene::single();
        // Also on a kept connection: what has begun is not asked again.
        let (call, link) = match len {
            0 => scene.ask(),
            _ => scene.ask_on_kept(),
        };
        scene.receive(link, whole.get(..len).unwrap());
        scene.eof(link);
        assert_eq!(
            scene.answer(),
            Some((call, Err(CallError::Closed))),
            "{len}"
        );
        scene.expect_close(link);
        scene.end();
    }
}

#[test]
fn bytes_on_a_quiet_connection_are_nobodys_answer() {
    let mut scene = Scene::single();
    let (call, link) = scene.ask_on_kept();
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    scene.receive(link, b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n");
    scene.expect_close(link);
    assert_eq!((scene.answer(), scene.counts().unsolicited), (None, 1));
    scene.end();
}

#[test]
fn an_answer_before_its_question_is_somebody_elses() {
    let mut scene = Scene::single();
    let (call, kept) = scene.ask();
    scene.receive(kept, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    let call = scene.call_with(Method::Post, b"", 2000).unwrap();
    assert_eq!(scene.action(), Some(Action::Write(kept)));
    scene.receive(kept, EMPTY);
    // Nothing has left: it can be asked again, even by POST.
    scene.expect_close(kept);
    let fresh = scene.connect();
    scene.connected(fresh);
    assert_eq!(scene.action(), Some(Action::Write(fresh)));
    scene.receive(fresh, EMPTY);
    assert_eq!(scene.answer(), Some((call, Err(CallError::Malformed))));
    scene.expect_close(fresh);
    assert_eq!(scene.counts().unsolicited, 2);
    scene.end();
}

#[test]
fn an_answer_before_the_end_of_its_question_ends_the_connection() {
    let mut scene = Scene::single();
    let call = scene.call_with(Method::Post, &[0; 1000], 2000).unwrap();
    let link = scene.connect();
    scene.connected(link);
    assert_eq!(scene.action(), Some(Action::Write(link)));
    scene.upstream.consume_output(link, 50);
    scene.receive(link, b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(scene.answer(), Some((call, Ok(413))));
    scene.expect_close(link);
    scene.end();
}

#[test]
fn what_arrives_for_a_closed_connection_is_ignored() {
    let mut scene = Scene::single();
    let (_, link) = scene.ask();
    scene.receive(link, b"wrong");
    assert!(scene.answer().is_some());
    scene.expect_close(link);
    scene.receive(link, EMPTY);
    scene.eof(link);
    scene.lost(link);
    scene.connected(link);
    scene.refused(link);
    assert!(scene.upstream.output(link).is_empty());
    scene.upstream.consume_output(link, 5);
    scene.end();
}

#[test]
fn a_target_that_never_answers_holds_up_no_more_than_its_connections() {
    let mut scene = Scene::new("unix:/a", |settings| {
        settings.concurrency = 2;
        settings.max_queued_calls = 10;
    });
    let accepted = (0..100)
        .filter(|_| scene.call_with(Method::Get, b"", 2000).is_ok())
        .count();
    assert_eq!(accepted, 10);
    for link in [scene.connect(), scene.connect()] {
        scene.connected(link);
        scene.send(link);
    }
    scene.wait();
    let answers: Vec<_> = std::iter::from_fn(|| scene.answer()).collect();
    assert_eq!(answers.len(), 10);
    assert!(
        answers
            .iter()
            .all(|(_, result)| *result == Err(CallError::Timeout))
    );
    scene.wait();
    assert_eq!(scene.upstream.link_count(), 0);
}
