//! Two files beside each other: what may be compared, and what is said of it.

use super::*;

#[test]
fn a_change_is_beyond_the_spread_where_rounds_do_not_overlap() {
    let old = results(vec![believed("hit"), believed("gone")]);
    let mut new = results(vec![measure("hit", &[0.65, 0.66, 0.67], &[1.0, 1.01, 1.0]), believed("come")]);
    add_further(&mut new.measures[0].sides[0], "stalls", 1.0);
    let found = difference(&old, &new);
    assert!(found.warnings.is_empty() && found.refused.is_empty(), "{found:?}");
    let change = |side: &str| found.changes.iter().find(|change| change.side == side && change.figure == "cpu_us").expect("a change");
    assert!(change("skerry").is_beyond() == Some(true) && (change("skerry").percent().expect("percent") - 10.0).abs() < 1e-9);
    assert_eq!(change("nginx").is_beyond(), Some(false));
    assert_eq!(found.only_old, ["gone"]);
    assert_eq!(found.only_new, ["hit, skerry, stalls", "come"]);
    let text = found.markdown();
    assert!(text.contains("| hit | skerry | cpu\\_us | 12.0 | 13.2 | +10.0 | beyond the spread |\n"), "{text}");
    assert!(text.contains("| hit | nginx | cpu\\_us | 20.0 | 20.0 | +0.0 | within the spread |\n"), "{text}");
    assert!(text.contains("In the old file alone:\n\n- gone\n") && text.contains("- hit, skerry, stalls\n- come\n"), "{text}");
}

#[test]
fn nothing_is_beyond_the_spread_of_fewer_than_three_rounds() {
    let old = results(vec![believed("hit")]);
    let new = results(vec![measure("hit", &[0.9, 0.9], &[1.0, 1.0])]);
    let found = difference(&old, &new);
    let change = found.changes.iter().find(|change| change.figure == "cpu_us").expect("a change");
    assert_eq!((change.is_beyond(), change.rounds), (None, 2));
    assert!(found.markdown().contains("| hit | skerry | cpu\\_us | 12.0 | 18.0 | +50.0 | too few rounds |\n"), "{}", found.markdown());
}

#[test]
fn measures_of_plans_that_differ_are_not_compared() {
    let old = results(vec![believed("hit"), believed("same")]);
    let mut new = old.clone();
    // The words are the same, and so they may be: they tell not everything.
    new.measures[0].asked.insert("load.connections".to_owned(), 32.into());
    new.measures[0].asked.insert("objects.zipf".to_owned(), 0.5.into());
    new.measures[1].load = "the same in other words".to_owned();
    let found = difference(&old, &new);
    let why = "hit is not compared: its plans differ, old and new: load.connections is 16 and 32, objects.zipf is not set and 0.5";
    assert_eq!(found.refused, [why]);
    assert!(found.changes.iter().all(|change| change.plan == "same") && !found.changes.is_empty());
}

#[test]
fn what_is_not_comparable_is_said() {
    let old = results(vec![believed("hit"), believed("noise")]);
    let mut new = results(vec![believed("hit"), measure("noise", &[0.3, 0.6, 0.6], &[1.0; 3])]);
    new.machine.cores = 4;
    new.server_core = None;
    let found = difference(&old, &new);
    let starts = ["not comparable: the machines differ, P, 2 cores", "not comparable: the cores of the server differ, 0 and any"];
    assert_eq!(found.warnings.len(), starts.len(), "{:?}", found.warnings);
    assert!(found.warnings.iter().zip(starts).all(|(warning, start)| warning.starts_with(start)), "{:?}", found.warnings);
    assert!(
        found.refused[0].starts_with("noise is not compared: it is refused in the new file: the rounds' ratios"),
        "{:?}",
        found.refused
    );
    assert!(found.changes.iter().all(|change| change.plan == "hit") && !found.changes.is_empty());
    assert!(found.markdown().contains("- **noise is not compared: it is refused in the new file"), "{}", found.markdown());
}
