//! Who is at the other end: sessions in files, a URL that is asked, tokens, tickets.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Conn, Request, Server, connect};

/// What is said to those who are turned away (protocol.md 8.6).
pub(crate) const NOT_SIGNED_IN: &str = r#"{"opcode":"close","error":"not signed in"}"#;

/// A folder of session files.
pub(crate) struct Sessions(pub(crate) PathBuf);

impl Sessions {
    pub(crate) fn new(name: &str) -> Self {
        let number = crate::harness::unique_number();
        let name = format!("websock-sessions-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    /// The lines of an ini file by which it counts, and the user is `user`.
    pub(crate) fn ini(&self) -> String {
        format!("sessions={}\nuserKey=user\n", self.0.display())
    }

    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.0.join(format!("sess_{id}"))
    }

    /// What PHP would have stored under this id.
    pub(crate) fn put(&self, id: &str, content: &str) {
        fs::write(self.file(id), content).expect("a session");
    }

    pub(crate) fn sign_in(&self, id: &str, user: &str) {
        self.put(id, &format!("user|s:{}:\"{user}\";", user.len()));
    }

    pub(crate) fn remove(&self, id: &str) {
        fs::remove_file(self.file(id)).expect("it was there");
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A page with this session that wants to know whose it is.
pub(crate) fn with_session(id: &str) -> Request {
    Request::to("/web?user=1").with("Cookie", &format!("PHPSESSID={id}"))
}

/// Comes in; who the server says it is.
#[track_caller]
pub(crate) fn user_of(server: &Server, request: &Request) -> (Conn, Option<String>) {
    let mut conn = connect(server);
    conn.upgrade(request);
    let ready = conn.read_text("ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!(ready["opcode"], "ready", "{ready}");
    let user = ready
        .get("user")
        .map(|user| user.as_str().expect("a text").to_owned());
    (conn, user)
}

/// Is turned away.
#[track_caller]
pub(crate) fn expect_no(server: &Server, request: &Request) {
    let mut conn = connect(server);
    conn.upgrade(request);
    conn.expect_text(NOT_SIGNED_IN);
    conn.expect_close_and_end(4401);
}

/// Is asked to come back.
#[track_caller]
pub(crate) fn expect_unknown(server: &Server, request: &Request) -> String {
    let mut conn = connect(server);
    let response = conn.request(request);
    assert_eq!(response.status(), 503);
    response.header("Retry-After").expect("a time").to_owned()
}
