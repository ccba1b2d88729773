//! What signing in goes by, as the administrator has set it (protocol.md §8).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::token::TokenKey;
use super::url;
use super::visitor::Header;
use crate::protocol::http::is_token;
use crate::protocol::php_session::SessionFolder;
use crate::upstream::Target;
use crate::upstream::http::Request;

/// How it is found out who is at the other end. Without any source nobody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInSettings {
    /// Whether those of whom nothing is known are sent away (`require`).
    pub require: bool,
    /// Where PHP keeps its sessions, and what is looked for in them (`sessions`, `ssp`).
    pub sessions: SessionSettings,
    /// The URL that is asked (`authUrl` and its like).
    pub url: UrlSettings,
    /// What tokens are checked with (`authKey`); `None`: there are no tokens.
    pub token_key: Option<TokenKey>,
    /// How often it is asked again who somebody is (`authRecheck`); zero: never.
    pub recheck_interval: Duration,
    /// What becomes of those whose session PHP has collected as garbage (`authIdle`).
    pub idle: IdleSession,
}

/// Where sessions are, and what is looked for in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// `None`: sessions are not looked at.
    pub store: Option<SessionStore>,
    /// Name of the cookie that holds the id (`cookie_name`; PHP: `session.name`).
    pub cookie_name: String,
    /// Path of the variable whose truth decides (`key`); empty: `user_key` does.
    pub key: String,
    /// Path of the variable that holds the user's id (`userKey`); empty: users have no names.
    pub user_key: String,
    /// How long a script is waited for that has the session locked (`sessionWait`).
    pub wait: Duration,
    /// Time after which an unused session is none any more (`sessionMaxAge`; PHP:
    /// `session.gc_maxlifetime`).
    pub max_age: Duration,
}

/// Where sessions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStore {
    /// PHP's own handler `files`.
    Folder(Arc<SessionFolder>),
    /// The handler of phpredis.
    Redis(Box<RedisStore>),
}

/// Sessions in Redis or Valkey.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisStore {
    /// Where it is.
    pub target: Target,
    /// What stands before the session's id (phpredis: `PHPREDIS_SESSION:`).
    pub prefix: String,
}

/// Without the target, whose URL may hold a password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The URL that is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlSettings {
    /// `None`: none is.
    pub target: Option<Target>,
    /// Headers of the visitor's request that are passed on, beside the usual ones
    /// (`authHeaders`).
    pub headers: Vec<String>,
    /// Longest time for one answer (`authTimeout`).
    pub timeout: Duration,
    /// Most questions at a time (`authConcurrency`).
    pub concurrency: usize,
}

/// Without the target: the query of its URL may hold a secret.
impl fmt::Debug for UrlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlSettings")
            .field("is_set", &self.target.is_some())
            .field("headers", &self.headers)
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .finish()
    }
}

/// What becomes of those whose session PHP has collected as garbage: an open page does not keep
/// its session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleSession {
    /// They stay until they leave.
    Keep,
    /// They are sent away, as if they had logged out.
    Close,
}

/// Whether this can be the name of a header or a cookie (RFC 9110 §5.1, RFC 6265 §4.1.1).
pub fn is_name(text: &str) -> bool {
    is_token(text.as_bytes())
}

impl Default for SignInSettings {
    fn default() -> Self {
        Self {
            require: false,
            sessions: SessionSettings::default(),
            url: UrlSettings::default(),
            token_key: None,
            recheck_interval: Duration::from_secs(60),
            idle: IdleSession::Keep,
        }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            store: None,
            cookie_name: "PHPSESSID".to_owned(),
            key: String::new(),
            user_key: String::new(),
            wait: Duration::from_secs(3),
            // PHP's own default.
            max_age: Duration::from_secs(1440),
        }
    }
}

impl Default for UrlSettings {
    fn default() -> Self {
        Self {
            target: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(2),
            // Debian's php-fpm starts with five workers: one is left for the pages themselves.
            concurrency: 4,
        }
    }
}

impl UrlSettings {
    /// The question with these headers; `None`: they are none that can be sent.
    pub(super) fn question(&self, headers: &[Header]) -> Option<Request> {
        let target = self.target.as_ref()?;
        url::question(target.protocol(), headers).ok()
    }
}

impl SignInSettings {
    /// Whether anybody is asked, or nobody let in without that.
    pub fn is_on(&self) -> bool {
        self.require || self.has_source()
    }

    /// Whether there is anything by which visitors can be told apart.
    pub fn has_source(&self) -> bool {
        self.sessions.store.is_some() || self.url.target.is_some() || self.token_key.is_some()
    }
}
