//! What the system says of this process (proc(5)).

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

/// What the process has used, and uses now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Memory in all.
    pub virtual_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// Most of them.
    pub max_files: u64,
    /// When the process was started, in seconds since 1970.
    pub start_time: f64,
}

/// Asks the system; `None` where there is no /proc. `socket_count`: sockets that the caller has.
///
/// Nothing of this waits for a disk.
pub fn usage(socket_count: usize) -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot_time: f64 = field(&boot, "btime")?.parse().ok()?;
    let times = Times::read(&stat)?;
    let kilobytes = |name| field(&status, name)?.parse::<u64>().ok();
    Some(Usage {
        cpu_seconds: times.cpu / TICKS_PER_SECOND,
        resident_bytes: kilobytes("VmRSS:")? << 10,
        virtual_bytes: kilobytes("VmSize:")? << 10,
        open_files: open_files(socket_count),
        max_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        start_time: boot_time + times.start / TICKS_PER_SECOND,
    })
}

/// Linux 6.2 and later tell the number as the directory's size. Before, each has to be looked at,
/// which would take too long for tens of thousands: then it is what the caller knows, and some.
fn open_files(socket_count: usize) -> u64 {
    let told = fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len());
    if told > 0 {
        return told;
    }
    if socket_count > MAX_COUNTED {
        return socket_count as u64 + RESERVE;
    }
    // The directory itself is open meanwhile.
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64 - 1)
}

/// The word behind `name` at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()
}

/// In ticks.
struct Times {
    cpu: f64,
    start: f64,
}

impl Times {
    /// Of the fields of /proc/self/stat. The second one is the program's name in parentheses, which
    /// may hold blanks and parentheses itself.
    fn read(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The numbers of proc(5), less the two before and one because it counts from 1.
        let number = |position: usize| fields.get(position - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu: number(14)? + number(15)?,
            start: number(22)?,
        })
    }
}

/// USER_HZ, which is the same on all of Linux' architectures that Rust's standard library knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Descriptors up to which they are counted one by one.
const MAX_COUNTED: usize = 5_000;

/// Descriptors besides sockets, where they are not counted.
const RESERVE: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "4711 (we (b) sock) S 1 4711 4711 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 3 0 \
                    123456 1000 200";
        let times = Times::read(stat).unwrap();
        assert_eq!((times.cpu, times.start), (200.0, 123_456.0));
        assert!(Times::read("4711 (a) S").is_none());
    }

    #[test]
    fn this_process_uses_something() {
        let files = [fs::File::open("/proc/self/stat").unwrap()];
        let usage = usage(0).unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.virtual_bytes > usage.resident_bytes);
        assert!(usage.open_files >= 3 + files.len() as u64, "{usage:?}");
        assert!(usage.max_files >= usage.open_files, "{usage:?}");
        assert!(usage.start_time > 1.6e9, "{usage:?}");
    }
}
