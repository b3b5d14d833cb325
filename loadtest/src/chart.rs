//! What plots of all pages share: looks, axes, and words for those who do not see them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::style::RGBColor;

/// Sizes of words, in a unit of the library that is about a third more than a pixel.
pub(crate) const TITLE: i32 = 25;
pub(crate) const WORDS: i32 = 20;
/// Pixels of the line in the legend.
pub(crate) const LEGEND_LINE: i32 = 30;

/// Words and axes; the page gives it the colour of its text.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Lines across.
pub(crate) const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// The sides: told apart by those who do not see every colour.
pub(crate) const COLOURS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xB8, 0x86, 0x0B),
];
/// Dash and gap of the sides, in pixels.
pub(crate) const DASHES: [(u32, u32); 5] = [(100_000, 1), (9, 5), (3, 4), (14, 4), (6, 8)];
/// The colours of the sides on dark, in their order.
const DARK: [&str; 5] = ["#56b4e9", "#ff9248", "#2fd0a0", "#e8a4cd", "#e8c15a"];

/// An axis with ticks at given places.
pub(crate) struct Axis {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels of a plot")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        tick(*value)
    }
}

/// A number beside an axis: no more digits than it has.
pub(crate) fn tick(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

/// An axis from nought with about five steps of 1, 2 or 5 times a power of ten.
pub(crate) fn steps(to: f64) -> Axis {
    let to = if to > 0.0 { to } else { 1.0 };
    let power = 10_f64.powf((to / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| to / step <= 5.0).unwrap_or(power * 10.0);
    let ticks = (0..=5).map(|index| f64::from(index) * step).filter(|tick| *tick <= to).collect();
    Axis { from: 0.0, to, ticks }
}

/// A plot with words for those who do not see it; its size is that of its place on the page.
pub(crate) fn named(svg: &str, width: u32, words: &str) -> String {
    let start = format!("<svg width=\"{width}\"");
    let words = escape(words);
    match svg.strip_prefix(&start).and_then(|rest| rest.split_once(" viewBox")) {
        Some((_, rest)) => format!("<svg role=\"img\" aria-label=\"{words}\" viewBox{rest}"),
        None => svg.to_owned(),
    }
}

/// Rules that give plots the colours of a page; a rule is stronger than an attribute.
pub(crate) fn rules(ink: &str, line: &str) -> String {
    let mut rules = paint(INK, ink) + &paint(GRID, line) + "@media(prefers-color-scheme:dark){\n";
    COLOURS.into_iter().zip(DARK).for_each(|(colour, dark)| rules.push_str(&paint(colour, dark)));
    rules.push_str("}\n");
    rules
}

/// The rule that shows one colour as another.
pub(crate) fn paint(from: RGBColor, to: &str) -> String {
    let from = format!("#{:02X}{:02X}{:02X}", from.0, from.1, from.2);
    format!("svg [fill=\"{from}\"]{{fill:{to}}}svg [stroke=\"{from}\"]{{stroke:{to}}}\n")
}

/// Words of a file as words of a page: nothing in them is markup.
pub(crate) fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            letter => text.push(letter),
        }
    }
    text
}
