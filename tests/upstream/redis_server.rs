//! A Redis of its own for a test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A Redis in a folder of its own, on a free port and a Unix socket. Calls wait until it listens, as
/// they do for any server that is just being started.
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// `options` are those of its command line.
    pub(crate) fn start(name: &str, options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("websock-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = run(&folder, port, &options);
        Self {
            folder,
            port,
            options,
            process,
        }
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

fn run(folder: &Path, port: u16, options: &[String]) -> Child {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("redis-server")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .arg("--dir")
        .arg(folder)
        .arg("--unixsocket")
        .arg(folder.join("redis.sock"))
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
