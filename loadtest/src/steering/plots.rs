//! Plots of the simulation as files of SVG, which a page of Markdown shows: by minute, and how often prefixes changed.
//!
//! A file knows nothing of the page around it, so it has a ground of its own, for light and for dark. Sides are told by dashes, marks and fills too.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::{ByMinute, Choices, NEAR_PERCENT, USED_PERCENT};
use super::world::{FLASH_BEGIN_S, FLASH_RAMP_S};
use super::{LEARNING_S, Results, SECONDS};
use crate::chart::{Axis, COLOURS, DASHES, GRID, INK, LEGEND_LINE, TITLE, WORDS, named, paint, rules, tick};

/// Pixels of a plot.
const WIDTH: u32 = 760;
const HEIGHT: u32 = 420;
/// The ground, and the time of the crowd on it.
const GROUND: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);
const CROWD: RGBColor = RGBColor(0xEE, 0xEE, 0xF2);
/// Who chose, in the order of looks.
pub(super) const SIDES: [&str; 3] = ["skerry", "oracle", "geography"];
/// How much of what lies below is seen through the band of all seeds.
const BAND: f64 = 0.25;
/// A mark stands at every so many minutes.
const MARK_EVERY: usize = 10;
/// Numbers of changes that have bars of their own; the last bars are of more.
const CHANGES_SHOWN: usize = 6;
/// Half of what the bars of one number take of its place.
const BARS: f64 = 0.42;
/// Sizes of the words above bars.
const SMALL: i32 = 15;

/// A plot: the end of the name of its file, and its text.
pub type Plot = (&'static str, String);

/// What is drawn by minute.
struct Drawn {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    of: fn(&ByMinute) -> &[f64],
    /// What several seeds come to.
    all: fn(&[f64]) -> f64,
    /// A line across, with what it is.
    bound: Option<(f64, &'static str)>,
    up: fn(f64, f64) -> Axis,
}

const DRAWN: [Drawn; 3] = [
    Drawn {
        name: "near",
        title: "Clients within 5 ms or 10 % of their best",
        unit: "% of the traffic, mean of all seeds",
        of: |minutes| &minutes.near_percent,
        all: mean,
        bound: Some((NEAR_PERCENT, "bound")),
        up: |least, _| between((least / 10.0).floor() * 10.0, 100.0, 10.0),
    },
    Drawn {
        name: "latency",
        title: "Mean latency",
        unit: "ms, mean of all seeds",
        of: |minutes| &minutes.mean_ms,
        all: mean,
        bound: None,
        up: |least, most| between(((least / 5.0).floor() - 1.0) * 5.0, (most / 5.0).ceil() * 5.0, 5.0),
    },
    Drawn {
        name: "load",
        title: "The most used node",
        unit: "% of its capacity, the most of all seeds",
        of: |minutes| &minutes.used_percent,
        all: most,
        bound: Some((USED_PERCENT, "bound")),
        up: |_, most| between(0.0, (most.max(100.0) / 20.0).ceil() * 20.0, 20.0),
    },
];

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// An axis with a tick at every so many.
fn between(from: f64, to: f64, step: f64) -> Axis {
    let to = if to > from { to } else { from + step };
    let ticks = (0..=((to - from) / step).round() as u32).map(|index| from + f64::from(index) * step);
    Axis { from, to, ticks: ticks.collect() }
}

/// All plots of results, which have a run.
///
/// # Errors
/// One could not be drawn.
pub fn plots(results: &Results) -> Result<Vec<Plot>, String> {
    let mut plots = Vec::new();
    let crowd_minutes = results.steering.flash_minutes;
    for drawn in &DRAWN {
        let mut text = String::new();
        by_minute(&mut text, results, drawn, crowd_minutes).map_err(|error| format!("cannot plot {}: {error}", drawn.name))?;
        plots.push((drawn.name, standing(&text, &format!("{} by minute: skerry, oracle, geography", drawn.title))));
    }
    let mut text = String::new();
    changes(&mut text, results).map_err(|error| format!("cannot plot changes: {error}"))?;
    plots.push(("changes", standing(&text, "How many prefixes changed node how often in the second hour: skerry, oracle, geography")));
    Ok(plots)
}

/// The choices of a side in all seeds.
fn of<'a>(results: &'a Results, side: &'a str) -> impl Iterator<Item = &'a Choices> {
    results.runs.iter().filter_map(move |run| run.of(side))
}

/// By minute what a number of all seeds comes to.
fn series(results: &Results, side: &str, drawn: &Drawn, all: fn(&[f64]) -> f64) -> Vec<(f64, f64)> {
    let minutes = of(results, side).map(|choices| (drawn.of)(&choices.by_minute).len()).min().unwrap_or(0);
    let at = |minute: usize| {
        let values: Vec<f64> = of(results, side).map(|choices| (drawn.of)(&choices.by_minute)[minute]).collect();
        (minute as f64 + 0.5, all(&values))
    };
    (0..minutes).map(at).collect()
}

fn by_minute(text: &mut String, results: &Results, drawn: &Drawn, crowd_minutes: f64) -> Result<(), Box<dyn std::error::Error>> {
    let lines = SIDES.map(|side| series(results, side, drawn, drawn.all));
    let values: Vec<f64> = lines.iter().flatten().map(|point| point.1).collect();
    let up = (drawn.up)(least(&values), most(&values));
    let (bottom, top) = (up.from, up.to);
    let area = ground(text)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(24)
        .caption(drawn.title, ("sans-serif", TITLE).into_font().color(&INK))
        .x_label_area_size(58)
        .y_label_area_size(74)
        .build_cartesian_2d(between(0.0, SECONDS / 60.0, 20.0), up)?;
    let crowd = (FLASH_BEGIN_S / 60.0, (FLASH_BEGIN_S + FLASH_RAMP_S) / 60.0 + crowd_minutes);
    if crowd_minutes > 0.0 && results.steering.flash_factor > 1.0 {
        chart.draw_series([Rectangle::new([(crowd.0, bottom), (crowd.1, top)], CROWD.filled())])?;
    }
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .disable_x_mesh()
        .axis_style(INK)
        .label_style(("sans-serif", WORDS).into_font().color(&INK))
        .x_desc("minute; what counts begins at 60, the crowd is there where it is shaded")
        .y_desc(drawn.unit)
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .draw()?;
    let counts = LEARNING_S / 60.0;
    chart.draw_series([PathElement::new([(counts, bottom), (counts, top)], INK.stroke_width(1))])?;
    if let Some((bound, words)) = drawn.bound {
        chart.draw_series([PathElement::new([(0.0, bound), (SECONDS / 60.0, bound)], INK.stroke_width(1))])?;
        let style = ("sans-serif", SMALL).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Bottom));
        chart.draw_series([EmptyElement::at((0.5, bound)) + Text::new(words, (0, -2), style)])?;
    }
    // Of the product what the seeds differ by.
    let (low, high) = (series(results, SIDES[0], drawn, least), series(results, SIDES[0], drawn, most));
    let clipped = low.into_iter().chain(high.into_iter().rev()).map(|(at, value)| (at, value.clamp(bottom, top)));
    chart.draw_series([Polygon::new(clipped.collect::<Vec<_>>(), COLOURS[0].mix(BAND).filled())])?;
    for ((index, side), points) in SIDES.iter().enumerate().zip(lines) {
        let (colour, (dash, gap)) = (COLOURS[index], DASHES[index]);
        let style = colour.stroke_width(2);
        let marks: Vec<(f64, f64)> = points.iter().skip(MARK_EVERY / 2).step_by(MARK_EVERY).copied().collect();
        chart
            .draw_series(DashedLineSeries::new(points, dash, gap, style))?
            .label(*side)
            .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + LEGEND_LINE, y)], dash, gap, style));
        let filled = colour.filled();
        match index {
            0 => chart.draw_series(marks.into_iter().map(|at| Circle::new(at, 4, filled))).map(|_| ())?,
            1 => chart.draw_series(marks.into_iter().map(|at| TriangleMarker::new(at, 6, filled))).map(|_| ())?,
            _ => chart.draw_series(marks.into_iter().map(|at| Cross::new(at, 5, style))).map(|_| ())?,
        }
    }
    let legend = ("sans-serif", WORDS).into_font().color(&INK);
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerLeft).margin(10).legend_area_size(LEGEND_LINE + 8).label_font(legend).draw()?;
    area.present()?;
    Ok(())
}

/// The share of prefixes that changed node so often, of all seeds, in percent; the last of all that changed at least that often.
fn shares(results: &Results, side: &str) -> [f64; CHANGES_SHOWN] {
    let mut counts = [0.0; CHANGES_SHOWN];
    for choices in of(results, side) {
        choices.changed.iter().enumerate().for_each(|(times, prefixes)| counts[times.min(CHANGES_SHOWN - 1)] += *prefixes as f64);
    }
    let all: f64 = counts.iter().sum();
    counts.map(|count| if all > 0.0 { count / all * 100.0 } else { 0.0 })
}

fn changes(text: &mut String, results: &Results) -> Result<(), Box<dyn std::error::Error>> {
    let shares = SIDES.map(|side| shares(results, side));
    let area = ground(text)?;
    let last = CHANGES_SHOWN - 1;
    let across = between(-0.5, last as f64 + 0.5, 1.0);
    let across = Axis { ticks: (0..CHANGES_SHOWN).map(|times| times as f64).collect(), ..across };
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(24)
        .caption("Changes of node in the second hour", ("sans-serif", TITLE).into_font().color(&INK))
        .x_label_area_size(58)
        .y_label_area_size(74)
        .build_cartesian_2d(across, Axis { to: 109.0, ..between(0.0, 100.0, 20.0) })?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .disable_x_mesh()
        .axis_style(INK)
        .label_style(("sans-serif", WORDS).into_font().color(&INK))
        .x_desc("changes of a prefix")
        .y_desc("% of the prefixes of all seeds")
        .x_label_formatter(&|times| if *times < last as f64 { tick(*times) } else { format!("{last} and more") })
        .y_label_formatter(&|value| tick(*value))
        .draw()?;
    let wide = BARS * 2.0 / SIDES.len() as f64;
    for (index, side) in SIDES.iter().enumerate() {
        let colour = COLOURS[index];
        let fill = move |style: ShapeStyle| if index == 0 { ShapeStyle { filled: true, ..style } } else { style };
        let bar = |times: usize| {
            let left = times as f64 - BARS + wide * index as f64;
            [(left + wide * 0.08, 0.0), (left + wide * 0.92, shares[index][times])]
        };
        // Full, hollow, and with lines across.
        let drawn = chart.draw_series((0..CHANGES_SHOWN).map(|times| Rectangle::new(bar(times), fill(colour.stroke_width(2)))))?;
        drawn.label(*side).legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + LEGEND_LINE, y + 6)], fill(colour.stroke_width(2))));
        if index == 2 {
            let lines = (0..CHANGES_SHOWN).flat_map(|times| {
                let [(left, _), (right, high)] = bar(times);
                (1..).map(|line| f64::from(line) * 2.0).take_while(move |at| *at < high).map(move |at| [(left, at), (right, at)])
            });
            chart.draw_series(lines.map(|line| PathElement::new(line, colour.stroke_width(1))))?;
        }
        let style = ("sans-serif", SMALL).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
        chart.draw_series((0..CHANGES_SHOWN).map(|times| {
            let [(left, _), (right, high)] = bar(times);
            EmptyElement::at((f64::midpoint(left, right), high)) + Text::new(share(high), (0, -4), style.clone())
        }))?;
    }
    let legend = ("sans-serif", WORDS).into_font().color(&INK);
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).margin(10).legend_area_size(LEGEND_LINE + 8).label_font(legend).draw()?;
    area.present()?;
    Ok(())
}

/// A share above its bar: nothing is 0 that is not.
fn share(percent: f64) -> String {
    match percent {
        0.0 => "0".to_owned(),
        _ if percent < 0.1 => "<0.1".to_owned(),
        _ if percent < 9.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

fn ground(text: &mut String) -> Result<DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&GROUND).map_err(|error| error.to_string())?;
    Ok(area)
}

/// The plot as a file: with its looks on dark.
fn standing(svg: &str, words: &str) -> String {
    let named = named(svg, WIDTH, words);
    let dark = paint(INK, "#e8eaed") + &paint(GRID, "#363c44") + &paint(GROUND, "#15181c") + &paint(CROWD, "#262b32");
    let style = format!("<style>\n{}@media(prefers-color-scheme:dark){{\n{dark}}}\n</style>", rules("#222222", "#DDDDDD"));
    match named.split_once('>') {
        Some((start, rest)) => format!("{start}>\n{style}\n{}", rest.trim_start()),
        None => named,
    }
}
