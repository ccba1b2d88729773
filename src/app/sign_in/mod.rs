//! Who is at the other end (protocol.md §8): asked of a token, of PHP's session, of a URL.
//!
//! ```text
//!              judge                        ReadSession, Call
//!  upgrade ───────────► token, ticket ───► Inquiry ───────────► store, URL
//!                  │                          │ ◄────────────── SessionRead, Answered
//!                  ▼                          ▼
//!              Decision ◄──────────────── conclude ──► SignOut of open tabs
//! ```
//!
//! There are three answers: yes, no, and that it could not be found out; none of them ever stands
//! for another. What is asked about several tabs of one visitor is asked once. Those who have
//! signed in are asked about again as long as they stay. Nothing here waits, and nothing is asked
//! without a deadline.

mod asking;
mod decision;
mod entry;
mod fingerprint;
mod handover;
mod inquiries;
mod outlook;
mod recheck;
mod reload;
mod session;
mod settings;
mod sign_in;
mod signed_out;
mod tab;
#[cfg(test)]
mod tests;
mod ticket;
mod token;
mod url;
mod verdict;
mod visit;
mod visitor;

pub(super) use self::decision::{Decision, Judged};
pub(super) use self::entry::Entry;
pub(super) use self::fingerprint::Fingerprint;
pub use self::outlook::{describe_answer, describe_session, outlook, question_without_cookies};
pub use self::settings::{
    IdleSession, RedisStore, SessionSettings, SessionStore, SignInSettings, UrlSettings, is_name,
};
pub(super) use self::sign_in::SignIn;
pub use self::ticket::TicketKey;
pub use self::token::{MIN_SECRET_BYTES, TokenKey, TokenKeyError};
pub(super) use self::visit::Visit;
