//! What the program does as a client: `send`, `logout`, `listen`, `echo`.

mod ending;
mod listening;
mod output;

use std::io::{self, BufRead as _, Write};
use std::time::Instant;

pub use self::ending::{Failure, Outcome};

use self::output::{complain, print};
use crate::client::{Client, ClientSettings, Dialogue, Error, Nodes, Push, Receipt};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sends one message, or each line of standard input if it is `-`.
    Send {
        /// Whom it is for.
        to: Recipient,
        /// JSON, or a text.
        message: String,
    },
    /// Logs out all tabs of a user or a session.
    LogOut(Whom),
    /// Prints each packet that arrives as a line, after its own uuid on standard error. With
    /// [`ClientSettings::resume`] it comes back after each loss, and says what came of that.
    Listen,
    /// Sends a message to itself and says how long that took.
    Echo {
        /// JSON, or a text.
        message: String,
    },
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The page with this uuid.
    Uuid(String),
    /// The connection with this ident.
    Ident(String),
    /// All tabs of the user with this id.
    User(String),
    /// All pages.
    All,
}

/// Who is logged out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The user with this id.
    User(String),
    /// The session with this id.
    Session(String),
}

/// Connects and does it. What arrives is written to `out`.
///
/// # Errors
/// As [`Client::connect`] and [`Client::send`] have them, or if an output or input fails.
pub fn run(
    command: &Command,
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    match command {
        Command::Send { to, message } => send(to, message, address, settings, out),
        Command::LogOut(whom) => log_out(whom, address, settings, out),
        Command::Listen => listening::listen(address, settings, out),
        Command::Echo { message } => echo(message, address, settings, out),
    }
}

fn send(
    to: &Recipient,
    message: &str,
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let mut sender = Sender::connect(address, settings)?;
    if message != "-" {
        let outcome = sender.send(to, message, "", out)?;
        sender.close()?;
        return Ok(outcome);
    }
    let mut outcome = Outcome::Done;
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let count = input.read_until(b'\n', &mut line);
        if count.map_err(Failure::Input)? == 0 {
            break;
        }
        let end = line.strip_suffix(b"\n").unwrap_or(&line);
        let end = end.strip_suffix(b"\r").unwrap_or(end);
        let place = format!("line {number}: ");
        let sent = match str::from_utf8(end) {
            Ok(message) => sender.send(to, message, &place, out)?,
            Err(_) => {
                complain(&place, "it is not UTF-8 and was left out");
                Outcome::Incomplete
            }
        };
        if sent == Outcome::Incomplete {
            outcome = sent;
        }
    }
    sender.close()?;
    Ok(outcome)
}

/// How messages leave.
enum Sender {
    /// By HTTP, as the server then says how many got them.
    Push(Box<Push>),
    /// To any WebSocket server, which says nothing.
    Raw(Box<Client>),
}

impl Sender {
    fn connect(address: &str, settings: &ClientSettings) -> Result<Self, Error> {
        Ok(match settings.dialogue {
            Dialogue::Packets => Self::Push(Box::new(Push::connect(address, settings)?)),
            Dialogue::None => Self::Raw(Box::new(Client::connect(address, settings)?)),
        })
    }

    /// `place`: what is put in front of a complaint about this message.
    fn send(
        &mut self,
        to: &Recipient,
        message: &str,
        place: &str,
        out: &mut dyn Write,
    ) -> Result<Outcome, Failure> {
        let push = match self {
            Self::Raw(client) => {
                client.send(message)?;
                return Ok(Outcome::Done);
            }
            Self::Push(push) => push,
        };
        let receipt = push.send(&packet(to, message))?;
        writeln!(out, "{}", told(&receipt)).map_err(Failure::Output)?;
        if let Some(Nodes { asked, answered }) = receipt.nodes {
            let what = format!("{answered} of {asked} other servers have answered in time");
            complain(place, &what);
        }
        if receipt.is_partial {
            complain(
                place,
                "other servers could not be told: their backplane is away",
            );
        }
        if let Some(error) = receipt.error {
            complain(place, &error);
        }
        // What waits for somebody who is away has not got lost.
        Ok(match receipt.delivered + receipt.queued {
            0 => Outcome::Incomplete,
            _ => Outcome::Done,
        })
    }

    fn close(self) -> Result<(), Error> {
        match self {
            Self::Push(_) => Ok(()),
            Self::Raw(client) => client.close(),
        }
    }
}

fn log_out(
    whom: &Whom,
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let (key, id) = match whom {
        Whom::User(id) => ("user", id),
        Whom::Session(id) => ("session", id),
    };
    let id = serde_json::Value::from(id.as_str());
    let packet = format!(r#"{{"opcode":"logout","{key}":{id}}}"#);
    let Receipt { closed, error, .. } = Push::connect(address, settings)?.send(&packet)?;
    if let Some(closed) = closed {
        writeln!(out, "closed {closed}").map_err(Failure::Output)?;
    }
    if let Some(error) = error {
        complain("", &error);
    }
    // Nobody being there is what was wanted.
    Ok(match closed {
        Some(_) => Outcome::Done,
        None => Outcome::Incomplete,
    })
}

fn echo(
    message: &str,
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let mut client = Client::connect(address, settings)?;
    let text = match settings.dialogue {
        Dialogue::Packets => format!(r#"{{"opcode":"echo","message":{}}}"#, json(message)),
        Dialogue::None => message.to_owned(),
    };
    let start = Instant::now();
    client.send(&text)?;
    let answer = client.receive(Some(settings.timeout))?;
    let answer = answer.ok_or(Error::Timeout("echo"))?;
    print(&answer, out)?;
    let took = start.elapsed().as_secs_f64() * 1000.0;
    writeln!(out, "there and back in {took:.2} ms").map_err(Failure::Output)?;
    client.close()?;
    Ok(Outcome::Done)
}

/// How many a packet has reached, as it is printed.
fn told(receipt: &Receipt) -> String {
    let Receipt {
        delivered, queued, ..
    } = receipt;
    match queued {
        0 => format!("delivered to {delivered}"),
        _ => format!("delivered to {delivered}, queued for {queued}"),
    }
}

/// The packet that carries a message.
fn packet(to: &Recipient, message: &str) -> String {
    let message = json(message);
    match to {
        Recipient::All => format!(r#"{{"opcode":"broadcast","message":{message}}}"#),
        Recipient::Uuid(uuid) => {
            let uuid = serde_json::Value::from(uuid.as_str());
            format!(r#"{{"opcode":"feedback","uuid":{uuid},"message":{message}}}"#)
        }
        Recipient::Ident(ident) => {
            let ident = serde_json::Value::from(ident.as_str());
            format!(r#"{{"opcode":"feedback","ident":{ident},"message":{message}}}"#)
        }
        Recipient::User(user) => {
            let user = serde_json::Value::from(user.as_str());
            format!(r#"{{"opcode":"feedback","user":{user},"message":{message}}}"#)
        }
    }
}

/// What is JSON stays as it is; anything else is a text.
fn json(message: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(message) {
        Ok(_) => message.to_owned(),
        Err(_) => serde_json::Value::from(message).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_packets() {
        let ident = Recipient::Ident("a\"b".to_owned());
        for (to, message, expected) in [
            (
                &Recipient::All,
                "hello",
                r#"{"opcode":"broadcast","message":"hello"}"#,
            ),
            (
                &Recipient::All,
                "[1.50]",
                r#"{"opcode":"broadcast","message":[1.50]}"#,
            ),
            (
                &ident,
                "12 x",
                r#"{"opcode":"feedback","ident":"a\"b","message":"12 x"}"#,
            ),
            (
                &Recipient::User("42".to_owned()),
                "1",
                r#"{"opcode":"feedback","user":"42","message":1}"#,
            ),
        ] {
            assert_eq!(packet(to, message), expected);
        }
    }
}
