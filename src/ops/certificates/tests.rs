//! A look without a server: what is asked for, what comes of it, and when its end is told.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};

use rcgen::{CertificateParams, Issuer, KeyPair as TestKey};

use super::*;

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("websock-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Writes the certificate and its key; what is wanted of them.
    fn write(&self, (cert, key): &(String, String)) -> KeyPair {
        let file = self.0.join("both.pem");
        fs::write(&file, format!("{cert}{key}")).expect("a file");
        KeyPair {
            cert_file: file.clone(),
            key_file: file,
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate for localhost that is valid from and until so many days from now, and its key.
fn issue(from: i64, until: i64) -> (String, String) {
    let key = TestKey::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let now = SystemTime::now();
    let day = |days: i64| match u64::try_from(days) {
        Ok(days) => now + DAY * u32::try_from(days).expect("few days"),
        Err(_) => now - DAY * u32::try_from(-days).expect("few days"),
    };
    params.not_before = day(from).into();
    params.not_after = (day(until) + Duration::from_secs(60)).into();
    let cert = params.self_signed(&key).expect("a certificate");
    (cert.pem(), key.serialize_pem())
}

/// Certificates, and what is heard when a look is over.
fn load(pair: &KeyPair) -> (Certificates, Receiver<()>) {
    let mut certificates = Certificates::load(std::slice::from_ref(pair)).expect("they load");
    let (sender, woken) = mpsc::channel();
    certificates.set_waker(move || sender.send(()).expect("somebody waits"));
    (certificates, woken)
}

/// Has the files looked at and waits for what comes of it.
#[track_caller]
fn look((certificates, woken): &mut (Certificates, Receiver<()>), reason: LookReason) -> Outcome {
    certificates.request_look(reason);
    woken.recv_timeout(PATIENCE).expect("the look ends");
    certificates.take_result().expect("it has a result")
}

const PATIENCE: Duration = Duration::from_secs(10);

fn texts(notes: &[Note]) -> String {
    let texts: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
    texts.join("\n")
}

#[test]
fn files_that_have_not_changed_are_read_at_a_hangup_only() {
    let directory = Directory::new("unchanged");
    let mut loaded = load(&directory.write(&issue(-1, 80)));
    assert_eq!(look(&mut loaded, LookReason::Timer), Outcome::default());
    let outcome = look(&mut loaded, LookReason::Hangup);
    assert_eq!((outcome.taken_up, outcome.failed), (0, 0));
    assert!(texts(&outcome.notes).contains("have not changed"));
}

#[test]
fn a_failure_is_tried_at_every_look_and_told_once_and_at_a_hangup() {
    let directory = Directory::new("failure");
    let mut loaded = load(&directory.write(&issue(-1, 80)));
    let config = Arc::clone(loaded.0.config());
    fs::write(directory.0.join("both.pem"), "no certificate").expect("a file");
    for (reason, notes) in [
        (LookReason::Timer, 1),
        (LookReason::Timer, 0),
        (LookReason::Hangup, 1),
        (LookReason::Timer, 0),
    ] {
        let outcome = look(&mut loaded, reason);
        assert_eq!((outcome.taken_up, outcome.failed), (0, 1));
        assert_eq!(outcome.notes.len(), notes, "{}", texts(&outcome.notes));
        assert!(Arc::ptr_eq(loaded.0.config(), &config));
    }
    directory.write(&issue(-1, 70));
    let outcome = look(&mut loaded, LookReason::Timer);
    assert_eq!((outcome.taken_up, outcome.failed), (1, 0));
    assert!(!Arc::ptr_eq(loaded.0.config(), &config));
}

#[test]
fn a_hangup_during_a_look_is_made_up_for() {
    let directory = Directory::new("hangup");
    let (mut certificates, woken) = load(&directory.write(&issue(-1, 80)));
    certificates.request_look(LookReason::Timer);
    certificates.request_look(LookReason::Hangup);
    certificates.request_look(LookReason::Hangup);
    for said in ["", "have not changed"] {
        woken.recv_timeout(PATIENCE).expect("the look ends");
        let outcome = certificates.take_result().expect("it has a result");
        assert!(texts(&outcome.notes).contains(said));
    }
    assert!(certificates.take_result().is_none());
    assert!(!certificates.looker.is_under_way());
}

#[test]
fn one_that_is_not_valid_takes_the_place_of_one_that_is_not_either() {
    let directory = Directory::new("invalid");
    let mut loaded = load(&directory.write(&issue(-9, 80)));
    for bad in [issue(-9, -1), issue(1, 80)] {
        directory.write(&bad);
        let outcome = look(&mut loaded, LookReason::Timer);
        assert_eq!((outcome.taken_up, outcome.failed), (0, 1));
    }
    let mut loaded = load(&directory.write(&issue(-9, -2)));
    directory.write(&issue(-9, -1));
    assert_eq!(look(&mut loaded, LookReason::Timer).taken_up, 1);
}

/// The last third of its time, three weeks at most.
#[test]
fn the_end_is_told_in_the_last_third_and_once_a_day() {
    let directory = Directory::new("end");
    for (from, until, said) in [
        (-68, 22, ""),
        (-70, 20, "warn expires in 20 days"),
        (-3, 3, ""),
        (-5, 1, "warn expires in 24 hours"),
        (-29, 16, ""),
        (-31, 14, "warn expires in 14 days"),
        (-6, 0, "warn expires in 0 hours"),
        (-7, -1, "error has expired on"),
        (1, 90, "error is not valid before"),
    ] {
        let (mut certificates, _woken) = load(&directory.write(&issue(from, until)));
        let notes = certificates.expiry_notes();
        assert_eq!(certificates.due_notes(), notes, "{from} {until}");
        assert_eq!(certificates.due_notes(), [], "{from} {until}");
        let mut words = said.split_whitespace();
        let level = words.next().map(|level| level.parse().expect("a level"));
        let told = notes.first().map(|note| note.level);
        assert_eq!(told, level, "{from} {until}: {}", texts(&notes));
        let rest: Vec<_> = words.collect();
        assert!(texts(&notes).contains(&rest.join(" ")), "{}", texts(&notes));
        let entry = &mut certificates.entries[0];
        entry.expiry_told = entry.expiry_told.map(|told| told - DAY);
        assert_eq!(certificates.due_notes(), notes, "{from} {until}");
    }
}

#[test]
fn the_earliest_end_in_the_chain_counts() {
    let directory = Directory::new("chain");
    let authority = TestKey::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Signer");
    params.not_after = (SystemTime::now() + 5 * DAY).into();
    let signer = params.self_signed(&authority).expect("a certificate");
    let key = TestKey::generate().expect("a key");
    let leaf = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &Issuer::new(params, authority));
    let chain = format!("{}{}", leaf.expect("a certificate").pem(), signer.pem());
    let pair = directory.write(&(chain, key.serialize_pem()));
    let (certificates, _woken) = load(&pair);
    let said = texts(&certificates.expiry_notes());
    assert!(said.contains("expires in 4 days"), "{said}");
    assert!(
        said.contains("certificate 2 of the chain, CN=Signer, until"),
        "{said}"
    );
}

/// Neither errors nor `Debug` show a key.
#[test]
fn no_form_of_output_holds_the_key() {
    let directory = Directory::new("secret");
    let issued = issue(-1, 80);
    let (certificates, _woken) = load(&directory.write(&issued));
    let shown = format!("{certificates:?}");
    let key: Vec<&str> = issued.1.lines().collect();
    assert!(
        !shown.contains(key[1]) && !shown.contains("PRIVATE"),
        "{shown}"
    );
    let cut = (issued.0.clone(), issued.1.replacen(key[1], "MIGH", 1));
    let error = Certificates::load(&[directory.write(&cut)]).expect_err("a damaged key");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.contains("line"), "{shown}");
        assert!(
            !shown.contains("MIGH") && !shown.contains(key[2]),
            "{shown}"
        );
    }
}
