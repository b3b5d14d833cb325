//! Plots as SVG: latency by percentile, and bars of a figure.
//!
//! No font is needed to make them. Their colours are looks that the page may change by attribute, so that they can be read on dark; a side
//! is told by its dashes and its marks, or its name beside its bar, as well.

use std::f64::consts::LOG10_2;

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::belief::BEYOND_MIN;
use super::figures::{number, of, quantile};
use super::{Measure, Side, Spread};
use crate::chart::{Axis, COLOURS, DASHES, GRID, INK, LEGEND_LINE, TITLE, WORDS, named, steps, tick};

/// Pixels that a plot is wide.
const WIDTH: u32 = 560;
/// Pixels that a plot of latency is high.
const LATENCY_HEIGHT: u32 = 420;
/// Pixels of a bar, and of all around the bars.
const BAR_HEIGHT: u32 = 46;
const AROUND_BARS: u32 = 120;
/// At so many places the curve of a side is drawn.
const CURVE_POINTS: u32 = 160;
/// The percentiles that are named: how far each is along the axis, which has a step for each tenth that is left.
const PERCENTILES: [(f64, &str); 6] = [(0.0, "0"), (LOG10_2, "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99")];
/// The most ticks of an axis of powers of ten.
const TICKS_MAX: usize = 10;
/// The letters of a side's name beside its bar.
const NAME_LETTERS_MAX: usize = 16;

/// The place of a side in its measure, the side, and places along the axis of percentiles with the latency there in ms.
type Curve<'a> = (usize, &'a Side, Vec<(f64, f64)>);

/// Latency by percentile of every side that was measured; none if nothing was.
///
/// # Errors
/// The plot could not be drawn.
pub(super) fn latency(measure: &Measure) -> Result<Option<String>, String> {
    let curves: Vec<Curve<'_>> =
        sides(measure).map(|(index, side)| (index, side, curve(side))).filter(|(_, _, points)| !points.is_empty()).collect();
    let values = || curves.iter().flat_map(|(_, _, points)| points);
    let Some(right) = values().map(|point| point.0).max_by(f64::total_cmp) else { return Ok(None) };
    let lowest = values().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let highest = values().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let right = right.max(1.0);
    let across = Axis { from: 0.0, to: right, ticks: PERCENTILES.iter().map(|(at, _)| *at).filter(|at| *at <= right + 1e-6).collect() };
    let up = decades(lowest, highest);
    let draw = |text: &mut String| draw_latency(text, &curves, across, up);
    let mut text = String::new();
    draw(&mut text).map_err(|error| format!("cannot plot {}: {error}", measure.plan))?;
    Ok(Some(named(&text, WIDTH, &format!("Latency by percentile, {}", measure.plan))))
}

fn draw_latency(text: &mut String, curves: &[Curve<'_>], across: Axis, up: Axis) -> Result<(), Box<dyn std::error::Error>> {
    let marked = across.ticks.clone();
    let area = SVGBackend::with_string(text, (WIDTH, LATENCY_HEIGHT)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(34)
        .caption("Latency by percentile", ("sans-serif", TITLE).into_font().color(&INK))
        .x_label_area_size(58)
        .y_label_area_size(74)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", WORDS).into_font().color(&INK))
        .x_desc("percentile of the requests")
        .y_desc("latency, ms")
        .x_label_formatter(&|at| {
            PERCENTILES.iter().find(|(place, _)| (place - at).abs() < 1e-6).map_or(String::new(), |(_, name)| (*name).to_owned())
        })
        .y_label_formatter(&|power| tick(10_f64.powf(*power)))
        .draw()?;
    for (index, side, points) in curves {
        let (colour, (dash, gap)) = (COLOURS[index % COLOURS.len()], DASHES[index % DASHES.len()]);
        let points: Vec<(f64, f64)> = points.iter().map(|(at, value)| (*at, value.log10())).collect();
        // The marks stand where the named percentiles are.
        let marks: Vec<_> = marked.iter().filter_map(|at| points.iter().find(|point| point.0 + 1e-6 >= *at).copied()).collect();
        let style = colour.stroke_width(2);
        chart
            .draw_series(DashedLineSeries::new(points, dash, gap, style))?
            .label(side.name.chars().take(NAME_LETTERS_MAX).collect::<String>())
            .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + LEGEND_LINE, y)], dash, gap, style));
        let filled = colour.filled();
        match index % 3 {
            0 => {
                chart.draw_series(marks.into_iter().map(|at| Circle::new(at, 4, filled)))?;
            }
            1 => {
                chart.draw_series(marks.into_iter().map(|at| TriangleMarker::new(at, 6, filled)))?;
            }
            _ => {
                chart.draw_series(marks.into_iter().map(|at| Cross::new(at, 5, style)))?;
            }
        }
    }
    let legend = ("sans-serif", WORDS).into_font().color(&INK);
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).margin(10).legend_area_size(LEGEND_LINE + 8).label_font(legend).draw()?;
    area.present()?;
    Ok(())
}

/// The sides that were measured, with the place of each in the measure: its looks go with it.
fn sides(measure: &Measure) -> impl Iterator<Item = (usize, &Side)> {
    measure.sides.iter().enumerate().filter(|(_, side)| side.missing().is_none())
}

/// Places along the axis of percentiles, and the latency there in ms. Ends where so few requests are left that the next place would say nothing.
fn curve(side: &Side) -> Vec<(f64, f64)> {
    let histogram = side.histogram();
    let total: u64 = histogram.values().sum();
    let last_named = PERCENTILES[PERCENTILES.len() - 1].0;
    let end = of(total / BEYOND_MIN).max(1.0).log10().min(last_named);
    let at = |index: u32| end * f64::from(index) / f64::from(CURVE_POINTS);
    let point = |at: f64| Some((at, of(quantile(&histogram, 1.0 - 10_f64.powf(-at))?.max(1)) / 1e3));
    (0..=CURVE_POINTS).filter_map(|index| point(at(index))).collect()
}

/// An axis of powers of ten from below the least to above the most, with ticks at 1, 2 and 5.
#[expect(clippy::cast_possible_truncation, reason = "powers of ten of a latency are between -3 and 17")]
fn decades(least: f64, most: f64) -> Axis {
    let first = least.log10().floor() as i32;
    let all: Vec<f64> = (first..=first + 20).flat_map(|power| [1.0_f64, 2.0, 5.0].map(|step| step.log10() + f64::from(power))).collect();
    let from = all.iter().copied().rfind(|tick| *tick <= least.log10() + 1e-9).unwrap_or(f64::from(first));
    let to = all.iter().copied().find(|tick| *tick >= most.log10() - 1e-9 && *tick > from + 1e-9).unwrap_or(from + 1.0);
    let mut ticks: Vec<f64> = all.into_iter().filter(|tick| (from - 1e-9..=to + 1e-9).contains(tick)).collect();
    // Where there are many decades, their ends say enough.
    if ticks.len() > TICKS_MAX {
        ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
    }
    Axis { from, to, ticks }
}

/// A figure of every side that was measured, as bars with the least and the most of the rounds; none if no side has it.
///
/// # Errors
/// The plot could not be drawn.
pub(super) fn bars(measure: &Measure, figure: &str, title: &str, unit: &str) -> Result<Option<String>, String> {
    let bars: Vec<(usize, &Side, Spread)> = sides(measure).filter_map(|(index, side)| Some((index, side, side.spread(figure)?))).collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    draw_bars(&mut text, &bars, title, unit).map_err(|error| format!("cannot plot {}: {error}", measure.plan))?;
    Ok(Some(named(&text, WIDTH, &format!("{title}, {}", measure.plan))))
}

fn draw_bars(text: &mut String, bars: &[(usize, &Side, Spread)], title: &str, unit: &str) -> Result<(), Box<dyn std::error::Error>> {
    let count = u32::try_from(bars.len())?;
    let most = bars.iter().map(|(_, _, spread)| spread.max).fold(0.0, f64::max);
    let area = SVGBackend::with_string(text, (WIDTH, AROUND_BARS + BAR_HEIGHT * count)).into_drawing_area();
    // The first side is on top; there is room for a number behind the longest bar.
    let places: Vec<f64> = (0..count).map(|index| f64::from(count - index) - 0.5).collect();
    let across = steps(most * 1.22);
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(34)
        .caption(title, ("sans-serif", TITLE).into_font().color(&INK))
        .x_label_area_size(58)
        .y_label_area_size(120)
        .build_cartesian_2d(across, Axis { from: 0.0, to: f64::from(count), ticks: places.clone() })?;
    let name_at = |at: &f64| {
        let found = places.iter().zip(bars).find(|(place, _)| (*place - at).abs() < 1e-6);
        found.map_or(String::new(), |(_, (_, side, _))| side.name.chars().take(NAME_LETTERS_MAX).collect())
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .disable_y_mesh()
        .axis_style(INK)
        .label_style(("sans-serif", WORDS).into_font().color(&INK))
        .x_desc(unit)
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&name_at)
        .draw()?;
    for (place, (index, _, spread)) in places.iter().zip(bars) {
        let colour = COLOURS[index % COLOURS.len()];
        let bar = [(0.0, place - 0.32), (spread.median, place + 0.32)];
        chart.draw_series([Rectangle::new(bar, colour.mix(0.75).filled())])?;
        let ends = |value: f64| vec![(value, place - 0.14), (value, place + 0.14)];
        let whisker = [vec![(spread.min, *place), (spread.max, *place)], ends(spread.min), ends(spread.max)];
        chart.draw_series(whisker.map(|points| PathElement::new(points, INK.stroke_width(2))))?;
        let style = ("sans-serif", WORDS).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let words = EmptyElement::at((spread.max, *place)) + Text::new(number(spread.median), (8, 0), style);
        chart.draw_series([words])?;
    }
    area.present()?;
    Ok(())
}
