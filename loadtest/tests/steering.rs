//! `skerry-loadtest steering` as a person types it.

use crate::house::{loadtest, said};

const PLAN: &str = include_str!("../plans/steering.toml");

#[tokio::test]
async fn a_small_world_is_simulated_alike_each_time_and_says_which_bounds_are_not_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (plan, json) = (path("plan.toml"), path("figures.json"));
    let small = PLAN.replace("nodes = 50", "nodes = 10").replace("prefixes = 20000", "prefixes = 300");
    assert_ne!(small, PLAN);
    std::fs::write(&plan, small).expect("written");
    let first = loadtest(&["steering", "--plan", &plan, "--json", &json]).await;
    let (table, warning) = said(&first);
    assert_eq!(first.status.code(), Some(1), "{warning}");
    assert!(table.contains("| oracle |") && table.contains("| geography |") && table.contains("| skerry |"), "{table}");
    assert!(table.contains("**not kept**") && warning.contains("bounds are not kept: "), "{table}\n{warning}");
    let figures = std::fs::read(&json).expect("figures");
    let again = loadtest(&["steering", "--plan", &plan, "--json", &json]).await;
    assert!((said(&again).0, std::fs::read(&json).expect("figures")) == (table, figures), "another run has other figures");
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.toml");
    for (text, says) in [
        (PLAN.replace("nodes = 50", "nodes = 1"), "nodes = 1 is not between 2 and 500"),
        (PLAN.replace("[steering]", "[steering]\nspeed = 3"), "unknown field `speed`"),
        (PLAN.replace("scenario = \"steering\"", "scenario = \"nodes\""), "the plan is of scenario \"nodes\""),
    ] {
        std::fs::write(&plan, text).expect("written");
        let output = loadtest(&["steering", "--plan", plan.to_str().expect("a path in UTF-8")]).await;
        let (table, error) = said(&output);
        assert!(!output.status.success() && table.is_empty() && error.contains(says), "{table}\n{error}");
    }
}
