//! What signing in will do, in words, for who sets it up (`--check`).

use super::session::judge;
use super::settings::{SessionSettings, SignInSettings};
use super::url;
use super::verdict::{Standing, Verdict};
use crate::protocol::php_session::{Session, SessionError};
use crate::upstream::http::{Request, Response};
use crate::upstream::{CallError, Target};

/// What visitors can expect, one line for each kind.
pub fn outlook(settings: &SignInSettings) -> Vec<String> {
    let mut lines = Vec::new();
    if settings.token_key.is_some() {
        lines.push(
            "sign-in: a token (cookie websock_token, or first message with ?auth=1) decides where \
             there is one"
                .to_owned(),
        );
    }
    if settings.sessions.store.is_some() {
        lines.push(format!("sign-in: {}", session_rule(&settings.sessions)));
    }
    if settings.url.target.is_some() {
        lines.push("sign-in: authUrl is asked about everybody else".to_owned());
    }
    let nobody = match (settings.require, settings.url.target.is_some()) {
        (true, _) => "are turned away (\"not signed in\", 4401)",
        (false, true) => "come in as the URL says",
        (false, false) => "come in without a name",
    };
    lines.push(format!(
        "sign-in: visitors of whom nothing is known {nobody}"
    ));
    lines.push(
        "sign-in: where it cannot be found out, visitors get 503 and come back; who is here stays"
            .to_owned(),
    );
    lines
}

fn session_rule(sessions: &SessionSettings) -> String {
    let SessionSettings {
        cookie_name,
        key,
        user_key,
        ..
    } = sessions;
    let who = match user_key.as_str() {
        "" => "without a name".to_owned(),
        path => format!("as the user in {path}"),
    };
    match key.as_str() {
        "" => format!("the session of cookie {cookie_name} decides: {who}, if there is one"),
        key => format!("the session of cookie {cookie_name} decides: {key} has to be true; {who}"),
    }
}

/// What a session says of its visitor, and the names of its variables; never their values.
///
/// # Errors
/// It is not known what it says.
pub fn describe_session(content: &[u8], settings: &SignInSettings) -> Result<String, SessionError> {
    let session = Session::parse(content)?;
    let keys: Vec<String> = session.keys().iter().map(ToString::to_string).collect();
    let verdict = judge(content, &settings.sessions, settings.require)?;
    Ok(format!(
        "{}; its variables: {}",
        in_words(&verdict),
        if keys.is_empty() {
            "none".to_owned()
        } else {
            keys.join(", ")
        }
    ))
}

/// The question about a visitor without cookies; `None`: it cannot be put.
pub fn question_without_cookies(target: &Target) -> Option<Request> {
    Request::get(target.protocol(), [("Accept", &b"application/json"[..])]).ok()
}

/// What such an answer does to the visitor; `Err`: it is neither yes nor no.
///
/// # Errors
/// What is wrong with the answer, and what to do.
pub fn describe_answer(answer: Result<Response, CallError>) -> Result<String, String> {
    let verdict = url::judge(&answer);
    match (&verdict, answer) {
        (Verdict::Unknown(_), Ok(response)) => Err(format!(
            "answers with status {}, which says neither yes nor no; it has to answer 200 with \
             {{\"user\":…}} or X-Websock-User, 204, 401 or 403",
            response.status()
        )),
        (_, Err(error)) => Err(error.to_string()),
        (_, Ok(response)) => Ok(format!(
            "answers {} about a visitor without cookies: {}",
            response.status(),
            in_words(&verdict)
        )),
    }
}

fn in_words(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Yes(grant) => match &grant.standing {
            Standing::SignedIn(Some(_)) => "comes in as a user",
            Standing::SignedIn(None) => "comes in as signed in, without a name",
            Standing::Anonymous => "comes in without a name",
        },
        Verdict::No => "is turned away",
        Verdict::Unknown(_) => "is not known",
    }
}
