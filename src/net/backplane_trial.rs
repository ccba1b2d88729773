//! [`try_backplane`]: asks the Redis between servers what a server would ask, for `--check`.

use std::time::Duration;

use super::client_loop::ClientLoop;
use super::tls_roots::RootsSource;
use crate::app::backplane::BackplaneSettings;
use crate::base::plain;
use crate::upstream::redis::{Request, Value};
use crate::upstream::{Call, CallId, Settings, Target, Upstream};

/// What works, or what keeps several servers from being one; `None`: this one is to be alone. Waits
/// for the answer.
///
/// # Errors
/// What is wrong.
pub fn try_backplane(settings: &BackplaneSettings) -> Option<Result<String, String>> {
    let target = settings.target.as_ref()?;
    let answered = ask(target, settings);
    Some(answered.and_then(|values| judge(target, &values)))
}

/// Everything that a server does there: claim a number, look at it, publish.
fn ask(target: &Target, settings: &BackplaneSettings) -> Result<Vec<Value>, String> {
    let mut client = ClientLoop::new().map_err(|error| plain(&error))?;
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
        client.turn().map_err(|error| plain(&error))?;
        if let Some((_, answer)) = client.next_answer() {
            return answer.into_redis().map_err(|error| error.to_string());
        }
    }
}

fn judge(target: &Target, values: &[Value]) -> Result<String, String> {
    // Without the last one, which an ACL may forbid, everything works.
    let (last, needed) = values.split_last().ok_or("it has not answered")?;
    if let Some(kind) = needed.iter().find_map(Value::as_error) {
        return Err(kind.to_string());
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
    use crate::protocol::redis::ErrorKind;

    #[test]
    fn what_redis_refuses_is_a_problem_but_for_the_count() {
        let target = Target::redis("redis://localhost").expect("a URL");
        let ok = || Value::Integer(1);
        let count = |count| Value::Array(vec![Value::Bytes(b"b".to_vec()), Value::Integer(count)]);
        let forbidden = || Value::Error(ErrorKind::Forbidden);
        for (values, answer) in [
            (vec![ok(), count(1)], Ok(": one server is connected")),
            (vec![ok(), count(3)], Ok(": 3 servers are connected")),
            (vec![ok(), forbidden()], Ok("answers")),
            (vec![forbidden(), ok(), count(1)], Err(())),
            (vec![], Err(())),
        ] {
            let judged = judge(&target, &values);
            match answer {
                Ok(end) => assert!(judged.expect("fine").ends_with(end)),
                Err(()) => assert!(judged.is_err()),
            }
        }
    }
}
