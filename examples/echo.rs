//! A plain RFC 6455 echo server on any path, for text and binary, without the dialogue.
//!
//! Run:  cargo run --release --example echo 127.0.0.1:9001 [compressed|context]
//! See:  it prints the address; whatever a WebSocket client sends comes back, with the second
//!       argument compressed, and with `context` referring to earlier messages.
#![forbid(unsafe_code)]

use std::error::Error;
use websock::{
    Client, Dialogue, Endpoint, Handle, Message, Resource, Security, Server, ServerSettings,
};

struct Echo;

impl Resource for Echo {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _: Client, _: &Message<'_>, handle: &mut Handle<'_>) {
        handle.echo();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:9001".into());
    let compression = arguments.next();
    let (host, port) = address.rsplit_once(':').ok_or("usage: echo HOST:PORT")?;
    let endpoint = Endpoint::tcp(host, port.parse()?, Security::Plain);

    let mut settings = ServerSettings::default();
    // As much as the Autobahn suite sends in one message.
    settings.limits.max_message_bytes = 64 << 20;
    settings.limits.max_queue_bytes = 64 << 20;
    settings.compression.is_on = compression.is_some();
    settings.compression.keeps_context = compression.as_deref() == Some("context");
    settings.compression.threshold_bytes = 0;

    let mut server = Server::bind(settings, &[endpoint])?;
    server.add_resource(None, Box::new(Echo));
    for address in server.addresses() {
        println!("Listening on ws://{address}");
    }
    server.run()?;
    Ok(())
}
