//! What says who a page is: session files, a URL and a Redis that answer at once. They run beside the
//! load generator, so that the server's CPU time is what the server itself does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Token,
    File,
    Url,
    Redis,
}

impl Kind {
    /// As part of a row's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::File => "file",
            Self::Url => "url",
            Self::Redis => "redis",
        }
    }
}

/// A source that is there; its files go with it.
pub(crate) struct Source {
    kind: Kind,
    folder: Option<PathBuf>,
    address: Option<SocketAddr>,
}

impl Source {
    pub(crate) fn start(kind: Kind) -> Self {
        let mut source = Self {
            kind,
            folder: None,
            address: None,
        };
        match kind {
            Kind::Token => {}
            Kind::File => {
                let name = format!("websock-bench-sessions-{}", std::process::id());
                let folder = std::env::temp_dir().join(name);
                fs::create_dir_all(&folder).unwrap();
                for number in 0..FILES {
                    let file = folder.join(format!("sess_{}", session(number)));
                    fs::write(file, content(number)).unwrap();
                }
                source.folder = Some(folder);
            }
            Kind::Url => source.address = Some(answer_by(answer_http)),
            Kind::Redis => source.address = Some(answer_by(answer_redis)),
        }
        source
    }

    /// The lines of an ini file by which it is asked.
    pub(crate) fn ini_lines(&self) -> String {
        let address = self.address.map_or_else(String::new, |a| a.to_string());
        match self.kind {
            Kind::Token => crate::users::AUTH_KEY_LINE.to_owned(),
            Kind::File => {
                let folder = self.folder.as_ref().unwrap().display();
                format!("sessions={folder}\nuserKey=user\n")
            }
            Kind::Url => format!("authUrl=http://{address}/\n"),
            Kind::Redis => format!("sessions=redis://{address}\nuserKey=user\n"),
        }
    }

    /// The header line of a page with this number: no two of a thousand in a row are of one visitor.
    pub(crate) fn cookie(&self, number: usize) -> String {
        match self.kind {
            Kind::Token => crate::users::cookie(number),
            Kind::File => format!("Cookie: PHPSESSID={}\r\n", session(number % FILES)),
            Kind::Url | Kind::Redis => format!("Cookie: PHPSESSID={}\r\n", session(number)),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// An id as Debian's PHP makes them.
fn session(number: usize) -> String {
    format!("{number:026}")
}

/// A session of a shop: some hundred bytes.
fn content(number: usize) -> String {
    let cart = "x".repeat(200);
    format!(
        "cart|a:1:{{i:0;s:200:\"{cart}\";}}user|s:{}:\"{number}\";",
        number.to_string().len()
    )
}

/// Answers each connection on a thread of its own.
fn answer_by(answer: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer_http(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while matches!(reader.read_line(&mut head), Ok(1..)) {
        if head.ends_with("\r\n\r\n") {
            let body = r#"{"user":"42"}"#;
            let response = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if reader.get_mut().write_all(response.as_bytes()).is_err() {
                return;
            }
            head.clear();
        }
    }
}

/// Knows the three commands of a look-up and the PING before the first, and takes all others for part of
/// the greeting.
fn answer_redis(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let session = content(42);
    loop {
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line), Ok(1..)) {
            return;
        }
        let count: usize = line.trim().trim_start_matches('*').parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let mut len = String::new();
            reader.read_line(&mut len).unwrap();
            let len: usize = len.trim().trim_start_matches('$').parse().unwrap();
            let mut word = vec![0; len + 2];
            reader.read_exact(&mut word).unwrap();
            word.truncate(len);
            words.push(String::from_utf8(word).unwrap());
        }
        let answer = match words[0].as_str() {
            "EXISTS" => ":0\r\n".to_owned(),
            "GET" => format!("${}\r\n{session}\r\n", session.len()),
            "PTTL" => ":1000000\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Session files that there are.
const FILES: usize = 1000;
