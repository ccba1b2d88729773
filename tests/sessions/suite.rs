//! The reader of sessions before real ones: written by PHP's own server, and by PHP-FPM behind nginx.
//! Only `run.sh` runs these: `cargo test` needs nothing but Rust.

#[expect(dead_code, reason = "shared with the suite of the client")]
#[path = "../upstream/driver.rs"]
mod driver;
mod expected;
mod reader;
mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant, SystemTime};

use websock::protocol::php_session::{
    Serializer, Session, SessionError, SessionOutcome, Unreadable, Value,
};

use crate::expected::Expected;
use crate::reader::{content, read, read_as};
use crate::servers::{Gate, PATIENCE, Php, Server, php_user, read_until};

const SERIALIZERS: [(&str, Serializer); 3] = [
    ("php", Serializer::Php),
    ("php_serialize", Serializer::PhpSerialize),
    ("php_binary", Serializer::PhpBinary),
];

const BOTH: [Server; 2] = [Server::Cli, Server::Fpm];

fn is_signed_in(bytes: &[u8]) -> bool {
    let session = Session::parse(bytes).expect("it is whole");
    session
        .find("allowconnect")
        .expect("no references")
        .is_some_and(Value::is_true)
}

// protocol.md 8.2
#[test]
fn what_php_reads_is_read() {
    for server in BOTH {
        let mut php = Php::start(server, "values");
        let path = php.save_path();
        for (handler, serializer) in SERIALIZERS {
            for (values, least) in [
                ("usual", 10),
                ("values", 50),
                ("keys", 7),
                ("references", 60),
                ("objects", 14),
                ("nothing", 0),
                ("bar", 0),
            ] {
                let id = format!("{}{}", handler.replace('_', ""), values);
                let query = format!("do=store&handler={handler}&values={values}");
                let expected = Expected::parse(&php.ask(&path, &id, &query));
                let bytes = content(&path, &id);
                let session = Session::parse(&bytes)
                    .unwrap_or_else(|error| panic!("{id}: {error:?}: {}", bytes.escape_ascii()));
                if !bytes.is_empty() {
                    assert_eq!(session.serializer(), serializer, "{id}");
                }
                let found = expected.compare(&session);
                assert!(found >= least, "{id}: only {found} values");
            }
        }
    }
}

// protocol.md 8.2
#[test]
fn php_loses_what_has_a_bar_in_a_name_and_so_do_we() {
    let mut php = Php::start(Server::Cli, "bars");
    let path = php.save_path();
    for (handler, keys) in [("php", 0), ("php_serialize", 2), ("php_binary", 2)] {
        let id = handler.replace('_', "-");
        php.ask(
            &path,
            &id,
            &format!("do=store&handler={handler}&values=bar"),
        );
        let bytes = content(&path, &id);
        assert_eq!(
            Session::parse(&bytes).expect("it is whole").keys().len(),
            keys,
            "{handler}"
        );
    }
}

// protocol.md 8.2
#[test]
fn igbinary_is_recognised() {
    let mut php = Php::start(Server::Cli, "igbinary");
    let path = php.save_path();
    php.ask(&path, "igbinary", "do=store&handler=igbinary&values=usual");
    let bytes = content(&path, "igbinary");
    assert_eq!(Session::parse(&bytes).err(), Some(SessionError::Igbinary));
}

// protocol.md 8.1
#[test]
fn sessions_lie_as_deep_as_save_path_says() {
    for server in BOTH {
        let mut php = Php::start(server, "depth");
        for name in ["sessions/a", "sessions/a/b"] {
            php.make_sessions(name);
        }
        let folder = php.save_path();
        for (path, file, mode) in [
            (folder.clone(), "sess_abcd1", 0o600),
            (format!("2;{folder}"), "a/b/sess_abcd2", 0o600),
            (format!("2;0660;{folder}"), "a/b/sess_abcd3", 0o640),
            (format!("0;0644;{folder}"), "sess_abcd4", 0o644),
        ] {
            let (_, id) = file.split_once("sess_").expect("a session");
            php.ask(&path, id, "do=store&values=usual");
            let metadata = fs::metadata(format!("{folder}/{file}")).expect("PHP has made it");
            assert_eq!(
                metadata.permissions().mode() & 0o777,
                mode,
                "less the umask of 022"
            );
            assert!(is_signed_in(&content(&path, id)), "{path}");
        }
        assert_eq!(
            read(&format!("1;{folder}"), "abcd1"),
            SessionOutcome::Missing
        );
    }
}

// protocol.md 8.2
#[test]
fn a_script_that_holds_its_session_is_noticed_and_not_held_up() {
    for server in BOTH {
        let php = Php::start(server, "lock");
        let path = php.save_path();
        let gate = Gate::new(&php.folder);
        for (before, after) in [(None, 1), (Some(1), 2)] {
            let mut page = php.open(&path, "held", &gate.query());
            gate.await_begun();
            let SessionOutcome::Locked(stored) = read(&path, "held") else {
                panic!("the script holds it");
            };
            // A new session is empty; another is what it was.
            let session = Session::parse(&stored.bytes).expect("it is whole");
            let value = session.find("allowconnect").expect("no references");
            assert!(value == before.map(Value::Integer), "{before:?}");
            gate.let_go();
            read_until(&mut page, "done");
            let bytes = content(&path, "held");
            let session = Session::parse(&bytes).expect("it is whole");
            let value = session.find("allowconnect").expect("no references");
            assert!(value == Some(Value::Integer(after)));
        }
    }
}

/// The page is there before its session is, in which case the script still holds it: whoever asks
/// again until it lets go is never told that nobody is signed in.
// protocol.md 8.2
#[test]
fn two_hundred_pages_sign_in_with_their_first_byte() {
    for (server, size) in [(Server::Cli, 0), (Server::Fpm, 24_000)] {
        let php = Php::start(server, "pages");
        let path = php.save_path();
        let mut locked_count = 0;
        for number in 0..200 {
            let id = format!("page{number}");
            let mut page = php.open(&path, &id, &format!("do=page&size={size}"));
            read_until(&mut page, "page");
            let deadline = Instant::now() + PATIENCE;
            let stored = loop {
                match read(&path, &id) {
                    SessionOutcome::Found(stored) => break stored,
                    SessionOutcome::Locked(_) if Instant::now() < deadline => locked_count += 1,
                    other => panic!("{id}: {other:?}"),
                }
            };
            assert!(is_signed_in(&stored.bytes), "{id} by {server:?}");
        }
        println!("{server:?}: {locked_count} times a script was still at it");
    }
}

// protocol.md 8.2
#[test]
fn sessions_that_end_or_move_are_found_out() {
    for server in BOTH {
        let mut php = Php::start(server, "life");
        let path = php.save_path();
        assert_eq!(read(&path, "never"), SessionOutcome::Missing);
        php.ask(&path, "ends", "do=store&values=usual");
        assert!(is_signed_in(&content(&path, "ends")));
        php.ask(&path, "ends", "do=destroy");
        assert_eq!(read(&path, "ends"), SessionOutcome::Missing);
        // The old one stays, with its old content, unless it is to be deleted.
        for (id, delete) in [("moves", "0"), ("goes", "1")] {
            php.ask(&path, id, "do=store&values=usual");
            let new_id = php.ask(&path, id, &format!("do=regenerate&delete={delete}"));
            let bytes = content(&path, &new_id);
            let session = Session::parse(&bytes).expect("it is whole");
            assert!(
                session
                    .find("new")
                    .expect("no references")
                    .is_some_and(Value::is_true)
            );
            assert!(is_signed_in(&bytes));
            match delete {
                "0" => assert!(is_signed_in(&content(&path, id))),
                _ => assert_eq!(read(&path, id), SessionOutcome::Missing),
            }
        }
    }
}

// protocol.md 8.2
#[test]
fn an_old_session_tells_its_age_until_it_is_collected() {
    let mut php = Php::start(Server::Fpm, "age");
    let path = php.save_path();
    php.ask(&path, "old", "do=store&values=usual");
    let file = fs::File::options()
        .write(true)
        .open(format!("{path}/sess_old"));
    let file = file.expect("PHP has made it");
    let two_days = Duration::from_secs(2 * 86_400);
    let set_back = || {
        file.set_modified(SystemTime::now() - two_days)
            .expect("it is ours")
    };
    let age = || match read(&path, "old") {
        SessionOutcome::Found(stored) => stored.age,
        other => panic!("{other:?}"),
    };
    set_back();
    assert!(age() >= two_days);
    // Use without a change moves the time.
    php.ask(&path, "old", "do=touch");
    assert!(age() < two_days / 2);
    set_back();
    php.ask(&path, "another", "do=collect");
    assert_eq!(read(&path, "old"), SessionOutcome::Missing);
}

/// Who may read what PHP has written: its user, its group if it is let in, and nobody else; and
/// nobody lays down a session in Debian's folder that is believed.
// protocol.md 8.2
#[test]
fn rights_and_owners_count() {
    let mut php = Php::start(Server::Fpm, "rights");
    let folder = php.save_path();
    let group_path = format!("0;0640;{folder}");
    php.ask(&folder, "own", "do=store&values=usual");
    php.ask(&group_path, "group", "do=store&values=usual");
    let set_mode = |path: &str, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let Some(user) = php_user() else {
        // Not root: only what is forbidden to ourselves can be tried.
        set_mode(&format!("{folder}/sess_own"), 0);
        let forbidden = SessionOutcome::Unreadable(Unreadable::Permission);
        return assert_eq!(read(&folder, "own"), forbidden);
    };
    let (owner, group) = (user.uid.as_raw(), user.gid.as_raw());
    let nobody = 65_534;
    set_mode(&folder, 0o2750);
    assert!(read_as(owner, group, &folder, "own").starts_with("Found"));
    assert!(read_as(nobody, group, &folder, "group").starts_with("Found"));
    assert_eq!(
        read_as(nobody, group, &folder, "own"),
        "Unreadable(Permission)"
    );
    assert_eq!(
        read_as(nobody, nobody, &folder, "group"),
        "Unreadable(Permission)"
    );
    // As Debian's: everybody may write into it, and nobody but root list it.
    std::os::unix::fs::chown(&folder, Some(0), Some(0)).expect("this is root");
    set_mode(&folder, 0o1733);
    assert!(read_as(owner, group, &folder, "own").starts_with("Found"));
    let planted = format!("{folder}/sess_planted");
    fs::write(&planted, "allowconnect|b:1;user_id|i:1;").expect("this is root");
    std::os::unix::fs::chown(&planted, Some(nobody), Some(nobody)).expect("this is root");
    set_mode(&planted, 0o644);
    assert_eq!(
        read_as(owner, group, &folder, "planted"),
        "Unreadable(ForeignOwner)"
    );
}

/// Run by [`read_as`].
#[test]
#[ignore = "another test runs it, as another user"]
fn read_for_another_user() {
    let variable = |name| std::env::var(name).expect("it is set");
    let outcome = read(&variable("SAVE_PATH"), &variable("SESSION_ID"));
    println!("outcome: {outcome:?}");
}
