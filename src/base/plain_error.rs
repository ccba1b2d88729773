//! Errors of the system in its own words.

use std::fmt;
use std::io;

/// Shows `error` without the number that Rust puts behind it, as `(os error 2)`.
pub fn plain(error: &io::Error) -> impl fmt::Display {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_left_out() {
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(plain(&missing).to_string(), "No such file or directory");
        let own = io::Error::other("larger than 1 MiB");
        assert_eq!(plain(&own).to_string(), "larger than 1 MiB");
    }
}
