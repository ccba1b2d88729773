//! What the loop knows of itself, told when the application asks: by value, so that nobody else ever
//! reaches into it. And the one place that says why the server is not ready.

use super::event_loop::EventLoop;
use super::system::System;
use crate::api::NotReady;
use crate::api::figures::{
    CertificateFigures, LoopFigures, MemoryFigures, ProcessFigures, QueueFigures,
};
use crate::app::{Detail, LinkFigures, Report};
use crate::ops::process;

impl<Y: System> EventLoop<Y> {
    /// Why nobody new should be sent here; empty: they may.
    pub fn unready(&self) -> Vec<NotReady> {
        let is_draining = !self.app.availability().is_ready();
        // Spare buffers keep nobody out.
        let is_scarce = self.held_bytes() > self.scarce_bytes();
        let is_broken = self.certificates.is_broken();
        let causes = [
            (NotReady::Draining, is_draining),
            (NotReady::Memory, is_scarce),
            (NotReady::Clients, self.app.is_full()),
            (NotReady::Certificate, is_broken),
        ];
        let causes = causes.into_iter().filter(|(_, holds)| *holds);
        causes.map(|(cause, _)| cause).collect()
    }

    /// What is known, for a request. Connections are looked at one by one: nothing else is kept of
    /// their queues, so that nobody pays for it but who asks.
    pub(super) fn report(&mut self, detail: Detail) -> Box<Report> {
        let mut queues = QueueFigures {
            limit_bytes: self.context.limits.max_queue_bytes,
            ..QueueFigures::default()
        };
        let mut links = Vec::new();
        let slot_count = match detail {
            Detail::Readiness => 0,
            Detail::Figures | Detail::Connections => self.links.table.slot_count(),
        };
        for slot in 0..slot_count {
            let Some(link) = self.links.table.slot_mut(slot) else {
                continue;
            };
            let queued_bytes = link.connection.output_len();
            queues.total_bytes += queued_bytes;
            queues.longest_bytes = queues.longest_bytes.max(queued_bytes);
            if detail == Detail::Connections && link.connection.is_open() {
                links.push(LinkFigures {
                    id: link.id,
                    ip: link.peer.ip,
                    queued_bytes,
                });
            }
        }
        Box::new(Report {
            figures: self.figures(detail, queues),
            links,
            log: match detail {
                Detail::Readiness | Detail::Figures => Vec::new(),
                Detail::Connections => (self.log_tail)(),
            },
        })
    }

    fn figures(&self, detail: Detail, queues: QueueFigures) -> LoopFigures {
        LoopFigures {
            unready: self.unready(),
            accepted_count: self.counts.accepted_count,
            pending_count: self.links.pending.len(),
            max_pending: self.settings.max_pending,
            traffic: self.context.traffic,
            deliveries: self.links.counts.deliveries,
            closings: self.links.counts.closings.clone(),
            refusals: self.acceptor.refusal_counts().clone(),
            failed_handshake_count: self.counts.failed_handshake_count,
            queues,
            memory: MemoryFigures {
                held_bytes: self.total_bytes(),
                limit_bytes: self.settings.memory_limit_bytes,
            },
            turn_durations: self.counts.turn_durations.clone(),
            backlogs: self.counts.backlogs.clone(),
            certificates: self.certificate_figures(),
            failed_certificate_count: self.certificates.failed_count(),
            process: match detail {
                Detail::Readiness => None,
                Detail::Figures | Detail::Connections => self.process_figures(),
            },
        }
    }

    fn certificate_figures(&self) -> Vec<CertificateFigures> {
        let in_force = self.certificates.in_force().into_iter();
        let figures = in_force.map(|certificate| CertificateFigures {
            file: certificate.file.to_string_lossy().into_owned(),
            name: certificate.name,
            not_after: certificate.not_after,
        });
        figures.collect()
    }

    fn process_figures(&self) -> Option<ProcessFigures> {
        let usage = process::usage(self.links.table.len())?;
        Some(ProcessFigures {
            cpu_seconds: usage.cpu_seconds,
            resident_bytes: usage.resident_bytes,
            virtual_bytes: usage.virtual_bytes,
            open_files: usage.open_files,
            max_files: usage.max_files,
            start_time: usage.start_time,
        })
    }
}
