//! The plot of `backplane`: cost by number of nodes.

use std::path::Path;

use plotters::prelude::*;

/// Nodes, and what a feedback and a broadcast cost the servers and Redis, in microseconds.
pub(crate) type Point = (usize, (f64, f64), (f64, f64));

pub(crate) fn draw(svg: &Path, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(svg, (860, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let top = points
        .iter()
        .map(|(_, _, (servers, redis))| servers.max(*redis))
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "CPU time per message by number of nodes, microseconds",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..10.0_f64).log_scale(), (1.0..top * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("nodes")
        .label_style(("sans-serif", 14))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    type Line = (&'static str, RGBColor, fn(&Point) -> f64);
    let lines: [Line; 4] = [
        ("feedback, all servers", RGBColor(0x1f, 0x77, 0xb4), |p| {
            p.1.0
        }),
        ("feedback, Redis", RGBColor(0x94, 0x67, 0xbd), |p| p.1.1),
        (
            "broadcast to 100 tabs at each, all servers",
            RGBColor(0xd6, 0x27, 0x28),
            |p| p.2.0,
        ),
        ("the same, Redis", RGBColor(0xe3, 0x77, 0x0b), |p| p.2.1),
    ];
    for (name, color, of) in lines {
        let line = || {
            points
                .iter()
                .map(|point| (point.0 as f64, of(point).max(1.0)))
        };
        chart
            .draw_series(LineSeries::new(line(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
        chart.draw_series(line().map(|point| Circle::new(point, 3, color.filled())))?;
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
