//! A chat room of one's own: who comes is greeted, who speaks is heard by all, with a count.
//!
//! Run:  cargo run --release --example chat
//! See:  in the consoles of two browser tabs
//!         ws = new WebSocket("ws://localhost:8097/chat"); ws.onmessage = e => console.log(e.data)
//!         ws.send("hello")
#![forbid(unsafe_code)]

use std::error::Error;
use websock::{
    Client, ClientRequest, Dialogue, Endpoint, Handle, Message, Resource, Security, Server,
    ServerSettings,
};

#[derive(Default)]
struct Chat {
    present: usize,
    spoken: usize,
}

impl Resource for Chat {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_open(&mut self, client: Client, _: &ClientRequest<'_>, handle: &mut Handle<'_>) {
        self.present += 1;
        handle.reply(&format!(
            "welcome, guest {}; {} here",
            client.id.slot, self.present
        ));
        handle.broadcast_text(&format!("guest {} has come", client.id.slot));
    }

    fn on_data(&mut self, client: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        let Message::Text(text) = message else { return };
        self.spoken += 1;
        let line = format!("{}. guest {}: {text}", self.spoken, client.id.slot);
        handle.reply(&line);
        handle.broadcast_text(&line);
    }

    fn on_close(&mut self, client: Client, handle: &mut Handle<'_>) {
        self.present -= 1;
        handle.broadcast_text(&format!("guest {} has left", client.id.slot));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::tcp("localhost", 8097, Security::Plain);
    let mut server = Server::bind(ServerSettings::default(), &[endpoint])?;
    server.add_resource(Some("/chat"), Box::<Chat>::default());
    println!("Chat on ws://localhost:8097/chat");
    server.run()?;
    Ok(())
}
