//! `--check` says what the start would say, last of all in how many problems that is.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use crate::Directory;

/// `--check` and the start both fail with this; `--check` ends with its verdict.
#[track_caller]
fn expect_both_fail(ini: &str, expected: &str) {
    let directory = Directory::with_ini(ini.replace("{dir}", "."));
    for arguments in [&["--check"][..], &[]] {
        let outcome = directory.run(arguments);
        outcome.expect_exit(1).expect_stderr(expected);
        if !arguments.is_empty() {
            assert_eq!(outcome.stdout, "1 problem\n", "{outcome:#?}");
        }
    }
}

#[test]
fn what_stops_the_start_stops_the_check() {
    expect_both_fail("\nadress=192.0.2.1:9", "line 2: adress=192.0.2.1:9: ");
    expect_both_fail("adress=no-such-host.invalid:1", "host no-such-host.invalid");
    let unix = format!("adress=unix:{}/websock-no-group.sock", temp());
    expect_both_fail(
        &format!("{unix} group=no-such-group"),
        "there is no group no-such-group",
    );
    expect_both_fail("adress=unix:/no/such/directory/a", "/no/such/directory");
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("an address");
    expect_both_fail(
        &format!("adress={address}"),
        &format!("{address} is in use"),
    );
    let any = format!("adress=0.0.0.0:{}", address.port());
    expect_both_fail(&any, "is in use");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let directory = Directory::with_ini(format!("adress=127.0.0.1:{port},0.0.0.0:{port}"));
    directory.run(&[]).expect_exit(1);
    directory
        .run(&["--check"])
        .expect_exit(1)
        .expect_stderr("is listened on twice");
}

fn temp() -> String {
    std::env::temp_dir().display().to_string()
}

#[test]
fn who_is_in_the_way_is_named() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("an address");
    let pid = std::process::id();
    let outcome = Directory::with_ini(format!("adress={address}")).run(&["--check"]);
    outcome
        .expect_exit(1)
        .expect_stderr(&format!("(process {pid}): stop it"));
    let directory = Directory::new();
    let path = std::env::temp_dir().join(format!("websock-cli-{pid}.sock"));
    let listener = UnixListener::bind(&path).expect("a socket");
    fs::write(
        directory.join("websock.ini"),
        format!("adress=unix:{}", path.display()),
    )
    .expect("written");
    let outcome = directory.run(&["--check"]);
    outcome.expect_exit(1).expect_stderr("is in use by cli-");
    drop(listener);
    // What a server that was killed has left is in nobody's way.
    directory.run(&["--check"]).expect_exit(0);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "").expect("written");
    directory
        .run(&["--check"])
        .expect_exit(1)
        .expect_stderr("is there and is no socket");
    fs::remove_file(&path).expect("removed");
}

#[test]
fn a_log_that_can_never_be_one_is_a_problem_and_a_shut_directory_is_not() {
    let directory = Directory::with_ini("adress=localhost:0");
    let pipe = directory.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for (file, expected) in [(".", "it is a directory"), ("pipe", "it is a pipe (FIFO)")] {
        let outcome = directory.run(&["--check", "-logfile", file]);
        outcome.expect_exit(1).expect_stderr(expected);
        outcome.expect_stderr(&directory.0.display().to_string());
        assert_eq!(outcome.stdout, "1 problem\n");
        // The start goes on with the console: here, to the address that it cannot have.
        let outcome = directory.run(&["-logfile", file, "-adress", "192.0.2.1:9"]);
        outcome
            .expect_stderr("logging to the console")
            .expect_stdout("Starting server...");
    }
    let outcome = directory.run(&["--check", "-logfile", "missing/ws.log"]);
    outcome
        .expect_exit(0)
        .expect_stderr("warning: no directory ");
    assert_eq!(outcome.stdout, "fine\n");
}

#[test]
fn a_key_that_is_there_twice_is_told() {
    let directory = Directory::with_ini("adress=localhost:0\nmaxClients=1\n[a]\nMAXCLIENTS=2\n");
    let outcome = directory.run(&["--check"]);
    outcome
        .expect_exit(0)
        .expect_stderr("line 4: MAXCLIENTS=2: holds instead of line 2");
    assert_eq!(outcome.stdout, "fine\n");
}

#[test]
fn settings_are_for_those_who_ask_and_the_verdict_is_last() {
    let directory = Directory::with_ini("adress=localhost:0");
    let outcome = directory.run(&["--check"]);
    assert_eq!(outcome.expect_exit(0).stdout, "fine\n");
    for option in ["-v", "--verbose", "-verbose"] {
        let outcome = directory.run(&["--check", option]);
        outcome
            .expect_exit(0)
            .expect_stdout("maxQueue=8M ; default\n");
        assert!(outcome.stdout.ends_with("\nfine\n"), "{outcome:#?}");
    }
    directory
        .run(&["--verbose"])
        .expect_exit(2)
        .expect_stderr("--verbose is for --check");
}

#[test]
fn an_output_that_takes_nothing_is_a_failure() {
    let directory = Directory::with_ini("adress=localhost:0\ntrustedProxies=127.0.0.1");
    for arguments in [
        &["--check"][..],
        &["--check", "-v"],
        &["--help"],
        &["--version"],
        &["--print-proxy", "nginx"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let output = directory
            .command(arguments)
            .stdout(full.expect("/dev/full"))
            .output();
        let output = output.expect("the executable runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            stderr.contains("websock: standard output: No space left"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_directory_that_cannot_be_searched_is_told_and_the_search_goes_on() {
    let (beside, working) = (
        Directory::with_ini("maxClients=3\nadress=localhost:0"),
        Directory::with_ini("maxClients=4"),
    );
    let executable = beside.join("websock");
    fs::hard_link(crate::binary(), &executable).expect("linked");
    let set_mode = |mode| {
        fs::set_permissions(&working.0, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    // Root may search everything, unless it has given that away.
    let is_root = nix::unistd::geteuid().is_root();
    let drop_rights = if is_root {
        "exec setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all"
    } else {
        "exec"
    };
    let script = format!("cd \"$1\" && chmod 0 . && {drop_rights} \"$0\" --check -v");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .args([&executable, &working.0])
        .output();
    set_mode(0o700);
    let outcome = crate::Outcome::of(&output.expect("sh runs"));
    outcome.expect_exit(0).expect_stdout("maxClients=3 ; ");
    outcome.expect_stderr(&format!(
        "warning: {}: not looked into: Permission denied",
        working.join("websock.ini").display()
    ));
}

// protocol.md 8.1 to 8.6
#[test]
fn the_check_says_what_visitors_can_expect_and_no_value_of_a_session() {
    let session = "user|a:1:{s:2:\"id\";i:4711;}password|s:6:\"s3cret\";";
    let ini = "adress=127.0.0.1:0\nsessions=\"{dir}/sessions\"\nuserKey=user.id\n";
    let directory = Directory::new();
    let ini = ini.replace("{dir}", &directory.join("").display().to_string());
    fs::write(directory.join("websock.ini"), &ini).expect("written");
    let place = directory.join("sessions");
    let check = || directory.run(&["--check"]);
    check().expect_exit(1).expect_stderr("sessions=");
    fs::create_dir(&place).expect("a folder");
    check().expect_exit(0).expect_stderr("holds no session");
    let file = place.join("sess_abc");
    fs::write(&file, session).expect("written");
    let outcome = check();
    outcome
        .expect_exit(0)
        .expect_stdout("the session of cookie PHPSESSID decides")
        .expect_stdout("its visitor comes in as a user; its variables: user, password\n")
        .expect_stdout("visitors of whom nothing is known come in without a name\n");
    for secret in ["s3cret", "4711", "sess_abc"] {
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(secret), "{said}");
    }
    fs::write(&file, b"\0\0\0\x02\x14\x01").expect("written");
    check()
        .expect_exit(1)
        .expect_stderr("session.serialize_handler");
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("a folder in its place");
    check().expect_exit(1).expect_stderr("no regular file");
    fs::remove_dir(&file).expect("removed");
    // What CodeIgniter writes, without and with the key that says so.
    let file = place.join("ci_sessionabc");
    fs::write(&file, session).expect("written");
    check()
        .expect_exit(0)
        .expect_stderr("no file whose name is sess_ID")
        .expect_stderr("set sessionPrefix");
    let named = format!("{ini}sessionPrefix=ci_session\n");
    fs::write(directory.join("websock.ini"), named).expect("written");
    let said = "its visitor comes in as a user; its variables: user, password\n";
    check().expect_exit(0).expect_stdout(said);
    fs::remove_file(&file).expect("removed");
    let elsewhere = "adress=127.0.0.1:0\nsessionPrefix=ci_session\n";
    fs::write(directory.join("websock.ini"), elsewhere).expect("written");
    check()
        .expect_exit(0)
        .expect_stderr("sessionPrefix=ci_session: not used");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("authUrl=http://{}/", free.local_addr().expect("bound"));
    drop(free);
    fs::write(directory.join("websock.ini"), format!("{ini}{url}\n")).expect("written");
    check()
        .expect_exit(1)
        .expect_stderr("authUrl=")
        .expect_stderr("the connection was refused");
}

#[test]
fn a_state_directory_that_others_can_change_stops_start_and_check() {
    let directory = Directory::with_ini(format!(
        "adress=127.0.0.1:0\nauthKey={}\nstateDir=state\n",
        "k".repeat(32)
    ));
    let state = directory.join("state");
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("a mode");
    for arguments in [&["--check"][..], &[]] {
        let outcome = directory.run(arguments);
        outcome.expect_exit(1).expect_stderr("stateDir=state: ");
        outcome.expect_stderr("others may write into it");
    }
}
