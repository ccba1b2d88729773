//! The directory for what has to outlive the server (`stateDir`): made for this user only, and
//! nothing in it is believed that others could have put there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::base::random;

/// A directory that belongs to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Opens a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made, is no directory, belongs to somebody else, or others may write into it.
    pub fn open(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let found = std::fs::metadata(path)?;
        if !found.is_dir() {
            return Err(io::Error::other("it is no directory"));
        }
        if found.uid() != geteuid().as_raw() {
            return Err(io::Error::other(
                "it belongs to another user; it has to be the server's own",
            ));
        }
        if found.mode() & 0o022 != 0 {
            return Err(io::Error::other(
                "others may write into it; take that right away (chmod 700)",
            ));
        }
        Ok(Self(path.to_owned()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps bytes under a name, in place of those that were there. Whoever reads meanwhile, or after
    /// a crash, finds the ones or the others.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.0.join(format!("{name}.new"));
        // Whatever is in the way, it is not written into.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let put = written.and_then(|()| std::fs::rename(&unfinished, self.0.join(name)));
        if put.is_err() {
            // A full disk is not to stay so.
            let _ = std::fs::remove_file(&unfinished);
        }
        self.sync();
        put
    }

    /// Takes the bytes of a name, which are gone then; `None`: there are none.
    ///
    /// # Errors
    /// The file cannot be read, is not one that only this user can have written, or is longer than
    /// `max_len`.
    pub fn take(&self, name: &str, max_len: usize) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(name);
        let taken = match open_own(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(|file| read_at_most(file, max_len)),
        };
        // What was not taken once is not taken later.
        std::fs::remove_file(&path)?;
        // Nor behind a crash of the machine: by then more was said under the same numbers.
        self.sync();
        taken.map(Some)
    }

    /// Which names there are is on the disk, where a file system can do that.
    fn sync(&self) {
        let _ = File::open(&self.0).and_then(|dir| dir.sync_all());
    }

    /// The secret of this name: 32 random bytes that are made when they are asked for first, and
    /// stay.
    ///
    /// # Errors
    /// The file cannot be made or read, or is not what was written.
    pub fn secret(&self, name: &str) -> io::Result<[u8; 32]> {
        let path = self.0.join(name);
        match read_secret(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let mut secret = [0; 32];
        random::fill(&mut secret);
        let unfinished = self.0.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&unfinished)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        Ok(secret)
    }
}

fn read_at_most(file: File, max_len: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(max_len).unwrap_or(u64::MAX);
    if file.metadata()?.len() > limit {
        return Err(io::Error::other("it is longer than anything that is kept"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_secret(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = open_own(path)?;
    let mut secret = [0; 32];
    file.read_exact(&mut secret)?;
    if file.read(&mut [0])? != 0 {
        return Err(io::Error::other("it is longer than a key; remove it"));
    }
    Ok(secret)
}

/// Opens a file that only this user can have written.
fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "it is no file of the server's own with mode 0600; remove it",
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Scene(PathBuf);

    impl Scene {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("websock-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).expect("a new directory");
            Self(path)
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn a_secret_stays_and_is_for_nobody_else() {
        let scene = Scene::new("state");
        let dir = StateDir::open(&scene.0.join("state")).expect("a directory");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        let made = dir.secret("key").expect("made");
        assert_eq!(dir.secret("key").expect("read"), made);
        assert_ne!(dir.secret("other").expect("made"), made);
        let file = dir.path().join("key");
        assert_eq!(mode(&file), 0o600);
        set_mode(&file, 0o640);
        assert!(dir.secret("key").is_err(), "others may read it");
        std::fs::write(&file, [1; 31]).expect("written");
        set_mode(&file, 0o600);
        assert!(dir.secret("key").is_err(), "cut off");
        std::fs::write(&file, [1; 33]).expect("written");
        assert!(dir.secret("key").is_err(), "longer");
        std::fs::remove_file(&file).expect("removed");
        symlink("/etc/passwd", &file).expect("a link");
        assert!(dir.secret("key").is_err(), "a link");
    }

    #[test]
    fn what_is_put_is_taken_once_and_only_if_nobody_else_can_have_written_it() {
        let scene = Scene::new("kept");
        let dir = StateDir::open(&scene.0.join("state")).expect("a directory");
        let file = dir.path().join("kept");
        assert_eq!(dir.take("kept", 9).expect("nothing"), None);
        dir.put("kept", b"old").expect("written");
        symlink("/etc/passwd", dir.path().join("kept.new")).expect("a link in the way");
        dir.put("kept", b"new").expect("written");
        let mode = std::fs::metadata(&file).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(dir.take("kept", 3).expect("taken"), Some(b"new".to_vec()));
        assert_eq!(dir.take("kept", 3).expect("gone"), None);
        dir.put("kept", b"long").expect("written");
        assert!(dir.take("kept", 3).is_err(), "longer");
        // It takes no room on the disk.
        let huge = File::create(&file).expect("a file");
        huge.set_len(4 << 30).expect("a length");
        set_mode(&file, 0o600);
        assert!(dir.take("kept", 1 << 20).is_err(), "4 GiB");
        dir.put("kept", b"x").expect("written");
        set_mode(&file, 0o640);
        assert!(dir.take("kept", 9).is_err(), "others may read it");
        symlink("/etc/passwd", &file).expect("a link");
        assert!(dir.take("kept", 9).is_err(), "a link");
        assert_eq!(dir.take("kept", 9).expect("nothing is left"), None);
        std::fs::create_dir(&file).expect("a directory in the way");
        assert!(dir.take("kept", 9).is_err() && dir.put("kept", b"x").is_err());
    }

    #[test]
    fn a_directory_that_others_can_change_is_refused() {
        let scene = Scene::new("foreign");
        set_mode(&scene.0, 0o777);
        assert!(StateDir::open(&scene.0).is_err());
        set_mode(&scene.0, 0o755);
        assert!(StateDir::open(&scene.0).is_ok());
        assert!(StateDir::open(&scene.0.join("a/b")).is_err(), "no parent");
        std::fs::write(scene.0.join("file"), "").expect("written");
        assert!(StateDir::open(&scene.0.join("file")).is_err());
    }
}
