//! [`SignInTrial`]: tries what signing in needs, as the server would, for `--check`.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::client_loop::ClientLoop;
use crate::app::sign_in::{
    RedisStore, SessionStore, SignInSettings, describe_answer, describe_session, outlook,
    question_without_cookies,
};
use crate::base::{escape, plain};
use crate::ops::session_files;
use crate::protocol::php_session::{
    DEFAULT_MAX_SESSION_BYTES, SessionFile, SessionFolder, SessionId, SessionOutcome,
    StoredSession, Unreadable,
};
use crate::upstream::redis::{Request as RedisRequest, Value};
use crate::upstream::{Answer, Call, CallId, Request, Settings, Target};

/// What came of it.
#[derive(Debug, Default)]
pub struct SignInTrial {
    /// Key of the ini, and what keeps visitors from being recognised.
    pub problems: Vec<(&'static str, String)>,
    /// What could not be tried, or should be looked at.
    pub warnings: Vec<String>,
    /// What works, and what it will do for visitors.
    pub successes: Vec<String>,
}

impl SignInTrial {
    /// Looks at one session, asks Redis and the URL. Waits for answers.
    pub fn run(settings: &SignInSettings) -> Self {
        let mut trial = Self::default();
        if !settings.is_on() {
            return trial;
        }
        trial.successes.extend(outlook(settings));
        match &settings.sessions.store {
            Some(SessionStore::Folder(folder)) => trial.look_into(folder, settings),
            Some(SessionStore::Redis(redis)) => trial.ask_redis(redis),
            None => {}
        }
        if let Some(target) = &settings.url.target {
            trial.ask_url(target, settings.url.timeout);
        }
        trial
    }

    fn look_into(&mut self, folder: &Arc<SessionFolder>, settings: &SignInSettings) {
        let shown = folder.path().display();
        match sample(folder) {
            Ok(Some(id)) => self.read_sample(folder, id, settings),
            Ok(None) => self.warnings.push(format!(
                "{shown} holds no session, that is no file whose name is {}ID: log in on the site \
                 once, then check again; if it holds others, set sessionPrefix to what their names \
                 begin with",
                escape(folder.prefix())
            )),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.warnings.push(format!(
                    "{shown} cannot be listed, as on Debian, so that no session could be tried; \
                     its files can be read by the user of PHP only: run websock and this check \
                     as that user (such as www-data)"
                ));
            }
            Err(error) => {
                let reason = format!("{shown}: {}", plain(&error));
                self.problems.push(("sessions", reason));
            }
        }
    }

    fn read_sample(
        &mut self,
        folder: &Arc<SessionFolder>,
        id: SessionId,
        settings: &SignInSettings,
    ) {
        let file = SessionFile {
            folder: Arc::clone(folder),
            id,
            max_bytes: DEFAULT_MAX_SESSION_BYTES,
        };
        match session_files::read(&file) {
            SessionOutcome::Found(session) | SessionOutcome::Locked(session) => {
                self.tell_sample(&session, settings);
            }
            SessionOutcome::Missing | SessionOutcome::Unreadable(Unreadable::Busy) => {
                self.warnings
                    .push("the session that was looked at has just ended".to_owned());
            }
            SessionOutcome::Unreadable(why) => self.problems.push(("sessions", why.to_string())),
        }
    }

    fn tell_sample(&mut self, session: &StoredSession, settings: &SignInSettings) {
        if session.age > settings.sessions.max_age {
            let age = session.age.as_secs();
            self.warnings.push(format!(
                "the newest session was last used {age} seconds ago, longer than sessionMaxAge"
            ));
        }
        match describe_session(&session.bytes, settings) {
            Ok(text) => self
                .successes
                .push(format!("the newest session: its visitor {text}")),
            Err(error) => self.problems.push(("sessions", error.to_string())),
        }
    }

    fn ask_redis(&mut self, redis: &RedisStore) {
        let key = format!("{}websock-check", redis.prefix);
        let request = RedisRequest::new("EXISTS", &[key.as_bytes()]).into();
        let settings = Settings::redis();
        let asked = ask(redis.target.clone(), settings, request, REDIS_TIMEOUT);
        let values = asked.and_then(|answer| answer.into_redis().map_err(|e| e.to_string()));
        match values.as_deref() {
            Ok([Value::Integer(_)]) => {
                self.successes.push("sessions: Redis answers".to_owned());
            }
            Ok([Value::Error(error)]) => self.problems.push(("sessions", error.to_string())),
            Ok(_) => {
                let reason = "what listens there does not answer as Redis does".to_owned();
                self.problems.push(("sessions", reason));
            }
            Err(error) => self.problems.push(("sessions", error.clone())),
        }
    }

    fn ask_url(&mut self, target: &Target, timeout: Duration) {
        let Some(request) = question_without_cookies(target) else {
            return;
        };
        let asked = ask(target.clone(), Settings::default(), request.into(), timeout);
        let answer = asked.and_then(|answer| describe_answer(answer.into_http()));
        match answer {
            Ok(text) => self.successes.push(format!("authUrl {text}")),
            Err(reason) => self.problems.push(("authUrl", reason)),
        }
    }
}

/// The newest session of a folder, whose depth is followed.
fn sample(folder: &SessionFolder) -> io::Result<Option<SessionId>> {
    let mut folders = vec![folder.path().to_owned()];
    for _ in 0..folder.depth() {
        let mut below = Vec::new();
        for path in folders.iter().take(MAX_FOLDERS) {
            let entries = fs::read_dir(path)?.filter_map(Result::ok);
            below.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        folders = below;
    }
    let mut newest = None;
    for path in folders.iter().take(MAX_FOLDERS) {
        for entry in fs::read_dir(path)?.filter_map(Result::ok).take(MAX_FILES) {
            let name = entry.file_name();
            let id = name
                .as_encoded_bytes()
                .strip_prefix(folder.prefix().as_bytes());
            let Some(id) = id.and_then(SessionId::parse) else {
                continue;
            };
            let modified = entry.metadata().and_then(|found| found.modified()).ok();
            if newest.as_ref().is_none_or(|(before, _)| *before < modified) {
                newest = Some((modified, id));
            }
        }
    }
    Ok(newest.map(|(_, id)| id))
}

/// Asks once, and waits for the answer.
fn ask(
    target: Target,
    settings: Settings,
    request: Request,
    timeout: Duration,
) -> Result<Answer, String> {
    let mut client = ClientLoop::new().map_err(|error| plain(&error))?;
    let upstream = client.add_upstream(target, settings);
    let call = Call {
        id: CallId(1),
        request,
        deadline: client.now() + timeout,
        max_body_bytes: 8 << 10,
    };
    client.call(upstream, call);
    loop {
        client.turn().map_err(|error| plain(&error))?;
        if let Some((_, answer)) = client.next_answer() {
            return Ok(answer);
        }
    }
}

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Folders and files that are looked at for a sample: enough for any shop, and soon done.
const MAX_FOLDERS: usize = 4_096;
const MAX_FILES: usize = 100_000;
