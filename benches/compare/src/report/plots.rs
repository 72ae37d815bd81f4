//! Plots as SVG: throughput by clients, latency by percentile, cost by the size of the log.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::rounds::median;
use crate::sample::{PERCENTILES, Sample};
use crate::work::Work;

const SIZE: (u32, u32) = (900, 560);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// A curve.
type Curve = (String, Vec<(f64, f64)>);

/// How a plot is labelled.
struct Labels<'a> {
    title: &'a str,
    across: &'a str,
    up: &'a str,
    across_text: &'a dyn Fn(&f64) -> String,
}

/// Draws those for which there are samples.
pub fn draw(folder: &Path, samples: &[Sample]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let count = |value: &f64| super::table::number(*value).replace(".00", "");
    let clients = curves(samples, Work::Clients, "clients", "events_per_second");
    let labels = Labels {
        title: "Durable appends, one event a request",
        across: "clients",
        up: "events a second",
        across_text: &count,
    };
    plot(&folder.join("clients.svg"), &labels, &clients)?;
    let percent = |nines: &f64| format!("{} %", 100.0 - 100.0 / nines);
    let labels = Labels {
        title: "64 clients: how long an append takes",
        across: "of the appends, at most",
        up: "microseconds",
        across_text: &percent,
    };
    plot(&folder.join("latency.svg"), &labels, &percentiles(samples))?;
    let costs = [
        ("append", "append_p50_us"),
        ("append to a new stream", "new_stream_p50_us"),
        ("read a stream of 10,000", "read_p50_us"),
        ("start, in us", "clean_us"),
    ];
    let curves: Vec<Curve> = costs
        .iter()
        .filter_map(|(name, figure)| {
            let mut curves = curves(samples, Work::Z, "log_events", figure);
            Some(((*name).to_owned(), curves.pop()?.1))
        })
        .collect();
    let labels = Labels {
        title: "Annal by the size of the log",
        across: "events in the log",
        up: "microseconds",
        across_text: &count,
    };
    plot(&folder.join("size.svg"), &labels, &curves)
}

fn curves(samples: &[Sample], work: Work, across: &str, up: &str) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for sample in samples
        .iter()
        .filter(|sample| sample.work == work && sample.failed.is_none())
    {
        let (Some(x), Some(y)) = (sample.figures.get(across), sample.figures.get(up)) else {
            continue;
        };
        match curves.iter_mut().find(|(name, _)| name == sample.peer) {
            Some((_, points)) => points.push((*x, *y)),
            None => curves.push((sample.peer.to_owned(), vec![(*x, *y)])),
        }
    }
    curves
}

/// By how many times fewer are slower: 50 % at 2, 90 % at 10, 99 % at 100.
fn percentiles(samples: &[Sample]) -> Vec<Curve> {
    let of_work: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.work == Work::A64 && sample.failed.is_none())
        .collect();
    let mut peers: Vec<&str> = of_work.iter().map(|sample| sample.peer).collect();
    peers.dedup();
    peers.sort_unstable();
    peers.dedup();
    let curve = |peer: &str| {
        let points = PERCENTILES.iter().filter(|(_, percent)| *percent < 100.0);
        let points = points.map(|(name, percent)| {
            let of_peer = of_work.iter().filter(|sample| sample.peer == peer);
            let values: Vec<f64> = of_peer
                .filter_map(|sample| sample.figures.get(name).copied())
                .collect();
            (100.0 / (100.0 - percent), median(&values))
        });
        (peer.to_owned(), points.collect())
    };
    peers.into_iter().map(curve).collect()
}

fn plot(path: &Path, labels: &Labels<'_>, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    if points().count() < 2 {
        return Ok(());
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    drawn(&area, labels, curves).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn drawn(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    labels: &Labels<'_>,
    curves: &[Curve],
) -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<(f64, f64)> = curves
        .iter()
        .flat_map(|(_, points)| points.clone())
        .collect();
    let span = |of: fn(&(f64, f64)) -> f64, wider: f64| {
        let low = all.iter().map(of).fold(f64::MAX, f64::min);
        let high = all.iter().map(of).fold(0.0, f64::max);
        low / wider..high * wider
    };
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(labels.title, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(
            span(|point| point.0, 1.05).log_scale(),
            span(|point| point.1, 1.3).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(labels.across)
        .y_desc(labels.up)
        .x_label_formatter(labels.across_text)
        .y_label_formatter(&|value| super::table::number(*value).replace(".00", ""))
        .label_style(("sans-serif", 14))
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
        chart.draw_series(points.iter().map(dot))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
}
