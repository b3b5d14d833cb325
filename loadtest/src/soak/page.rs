//! The page: results as Markdown. Nothing in it is typed by hand, so it cannot say what was not measured.

use std::fmt::Write as _;

use super::results::{EACH_MAX, Results, START_MAX};

/// Makes docs/performance-soak.md.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut text = String::from("# Memory of an edge\n\n");
    write_circumstances(&mut text, results);
    write_memory(&mut text, results);
    write_starts(&mut text, results);
    write_load(&mut text, results);
    text
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { "yes" } else { "**no**" }
}

fn write_circumstances(text: &mut String, results: &Results) {
    let machine = &results.machine;
    let revision = results.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let _ = writeln!(
        text,
        "What an edge takes of memory with `memory_limit` and {} small answers on disk, through restarts and under load of every kind. This\n\
         page is made by `make bench-soak` from performance-soak.json beside it and never edited; the same command repeats it.\n\n\
         - Made: {}{revision}.\n\
         - Machine: {}, {} cores, {} MiB of memory, {}; edge, origin, control plane and clients share it.\n\
         - `memory_limit`: {}.\n",
        results.objects,
        results.made,
        machine.processor,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        mib(results.memory_limit),
    );
}

fn write_memory(text: &mut String, results: &Results) {
    text.push_str(
        "## Resident memory\n\nThe most that the kernel had resident of the process (`VmHWM`) from its start to its end, code and libraries\n\
         among it, in the order in which the edge lived.\n\n| the edge | at most | kept |\n|---|--:|---|\n",
    );
    for life in &results.lives {
        let _ = writeln!(text, "| {} | {} | {} |", life.name, mib(life.peak), kept(life.peak <= results.memory_limit));
    }
    let _ = writeln!(
        text,
        "\nWith nothing to do it has {} resident with an empty disk and {} with a full one: {:.0} bytes of memory an answer on disk, of which\n\
         {EACH_MAX} are allowed: {}.\n",
        mib(results.empty),
        mib(results.idle),
        results.bytes_each,
        kept(results.bytes_each <= EACH_MAX),
    );
}

fn write_starts(text: &mut String, results: &Results) {
    let _ = writeln!(
        text,
        "## Starts\n\nFrom the start of the process. An answer from the origin must come within {} ms, however much is on disk.\n\n\
         | the edge | records on disk | ready | first answer | kept | disk serves |\n|---|--:|--:|--:|---|--:|",
        START_MAX.as_millis(),
    );
    for life in &results.lives {
        let start = &life.start;
        let _ = writeln!(
            text,
            "| {} | {} | {} ms | {} ms | {} | {} ms |",
            life.name,
            start.records,
            start.ready.as_millis(),
            start.first_answer.as_millis(),
            kept(start.first_answer <= START_MAX),
            start.disk.as_millis(),
        );
    }
}

fn write_load(text: &mut String, results: &Results) {
    let load = &results.load;
    let ways: Vec<String> = load.ways.iter().map(|(name, count)| format!("{count} over {name}")).collect();
    let _ = writeln!(
        text,
        "\n## The load\n\n\
         {} answers in {} s, as many as {:.0} a second are in an hour: {}; {:.1} GB, every byte checked.\n\n\
         - {} connections at a time, {} of them reading a 32 MiB body at 4 KiB a second, and others coming and going.\n\
         - Small answers that are asked for often, seldom or for the first time; answers with many header fields, with tags, with variants, and\n  \
         ones that are not stored; ranges of 4 MiB bodies; 32 MiB bodies, whole and in ranges.\n\
         - {} lookups answered from disk, {} requests to the origin, {} records that the disk did not take, {} purges.\n\
         - {} requests refused for want of room, {} without a right answer: {}.",
        load.answers,
        load.seconds,
        load.answers as f64 / 3_600.0,
        ways.join(", "),
        load.bytes as f64 / 1e9,
        load.connections,
        load.slow,
        load.from_disk,
        load.fetched,
        load.dropped,
        load.purges,
        load.refused,
        load.failures,
        kept(load.failures == 0 && !load.refused_too_often()),
    );
}
