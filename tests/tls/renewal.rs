//! New certificates without a restart.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rcgen::SerialNumber;
use rustix::process::Signal;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::authority::{Authority, Files, Leaf, dial, expect_dialogue, params, shown};
use crate::harness::tls::TlsTransport;
use crate::harness::{Conn, Request, Server, eventually};

/// A certificate with this serial number.
fn issue(authority: &Authority, serial: u64) -> Leaf {
    let mut params = params("localhost");
    params.serial_number = Some(SerialNumber::from(serial));
    authority.issue_for(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

/// The serial number of what a new client is shown.
#[track_caller]
fn serial_seen(server: &Server, authority: &Authority) -> u64 {
    let transport = dial(server, authority.client(), "localhost");
    let serial = serial_of(&transport);
    expect_dialogue(transport);
    serial
}

fn serial_of(transport: &TlsTransport) -> u64 {
    let leaf = shown(transport).remove(0);
    let leaf = Certificate::from_der(&leaf).expect("a certificate");
    let serial = leaf.tbs_certificate().serial_number();
    serial
        .as_bytes()
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn count_of(server: &Server, text: &str) -> usize {
    let lines = server.log_lines();
    lines.iter().filter(|line| line.contains(text)).count()
}

/// Puts both files in place, asks for them to be read, and waits until the log says `outcome`.
#[track_caller]
fn replace(server: &Server, files: &Files, (cert, key): (&str, &str), outcome: &str) {
    let before = count_of(server, outcome);
    files.pair(cert, key);
    server.signal(Signal::HUP);
    eventually(outcome, || count_of(server, outcome) > before);
}

const TAKEN_UP: &str = "New certificate in force";
const KEPT: &str = "the old certificate stays in force";

#[test]
fn five_hundred_clients_go_on_while_the_certificate_is_replaced_ten_times() {
    let authority = Authority::new();
    let files = Files::new();
    let first = issue(&authority, 1000);
    // So many may take longer to open than it is to a ping.
    let pair = files.pair(&first.pem, &first.key_pem());
    let server = Server::start(&format!("{pair}\npingInterval=0"));
    let open = || {
        let transport = dial(&server, authority.client(), "localhost");
        Conn::new(Box::new(transport)).open(&Request::to("/web"))
    };
    let (is_over, started) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let over = EndOfTest(&is_over);
        for _ in 0..10 {
            scope.spawn(|| {
                let mut clients: Vec<Conn> = (0..50).map(|_| open()).collect();
                started.fetch_add(clients.len(), Ordering::Release);
                // Once more after the last certificate.
                let mut is_last = false;
                while !is_last {
                    is_last = is_over.load(Ordering::Acquire);
                    clients.iter_mut().for_each(Conn::round_trip);
                }
                clients.into_iter().for_each(Conn::close);
            });
        }
        eventually_thrice("all clients are at it", || {
            started.load(Ordering::Acquire) == 500
        });
        let mut serial = 1000;
        for round in 1..=10 {
            let leaf = issue(&authority, 1000 + round);
            let (cert, key) = (leaf.pem.as_str(), leaf.key_pem());
            if round == 5 {
                let half = &cert[..cert.len() / 2];
                replace(&server, &files, (half, &key), KEPT);
            } else {
                replace(&server, &files, (cert, &key), TAKEN_UP);
                serial = 1000 + round;
            }
            assert_eq!(serial_seen(&server, &authority), serial);
        }
        drop(over);
    });
    // Nobody was cut: each of the threads has closed its clients in order, or has panicked.
}

/// Ends the clients' loops also when the test has failed.
struct EndOfTest<'a>(&'a AtomicBool);

impl Drop for EndOfTest<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn what_is_wrong_with_a_new_certificate_is_told_once_and_the_old_one_stays() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    let mut expired = params("localhost");
    expired.not_after = rcgen::date_time_ymd(2021, 2, 3);
    let expired = authority.issue_for(&expired, &rcgen::PKCS_ECDSA_P256_SHA256);
    let other = issue(&authority, 2);
    for (cert, key) in [
        (&*expired.pem, &*expired.key_pem()),
        // The key of another.
        (&*other.pem, &*old.key_pem()),
        ("", &*other.key_pem()),
        (&*other.pem, "no key"),
    ] {
        replace(&server, &files, (cert, key), KEPT);
        assert_eq!(serial_seen(&server, &authority), 1);
    }
    let still = format!("still: {KEPT}");
    let told_first = || count_of(&server, KEPT) - count_of(&server, &still);
    let told = told_first();
    // Asked again for the same files, it says that nothing has changed.
    server.signal(Signal::HUP);
    server.wait_for_log(&still);
    assert_eq!(serial_seen(&server, &authority), 1);
    assert_eq!(told_first(), told);
    replace(&server, &files, (&other.pem, &other.key_pem()), TAKEN_UP);
    assert_eq!(serial_seen(&server, &authority), 2);
}

#[test]
fn a_missing_file_keeps_the_old_certificate_until_it_is_there_again() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    fs::remove_file(files.path("cert.pem")).expect("it goes");
    server.signal(Signal::HUP);
    let line = server.wait_for_log(KEPT);
    assert!(line.contains("cert.pem"), "{line}");
    assert_eq!(serial_seen(&server, &authority), 1);
    let new = issue(&authority, 2);
    replace(&server, &files, (&new.pem, &new.key_pem()), TAKEN_UP);
    assert_eq!(serial_seen(&server, &authority), 2);
}

#[test]
fn changed_files_are_noticed_without_a_signal() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    assert_eq!(serial_seen(&server, &authority), 1);
    let new = issue(&authority, 2);
    files.pair(&new.pem, &new.key_pem());
    // The loop looks every ten seconds; one wait for the log is not longer than that.
    eventually_thrice("it is noticed", || count_of(&server, TAKEN_UP) == 1);
    assert_eq!(serial_seen(&server, &authority), 2);
}

/// For what may take longer than one wait.
#[track_caller]
fn eventually_thrice(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + 3 * crate::harness::PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_certificate_that_ends_soon_is_told_of() {
    let authority = Authority::new();
    let files = Files::new();
    let mut params = params("localhost");
    // rcgen's dates are those of the `time` crate.
    params.not_after = std::time::SystemTime::now().into();
    params.not_after += std::time::Duration::from_secs(10 * 86_400 + 3_600);
    let leaf = authority.issue_for(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let server = Server::start(&files.pair(&leaf.pem, &leaf.key_pem()));
    server.wait_for_log("a certificate expires in 10 days; renew it");
}

/// Two certificates whose PEM texts are of one length.
fn issue_alike(authority: &Authority, old: &Leaf, serial: u64) -> Leaf {
    let fitting = (0..1_000).map(|_| issue(authority, serial));
    let len = |leaf: &Leaf| (leaf.pem.len(), leaf.key_pem().len());
    let found = fitting.into_iter().find(|leaf| len(leaf) == len(old));
    found.expect("signatures have a few lengths only")
}

/// Writes over a file, which keeps its time of change as `touch -d` or a copying program has it.
fn overwrite(files: &Files, name: &str, text: &str) {
    let path = files.path(name);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
    let modified = modified.expect("a time");
    fs::write(&path, text).expect("a file");
    let file = fs::File::options().write(true).open(&path);
    let file = file.expect("a file");
    file.set_modified(modified).expect("the time is set");
}

/// Neither a time that is set back nor an equal length hides a new certificate.
#[test]
fn a_change_is_noticed_that_shows_in_neither_time_nor_length() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let new = issue_alike(&authority, &old, 2);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    assert_eq!(serial_seen(&server, &authority), 1);
    overwrite(&files, "cert.pem", &new.pem);
    overwrite(&files, "key.pem", &new.key_pem());
    server.signal(Signal::HUP);
    server.wait_for_log(TAKEN_UP);
    assert_eq!(serial_seen(&server, &authority), 2);
}

/// As if the key came with the wrong mode, and was opened up later: nothing about the file but that
/// it can be read has changed.
#[test]
fn a_take_up_that_has_failed_is_tried_again_without_a_change_and_without_a_signal() {
    let authority = Authority::new();
    let files = Files::new();
    let (old, new) = (issue(&authority, 1), issue(&authority, 2));
    assert_eq!(old.key_pem().len(), new.key_pem().len());
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    files.write("cert.pem", &new.pem);
    server.signal(Signal::HUP);
    server.wait_for_log(KEPT);
    overwrite(&files, "key.pem", &new.key_pem());
    eventually_thrice("it is tried again", || count_of(&server, TAKEN_UP) == 1);
    assert_eq!(serial_seen(&server, &authority), 2);
}

/// The serial number of what a client of this name is shown.
#[track_caller]
fn serial_for(server: &Server, authority: &Authority, name: &str) -> u64 {
    serial_of(&dial(server, authority.client(), name))
}

#[test]
fn a_pair_that_is_bad_keeps_no_other_from_being_taken_up() {
    let authority = Authority::new();
    let files = Files::new();
    let issue = |name: &str, serial: u64| {
        let mut params = params(name);
        params.serial_number = Some(SerialNumber::from(serial));
        authority.issue_for(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
    };
    let write = |name: &str, leaf: &Leaf| {
        files.write(name, &format!("{}{}", leaf.pem, leaf.key_pem()));
    };
    write("a.pem", &issue("localhost", 1));
    write("b.pem", &issue("example.org", 2));
    let (a, b) = (files.path("a.pem"), files.path("b.pem"));
    let server = Server::start(&format!("certFile={}, {}", a.display(), b.display()));
    for (round, bad) in (0u64..).zip(["a.pem", "b.pem"]) {
        let good = if bad == "a.pem" { "b.pem" } else { "a.pem" };
        let name_of = |file: &str| ["localhost", "example.org"][usize::from(file == "b.pem")];
        let kept = serial_for(&server, &authority, name_of(bad));
        // Before they are there: the server may look by itself.
        let before = count_of(&server, TAKEN_UP);
        files.write(bad, "no certificate");
        write(good, &issue(name_of(good), 10 + round));
        server.signal(Signal::HUP);
        eventually(TAKEN_UP, || count_of(&server, TAKEN_UP) > before);
        assert_eq!(serial_for(&server, &authority, name_of(good)), 10 + round);
        assert_eq!(serial_for(&server, &authority, name_of(bad)), kept);
        let line = server.wait_for_line(bad, |line| line.contains(KEPT) && line.contains(bad));
        assert!(line.contains("holds no certificate"), "{line}");
    }
}

/// The loop must not wait for a file, whatever it has become.
#[test]
fn a_fifo_in_place_of_the_certificate_holds_nobody_up() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    fs::remove_file(files.path("cert.pem")).expect("it goes");
    files.fifo("cert.pem");
    server.signal(Signal::HUP);
    let line = server.wait_for_log(KEPT);
    assert!(line.contains("is a FIFO"), "{line}");
    assert_eq!(serial_seen(&server, &authority), 1);
    fs::remove_file(files.path("cert.pem")).expect("it goes");
    let new = issue(&authority, 2);
    replace(&server, &files, (&new.pem, &new.key_pem()), TAKEN_UP);
    assert_eq!(serial_seen(&server, &authority), 2);
}

#[test]
fn other_files_are_taken_up_by_a_reload() {
    let authority = Authority::new();
    let files = Files::new();
    let (first, second) = (issue(&authority, 1), issue(&authority, 2));
    let ini = files.pair(&first.pem, &first.key_pem());
    let server = Server::start(&ini);
    let mut page = Conn::new(Box::new(dial(&server, authority.client(), "localhost")));
    page = page.open(&Request::to("/web"));
    let other = format!(
        "certFile={}\npkFile={}",
        files.write("other.pem", &second.pem),
        files.write("other.key", &second.key_pem())
    );
    server.reload(&other, "Settings read again: 2 changes");
    assert_eq!(serial_seen(&server, &authority), 2);
    page.round_trip();
    // What is wrong with new files changes nothing, not even other keys.
    let gone = files.path("gone.pem").display().to_string();
    let wrong = format!("certFile={gone}\npkFile={gone}\nmaxClients=0001");
    server.reload(&wrong, "everything stays as it was");
    let line = server.wait_for_log("gone.pem");
    assert!(
        line.contains("certFile=") && line.contains(", line "),
        "{line}"
    );
    assert_eq!(serial_seen(&server, &authority), 2);
    // The new files are those that are looked at from now on.
    replace_other(&server, &files, &first);
    assert_eq!(serial_seen(&server, &authority), 1);
    page.round_trip();
}

#[track_caller]
fn replace_other(server: &Server, files: &Files, leaf: &Leaf) {
    let before = count_of(server, TAKEN_UP);
    files.write("other.pem", &leaf.pem);
    files.write("other.key", &leaf.key_pem());
    server.signal(Signal::HUP);
    eventually(TAKEN_UP, || count_of(server, TAKEN_UP) > before);
}
