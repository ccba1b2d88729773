//! The application's side of `authUrl`, as a test wants it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What is answered to a request head; `None`: nothing, and the connection stays.
type Answer = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A server that answers questions about visitors.
pub(crate) struct Application {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Application {
    /// Answers each question by its head.
    pub(crate) fn answering(
        answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Arc<Answer>) = (Arc::clone(&heads), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &noted, &answer));
            }
        });
        Self { address, heads }
    }

    /// The lines of an ini file by which it is asked.
    pub(crate) fn ini(&self) -> String {
        format!("authUrl=http://{}/who.php?x=1\n", self.address)
    }

    /// Heads of all questions so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn serve(stream: &TcpStream, heads: &Mutex<Vec<String>>, answer: &Arc<Answer>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(head.clone());
        match answer(&head) {
            Some(text) => {
                if (&mut &*stream).write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            None => {
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

/// A whole response.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\n\r\n{body}")
}

/// The value of a header of a request head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
