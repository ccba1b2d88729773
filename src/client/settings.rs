//! How a client connects, and as what.

use std::time::Duration;

/// How a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Page or script.
    pub kind: Kind,
    /// Header `Ident`: a name by which others reach this connection; empty: none.
    pub ident: String,
    /// Header `Origin`, as pages have one; empty: none.
    pub origin: String,
    /// Header `Cookie`, by which a page signs in, such as `PHPSESSID=…`; empty: none.
    pub cookie: String,
    /// What the server's `pushToken` has; empty: none is sent.
    pub token: String,
    /// Whether the server speaks the dialogue: `ready` first, `next` after each message.
    pub dialogue: Dialogue,
    /// Whether the server is asked to keep what this client misses while it is away, for
    /// [`Client::reconnect`](super::Client::reconnect): `?resume=1`.
    pub resume: bool,
    /// Where to begin, as [`Push::position`](super::Push::position) has said it, so that what
    /// came since then is received first; empty: now. For pages. Asks for `resume`, too.
    pub since: String,
    /// Longest wait for the connection, for an answer, and for the other end to read.
    pub timeout: Duration,
    /// While a message is waited for, the server is pinged after so long a silence; zero: never,
    /// and a line that has died is not noticed.
    pub ping_interval: Duration,
    /// A server that stays silent for so long after a ping is given up.
    pub pong_timeout: Duration,
    /// Longest message that is taken, in bytes.
    pub max_message_bytes: usize,
}

/// As what a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As a page: gets broadcasts.
    Web,
    /// As a script: `Client-Type: php`, and frames as a stream.
    Script,
}

/// Whether the server speaks the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialogue {
    /// It does.
    Packets,
    /// It is any WebSocket server.
    None,
}

impl ClientSettings {
    /// A script without a name.
    pub fn script() -> Self {
        Self {
            kind: Kind::Script,
            ident: String::new(),
            origin: String::new(),
            cookie: String::new(),
            token: String::new(),
            dialogue: Dialogue::Packets,
            resume: false,
            since: String::new(),
            timeout: Duration::from_secs(10),
            // As the server judges its clients.
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(20),
            max_message_bytes: 16 << 20,
        }
    }

    /// Whether the server is asked to keep anything.
    pub(super) fn is_kept(&self) -> bool {
        self.resume || !self.since.is_empty()
    }

    /// A page without a name.
    pub fn page() -> Self {
        Self {
            kind: Kind::Web,
            ..Self::script()
        }
    }
}
