//! Where successors ask: `takeoverSocket`.

use std::path::PathBuf;

use super::value::Expected;

/// What `takeoverSocket` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlPath {
    /// In the folder that the system has for such files, if it has one.
    Auto,
    /// There are no successors.
    Off,
    /// In this file.
    File(PathBuf),
}

/// Reads `takeoverSocket`.
pub(super) fn control_path(text: &str) -> Result<ControlPath, Expected> {
    match text {
        "auto" => Ok(ControlPath::Auto),
        "off" => Ok(ControlPath::Off),
        path if path.starts_with('/') && path.len() < MAX_PATH_BYTES && !path.contains('\0') => {
            Ok(ControlPath::File(PathBuf::from(path)))
        }
        _ => {
            let wanted =
                "auto, off, or a file name that begins with / and is shorter than 108 bytes";
            Err(format!("{wanted} is wanted"))
        }
    }
}

/// What the kernel has room for in the address of a Unix socket, with the byte that ends it.
const MAX_PATH_BYTES: usize = 108;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_values_are_refused() {
        let longest = format!("/{}", "x".repeat(106));
        assert!(control_path(&longest).is_ok());
        for text in ["", "on", "run/x", &format!("{longest}x"), "/a\0"] {
            assert!(control_path(text).is_err(), "{text:?}");
        }
    }
}
