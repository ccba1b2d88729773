//! What the program does as a client: `send`, `listen`, `echo`.

use std::io::{self, BufRead as _, Write};
use std::time::Instant;

use crate::client::{Client, ClientSettings, Dialogue, Error, Message};

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
    /// Prints each packet that arrives as a line, after its own uuid on standard error.
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
    /// All pages.
    All,
}

/// Connects and does it. What arrives is written to `out`.
///
/// # Errors
/// As [`Client::connect`] and [`Client::send`]; if `out` takes nothing more, [`Error::Lost`].
pub fn run(
    command: &Command,
    address: &str,
    settings: &ClientSettings,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut client = Client::connect(address, settings)?;
    match command {
        Command::Send { to, message } => {
            for message in messages(message) {
                let message = message.map_err(Error::Lost)?;
                client.send(&packet(to, &message, settings.dialogue))?;
            }
            client.close()
        }
        Command::Listen => {
            if !client.uuid().is_empty() {
                // Not among the packets; a closed standard error is no reason not to listen.
                let _ = writeln!(io::stderr(), "listening as {}", client.uuid());
            }
            loop {
                if let Some(message) = client.receive(None)? {
                    print(&message, out)?;
                }
            }
        }
        Command::Echo { message } => {
            let text = match settings.dialogue {
                Dialogue::Packets => format!(r#"{{"opcode":"echo","message":{}}}"#, json(message)),
                Dialogue::None => message.clone(),
            };
            let start = Instant::now();
            client.send(&text)?;
            let answer = client.receive(Some(settings.timeout))?;
            let answer = answer.ok_or(Error::Timeout("echo"))?;
            print(&answer, out)?;
            let took = start.elapsed().as_secs_f64() * 1000.0;
            writeln!(out, "there and back in {took:.2} ms").map_err(Error::Lost)?;
            client.close()
        }
    }
}

/// One message, or one for each line of standard input.
fn messages(message: &str) -> Box<dyn Iterator<Item = io::Result<String>>> {
    if message == "-" {
        Box::new(io::stdin().lock().lines())
    } else {
        Box::new(std::iter::once(Ok(message.to_owned())))
    }
}

/// The packet that the dialogue wants, or the message as it is.
fn packet(to: &Recipient, message: &str, dialogue: Dialogue) -> String {
    if dialogue == Dialogue::None {
        return message.to_owned();
    }
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
    }
}

/// What is JSON stays as it is; anything else is a text.
fn json(message: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(message) {
        Ok(_) => message.to_owned(),
        Err(_) => serde_json::Value::from(message).to_string(),
    }
}

fn print(message: &Message, out: &mut dyn Write) -> Result<(), Error> {
    let result = match message {
        Message::Text(text) => writeln!(out, "{text}"),
        Message::Binary(bytes) => writeln!(out, "{}", bytes.escape_ascii()),
    };
    result.and_then(|()| out.flush()).map_err(Error::Lost)
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
        ] {
            assert_eq!(packet(to, message, Dialogue::Packets), expected);
            assert_eq!(packet(to, message, Dialogue::None), message);
        }
    }
}
