//! Script to script, the receiving end: waits under a name and answers whoever asks.
//!
//! Run `cargo run --release`, then `cargo run --example receiver`, and in another terminal
//! `cargo run --example sender -- 6 7`. The receiver shows the question, the sender `6 * 7 = 42`.

use websock::client::{Client, ClientSettings, Error, Message};

fn main() -> Result<(), Error> {
    let settings = ClientSettings {
        ident: "multiplier".to_owned(),
        ..ClientSettings::script()
    };
    let mut server = Client::connect("ws://localhost:8096/php", &settings)?;
    println!("waiting for questions");
    loop {
        let Some(Message::Text(question)) = server.receive(None)? else {
            continue;
        };
        println!("asked: {question}");
        let question: serde_json::Value = serde_json::from_str(&question).unwrap_or_default();
        let factor = |name: &str| question["message"][name].as_i64().unwrap_or_default();
        let answer = serde_json::json!({
            "opcode": "feedback",
            "ident": question["message"]["answer_to"],
            "message": factor("a").saturating_mul(factor("b")),
        });
        server.send(&answer.to_string())?;
    }
}
