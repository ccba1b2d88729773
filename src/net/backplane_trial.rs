//! [`try_backplane`]: asks the Redis between servers what a server would ask, for `--check`.

use std::time::Duration;

use super::client_loop::ClientLoop;
use super::tls_roots::RootsSource;
use crate::app::backplane::BackplaneSettings;
use crate::base::plain;
use crate::protocol::redis::ErrorKind;
use crate::upstream::redis::{Request, Value};
use crate::upstream::{Call, CallError, CallId, Settings, Target, Upstream};

/// What keeps several servers from being one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackplaneFault {
    /// Redis is not there, or not ready. A start succeeds all the same, and finds it when it is
    /// (protocol.md 11.1).
    Away(String),
    /// It will not get better by itself.
    Wrong(String),
}

/// What works, or what does not; `None`: this server is to be alone. Waits for the answer.
///
/// # Errors
/// What is wrong.
pub fn try_backplane(settings: &BackplaneSettings) -> Option<Result<String, BackplaneFault>> {
    let target = settings.target.as_ref()?;
    let answered = ask(target, settings);
    Some(answered.and_then(|values| judge(target, &values)))
}

impl BackplaneFault {
    fn of_call(target: &Target, error: CallError) -> Self {
        use CallError::{Closed, Refused, Rejected, Timeout, Unreachable, Unresolved};
        let reason = format!("{target}: {error}");
        match error {
            Timeout | Unresolved | Refused | Unreachable | Closed => Self::Away(reason),
            Rejected(ErrorKind::NotReady | ErrorKind::TooManyClients) => Self::Away(reason),
            _ => Self::Wrong(reason),
        }
    }
}

/// Everything that a server does there: claim a number, look at it, publish.
fn ask(target: &Target, settings: &BackplaneSettings) -> Result<Vec<Value>, BackplaneFault> {
    let of_system = |error| BackplaneFault::Wrong(plain(&error));
    let mut client = ClientLoop::new().map_err(of_system)?;
    let upstream = Upstream::new(target.clone(), Settings::redis());
    let roots = settings.roots.clone();
    let roots = roots.map_or(RootsSource::System, RootsSource::File);
    let upstream = client.add_upstream_with(upstream, roots);
    let name = |end: &str| format!("{}{end}", settings.prefix).into_bytes();
    // Where an ACL may let a server write, and nowhere else (docs/several-machines.md).
    let (key, channel) = (name("node:check"), name("check"));
    let request = Request::new("SET", &[&key, b"check", b"NX", b"PX", b"1000"])
        .then("PEXPIRE", &[&key, b"1000"])
        .then("GET", &[&key])
        .then("PUBLISH", &[&channel, b""])
        .then("PUBSUB", &[b"NUMSUB", &name("b")]);
    client.call(
        upstream,
        Call {
            id: CallId(1),
            request: request.into(),
            deadline: client.now() + TIMEOUT,
            max_body_bytes: 8 << 10,
        },
    );
    loop {
        client.turn().map_err(of_system)?;
        if let Some((_, answer)) = client.next_answer() {
            let of_call = |error| BackplaneFault::of_call(target, error);
            return answer.into_redis().map_err(of_call);
        }
    }
}

fn judge(target: &Target, values: &[Value]) -> Result<String, BackplaneFault> {
    // Without the last one, which an ACL may forbid, everything works.
    let nothing = || BackplaneFault::Wrong("it has not answered".to_owned());
    let (last, needed) = values.split_last().ok_or_else(nothing)?;
    if let Some(kind) = needed.iter().find_map(Value::as_error) {
        let error = CallError::Rejected(kind);
        return Err(BackplaneFault::of_call(target, error));
    }
    let count = last.as_array().and_then(|parts| parts.get(1)?.as_integer());
    let others = match count {
        Some(1) => ": one server is connected".to_owned(),
        Some(count) => format!(": {count} servers are connected"),
        None => String::new(),
    };
    Ok(format!("{target} answers{others}"))
}

/// How long Redis may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_refuses_is_a_problem_but_for_the_count() {
        let target = Target::redis("redis://localhost").expect("a URL");
        let ok = || Value::Integer(1);
        let count = |count| Value::Array(vec![Value::Bytes(b"b".to_vec()), Value::Integer(count)]);
        let not_ready = || Value::Error(ErrorKind::NotReady);
        let forbidden = || Value::Error(ErrorKind::Forbidden);
        for (values, answer) in [
            (vec![ok(), count(1)], Ok(": one server is connected")),
            (vec![ok(), count(3)], Ok(": 3 servers are connected")),
            (vec![ok(), forbidden()], Ok("answers")),
            (vec![forbidden(), ok(), count(1)], Err(false)),
            (vec![not_ready(), ok(), count(1)], Err(true)),
            (vec![], Err(false)),
        ] {
            let judged = judge(&target, &values);
            match answer {
                Ok(end) => assert!(judged.expect("fine").ends_with(end)),
                Err(is_away) => {
                    let fault = judged.expect_err("a fault");
                    assert_eq!(matches!(fault, BackplaneFault::Away(_)), is_away);
                }
            }
        }
    }
}
