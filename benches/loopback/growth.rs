//! How the cost of each thing grows with the number of connections: a table, and a plot.

use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use crate::rows;
use crate::server::{Kind, Server};
use crate::wire::Security;

/// Numbers of connections, as far as descriptors allow.
const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 15_000];

/// One line of the plot: what is done, and its cost by number of connections.
struct Line {
    name: &'static str,
    points: Vec<(usize, f64)>,
}

/// A measurement with so many connections for so long.
type Measure = fn(usize, Duration) -> f64;

const CPU_ROWS: [(&str, Measure); 5] = [
    ("echo of 64 bytes", |count, time| {
        let server = Server::start(Kind::Websock);
        rows::echo(&server, Kind::Websock, count, 1, 64, time).cpu_micros()
    }),
    ("broadcast of 128 bytes, per page", |count, time| {
        rows::broadcast(count, 1, time).cpu_micros()
    }),
    ("feedback from 8 scripts", |count, time| {
        rows::feedback(count.min(8), count, time).cpu_micros()
    }),
    ("push from 8 scripts", |count, time| {
        rows::push(count.min(8), count, time).cpu_micros()
    }),
    ("connect, ready, close", |count, time| {
        rows::connect(Security::Plain, count - 1, time).cpu_micros()
    }),
];

/// Measures everything at every count, prints it, and draws it into `svg`.
pub(crate) fn run(time: Duration, svg: &Path, is_json: bool, is_test: bool) {
    let counts: Vec<usize> = COUNTS
        .into_iter()
        .filter(|&count| count + 500 < descriptors() && (!is_test || count <= 10))
        .collect();
    let lines: Vec<Line> = CPU_ROWS
        .iter()
        .map(|&(name, measure)| line(name, "us", &counts, is_json, |n| measure(n, time)))
        .collect();
    // Fewer show what the first connection costs: code and buffers that are touched for the first
    // time.
    let least = if is_test { 1 } else { 1_000 };
    let many: Vec<usize> = counts.into_iter().filter(|&n| n >= least).collect();
    let memory = line(
        "memory of an idle page",
        "bytes",
        &many,
        is_json,
        idle_bytes,
    );
    draw(svg, &lines, &memory).unwrap();
    println!("{}", svg.display());
}

fn line(
    name: &'static str,
    unit: &str,
    counts: &[usize],
    is_json: bool,
    measure: impl Fn(usize) -> f64,
) -> Line {
    let points = counts
        .iter()
        .map(|&count| {
            let figure = measure(count);
            if is_json {
                println!(
                    r#"{{"row":"growth","name":"{name}","connections":{count},"{unit}":{figure:.3}}}"#
                );
            } else {
                println!("{name:<34} {count:>6} connections {figure:>10.2} {unit}");
            }
            (count, figure)
        })
        .collect();
    Line { name, points }
}

/// Resident memory (PSS) per page.
fn idle_bytes(count: usize) -> f64 {
    let server = Server::start(Kind::Websock);
    let before = server.pss_bytes();
    let _pages = rows::pages(&server, count);
    server.pss_bytes().saturating_sub(before) as f64 / count as f64
}

/// The most that this process, and so the server, may have open.
pub(crate) fn descriptors() -> usize {
    websock::ops::open_file_limit().map_or(1024, |limit| limit.min(1 << 20) as usize)
}

// ---- the plot

const SIZE: (u32, u32) = (860, 640);
const COLORS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xe3, 0x77, 0x0b),
    RGBColor(0x3b, 0x3b, 0x3b),
];

type DrawResult = Result<(), Box<dyn std::error::Error>>;

fn draw(svg: &Path, lines: &[Line], memory: &Line) -> DrawResult {
    let root = SVGBackend::new(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(420);
    let top = most(lines) * 2.0;
    let title = "server CPU time per operation, microseconds";
    draw_panel(
        &upper,
        title,
        lines,
        (1.0..top).log_scale(),
        COLORS.into_iter(),
    )?;
    let title = "resident memory per idle page, bytes";
    let lines = std::slice::from_ref(memory);
    let top = most(lines).max(1.0) * 1.3;
    draw_panel(&lower, title, lines, 0.0..top, COLORS.into_iter().skip(5))?;
    root.present()?;
    Ok(())
}

fn most(lines: &[Line]) -> f64 {
    let figures = lines.iter().flat_map(|line| &line.points);
    figures.map(|&(_, figure)| figure).fold(1.0, f64::max)
}

fn draw_panel<Y>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    lines: &[Line],
    y_axis: Y,
    colors: impl Iterator<Item = RGBColor>,
) -> DrawResult
where
    Y: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    Y::CoordDescType: plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..20_000.0_f64).log_scale(), y_axis)?;
    chart
        .configure_mesh()
        .x_desc("connections")
        .label_style(("sans-serif", 14))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (line, color) in lines.iter().zip(colors) {
        let points = || {
            line.points
                .iter()
                .map(|&(count, figure)| (count as f64, figure))
        };
        let series = LineSeries::new(points(), color.stroke_width(2));
        chart
            .draw_series(series)?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    if lines.len() < 2 {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .draw()?;
    Ok(())
}
