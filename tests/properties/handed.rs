//! What a server hands over to its successor: messages of the two, and the records in them.

use std::time::Duration;

use websock::app::peer::Peer;
use websock::app::{App, Commands, CurrentMessage, Standard};
use websock::base::{BadRecord, MonotonicTime, Record};
use websock::connection::{ConnId, Connection, Limits, TurnContext};
use websock::net::ServerSettings;
use websock::net::control_message::Message;
use websock::protocol::frame::{self, Opcode};

const ID: ConnId = ConnId {
    slot: 3,
    generation: 5,
};

/// What is understood reads the same once it is written again, and is refused wherever that is cut.
/// A connection that comes of it does what connections do. Nothing that is not understood does harm.
pub fn handover(bytes: &[u8]) {
    let _ = is_understood(bytes);
}

/// The same, and whether it was.
pub fn is_understood(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    match kind % 5 {
        0 => holds(bytes, |bytes| Ok(Message::parse(bytes)?.to_bytes())),
        1 => holds(bytes, connection),
        2 => holds(bytes, client),
        3 => holds(bytes, state),
        _ => holds(bytes, |bytes| {
            Ok(Peer::take_over(Record::parse(bytes)?)?.hand_over())
        }),
    }
}

/// `rewrite` reads bytes and writes what it has understood.
fn holds(bytes: &[u8], rewrite: impl Fn(&[u8]) -> Result<Vec<u8>, BadRecord>) -> bool {
    let Ok(written) = rewrite(bytes) else {
        return false;
    };
    assert_eq!(rewrite(&written).as_ref(), Ok(&written));
    for cut in (0..written.len()).step_by(written.len() / 50 + 1) {
        assert!(rewrite(&written[..cut]).is_err(), "cut at {cut}");
    }
    true
}

fn now() -> MonotonicTime {
    MonotonicTime::START + Duration::from_secs(100_000)
}

fn connection(bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
    let mut context = TurnContext::new(now(), Limits::default());
    let take = || Connection::take_over(Record::parse(bytes)?, &context);
    let taken = take()?;
    let written = taken.hand_over(now()).expect("nothing is under way");
    let mut played = take()?;
    let mut message = Vec::new();
    frame::encode_masked(Opcode::Text, [1, 2, 3, 4], b"{}", &mut message);
    let mut input = message.as_mut_slice();
    while played.receive(&mut input, &mut context).is_some() {}
    let mut comment_count = 0;
    while let Some(due) = played.next_deadline(&context.limits) {
        // A stream of events goes on for ever.
        comment_count += usize::from(played.is_event_stream());
        if comment_count > 5 {
            break;
        }
        context.now = due.max(context.now);
        played.handle_timeout(&mut context);
        assert!(played.next_deadline(&context.limits) != Some(due), "twice");
    }
    Ok(written)
}

fn app() -> App {
    let mut app = App::new(ServerSettings::default().app(), || Duration::ZERO);
    app.add_resource(Some("/web"), Box::new(Standard::new()));
    app
}

fn client(bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
    let mut app = app();
    let mut commands = Commands::default();
    commands.begin(ID, CurrentMessage::Lent);
    let peer = Peer::direct(None, Default::default());
    app.take_over(ID, peer, Record::parse(bytes)?, now(), &mut commands)?;
    // One whose resource is not here is turned away.
    let written = app.hand_over(ID, now()).ok_or(BadRecord::Cut)?;
    app.let_go(ID, peer, now());
    assert_eq!(app.hand_over(ID, now()), None);
    assert!(app.sequence(ID).is_none() && app.next_deadline().is_none());
    Ok(written)
}

fn state(bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
    let mut app = app();
    app.take_over_state(Record::parse(bytes)?, now())?;
    Ok(app.hand_over_state(now()))
}
