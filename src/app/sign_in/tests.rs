//! What several parts together must never allow: an answer that outlives its time, and a tab whose
//! user is not who its cookies sign in.

use std::sync::Arc;
use std::time::Duration;

use super::decision::Decision;
use super::entry::{Answer, Basis, Entry};
use super::inquiries::{Purpose, Step};
use super::verdict::{Standing, Verdict};
use super::visitor::{Question, Source};
use super::*;
use crate::app::commands::Commands;
use crate::app::{NO_PEER, peer::Peer};
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::protocol::http::Request;
use crate::protocol::php_session::{SessionFolder, SessionId, SessionOutcome};
use crate::registry::UserId;
use crate::upstream::UpstreamId;

const WALL: Duration = Duration::from_secs(1_000_000);
const START: MonotonicTime = MonotonicTime::START;

fn id(slot: u32) -> ConnId {
    ConnId {
        slot,
        generation: 1,
    }
}

fn sign_in() -> SignIn {
    let folder = SessionFolder::parse("/sessions").unwrap();
    let settings = SignInSettings {
        sessions: SessionSettings {
            store: Some(SessionStore::Folder(Arc::new(folder))),
            ..SessionSettings::default()
        },
        ..SignInSettings::default()
    };
    let mut sign_in = SignIn::new(settings, || WALL);
    sign_in.url = Some(UpstreamId(0));
    sign_in
}

fn question() -> Question {
    Question {
        session: SessionId::parse(b"abc"),
        headers: Box::default(),
    }
}

fn named(user: &str) -> Standing {
    Standing::SignedIn(UserId::new(user))
}

fn entry(standing: Standing, source: Source, ago: u64) -> Entry {
    let answer = Answer {
        print: question().fingerprint(),
        question: question().into(),
        source,
        answered: WALL - Duration::from_secs(ago),
        expires: None,
        session_ends: None,
    };
    Entry {
        standing,
        basis: Basis::Answer(answer.into()),
    }
}

/// Whom the ticket lets in, if it does.
fn by_ticket(sign_in: &SignIn, ticket: &str) -> Option<Standing> {
    let head = format!("GET /web?ticket={ticket} HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = Request::parse(head.as_bytes()).unwrap();
    let visit = Visit {
        head: &head,
        peer: Peer { ..NO_PEER },
        scheme: "http",
    };
    let entry = sign_in.judge_ticket(&visit, question().fingerprint(), &question(), START)?;
    Some(entry.standing)
}

// protocol.md 8.4
#[test]
fn a_kept_answer_ends_no_later_for_being_used() {
    let mut sign_in = sign_in();
    let print = question().fingerprint();
    let end = START + url::YES_KEPT;
    let answered = (WALL, START);
    sign_in.kept.keep(
        print,
        Verdict::user(UserId::new("42").unwrap()),
        None,
        answered,
        end,
    );
    let later = START + url::YES_KEPT / 2;
    let mut commands = Commands::default();
    sign_in.ask(print, question(), id(1), later, &mut commands);
    sign_in.queue_for_url(print, later, &mut commands);
    assert!(matches!(sign_in.next_decision(), Some(Decision::Enter(..))));
    assert!(sign_in.kept.get(&print, later).is_some());
    assert_eq!(sign_in.kept.get(&print, end), None);
}

// promise: who comes back by a ticket is asked about, however often
#[test]
fn a_ticket_got_by_a_ticket_lasts_no_longer() {
    let mut sign_in = sign_in();
    sign_in.enter(id(1), entry(named("42"), Source::Session, 200), START);
    let text = sign_in.ticket_for(id(1)).unwrap();
    let print = question().fingerprint();
    let ticket = sign_in.ticket_key.open(&text, &print, WALL).unwrap();
    assert_eq!(ticket.age, Duration::from_secs(200));
}

// promise: a ticket is worth nothing once its cookies sign in somebody else
#[test]
fn a_ticket_of_one_user_does_not_join_another() {
    let mut sign_in = sign_in();
    sign_in.enter(id(1), entry(named("42"), Source::Session, 0), START);
    let ticket = sign_in.ticket_for(id(1)).unwrap();
    assert_eq!(by_ticket(&sign_in, &ticket), Some(named("42")));
    sign_in.leave(id(1));
    sign_in.enter(id(2), entry(named("43"), Source::Session, 0), START);
    assert_eq!(by_ticket(&sign_in, &ticket), None);
}

// protocol.md 8.7
#[test]
fn a_tab_with_a_user_that_joins_one_without_ends_with_its_user() {
    for now in [Standing::SignedIn(None), named("43")] {
        let mut sign_in = sign_in();
        let nameless = Standing::SignedIn(None);
        sign_in.enter(id(1), entry(nameless, Source::Session, 1), START);
        sign_in.enter(id(2), entry(named("42"), Source::Session, 0), START);
        let print = question().fingerprint();
        sign_in.apply(print, &Verdict::yes(now), (Source::Session, None), START);
        let mut ended = Vec::new();
        while let Some(decision) = sign_in.next_decision() {
            match decision {
                Decision::SignOut(id) => ended.push(id.slot),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ended, [1, 2]);
    }
}

// protocol.md 8.7
#[test]
fn a_newcomer_whose_cookies_sign_in_another_user_ends_the_tabs_of_the_first() {
    let mut sign_in = sign_in();
    sign_in.enter(id(1), entry(named("42"), Source::Url, 1), START);
    sign_in.enter(id(2), entry(named("43"), Source::Session, 0), START);
    let first = sign_in.next_decision();
    assert!(
        matches!(first, Some(Decision::SignOut(out)) if out == id(1)),
        "{first:?}"
    );
    let visitor = sign_in.visitors.get(&question().fingerprint()).unwrap();
    assert_eq!(
        (&visitor.standing, visitor.source),
        (&named("43"), Source::Session)
    );
}

// protocol.md 8.6
// protocol.md 8.7
#[test]
fn whom_the_url_let_in_is_asked_about_there_although_the_session_is_gone() {
    let mut sign_in = sign_in();
    let mut commands = Commands::default();
    sign_in.enter(id(1), entry(named("42"), Source::Url, 0), START);
    let print = question().fingerprint();
    // A ticket keeps who is asked.
    let ticket = sign_in.ticket_for(id(1)).unwrap();
    let ticket = sign_in.ticket_key.open(&ticket, &print, WALL).unwrap();
    assert_eq!(ticket.source, Source::Url);
    // All questions that the URL may be asked at a time are under way.
    sign_in.inquiries.asked_count = usize::MAX;
    // A newcomer has it looked for, the recheck joins, and the newcomer goes.
    sign_in.ask(print, question(), id(2), START, &mut commands);
    sign_in.recheck(print, START, &mut commands);
    sign_in.forget(id(2), print);
    let call = sign_in.inquiries.open[&print].call.unwrap();
    sign_in.handle_session(call, SessionOutcome::Missing, START, &mut commands);
    let inquiry = &sign_in.inquiries.open[&print];
    assert!(matches!(inquiry.step, Step::UrlQueued));
    assert_eq!(inquiry.purpose, Purpose::Recheck);
}

// promise: without cookies, visitors are told apart by where they are
#[test]
fn an_empty_cookie_header_is_no_cookie() {
    let print = |cookie: &[u8], ip: &[u8]| {
        let headers = [
            ("Cookie".into(), cookie.into()),
            ("X-Forwarded-For".into(), ip.into()),
        ];
        let session = None;
        let headers = Box::new(headers);
        Question { session, headers }.fingerprint()
    };
    for cookie in [&b""[..], b" ; "] {
        assert_ne!(print(cookie, b"192.0.2.1"), print(cookie, b"192.0.2.2"));
    }
    assert_eq!(print(b"a=b", b"192.0.2.1"), print(b"a=b", b"192.0.2.2"));
}
