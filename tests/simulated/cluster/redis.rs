//! As much of a Redis as the backplane asks for, behind connections that take their time, stand still,
//! break, and are refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use websock::connection::MonotonicTime;

use crate::random::Random;
use crate::system::FarEnd;

#[derive(Default)]
pub(super) struct Redis {
    keys: BTreeMap<Vec<u8>, (Vec<u8>, MonotonicTime)>,
    pub(super) lines: Vec<Line>,
    /// Longest time that bytes are under way.
    pub(super) most_delay: Duration,
}

/// A connection of a node.
pub(super) struct Line {
    pub(super) node: usize,
    end: FarEnd,
    up: Way,
    down: Way,
    unread: Vec<u8>,
    channels: BTreeSet<Vec<u8>>,
    /// Nothing arrives in either direction before.
    stands_until: MonotonicTime,
    is_over: bool,
}

/// One direction: bytes in order, each a while under way.
#[derive(Default)]
struct Way(VecDeque<(MonotonicTime, Vec<u8>)>);

impl Way {
    fn send(&mut self, bytes: Vec<u8>, at: MonotonicTime) {
        if !bytes.is_empty() {
            let before = self.0.back().map_or(at, |(before, _)| *before);
            self.0.push_back((before.max(at), bytes));
        }
    }

    fn arrived(&mut self, now: MonotonicTime) -> Option<Vec<u8>> {
        self.0.front().filter(|(at, _)| *at <= now)?;
        self.0.pop_front().map(|(_, bytes)| bytes)
    }
}

impl Line {
    pub(super) fn is_subscriber(&self) -> bool {
        !self.channels.is_empty()
    }
}

impl Redis {
    pub(super) fn accept(&mut self, node: usize, end: FarEnd) {
        self.lines.push(Line {
            node,
            end,
            up: Way::default(),
            down: Way::default(),
            unread: Vec::new(),
            channels: BTreeSet::new(),
            stands_until: MonotonicTime::START,
            is_over: false,
        });
    }

    // ---- faults

    /// Breaks those connections of which this holds: what is under way is lost.
    pub(super) fn cut(&mut self, mut is_cut: impl FnMut(&Line) -> bool) {
        for line in self.lines.iter_mut().filter(|line| is_cut(line)) {
            line.end.reset();
            line.is_over = true;
        }
    }

    /// It is started anew, and may have forgotten everything.
    pub(super) fn restart(&mut self, forgets: bool) {
        self.cut(|_| true);
        if forgets {
            self.keys.clear();
        }
    }

    /// The number is another's; as four hexadecimal digits.
    pub(super) fn take_number(&mut self, number: &str) {
        let number = u16::from_str_radix(number, 16).expect("hexadecimal digits");
        let key = format!("websock:node:{number}");
        let claim = self.keys.get_mut(key.as_bytes());
        claim.expect("it is held").0 = b"another".to_vec();
    }

    /// Nothing gets through on those connections of which this holds for so long; nobody is told.
    pub(super) fn stand_still(&mut self, is_slow: impl Fn(&Line) -> bool, until: MonotonicTime) {
        for line in self.lines.iter_mut().filter(|line| is_slow(line)) {
            line.stands_until = until;
        }
    }

    // ---- what it does

    /// Carries on what has arrived; whether there was something.
    pub(super) fn run(&mut self, now: MonotonicTime, random: &mut Random) -> bool {
        self.lines.retain(|line| !line.is_over);
        let mut has_moved = false;
        for at in 0..self.lines.len() {
            let delay = random.below(self.most_delay.as_millis() as usize + 1);
            let arrives_at = now + Duration::from_millis(delay as u64);
            let line = &mut self.lines[at];
            let bytes = line.end.take(usize::MAX);
            has_moved |= !bytes.is_empty();
            line.up.send(bytes, arrives_at);
            line.is_over |= line.end.closed().is_some();
            if now < line.stands_until {
                continue;
            }
            while let Some(bytes) = self.lines[at].up.arrived(now) {
                self.lines[at].unread.extend(bytes);
            }
            while let Some(words) = self.lines[at].next_command() {
                has_moved = true;
                let answer = self.answer(at, &words, now, random);
                self.lines[at].down.send(answer, arrives_at);
            }
            let line = &mut self.lines[at];
            while let Some(bytes) = line.down.arrived(now) {
                has_moved = true;
                line.end.offer(&bytes);
            }
        }
        has_moved
    }

    fn answer(
        &mut self,
        at: usize,
        words: &[Vec<u8>],
        now: MonotonicTime,
        random: &mut Random,
    ) -> Vec<u8> {
        self.keys.retain(|_, (_, ends)| *ends > now);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match words[..] {
            [b"PING"] if self.lines[at].channels.is_empty() => b"+PONG\r\n".to_vec(),
            [b"PING"] => b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
            [b"CLIENT", ..] => b"+OK\r\n".to_vec(),
            [b"ROLE"] => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec(),
            [b"INFO", ..] => bulk(b"# Cluster\r\ncluster_enabled:0\r\n"),
            [b"SET", key, value, b"NX", b"PX", millis] => {
                if self.keys.contains_key(key) {
                    return b"$-1\r\n".to_vec();
                }
                let value = (value.to_vec(), now + milliseconds(millis));
                self.keys.insert(key.to_vec(), value);
                b"+OK\r\n".to_vec()
            }
            [b"GET", key] => match self.keys.get(key) {
                Some((value, _)) => bulk(value),
                None => b"$-1\r\n".to_vec(),
            },
            [b"PEXPIRE", key, millis] => match self.keys.get_mut(key) {
                Some((_, ends)) => {
                    *ends = now + milliseconds(millis);
                    b":1\r\n".to_vec()
                }
                None => b":0\r\n".to_vec(),
            },
            [b"PUBLISH", channel, payload] => {
                let count = self.publish(channel, payload, now, random);
                format!(":{count}\r\n").into_bytes()
            }
            [b"SUBSCRIBE", ref channels @ ..] => self.subscribe(at, channels, true),
            [b"UNSUBSCRIBE", ref channels @ ..] => self.subscribe(at, channels, false),
            _ => panic!("not known to the simulation: {words:?}"),
        }
    }

    fn publish(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        now: MonotonicTime,
        random: &mut Random,
    ) -> usize {
        let message = [
            b"*3\r\n$7\r\nmessage\r\n",
            &bulk(channel)[..],
            &bulk(payload),
        ]
        .concat();
        let is_there = |line: &&mut Line| !line.is_over && line.channels.contains(channel);
        let mut count = 0;
        for line in self.lines.iter_mut().filter(is_there) {
            let delay = random.below(self.most_delay.as_millis() as usize + 1);
            let at = now + Duration::from_millis(delay as u64);
            line.down.send(message.clone(), at);
            count += 1;
        }
        count
    }

    fn subscribe(&mut self, at: usize, channels: &[&[u8]], is_wanted: bool) -> Vec<u8> {
        let known = &mut self.lines[at].channels;
        let word: &[u8] = if is_wanted {
            b"subscribe"
        } else {
            b"unsubscribe"
        };
        let mut answer = Vec::new();
        for channel in channels {
            match is_wanted {
                true => known.insert(channel.to_vec()),
                false => known.remove(*channel),
            };
            let count = format!(":{}\r\n", known.len());
            answer.extend([b"*3\r\n", &bulk(word)[..], &bulk(channel), count.as_bytes()].concat());
        }
        answer
    }
}

impl Line {
    /// Takes the next whole command out of what has come.
    fn next_command(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut rest = &self.unread[..];
        let count = number_behind(b'*', &mut rest)?;
        let mut words = Vec::new();
        for _ in 0..count {
            let len = number_behind(b'$', &mut rest)?;
            words.push(rest.get(..len)?.to_vec());
            rest = rest.get(len + 2..)?;
        }
        let taken = self.unread.len() - rest.len();
        self.unread.drain(..taken);
        Some(words)
    }
}

fn number_behind(kind: u8, rest: &mut &[u8]) -> Option<usize> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let (line, behind) = rest.split_at(end);
    assert_eq!(line.first(), Some(&kind), "no command: {rest:?}");
    *rest = &behind[2..];
    std::str::from_utf8(&line[1..]).unwrap().parse().ok()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("${}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn milliseconds(text: &[u8]) -> Duration {
    Duration::from_millis(std::str::from_utf8(text).unwrap().parse().unwrap())
}
