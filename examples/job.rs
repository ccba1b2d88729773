//! A backend job that reports its progress into the page that started it.
//!
//! Run `cargo run --release`, open the page at the address that it prints, copy its UUID, and run
//! `cargo run --example job -- UUID`. The page shows a message for each tenth of the job.

use std::thread::sleep;
use std::time::Duration;

use websock::client::{Client, ClientSettings, Error};

fn main() -> Result<(), Error> {
    let Some(uuid) = std::env::args().nth(1) else {
        eprintln!("usage: job UUID");
        std::process::exit(2);
    };
    let mut server = Client::connect("ws://localhost:8096/php", &ClientSettings::script())?;
    for percent in (0..=100).step_by(10) {
        let packet = serde_json::json!({
            "opcode": "feedback",
            "uuid": uuid,
            "message": format!("{percent} % done"),
        });
        server.send(&packet.to_string())?;
        // Here the work would be done.
        sleep(Duration::from_millis(300));
    }
    server.close()
}
