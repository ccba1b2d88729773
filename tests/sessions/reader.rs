//! Reading sessions as the server does, also as another user.

use std::process::Command;
use std::sync::Arc;

use websock::ops::session_files;
use websock::protocol::php_session::{
    DEFAULT_MAX_SESSION_BYTES, SessionFile, SessionFolder, SessionId, SessionOutcome,
};

/// What became of reading it.
pub(crate) fn read(save_path: &str, id: &str) -> SessionOutcome {
    session_files::read(&SessionFile {
        folder: Arc::new(SessionFolder::parse(save_path).expect("a folder")),
        id: SessionId::parse(id.as_bytes()).expect("an id"),
        max_bytes: DEFAULT_MAX_SESSION_BYTES,
    })
}

/// What it holds.
#[track_caller]
pub(crate) fn content(save_path: &str, id: &str) -> Vec<u8> {
    match read(save_path, id) {
        SessionOutcome::Found(stored) => stored.bytes.to_vec(),
        other => panic!("{id}: {other:?}"),
    }
}

/// What became of reading it for another user and group, in the words of `Debug`.
pub(crate) fn read_as(user: u32, group: u32, save_path: &str, id: &str) -> String {
    use std::os::unix::process::CommandExt as _;
    // Where the tests lie, others may not be let in.
    let program = std::env::temp_dir().join(format!("websock-reader-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    let output = Command::new(&program)
        .args([
            "--exact",
            "read_for_another_user",
            "--ignored",
            "--nocapture",
        ])
        .env("SAVE_PATH", save_path)
        .env("SESSION_ID", id)
        .current_dir("/")
        .uid(user)
        .gid(group)
        .output()
        .expect("this is root");
    std::fs::remove_file(&program).expect("it was copied");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("outcome: "));
    line.unwrap_or_else(|| panic!("{output}")).to_owned()
}
