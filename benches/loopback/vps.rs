//! What a machine with one core and 512 MB carries.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::growth::descriptors;
use crate::load::Flow;
use crate::rows;
use crate::server::Server;
use crate::wire::Security;

/// The machine's memory, all of it the server's, in bytes.
const MEMORY_BYTES: u64 = 512 << 20;

/// Most tabs that are opened.
const MAX_TABS: usize = 15_000;

/// Runs the server on one core (as all rows do) within [`MEMORY_BYTES`], opens as many idle tabs as
/// descriptors allow, and measures what it still does then.
pub(crate) fn run(time: Duration, is_json: bool, is_test: bool) {
    let server = Server::start_program(Security::Plain, "loglevel=warn\n");
    let fence = Fence::around(server.process_id());
    let most = if is_test { 20 } else { MAX_TABS };
    let count = descriptors().saturating_sub(500).min(most);
    let (memory_before, kernel_before) = (server.pss_bytes(), kernel_bytes());
    let mut tabs: Vec<Flow> = rows::pages(&server, count);
    let memory = server.pss_bytes();
    let kernel = kernel_bytes().saturating_sub(kernel_before);
    let broadcast = rows::broadcast_to(&server, &mut tabs, 1, time);
    let memory_after = server.pss_bytes();
    let feedback = rows::feedback_on(&server, 8, time);
    let push = rows::push_on(&server, 8, time);
    let per_second = |outcome: &crate::load::Outcome| outcome.operations as f64 / outcome.seconds;
    let (feedback, push) = (per_second(&feedback), per_second(&push));
    let to_all = broadcast.percentile(50).as_secs_f64() * 1e3;
    let held_by = fence.description();
    if is_json {
        println!(
            r#"{{"row":"vps","held_by":"{held_by}","tabs":{count},"pss_before":{memory_before},"pss":{memory},"pss_after_broadcasts":{memory_after},"kernel_bytes":{kernel},"broadcast_ms":{to_all:.1},"feedback_per_second":{feedback:.0},"push_per_second":{push:.0}}}"#
        );
        return;
    }
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("vps: one core, 512 MB ({held_by})");
    let end = if count < most {
        "the open-file limit of this machine ends it"
    } else {
        "no more were tried"
    };
    println!("  {count} idle tabs; {end}");
    println!(
        "  server's memory (PSS) {:.1} MB, {:.1} before the first tab, {:.1} after broadcasts",
        megabytes(memory),
        megabytes(memory_before),
        megabytes(memory_after)
    );
    println!(
        "  the kernel's {:.1} MB (sockets and their data, of both ends of each connection)",
        megabytes(kernel)
    );
    println!("  a broadcast of 128 bytes is with all of them after {to_all:.1} ms (median)");
    println!("  beside them {feedback:.0} feedbacks/s over WebSocket, {push:.0}/s by push");
}

/// The kernel's memory for small objects, sockets among them, and for what TCP sockets hold, in
/// bytes, of this whole machine.
fn kernel_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let slab = figure_behind(&meminfo, "Slab:").unwrap_or(0) * 1024;
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| figure_behind(line, "mem")).unwrap_or(0);
    slab + pages * rustix::param::page_size() as u64
}

/// The number that follows a word.
fn figure_behind(text: &str, word: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    words.find(|&found| found == word)?;
    words.next()?.parse().ok()
}

/// What keeps a process within [`MEMORY_BYTES`].
enum Fence {
    /// A control group; removed with this value once the process is gone.
    ControlGroup(PathBuf),
    /// The size of its address space.
    AddressSpace,
    None,
}

impl Fence {
    fn around(process_id: u32) -> Self {
        // Version 2, and the memory controller of version 1.
        let places = [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ];
        for (parent, limit) in places {
            let group = PathBuf::from(parent).join(format!("websock-bench-{process_id}"));
            let is_limited = fs::create_dir(&group).is_ok()
                && fs::write(group.join(limit), MEMORY_BYTES.to_string()).is_ok()
                && fs::write(group.join("cgroup.procs"), process_id.to_string()).is_ok();
            if is_limited {
                return Self::ControlGroup(group);
            }
            let _ = fs::remove_dir(&group);
        }
        let limited = Command::new("prlimit")
            .arg(format!("--as={MEMORY_BYTES}"))
            .arg(format!("--pid={process_id}"))
            .status();
        match limited {
            Ok(status) if status.success() => Self::AddressSpace,
            _ => Self::None,
        }
    }

    fn description(&self) -> &'static str {
        match self {
            Self::ControlGroup(_) => "by a control group",
            Self::AddressSpace => "by RLIMIT_AS, as no control group could be made",
            Self::None => "memory not held: no control group and no prlimit",
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Self::ControlGroup(group) = self {
            // Its processes go back to the one above before it can be removed.
            let parent = group.parent().map(|parent| parent.join("cgroup.procs"));
            let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for process in processes.lines() {
                let _ = parent.as_ref().map(|parent| fs::write(parent, process));
            }
            let _ = fs::remove_dir(group);
        }
    }
}
