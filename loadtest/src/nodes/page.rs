//! The page: figures as Markdown. Nothing in it is typed by hand, so it cannot say what was not measured.

use std::fmt::{self, Display, Formatter, Write as _};

use super::figures::{Cost, Figures, Spread, mib, ms};
use crate::bound::Verdicts;
use crate::machine::Machine;

/// Makes docs/performance-nodes.md of some runs, the first of which tells of the machine.
#[must_use]
pub fn page(runs: &[Figures]) -> String {
    let mut text = String::from("# A thousand nodes on one control plane\n\n");
    let Some(first) = runs.first() else { return text };
    let Machine { processor, cores, memory_mib, kernel } = &first.machine;
    let revision = first.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let _ = writeln!(
        text,
        "One `skerry control`, and many nodes of the real agent in one other process, on one machine: with its own disk for the control plane, and what the nodes\n\
         keep in memory. This page is made by `make bench-nodes` from performance-nodes.json beside it and never edited; the same command repeats it.\n\n\
         - Made: {}{revision}.\n\
         - Machine: {processor}, {cores} cores, {memory_mib} MiB of memory, {kernel}. The nodes and what sends the purges share the cores with the control plane: real nodes have\n  \
         their own. A purge is in force on the last node when both have done what it costs them for every node, on these cores together.\n\
         - A small file is whole on the control plane's disk after {} (median).\n",
        first.made,
        ms(first.write_us),
    );
    runs.iter().for_each(|run| write_run(&mut text, run));
    text
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&page(std::slice::from_ref(self)))
    }
}

fn write_run(text: &mut String, run: &Figures) {
    let Figures { edges, shields, sites, batches, .. } = run;
    let _ = writeln!(
        text,
        "## {edges} edges, {shields} shields, {sites} sites\n\n\
         All followed after {:.1} s; {} streams were opened again. Every node had every purge once and in order.\n\n\
         | from the request to | count | p50 | p99 | longest |\n|---|--:|--:|--:|--:|",
        run.join_s, run.reconnects,
    );
    for (what, spread) in [
        ("a purge accepted and on disk", &run.answered),
        ("a purge in force on the last node", &run.applied),
        ("a batch accepted and on disk", &batches.answered),
        ("a batch in force on the last node", &batches.applied),
        ("a changed site in force on the last node, at once", &run.changes),
    ] {
        let Spread { count, p50_us, p99_us, max_us } = *spread;
        let _ = writeln!(text, "| {what} | {count} | {} | {} | {} |", ms(p50_us), ms(p99_us), ms(max_us));
    }
    let _ = writeln!(
        text,
        "\nBatches: {} requests of {} URLs, {} URLs a second due, {} requests accepted; {:.0} URLs a second in force everywhere over {:.1} s. The last node confirmed\n\
         {:.0} ms after that.\n\n\
         Processor time for one node, in microseconds, without that of its signs of life ({:.2} cores for all of them, on both sides together):\n\n\
         | | control plane | nodes and generator |\n|---|--:|--:|",
        batches.requests,
        batches.urls_each,
        batches.rate,
        batches.accepted,
        batches.urls_per_s(),
        batches.seconds,
        batches.confirmed_ms,
        run.costs.first().map_or(0.0, |rest| (rest.control_s + rest.nodes_s) / rest.seconds),
    );
    let rounds =
        [("one purge", run.applied.count), ("one request of a batch", batches.accepted), ("one change of a site", run.changes.count)];
    for ((what, count), cost) in rounds.into_iter().zip(run.costs.iter().skip(1)) {
        let [control, nodes] = each(run, cost, count);
        let _ = writeln!(text, "| {what} | {control:.1} | {nodes:.1} |");
    }
    let _ = writeln!(
        text,
        "\nThe control plane had {} resident at the end, {} at most.\n\n{}",
        mib(run.resident),
        mib(run.resident_peak),
        Verdicts(&run.bounds())
    );
}

/// What one of so many rounds cost for one node, without rest, in microseconds: of the control plane and of the nodes.
fn each(run: &Figures, cost: &Cost, count: u64) -> [f64; 2] {
    let rest = run.costs.first().filter(|rest| rest.seconds > 0.0);
    let share = |of: fn(&Cost) -> f64| of(cost) - rest.map_or(0.0, |rest| of(rest) / rest.seconds * cost.seconds);
    let rounds = (count.max(1) * (run.edges + run.shields).max(1) as u64) as f64;
    [share(|cost| cost.control_s), share(|cost| cost.nodes_s)].map(|seconds| (seconds * 1e6 / rounds).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::fine;
    use super::*;

    #[test]
    fn the_page_says_what_was_measured_of_every_run_and_what_a_node_costs() {
        let cost = |what: &str, seconds, control_s, nodes_s| Cost { what: what.to_owned(), seconds, control_s, nodes_s };
        // Ten nodes, one purge.
        let costs = vec![
            cost("rest", 2.0, 0.2, 0.4),
            cost("single", 1.0, 0.1004, 0.201),
            cost("batches", 1.0, 0.1, 0.2),
            cost("changes", 1.0, 0.0, 0.0),
        ];
        let run = Figures { costs, ..fine() };
        let text = page(&[run.clone(), Figures { sites: 10_000, ..run }]);
        for says in [
            "## 9 edges, 1 shields, 1 sites",
            "## 9 edges, 1 shields, 10000 sites",
            "| one purge | 40.0 | 100.0 |",
            "| one change of a site | 0.0 | 0.0 |",
            "(0.30 cores",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
