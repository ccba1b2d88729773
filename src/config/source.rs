//! Finding the ini file and reading its text (protocol.md 7.1).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::report::{Errors, Origin, Problem};

/// Path and text of the ini file that counts.
pub(super) type Found = Option<(PathBuf, String)>;

/// Reads the file named by `-i`, else the first of the three usual ones that exists. With none of
/// them, the second part of the result is a warning that names the places.
pub(super) fn find(named: Option<&Path>) -> Result<(Found, Option<String>), Errors> {
    if let Some(path) = named {
        let text = read(path).map_err(|error| unreadable(Origin::CommandLine, path, &error))?;
        return Ok((Some((path.to_owned(), text)), None));
    }
    let places = usual_places();
    for path in &places {
        match read(path) {
            Ok(text) => return Ok((Some((path.clone(), text)), None)),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(unreadable(Origin::File(path.clone()), path, &error)),
        }
    }
    let tried: Vec<_> = places
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let warning = format!(
        "no ini file, the defaults hold; looked for {}",
        tried.join(", ")
    );
    Ok((None, Some(warning)))
}

fn usual_places() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let beside = executable
        .as_deref()
        .and_then(Path::parent)
        .map(|dir| dir.join(NAME));
    let etc = PathBuf::from("/etc/websock").join(NAME);
    [Some(PathBuf::from(NAME)), beside, Some(etc)]
        .into_iter()
        .flatten()
        .collect()
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
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(origin: Origin, path: &Path, error: &io::Error) -> Errors {
    let problem = Problem {
        origin,
        key: "i".to_owned(),
        value: path.display().to_string(),
        reason: format!("cannot be read: {error}"),
    };
    Errors::new(vec![problem], Vec::new())
}

/// Far more than all keys with all their comments; an ini file is read whole.
const MAX_BYTES: u64 = 1 << 20;
const NAME: &str = "websock.ini";
