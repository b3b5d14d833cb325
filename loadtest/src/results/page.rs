//! What a page of results says, whatever it is written in: sections and tables of plain words.
//!
//! Shows no figure of a measure that is refused, but for having too few rounds, and no ratio that is noise. Escapes nothing: who writes the page does.

use super::figures::number;
use super::{Judged, Measure, Results, Side, Spread};

/// A table.
pub(super) struct Table {
    /// The names of the columns; the first is of words.
    pub head: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of it.
pub(super) enum Line {
    /// As many cells as there are columns.
    Cells(Vec<String>),
    /// A name, and why there are no figures.
    Words(String, String),
}

/// What cells begin with that must not be overlooked, or are.
const NOT_KEPT: &str = "no";
const NOT_KNOWN: &str = "not known";
const NOISY: &str = "noisy";

/// Whether a cell must not be overlooked.
pub(super) fn is_marked(cell: &str) -> bool {
    cell == NOT_KEPT || cell == NOT_KNOWN || cell.starts_with(NOISY)
}

/// What was measured on what, as names and values.
pub(super) fn circumstances(results: &Results) -> Vec<(&'static str, String)> {
    let machine = &results.machine;
    let core = |core: Option<usize>| core.map_or_else(|| "any core".to_owned(), |core| format!("core {core}"));
    let mut cores = format!("server on {}, generator on {}", core(results.server_core), core(results.generator_core));
    if results.server_core.is_some() && results.server_core == results.generator_core {
        cores.push_str(": they share it");
    }
    let system = format!("{}, {} cores, {} MiB of memory, {}", machine.processor, machine.cores, machine.memory_mib, machine.kernel);
    vec![
        ("Made", results.made.clone()),
        ("Revision", results.revision.clone().unwrap_or_else(|| "not known".to_owned())),
        ("Machine", system),
        ("Programs", results.versions.join(", ")),
        ("Cores", cores),
    ]
}

/// How the figures are to be read.
pub(super) const READING: &str = "\
Each figure is the median of the rounds, with the least and the most of them. The sides were measured in turn; a ratio is that of the
first side to another in the same round, so below 1 the first has less. Latency runs from the moment at which a request was to be made.
A measure whose rounds are too far apart in processor time, that other programs disturbed, or that took too little processor time is refused:
its figures are not shown. So is one of too few rounds, of which nothing may be concluded. A row whose ratios are too far apart is noisy and has
no ratio.";

fn spread_text(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { min, median, max }| {
            let (middle, from, to) = (number(median), number(min), number(max));
            if from == middle && to == middle { middle } else { format!("{middle} ({from} to {to})") }
        },
    )
}

/// The ratio of a figure to that of another side, or that it is noise.
fn ratio_text(measure: &Measure, figure: &str, against: &Side) -> String {
    match measure.noise(figure, against) {
        Some(apart) if apart.is_finite() => format!("{NOISY}, {apart:.0} % apart"),
        Some(_) => NOISY.to_owned(),
        None => spread_text(measure.ratio(figure, against)),
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Processor time of every measure beside every other side.
pub(super) fn overview(results: &Results) -> Table {
    let mut lines = Vec::new();
    for measure in &results.measures {
        if let Some(reason) = measure.refusal() {
            lines.push(Line::Words(measure.plan.clone(), format!("refused: {reason}")));
            continue;
        }
        let ours = &measure.sides[0];
        if let Some(why) = ours.missing() {
            lines.push(Line::Words(measure.plan.clone(), format!("{} {why}", ours.name)));
            continue;
        }
        if measure.sides.len() == 1 {
            let cells = [&measure.plan, &spread_text(ours.spread("cpu_us")), "", "", ""];
            lines.push(Line::Cells(words(cells)));
        }
        for side in &measure.sides[1..] {
            let name = format!("{}, beside {}", measure.plan, side.name);
            lines.push(match side.missing() {
                Some(why) => Line::Words(name, why),
                None => Line::Cells(vec![
                    name,
                    spread_text(ours.spread("cpu_us")),
                    spread_text(side.spread("cpu_us")),
                    ratio_text(measure, "cpu_us", side),
                    ratio_text(measure, "p99_ms", side),
                ]),
            });
        }
    }
    let head = words(["measure", "first, us an answer", "beside, us an answer", "ratio", "ratio of latency p99"]);
    Table { head, lines }
}

/// What must hold, and whether it does; none if nothing must.
pub(super) fn bounds(results: &Results) -> Option<Table> {
    let mut lines = Vec::new();
    for measure in &results.measures {
        for bound in &measure.bounds {
            let name = format!("{}: {} beside {}", measure.plan, bound.figure, bound.against);
            let most = number(bound.ratio_max);
            if measure.refusal().is_some() {
                lines.push(Line::Words(name, format!("at most {most}; refused, so not known")));
                continue;
            }
            let against = measure.sides.iter().find(|side| side.name == bound.against);
            let ratio = against.map_or_else(|| "-".to_owned(), |side| ratio_text(measure, &bound.figure, side));
            lines.push(match measure.judge(bound) {
                Judged::Kept => Line::Cells(vec![name, ratio, most, "yes".to_owned()]),
                Judged::Broken(measured) => Line::Cells(vec![name, measured, most, NOT_KEPT.to_owned()]),
                Judged::NotKnown(_) => Line::Cells(vec![name, ratio, most, NOT_KNOWN.to_owned()]),
                Judged::NotMeasured(why) => Line::Words(name, format!("at most {most}; not measured: {why}")),
            });
        }
    }
    (!lines.is_empty()).then(|| Table { head: words(["bound", "ratio", "at most", "kept"]), lines })
}

/// All figures of a measure that may be shown; ratios only of one that is not refused.
pub(super) fn figures(measure: &Measure) -> Table {
    let measured: Vec<&Side> = measure.measured().collect();
    // Without ours there is nothing to have a ratio of.
    let has_ratios = measure.sides[0].missing().is_none() && measure.refusal().is_none();
    let others = if has_ratios { &measured[1..] } else { &[] };
    let mut head = vec!["figure".to_owned()];
    head.extend(measured.iter().map(|side| side.name.clone()));
    head.extend(others.iter().map(|side| format!("ratio to {}", side.name)));
    let mut lines = Vec::new();
    for (name, title) in measure.figures() {
        let spreads: Vec<Option<Spread>> = measured.iter().map(|side| side.spread(name)).collect();
        if spreads.iter().all(Option::is_none) && withheld(measure, name, title).is_none() {
            continue;
        }
        let mut cells = vec![title.to_owned()];
        cells.extend(spreads.into_iter().map(spread_text));
        // How busy what is not measured was says nothing as a ratio.
        let has_ratio = !name.ends_with("_percent");
        cells.extend(others.iter().map(|side| if has_ratio { ratio_text(measure, name, side) } else { String::new() }));
        lines.push(Line::Cells(cells));
    }
    Table { head, lines }
}

/// Of which sides a figure is not told though their rounds have it, and why.
fn withheld(measure: &Measure, name: &str, title: &str) -> Option<String> {
    let has_it = |side: &&Side| side.rounds.iter().any(|round| round.figure(name).is_some());
    let sides = measure.measured().filter(has_it).filter_map(|side| Some(format!("{} ({})", side.name, side.withheld(name)?.reason())));
    let sides: Vec<String> = sides.collect();
    (!sides.is_empty()).then(|| format!("{title} is not told of {}", sides.join(", of ")))
}

/// What else is to be said of a measure.
pub(super) fn notes(measure: &Measure) -> Vec<String> {
    let mut notes = measure.notes.clone();
    notes.extend(measure.sides.iter().filter_map(|side| Some(format!("{} {}", side.name, side.missing()?))));
    if measure.unsound().is_none() {
        notes.extend(measure.figures().into_iter().filter_map(|(name, title)| withheld(measure, name, title)));
    }
    if measure.refusal().is_none() {
        let judged = measure.bounds.iter().map(|bound| (bound, measure.judge(bound)));
        notes.extend(judged.filter_map(|(bound, judged)| match judged {
            Judged::NotKnown(why) => Some(format!("The bound of {} beside {} cannot be judged: {why}", bound.figure, bound.against)),
            _ => None,
        }));
    }
    notes
}
