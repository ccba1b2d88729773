//! What the keys of signing in mean together.

use std::sync::Arc;

use super::auth_key::AuthKey;
use super::config::Config;
use super::report::Problem;
use crate::app::sign_in::{SessionStore, TokenKey};
use crate::ops::public_key;
use crate::protocol::php_session::{SessionFolder, SessionPrefix};

impl Config {
    /// What `[jsauth]` says counts where the PHP server would look at sessions, and where it is to be
    /// known who somebody is: with `require=false` and no `userKey` everybody comes in unasked, as
    /// there. Either folder of sessions gets the prefix of their names.
    pub(super) fn use_jsauth(&mut self) {
        let sign_in = &mut self.server.sign_in;
        if let Some(AuthKey::Secret(key)) = &self.auth_key {
            sign_in.token_key = Some(key.clone());
        }
        let is_wanted = sign_in.require || !sign_in.sessions.user_key.is_empty();
        if sign_in.sessions.store.is_none()
            && is_wanted
            && let Some(folder) = &self.jsauth_folder
        {
            sign_in.sessions.store = Some(SessionStore::Folder(Arc::new(folder.clone())));
        }
        if let Some(SessionStore::Folder(folder)) = &mut sign_in.sessions.store {
            let named = SessionFolder::clone(folder).with_prefix(self.session_prefix.clone());
            *folder = Arc::new(named);
        }
    }

    /// Reads the key that `authKey` names a file for.
    pub(super) fn read_auth_key(&mut self) -> Result<(), Problem> {
        let Some(AuthKey::File(path)) = &self.auth_key else {
            return Ok(());
        };
        let key = public_key::read(path).and_then(|key| {
            TokenKey::ed25519(&key).map_err(|_| format!("{} holds no Ed25519 key", path.display()))
        });
        let key = key.map_err(|reason| self.problem("authKey", reason))?;
        self.server.sign_in.token_key = Some(key);
        Ok(())
    }

    pub(super) fn sign_in_contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let sign_in = &self.server.sign_in;
        let sessions = &sign_in.sessions;
        let has_source = sign_in.has_source() || self.auth_key.is_some();
        if sign_in.require && !has_source {
            let reason = "it has to be known by what visitors sign in, or nobody could connect: \
                set ssp or sessions to the folder of PHP's sessions (session.save_path), or set \
                authUrl or authKey";
            problems.push(self.problem("require", reason));
        }
        if sessions.store.is_some() && sessions.key.is_empty() && sessions.user_key.is_empty() {
            let reason = "it has to be known what to look for in a session: set userKey to the \
                variable with the user's id, or key in [jsauth] to one that is true for those \
                who have signed in";
            problems.push(self.problem("userKey", reason));
        }
        problems
    }

    pub(super) fn sign_in_oddities(&self) -> Vec<String> {
        let sign_in = &self.server.sign_in;
        let mut odd = Vec::new();
        let mut note = |key: &str, reason: &str| odd.push(self.problem(key, reason).to_string());
        if sign_in.sessions.store.is_none() && !sign_in.sessions.user_key.is_empty() {
            note(
                "userKey",
                "not used, as neither sessions nor ssp says where sessions are",
            );
        }
        let has_files = matches!(sign_in.sessions.store, Some(SessionStore::Folder(_)));
        if !has_files && self.session_prefix != SessionPrefix::default() {
            note(
                "sessionPrefix",
                "not used, as no sessions are looked for in files; what stands before an id in \
                 Redis is prefix= in sessions",
            );
        }
        if sign_in.url.target.is_none() && !sign_in.url.headers.is_empty() {
            note("authHeaders", "not used, as authUrl is not set");
        }
        odd
    }
}
