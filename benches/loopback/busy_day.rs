//! A busy day in short: many tabs, scripts that push progress, a broadcast each second.

use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::Client;
use crate::load::percentile;
use crate::server::Server;
use crate::wire::Security;

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) tabs: usize,
    /// Half of them over WebSocket, half by push.
    pub(crate) scripts: usize,
    /// What one script sends in a second.
    pub(crate) per_script: usize,
    pub(crate) time: Duration,
}

/// What has arrived, each with the time from its sending.
#[derive(Default)]
struct Arrivals {
    feedback: Vec<Duration>,
    broadcast: Vec<Duration>,
}

/// Keeps to the plan, shows that nothing is lost, and prints what it costs.
pub(crate) fn run(plan: Plan, is_json: bool) {
    let server = Server::start_program(Security::Plain, "loglevel=warn\n");
    let memory_before = server.pss_bytes();
    let mut day = Day::open(&server, plan);
    let memory_open = server.pss_bytes();
    let (began, cpu_before) = (Instant::now(), server.cpu_time());
    day.pass();
    let (elapsed, cpu) = (began.elapsed(), server.cpu_time() - cpu_before);
    let memory_after = server.pss_bytes();
    let share = 100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64();
    let Arrivals {
        mut feedback,
        mut broadcast,
    } = day.arrivals;
    assert_eq!(feedback.len(), day.sent, "feedbacks were lost");
    assert_eq!(
        broadcast.len(),
        day.broadcasts * (plan.tabs - 1),
        "broadcasts were lost"
    );
    feedback.sort_unstable();
    broadcast.sort_unstable();
    let micros = |sorted: &[Duration], percent| percentile(sorted, percent).as_secs_f64() * 1e6;
    let (f50, f99) = (micros(&feedback, 50), micros(&feedback, 99));
    let (b50, b99) = (micros(&broadcast, 50), micros(&broadcast, 99));
    if is_json {
        println!(
            r#"{{"row":"busy-day","tabs":{},"scripts":{},"seconds":{:.0},"feedbacks":{},"broadcasts":{},"cpu_percent":{share:.2},"feedback_p50_us":{f50:.0},"feedback_p99_us":{f99:.0},"broadcast_p50_us":{b50:.0},"broadcast_p99_us":{b99:.0},"pss_before":{memory_before},"pss_open":{memory_open},"pss_after":{memory_after}}}"#,
            plan.tabs,
            plan.scripts,
            elapsed.as_secs_f64(),
            day.sent,
            day.broadcasts
        );
        return;
    }
    println!(
        "busy-day: {} tabs, {} scripts, {:.0} s: {} feedbacks, {} broadcasts, none lost",
        plan.tabs,
        plan.scripts,
        elapsed.as_secs_f64(),
        day.sent,
        day.broadcasts
    );
    println!("  CPU: {share:.1} % of a core");
    println!("  feedback at its tab after {f50:.0} us (p50), {f99:.0} us (p99)");
    println!("  broadcast at a tab after {b50:.0} us (p50), {b99:.0} us (p99)");
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "  memory (PSS): {:.1} MB at the start, {:.1} with all tabs, {:.1} at the end",
        megabytes(memory_before),
        megabytes(memory_open),
        megabytes(memory_after)
    );
}

struct Day {
    plan: Plan,
    poll: Poll,
    /// Tabs first, then scripts.
    clients: Vec<Client>,
    began: Instant,
    sent: usize,
    broadcasts: usize,
    arrivals: Arrivals,
}

impl Day {
    fn open(server: &Server, plan: Plan) -> Self {
        let poll = Poll::new().unwrap();
        let clients = (0..plan.tabs + plan.scripts)
            .map(|index| {
                let mut client = match index.checked_sub(plan.tabs) {
                    None => Client::open_as(server, &format!("Ident: tab{index}\r\n")),
                    Some(script) if script % 2 == 0 => Client::open_script(server),
                    Some(_) => Client::open_pushing(server),
                };
                poll.registry()
                    .register(client.socket(), Token(index), Interest::READABLE)
                    .unwrap();
                client
            })
            .collect();
        Self {
            plan,
            poll,
            clients,
            began: Instant::now(),
            sent: 0,
            broadcasts: 0,
            arrivals: Arrivals::default(),
        }
    }

    /// Sends as planned, and goes on receiving until all has arrived.
    fn pass(&mut self) {
        self.began = Instant::now();
        let mut events = Events::with_capacity(1024);
        let mut last_arrival = Instant::now();
        loop {
            let elapsed = self.began.elapsed();
            let is_over = elapsed >= self.plan.time;
            if !is_over {
                self.send_what_is_due(elapsed);
            } else if self.has_all() {
                return;
            }
            self.poll
                .poll(&mut events, Some(Duration::from_millis(1)))
                .unwrap();
            if !events.is_empty() {
                last_arrival = Instant::now();
            }
            assert!(
                !is_over || last_arrival.elapsed() < Duration::from_secs(10),
                "nothing arrives any more: {} of {} feedbacks",
                self.arrivals.feedback.len(),
                self.sent
            );
            for event in &events {
                self.receive(event.token().0);
            }
        }
    }

    fn has_all(&self) -> bool {
        self.arrivals.feedback.len() == self.sent
            && self.arrivals.broadcast.len() == self.broadcasts * (self.plan.tabs - 1)
    }

    /// Sends are spread evenly over the scripts and over each second.
    fn send_what_is_due(&mut self, elapsed: Duration) {
        let per_second = self.plan.scripts * self.plan.per_script;
        let due = (elapsed.as_secs_f64() * per_second as f64) as usize;
        while self.sent < due {
            // A stride that is coprime to any number of tabs below it reaches all of them.
            let tab = self.sent * 7_919 % self.plan.tabs;
            let at = self.began.elapsed().as_nanos();
            let packet = format!(r#"{{"opcode":"feedback","ident":"tab{tab}","at":{at}}}"#);
            let script = self.plan.tabs + self.sent % self.plan.scripts;
            self.clients[script].send_packet(&packet);
            self.sent += 1;
        }
        while self.broadcasts < elapsed.as_secs() as usize {
            let at = self.began.elapsed().as_nanos();
            self.clients[0].send_packet(&format!(r#"{{"opcode":"broadcast","at":{at}}}"#));
            self.broadcasts += 1;
        }
    }

    fn receive(&mut self, index: usize) {
        let now = self.began.elapsed();
        let arrivals = &mut self.arrivals;
        self.clients[index].receive(|text| {
            let at = text.split(r#""at":"#).nth(1);
            let at = at.and_then(|at| at.trim_end_matches('}').parse().ok());
            let Some(at) = at.map(Duration::from_nanos) else {
                return;
            };
            let took = now.saturating_sub(at);
            if text.starts_with(r#"{"opcode":"broadcast""#) {
                arrivals.broadcast.push(took);
            } else {
                arrivals.feedback.push(took);
            }
        });
    }
}

/// What is planned without other wishes; a small one shows that it still works.
pub(crate) fn plan(time: Duration, is_test: bool) -> Plan {
    let (tabs, scripts) = if is_test { (10, 4) } else { (10_000, 200) };
    Plan {
        tabs,
        scripts,
        per_script: 5,
        time: if is_test {
            Duration::from_millis(1100)
        } else {
            time
        },
    }
}
