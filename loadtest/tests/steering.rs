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
    let first = loadtest(&["steering", "--plan", &plan, "--json", &json, "--revision", "r1"]).await;
    let (table, warning) = said(&first);
    assert_eq!(first.status.code(), Some(1), "{warning}");
    assert!(table.contains("| oracle |") && table.contains("| geography |") && table.contains("| skerry |"), "{table}");
    assert!(table.contains("**not kept**") && warning.contains("bounds are not kept: "), "{table}\n{warning}");
    let page = shown(&json).await;
    assert!(page[0].contains("bounds are not kept: seed 1: ") && page[0].contains("(r1)"), "{}", page[0]);
    let figures = std::fs::read(&json).expect("figures");
    let again = loadtest(&["steering", "--plan", &plan, "--json", &json, "--revision", "r1"]).await;
    assert!((said(&again).0, std::fs::read(&json).expect("figures")) == (table, figures), "another run has other figures");
    assert!(shown(&json).await == page, "another run has another page");
    // Another seed has other plots.
    loadtest(&["steering", "--plan", &plan, "--seeds", "2", "--json", &json]).await;
    let both = shown(&json).await;
    assert!(both.iter().zip(&page).all(|(one, other)| one != other) && both[0].contains("| 2 | skerry |"), "{}", both[0]);
}

/// The page of results, and the plots beside them.
async fn shown(json: &str) -> Vec<String> {
    let output = loadtest(&["page", json]).await;
    let (page, error) = said(&output);
    assert!(output.status.success() && page.contains("](figures-near.svg)"), "{page}\n{error}");
    let plots = ["near", "latency", "load", "changes"].map(|name| json.replace(".json", &format!("-{name}.svg")));
    std::iter::once(page).chain(plots.iter().map(|path| std::fs::read_to_string(path).expect("a plot"))).collect()
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
