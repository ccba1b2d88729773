//! A restart with thousands of tabs that have missed as much as is kept for each: how long until all
//! are back and have everything, and how much memory that takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use plotters::prelude::*;
use websock::protocol::frame::{Header, Role, Rsv1};

use crate::rows;
use crate::server::Server;
use crate::wire::{NEXT_LEN, Security};

/// Who has said what every tab has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    /// A script, to each tab by itself.
    Own,
    /// A page, to all.
    Everybody,
}

/// Messages that are kept of each stream (`replaySize`).
const RING_LEN: usize = 100;
const THREADS: usize = 8;

/// What a tab knows of itself.
struct Known {
    uuid: String,
    secret: String,
    cursor: String,
}

/// What has been measured.
struct Line {
    name: &'static str,
    /// Since the new server was started, in order: when each tab had everything.
    complete: Vec<Duration>,
}

/// Restarts a server for so many tabs, with each kind of ring, and draws when they are complete.
pub(crate) fn run(count: usize, svg: &Path) {
    let rings = [
        (Ring::Own, 128, "100 messages of 128 bytes for each tab"),
        (Ring::Everybody, 1024, "100 broadcasts of 1 KiB"),
    ];
    let lines = rings.map(|(ring, len, name)| Line {
        name,
        complete: restart(ring, len, count, name),
    });
    draw(svg, &lines).unwrap();
    println!("{}", svg.display());
}

fn restart(ring: Ring, len: usize, count: usize, name: &str) -> Vec<Duration> {
    let folder = std::env::temp_dir().join(format!("websock-restart-{}", std::process::id()));
    let ini = format!(
        "{}stateDir={}\nreplayTime=600\nmemoryLimit=4G\nreplayMemory=1G\n",
        rows::QUIET,
        folder.display()
    );
    let server = Server::start_program(Security::Plain, &ini);
    let known: Vec<Known> = (0..count).map(|_| Tab::open(&server).known()).collect();
    let began = Instant::now();
    match ring {
        Ring::Own => fill_own(&server, &known, len),
        Ring::Everybody => fill_everybody(&server, len),
    }
    let filled = began.elapsed();
    let before = server.peak_bytes();
    let began = Instant::now();
    server.stop();
    let stopped = began.elapsed();

    let began = Instant::now();
    let server = Server::start_program(Security::Plain, &ini);
    drop(Tab::open(&server));
    let serving = began.elapsed();
    let restored = server.peak_bytes();
    let mut complete: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = known
            .chunks(count.div_ceil(THREADS))
            .map(|known| scope.spawn(|| come_back(&server, known, began)))
            .collect();
        let done = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        done.collect()
    });
    complete.sort_unstable();
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let at = |percent: usize| complete[(count * percent / 100).min(count - 1)].as_secs_f64();
    println!(
        "restart, {count} tabs, {name} (filled in {:.1} s)",
        filled.as_secs_f64()
    );
    println!(
        "  stopped after {:.2} s; the first page is ready {:.2} s after the start; complete: half \
         after {:.2} s, 99 % {:.2} s, all {:.2} s",
        stopped.as_secs_f64(),
        serving.as_secs_f64(),
        at(50),
        at(99),
        at(100)
    );
    println!(
        "  most memory: {:.1} MB before, {:.1} MB when restored, {:.1} MB with all back; CPU {:.2} s",
        megabytes(before),
        megabytes(restored),
        megabytes(server.peak_bytes()),
        server.cpu_time().as_secs_f64()
    );
    let _ = std::fs::remove_dir_all(folder);
    complete
}

/// All connect before the first one reads what it has missed. When each has got it.
fn come_back(server: &Server, known: &[Known], began: Instant) -> Vec<Duration> {
    let mut tabs: Vec<Tab> = known.iter().map(|_| Tab::open(server)).collect();
    for (tab, known) in tabs.iter_mut().zip(known) {
        tab.resume(known);
    }
    let mut complete = Vec::new();
    for tab in &mut tabs {
        tab.await_missed();
        complete.push(began.elapsed());
    }
    complete
}

/// A page that has opted in.
struct Tab {
    stream: TcpStream,
    /// What has been read of frames that are not whole yet.
    input: Vec<u8>,
    ready: String,
}

impl Tab {
    /// Connects and reads `ready`.
    fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let timeout = Some(Duration::from_secs(120));
        stream.set_read_timeout(timeout).unwrap();
        let request = rows::opening_at("/web?resume=1", "");
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 512];
        while !answer.ends_with(b"\"}") {
            let len = stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..len]);
        }
        Self {
            stream,
            input: Vec::new(),
            ready: String::from_utf8_lossy(&answer).into_owned(),
        }
    }

    fn known(&self) -> Known {
        let value = |key: &str| {
            let rest = self.ready.split(&format!(r#""{key}":""#)).nth(1);
            let value = rest.and_then(|rest| rest.split('"').next());
            value.expect("it is in ready").to_owned()
        };
        Known {
            uuid: value("uuid"),
            secret: value("resume"),
            cursor: value("cursor"),
        }
    }

    fn resume(&mut self, known: &Known) {
        let Known {
            uuid,
            secret,
            cursor,
        } = known;
        let packet = format!(
            r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{secret}","cursor":"{cursor}"}}"#
        );
        self.stream
            .write_all(&rows::masked(packet.as_bytes()))
            .unwrap();
    }

    /// Reads `next`, `resumed` and all that was missed.
    fn await_missed(&mut self) {
        let mut count = 0;
        let mut chunk = vec![0; 64 << 10];
        while count < RING_LEN + 2 {
            let len = self.stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "closed after {count} messages");
            self.input.extend_from_slice(&chunk[..len]);
            let mut start = 0;
            while let Some((header, head_len)) =
                Header::parse(&self.input[start..], Role::Client, Rsv1::Forbidden).unwrap()
            {
                let payload = start + head_len;
                let end = payload + header.payload_len as usize;
                if end > self.input.len() {
                    break;
                }
                if count == 1 {
                    let text = String::from_utf8_lossy(&self.input[payload..end]);
                    let all = format!(r#""replayed":{RING_LEN},"#);
                    assert!(text.contains(&all), "{text}");
                }
                start = end;
                count += 1;
            }
            self.input.drain(..start);
        }
        assert!(self.input.is_empty() && count == RING_LEN + 2);
    }
}

/// Sends a full ring to each tab.
fn fill_own(server: &Server, known: &[Known], len: usize) {
    let mut script = Sender::open(server, rows::SCRIPT_HEADERS);
    for Known { uuid, .. } in known {
        let packet = rows::packet("feedback", "", len);
        let packet = packet.replacen(
            r#","message""#,
            &format!(r#","uuid":"{uuid}","message""#),
            1,
        );
        script.send(&packet, RING_LEN);
    }
}

/// Sends a full ring to all.
fn fill_everybody(server: &Server, len: usize) {
    let packet = rows::packet("broadcast", "", len);
    Sender::open(server, "").send(&packet, RING_LEN);
}

/// Whoever fills the rings.
struct Sender(TcpStream);

impl Sender {
    fn open(server: &Server, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&rows::opening(headers)).unwrap();
        let mut ready = vec![0; rows::HEAD_LEN + rows::READY_LEN];
        stream.read_exact(&mut ready).unwrap();
        Self(stream)
    }

    /// Sends a packet so many times, and reads as many answers.
    fn send(&mut self, packet: &str, count: usize) {
        let messages = rows::masked(packet.as_bytes()).repeat(count);
        self.0.write_all(&messages).unwrap();
        let mut answers = vec![0; count * NEXT_LEN];
        self.0.read_exact(&mut answers).unwrap();
    }
}

// ---- the plot

const COLORS: [RGBColor; 2] = [RGBColor(0x1f, 0x77, 0xb4), RGBColor(0xd6, 0x27, 0x28)];

fn draw(svg: &Path, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let last = lines.iter().filter_map(|line| line.complete.last());
    let last = last.map(Duration::as_secs_f64).fold(0.1, f64::max);
    let count = lines.first().map_or(0, |line| line.complete.len());
    let root = SVGBackend::new(svg, (860, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "tabs that are back and have all they had missed",
            ("sans-serif", 18),
        )
        .margin(12)
        .margin_right(28)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last * 1.05, 0.0..count as f64 * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("seconds since the new server was started")
        .label_style(("sans-serif", 14))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (line, color) in lines.iter().zip(COLORS) {
        let step = (line.complete.len() / 200).max(1);
        let points = line.complete.iter().enumerate();
        let points = points.filter(|(index, _)| index % step == 0 || index + 1 == count);
        let points = points.map(|(index, at)| (at.as_secs_f64(), (index + 1) as f64));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .draw()?;
    root.present()?;
    Ok(())
}
