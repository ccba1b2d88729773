//! Waiting, for many or for nobody, and without doing anything meanwhile.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use websock::upstream::http::Method;
use websock::upstream::{CallError, Settings};

use crate::driver::Driver;
use crate::server::{answer, await_end, read_head, start, write};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn calls_are_under_way_together_on_as_many_connections_as_allowed() {
    const CONCURRENCY: usize = 4;
    // No answer comes before as many have been asked.
    let asked = Arc::new(Barrier::new(CONCURRENCY));
    let address = start(move |_, mut stream| {
        while !read_head(&mut stream).is_empty() {
            asked.wait();
            write(&mut stream, answer("all together"));
        }
    });
    let settings = Settings {
        concurrency: CONCURRENCY,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    for _ in 0..3 * CONCURRENCY {
        driver.begin(Method::Get, "/", b"", Duration::from_secs(30));
    }
    for _ in 0..3 * CONCURRENCY {
        let response = driver.next_answer().into_http().expect("an answer");
        assert_eq!(response.body(), b"all together");
    }
    assert_eq!(driver.upstream().counts().connected, 4);
}

#[test]
fn the_loop_sleeps_while_it_waits_for_an_answer() {
    let address = start(|_, mut stream| await_end(&mut stream));
    let settings = Settings {
        concurrency: 1,
        late_answer_timeout: SHORT,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    assert_eq!(driver.get_in_vain(SHORT), CallError::Timeout);
    driver.turn_until(|driver| driver.upstream().link_count() == 0);
    assert_few_turns(&driver);
}

#[test]
fn the_loop_sleeps_while_it_keeps_a_connection() {
    let address = start(|_, mut stream| {
        read_head(&mut stream);
        write(&mut stream, answer("kept"));
        await_end(&mut stream);
    });
    let settings = Settings {
        concurrency: 1,
        idle_timeout: SHORT,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    assert_eq!(driver.get("/"), Ok((200, "kept".to_owned())));
    driver.turn_until(|driver| driver.upstream().link_count() == 0);
    assert_few_turns(&driver);
}

#[test]
fn the_loop_sleeps_while_it_backs_off() {
    let mut driver = Driver::single("unix:/nonexistent/websock-test.sock");
    driver.begin(Method::Get, "/", b"", SHORT * 3);
    assert_eq!(driver.next_answer().result, Err(CallError::Refused));
    // Pauses are random: some are short, and each ends with an attempt.
    assert_few_turns(&driver);
}

/// A loop that does not sleep takes thousands of turns.
#[track_caller]
fn assert_few_turns(driver: &Driver) {
    let turns = driver.turn_count();
    assert!(turns < 100, "{turns} turns");
}
