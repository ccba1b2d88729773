//! TLS: whom the loop trusts, and what it makes of an end that TLS has not announced.
//!
//! The roots of a process are those of the system. A test that needs others runs itself a second
//! time, with `SSL_CERT_FILE`; the servers stay in the first process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use websock::upstream::http::Method;
use websock::upstream::{CallError, Settings};

use crate::driver::Driver;
use crate::server::{answer, await_end, read_head, start, write};

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A server that bears a certificate for `localhost` of this authority.
    fn start(&self, serve: impl Fn(&mut Tls) + Send + Sync + 'static) -> SocketAddr {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        let config = Arc::new(config);
        start(move |_, stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            serve(&mut StreamOwned::new(session, stream));
        })
    }
}

/// Answers each request by what its path asks for.
fn serve(stream: &mut Tls) {
    loop {
        let head = read_head(stream);
        match head.split(' ').nth(1) {
            Some("/long") => write(stream, answer(&"x".repeat(LONG))),
            Some("/announced") => {
                write(stream, "HTTP/1.0 200 OK\r\n\r\nall of it");
                stream.conn.send_close_notify();
                stream.flush().expect("it is read");
                return;
            }
            Some("/cut") => {
                write(stream, "HTTP/1.0 200 OK\r\n\r\nsome of it");
                return;
            }
            Some(path) => write(stream, answer(path)),
            None => return,
        };
    }
}

const LONG: usize = 1 << 20;

/// Set in the second process only: where the servers are.
const SERVERS: &str = "WEBSOCK_TEST_SERVERS";

/// Runs the test of this name in a process that trusts this authority only.
fn run_again(test: &str, authority: &Authority, servers: &[SocketAddr]) {
    let file = format!("websock-roots-{}-{test}.pem", std::process::id());
    let file = env::temp_dir().join(file.replace("::", "-"));
    fs::write(&file, authority.0.pem()).expect("a file");
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let output = Command::new(env::current_exe().expect("this file"))
        .args(["--exact", test, "--nocapture"])
        .env(SERVERS, servers.join(" "))
        .env("SSL_CERT_FILE", &file)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("it runs");
    drop(fs::remove_file(&file));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

/// Where the servers are; `None` in the first process.
fn servers() -> Option<Vec<SocketAddr>> {
    let servers = env::var(SERVERS).ok()?;
    let servers = servers.split(' ').map(|server| server.parse());
    Some(servers.collect::<Result<_, _>>().expect("addresses"))
}

fn this_test() -> String {
    thread::current()
        .name()
        .expect("tests are named")
        .to_owned()
}

#[test]
fn a_server_that_is_trusted_is_asked() {
    let Some(servers) = servers() else {
        let authority = Authority::new();
        let server = authority.start(serve);
        return run_again(&this_test(), &authority, &[server]);
    };
    let mut driver = Driver::single(&format!("https://localhost:{}/", servers[0].port()));
    driver.max_body_bytes = LONG;
    for number in 0..50 {
        let path = format!("/{number}");
        assert_eq!(driver.get(&path), Ok((200, path)));
    }
    assert_eq!(driver.get("/long"), Ok((200, "x".repeat(LONG))));
    assert_eq!(driver.upstream().counts().connected, 1);
    assert_eq!(driver.get("/announced"), Ok((200, "all of it".to_owned())));
    assert_eq!(driver.get("/cut"), Err(CallError::Closed));
}

#[test]
fn a_server_that_is_not_trusted_is_not_asked() {
    let Some(servers) = servers() else {
        let (authority, other) = (Authority::new(), Authority::new());
        let servers = [authority.start(serve), other.start(serve)];
        return run_again(&this_test(), &authority, &servers);
    };
    for url in [
        // Somebody else has signed it.
        format!("https://localhost:{}/", servers[1].port()),
        // It is for another name.
        format!("https://{}/", servers[0]),
    ] {
        let mut driver = Driver::single(&url);
        assert_eq!(driver.get_in_vain(SHORT), CallError::TlsFailed, "{url}");
        assert_eq!(driver.upstream().counts().connected, 0);
    }
    let mut trusted = Driver::single(&format!("https://localhost:{}/", servers[0].port()));
    assert_eq!(trusted.get("/a"), Ok((200, "/a".to_owned())));
}

#[test]
fn a_long_request_arrives_over_tls() {
    let Some(servers) = servers() else {
        let authority = Authority::new();
        let server = authority.start(|stream| {
            read_head(stream);
            let mut body = vec![0; LONG];
            stream.read_exact(&mut body).expect("the body");
            let is_whole = body.iter().all(|byte| *byte == b'b');
            write(stream, answer(&is_whole.to_string()));
            await_end(stream);
        });
        return run_again(&this_test(), &authority, &[server]);
    };
    let mut driver = Driver::single(&format!("https://localhost:{}/", servers[0].port()));
    let response = driver.ask(Method::Post, "/", &vec![b'b'; LONG]);
    assert_eq!(response.expect("an answer").body(), b"true");
}

#[test]
fn what_speaks_no_tls_is_not_asked() {
    let Some(servers) = servers() else {
        let plain = start(|_, mut stream| {
            write(&mut stream, "SSH-2.0-OpenSSH_9.2\r\n");
            await_end(&mut stream);
        });
        let closes = start(|_, stream| drop(stream));
        let silent = start(|_, mut stream| await_end(&mut stream));
        return run_again(&this_test(), &Authority::new(), &[plain, closes, silent]);
    };
    for (server, expected) in servers.iter().zip([
        CallError::TlsFailed,
        CallError::TlsFailed,
        CallError::Unreachable,
    ]) {
        let settings = Settings {
            connect_timeout: SHORT,
            ..Settings::default()
        };
        let mut driver = Driver::new(&format!("https://{server}/"), settings);
        assert_eq!(driver.get_in_vain(SHORT * 2), expected);
        assert_eq!(driver.upstream().counts().connected, 0);
    }
}

/// Longer than a handshake takes, and too short to wait for who never answers.
const SHORT: Duration = Duration::from_secs(1);
