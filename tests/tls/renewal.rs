//! New certificates without a restart.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rcgen::SerialNumber;
use rustix::process::Signal;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::authority::{Authority, Files, Leaf, dial, expect_dialogue, params, shown};
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
    let leaf = shown(&transport).remove(0);
    let leaf = Certificate::from_der(&leaf).expect("a certificate");
    let serial = leaf.tbs_certificate().serial_number();
    expect_dialogue(transport);
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
    let server = Server::start(&files.pair(&first.pem, &first.key_pem()));
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
    let told = count_of(&server, KEPT);
    // Asked again for the same files, it has nothing to say.
    server.signal(Signal::HUP);
    eventually("the signal is handled", || count_of(&server, "SIGHUP") == 5);
    assert_eq!(serial_seen(&server, &authority), 1);
    assert_eq!(count_of(&server, KEPT), told);
    replace(&server, &files, (&other.pem, &other.key_pem()), TAKEN_UP);
    assert_eq!(serial_seen(&server, &authority), 2);
}

#[test]
fn a_missing_file_keeps_the_old_certificate_until_it_is_there_again() {
    let authority = Authority::new();
    let files = Files::new();
    let old = issue(&authority, 1);
    let server = Server::start(&files.pair(&old.pem, &old.key_pem()));
    std::fs::remove_file(files.path("cert.pem")).expect("it goes");
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
