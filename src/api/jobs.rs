//! The jobs that the demo page has run: each reports its progress by feedback, as a script would.

use std::time::Duration;

/// Jobs that are running.
#[derive(Debug, Default)]
pub struct Jobs(Vec<Job>);

#[derive(Debug)]
struct Job {
    /// As a JSON text.
    uuid: String,
    percent: u8,
    /// As all times here, counted from one and the same start.
    due: Duration,
}

impl Jobs {
    /// Starts a job that reports to the page with this uuid; `None` if too many are running.
    pub fn start(&mut self, uuid: &str, now: Duration) -> Option<()> {
        let is_room = self.0.len() < MAX_JOBS;
        is_room.then(|| {
            self.0.push(Job {
                uuid: serde_json::Value::from(uuid).to_string(),
                percent: 0,
                due: now,
            });
        })
    }

    /// When the next report is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.0.iter().map(|job| job.due).min()
    }

    /// A report that is due, as a packet; `None` if none is.
    pub fn report(&mut self, now: Duration) -> Option<String> {
        let index = self.0.iter().position(|job| job.due <= now)?;
        let job = self.0.get_mut(index)?;
        let (uuid, percent) = (&job.uuid, job.percent);
        let packet = format!(
            r#"{{"opcode":"feedback","uuid":{uuid},"message":{{"job":"demo","percent":{percent}}}}}"#
        );
        if percent >= 100 {
            self.0.swap_remove(index);
        } else {
            job.percent += STEP_PERCENT;
            job.due += STEP_TIME;
        }
        Some(packet)
    }
}

/// Most jobs at a time: it is a demonstration.
const MAX_JOBS: usize = 100;

const STEP_PERCENT: u8 = 5;

/// Three seconds for the whole of a job.
const STEP_TIME: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reports_from_0_to_100_percent_and_ends() {
        let (mut jobs, mut now) = (Jobs::default(), Duration::ZERO);
        jobs.start("a\"b", now).unwrap();
        let mut percents = Vec::new();
        while let Some(due) = jobs.next_due() {
            now = due;
            while let Some(report) = jobs.report(now) {
                let packet: serde_json::Value = serde_json::from_str(&report).unwrap();
                assert_eq!(packet["uuid"], "a\"b");
                percents.push(packet["message"]["percent"].as_u64().unwrap());
            }
        }
        assert_eq!(percents, (0..=20).map(|step| step * 5).collect::<Vec<_>>());
    }

    #[test]
    fn the_number_of_jobs_is_bounded() {
        let (mut jobs, now) = (Jobs::default(), Duration::ZERO);
        let started = (0..1000).filter(|_| jobs.start("x", now).is_some()).count();
        assert_eq!(started, MAX_JOBS);
    }
}
