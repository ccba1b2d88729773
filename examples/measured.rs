//! The server that is measured beside its peers: `/echo` and `/broadcast` without the dialogue,
//! and the built-in resources with it.
//!
//! Run:  cargo run --release --example measured 127.0.0.1:9002 [CERT KEY]
#![forbid(unsafe_code)]

use std::error::Error;
use websock::{
    Certificates, Client, Dialogue, Endpoint, Handle, KeyPair, Message, Resource, Security, Server,
    ServerSettings, Standard,
};

enum Raw {
    Echo,
    Broadcast,
}

impl Resource for Raw {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        match self {
            Self::Echo => handle.echo(),
            Self::Broadcast => handle.broadcast(message),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: measured HOST:PORT [CERT KEY]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (host, port) = arguments
        .first()
        .and_then(|a| a.rsplit_once(':'))
        .ok_or(USAGE)?;
    let security = if arguments.len() > 2 {
        Security::Tls
    } else {
        Security::Plain
    };
    let endpoint = Endpoint::tcp(host, port.parse()?, security);
    websock::ops::raise_open_file_limit(0);

    let mut server = Server::bind(ServerSettings::default(), &[endpoint])?;
    if let [_, cert, key] = arguments.as_slice() {
        let pair = KeyPair {
            cert_file: cert.into(),
            key_file: key.into(),
        };
        server.set_certificates(Certificates::load(&[pair])?);
    }
    server.add_resource(Some("/echo"), Box::new(Raw::Echo));
    server.add_resource(Some("/broadcast"), Box::new(Raw::Broadcast));
    server.add_resource(Some("/"), Box::new(Standard::root()));
    server.add_resource(Some("/web"), Box::new(Standard::new()));
    server.add_resource(Some("/php"), Box::new(Standard::new()));
    server.run()?;
    Ok(())
}
