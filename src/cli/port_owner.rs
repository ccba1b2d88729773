//! Who listens where we want to, as far as Linux tells us (proc(5)): for `--check`, which must not
//! take the running server for somebody else.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// One that runs this program.
    Websock(u32),
    /// systemd, which passes its sockets on (LISTEN_FDS).
    Systemd(u32),
    /// Any other.
    Other(String, u32),
    /// One of this user, which we may not look at.
    Hidden(u32),
}

impl Owner {
    /// Whether our start will not find it in the way.
    pub(super) fn gives_way(&self) -> bool {
        match self {
            Self::Websock(_) | Self::Systemd(_) => true,
            Self::Other(..) | Self::Hidden(_) => false,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Websock(pid) => write!(
                f,
                "websock (process {pid}), which is as it should be if that is to be replaced"
            ),
            Self::Systemd(pid) => write!(
                f,
                "systemd (process {pid}), which is as it should be if it passes the socket"
            ),
            Self::Other(name, pid) => write!(f, "{name} (process {pid})"),
            Self::Hidden(uid) => write!(
                f,
                "a program of user {uid} (as that user or as root, --check tells which)"
            ),
        }
    }
}

/// Those whose TCP sockets keep us from listening on `address`.
pub(super) fn of_port(address: SocketAddr) -> Vec<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let listening = texts.iter().flat_map(|text| text.lines()).filter_map(parse);
    let rivals = listening.filter(|socket| {
        let (ip, own) = (socket.address.ip(), address.ip());
        let is_any = ip.is_unspecified() || own.is_unspecified();
        socket.address.port() == address.port() && (is_any || ip == own)
    });
    rivals
        .map(|socket| {
            holder(socket.inode).map_or(Owner::Hidden(socket.uid), |process| owner(&process))
        })
        .collect()
}

/// Who listens on a Unix socket.
pub(super) fn of_file(path: &Path) -> Vec<Owner> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let inodes = table.lines().filter_map(|line| inode_of(line, path));
    let uid = fs::metadata(path).map_or(0, |metadata| metadata.uid());
    inodes
        .map(|inode| holder(inode).map_or(Owner::Hidden(uid), |process| owner(&process)))
        .collect()
}

/// What a line of /proc/net/unix says of a socket that listens under this name.
fn inode_of(line: &str, path: &Path) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let is_listening = fields.nth(3)? == "00010000";
    let inode = fields.nth(2)?.parse().ok()?;
    let name = fields.next()?;
    (is_listening && Path::new(name) == path).then_some(inode)
}

/// A line of /proc/net/tcp about a listening socket.
struct Listening {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

fn parse(line: &str) -> Option<Listening> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let is_listening = fields.nth(1)? == "0A";
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    is_listening.then_some(Listening {
        address: SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?),
        uid,
        inode,
    })
}

/// Words of 32 bits, each as this machine reads the bytes of the address.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for start in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The directory in /proc of the process that has this socket open.
fn holder(inode: u64) -> Option<PathBuf> {
    let name = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let mut processes = processes.filter(|path| pid_of(path).is_some());
    processes.find(|process| {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
            return false;
        };
        let mut targets = descriptors.flatten().map(|fd| fs::read_link(fd.path()));
        targets.any(|target| target.is_ok_and(|target| target.as_os_str() == name.as_str()))
    })
}

fn owner(process: &Path) -> Owner {
    let pid = pid_of(process).unwrap_or_default();
    let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let program = fs::read_link(process.join("exe")).unwrap_or_default();
    let own = std::env::current_exe().unwrap_or_default();
    // What has been replaced by an update is "websock (deleted)".
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.trim_end_matches(" (deleted)").to_owned()
    };
    match comm.trim() {
        _ if name(&program) == name(&own) => Owner::Websock(pid),
        "systemd" => Owner::Systemd(pid),
        "" => Owner::Other("a program".to_owned(), pid),
        comm => Owner::Other(comm.to_owned(), pid),
    }
}

fn pid_of(process: &Path) -> Option<u32> {
    process.file_name().and_then(OsStr::to_str)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn listening_sockets_are_found_in_what_the_kernel_prints() {
        let line = "   0: 0100007F:1FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let found = parse(line).expect("a socket");
        assert_eq!((found.uid, found.inode), (1_000, 4_711));
        assert!(parse(&line.replace(" 0A ", " 01 ")).is_none());
        assert!(parse("  sl  local_address rem_address   st tx_queue").is_none());
        if cfg!(target_endian = "little") {
            assert_eq!(found.address, ([127, 0, 0, 1], 8_096).into());
            let v6 = parse_ip("00000000000000000000000001000000");
            assert_eq!(v6, Some("::1".parse().expect("an address")));
        }
        assert_eq!(parse_ip("0100007"), None);
        assert_eq!(parse_ip("0100007F01000000"), None);
    }

    #[test]
    fn a_socket_file_is_found_to_be_ours() {
        let path = std::env::temp_dir().join(format!("websock-owner-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket");
        let owners = of_file(&path);
        drop(listener);
        fs::remove_file(&path).expect("removed");
        assert_eq!(owners, [Owner::Websock(std::process::id())]);
    }

    #[test]
    fn a_port_is_found_to_be_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let pid = std::process::id();
        assert_eq!(of_port(address), [Owner::Websock(pid)]);
        let any = SocketAddr::new([0, 0, 0, 0].into(), address.port());
        assert_eq!(of_port(any), [Owner::Websock(pid)]);
    }
}
