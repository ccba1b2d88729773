//! Names of hosts and groups, as the system knows them.
//!
//! The C library asks whom `/etc/nsswitch.conf` names, and loads a module for each. Linked into a
//! static program, it can load only those of its own version: on any other system a lookup ends the
//! process (SIGFPE on Debian 13 for a program of Debian 12). So a static program lets `getent` of
//! that system look names up. Where there is none, as in an empty container, there are no modules
//! either, and the C library's own way (`/etc/hosts`, DNS, `/etc/group`) is safe.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::unistd::Group;

/// Whether the C library is linked statically; only the program itself knows it.
static IS_STATIC: AtomicBool = AtomicBool::new(false);

/// From now on names are looked up as a statically linked program has to.
pub fn link_is_static() {
    IS_STATIC.store(true, Ordering::Relaxed);
}

/// The addresses of `host`, a name or an address, with `port`, none of them twice. Takes as long as
/// the system's resolver does.
///
/// # Errors
/// If the name is not known, or the system does not say.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match look_up(host, port) {
        // An empty container has no /etc/hosts (RFC 6761, section 6.3).
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            Ok(both.map(|ip| SocketAddr::new(ip, port)).to_vec())
        }
        found => found,
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(answer) = ask_getent("ahosts", host) {
        return addresses_in(&answer?, port);
    }
    let mut addresses = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        add(&mut addresses, address);
    }
    Ok(addresses)
}

/// The number of the group `name`, which may be a number itself; `None`: there is none.
///
/// # Errors
/// If the system does not say.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(gid) = name.parse() {
        return Ok(Some(gid));
    }
    if let Some(answer) = ask_getent("group", name) {
        let answer = answer?;
        // www-data:x:33:
        return Ok(answer.split(':').nth(2).and_then(|gid| gid.parse().ok()));
    }
    match Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| group.gid.as_raw())),
        // There is no /etc/group.
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What `getent` prints, nothing if it does not know the name; `None`: it is not to be asked, or
/// the system has none.
fn ask_getent(database: &str, name: &str) -> Option<io::Result<String>> {
    if !IS_STATIC.load(Ordering::Relaxed) {
        return None;
    }
    match getent(database, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(io::Error::other(format!("getent: {error}")))),
        Ok(output) => Some(Ok(String::from_utf8_lossy(&output.stdout).into_owned())),
    }
}

fn getent(database: &str, name: &str) -> io::Result<Output> {
    let mut child = Command::new("getent")
        .args([database, "--", name])
        // A pipe: for no input at all the library would open /dev/null, which may be missing.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdin.take());
    child.wait_with_output()
}

/// Reads the lines of `getent ahosts`: an address, a kind of socket, a name.
fn addresses_in(answer: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    let words = answer.lines().filter_map(|line| line.split(' ').next());
    for ip in words.filter_map(|word| word.parse::<IpAddr>().ok()) {
        add(&mut addresses, SocketAddr::new(ip, port));
    }
    match addresses.is_empty() {
        true => Err(io::Error::other("name or service not known")),
        false => Ok(addresses),
    }
}

fn add(addresses: &mut Vec<SocketAddr>, address: SocketAddr) {
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_and_needs_nobody() {
        for (host, expected) in [("192.0.2.1", "192.0.2.1:80"), ("::1", "[::1]:80")] {
            let found = resolve(host, 80).unwrap();
            assert_eq!(found, [expected.parse().unwrap()], "{host}");
        }
    }

    #[test]
    fn a_name_of_this_machine_is_found_and_an_impossible_one_is_not() {
        let found = resolve("localhost", 80).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
        assert!(resolve("no such name", 80).is_err());
    }

    #[test]
    fn what_getent_prints_is_understood() {
        let table = [
            (
                "::1             STREAM localhost\n::1             DGRAM  \n::1             RAW\n",
                Some(vec!["[::1]:1"]),
            ),
            (
                "192.0.2.7 STREAM a\n192.0.2.7 DGRAM\n2001:db8::1 STREAM\n",
                Some(vec!["192.0.2.7:1", "[2001:db8::1]:1"]),
            ),
            ("fe80::1%eth0 STREAM a\n", None),
            ("", None),
            ("garbage\n\n", None),
        ];
        for (answer, expected) in table {
            let found = addresses_in(answer, 1).ok();
            let expected =
                expected.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
            assert_eq!(found, expected, "{answer:?}");
        }
    }

    #[test]
    fn getent_and_the_library_agree() {
        let answer = getent("ahosts", "127.0.0.1").unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        let found = addresses_in(&answer, 9).unwrap();
        assert_eq!(found, resolve("127.0.0.1", 9).unwrap());
        let answer = getent("ahosts", "-no-option").unwrap();
        assert!(answer.stdout.is_empty());
    }

    #[test]
    fn groups_are_found_by_name_and_by_number() {
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(group_id("4711").unwrap(), Some(4711));
        assert_eq!(group_id("no-such-group").unwrap(), None);
    }
}
