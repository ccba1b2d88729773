//! Finding the ini file and reading its text (protocol.md 7.1).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::report::{Errors, Problem};
use super::setting::Origin;
use crate::base::plain;

/// Path and text of the ini file that counts; the path is absolute.
pub(super) type Found = Option<(PathBuf, String)>;

/// What was found, and warnings.
pub(super) type Reading = (Found, Vec<String>);

/// Reads the file named by `-i`, else the first of the three usual ones that exists. The second
/// part of the result are warnings: that there is none, and places that cannot be looked into.
pub(super) fn find(named: Option<&Path>) -> Result<Reading, Errors> {
    if let Some(named) = named {
        let path = absolute(named);
        return match read(&path) {
            Ok(text) => Ok((Some((path, text)), Vec::new())),
            Err(error) => {
                let reason = format!("cannot be read: {}: {}", path.display(), plain(&error));
                Err(unreadable(Origin::CommandLine, named, reason))
            }
        };
    }
    let places = usual_places();
    let mut warnings = Vec::new();
    for path in &places {
        match read(path) {
            Ok(text) => return Ok((Some((path.clone(), text)), warnings)),
            Err(error) if is_absence(&error) => {}
            Err(error) if is_hidden(path) => warnings.push(format!(
                "{}: not looked into: {}; name the file by -i, if it is there",
                path.display(),
                plain(&error)
            )),
            Err(error) => {
                let reason = format!("cannot be read: {}", plain(&error));
                return Err(unreadable(Origin::File(path.clone()), path, reason));
            }
        }
    }
    let tried: Vec<_> = places
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    warnings.push(format!(
        "no ini file, the defaults hold; looked for {}",
        tried.join(", ")
    ));
    Ok((None, warnings))
}

/// Reads a file that was found before.
pub(super) fn read_again(path: &Path) -> Result<Reading, Errors> {
    match read(path) {
        Ok(text) => Ok((Some((path.to_owned(), text)), Vec::new())),
        Err(error) => {
            let reason = format!("cannot be read: {}", plain(&error));
            Err(unreadable(Origin::File(path.to_owned()), path, reason))
        }
    }
}

fn usual_places() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let beside = executable
        .as_deref()
        .and_then(Path::parent)
        .map(|dir| dir.join(NAME));
    let etc = PathBuf::from("/etc/websock").join(NAME);
    [Some(absolute(Path::new(NAME))), beside, Some(etc)]
        .into_iter()
        .flatten()
        .collect()
}

/// For messages, which are read elsewhere. As it is if the working directory is gone.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What is not UTF-8 becomes U+FFFD, so that an old comment in Latin-1 stops nobody; in a value it
/// is an error later.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|count| count > MAX_BYTES) {
        return Err(io::Error::other("larger than 1 MiB, this is no ini file"));
    }
    if let Some(encoding) = wide_encoding(&bytes) {
        return Err(io::Error::other(format!(
            "the file is {encoding}; save it as UTF-8 (iconv -f {encoding} -t UTF-8)"
        )));
    }
    if bytes.contains(&0) {
        return Err(io::Error::other("it holds NUL bytes, this is no ini file"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What Windows editors call Unicode: each character has two bytes or four. Without a mark at the
/// start, the many zero bytes tell, as ini text is mostly ASCII.
fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => return Some("UTF-16"),
        _ => {}
    }
    let zeros_at = |parity: usize| {
        let places = bytes.iter().skip(parity).step_by(2);
        places.filter(|byte| **byte == 0).count()
    };
    let most = bytes.len() / 4;
    match (zeros_at(0) > most, zeros_at(1) > most) {
        (false, true) => Some("UTF-16LE"),
        (true, false) => Some("UTF-16BE"),
        (false, false) | (true, true) => None,
    }
}

/// Whether the directory keeps from us if there is such a file, as a root's home directory does
/// from the user that the server runs as.
fn is_hidden(path: &Path) -> bool {
    let looked = std::fs::symlink_metadata(path);
    looked.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(origin: Origin, path: &Path, reason: String) -> Errors {
    let problem = Problem {
        origin,
        key: "i".to_owned(),
        value: path.display().to_string(),
        reason,
    };
    Errors::new(vec![problem], Vec::new())
}

/// Far more than all keys with all their comments; an ini file is read whole.
const MAX_BYTES: u64 = 1 << 20;
const NAME: &str = "websock.ini";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_encodings_are_known_with_and_without_their_mark() {
        let utf_16 = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let little = |text| utf_16(text).iter().flat_map(|u| u.to_le_bytes()).collect();
        let big = |text| utf_16(text).iter().flat_map(|u| u.to_be_bytes()).collect();
        let table: [(Vec<u8>, _); 9] = [
            (b"a=b\n".to_vec(), None),
            (b"".to_vec(), None),
            ("; größe\r\na=b".into(), None),
            (little("\u{feff}a=b"), Some("UTF-16")),
            (big("\u{feff}a=b"), Some("UTF-16")),
            (little("; größe\r\na=b"), Some("UTF-16LE")),
            (big("a=b\n"), Some("UTF-16BE")),
            (vec![0xFF, 0xFE, 0, 0, b'a', 0, 0, 0], Some("UTF-32")),
            (vec![0; 20], None),
        ];
        for (bytes, expected) in table {
            assert_eq!(wide_encoding(&bytes), expected, "{bytes:?}");
        }
    }
}
