//! A Redis of its own for a test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A Redis in a folder of its own, on a free port and a Unix socket. Calls wait until it listens, as
/// they do for any server that is just being started.
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    tls_port: u16,
    options: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// `options` are those of its command line.
    pub(crate) fn start(name: &str, options: &[&str]) -> Self {
        let (folder, port) = (folder(name), free_port());
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = run(&folder, port, &options);
        Self {
            folder,
            port,
            tls_port: 0,
            options,
            process,
        }
    }

    /// A Sentinel that watches a master.
    pub(crate) fn start_sentinel(name: &str, master: &Self) -> Self {
        let file = folder(name).join("sentinel.conf");
        let port = master.port;
        let text = format!(
            "sentinel monitor shop 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds shop 300\n\
             sentinel failover-timeout shop 1000\n"
        );
        fs::write(&file, text).expect("a file");
        // Its file comes first on the command line.
        Self::start(name, &[&file.display().to_string(), "--sentinel"])
    }

    /// What follows this one.
    pub(crate) fn start_replica(&self, name: &str) -> Self {
        let port = self.port.to_string();
        Self::start(name, &["--replicaof", "127.0.0.1", &port])
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One that speaks TLS, too, with a certificate for `localhost` that `ca.pem` vouches for and
    /// `other.pem` does not.
    pub(crate) fn start_with_tls(name: &str) -> Self {
        let folder = folder(name);
        let (authority, other) = (authority(), authority());
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        for (file, text) in [
            ("ca.pem", authority.pem()),
            ("other.pem", other.pem()),
            ("cert.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            fs::write(folder.join(file), text).expect("a file");
        }
        let tls_port = free_port();
        let path = |file| folder.join(file).display().to_string();
        let mut server = Self::start(
            name,
            &[
                "--tls-port",
                &tls_port.to_string(),
                "--tls-cert-file",
                &path("cert.pem"),
                "--tls-key-file",
                &path("key.pem"),
                "--tls-ca-cert-file",
                &path("ca.pem"),
                "--tls-auth-clients",
                "no",
            ],
        );
        server.tls_port = tls_port;
        server
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
        drop(fs::remove_file(self.folder.join("redis.sock")));
    }

    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.folder, self.port, &self.options);
    }

    pub(crate) fn tcp(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn tls(&self) -> String {
        format!("rediss://localhost:{}", self.tls_port)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What its command line has, too, when it is started again.
    pub(crate) fn add_options(&mut self, options: &[&str]) {
        self.options
            .extend(options.iter().map(|&option| option.to_owned()));
    }

    pub(crate) fn unix(&self) -> String {
        format!("unix:{}/redis.sock", self.folder.display())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("websock-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

fn run(folder: &Path, port: u16, options: &[String]) -> Child {
    let path = std::env::var("PATH").unwrap_or_default();
    // A configuration file has to come first.
    let is_file = |option: &&String| option.ends_with(".conf");
    Command::new("redis-server")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(options.iter().take(1).filter(is_file))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(match options.iter().any(|option| option == "--sentinel") {
            true => &[][..],
            false => &["--save", ""],
        })
        .arg("--dir")
        .arg(folder)
        .arg("--unixsocket")
        .arg(folder.join("redis.sock"))
        .args(options.iter().filter(|option| !is_file(option)))
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
