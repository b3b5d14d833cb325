//! Results as a file of JSON: read, held against the rules of the format, and written whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Deserialize;

use super::{BUCKETS_MAX, FORMAT, Measure, Results, Round, Side};
use crate::{file, lines};

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The most rounds of a side.
const ROUNDS_MAX: usize = 1000;
const ROUNDS_TOO_MANY: usize = ROUNDS_MAX + 1;
/// The largest count in a round: what is larger is no count, and so many rounds of it still have a sum.
const COUNT_MAX: u64 = 1 << 52;

/// All that is looked at before it is known that the rest has the form that is expected.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Reads results.
///
/// # Errors
/// A sentence: there is no such file, it is not one of results or of another format, or what it says cannot have been measured.
pub fn read(path: &Path) -> Result<Results, String> {
    let of = |fault: String| format!("{}: {fault}", path.display());
    let text = file::read(path, FILE_BYTES_MAX)?;
    parse(&text).map_err(of)
}

fn parse(text: &str) -> Result<Results, String> {
    let no_results = |error: serde_json::Error| format!("not results of a side-by-side run: {error}");
    let head: Head = serde_json::from_str(text).map_err(no_results)?;
    if head.format != FORMAT {
        let format = head.format;
        return Err(format!(
            "its format is {format}, this program reads {FORMAT}: measure anew, or read it with the skerry-loadtest that wrote it"
        ));
    }
    let results: Results = serde_json::from_str(text).map_err(no_results)?;
    results.check()?;
    Ok(results)
}

/// Writes results to a file that is then there as a whole, in place of one that was there before.
///
/// # Errors
/// A sentence: what they say cannot have been measured, or the file cannot be written.
pub fn write(path: &Path, results: &Results) -> Result<(), String> {
    results.check().map_err(|fault| format!("cannot write {}: {fault}", path.display()))?;
    let text = lines::to_vec(results).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let mut name = path.file_name().ok_or_else(|| format!("{} is not the name of a file", path.display()))?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = put(&part, &text).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        // It may not even have come to be.
        let _ = fs::remove_file(&part);
        format!("cannot write {}: {error}", path.display())
    })
}

fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

impl Results {
    /// Whether this can have been measured.
    ///
    /// # Errors
    /// A sentence that says what cannot, and where.
    pub fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("the format is {}, this program knows {FORMAT}", self.format));
        }
        if self.measures.is_empty() {
            return Err("there is no measure, at least one is needed".to_owned());
        }
        let mut plans = BTreeSet::new();
        for measure in &self.measures {
            if !plans.insert(&measure.plan) {
                return Err(format!("measure {}: is there twice, the names of plans must differ", measure.plan));
            }
            check_measure(measure).map_err(|fault| format!("measure {}: {fault}", measure.plan))?;
        }
        Ok(())
    }
}

fn check_measure(measure: &Measure) -> Result<(), String> {
    if measure.sides.is_empty() {
        return Err("there is no side, at least one is needed".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut rounds: Option<(&str, usize)> = None;
    for side in &measure.sides {
        if !names.insert(side.name.as_str()) {
            return Err(format!("side {} is there twice, the names of sides must differ", side.name));
        }
        check_side(side).map_err(|fault| format!("side {}: {fault}", side.name))?;
        if side.missing().is_some() {
            continue;
        }
        let (first, expected) = *rounds.get_or_insert((&side.name, side.rounds.len()));
        if side.rounds.len() != expected {
            return Err(format!("{first} has {expected} rounds and {} has {}, each must have as many", side.name, side.rounds.len()));
        }
    }
    for bound in &measure.bounds {
        if bound.against == measure.sides[0].name {
            return Err(format!("the bound of {} is against {}, which is the first side itself", bound.figure, bound.against));
        }
        if !(bound.ratio_max.is_finite() && bound.ratio_max > 0.0) {
            return Err(format!("the bound of {} is {}, it must be above 0", bound.figure, bound.ratio_max));
        }
    }
    Ok(())
}

fn check_side(side: &Side) -> Result<(), String> {
    match (side.missing(), side.rounds.len()) {
        (None, 0) => return Err("it has no rounds and does not say why".to_owned()),
        (Some(why), 1..) => return Err(format!("it has rounds and is said to be {why}")),
        (None, ROUNDS_TOO_MANY..) => return Err(format!("it has {} rounds, {ROUNDS_MAX} are the most", side.rounds.len())),
        _ => {}
    }
    if side.absent.is_some() && side.failed.is_some() {
        return Err("it is said to be both absent and failed".to_owned());
    }
    side.rounds
        .iter()
        .enumerate()
        .try_for_each(|(index, round)| check_round(round).map_err(|fault| format!("round {}: {fault}", index + 1)))
}

fn check_round(round: &Round) -> Result<(), String> {
    let times = [("server_s", round.server_s), ("generator_s", round.generator_s), ("others_s", round.others_s)];
    if let Some((name, value)) = times.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
        return Err(format!("{name} is {value}, it must be a number that is not negative"));
    }
    if !(round.seconds.is_finite() && round.seconds > 0.0) {
        return Err(format!("seconds is {}, it must be above 0", round.seconds));
    }
    if let Some((name, value)) = round.further.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("{name} is {value}, it must be a number"));
    }
    if round.histogram.len() > BUCKETS_MAX {
        return Err(format!("the histogram has {} buckets, {BUCKETS_MAX} are the most", round.histogram.len()));
    }
    if let Some(pair) = round.histogram.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(format!("the histogram has a bucket to {} us after one to {} us, they must rise", pair[1].0, pair[0].0));
    }
    let in_buckets = round.histogram.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let counts = [
        ("planned", round.planned),
        ("answers", round.answers),
        ("hits", round.hits.unwrap_or_default()),
        ("body_octets", round.body_octets),
        ("memory_bytes", round.memory_bytes),
        ("the sum of the histogram", in_buckets),
    ];
    match counts.into_iter().find(|(_, count)| *count > COUNT_MAX) {
        Some((name, count)) => Err(format!("{name} is {count}, {COUNT_MAX} is the most")),
        None => Ok(()),
    }
}
