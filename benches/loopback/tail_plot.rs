//! The distributions of tails, drawn: how many feedbacks take longer than so long.

use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use crate::tail_loads::Load;
use crate::tails::Tail;

const WIDTH: u32 = 860;
const PANEL_HEIGHT: u32 = 250;
const COLORS: [RGBColor; 5] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xe3, 0x77, 0x0b),
];

/// One panel for each load, one line for each server.
pub(crate) fn draw(svg: &Path, tails: &[Tail]) -> Result<(), Box<dyn std::error::Error>> {
    let mut loads: Vec<Load> = tails.iter().map(|tail| tail.load).collect();
    loads.dedup();
    let height = PANEL_HEIGHT * loads.len() as u32;
    let root = SVGBackend::new(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, load) in root.split_evenly((loads.len(), 1)).iter().zip(loads) {
        let mut chart = ChartBuilder::on(area)
            .caption(load.title(), ("sans-serif", 16))
            .margin(8)
            .margin_right(28)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d((0.05..1_000.0_f64).log_scale(), (0.0..4.0_f64).step(1.0))?;
        chart
            .configure_mesh()
            .x_desc("milliseconds from script to tab")
            .label_style(("sans-serif", 13))
            .light_line_style(RGBColor(0xf2, 0xf2, 0xf2))
            .x_label_formatter(&|x| format!("{x}"))
            .y_labels(5)
            .y_label_formatter(&|nines| format!("{} %", 100.0 - 100.0 / 10_f64.powf(*nines)))
            .draw()?;
        let of_load = tails.iter().filter(|tail| tail.load == load);
        for (tail, color) in of_load.zip(COLORS) {
            let line = LineSeries::new(points(&tail.all()), color.stroke_width(2));
            chart
                .draw_series(line)?
                .label(tail.server.as_str())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.85))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// Milliseconds against the number of nines: 2 stands for 99 %.
fn points(sorted: &[Duration]) -> Vec<(f64, f64)> {
    let count = sorted.len() as f64;
    let steps = (0..=80).map(|step| f64::from(step) / 20.0);
    let steps = steps.take_while(|nines| 10_f64.powf(*nines) <= count);
    steps
        .map(|nines| {
            let index = (count * (1.0 - 1.0 / 10_f64.powf(nines))) as usize;
            let latency = sorted[index.min(sorted.len() - 1)];
            (latency.as_secs_f64() * 1e3, nines)
        })
        .collect()
}
