//! The opening handshake as a client makes it (RFC 6455 §4.1).

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::address::Address;
use super::error::Error;
use super::settings::{ClientSettings, Kind};
use super::stream::{Read, Stream};
use crate::base::random;
use crate::protocol::handshake::accept_key;

/// Asks for the upgrade and checks the answer. Returns what has been read beyond it.
pub(super) fn perform(
    stream: &mut Stream,
    address: &Address,
    settings: &ClientSettings,
) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; 16];
    random::fill(&mut nonce);
    let key = STANDARD.encode(nonce);
    let request = request(address, settings, &key);
    stream.write(request.as_bytes()).map_err(Error::Lost)?;
    let deadline = Instant::now() + settings.timeout;
    let mut answer = Vec::new();
    loop {
        if let Some(len) = check(&answer, &key)? {
            answer.drain(..len);
            return Ok(answer);
        }
        match stream
            .read(Some(deadline), &mut answer)
            .map_err(Error::Lost)?
        {
            Read::Some => {}
            Read::TimedOut => return Err(Error::Timeout("answer to the upgrade")),
            Read::Ended if answer.is_empty() => return Err(Error::Ended),
            Read::Ended => return Err(Error::NoHttp(start_of(&answer))),
        }
    }
}

fn request(address: &Address, settings: &ClientSettings, key: &str) -> String {
    let mut headers = String::new();
    if settings.kind == Kind::Script {
        headers.push_str("Client-Type: php\r\nX-Websock-Frames: stream\r\n");
    }
    for (name, value) in [
        ("Ident: ", settings.ident.as_str()),
        ("Origin: ", settings.origin.as_str()),
        ("Cookie: ", settings.cookie.as_str()),
        ("Authorization: Bearer ", settings.token.as_str()),
    ] {
        if !value.is_empty() {
            headers.extend([name, value, "\r\n"]);
        }
    }
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
        address.target, address.authority
    )
}

/// The length of the head of a 101 that is right; `None` if more has to come.
fn check(answer: &[u8], key: &str) -> Result<Option<usize>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(answer) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Error::NoHttp(start_of(answer))),
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        let body = answer.get(head_len..).unwrap_or_default();
        let text = if body.is_empty() {
            response.reason.unwrap_or_default().to_owned()
        } else {
            words_of(body)
        };
        return Err(Error::Status(status, text));
    }
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        found.map_or(&b""[..], |header| header.value)
    };
    if !header("Upgrade").eq_ignore_ascii_case(b"websocket") {
        return Err(Error::Handshake("Upgrade is not websocket"));
    }
    if header("Sec-WebSocket-Accept") != accept_key(key.as_bytes()) {
        return Err(Error::Handshake(
            "Sec-WebSocket-Accept is not for this request",
        ));
    }
    Ok(Some(head_len))
}

/// The first line, as far as it can be shown.
pub(super) fn start_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default());
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

/// The words of a text or of a page, on one line.
pub(super) fn words_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(1_024)).unwrap_or_default());
    let outside = text
        .split('<')
        .enumerate()
        .map(|(index, part)| match part.split_once('>') {
            Some((_, behind)) if index > 0 => behind,
            Some(_) | None => part,
        });
    let outside: Vec<_> = outside.collect();
    let words: Vec<_> = outside
        .join(" ")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

/// Longest head of an answer, in bytes, and most header lines of it.
pub(super) const MAX_HEAD_BYTES: usize = 16 << 10;
pub(super) const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_in_its_words() {
        let page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\n<h1>nginx</h1>";
        assert_eq!(words_of(page), "502 Bad Gateway nginx");
        assert_eq!(words_of(b"a > b \x1b[1m\n"), "a > b [1m");
        assert_eq!(words_of(b""), "");
    }
}
