//! [`ErrorKind`]: what an error of a server means.

use std::fmt;

/// Why a server has refused a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// `-NOAUTH`: it wants a password, and none was given.
    PasswordMissing,
    /// `-WRONGPASS`: user and password do not fit.
    PasswordWrong,
    /// A password was given, and it has none.
    PasswordUnwanted,
    /// `-NOPERM`: the user may not do that.
    Forbidden,
    /// There is no such database.
    Database,
    /// `-DENIED`: protected mode, in which only the own machine may connect.
    ProtectedMode,
    /// It has all the clients that it takes.
    TooManyClients,
    /// `-LOADING`, `-BUSY`: it cannot answer yet, as while it reads its data.
    NotReady,
    /// `-READONLY`, `-MASTERDOWN`, `-NOREPLICAS`: a replica, or a server without enough of them.
    ReadOnly,
    /// `-MOVED` and the like: it is in cluster mode.
    Cluster,
    /// `-OOM`: it has no memory left.
    OutOfMemory,
    /// `-MISCONF`: it takes no changes because it cannot write them to disk.
    NotSaving,
    /// `-WRONGTYPE`: the key holds something else than a string.
    WrongType,
    /// No Sentinel knows a master of that name.
    UnknownMaster,
    /// Any other.
    Other,
}

impl ErrorKind {
    /// Reads the line of an error, without its `-`.
    pub fn parse(line: &[u8]) -> Self {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match word {
            b"NOAUTH" => Self::PasswordMissing,
            b"WRONGPASS" => Self::PasswordWrong,
            b"NOPERM" => Self::Forbidden,
            b"DENIED" => Self::ProtectedMode,
            b"LOADING" | b"BUSY" | b"TRYAGAIN" => Self::NotReady,
            b"READONLY" | b"MASTERDOWN" | b"NOREPLICAS" => Self::ReadOnly,
            b"MOVED" | b"ASK" | b"CLUSTERDOWN" | b"CROSSSLOT" => Self::Cluster,
            b"OOM" => Self::OutOfMemory,
            b"MISCONF" => Self::NotSaving,
            b"WRONGTYPE" => Self::WrongType,
            _ => Self::parse_text(line),
        }
    }

    /// Those that have no word of their own.
    fn parse_text(line: &[u8]) -> Self {
        let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
        if has(b"max number of clients") {
            return Self::TooManyClients;
        }
        if has(b"cluster mode") {
            return Self::Cluster;
        }
        if has(b"DB index") {
            return Self::Database;
        }
        if has(b"without any password configured") {
            return Self::PasswordUnwanted;
        }
        Self::Other
    }

    /// Whether asking the same server again can help without anybody changing a setting.
    pub const fn is_passing(self) -> bool {
        match self {
            Self::TooManyClients
            | Self::NotReady
            | Self::ReadOnly
            | Self::OutOfMemory
            | Self::NotSaving => true,
            Self::PasswordMissing
            | Self::PasswordWrong
            | Self::PasswordUnwanted
            | Self::Forbidden
            | Self::Database
            | Self::ProtectedMode
            | Self::Cluster
            | Self::WrongType
            | Self::UnknownMaster
            | Self::Other => false,
        }
    }

    /// Whether the connection is of no use any more: another one may lead to another server, or be
    /// let in again.
    pub const fn ends_connection(self) -> bool {
        match self {
            Self::PasswordMissing | Self::NotReady | Self::ReadOnly | Self::Cluster => true,
            Self::PasswordWrong
            | Self::PasswordUnwanted
            | Self::Forbidden
            | Self::Database
            | Self::ProtectedMode
            | Self::TooManyClients
            | Self::OutOfMemory
            | Self::NotSaving
            | Self::WrongType
            | Self::UnknownMaster
            | Self::Other => false,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PasswordMissing => "Redis wants a password: write it into the URL",
            Self::PasswordWrong => "Redis refuses user or password: check them in the URL",
            Self::PasswordUnwanted => "Redis has no password: leave it out of the URL",
            Self::Forbidden => "Redis does not allow this user that command: see its ACL",
            Self::Database => "Redis has no database of that number: check it in the URL",
            Self::ProtectedMode => {
                "Redis is in protected mode and takes its own machine only: give it a password"
            }
            Self::TooManyClients => "Redis has all the clients that it takes: raise maxclients",
            Self::NotReady => "Redis cannot answer yet: wait until it has loaded its data",
            Self::ReadOnly => "this Redis is a replica and takes no changes: name the master",
            Self::Cluster => {
                "Redis in cluster mode is not supported: name a server without cluster-enabled"
            }
            Self::OutOfMemory => "Redis has no memory left: raise its maxmemory",
            Self::NotSaving => "Redis takes no changes because it cannot save: see its log",
            Self::WrongType => "that key of Redis holds no string: check the prefix in the URL",
            Self::UnknownMaster => {
                "no Sentinel knows that master: check its name behind the hosts in the URL"
            }
            Self::Other => "Redis has refused the command: see that its version is 6 or newer",
        })
    }
}

impl std::error::Error for ErrorKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_servers_are_told_apart() {
        for (line, expected) in [
            (
                "NOAUTH Authentication required.",
                ErrorKind::PasswordMissing,
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                ErrorKind::PasswordWrong,
            ),
            (
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
                ErrorKind::PasswordUnwanted,
            ),
            (
                "NOPERM this user has no permissions to run the 'get' command",
                ErrorKind::Forbidden,
            ),
            ("ERR DB index is out of range", ErrorKind::Database),
            ("ERR invalid DB index", ErrorKind::Database),
            (
                "DENIED Redis is running in protected mode because",
                ErrorKind::ProtectedMode,
            ),
            (
                "ERR max number of clients reached",
                ErrorKind::TooManyClients,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorKind::NotReady,
            ),
            ("BUSY Redis is busy running a script.", ErrorKind::NotReady),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::ReadOnly,
            ),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::ReadOnly),
            ("MOVED 3999 127.0.0.1:6381", ErrorKind::Cluster),
            ("ASK 3999 127.0.0.1:6381", ErrorKind::Cluster),
            ("CLUSTERDOWN Hash slot not served", ErrorKind::Cluster),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                ErrorKind::Cluster,
            ),
            (
                "ERR SELECT is not allowed in cluster mode",
                ErrorKind::Cluster,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::OutOfMemory,
            ),
            ("MISCONF Redis is configured to", ErrorKind::NotSaving),
            ("WRONGTYPE Operation against a key", ErrorKind::WrongType),
            ("ERR unknown command", ErrorKind::Other),
            ("NOAUTHX", ErrorKind::Other),
            ("", ErrorKind::Other),
        ] {
            assert_eq!(ErrorKind::parse(line.as_bytes()), expected, "{line}");
        }
    }
}
