//! A plain RFC 6455 echo server on any path, for text and binary, without the dialogue.
//!
//! Run:  cargo run --release --example echo 127.0.0.1:9001
//! See:  it prints the address; whatever a WebSocket client sends comes back.
#![forbid(unsafe_code)]

use std::error::Error;
use websock::app::{Client, Dialogue, Handle, Resource};
use websock::connection::Message;
use websock::net::{Endpoint, Security, Server, Settings};

struct Echo;

impl Resource for Echo {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _: Client<'_>, message: &Message<'_>, handle: &mut Handle<'_>) {
        handle.reply_message(message);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".into());
    let (host, port) = address.rsplit_once(':').ok_or("usage: echo HOST:PORT")?;
    let endpoint = Endpoint {
        host: host.into(),
        port: port.parse()?,
        security: Security::Plain,
    };

    let mut settings = Settings::default();
    // As much as the Autobahn suite sends in one message.
    settings.limits.max_message_bytes = 64 << 20;
    settings.limits.max_queue_bytes = 64 << 20;

    let mut server = Server::bind(settings, &[endpoint])?;
    server.add_resource(None, Box::new(Echo));
    for address in server.addresses() {
        println!("Listening on ws://{address}");
    }
    server.run()?;
    Ok(())
}
