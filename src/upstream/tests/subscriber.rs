//! Subscriptions: what the other end is told, what comes, and what becomes of both when the
//! connection is lost.

use super::*;
use crate::upstream::redis::{Request, SubscriberEvent};

const WELCOME: &[u8] = b"+OK\r\n$0\r\n\r\n+PONG\r\n";

impl Scene {
    fn subscriber(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::redis();
        change(&mut settings);
        let target = Target::redis("redis://127.0.0.1").unwrap();
        let mut scene = Self::with(target.clone(), settings);
        scene.upstream = Upstream::subscriber(target, settings);
        scene.run(|upstream, context| upstream.handle_timeout(context));
        scene
    }

    /// Opens a connection that is let in.
    fn let_in(&mut self) -> LinkId {
        let link = self.connect();
        self.connected(link);
        self.send(link);
        self.receive(link, WELCOME);
        link
    }

    fn subscribe(&mut self, channels: &[&str]) {
        let channels = channels.iter().map(|channel| channel.as_bytes());
        self.run(|upstream, context| upstream.subscribe(channels, context))
            .unwrap();
    }

    fn unsubscribe(&mut self, channels: &[&str]) {
        let channels = channels.iter().map(|channel| channel.as_bytes());
        self.run(|upstream, context| upstream.unsubscribe(channels, context));
    }

    /// Takes what is sent and does what a server does: the commands, in words.
    fn obey(&mut self, link: LinkId) -> Vec<String> {
        let sent = self.send(link);
        let mut commands = Vec::new();
        let mut answers = String::new();
        for command in sent.split('*').skip(1) {
            let mut words = command.split("\r\n").filter(|word| !word.starts_with('$'));
            let words: Vec<_> = words.by_ref().skip(1).filter(|w| !w.is_empty()).collect();
            let kind = words[0].to_ascii_lowercase();
            if kind == "ping" {
                answers += "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
            }
            for channel in &words[1..] {
                let (kind_len, len) = (kind.len(), channel.len());
                answers += &format!("*3\r\n${kind_len}\r\n{kind}\r\n${len}\r\n{channel}\r\n:1\r\n");
            }
            commands.push(words.join(" "));
        }
        self.receive(link, answers.as_bytes());
        commands
    }

    /// All that has happened, in words.
    fn events(&mut self) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let show = |event| match event {
            SubscriberEvent::Message { channel, payload } => {
                format!("{}={}", text(&channel), text(&payload))
            }
            SubscriberEvent::Subscribed { channel } => format!("+{}", text(&channel)),
            SubscriberEvent::Skipped => "skipped".to_owned(),
            SubscriberEvent::Ready => "ready".to_owned(),
            SubscriberEvent::Lost => "lost".to_owned(),
        };
        std::iter::from_fn(|| self.upstream.next_subscriber_event())
            .map(show)
            .collect()
    }
}

fn message(channel: &str, payload: &str) -> String {
    let (channel_len, len) = (channel.len(), payload.len());
    format!("*3\r\n$7\r\nmessage\r\n${channel_len}\r\n{channel}\r\n${len}\r\n{payload}\r\n")
}

#[test]
fn channels_are_subscribed_to_and_messages_come_in_order() {
    let mut scene = Scene::subscriber(|_| {});
    scene.subscribe(&["b", "a"]);
    let link = scene.let_in();
    assert_eq!(scene.obey(link), ["SUBSCRIBE a b"]);
    assert_eq!(scene.events(), ["+a", "+b", "ready"]);
    let all = [message("a", "1"), message("b", "2"), message("a", "")].concat();
    for cut in 0..all.len() {
        scene.receive(link, &all.as_bytes()[..cut]);
        scene.receive(link, &all.as_bytes()[cut..]);
        assert_eq!(scene.events(), ["a=1", "b=2", "a="]);
    }
    scene.unsubscribe(&["a", "nobody"]);
    assert!(!scene.upstream.is_subscribed());
    assert_eq!(scene.obey(link), ["UNSUBSCRIBE a"]);
    assert_eq!(scene.events(), ["ready"]);
    assert_eq!(scene.upstream.channel_count(), 1);
    scene.end();
}

#[test]
fn a_connection_is_there_without_any_channel() {
    let mut scene = Scene::subscriber(|_| {});
    let link = scene.let_in();
    assert_eq!(scene.events(), ["ready"]);
    assert_eq!(scene.wait(), 10_000);
    assert_eq!(scene.send(link), "*1\r\n$4\r\nPING\r\n");
    scene.receive(link, b"+PONG\r\n");
    scene.subscribe(&["a"]);
    scene.obey(link);
    assert_eq!(scene.events(), ["+a", "ready"]);
    for _ in 0..3 {
        assert_eq!(scene.wait(), 10_000);
        assert_eq!(scene.obey(link), ["PING"]);
    }
    // What comes shows that it is alive.
    scene.now += Duration::from_secs(9);
    scene.receive(link, message("a", "x").as_bytes());
    assert_eq!(scene.wait(), 10_000);
    scene.send(link);
    assert_eq!(scene.wait(), 5000, "no pong");
    scene.expect_close(link);
    assert_eq!(scene.events(), ["a=x", "lost"]);
    scene.end();
}

#[test]
fn after_a_loss_all_that_is_wanted_is_subscribed_to_again_in_batches() {
    let mut scene = Scene::subscriber(|_| {});
    let names: Vec<_> = (0..5000).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    scene.subscribe(&names);
    for round in 0..2 {
        let link = scene.let_in();
        let mut sizes = Vec::new();
        while scene.upstream.next_deadline().is_some() && !scene.upstream.is_subscribed() {
            let commands = scene.obey(link);
            sizes.extend(
                commands
                    .iter()
                    .map(|command| command.split(' ').count() - 1),
            );
        }
        let wanted = 5000 - round;
        assert_eq!(sizes.iter().sum::<usize>(), wanted);
        assert_eq!(sizes[..9], [512; 9]);
        assert_eq!(scene.events().len(), wanted + 1);
        scene.lost(link);
        scene.expect_close(link);
        assert_eq!(scene.events(), ["lost"]);
        // Nothing is told of what comes and goes meanwhile.
        scene.subscribe(&["x"]);
        scene.unsubscribe(&["x", "c0"]);
        scene.wait();
    }
    scene.let_in();
}

#[test]
fn what_changes_its_mind_before_it_is_told_tells_nothing() {
    let mut scene = Scene::subscriber(|_| {});
    let link = scene.let_in();
    scene.events();
    scene.subscribe(&["a"]);
    // It waits to leave, and so it is told.
    scene.unsubscribe(&["a"]);
    scene.subscribe(&["a"]);
    assert_eq!(scene.action(), Some(Action::Write(link)));
    assert_eq!(scene.action(), Some(Action::Write(link)));
    assert_eq!(
        scene.obey(link),
        ["SUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE a"]
    );
    assert_eq!(scene.events(), ["+a", "+a", "ready"]);
    // Behind a full window it is not.
    let names: Vec<_> = (0..4096).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    scene.subscribe(&names);
    scene.subscribe(&["x", "y"]);
    scene.unsubscribe(&["x"]);
    scene.obey(link);
    assert_eq!(scene.obey(link), ["SUBSCRIBE y"]);
    assert_eq!(scene.events().last().unwrap(), "ready");
    assert_eq!(scene.upstream.channel_count(), 4098);
    scene.end();
}

#[test]
fn what_is_given_back_and_wanted_again_behind_a_full_window_is_confirmed() {
    let mut scene = Scene::subscriber(|_| {});
    let link = scene.let_in();
    scene.subscribe(&["a"]);
    scene.obey(link);
    scene.events();
    let names: Vec<_> = (0..4096).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    scene.subscribe(&names);
    scene.unsubscribe(&["a"]);
    scene.subscribe(&["a"]);
    scene.obey(link);
    assert_eq!(scene.obey(link), ["SUBSCRIBE a"]);
    let events = scene.events();
    assert_eq!(events[4096..], ["+a", "ready"]);
    scene.unsubscribe(&names);
    scene.unsubscribe(&["a"]);
    scene.subscribe(&["a"]);
    scene.unsubscribe(&["a"]);
    scene.obey(link);
    assert_eq!(scene.obey(link), ["UNSUBSCRIBE a"]);
    assert_eq!(scene.events(), ["ready"]);
    // All is subscribed to, too, if what has waited is given back.
    scene.subscribe(&names);
    scene.subscribe(&["x"]);
    scene.unsubscribe(&["x"]);
    scene.obey(link);
    assert_eq!(scene.events()[4096..], ["ready"]);
    assert!(scene.upstream.is_subscribed());
    scene.end();
}

#[test]
fn what_a_server_must_not_say_ends_the_connection() {
    for said in [
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "+PONG\r\n",
        "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
        "-ERR x\r\n",
        "-NOPERM x\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n",
        "*4\r\n$8\r\npmessage\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n",
        "HTTP/1.1 400 x\r\n",
        "$999999999\r\n",
    ] {
        let mut scene = Scene::subscriber(|_| {});
        scene.subscribe(&["a"]);
        let link = scene.let_in();
        scene.obey(link);
        scene.receive(link, said.as_bytes());
        scene.expect_close(link);
        let events = scene.events();
        assert_eq!(events, ["+a", "ready", "lost"], "{said:?}");
        assert!(scene.upstream.last_failure().is_some());
        scene.wait();
        let link = scene.let_in();
        assert_eq!(scene.obey(link), ["SUBSCRIBE a"]);
        scene.end();
    }
}

#[test]
fn a_message_that_is_too_long_is_skipped() {
    let mut scene = Scene::subscriber(|settings| settings.max_message_bytes = 100);
    scene.subscribe(&["a"]);
    let link = scene.let_in();
    scene.obey(link);
    scene.events();
    let all = message("a", &"x".repeat(1000)) + &message("a", "y");
    for chunk in all.as_bytes().chunks(50) {
        scene.receive(link, chunk);
    }
    assert_eq!(scene.events(), ["skipped", "a=y"]);
    assert_eq!(scene.counts().skipped, 1);
    let most = all.len();
    scene.run(|upstream, _| upstream.set_limits(1000, most));
    scene.receive(link, all.as_bytes());
    let events = scene.events();
    assert_eq!(events.len(), 2);
    assert!(events[0].starts_with("a=xxx"), "{events:?}");
    scene.end();
}

#[test]
fn a_server_that_confirms_nothing_is_given_up() {
    let mut scene = Scene::subscriber(|_| {});
    scene.subscribe(&["a", "b"]);
    let link = scene.let_in();
    scene.send(link);
    scene.now += Duration::from_secs(4);
    scene.receive(link, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(scene.wait(), 5000);
    scene.expect_close(link);
    assert_eq!(scene.events(), ["+a", "lost"]);
    scene.end();
}

#[test]
fn subscribers_take_no_calls_and_others_no_subscriptions() {
    let mut scene = Scene::subscriber(|_| {});
    let call = scene.begin_call(Request::new("GET", &[b"a"]).into(), 1000);
    assert_eq!(call, Err(CallError::WrongProtocol));
    let mut scene = Scene::single();
    let channel = [&b"a"[..]];
    let subscribed = scene.run(|upstream, context| upstream.subscribe(channel, context));
    assert_eq!(subscribed, Err(CallError::WrongProtocol));
    scene.end();
}

#[test]
fn channels_are_bounded() {
    let mut scene = Scene::subscriber(|settings| settings.max_channels = 2);
    let channels = ["a", "b", "c"].map(str::as_bytes);
    let subscribed = scene.run(|upstream, context| upstream.subscribe(channels, context));
    assert_eq!(subscribed, Err(CallError::QueueFull));
    assert_eq!(scene.upstream.channel_count(), 2);
    scene.unsubscribe(&["a"]);
    scene.subscribe(&["c", "b"]);
    let link = scene.let_in();
    assert_eq!(scene.obey(link), ["SUBSCRIBE b c"]);
    scene.end();
}
