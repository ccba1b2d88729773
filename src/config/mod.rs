//! websock.ini and the command line → [`Config`]: the only reader of ini text.
//!
//! Two stages. First every key gets a value as written: the built-in default, over it the last one
//! in the ini file, over that the command line's. Then each value is read into its type; a
//! [`Config`] that exists is in range and consistent. Every error is collected, so that one start
//! shows them all, each with file, line, key, value and what would be right.
//!
//! The PHP server's own ini files are read as they are (protocol.md 7.3). Refuses to know: sockets,
//! what the limits do.

mod auth_key;
mod backplane;
mod backplane_checks;
mod builder;
mod certificates;
mod config;
mod contradictions;
mod control_path;
mod ini;
mod keys;
mod listen;
mod options;
mod origin;
mod proxy_block;
mod reload;
mod report;
mod setting;
mod sign_in;
mod sign_in_checks;
mod source;
mod status_listen;
mod takeover;
mod value;
mod web_sends;

pub use self::auth_key::AuthKey;
pub use self::config::Config;
pub use self::control_path::ControlPath;
pub use self::listen::Listen;
pub use self::options::Options;
pub use self::proxy_block::Proxy;
pub use self::reload::{Change, Effect, effect_of};
pub use self::report::{Errors, Problem};
pub use self::setting::{Origin, Setting};

#[cfg(test)]
mod tests;
