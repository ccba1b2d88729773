//! Starts the program's file anew, which may be another version by now, to take over from this
//! process.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;

use log::{error, info, warn};

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Successor {
    /// Looks where the program's file is, which has to be done before another takes its place.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let arguments = env::args_os().skip(1);
        Ok(Self {
            program: env::current_exe()?,
            arguments: arguments.filter(|argument| argument != TAKEOVER).collect(),
        })
    }

    /// Starts it, with the same arguments and `--takeover`. What becomes of it is logged.
    pub fn start(&self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(TAKEOVER);
        // These are about this process; the successor takes its sockets from it.
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        let program = self.program.display().to_string();
        // Starting a program and waiting for its end are not for the loop.
        let started = thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || match command.spawn() {
                Ok(child) => watch(child, &program),
                Err(error) => error!("SIGUSR2: {program} cannot be started: {error}"),
            });
        if let Err(error) = started {
            error!("SIGUSR2: no thread for it: {error}");
        }
    }
}

/// One that has taken over outlives this process, so the end of this wait is bad news.
fn watch(mut child: Child, program: &str) {
    info!("SIGUSR2: {program} is started as process {}", child.id());
    match child.wait() {
        Ok(status) => warn!("the successor has ended, {status}; its last lines say why"),
        Err(error) => warn!("the successor is not watched: {error}"),
    }
}

const TAKEOVER: &str = "--takeover";
