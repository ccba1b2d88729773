//! The server as a client of nginx. Only `run.sh` runs these: `cargo test` needs nothing but Rust.

mod driver;
#[expect(dead_code, reason = "shared with the hostile servers")]
mod server;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use websock::upstream::http::Method;
use websock::upstream::{CallError, Settings};

use crate::driver::Driver;

/// An nginx of its own, in a folder of its own, on a free port and a Unix socket.
struct Nginx {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Nginx {
    /// Calls wait until it listens, as they do for any server that is just being started.
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("websock-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("logs")).expect("a folder");
        fs::write(folder.join("large"), "0123456789abcdef".repeat(1 << 16)).expect("a file");
        let page = "<!--# echo var=\"arg_x\" --> in pieces";
        fs::write(folder.join("chunked"), page).expect("a file");
        // Answers without a length, to be proxied.
        let behind = server::start(|_, mut stream| {
            server::read_head(&mut stream);
            server::write(&mut stream, "HTTP/1.0 200 OK\r\n\r\nno length");
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let text = CONFIGURATION
            .replace("FOLDER", folder.to_str().expect("UTF-8"))
            .replace("PORT", &port.to_string())
            .replace("BEHIND", &behind.to_string());
        fs::write(folder.join("nginx.conf"), text).expect("a file");
        drop(listener);
        let process = Self::run(&folder);
        Self {
            folder,
            port,
            process,
        }
    }

    fn run(folder: &Path) -> Child {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("nginx")
            // Debian keeps daemons where a user's PATH does not look.
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .spawn()
            .expect("nginx is installed")
    }

    fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
        // nginx does not take over the file of one that was killed.
        drop(fs::remove_file(self.folder.join("nginx.sock")));
    }

    fn restart(&mut self) {
        self.stop();
        self.process = Self::run(&self.folder);
    }

    fn tcp(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn unix(&self) -> String {
        format!("unix:{}/nginx.sock", self.folder.display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// One process, so that ending it ends all of it.
const CONFIGURATION: &str = "
daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/logs/error.log;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    client_max_body_size 1m;
    server {
        listen 127.0.0.1:PORT;
        listen unix:FOLDER/nginx.sock;
        root FOLDER;
        location = /count { return 200 $connection_requests; }
        location = /host { return 200 $http_host; }
        location = /204 { return 204; }
        location = /404 { return 404; }
        location = /401 { return 401; }
        location = /302 { return 302 http://127.0.0.1:1/; }
        location = /502 { proxy_pass http://unix:FOLDER/nobody.sock; }
        location = /503 { add_header Retry-After 7 always; return 503; }
        location = /user { add_header X-Websock-User 42; return 204; }
        location = /chunked { ssi on; ssi_types *; default_type text/html; }
        location = /no-length { proxy_pass http://BEHIND; }
        location = /large {}
        location = /few { keepalive_requests 3; return 200 $connection_requests; }
        location = /quiet { keepalive_timeout 1s; return 204; }
    }
}
";

#[test]
fn nginx_keeps_its_connections_and_they_are_used() {
    let nginx = Nginx::start("kept");
    for url in [nginx.tcp(), nginx.unix()] {
        let mut driver = Driver::single(&url);
        for count in 1..=100 {
            assert_eq!(driver.get("/count"), Ok((200, count.to_string())));
        }
        assert_eq!(driver.upstream().counts().connected, 1);
    }
}

#[test]
fn nginx_statuses_and_headers_arrive() {
    let nginx = Nginx::start("statuses");
    let mut driver = Driver::single(&nginx.tcp());
    for status in [204, 404, 401, 302, 502, 503, 204] {
        let answered = driver.get(&format!("/{status}")).map(|(status, _)| status);
        assert_eq!(answered, Ok(status));
    }
    let busy = driver.ask(Method::Get, "/503", b"").expect("an answer");
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    let user = driver.ask(Method::Get, "/user", b"").expect("an answer");
    assert_eq!(user.header("x-websock-user"), Some(&b"42"[..]));
    let host = format!("127.0.0.1:{}", nginx.port);
    assert_eq!(driver.get("/host"), Ok((200, host)));
    let by_socket = Driver::single(&nginx.unix()).get("/host");
    assert_eq!(by_socket, Ok((200, "localhost".to_owned())));
    assert_eq!(
        driver.upstream().counts().connected,
        1,
        "errors end no connection"
    );
}

#[test]
fn nginx_bodies_arrive_however_they_are_framed() {
    let nginx = Nginx::start("bodies");
    let mut driver = Driver::single(&nginx.tcp());
    for _ in 0..3 {
        let chunked = driver
            .ask(Method::Get, "/chunked?x=y", b"")
            .expect("an answer");
        assert_eq!(chunked.header("transfer-encoding"), Some(&b"chunked"[..]));
        assert_eq!(chunked.body(), b"y in pieces");
        assert_eq!(driver.get("/no-length"), Ok((200, "no length".to_owned())));
        let head = driver.ask(Method::Head, "/large", b"").expect("an answer");
        assert_eq!(head.header("content-length"), Some(&b"1048576"[..]));
        assert_eq!(head.body(), b"");
    }
    assert_eq!(driver.upstream().counts().connected, 1);
    assert_eq!(driver.get("/large"), Err(CallError::TooLarge));
    driver.max_body_bytes = 1 << 20;
    let (_, body) = driver.get("/large").expect("an answer");
    assert_eq!(body, "0123456789abcdef".repeat(1 << 16));
}

#[test]
fn nginx_refuses_a_long_request_and_that_is_an_answer() {
    let nginx = Nginx::start("long");
    let mut driver = Driver::single(&nginx.tcp());
    let response = driver.ask(Method::Post, "/204", &vec![0; 7 << 20]);
    assert_eq!(response.expect("an answer").status(), 413);
    assert_eq!(driver.get("/204").map(|(status, _)| status), Ok(204));
}

#[test]
fn nginx_ends_connections_and_nobody_notices() {
    let nginx = Nginx::start("ends");
    let mut driver = Driver::single(&nginx.tcp());
    for round in 0..12 {
        assert_eq!(driver.get("/few"), Ok((200, (round % 3 + 1).to_string())));
    }
    assert_eq!(driver.upstream().counts().connected, 4);
    assert_eq!(driver.get("/quiet").map(|(status, _)| status), Ok(204));
    driver.turn_until(|driver| driver.upstream().link_count() == 0);
    assert_eq!(driver.get("/quiet").map(|(status, _)| status), Ok(204));
}

#[test]
fn nginx_restarted_between_calls_is_found_again() {
    let mut nginx = Nginx::start("restarted");
    for url in [nginx.tcp(), nginx.unix()] {
        let settings = Settings {
            concurrency: 4,
            ..Settings::default()
        };
        let mut driver = Driver::new(&url, settings);
        for _ in 0..5 {
            let calls: Vec<_> = (0..20)
                .map(|_| driver.begin(Method::Get, "/204", b"", Duration::from_secs(30)))
                .collect();
            for _ in calls {
                let response = driver.next_answer().into_http().expect("an answer");
                assert_eq!(response.status(), 204);
            }
            nginx.restart();
        }
        nginx.stop();
        let error = driver.get_in_vain(Duration::from_millis(300));
        assert_eq!(error, CallError::Refused);
        nginx.process = Nginx::run(&nginx.folder);
    }
}
