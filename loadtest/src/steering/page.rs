//! The page: results as Markdown. No figure of a run is typed by hand; what was found out once stands in [`NOTES`].

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::figures::{ABOVE_ORACLE_PERCENT, BELOW_GEOGRAPHY_PERCENT, CHANGES, NEAR_PERCENT, USED_PERCENT};
use super::{Figures, Results, SECONDS};
use crate::bound::Verdicts;

/// What the plots show, by the end of the name of their file.
const PLOTS: [(&str, &str); 4] = [
    ("near", "The share of traffic near its best, by minute: skerry, oracle, geography"),
    ("latency", "The mean latency, by minute: skerry, oracle, geography"),
    ("load", "The load of the most used node, by minute: skerry, oracle, geography"),
    ("changes", "How many prefixes changed node how often: skerry, oracle, geography"),
];

/// The file of a plot of results, beside the file of these.
#[must_use]
pub fn plot_file(results: &Path, name: &str) -> PathBuf {
    let stem = results.file_stem().unwrap_or_default().to_string_lossy();
    results.with_file_name(format!("{stem}-{name}.svg"))
}

/// Makes docs/performance-steering.md, with the plots that lie beside the file of the results.
#[must_use]
pub fn page(results: &Results, file: &Path) -> String {
    let mut text = String::from("# Steering, simulated\n\n");
    write_world(&mut text, results);
    text.push_str(
        "| seed | chooser | within 5 ms or 10 % of the best | mean | to the oracle | to geography | most used node while others had room | most \
         changes of a prefix |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    results.runs.iter().for_each(|run| write_run(&mut text, run));
    write_bounds(&mut text, results);
    write_plots(&mut text, file);
    text.push_str(NOTES);
    text
}

fn write_world(text: &mut String, results: &Results) {
    let steering = &results.steering;
    let revision = results.revision.as_ref().map_or_else(String::new, |revision| format!(" ({revision})"));
    let hours = SECONDS / 3_600.0;
    let _ = writeln!(
        text,
        "How near the choice of an edge comes to the best that there is. This page and its plots are made by `make bench-steering` from \
         performance-steering.json beside it and never edited; the same command repeats it, and the same seed gives the same figures on every \
         machine{revision}. What chooses is the\nproduct's own code (`Learner`, `Plan`, `choose`), told what a control plane is told, and that at its best: the databases of places and networks are right, and every prefix asks with a \
         client subnet of its own.\n\n\
         **The world**: {} nodes and {} client prefixes on a sphere; {hours} hours of which the first is for learning. Paths are 1.3 to {:.2} \
         times the great circle. {} % of the pairs of network and node\nhave a detour of 25 to 90 ms, {} % become 10 to 40 ms worse for 20 to 90 \
         minutes, measurements are longer by {} % on average. Demand follows the hour of the day, and in the second hour the clients within\n\
         1,600 km of a place ask for {} times as much for {} minutes; that crowd comes, and goes, within five minutes. Nodes can do {} times what \
         the clients nearest to them ask for at their busiest\nhour, and report every 10 s; prefixes ask when their answer holds no more, after \
         20 s unless it says less. The *oracle* knows every path and demand at every moment, and *geography* takes the nearest node that has\n\
         room; both answer for 20 s. A system whose loads are seconds old cannot meet a crowd that comes in no time at all, as the first version \
         of this simulation had it.\n",
        steering.nodes,
        thousands(steering.prefixes),
        1.3 * (1.0 + steering.stretch_percent / 100.0),
        steering.detour_percent,
        steering.changing_percent,
        steering.noise_percent,
        steering.flash_factor,
        steering.flash_minutes,
        steering.headroom,
    );
}

/// A count with a comma before each three digits.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let comma = |(index, digit): (usize, char)| {
        let before = (index > 0 && (digits.len() - index).is_multiple_of(3)).then_some(',');
        before.into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

/// The rows of a seed; what is beyond a bound is marked.
fn write_run(text: &mut String, run: &Figures) {
    for own in &run.choices {
        let is_own = own.name == "skerry";
        // In the order of the columns that are bounded.
        let kept: Vec<bool> = if is_own { run.bounds("skerry").iter().map(|verdict| verdict.kept).collect() } else { Vec::new() };
        let marked = |place: usize, cell: String| if kept.get(place).is_none_or(|kept| *kept) { cell } else { format!("**{cell}**") };
        let to =
            |name: &str| run.of(name).filter(|other| other.name != own.name).map(|other| format!("{:+.1} %", own.above_percent(other)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} ms | {} | {} | {} | {} |",
            run.seed,
            own.name,
            marked(0, format!("{:.2} %", own.near_percent)),
            own.mean_ms,
            to("oracle").map_or_else(String::new, |cell| marked(1, cell)),
            to("geography").map_or_else(String::new, |cell| marked(2, cell)),
            marked(3, format!("{:.1} %", own.used_percent)),
            marked(4, own.changes().to_string()),
        );
    }
}

fn write_bounds(text: &mut String, results: &Results) {
    let _ = write!(
        text,
        "\nThe bounds are: at least {NEAR_PERCENT} % near the best, a mean at most {ABOVE_ORACLE_PERCENT} % above the oracle's and at least \
         {BELOW_GEOGRAPHY_PERCENT} % below geography's, no node above {USED_PERCENT} % while others have room, no\nprefix with more than {CHANGES} \
         changes in an hour. All seeds ran with the same code. "
    );
    let bounds = results.bounds();
    let _ = match Verdicts(&bounds).kept() {
        Ok(()) => writeln!(text, "All {} are kept.", bounds.len()),
        Err(broken) => writeln!(text, "**{broken}.**"),
    };
}

fn write_plots(text: &mut String, file: &Path) {
    text.push_str("\n## By minute\n\nLines are of all seeds together; the band around skerry's is from the least to the most of them.\n");
    for (name, words) in PLOTS {
        let plot = plot_file(file, name);
        let _ = writeln!(text, "\n![{words}]({})", plot.file_name().unwrap_or_default().to_string_lossy());
    }
}

/// What was found out once, beside the figures of the runs.
const NOTES: &str = "\n## What this proves\n\n\
    Seeds 1 and 4 were looked at while the code was written, seeds 2, 3 and 5 to 8 by their totals, seeds 9 to 11 not before it was done. Of three curves for the price\n\
    of load (from 60, 68 and 74 % of a node's capacity on) the last was chosen by seeds 1 and 4.\n\n\
    An earlier state of the code had 94.5 % near in seed 4, whose oracle is the lowest. Where the rest was lost, in % of the traffic of the hour:\n\n\
    | why a client was not near its best | earlier | since |\n|---|---:|---:|\n\
    | held: the prefix had no change left, or kept its last one | 3.08 | 1.91 |\n\
    | gave way to the crowd; the oracle loses 1.32 in all | 1.84 | 1.87 |\n\
    | nobody measured yet that another node is better, or no longer so | 0.48 | 0.59 |\n\
    | tried a runner-up | 0.06 | 0.06 |\n\
    | had an answer from before a change | 0.06 | 0.06 |\n\n\
    More than half of what was held was so after the crowd: prefixes had given way with their third or last change, and came back only for 10 ms or a quarter. Since then the last\n\
    change is kept for less the sooner another one will be there, and who is on the last one gives way after those that can come back.\n\n\
    Small worlds keep fewer bounds. With 10 nodes and 300 prefixes, seeds 1 to 8, skerry is near for 90.0 to 98.6 % (the oracle for 95.0 to 100 %), and its mean 0.8 to 2.6 % above the\n\
    oracle's. It is 1.7 to 26.8 % below geography's; the oracle is 3.4 to 28.3 %, in six of the eight at most 15.0 %: where nodes are\n\
    far apart detours weigh little beside distance. Whom a crowd sends away goes far there, and of 300 prefixes at most six are tried at a time.\n";

#[cfg(test)]
mod tests {
    use super::super::{ByMinute, Choices, plots};
    use super::*;

    fn choices(name: &str, near_percent: f64, mean_ms: f64) -> Choices {
        let by_minute = ByMinute { near_percent: vec![near_percent; 120], mean_ms: vec![mean_ms; 120], used_percent: vec![80.0; 120] };
        Choices { name: name.to_owned(), near_percent, mean_ms, used_percent: 90.0, changed: vec![90, 6, 2, 1, 1], by_minute }
    }

    /// A run of which the product had so much near its best.
    fn results(near_percent: f64) -> Results {
        let steering = crate::settings::parse(include_str!("../../plans/steering.toml"), "steering").expect("a plan");
        let all = [choices("oracle", 99.0, 20.0), choices("geography", 70.0, 30.0), choices("skerry", near_percent, 20.5)];
        let run = Figures { seed: 7, nodes: 50, prefixes: 100, choices: all.to_vec() };
        Results { revision: Some("r1".to_owned()), steering, runs: vec![run] }
    }

    #[test]
    fn a_missed_bound_is_marked_in_its_row_and_said_below() {
        let shown = |near_percent| page(&results(near_percent), Path::new("docs/x.json"));
        let kept = shown(95.0);
        assert!(kept.contains("50 nodes and 20,000 client prefixes"), "{kept}");
        assert!(
            kept.contains("| 7 | skerry | 95.00 % | 20.50 ms | +2.5 % | -31.7 % | 90.0 % | 4 |") && kept.contains("All 5 are kept."),
            "{kept}"
        );
        let missed = shown(94.9);
        assert!(missed.contains("| 7 | skerry | **94.90 %** | 20.50 ms | +2.5 % |") && !missed.contains("are kept."), "{missed}");
        let says = "**1 of 5 bounds are not kept: seed 7: skerry: traffic within 5 ms or 10 % of its best: 94.9 %, >= 95 % wanted.**";
        assert!(missed.contains(says), "{missed}");
        // The bounds are the product's alone.
        assert!(missed.contains("| 7 | geography | 70.00 % | 30.00 ms | +50.0 % |  | 90.0 % | 4 |"), "{missed}");
    }

    #[test]
    fn every_plot_is_shown_and_tells_the_sides_apart_in_light_and_dark() {
        let results = results(96.0);
        let (page, drawn) = (page(&results, Path::new("docs/x.json")), plots(&results).expect("plots"));
        assert_eq!(drawn.iter().map(|(name, _)| *name).collect::<Vec<_>>(), PLOTS.map(|(name, _)| name));
        for (name, plot) in drawn {
            assert!(page.contains(&format!("](x-{name}.svg)")), "{name}: {page}");
            assert!(plot.starts_with("<svg role=\"img\" aria-label=") && plot.contains("prefers-color-scheme:dark"), "{name}: {plot}");
            assert!(["skerry", "oracle", "geography"].iter().all(|side| plot.matches(side).count() > 1), "{name}: {plot}");
        }
    }
}
