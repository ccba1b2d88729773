//! Servers that drip, lie, close and never end.

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use websock::upstream::http::Method;
use websock::upstream::{CallError, Settings};

use crate::driver::Driver;
use crate::server::{answer, await_end, read_head, start, write};

/// Long enough to be asked, too short for a server that never ends.
const SHORT: Duration = Duration::from_secs(2);

/// What comes of asking a server that reads the request, then writes this and waits.
fn answered_by(bytes: impl Into<Vec<u8>>) -> Result<(u16, String), CallError> {
    let bytes = bytes.into();
    let address = start(move |_, mut stream| {
        read_head(&mut stream);
        write(&mut stream, &bytes);
        await_end(&mut stream);
    });
    Driver::single(&format!("http://{address}")).get("/")
}

#[test]
fn one_connection_carries_many_calls() {
    let address = start(|number, mut stream| {
        for request in 0.. {
            if read_head(&mut stream).is_empty() {
                return;
            }
            write(&mut stream, answer(&format!("{number} {request}")));
        }
    });
    let mut driver = Driver::single(&format!("http://localhost:{}", address.port()));
    for request in 0..50 {
        assert_eq!(driver.get("/"), Ok((200, format!("0 {request}"))));
    }
    assert_eq!(driver.upstream().counts().connected, 1);
}

#[test]
fn many_calls_at_once_have_each_its_own_answer_on_few_connections() {
    let address = start(|_, mut stream| {
        loop {
            let head = read_head(&mut stream);
            let Some(path) = head.split(' ').nth(1) else {
                return;
            };
            write(&mut stream, answer(path));
        }
    });
    let settings = Settings {
        concurrency: 4,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    let mut asked = Vec::new();
    for number in 0..200 {
        let path = format!("/{number}");
        let call = driver.begin(Method::Get, &path, b"", Duration::from_secs(30));
        asked.push((call, path));
    }
    for _ in 0..200 {
        let answer = driver.next_answer();
        let (_, path) = asked
            .iter()
            .find(|(call, _)| *call == answer.call)
            .expect("it was asked");
        let body = answer.into_http().expect("an answer").into_body();
        assert_eq!(body, path.as_bytes());
    }
    assert!(driver.upstream().counts().connected <= 4);
}

#[test]
fn a_connection_closed_while_quiet_is_replaced() {
    let address = start(|number, mut stream| {
        read_head(&mut stream);
        write(&mut stream, answer(&number.to_string()));
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    for number in 0..5 {
        assert_eq!(driver.get("/"), Ok((200, number.to_string())));
    }
}

#[test]
fn a_post_is_not_sent_on_a_connection_that_has_been_closed() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let (closed, close) = channel();
    let address = start(move |number, mut stream| {
        read_head(&mut stream);
        write(&mut stream, answer(&number.to_string()));
        // The loop keeps the connection, and takes no turn until it is asked again.
        _ = gate.lock().expect("the gate").recv();
        drop(stream);
        closed.send(()).expect("the test waits");
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    for number in 0..5 {
        let response = driver.ask(Method::Post, "/", b"").expect("an answer");
        assert_eq!(response.body(), number.to_string().as_bytes());
        go.send(()).expect("the server waits");
        close
            .recv_timeout(Duration::from_secs(60))
            .expect("it closes");
    }
}

#[test]
fn a_connection_closed_just_when_asked_is_replaced_once() {
    let address = start(|number, mut stream| {
        read_head(&mut stream);
        // From the third one on nothing is answered at all.
        if number < 2 {
            write(&mut stream, answer(&number.to_string()));
            read_head(&mut stream);
        }
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    assert_eq!(driver.get("/"), Ok((200, "0".to_owned())));
    assert_eq!(driver.get("/"), Ok((200, "1".to_owned())));
    assert_eq!(driver.upstream().counts().repeated, 1);
    assert_eq!(driver.get("/"), Err(CallError::Closed));
    assert_eq!(driver.upstream().counts().repeated, 2);
}

#[test]
fn a_server_that_drips_has_not_answered() {
    let (ended, end) = channel();
    let address = start(move |_, mut stream| {
        read_head(&mut stream);
        write(&mut stream, "HTTP/1.1 200 OK\r\nX: ");
        // As fast as the loop takes single bytes, until the head is too long.
        while write(&mut stream, "y") {}
        ended.send(()).expect("the test waits");
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    let error = driver.get_in_vain(SHORT);
    assert!(
        matches!(error, CallError::Timeout | CallError::TooLarge),
        "{error}"
    );
    driver.turn_until(|driver| driver.upstream().link_count() == 0);
    end.recv_timeout(Duration::from_secs(60))
        .expect("the server is left alone");
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    let address = start(|_, mut stream| await_end(&mut stream));
    let settings = Settings {
        concurrency: 1,
        late_answer_timeout: SHORT,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    assert_eq!(driver.get_in_vain(SHORT), CallError::Timeout);
    driver.turn_until(|driver| driver.upstream().link_count() == 0);
}

#[test]
fn an_answer_that_comes_late_is_dropped() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let address = start(move |_, mut stream| {
        read_head(&mut stream);
        gate.lock()
            .expect("the gate")
            .recv()
            .expect("the test is there");
        write(&mut stream, answer("late"));
        read_head(&mut stream);
        write(&mut stream, answer("in time"));
        await_end(&mut stream);
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    assert_eq!(driver.get_in_vain(SHORT), CallError::Timeout);
    go.send(()).expect("the server waits");
    assert_eq!(driver.get("/"), Ok((200, "in time".to_owned())));
    let counts = driver.upstream().counts();
    assert_eq!((counts.late, counts.connected), (1, 1));
}

#[test]
fn what_is_no_answer_is_refused() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(answered_by(bytes), Err(CallError::Malformed), "{text}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let head = "HTTP/1.1 200 OK\r\n";
    let chunks = "1\r\na\r\n".repeat(10_000);
    for answer in [
        format!("{head}{}\r\n", "a: b\r\n".repeat(10_000)),
        format!("{head}Content-Length: 8193\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
    ] {
        assert_eq!(answered_by(answer), Err(CallError::TooLarge));
    }
}

#[test]
fn a_body_without_end_is_cut_off_early() {
    for (encoding, piece) in [
        ("X: y", vec![b'x'; 1 << 16]),
        ("Transfer-Encoding: chunked", b"1\r\na\r\n".repeat(10_000)),
        ("Content-Length: 1073741824", vec![b'x'; 1 << 16]),
    ] {
        let (ended, end) = channel();
        let address = start(move |_, mut stream| {
            read_head(&mut stream);
            write(
                &mut stream,
                format!("HTTP/1.1 200 OK\r\n{encoding}\r\n\r\n"),
            );
            let gigabyte = (1 << 30) / piece.len();
            let sent = (0..gigabyte).take_while(|_| write(&mut stream, &piece));
            ended.send(sent.count() < gigabyte).expect("the test waits");
        });
        let mut driver = Driver::single(&format!("http://{address}"));
        assert_eq!(driver.get("/"), Err(CallError::TooLarge), "{encoding}");
        let is_cut_off = end.recv_timeout(Duration::from_secs(60));
        assert_eq!(is_cut_off, Ok(true), "{encoding}");
    }
}

#[test]
fn an_answer_cut_off_is_none() {
    for begun in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    ] {
        let address = start(move |_, mut stream| {
            read_head(&mut stream);
            write(&mut stream, begun);
        });
        let mut driver = Driver::single(&format!("http://{address}"));
        assert_eq!(driver.get("/"), Err(CallError::Closed), "{begun}");
    }
}

#[test]
fn an_answer_without_length_ends_with_its_connection() {
    let address = start(|_, mut stream| {
        read_head(&mut stream);
        write(&mut stream, "HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    assert_eq!(driver.get("/"), Ok((200, "all of it".to_owned())));
}

#[test]
fn bytes_that_nobody_asked_for_close_a_kept_connection() {
    let address = start(|number, mut stream| {
        read_head(&mut stream);
        let unsolicited = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        write(&mut stream, answer(&number.to_string()) + unsolicited);
        await_end(&mut stream);
    });
    let mut driver = Driver::single(&format!("http://{address}"));
    for number in 0..5 {
        assert_eq!(driver.get("/"), Ok((200, number.to_string())));
        driver.turn_until(|driver| driver.upstream().link_count() == 0);
    }
    assert_eq!(driver.upstream().counts().unsolicited, 5);
}

#[test]
fn an_answer_may_come_before_all_is_asked() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let address = start(move |_, mut stream| {
        read_head(&mut stream);
        write(
            &mut stream,
            "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
        );
        // Nothing of the body is read before the answer has been.
        _ = gate.lock().expect("the gate").recv();
        await_end(&mut stream);
    });
    let settings = Settings {
        max_queued_bytes: usize::MAX,
        ..Settings::default()
    };
    let mut driver = Driver::new(&format!("http://{address}"), settings);
    // More than the buffers of both sockets hold.
    let body = vec![0; 64 << 20];
    let response = driver.ask(Method::Post, "/", &body).expect("an answer");
    assert_eq!(response.status(), 413);
    assert_eq!(driver.upstream().link_count(), 0, "the request is cut off");
    drop(go);
}

#[test]
fn where_nobody_listens_calls_fail_soon_and_say_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    for url in [
        format!("http://{address}/"),
        "unix:/nonexistent/websock-test.sock".to_owned(),
    ] {
        let mut driver = Driver::single(&url);
        assert_eq!(driver.get_in_vain(SHORT), CallError::Refused, "{url}");
    }
}

#[test]
fn a_server_that_comes_back_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let mut driver = Driver::single(&format!("http://{address}/"));
    let wait = Duration::from_secs(30);
    let call = driver.begin(Method::Get, "/", b"", wait);
    driver.turn_until(|driver| driver.upstream().last_failure().is_some());
    let listener = TcpListener::bind(address).expect("the port is free");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        read_head(&mut stream);
        write(&mut stream, answer("back"));
    });
    let answer = driver.next_answer();
    assert_eq!(answer.call, call);
    assert_eq!(answer.into_http().expect("an answer").body(), b"back");
    server.join().expect("the server has served");
}
