//! What a page of results says, whatever it is written in: sections and tables of plain words.
//!
//! Shows no figure of a measure that is refused. Escapes nothing: who writes the page does.

use super::figures::number;
use super::{Measure, Results, Side, Spread};

/// With fewer rounds than these, how far they are apart says little.
const ROUNDS_MIN: usize = 3;

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

/// The cell that must not be overlooked.
pub(super) const NOT_KEPT: &str = "no";

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
A measure whose rounds are too far apart, that other programs disturbed, or that took too little processor time is refused: its figures
are not shown.";

fn spread_text(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { min, median, max }| {
            let (middle, from, to) = (number(median), number(min), number(max));
            if from == middle && to == middle { middle } else { format!("{middle} ({from} to {to})") }
        },
    )
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
        if let Some(reason) = &ours.absent {
            lines.push(Line::Words(measure.plan.clone(), format!("{} not measured: {reason}", ours.name)));
            continue;
        }
        if measure.sides.len() == 1 {
            let cells = [&measure.plan, &spread_text(ours.spread("cpu_us")), "", "", ""];
            lines.push(Line::Cells(words(cells)));
        }
        for side in &measure.sides[1..] {
            let name = format!("{}, beside {}", measure.plan, side.name);
            lines.push(match &side.absent {
                Some(reason) => Line::Words(name, format!("not measured: {reason}")),
                None => Line::Cells(vec![
                    name,
                    spread_text(ours.spread("cpu_us")),
                    spread_text(side.spread("cpu_us")),
                    spread_text(measure.ratio("cpu_us", side)),
                    spread_text(measure.ratio("p99_ms", side)),
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
            if measure.refusal().is_some() {
                lines.push(Line::Words(name, format!("at most {}; refused, so not known", number(bound.ratio_max))));
                continue;
            }
            let against = measure.sides.iter().find(|side| side.name == bound.against);
            if against.is_none() {
                lines.push(Line::Words(
                    name,
                    format!("at most {}; not measured: {} was not asked for", number(bound.ratio_max), bound.against),
                ));
                continue;
            }
            let ratio = against.and_then(|side| measure.ratio(&bound.figure, side));
            let kept = match measure.is_kept(bound) {
                Some(true) => "yes",
                Some(false) => NOT_KEPT,
                None => "not known",
            };
            lines.push(Line::Cells(vec![name, spread_text(ratio), number(bound.ratio_max), kept.to_owned()]));
        }
    }
    (!lines.is_empty()).then(|| Table { head: words(["bound", "ratio", "at most", "kept"]), lines })
}

/// All figures of a measure that is not refused.
pub(super) fn figures(measure: &Measure) -> Table {
    let measured: Vec<&Side> = measure.measured().collect();
    // Without ours there is nothing to have a ratio of.
    let others = if measure.sides[0].absent.is_none() { &measured[1..] } else { &[] };
    let mut head = vec!["figure".to_owned()];
    head.extend(measured.iter().map(|side| side.name.clone()));
    head.extend(others.iter().map(|side| format!("ratio to {}", side.name)));
    let mut lines = Vec::new();
    for (name, title) in measure.figures() {
        let spreads: Vec<Option<Spread>> = measured.iter().map(|side| side.spread(name)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let mut cells = vec![title.to_owned()];
        cells.extend(spreads.into_iter().map(spread_text));
        // How busy what is not measured was says nothing as a ratio.
        let has_ratio = !name.ends_with("_percent");
        cells.extend(others.iter().map(|side| if has_ratio { spread_text(measure.ratio(name, side)) } else { String::new() }));
        lines.push(Line::Cells(cells));
    }
    Table { head, lines }
}

/// What else is to be said of a measure.
pub(super) fn notes(measure: &Measure) -> Vec<String> {
    let mut notes = measure.notes.clone();
    let absent = measure.sides.iter().filter_map(|side| Some(format!("{} was not measured: {}", side.name, side.absent.as_ref()?)));
    notes.extend(absent);
    let rounds = measure.measured().map(|side| side.rounds.len()).max().unwrap_or_default();
    if (1..ROUNDS_MIN).contains(&rounds) {
        notes.push(format!("Only {rounds} of at least {ROUNDS_MIN} rounds that are needed to see how far they are apart"));
    }
    notes
}
