//! [`Fleet`]: one server after the other with the same ini file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::server::{Directory, Run, binary};
use crate::harness::{Conn, Request, connect_to};

/// The process that serves, and those that come after it.
pub(crate) struct Fleet {
    pub(crate) run: Run,
    pub(crate) address: SocketAddr,
    pub(crate) directory: Directory,
    ini: PathBuf,
}

impl Fleet {
    /// Starts the first one. `{dir}` in the text is the directory of the ini file.
    #[track_caller]
    pub(crate) fn start(ini: &str) -> Self {
        let directory = Directory::new();
        let ini = directory.write_ini(&with_socket(ini));
        let run = Run::start(command(&ini, &[]));
        let address = run.wait_for_addresses(1)[0];
        Self {
            run,
            address,
            directory,
            ini,
        }
    }

    /// The next one will read this.
    pub(crate) fn rewrite(&self, ini: &str) {
        self.directory.write_ini(&with_socket(ini));
    }

    /// Where successors ask.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.directory.path.join("control")
    }

    /// Starts one that wants to take over.
    #[track_caller]
    pub(crate) fn successor(&self) -> Run {
        Run::start(command(&self.ini, &["--takeover"]))
    }

    /// The running one is replaced; it has ended well when this returns.
    #[track_caller]
    pub(crate) fn replace(&mut self) -> Run {
        let successor = self.successor();
        self.succeed(successor)
    }

    /// Waits until this one has taken over.
    #[track_caller]
    pub(crate) fn succeed(&mut self, successor: Run) -> Run {
        successor.wait_for_log("connections taken over from process");
        let predecessor = std::mem::replace(&mut self.run, successor);
        assert!(predecessor.wait_exit().success());
        predecessor
    }

    /// A connection on which `ready` has come.
    #[track_caller]
    pub(crate) fn open(&self, request: &Request) -> Conn {
        connect_to(self.address).open(request)
    }

    #[track_caller]
    pub(crate) fn web(&self) -> Conn {
        self.open(&Request::to("/web"))
    }
}

fn command(ini: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("-i").arg(ini).args(arguments);
    command
}

fn with_socket(ini: &str) -> String {
    format!("takeoverSocket={{dir}}/control\n{ini}")
}
