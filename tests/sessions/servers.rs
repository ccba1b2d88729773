//! PHP's own server, and PHP-FPM behind nginx, each in a folder of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{User, geteuid, mkfifo};

use crate::driver::Driver;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who runs the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// `php -S`.
    Cli,
    /// PHP-FPM behind nginx: two workers, as www-data if this is root.
    Fpm,
}

/// A running server, and the folder with its script and its sessions.
pub(crate) struct Php {
    pub(crate) folder: PathBuf,
    port: u16,
    /// The last one is started last and ended first.
    processes: Vec<Child>,
    driver: Driver,
}

impl Php {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(server: Server, name: &str) -> Self {
        let name = format!("websock-{name}-{server:?}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("www")).expect("a folder");
        fs::create_dir_all(folder.join("logs")).expect("a folder");
        fs::write(folder.join("www/page.php"), include_str!("page.php")).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let processes = match server {
            Server::Cli => vec![start_cli(&folder, port)],
            Server::Fpm => vec![start_fpm(&folder), start_nginx(&folder, port)],
        };
        let mut php = Self {
            driver: Driver::single(&format!("http://127.0.0.1:{port}")),
            folder,
            port,
            processes,
        };
        php.driver.max_body_bytes = 1 << 20;
        php.make_sessions("sessions");
        // The client comes back until somebody listens.
        let (status, _) = php.driver.get("/no/such/page").expect("an answer");
        assert!(status == 404 || status == 200, "{status}");
        php
    }

    /// A folder for sessions, which whoever runs PHP owns.
    pub(crate) fn make_sessions(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        if let Some(user) = php_user() {
            let ids = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(&folder, ids.0, ids.1).expect("this is root");
        }
        folder
    }

    /// The folder that `make_sessions("sessions")` has made.
    pub(crate) fn save_path(&self) -> String {
        self.folder.join("sessions").display().to_string()
    }

    /// The path of the script for a query.
    pub(crate) fn page(save_path: &str, id: &str, query: &str) -> String {
        format!(
            "/page.php?path={}&id={id}&{query}",
            save_path.replace(';', "%3B")
        )
    }

    /// Has the script do something, and gives its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, save_path: &str, id: &str, query: &str) -> String {
        let page = Self::page(save_path, id, query);
        let (status, body) = self.driver.get(&page).expect("an answer");
        assert_eq!(status, 200, "{body}");
        assert!(!body.starts_with('E'), "{query}: {body}");
        body
    }

    /// Sends the request for a page by hand; what comes back is read by the caller.
    pub(crate) fn open(&self, save_path: &str, id: &str, query: &str) -> TcpStream {
        let page = Self::page(save_path, id, query);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // The master of PHP-FPM ends its workers if it is asked to end.
            let id = i32::try_from(process.id()).ok();
            if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            }
            drop(process.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The user of scripts if it is not that of the test.
pub(crate) fn php_user() -> Option<User> {
    let is_root = geteuid().is_root();
    let user = is_root.then(|| User::from_name("www-data"));
    user.map(|user| {
        user.expect("a list of users")
            .expect("www-data is one of Debian's")
    })
}

/// Debian keeps daemons where a user's PATH does not look.
fn command(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn start_cli(folder: &Path, port: u16) -> Child {
    command("php")
        .args(["-S", &format!("127.0.0.1:{port}"), "-t"])
        .arg(folder.join("www"))
        .stderr(Stdio::null())
        .spawn()
        .expect("PHP is installed")
}

/// Waits until it says that it is ready.
fn start_fpm(folder: &Path) -> Child {
    let pool = php_user().map_or(String::new(), |user| {
        let name = user.name;
        format!("user = {name}\ngroup = {name}\nlisten.owner = {name}\n")
    });
    let text = POOL.replace("FOLDER", folder.to_str().expect("UTF-8"));
    fs::write(folder.join("pool.conf"), text + &pool).expect("a file");
    let mut process = command("php-fpm8.2")
        .args(["--nodaemonize", "--force-stderr", "--fpm-config"])
        .arg(folder.join("pool.conf"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("PHP-FPM is installed");
    let (sender, lines) = channel();
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    // To the end of the process, so that it can go on writing.
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    while !lines
        .recv_timeout(PATIENCE)
        .expect("it starts")
        .contains("ready to handle connections")
    {}
    process
}

fn start_nginx(folder: &Path, port: u16) -> Child {
    let text = NGINX
        .replace("FOLDER", folder.to_str().expect("UTF-8"))
        .replace("PORT", &port.to_string());
    fs::write(folder.join("nginx.conf"), text).expect("a file");
    command("nginx")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .spawn()
        .expect("nginx is installed")
}

const POOL: &str = "
[global]
error_log = /proc/self/fd/2
[www]
listen = FOLDER/fpm.sock
pm = static
pm.max_children = 2
";

/// One process, so that ending it ends all of it. It runs as the user of the test.
const NGINX: &str = "
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
    server {
        listen 127.0.0.1:PORT;
        root FOLDER/www;
        location ~ [.]php$ {
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param HTTP_COOKIE $http_cookie if_not_empty;
            fastcgi_pass unix:FOLDER/fpm.sock;
            fastcgi_buffering off;
        }
    }
}
";

/// Two FIFOs, by which a script says that it has begun its session, and is let go on.
pub(crate) struct Gate {
    begun: PathBuf,
    go: PathBuf,
}

impl Gate {
    pub(crate) fn new(folder: &Path) -> Self {
        let fifo = |name: &str| {
            let path = folder.join(name);
            drop(fs::remove_file(&path));
            mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
            // The umask does not apply to this.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
            path
        };
        Self {
            begun: fifo("begun"),
            go: fifo("go"),
        }
    }

    /// For the script.
    pub(crate) fn query(&self) -> String {
        format!(
            "do=hold&begun={}&go={}",
            self.begun.display(),
            self.go.display()
        )
    }

    /// Waits until the script has begun its session.
    pub(crate) fn await_begun(&self) {
        let path = self.begun.clone();
        on_a_thread(move || fs::read(path).expect("it can be opened"));
    }

    /// Lets the script go on.
    pub(crate) fn let_go(&self) {
        let path = self.go.clone();
        on_a_thread(move || fs::write(path, "x").expect("it can be opened"));
    }
}

/// Opening a FIFO waits for the other end, without a limit of its own.
fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result): (_, Receiver<T>) = channel();
    thread::spawn(move || _ = sender.send(work()));
    result.recv_timeout(PATIENCE).expect("the script is there")
}

/// Reads until the text has come, and no further.
pub(crate) fn read_until(stream: &mut impl Read, text: &str) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
    {
        let len = stream.read(&mut buffer).expect("the page comes");
        assert_ne!(len, 0, "the page ends: {}", String::from_utf8_lossy(&bytes));
        bytes.extend(&buffer[..len]);
    }
}
