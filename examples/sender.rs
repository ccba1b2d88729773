//! Script to script, the asking end. See `examples/receiver.rs`, which has to run.
//!
//! `cargo run --example sender -- 6 7` prints `6 * 7 = 42`.

use std::time::Duration;

use websock::client::{Client, ClientSettings, Error, Message};

fn main() -> Result<(), Error> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse::<i64>().ok());
    let (Some(a), Some(b)) = (numbers.next(), numbers.next()) else {
        eprintln!("usage: sender NUMBER NUMBER");
        std::process::exit(2);
    };
    let name = format!("asker {}", std::process::id());
    let settings = ClientSettings {
        ident: name.clone(),
        ..ClientSettings::script()
    };
    let mut server = Client::connect("ws://localhost:8096/php", &settings)?;
    let question = serde_json::json!({
        "opcode": "feedback",
        "ident": "multiplier",
        "message": {"a": a, "b": b, "answer_to": name},
    });
    server.send(&question.to_string())?;
    match server.receive(Some(Duration::from_secs(5)))? {
        Some(Message::Text(answer)) => {
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
            println!("{a} * {b} = {}", answer["message"]);
        }
        Some(Message::Binary(_)) | None => println!("nobody answers: does the receiver run?"),
    }
    server.close()
}
