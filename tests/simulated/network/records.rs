//! What the server's resources have been told, by the far end that it is about.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use websock::app::{Client, ClientRequest, Dialogue, Handle, Resource};
use websock::connection::{ConnId, Message};
use websock::protocol::error::Violation;

/// What one client has brought about.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) accepted: Vec<String>,
    pub(super) violations: Vec<Violation>,
    pub(super) is_open: bool,
}

/// The records of all of them, by the name that each gives itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Rc<RefCell<HashMap<usize, Record>>>);

impl Records {
    pub(super) fn with<T>(&self, name: usize, f: impl FnOnce(&Record) -> T) -> T {
        f(self.0.borrow_mut().entry(name).or_default())
    }

    fn note(&self, name: usize, f: impl FnOnce(&mut Record)) {
        f(self.0.borrow_mut().entry(name).or_default());
    }
}

/// A resource, and a record of what it was told.
pub(super) struct Recording {
    records: Records,
    names: HashMap<ConnId, usize>,
    resource: Box<dyn Resource>,
}

impl Recording {
    pub(super) fn new(records: &Records, resource: Box<dyn Resource>) -> Box<Self> {
        Box::new(Self {
            records: records.clone(),
            names: HashMap::new(),
            resource,
        })
    }
}

impl Resource for Recording {
    fn dialogue(&self) -> Dialogue {
        self.resource.dialogue()
    }

    fn on_open(&mut self, client: Client, request: &ClientRequest<'_>, handle: &mut Handle<'_>) {
        let name = request.header("X-Peer").unwrap().parse().unwrap();
        assert_eq!(self.names.insert(client.id, name), None, "it is open");
        self.records.note(name, |record| record.is_open = true);
        self.resource.on_open(client, request, handle);
    }

    fn on_data(&mut self, client: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        let text = match message {
            Message::Text(text) => text.as_str().to_owned(),
            // Garbage may be a frame: it is answered as any message is.
            Message::Binary(bytes) => format!("{} bytes", bytes.len()),
        };
        let name = self.names[&client.id];
        self.records.note(name, |record| record.accepted.push(text));
        self.resource.on_data(client, message, handle);
    }

    fn on_close(&mut self, client: Client, handle: &mut Handle<'_>) {
        let name = self.names.remove(&client.id).expect("it closes once");
        self.records.note(name, |record| record.is_open = false);
        self.resource.on_close(client, handle);
    }

    fn on_error(&mut self, client: Client, violation: Violation, handle: &mut Handle<'_>) {
        let name = self.names[&client.id];
        self.records
            .note(name, |record| record.violations.push(violation));
        self.resource.on_error(client, violation, handle);
    }
}

/// Sends messages back, or to all others if they begin with `all`.
pub(super) struct Raw;

impl Resource for Raw {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _client: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        match message.as_bytes().starts_with(b"all ") {
            true => handle.broadcast(message),
            false => handle.echo(),
        }
    }
}
