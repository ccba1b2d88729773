//! Keys of signing in (protocol.md §8): `[jsauth]` of the PHP server, and our own.

use std::sync::Arc;

use super::auth_key::AuthKey;
use super::value::{Expected, list};
use crate::app::sign_in::{
    IdleSession, RedisStore, SessionStore, TokenKey, TokenKeyError, is_name,
};
use crate::protocol::php_session::{SessionFolder, SessionPrefix};
use crate::upstream::Target;

/// Where sessions are; empty: they are not looked at.
pub(super) fn session_store(text: &str) -> Result<Option<SessionStore>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    let schemes = [
        "redis:",
        "rediss:",
        "redis+sentinel:",
        "rediss+sentinel:",
        "unix:",
    ];
    let is_url = schemes.iter().any(|scheme| {
        let start = text.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if !is_url {
        return Ok(Some(SessionStore::Folder(Arc::new(folder(text)?))));
    }
    let target = Target::redis(text).map_err(|error| error.to_string())?;
    let prefix = target.redis_prefix().filter(|prefix| !prefix.is_empty());
    Ok(Some(SessionStore::Redis(Box::new(RedisStore {
        prefix: prefix.unwrap_or(PHPREDIS_PREFIX).to_owned(),
        target,
    }))))
}

/// The folder that the PHP server's own key names: slashes of both kinds behind it are cut off.
pub(super) fn jsauth_folder(text: &str) -> Result<Option<SessionFolder>, Expected> {
    let text = text.trim_end_matches('\\');
    match text {
        "" => Ok(None),
        // Its installation puts session_save_path() here.
        "__SESSIONSAVEPATH__" => folder(DEBIAN_SAVE_PATH).map(Some),
        text => folder(text).map(Some),
    }
}

fn folder(text: &str) -> Result<SessionFolder, Expected> {
    let folder = SessionFolder::parse(text).map_err(|error| error.to_string())?;
    match folder.path().is_absolute() {
        true => Ok(folder),
        // A comment begins at a semicolon without quotes.
        false => Err(
            "an absolute path is wanted, as session.save_path of php.ini has it, in \
            quotes if it has a semicolon"
                .to_owned(),
        ),
    }
}

/// What the names of session files begin with.
pub(super) fn session_prefix(text: &str) -> Result<SessionPrefix, Expected> {
    SessionPrefix::parse(text).map_err(|error| error.to_string())
}

/// A path into a session, such as `user.id`.
pub(super) fn variable_path(text: &str) -> Result<String, Expected> {
    let is_path = text.is_empty() || text.split('.').all(|name| !name.is_empty());
    match is_path && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("names of variables are wanted, with a dot between two, as user.id".into()),
    }
}

/// The name of a cookie: a token (RFC 6265 §4.1.1).
pub(super) fn cookie_name(text: &str) -> Result<String, Expected> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("the name of a cookie is wanted, as session.name of php.ini has it".into()),
    }
}

pub(super) fn auth_url(text: &str) -> Result<Option<Target>, Expected> {
    match text {
        "" => Ok(None),
        url => Target::http(url)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

/// Names of headers that are passed on beside the usual ones.
pub(super) fn header_names(text: &str) -> Result<Vec<String>, Expected> {
    let names = list(text).map(|name| {
        let is_ours = OUR_HEADERS
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours));
        let is_for_the_socket = name
            .get(..14)
            .is_some_and(|p| p.eq_ignore_ascii_case("Sec-WebSocket-"));
        match is_name(name) {
            false => Err(format!("{name} is no name of a header")),
            true if is_ours || is_for_the_socket => Err(format!(
                "{name} is sent anyway, or belongs to the connection; leave it out"
            )),
            true => Ok(name.to_owned()),
        }
    });
    names.collect()
}

/// A secret, or the name of a file that ends in `.pem`.
pub(super) fn auth_key(text: &str) -> Result<Option<AuthKey>, Expected> {
    let is_file = text.len() > 4 && text.to_ascii_lowercase().ends_with(".pem");
    if text.is_empty() {
        return Ok(None);
    }
    if is_file {
        return Ok(Some(AuthKey::File(text.into())));
    }
    let key = TokenKey::secret(text.as_bytes()).map_err(|error| match error {
        TokenKeyError::TooShort | TokenKeyError::NotEd25519 => {
            "a secret of at least 32 bytes is wanted, as openssl rand -hex 32 gives it, or the \
             name of a file that ends in .pem"
        }
    })?;
    Ok(Some(AuthKey::Secret(key)))
}

pub(super) fn idle_session(text: &str) -> Result<IdleSession, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "keep" => Ok(IdleSession::Keep),
        "close" => Ok(IdleSession::Close),
        _ => Err("keep or close is wanted".to_owned()),
    }
}

/// What phpredis puts before the id of a session unless something else is set.
const PHPREDIS_PREFIX: &str = "PHPREDIS_SESSION:";

/// `session.save_path` of Debian's PHP.
const DEBIAN_SAVE_PATH: &str = "/var/lib/php/sessions";

/// Headers that every question has, and those that belong to one connection (RFC 9110 §7.6.1).
const OUR_HEADERS: [&str; 19] = [
    "Accept",
    "Accept-Language",
    "Connection",
    "Content-Length",
    "Cookie",
    "Expect",
    "Host",
    "Keep-Alive",
    "Origin",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Original-URI",
    "Content-Type",
];
