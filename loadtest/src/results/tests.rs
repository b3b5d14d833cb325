//! Results that were made up, and what is said of them.

use std::collections::BTreeMap;
use std::fs;

use super::figures::{number, quantile};
use super::*;

mod difference;
mod doubt;
mod judged;

/// A round in which the server took so much of a second for 50,000 answers.
fn round(server_s: f64) -> Round {
    let latency = |p50| Latency { min: p50 / 2, p50, p90: p50 * 2, p99: p50 * 4, p999: p50 * 9, max: p50 * 20 };
    Round {
        seconds: 2.0,
        planned: 50_000,
        answers: 50_000,
        hits: Some(49_000),
        body_octets: 50_000 * 1024,
        server_s,
        generator_s: 1.0,
        others_s: 0.1,
        memory_bytes: 40 << 20,
        latency_us: latency(200),
        first_byte_us: latency(150),
        histogram: (1..=40_u64).map(|index| (index * index * 5, 50_000 / (index * index))).collect(),
        further: BTreeMap::new(),
    }
}

fn side(name: &str, rounds: &[f64]) -> Side {
    Side { name: name.to_owned(), rounds: rounds.iter().copied().map(round).collect(), absent: None, failed: None }
}

/// A figure of the scenario, the same in every round.
fn add_further(side: &mut Side, name: &str, value: f64) {
    for round in &mut side.rounds {
        round.further.insert(name.to_owned(), value);
    }
}

fn measure(plan: &str, ours: &[f64], beside: &[f64]) -> Measure {
    Measure {
        plan: plan.to_owned(),
        what: "A hit of 1 KB".to_owned(),
        load: "open loop, 25000 requests/s, Poisson, 16 connections, HTTP/1.1".to_owned(),
        asked: BTreeMap::from([("load.connections".to_owned(), 16.into()), ("load.rate".to_owned(), 25_000.into())]),
        sides: vec![side("skerry", ours), side("nginx", beside)],
        notes: Vec::new(),
        bounds: vec![Bound { figure: "cpu_us".to_owned(), against: "nginx".to_owned(), ratio_max: 0.65 }],
    }
}

fn results(measures: Vec<Measure>) -> Results {
    Results {
        format: FORMAT,
        made: "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
        machine: Machine { processor: "P".to_owned(), cores: 2, memory_mib: 1, kernel: "Linux 6".to_owned() },
        versions: vec!["skerry 0".to_owned(), "nginx/1".to_owned()],
        revision: Some("0a1b2c".to_owned()),
        server_core: Some(0),
        generator_core: Some(1),
        measures,
    }
}

/// One that is believed: 12 us to 20 us, ratio 0.6.
fn believed(plan: &str) -> Measure {
    measure(plan, &[0.59, 0.60, 0.62], &[1.0, 1.0, 1.0])
}

#[test]
fn a_ratio_is_taken_round_by_round() {
    let hit = measure("hit", &[0.6, 1.2, 0.61], &[1.0, 2.0, 1.0]);
    let ratio = hit.ratio("cpu_us", &hit.sides[1]).expect("a ratio");
    // The machine was half as fast in the second round, for both.
    assert!((ratio.median - 0.6).abs() < 1e-9 && (ratio.max - 0.61).abs() < 1e-9, "{ratio:?}");
    assert_eq!(hit.refusal(), None);
    assert_eq!(hit.sides[0].spread("cpu_us").expect("a figure").median, 12.2);
    assert_eq!(hit.sides[0].spread("no_such_figure"), None);
    // Nothing is nothing times anything, not a number.
    let mut nought = believed("hit");
    nought.sides[1].rounds.iter_mut().for_each(|round| round.latency_us.p50 = 0);
    assert_eq!(nought.ratio("p50_ms", &nought.sides[1]), None);
}

#[test]
fn quantiles_are_those_of_all_rounds_together() {
    let mut two = side("skerry", &[1.0, 1.0]);
    two.rounds[0].histogram = vec![(10, 90), (20, 5)];
    two.rounds[1].histogram = vec![(10, 4), (30, 1)];
    let merged = two.histogram();
    assert_eq!(merged, BTreeMap::from([(10, 94), (20, 5), (30, 1)]));
    assert_eq!([0.0, 0.5, 0.94, 0.95, 0.99, 0.995, 1.0].map(|part| quantile(&merged, part)), [10, 10, 10, 20, 20, 30, 30].map(Some));
    assert_eq!(quantile(&BTreeMap::new(), 0.5), None);
    assert_eq!([0.0, 0.0123, 1.234, 12.34, 123.4, 99.7].map(number), ["0", "0.012", "1.23", "12.3", "123", "100"]);
}

#[test]
fn pages_show_figures_of_what_is_believed_and_reasons_of_what_is_not() {
    let mut absent = believed("absent");
    absent.sides[1] = Side { name: "nginx".to_owned(), rounds: Vec::new(), absent: Some("it has no HTTP/3".to_owned()), failed: None };
    let all = results(vec![believed("hit"), measure("noise", &[0.345, 0.678, 0.345], &[1.0; 3]), absent]);
    let text = markdown(&all);
    assert!(text.contains("| hit, beside nginx | 12.0 (11.8 to 12.4) | 20.0 | 0.600 (0.590 to 0.620) | 1.00 |\n"), "{text}");
    assert!(text.contains("| hit: cpu\\_us beside nginx | 0.600 (0.590 to 0.620) | 0.650 | yes |\n"), "{text}");
    assert!(
        text.contains("| noise | refused: the rounds' ratios of processor time to nginx are 97 % apart, where 15 % may be |"),
        "{text}"
    );
    assert!(text.contains("| absent, beside nginx | not measured: it has no HTTP/3 |"), "{text}");
    assert!(
        text.contains("| absent: cpu\\_us beside nginx | at most 0.650; not measured: nginx: not measured: it has no HTTP/3 |"),
        "{text}"
    );
    for said in ["0a1b2c", "skerry 0, nginx/1", "Sun, 06 Nov 1994", "P, 2 cores", "server on core 0", "| hits, % | 98.0 | 98.0 |"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let page = html(&all).expect("a page");
    // 6.9 us and 13.6 us are what the refused rounds would come to.
    for text in [&text, &page] {
        assert!(!text.contains("6.90") && !text.contains("13.6"), "{text}");
        assert!(text.contains("12.0 (11.8 to 12.4)"), "{text}");
    }
    let refused = page.split("<h2>noise</h2>").nth(1).and_then(|rest| rest.split("<h2>").next()).expect("its section");
    assert!(refused.contains("class=\"refused\"") && !refused.contains("<svg") && !refused.contains("<table"), "{refused}");
    assert_eq!(page.matches("<svg role=\"img\" aria-label=").count(), 6, "three plots of each that is believed");
    assert!(markdown(&results(vec![measure("hit", &[0.7; 3], &[1.0; 3])])).contains("| 0.700 (14.0 beside 20.0) | 0.650 | **no** |"));
}

#[test]
fn words_of_a_file_are_no_markup() {
    let mut odd = believed("<b>|x</b>");
    odd.what = "a & b\n# c \"q\" 'p' [l](u)".to_owned();
    odd.sides[0].name = "<script>alert(1)</script>".to_owned();
    odd.notes.push("**n**".to_owned());
    let page = html(&results(vec![odd.clone()])).expect("a page");
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;b&gt;|x&lt;/b&gt;") && page.contains("a &amp; b") && page.contains("&quot;q&quot; &#39;p&#39;"), "{page}");
    // It refers to nothing but the name of SVG, which a reader does not fetch.
    let references = page.replace("http://www.w3.org/2000/svg", "");
    assert!(["http:", "https:", "src=", "href=", "url(", "@import"].iter().all(|word| !references.contains(word)), "{page}");
    let text = markdown(&results(vec![odd]));
    assert!(text.contains("## \\<b\\>\\|x\\</b\\>\n\na \\& b \\# c \"q\" 'p' \\[l\\](u)\n"), "{text}");
    assert!(text.contains("- \\*\\*n\\*\\*.\n") && text.matches("<script").count() == text.matches("\\<script\\>").count(), "{text}");
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("results.json");
    fs::write(&path, "old").expect("an old file");
    let mut all = results(vec![believed("hit")]);
    all.measures[0].sides[0].rounds[2].further.insert("collapse_ratio".to_owned(), 0.1 + 0.2);
    write(&path, &all).expect("written");
    assert_eq!(read(&path).expect("read"), all);
    let text = fs::read_to_string(&path).expect("the file");
    // A round on a line, of two sides with three; the machine and what is empty as people write them.
    assert_eq!(text.lines().filter(|line| line.starts_with("      {\"seconds\":2.0,")).count(), 6, "{text}");
    assert!(text.contains("\n \"machine\": {\n  \"processor\": \"P\",\n") && text.contains("\n   \"notes\": [],\n"), "{text}");
    assert!(text.starts_with("{\n \"format\": 2,\n") && text.ends_with("\n ]\n}\n"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing is left beside it");
    let fault = write(&folder.path().join("no/such.json"), &all).expect_err("no folder");
    assert!(fault.starts_with("cannot write ") && fault.contains("no/such.json: No such file"), "{fault}");
}

#[test]
fn what_cannot_have_been_measured_is_refused_in_words() {
    let with = |change: fn(&mut Results)| {
        let mut all = results(vec![believed("hit")]);
        change(&mut all);
        all.check().expect_err("refused")
    };
    assert_eq!(with(|all| all.measures.clear()), "there is no measure, at least one is needed");
    assert_eq!(with(|all| all.measures.push(believed("hit"))), "measure hit: is there twice, the names of plans must differ");
    let fault = with(|all| drop(all.measures[0].sides[1].rounds.pop()));
    assert_eq!(fault, "measure hit: skerry has 3 rounds and nginx has 2, each must have as many");
    let fault = with(|all| all.measures[0].sides[0].rounds[1].server_s = f64::NAN);
    assert_eq!(fault, "measure hit: side skerry: round 2: server_s is NaN, it must be a number that is not negative");
    let fault = with(|all| all.measures[0].sides[0].rounds[1].seconds = 0.0);
    assert_eq!(fault, "measure hit: side skerry: round 2: seconds is 0, it must be above 0");
    let fault = with(|all| add_further(&mut all.measures[0].sides[0], "x", f64::INFINITY));
    assert_eq!(fault, "measure hit: side skerry: round 1: x is inf, it must be a number");
    let fault = with(|all| all.measures[0].sides[0].rounds[0].histogram = vec![(2, 1), (2, 1)]);
    assert_eq!(fault, "measure hit: side skerry: round 1: the histogram has a bucket to 2 us after one to 2 us, they must rise");
    let fault = with(|all| all.measures[0].sides[0].rounds[0].histogram = (0..501).map(|end| (end, 1)).collect());
    assert!(fault.ends_with("the histogram has 501 buckets, 500 are the most"), "{fault}");
    // Counts whose sum would not fit, in a bucket of a plot.
    let fault = with(|all| all.measures[0].sides[0].rounds[0].histogram = vec![(1, u64::MAX), (2, u64::MAX)]);
    assert!(fault.ends_with("the sum of the histogram is 18446744073709551615, 4503599627370496 is the most"), "{fault}");
    let fault = with(|all| all.measures[0].sides[0].rounds = vec![round(1.0); 1001]);
    assert_eq!(fault, "measure hit: side skerry: it has 1001 rounds, 1000 are the most");
    let fault = with(|all| all.measures[0].sides[1].rounds.clear());
    assert_eq!(fault, "measure hit: side nginx: it has no rounds and does not say why");
    let fault = with(|all| all.measures[0].sides[1].absent = Some("gone".to_owned()));
    assert_eq!(fault, "measure hit: side nginx: it has rounds and is said to be not measured: gone");
    let fault =
        with(|all| all.measures[0].sides[1] = Side { absent: Some("a".to_owned()), failed: Some("b".to_owned()), ..side("nginx", &[]) });
    assert_eq!(fault, "measure hit: side nginx: it is said to be both absent and failed");
    let fault = with(|all| all.measures[0].bounds[0].against = "skerry".to_owned());
    assert_eq!(fault, "measure hit: the bound of cpu_us is against skerry, which is the first side itself");
    let fault = with(|all| all.measures[0].bounds[0].ratio_max = f64::NAN);
    assert_eq!(fault, "measure hit: the bound of cpu_us is NaN, it must be above 0");
}

#[test]
fn a_file_of_something_else_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("results.json");
    let fault = read(&path).expect_err("no file");
    assert!(fault.starts_with("cannot read ") && fault.contains("results.json: No such file"), "{fault}");
    let good = serde_json::to_string(&results(vec![believed("hit")])).expect("JSON");
    let cases = [
        ("{}".to_owned(), "not results of a side-by-side run: missing field `format`"),
        ("x".to_owned(), "not results of a side-by-side run: expected value"),
        (r#"{"format":1,"other":true}"#.to_owned(), "its format is 1, this program reads 2: measure anew, or read it with the"),
        (good.replace("\"plan\"", "\"plane\""), "unknown field `plane`"),
        (good.replace("\"server_s\":0.59", "\"server_s\":null"), "invalid type: null, expected f64"),
        (good.replace("\"server_s\":0.59", "\"server_s\":-1"), "server_s is -1, it must be a number that is not negative"),
    ];
    for (text, words) in cases {
        fs::write(&path, &text).expect("a file");
        let fault = read(&path).expect_err("refused");
        assert!(fault.contains("results.json: ") && fault.contains(words), "{fault}");
    }
}

#[test]
fn pages_are_made_of_what_is_at_the_edge_of_what_may_be() {
    let gone = |name: &str| Side { name: name.to_owned(), rounds: Vec::new(), absent: Some("there is none".to_owned()), failed: None };
    let mut ours_absent = believed("ours-absent");
    ours_absent.sides[0] = gone("skerry");
    let mut all_absent = believed("all-absent");
    all_absent.sides = vec![gone("skerry"), gone("nginx")];
    let mut alone = measure("alone", &[0.5], &[1.0]);
    alone.sides.truncate(1);
    alone.bounds.clear();
    let mut extreme = believed("extreme");
    extreme.sides[0].rounds.iter_mut().for_each(|round| round.histogram = vec![(0, 1), (u64::MAX, 1)]);
    extreme.sides[1].rounds.iter_mut().for_each(|round| round.histogram.clear());
    let mut same = believed("same");
    same.sides.iter_mut().flat_map(|side| &mut side.rounds).for_each(|round| round.histogram = vec![(1000, 5)]);
    let all = results(vec![ours_absent, all_absent, alone, extreme, same]);
    all.check().expect("it may be");
    assert_eq!(all.refusals(), ["alone: too few rounds to conclude: 1, where 3 are the least"]);
    let text = markdown(&all);
    assert!(text.contains("| ours-absent | skerry not measured: there is none |") && text.contains("| figure | nginx |\n"), "{text}");
    assert!(text.contains("\n**Refused: too few rounds to conclude: 1, where 3 are the least.**\n\n| figure | skerry |\n"), "{text}");
    let page = html(&all).expect("a page");
    // Bars of the four that have a side that was measured, and their curves.
    assert_eq!(page.matches("<svg ").count(), 12, "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
}
