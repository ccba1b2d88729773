//! Those who are at the nodes: pages that count what they hear, and scripts that push and keep what
//! they were answered.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::client::{self, PING};
use crate::server::{Server, push, request_to};
use crate::system::FarEnd;

pub(super) const KEY: &[u8] = b"a secret of thirty-two bytes or more";

/// A tab of a user, with an ident, that has asked to be told of gaps.
pub(super) struct Page {
    pub(super) node: usize,
    pub(super) user: usize,
    pub(super) ident: usize,
    pub(super) uuid: String,
    secret: String,
    cursor: String,
    /// What it was told before `resumed`, if it is to come.
    early: Option<Vec<String>>,
    /// How often it has come back to another node than before.
    pub(super) move_count: usize,
    /// How often it has come back without a gap.
    pub(super) whole_count: usize,
    end: FarEnd,
    reader: client::Reader,
    taken: usize,
    /// How often each message has come.
    pub(super) heard: BTreeMap<u64, usize>,
    /// All of them, in order.
    pub(super) order: Vec<u64>,
    pub(super) gap_count: usize,
    /// Why it was told one when it came back.
    pub(super) gaps: Vec<String>,
    /// Its node has died, or has sent it away.
    pub(super) is_gone: bool,
    /// Its node lives, and may keep for it what it is sent (protocol.md 9.6).
    pub(super) may_come_back: bool,
}

impl Page {
    pub(super) fn open(server: &mut Server, node: usize, user: usize, ident: usize) -> Self {
        let end = connect(server, user, ident);
        let mut page = Self {
            node,
            user,
            ident,
            uuid: String::new(),
            secret: String::new(),
            cursor: String::new(),
            early: None,
            move_count: 0,
            whole_count: 0,
            end,
            reader: client::Reader::default(),
            taken: 0,
            heard: BTreeMap::new(),
            order: Vec::new(),
            gap_count: 0,
            gaps: Vec::new(),
            is_gone: false,
            may_come_back: true,
        };
        page.listen();
        assert!(!page.uuid.is_empty(), "no ready");
        page
    }

    /// It comes back, perhaps to another node.
    pub(super) fn come_back(&mut self, server: &mut Server, node: usize) {
        self.end = connect(server, self.user, self.ident);
        self.reader = client::Reader::default();
        self.taken = 0;
        self.early = Some(Vec::new());
        self.is_gone = false;
        self.move_count += usize::from(node != self.node);
        self.node = node;
        self.listen();
    }

    /// It has not been told yet whether it is the one that it was.
    pub(super) fn is_coming_back(&self) -> bool {
        self.early.is_some()
    }

    /// It has had another connection before.
    pub(super) fn has_come_back(&self) -> bool {
        self.whole_count > 0 || !self.gaps.is_empty()
    }

    /// Its connection breaks.
    pub(super) fn break_off(&mut self) {
        self.end.reset();
        self.is_gone = true;
    }

    /// Takes in what has come.
    pub(super) fn listen(&mut self) {
        if self.is_gone {
            return;
        }
        self.reader.read(&self.end.take(usize::MAX));
        let fresh = self.reader.said.frames[self.taken..].to_vec();
        self.taken += fresh.len();
        for frame in fresh {
            match frame.opcode {
                PING => drop(self.end.offer(&client::frame(client::PONG, &frame.payload))),
                client::TEXT => self.hear(std::str::from_utf8(&frame.payload).unwrap()),
                client::CLOSE => self.is_gone = true,
                other => panic!("opcode {other}"),
            }
        }
        self.is_gone |= self.end.has_ended();
    }

    fn hear(&mut self, text: &str) {
        let packet: serde_json::Value = serde_json::from_str(text).unwrap();
        let value = |key: &str| packet[key].as_str().unwrap().to_owned();
        match packet["opcode"].as_str().unwrap() {
            "ready" if self.early.is_some() => self.end.send(&client::text(&format!(
                r#"{{"opcode":"resume","uuid":"{}","secret":"{}","cursor":"{}"}}"#,
                self.uuid, self.secret, self.cursor
            ))),
            "ready" => {
                self.uuid = value("uuid");
                (self.secret, self.cursor) = (value("resume"), value("cursor"));
            }
            "resumed" => {
                self.uuid = value("uuid");
                (self.secret, self.cursor) = (value("resume"), value("cursor"));
                let early = self.early.take().unwrap();
                if packet["gap"].is_null() {
                    // What came early is repeated.
                    self.whole_count += 1;
                    return;
                }
                self.gap_count += 1;
                self.gaps.push(value("gap"));
                // It is a new page, to which what was under way may come once more.
                self.heard.values_mut().for_each(|count| *count = 0);
                self.order.clear();
                early.iter().for_each(|text| self.hear(text));
            }
            "gap" | "feedback" | "broadcast" if self.early.is_some() => {
                self.early.as_mut().unwrap().push(text.to_owned());
            }
            "gap" => {
                assert_eq!(packet["gap"], "backplane");
                self.cursor = value("cursor");
                self.gap_count += 1;
            }
            "feedback" | "broadcast" => {
                let number = packet["n"].as_u64().unwrap();
                self.cursor = value("cursor");
                *self.heard.entry(number).or_default() += 1;
                self.order.push(number);
            }
            "next" => {}
            // A number was lost.
            "restart" => {}
            other => panic!("{other}"),
        }
    }

    /// The node that it says it is at.
    pub(super) fn node_number(&self) -> &str {
        &self.uuid[32..]
    }
}

fn connect(server: &mut Server, user: usize, ident: usize) -> FarEnd {
    let end = server.connect("192.0.2.1");
    let headers = format!(
        "Cookie: websock_token={}\r\nIdent: i{ident}\r\n",
        token(&format!("u{user}"))
    );
    end.send(&request_to("/web?resume=1", &headers));
    server.settle();
    end
}

/// Whom a push is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A page, by its place among all.
    Page(usize),
    User(usize),
    Ident(usize),
    All,
}

/// A push, and what was answered.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) number: u64,
    pub(super) to: To,
    /// Pages that were there when it began.
    pub(super) page_count: usize,
    /// `None`: its node has died meanwhile.
    pub(super) answer: Option<(u16, serde_json::Value)>,
}

/// A script at a node, which pushes one packet after the other.
pub(super) struct Pusher {
    end: FarEnd,
    unread: Vec<u8>,
    pub(super) waits_for: Option<usize>,
}

impl Pusher {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            end: server.connect("127.0.0.1"),
            unread: Vec::new(),
            waits_for: None,
        }
    }

    /// `at`: where the push is noted.
    pub(super) fn push(&mut self, packet: &str, at: usize) {
        assert_eq!(self.waits_for.replace(at), None, "one at a time");
        self.end.send(push(packet).as_bytes());
    }

    /// Which push has been answered, and how.
    pub(super) fn answer(&mut self) -> Option<(usize, (u16, serde_json::Value))> {
        self.unread.extend(self.end.take(usize::MAX));
        let text = std::str::from_utf8(&self.unread).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let len = head.split("Content-Length: ").nth(1).unwrap();
        let len: usize = len.lines().next().unwrap().parse().unwrap();
        let body = body.get(..len)?;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 408 {
            // It had nothing to push for long; another connection follows.
            return None;
        }
        let json = serde_json::from_str(body).unwrap_or_else(|_| panic!("{text}"));
        let answer = (status, json);
        self.unread.clear();
        Some((self.waits_for.take().expect("it was asked"), answer))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.end.has_ended()
    }
}

fn token(user: &str) -> String {
    let claims = format!(r#"{{"sub":"{user}","exp":4102444800,"aud":"websock"}}"#);
    let [head, claims] =
        [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{head}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}
