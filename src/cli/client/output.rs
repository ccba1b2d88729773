//! What is said on the two outputs.

use std::io::{self, Write};

use super::ending::Failure;
use crate::client::Message;

/// A closed standard error is no reason to stop.
pub(super) fn complain(place: &str, what: &str) {
    let _ = writeln!(io::stderr(), "websock: {place}{what}");
}

pub(super) fn print(message: &Message, out: &mut dyn Write) -> Result<(), Failure> {
    let result = match message {
        Message::Text(text) => writeln!(out, "{text}"),
        Message::Binary(bytes) => writeln!(out, "{}", bytes.escape_ascii()),
    };
    result.and_then(|()| out.flush()).map_err(Failure::Output)
}
