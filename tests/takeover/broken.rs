//! Takeovers that come to nothing: the running server goes on as if nothing had been asked.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use websock::net::control_message::{FORMAT, Message};

use crate::fleet::Fleet;
use crate::harness::server::{Run, binary};
use crate::harness::{Conn, eventually};
use crate::played::Played;

/// A server with clients, who are all served, and which can be taken over, when this is dropped.
struct Scene {
    fleet: Fleet,
    clients: Vec<Conn>,
    descriptor_count: usize,
}

impl Scene {
    fn new() -> Self {
        let fleet = Fleet::start("takeoverTime=1h");
        let clients: Vec<Conn> = (0..300).map(|_| fleet.web()).collect();
        let descriptor_count = fleet.run.descriptor_count();
        Self {
            fleet,
            clients,
            descriptor_count,
        }
    }

    #[track_caller]
    fn check(mut self) {
        self.clients.iter_mut().for_each(Conn::round_trip);
        self.fleet.web().close();
        eventually("descriptors are back", || {
            self.fleet.run.descriptor_count() <= self.descriptor_count
        });
        self.fleet.replace();
        self.clients.iter_mut().for_each(Conn::round_trip);
    }

    /// A successor that has got the first connections and owes an answer.
    #[track_caller]
    fn half_taken(&self) -> Played {
        let (played, offer) = Played::greet(&self.fleet.control_path());
        assert!(matches!(offer, Message::Offer { format, .. } if format == FORMAT));
        played.say(&Message::Begin);
        assert!((1..300).contains(&played.hear_links()));
        played
    }
}

#[test]
fn one_that_dies_in_the_middle() {
    let scene = Scene::new();
    drop(scene.half_taken());
    scene
        .fleet
        .run
        .wait_for_log("failed, going on: it has gone");
    scene.check();
}

#[test]
fn one_that_stalls_in_the_middle_and_messages_meanwhile() {
    let mut scene = Scene::new();
    let played = scene.half_taken();
    scene.clients[7].send_text(r#"{"opcode":"echo","n":7}"#);
    let mut newcomer = crate::harness::connect_to(scene.fleet.address);
    newcomer.send_bytes(&crate::harness::Request::to("/web").bytes());
    scene
        .fleet
        .run
        .wait_for_log("failed, going on: it does not go on");
    scene.clients[7].expect_next();
    scene.clients[7].expect_json(r#"{"opcode":"echo","n":7}"#);
    assert_eq!(newcomer.read_response().status(), 101);
    newcomer.expect_ready();
    newcomer.close();
    drop(played);
    scene.check();
}

#[test]
fn one_of_another_version() {
    let scene = Scene::new();
    let played = Played::call(&scene.fleet.control_path());
    played.say(&Message::Hello {
        formats: FORMAT + 1..=FORMAT + 2,
        version: "99.0.0".to_owned(),
    });
    let reason = played.expect_refusal();
    let expected = format!("hands over in format {FORMAT}, websock 99.0.0 reads");
    assert!(reason.contains(&expected), "{reason}");
    scene.check();
}

#[test]
fn one_that_counts_wrong_or_says_what_is_not_expected() {
    let scene = Scene::new();
    let path = scene.fleet.control_path();
    let played = scene.half_taken();
    let count = loop {
        match played.hear() {
            Some((Message::Links(_), _)) => {}
            Some((Message::End { count }, _)) => break count,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(count, 300);
    played.say(&Message::Confirm { count: count - 1 });
    let reason = played.expect_refusal();
    assert!(
        reason.contains("it has 299 connections, not 300"),
        "{reason}"
    );
    for message in [
        Message::Commit,
        Message::Begin,
        Message::Confirm { count: 0 },
    ] {
        let played = Played::call(&path);
        played.say(&message);
        assert!(
            played.expect_refusal().contains("not expected"),
            "{message:?}"
        );
    }
    let (early, _) = Played::greet(&path);
    early.say(&Message::Confirm { count: 0 });
    assert!(early.expect_refusal().contains("not expected"));
    for garbage in [&b"x"[..], &[0], &[1, 8, 0, 0], &[7; 100_000]] {
        let played = Played::call(&path);
        played.say_bytes(garbage);
        played.expect_refusal();
    }
    scene.check();
}

#[test]
fn callers_who_say_nothing_are_few_and_hold_nobody_up() {
    let mut scene = Scene::new();
    let path = scene.fleet.control_path();
    let (active, _) = Played::greet(&path);
    let silent: Vec<Played> = (0..3).map(|_| Played::call(&path)).collect();
    scene.clients[0].round_trip();
    // One too many is hung up on.
    assert!(Played::call(&path).hear().is_none());
    scene.clients[0].round_trip();
    for played in &silent {
        assert_eq!(played.expect_refusal(), "it says nothing");
    }
    drop(active);
    scene.check();
}

#[test]
fn two_at_a_time() {
    let mut scene = Scene::new();
    scene.clients[0].send_bytes(&[0x81]);
    scene.clients[1].round_trip();
    let (first, _) = Played::greet(&scene.fleet.control_path());
    first.say(&Message::Begin);
    scene.fleet.run.wait_for_log("takes over");
    let second = scene.fleet.successor();
    second.wait_for_stderr("another takeover is under way");
    assert_eq!(second.wait_exit().code(), Some(1));
    drop(first);
    scene.clients[0].send_bytes(&[0x80, 0, 0, 0, 0]);
    // An empty message is no JSON.
    scene.clients[0].expect_next();
    scene.clients.swap_remove(0).expect_close(1007);
    scene.clients[0].round_trip();
    scene.descriptor_count -= 1;
    scene.check();
}

#[test]
fn one_with_a_wrong_ini_or_an_address_that_is_in_use() {
    let scene = Scene::new();
    scene.fleet.rewrite("maxClients=many");
    let wrong = scene.fleet.successor();
    wrong.wait_for_stderr("maxClients=many");
    assert_eq!(wrong.wait_exit().code(), Some(1));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    scene
        .fleet
        .rewrite(&format!("adress=ws://127.0.0.1:0,ws://{address}"));
    let wrong = scene.fleet.successor();
    wrong.wait_for_stderr("is in use");
    assert_eq!(wrong.wait_exit().code(), Some(1));
    scene.fleet.rewrite("");
    scene.check();
}

#[test]
fn one_that_is_killed_and_one_while_the_server_stops() {
    let mut scene = Scene::new();
    scene.clients[0].send_bytes(&[0x81]);
    scene.clients[1].round_trip();
    let killed = scene.fleet.successor();
    scene.fleet.run.wait_for_log("takes over");
    killed.signal(Signal::KILL);
    killed.wait_exit();
    scene.fleet.run.wait_for_log("failed, going on");
    let late = scene.fleet.successor();
    let is_second = |line: &str| line.contains("takes over");
    let count = || {
        scene
            .fleet
            .run
            .log_lines()
            .iter()
            .filter(|line| is_second(line))
            .count()
    };
    eventually("the second one is served", || count() == 2);
    scene.fleet.run.signal(Signal::TERM);
    late.wait_for_stderr("this server is stopping");
    assert_eq!(late.wait_exit().code(), Some(1));
    scene
        .clients
        .drain(..)
        .skip(1)
        .for_each(|mut client| drop(client.expect_close(1001)));
    assert!(scene.fleet.run.wait_exit().success());
    assert!(!scene.fleet.control_path().exists());
}

#[test]
fn one_without_a_server_says_so() {
    let fleet = Fleet::start("");
    fleet.run.signal(Signal::TERM);
    assert!(fleet.run.wait_exit().success());
    let alone = fleet.successor();
    alone.wait_for_stderr("nobody is there to be taken over");
    assert_eq!(alone.wait_exit().code(), Some(1));
}

/// Root can be somebody else; others cannot, and are kept out by the file's mode alone.
#[test]
fn one_of_another_user() {
    let scene = Scene::new();
    let control = scene.fleet.control_path();
    let mode = |path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&control), 0o600);
    if rustix::process::geteuid().is_root() {
        for path in [&control, &scene.fleet.directory.path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its mode");
        }
        let ini = scene.fleet.directory.path.join("websock.ini");
        // Wherever the program is, everybody can run this copy of it.
        let program = scene.fleet.directory.path.join("websock");
        fs::copy(binary(), &program).expect("a copy");
        let mut command = Command::new(program);
        command
            .arg("-i")
            .arg(ini)
            .arg("--takeover")
            .uid(65_534)
            .gid(65_534);
        let other = Run::start(command);
        other.wait_for_stderr("do it as the user that it runs as");
        assert_eq!(other.wait_exit().code(), Some(1));
        scene
            .fleet
            .run
            .wait_for_log("takeover refused to another user");
    }
    scene.check();
}
