//! The page: results as Markdown. Nothing in it is typed by hand, so it cannot say what was not measured.

use std::fmt::Write as _;

use super::results::{IdleRow, Results, Round, Row};
use crate::results::{OTHERS_MAX_PERCENT, SPREAD_MAX_PERCENT};

/// Where the rest is.
const OTHER_PAGES: &str = "\n## Elsewhere\n\n\
    - [Side by side](performance-compare.md): a whole CDN beside nginx, Varnish and Traffic Server: hits, misses, herds, a site's traffic, live\n  \
    streams, downloads, slow origins, slow clients, purges; [with plots](performance-compare.html).\n\
    - [What a miss costs](performance-misses.md) an edge, in instructions, allocations and system calls.\n\
    - [The disk tier](performance-disk.md) without sockets: hits, large bodies, memory an answer.\n\
    - [Hits from disk over sockets](performance-disk-sockets.md), beside nginx.\n\
    - [A large file, cold](performance-slices.md), through edge and shield, beside curl from the origin with as many connections.\n\
    - [What stays in memory](performance-memory.md): hit ratios of ways to choose, beside LRU, TinyLFU and S3-FIFO.\n\
    - [DNS answers](performance-dns.md) in a second of one core, beside Knot DNS and NSD.\n\
    - [A thousand nodes](performance-nodes.md) on one control plane: purges, batches of them, changes of a site.\n\
    - [Steering](performance-steering.md), simulated: how near the best edge clients are sent, and what a million client prefixes cost.\n\
    - [Memory of an edge](performance-soak.md) with a limit and a million answers on disk, under load and through restarts.\n";

/// Makes docs/performance.md.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut text = String::from("# Performance\n\n");
    let _ = writeln!(
        text,
        "What the front door of an edge costs, measured beside Debian's nginx with a warm `proxy_cache`. This page is made by `make\n\
         bench-front` from performance.json beside it and never edited; the same command repeats the measurement.\n"
    );
    write_circumstances(&mut text, results);
    write_rows(&mut text, results);
    write_idle(&mut text, &results.idle);
    text.push_str(OTHER_PAGES);
    text
}

fn write_circumstances(text: &mut String, results: &Results) {
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "- Made: {}.\n- Machine: {}, {} cores, {} MiB of memory, {}.\n- Programs: {}.\n- Server on core {}, generator on core {}.\n\
         - {} rounds of {} ms for each side, in turn.\n",
        results.made,
        machine.processor,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        results.versions.join(", "),
        results.server_core,
        results.generator_core,
        results.rounds,
        results.round_ms,
    );
    if results.server_core == results.generator_core {
        text.push_str("**Server and generator share their only core.**\n\n");
    }
}

fn write_rows(text: &mut String, results: &Results) {
    if results.rows.is_empty() {
        return;
    }
    text.push_str(
        "## Processor time of a hit\n\n\
         Microseconds of the server's processes for one request, user and system, as the operating system accounts for them; medians of the\n\
         rounds. The ratio is taken round by round; its median must be at most the bound. Requests are made in a closed loop over kept\n\
         connections. A server that has to wait for requests pays for going to sleep and being woken, the more the faster it is, so where a\n\
         hit costs least it is wrk that asks, which is faster than both servers; it looks at no body, but skerry-loadtest does before and after\n\
         each of its rounds. Elsewhere skerry-loadtest asks and checks every body; where it is busier than the server, a rate is what both\n\
         reached together. `others` is what everything else on the machine used, in percent of one core.\n\n\
         | hit | ours, us | beside, us | ratio | from-to | bound | kept | ours/s | beside/s | server busy % | generator busy % | others % |\n\
         |---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|\n",
    );
    results.rows.iter().for_each(|row| write_row(text, row));
    text.push('\n');
    let mut notes = Vec::new();
    for row in &results.rows {
        let streams = if row.streams == 1 { String::new() } else { format!(" of {} streams", row.streams) };
        let names: Vec<&str> = row.sides.iter().map(|side| side.name.as_str()).collect();
        let mut note = format!("{}: {} connections{streams} by {}", row.name, row.connections, row.generator);
        if !names.is_empty() {
            let _ = write!(note, ", {}", names.join(" and "));
        }
        if let Some(suite) = &row.suite {
            let _ = write!(note, ", {suite}");
        }
        if row.is_noisy() {
            let apart = row.ratio().map_or_else(|| "too little work was counted".to_owned(), |ratio| format!("{:.0} %", ratio.percent()));
            let _ = write!(note, ". **Noisy: the ratios of the rounds differ by more than {SPREAD_MAX_PERCENT} % ({apart})**");
        }
        if let Some(percent) = row.disturbed_percent() {
            let _ = write!(note, ". **Disturbed: other programs used {percent:.0} % of a core, where {OTHERS_MAX_PERCENT} % may be**");
        }
        notes.push(note);
    }
    let _ = writeln!(text, "- {}.\n", notes.join(".\n- "));
}

fn write_row(text: &mut String, row: &Row) {
    if let Some(absent) = &row.absent {
        let _ = writeln!(text, "| {} | not measured: {absent} | | | | {} | | | | | | |", row.name, row.bound);
        return;
    }
    // Median of each side, the first side's and then the other's.
    let both = |value: fn(&Round) -> f64, digits: usize| {
        let medians = row.sides.iter().map(|side| side.spread(value).map_or(0.0, |spread| spread.median));
        medians.map(|median| format!("{median:.digits$}")).collect::<Vec<_>>()
    };
    let ratio = row.ratio();
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    let rate = both(|round| round.answers as f64 / round.seconds, 0);
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} | {} |",
        row.name,
        both(Round::server_us, 2).join(" | "),
        ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median)),
        ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}-{:.2}", ratio.min, ratio.max)),
        row.bound,
        row.is_met().map_or("-", |met| if met { "yes" } else { "**no**" }),
        rate.join(" | "),
        [
            both(|round| round.server_s * 100.0 / round.seconds, 0).join(", "),
            both(|round| round.generator_s * 100.0 / round.seconds, 0).join(", "),
            both(|round| round.others_s * 100.0 / round.seconds, 0).join(", "),
        ]
        .join(" | "),
    );
}

fn write_idle(text: &mut String, rows: &[IdleRow]) {
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "## Memory of an idle connection\n\n\
         Resident memory of the server's processes with connections that were each asked once over HTTP/1.1 and have nothing to do, less that\n\
         without them, for each of them. Memory of the kernel is not in it.\n\n\
         | connections | server | how many | each, bytes | bound | kept |\n|---|---|--:|--:|--:|---|\n",
    );
    for row in rows {
        for (index, side) in row.sides.iter().enumerate() {
            // The bound is ours alone.
            let kept = if side.each_bytes() <= row.bound_bytes { "yes" } else { "**no**" };
            let (bound, kept) = if index == 0 { (row.bound_bytes.to_string(), kept) } else { (String::new(), "") };
            let _ = writeln!(text, "| {} | {} | {} | {} | {bound} | {kept} |", row.name, side.name, side.connections, side.each_bytes());
        }
        if let Some(absent) = &row.absent {
            let _ = writeln!(text, "| {} | not measured: {absent} | | | | |", row.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::{IdleSide, Side};
    use super::*;
    use crate::machine::Machine;

    fn round(server_s: f64) -> Round {
        Round { seconds: 2.0, answers: 100_000, hits: Some(100_000), server_s, generator_s: 1.0, others_s: 0.2, p50_us: 1, p99_us: 2 }
    }

    fn row(ours: [f64; 3]) -> Row {
        let side = |name: &str, rounds: [f64; 3]| Side { name: name.to_owned(), rounds: rounds.into_iter().map(round).collect() };
        Row {
            id: "h1-1k".to_owned(),
            name: "HTTP/1.1, 1 KB".to_owned(),
            connections: 64,
            streams: 1,
            generator: "wrk".to_owned(),
            suite: None,
            bound: 0.65,
            absent: None,
            sides: vec![side("skerry", ours), side("nginx", [1.0, 1.0, 1.0])],
        }
    }

    fn results(rows: Vec<Row>) -> Results {
        let side = |name: &str, after_bytes| IdleSide { name: name.to_owned(), connections: 10, before_bytes: 1000, after_bytes };
        let idle = IdleRow {
            id: "idle".to_owned(),
            name: "cleartext".to_owned(),
            bound_bytes: 8192,
            absent: None,
            sides: vec![side("skerry", 101_000), side("nginx", 1000)],
        };
        Results {
            made: "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
            machine: Machine { processor: "P".to_owned(), cores: 2, memory_mib: 1, kernel: "Linux 6".to_owned() },
            versions: vec!["skerry 0".to_owned(), "nginx/1".to_owned()],
            rounds: 3,
            round_ms: 2000,
            server_core: 0,
            generator_core: 1,
            rows,
            idle: vec![idle],
        }
    }

    #[test]
    fn a_row_tells_the_ratio_and_whether_the_bound_is_kept() {
        let text = page(&results(vec![row([0.60, 0.64, 0.62])]));
        let line = "| HTTP/1.1, 1 KB | 6.20 | 10.00 | 0.62 | 0.60-0.64 | 0.65 | yes | 50000 | 50000 | 31, 50 | 50, 50 | 10, 10 |\n";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("Noisy") && !text.contains("Disturbed"), "{text}");
        assert!(text.contains("| cleartext | skerry | 10 | 10000 | 8192 | **no** |\n| cleartext | nginx | 10 | 0 |  |  |\n"), "{text}");
        assert!(page(&results(vec![row([0.70, 0.72, 0.71])])).contains("| **no** |"));
    }

    #[test]
    fn a_row_that_is_noise_or_absent_says_so() {
        let text = page(&results(vec![row([0.60, 0.80, 0.62])]));
        assert!(text.contains("Noisy: the ratios of the rounds differ by more than 15 % (32 %)"), "{text}");
        // A clock that saw no work at all.
        let text = page(&results(vec![row([0.60, 0.0, 0.62])]));
        assert!(text.contains("| - | - | 0.65 | - |") && text.contains("too little work was counted"), "{text}");
        let mut busy = row([0.60, 0.64, 0.62]);
        busy.sides[1].rounds.iter_mut().for_each(|round| round.others_s = 0.6);
        let text = page(&results(vec![busy]));
        assert!(text.contains("Disturbed: other programs used 30 % of a core, where 20 % may be"), "{text}");
        let absent = Row { absent: Some("skerry has no listener for it".to_owned()), sides: Vec::new(), ..row([1.0; 3]) };
        let text = page(&results(vec![absent]));
        assert!(text.contains("| HTTP/1.1, 1 KB | not measured: skerry has no listener for it |") && !text.contains("Noisy"), "{text}");
    }

    #[test]
    fn results_are_read_back_as_they_were_written() {
        let results = results(vec![row([0.60, 0.64, 0.62])]);
        let text = serde_json::to_string(&results).expect("JSON");
        assert_eq!(page(&serde_json::from_str(&text).expect("results")), page(&results));
    }
}
