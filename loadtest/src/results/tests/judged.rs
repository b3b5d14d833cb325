//! Bounds that are kept, broken or not to be judged, and sides that failed.

use super::*;

fn failures(measure: Measure) -> Vec<String> {
    results(vec![measure]).failures()
}

#[test]
fn a_bound_that_is_not_kept_fails_the_run_with_both_numbers() {
    assert_eq!(failures(believed("hit")), [""; 0]);
    let broken = failures(measure("hit", &[0.7, 0.71, 0.7], &[1.0; 3]));
    assert_eq!(broken, ["hit: the bound of cpu_us beside nginx is not kept: 0.700 (14.0 beside 20.0), at most 0.650 is wanted"]);
    // Refused, so it says nothing of the bound.
    let refused = measure("hit", &[0.7, 0.9, 0.7], &[1.0; 3]);
    assert!(matches!(refused.judge(&refused.bounds[0]), Judged::NotKnown(_)), "{refused:?}");
    assert_eq!(failures(refused).len(), 1);
}

#[test]
fn something_beside_nothing_breaks_every_bound_and_nothing_keeps_it() {
    let with = |ours: f64, beside: f64| {
        let mut stalls = believed("live");
        stalls.bounds[0].figure = "stalls_per_viewer".to_owned();
        add_further(&mut stalls.sides[0], "stalls_per_viewer", ours);
        add_further(&mut stalls.sides[1], "stalls_per_viewer", beside);
        stalls
    };
    assert_eq!(failures(with(0.0, 0.0)), [""; 0]);
    assert_eq!(failures(with(0.0, 4.0)), [""; 0]);
    assert_eq!(failures(with(2.0, 4.0)), [""; 0]);
    assert_eq!(
        failures(with(2.0, 0.0)),
        ["live: the bound of stalls_per_viewer beside nginx is not kept: 2.00 beside 0, at most 0.650 is wanted"]
    );
    assert!(markdown(&results(vec![with(2.0, 0.0)])).contains("| 2.00 beside 0 | 0.650 | **no** |\n"));
    assert_eq!(with(0.0, 0.0).noise("stalls_per_viewer", &with(0.0, 4.0).sides[1]), None);
}

#[test]
fn a_bound_that_cannot_be_judged_fails_the_run_unless_the_peer_was_not_measured() {
    let mut unknown = believed("hit");
    unknown.bounds[0].figure = "stalls_per_viewer".to_owned();
    let why = "hit: the bound of stalls_per_viewer beside nginx cannot be judged: not every round of skerry and nginx has the figure";
    assert_eq!(failures(unknown.clone()), [why]);
    assert!(markdown(&results(vec![unknown])).contains("| 0.650 | **not known** |\n"));
    let mut noisy = believed("hit");
    noisy.bounds[0].figure = "p99_ms".to_owned();
    noisy.bounds[0].ratio_max = 1.1;
    noisy.sides[0].rounds[1].latency_us.p99 = 1_600;
    let why = "hit: the bound of p99_ms beside nginx cannot be judged: the ratios of the rounds are from 1.00 to 2.00";
    assert_eq!(failures(noisy.clone()), [why]);
    // All rounds are on one side of these.
    noisy.bounds[0].ratio_max = 2.0;
    assert_eq!(failures(noisy.clone()), [""; 0]);
    noisy.bounds[0].ratio_max = 0.9;
    assert!(failures(noisy)[0].contains("is not kept: 1.00 (0.800 beside 0.800), at most 0.900"));
    let mut absent = believed("hit");
    absent.sides[1] = Side { absent: Some("not installed".to_owned()), ..side("nginx", &[]) };
    assert_eq!(failures(absent), [""; 0]);
    let mut not_asked = believed("hit");
    not_asked.bounds[0].against = "varnish".to_owned();
    let text = markdown(&results(vec![not_asked.clone()]));
    assert!(text.contains("| hit: cpu\\_us beside varnish | at most 0.650; not measured: varnish was not asked for |"), "{text}");
    assert_eq!(failures(not_asked), [""; 0]);
}

#[test]
fn a_peer_that_failed_fails_the_run_and_one_that_cannot_does_not() {
    let mut failed = believed("hit");
    failed.sides[1] = Side { failed: Some("round 2: 1 of 9 answers had a wrong body".to_owned()), ..side("nginx", &[]) };
    assert_eq!(failures(failed.clone()), ["hit: nginx failed: round 2: 1 of 9 answers had a wrong body"]);
    let all = results(vec![failed]);
    all.check().expect("it may be");
    let text = markdown(&all);
    assert!(text.contains("| hit, beside nginx | failed: round 2: 1 of 9 answers had a wrong body |"), "{text}");
    assert!(text.contains("- nginx failed: round 2: 1 of 9 answers had a wrong body.\n"), "{text}");
}
