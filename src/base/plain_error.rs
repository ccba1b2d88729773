//! Errors of the system in its own words.

use std::io;

/// What `error` says, without the number that Rust puts behind it, as `(os error 2)`.
pub fn plain(error: &io::Error) -> String {
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
        assert_eq!(plain(&missing), "No such file or directory");
        let own = io::Error::other("larger than 1 MiB");
        assert_eq!(plain(&own), "larger than 1 MiB");
    }
}
