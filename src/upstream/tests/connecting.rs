//! Names, addresses, and pauses after failures.

use std::net::SocketAddr;

use super::*;

fn resolve(scene: &mut Scene, addresses: Result<&[&str], ResolveError>) {
    let read = |list: &[&str]| -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    };
    let result = addresses.map(read);
    scene.run(|upstream, context| upstream.handle_resolved(result, context));
}

fn connect_to(scene: &mut Scene, expected: &str) -> LinkId {
    match scene.action() {
        Some(Action::Connect { link, address, .. }) => {
            assert_eq!(address, Address::Tcp(expected.parse().unwrap()));
            link
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_is_looked_up_when_somebody_asks() {
    let mut scene = Scene::new("https://shop.example/a", |_| {});
    assert_eq!(scene.upstream.next_deadline(), None);
    let call = scene.call();
    let (host, port) = ("shop.example".to_owned(), 443);
    assert_eq!(scene.action(), Some(Action::Resolve { host, port }));
    resolve(&mut scene, Ok(&["192.0.2.1:443"]));
    let Some(Action::Connect {
        link, server_name, ..
    }) = scene.action()
    else {
        panic!("a connection is wanted");
    };
    assert_eq!(server_name.as_deref(), Some("shop.example"));
    scene.connected(link);
    scene.send(link);
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    scene.end();
}

#[test]
fn nothing_is_looked_up_for_addresses_and_unix_sockets() {
    for (url, expected) in [
        ("http://[::1]:81", Address::Tcp("[::1]:81".parse().unwrap())),
        ("unix:/run/a.sock", Address::Unix("/run/a.sock".into())),
    ] {
        let mut scene = Scene::new(url, |_| {});
        scene.call();
        let Some(Action::Connect {
            address,
            server_name,
            ..
        }) = scene.action()
        else {
            panic!("a connection is wanted");
        };
        assert_eq!((address, server_name), (expected, None));
    }
}

#[test]
fn each_address_is_tried_in_its_share_of_the_time() {
    let mut scene = Scene::new("http://a.example/", |settings| {
        settings.concurrency = 1;
        settings.connect_timeout = Duration::from_secs(3);
    });
    let call = scene.call_with(Method::Get, b"", 60_000).unwrap();
    scene.action();
    resolve(
        &mut scene,
        Ok(&["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]),
    );
    let first = connect_to(&mut scene, "192.0.2.1:80");
    assert_eq!(scene.wait(), 1000);
    scene.expect_close(first);
    let second = connect_to(&mut scene, "192.0.2.2:80");
    scene.refused(second);
    scene.expect_close(second);
    let third = connect_to(&mut scene, "192.0.2.3:80");
    // Too late: it is another connection now.
    scene.connected(first);
    scene.connected(third);
    scene.send(third);
    scene.receive(third, b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n");
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    scene.expect_close(third);
    // The one that has worked comes first from now on.
    scene.call();
    connect_to(&mut scene, "192.0.2.3:80");
}

#[test]
fn calls_wait_through_a_short_pause() {
    let mut scene = Scene::single();
    let call = scene.call();
    let link = scene.connect();
    scene.refused(link);
    scene.expect_close(link);
    assert_eq!(scene.upstream.last_failure(), Some(CallError::Refused));
    assert_eq!(scene.answer(), None);
    assert_eq!(scene.wait(), 99);
    let link = scene.connect();
    scene.connected(link);
    assert_eq!(scene.upstream.last_failure(), None);
    scene.send(link);
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((call, Ok(204))));
    assert_eq!(scene.counts().connect_failures, 1);
    scene.end();
}

#[test]
fn calls_that_a_pause_outlasts_fail_at_once_and_say_why() {
    let mut scene = Scene::single();
    let patient = scene.call_with(Method::Get, b"", 60_000).unwrap();
    let short = scene.call_with(Method::Get, b"", 60).unwrap();
    let link = scene.connect();
    scene.refused(link);
    scene.expect_close(link);
    assert_eq!(scene.answer(), Some((short, Err(CallError::Refused))));
    let too_late = scene.call_with(Method::Get, b"", 60);
    assert_eq!(too_late, Err(CallError::Refused));
    scene.wait();
    let link = scene.connect();
    scene.connected(link);
    scene.send(link);
    scene.receive(link, EMPTY);
    assert_eq!(scene.answer(), Some((patient, Ok(204))));
    scene.end();
}

#[test]
fn every_way_not_to_be_reached_has_its_name() {
    let refused = ConnectError::Refused;
    let cases = [
        (refused, CallError::Refused),
        (ConnectError::Unreachable, CallError::Unreachable),
        (ConnectError::TlsFailed, CallError::TlsFailed),
    ];
    for (error, expected) in cases {
        let mut scene = Scene::single();
        let call = scene.call_with(Method::Get, b"", 50).unwrap();
        let link = scene.connect();
        scene.run(|upstream, context| upstream.handle_connect_failed(link, error, context));
        assert_eq!(scene.answer(), Some((call, Err(expected))));
    }
    // The first address is the one that should work.
    let mut scene = Scene::new("http://localhost/", |_| {});
    let call = scene.call_with(Method::Get, b"", 50).unwrap();
    let link = scene.connect();
    scene.refused(link);
    scene.expect_close(link);
    let link = scene.connect();
    scene.lost(link);
    assert_eq!(scene.answer(), Some((call, Err(CallError::Refused))));

    for error in [ResolveError::NotFound, ResolveError::Busy] {
        let mut scene = Scene::new("http://a.example", |_| {});
        let call = scene.call_with(Method::Get, b"", 50).unwrap();
        resolve(&mut scene, Err(error));
        assert_eq!(scene.answer(), Some((call, Err(CallError::Unresolved))));
    }
}

#[test]
fn after_a_failure_one_connection_tries_and_then_all_do() {
    let mut scene = Scene::new("http://127.0.0.1/", |settings| settings.concurrency = 3);
    for _ in 0..5 {
        scene.call_with(Method::Get, b"", 60_000).unwrap();
    }
    let links = [scene.connect(), scene.connect(), scene.connect()];
    assert_eq!(scene.action(), None);
    for link in links {
        scene.refused(link);
        scene.expect_close(link);
    }
    assert!(scene.wait() < 100, "three failures together are one");
    let link = scene.connect();
    assert_eq!(scene.action(), None);
    scene.connected(link);
    scene.send(link);
    assert_eq!((scene.connect(), scene.connect()), (LinkId(4), LinkId(5)));
    assert_eq!(scene.action(), None);
}

#[test]
fn a_look_up_that_hangs_fails_the_calls_and_is_not_repeated() {
    let mut scene = Scene::new("http://a.example", |_| {});
    for _ in 0..3 {
        scene.call();
    }
    assert!(matches!(scene.action(), Some(Action::Resolve { .. })));
    assert_eq!(scene.wait(), 2000);
    for id in 0..3 {
        let expected = Some((CallId(id), Err(CallError::Timeout)));
        assert_eq!(scene.answer(), expected);
    }
    for _ in 0..20 {
        let asked = scene.call_with(Method::Get, b"", 2000);
        assert!(matches!(asked, Ok(_) | Err(CallError::Unresolved)));
        scene.wait();
        while scene.answer().is_some() {}
    }
    assert_eq!(scene.action(), None, "the first one has not answered yet");
    // Now that it has, the name can be looked up anew.
    resolve(&mut scene, Err(ResolveError::NotFound));
    while scene.actions.is_empty() {
        assert!(scene.call_with(Method::Get, b"", 60_000).is_ok());
        scene.wait();
    }
    assert!(matches!(scene.action(), Some(Action::Resolve { .. })));
}

#[test]
fn a_connection_that_stands_serves_while_no_other_can_be_opened() {
    let mut scene = Scene::new("unix:/a", |settings| settings.concurrency = 2);
    let (first, link) = scene.ask();
    let second = scene.call();
    let refused = scene.connect();
    scene.refused(refused);
    scene.expect_close(refused);
    // A pause outlasts it, but not what the first connection is at.
    let third = scene.call_with(Method::Get, b"", 50).unwrap();
    assert_eq!(scene.answer(), None);
    for call in [first, second, third] {
        scene.receive(link, EMPTY);
        assert_eq!(scene.answer(), Some((call, Ok(204))));
        if call != third {
            scene.send(link);
        }
    }
    scene.end();
}
