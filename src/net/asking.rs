//! Those who ask to take over: who they are, what they say, and why they are refused. What comes of it
//! stands in `handing_over`.

use std::io::{self, ErrorKind};
use std::time::Duration;

use log::{debug, warn};

use super::control_message::{FORMAT, Message};
use super::event_loop::EventLoop;
use super::handover::{Caller, CallerStage};
use super::loop_state::LoopState;
use super::system::System;
use crate::base::plain;

impl<Y: System> EventLoop<Y> {
    /// Takes those who call at the control socket.
    pub(super) fn accept_callers(&mut self) {
        for _ in 0..CALLS_PER_TURN {
            let Some(control) = self.system.control() else {
                return;
            };
            match control.accept() {
                Ok((key, _)) if self.handover.callers.len() >= MAX_CALLERS => control.hang_up(key),
                Ok((key, pid)) => self.handover.callers.push(Caller {
                    key,
                    pid,
                    stage: CallerStage::Silent,
                    deadline: Some(self.context.now + HELLO_TIME),
                }),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    if let Some(count) = self.handover.refusals.count(self.context.now) {
                        let error = plain(&error);
                        warn!("takeover refused to another user: {error} ({count} times)");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return debug!("control socket: {}", plain(&error)),
            }
        }
    }

    /// Sees to a caller who has sent something, has gone, or takes messages again.
    pub(super) fn handle_caller(&mut self, key: usize) {
        loop {
            let Some(control) = self.system.control() else {
                return;
            };
            let answered = match control.receive(key) {
                Ok(message) => self.handle_message(key, message),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => Err(reason_of(&error)),
            };
            match answered {
                Ok(()) => {}
                Err(reason) => return self.refuse_caller(key, &reason),
            }
        }
        if self.handover.active_key() == Some(key) {
            self.send_on();
        }
    }

    fn handle_message(&mut self, key: usize, message: Message) -> Result<(), String> {
        let Some(caller) = self.handover.caller_mut(key) else {
            return Err("nobody is there".to_owned());
        };
        match (caller.stage, message) {
            (CallerStage::Silent, Message::Hello { formats, version }) => {
                if !matches!(self.state, LoopState::Running) {
                    return Err("this server is stopping".to_owned());
                }
                if !formats.contains(&FORMAT) {
                    return Err(format!(
                        "websock {} hands over in format {FORMAT}, websock {version} reads {} to {}: \
                         restart it instead",
                        env!("CARGO_PKG_VERSION"),
                        formats.start(),
                        formats.end(),
                    ));
                }
                caller.stage = CallerStage::Greeted;
                caller.deadline = Some(self.context.now + PREPARATION_TIME);
                self.offer(key).map_err(|error| reason_of(&error))
            }
            (CallerStage::Greeted, Message::Begin) => {
                if self.handover.active_key().is_some() {
                    return Err("another takeover is under way".to_owned());
                }
                if !matches!(self.state, LoopState::Running) {
                    return Err("this server is stopping".to_owned());
                }
                self.begin_handover(key);
                Ok(())
            }
            (CallerStage::Begun, Message::Confirm { count }) => self.confirm(key, count),
            (_, Message::Refused { reason }) => Err(reason),
            (_, _) => Err("this message is not expected now".to_owned()),
        }
    }

    fn offer(&mut self, key: usize) -> io::Result<()> {
        let patience = self.handover.patience;
        let Some(control) = self.system.control() else {
            return Err(ErrorKind::NotConnected.into());
        };
        control.offer(key, &|listeners| Message::Offer {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            patience,
            listeners,
        })
    }

    /// Nothing comes of it, or nothing more.
    pub(super) fn refuse_caller(&mut self, key: usize, reason: &str) {
        if let Some(control) = self.system.control() {
            let reason = reason.to_owned();
            if let Err(error) = control.send(key, &Message::Refused { reason }, &[]) {
                debug!("successor not told: {}", plain(&error));
            }
            control.hang_up(key);
        }
        let is_active = self.handover.active_key() == Some(key);
        let callers = &mut self.handover.callers;
        let index = callers.iter().position(|caller| caller.key == key);
        let pid = index.map(|index| callers.swap_remove(index).pid);
        if is_active {
            self.go_on_alone();
            warn!(
                "takeover by process {} failed, going on: {reason}",
                pid.unwrap_or(0)
            );
        } else {
            debug!("takeover by process {} refused: {reason}", pid.unwrap_or(0));
        }
    }
}

/// What went wrong between the processes, for the log and for the successor.
pub(super) fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "it has gone".to_owned()
        }
        _ => plain(error),
    }
}

/// Most who may ask at a time: one is served, the others are told so.
const MAX_CALLERS: usize = 4;

/// Most who are taken in one turn, or hung up on: more than the kernel queues.
const CALLS_PER_TURN: usize = 32;

/// How long a caller may say nothing at first.
const HELLO_TIME: Duration = Duration::from_secs(5);

/// How long it may take to open what else it needs; nothing is held back meanwhile.
const PREPARATION_TIME: Duration = Duration::from_secs(60);
