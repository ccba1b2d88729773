//! A client of any WebSocket server: sends a text, prints what comes back.
//!
//! Run `cargo run --example echo -- localhost:9001`, then in another terminal
//! `cargo run --example external -- ws://localhost:9001/ hello`. It prints `hello`.
//! `websock echo --raw --url URL` does the same from the command line.

use websock::client::{Client, ClientSettings, Dialogue, Error, Message};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: external URL TEXT");
        std::process::exit(2);
    };
    let settings = ClientSettings {
        dialogue: Dialogue::None,
        ..ClientSettings::page()
    };
    let mut server = Client::connect(&url, &settings)?;
    server.send(&text)?;
    match server.receive(Some(settings.timeout))? {
        Some(Message::Text(text)) => println!("{text}"),
        Some(Message::Binary(bytes)) => println!("{} bytes", bytes.len()),
        None => println!("no answer"),
    }
    server.close()
}
