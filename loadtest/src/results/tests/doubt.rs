//! What is refused, marked or withheld because it may be chance.

use super::*;

#[test]
fn what_is_noise_disturbed_or_too_short_is_refused_with_numbers() {
    let noisy = measure("hit", &[0.5, 0.6, 0.62], &[1.0, 1.0, 1.0]);
    assert_eq!(noisy.refusal().expect("refused"), "the rounds' ratios of processor time to nginx are 20 % apart, where 15 % may be");
    let mut busy = believed("hit");
    // One round is enough to be wrong by.
    busy.sides[1].rounds[1].others_s = 0.6;
    assert_eq!(busy.refusal().expect("refused"), "other programs used 30 % of a core in a round of nginx, where 20 % may be");
    let short = measure("hit", &[0.59, 0.60, 0.19], &[1.0, 1.0, 1.0]);
    let reason = "skerry used 0.19 s of processor time in round 3, below 0.20 s that is as coarse as its clock";
    assert_eq!(short.refusal().expect("refused"), reason);
    assert_eq!(measure("hit", &[0.2; 3], &[0.2; 3]).refusal(), None);
    let mut silent = believed("hit");
    silent.sides[0].rounds[1].answers = 0;
    assert_eq!(silent.refusal().expect("refused"), "skerry gave no answer in round 2");
    let all = results(vec![believed("good"), noisy, silent]);
    assert_eq!(all.refusals().len(), 2);
    assert!(all.refusals()[0].starts_with("hit: the rounds' ratios"), "{:?}", all.refusals());
}

#[test]
fn a_side_alone_is_refused_where_its_rounds_are_far_apart() {
    let mut alone = measure("hit", &[0.5, 0.6, 0.62], &[1.0; 3]);
    alone.sides.truncate(1);
    assert_eq!(alone.refusal().expect("refused"), "the rounds of skerry are 20 % apart in processor time, where 15 % may be");
    let mut alone = believed("hit");
    alone.sides.truncate(1);
    assert_eq!(alone.refusal(), None);
}

#[test]
fn of_fewer_than_three_rounds_figures_are_shown_and_nothing_is_concluded() {
    let all = results(vec![measure("hit", &[0.59, 0.60], &[1.0, 1.0])]);
    assert_eq!(all.failures(), ["hit: too few rounds to conclude: 2, where 3 are the least"]);
    for text in [markdown(&all), html(&all).expect("a page")] {
        assert!(text.contains("Refused: too few rounds to conclude: 2, where 3 are the least."), "{text}");
        assert!(text.contains("11.9 (11.8 to 12.0)") && !text.contains("ratio to nginx"), "{text}");
        // 0.595 is what the ratios would come to.
        assert!(!text.contains("0.595") && text.contains("at most 0.650; refused, so not known"), "{text}");
    }
    assert_eq!(html(&all).expect("a page").matches("<svg ").count(), 3);
}

#[test]
fn the_middle_of_an_even_number_of_values_is_between_two() {
    let of = |values: &[f64]| Spread::of(values.iter().copied()).expect("values");
    assert_eq!(of(&[4.0, 1.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
    assert_eq!((of(&[9.0, 1.0, 2.0, 4.0]).median, of(&[9.0, 1.0, 2.0]).median, of(&[7.0]).median), (3.0, 2.0, 7.0));
    assert_eq!(Spread::of(std::iter::empty()), None);
    assert_eq!((of(&[0.0, 0.0]).percent(), of(&[0.0, 0.0, 1.0]).percent()), (0.0, f64::INFINITY));
}

#[test]
fn a_row_whose_ratios_are_far_apart_is_noisy_and_has_none() {
    let mut noisy = believed("hit");
    noisy.sides[0].rounds[1].latency_us.p99 = 1600;
    noisy.sides[1].rounds.iter_mut().for_each(|round| round.memory_bytes = 10 << 20);
    noisy.sides[0].rounds[0].memory_bytes = 20 << 20;
    let all = results(vec![noisy]);
    assert!(all.failures().is_empty(), "{:?}", all.failures());
    let (text, page) = (markdown(&all), html(&all).expect("a page"));
    assert!(
        text.contains("| hit, beside nginx | 12.0 (11.8 to 12.4) | 20.0 | 0.600 (0.590 to 0.620) | **noisy, 100 % apart** |\n"),
        "{text}"
    );
    assert!(text.contains("| latency p99, ms | 0.800 (0.800 to 1.60) | 0.800 | **noisy, 100 % apart** |\n"), "{text}");
    assert!(text.contains("| memory, MiB | 40.0 (20.0 to 40.0) | 10.0 | **noisy, 50 % apart** |\n"), "{text}");
    assert_eq!(page.matches("<td class=\"bad\">noisy, 100 % apart</td>").count(), 2, "{page}");
}

#[test]
fn a_percentile_with_fewer_than_ten_answers_beyond_it_is_not_told() {
    let mut few = believed("hit");
    few.sides.iter_mut().flat_map(|side| &mut side.rounds).for_each(|round| round.answers = 9_999);
    few.sides[1].rounds.iter_mut().for_each(|round| round.answers = 999);
    let text = markdown(&results(vec![few.clone()]));
    assert!(text.contains("| latency p99, ms | 0.800 | - | - |\n") && text.contains("| latency p99.9, ms | - | - | - |\n"), "{text}");
    assert!(text.contains("| latency p50, ms | 0.200 | 0.200 | 1.00 |\n"), "{text}");
    let note = "- latency p99.9, ms is not told of skerry (a round had 9999 samples, and 10000 leave 10 beyond it), of nginx (a round had 999 samples,";
    assert!(text.contains(note), "{text}");
    few.sides.iter_mut().flat_map(|side| &mut side.rounds).for_each(|round| round.answers = 10_000);
    assert!(markdown(&results(vec![few.clone()])).contains("| latency p99.9, ms | 1.80 | 1.80 | 1.00 |\n"));
    // Those of purges are of as many as there were.
    add_further(&mut few.sides[0], "purge_p99_us", 7.0);
    add_further(&mut few.sides[0], "purges", 120.0);
    assert_eq!(few.sides[0].spread("purge_p99_us"), None);
    add_further(&mut few.sides[0], "purges", 1_000.0);
    assert_eq!(few.sides[0].spread("purge_p99_us").expect("told").median, 7.0);
}

#[test]
fn throughput_that_the_generator_limits_is_not_told() {
    let mut limited = believed("hit");
    limited.sides.iter_mut().for_each(|side| add_further(side, "generator_busy_percent", 94.0));
    assert!(limited.sides[1].spread("answers_per_second").is_some());
    limited.sides[1].rounds[1].further.insert("generator_busy_percent".to_owned(), 97.0);
    limited.bounds[0].figure = "answers_per_second".to_owned();
    let all = results(vec![limited.clone()]);
    let text = markdown(&all);
    assert!(text.contains("| answers a second | 25000 | - | - |\n"), "{text}");
    let note = "answers a second is not told of nginx (in round 2 the generator was busy for 97 % and the server for 50 %, so it is what the generator can do)";
    assert!(text.contains(note), "{text}");
    assert!(
        all.failures()[0].starts_with("hit: the bound of answers_per_second beside nginx cannot be judged: nginx: in round 2"),
        "{all:?}"
    );
    // A server that has no time left either is what limits it.
    limited.sides[1].rounds[1].server_s = 1.96;
    assert!(limited.sides[1].spread("answers_per_second").is_some());
    // Some of what it did may have been after the asking.
    add_further(&mut limited.sides[1], "server_busy_percent", 60.0);
    assert_eq!(limited.sides[1].spread("answers_per_second"), None);
}
