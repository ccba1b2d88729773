//! `websock listen`: prints what arrives, and comes back if it is asked to.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::ending::{Failure, Outcome};
use super::output::{complain, print};
use crate::base::random;
use crate::client::{Client, ClientSettings, Error, Message, Resumed};

pub(super) fn listen(
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let mut client = Client::connect(address, settings)?;
    say_uuid(&client);
    let mut pauses = Pauses::new();
    loop {
        match client.receive(None) {
            Ok(Some(message)) if settings.resume => {
                if !pauses.are_told_by(&message) {
                    print(&message, out)?;
                }
            }
            Ok(Some(message)) => print(&message, out)?,
            Ok(None) => {}
            Err(error) if settings.resume && !error.is_final() => {
                complain("", &error.to_string());
                come_back(&mut client, &mut pauses)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects until that succeeds, or would never. Says what came of it.
fn come_back(client: &mut Client, pauses: &mut Pauses) -> Result<(), Error> {
    let uuid = client.uuid().to_owned();
    let mut said = String::new();
    let Resumed { replayed, gap } = loop {
        thread::sleep(pauses.next());
        match client.reconnect() {
            Ok(resumed) => break resumed,
            Err(error) if error.is_final() => return Err(error),
            // Once, however often it is tried.
            Err(error) if said != error.to_string() => {
                said = error.to_string();
                complain("", &said);
            }
            Err(_) => {}
        }
    };
    pauses.connected_at = Instant::now();
    // A closed standard error is no reason not to listen.
    let _ = match gap {
        None => writeln!(io::stderr(), "resumed: {replayed} messages"),
        Some(why) => writeln!(io::stderr(), "gap: {why}"),
    };
    if client.uuid() != uuid {
        say_uuid(client);
    }
    Ok(())
}

/// Not among the packets.
fn say_uuid(client: &Client) {
    if !client.uuid().is_empty() {
        let _ = writeln!(io::stderr(), "listening as {}", client.uuid());
    }
}

/// How long to wait before the next attempt: longer after each, and never as long as the others,
/// so that a server which is back is not found by all of them at once.
struct Pauses {
    /// Attempts since the connection last stood for long.
    count: u32,
    connected_at: Instant,
    /// What the server has asked for, before it restarts.
    asked: Option<Duration>,
}

impl Pauses {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A connection that has stood for so long was a good one.
    const STEADY: Duration = Duration::from_secs(10);

    fn new() -> Self {
        Self {
            count: 0,
            connected_at: Instant::now(),
            asked: None,
        }
    }

    /// Whether a message is for us, and none to be printed: `restart`, which says when to come back,
    /// and `gap`.
    fn are_told_by(&mut self, message: &Message) -> bool {
        let Message::Text(text) = message else {
            return false;
        };
        let packet: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let text = |name: &str| packet.get(name).and_then(serde_json::Value::as_str);
        match (text("opcode"), text("gap")) {
            (Some("restart"), _) => {
                let after = packet.get("after").and_then(serde_json::Value::as_u64);
                let after = after.map(Duration::from_millis);
                self.asked = after.filter(|after| *after <= Duration::from_secs(3_600));
                true
            }
            (Some("gap"), Some(why)) => {
                let _ = writeln!(io::stderr(), "gap: {why}");
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Duration {
        if self.connected_at.elapsed() > Self::STEADY {
            self.count = 0;
        }
        if let Some(asked) = self.asked.take() {
            return asked;
        }
        let most = Self::FIRST * 2_u32.saturating_pow(self.count.min(10));
        self.count += 1;
        let mut part = [0; 2];
        random::fill(&mut part);
        most.min(Self::LONGEST)
            .mul_f64(f64::from(u16::from_le_bytes(part)) / 65_536.0)
    }
}
