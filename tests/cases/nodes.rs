//! The scenario `nodes` of the load test against the binary under test: the real agents, a real control plane.

use std::path::PathBuf;

use skerry_loadtest::nodes::{Figures, Place, Settings, run};

use crate::house::command::binary;

const SETTINGS: Settings =
    Settings { edges: 18, shields: 2, sites: 3, purges: 10, pause_ms: 0, batch_rate: 500, batch_urls: 10, batch_seconds: 1, changes: 5 };

fn measure(settings: &Settings, binary: PathBuf) -> Result<Figures, String> {
    let folder = tempfile::tempdir().unwrap();
    let place = Place { binary, folder: folder.path().to_owned(), nodes_folder: folder.path().join("nodes"), revision: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(settings, &place))
}

#[test]
fn twenty_nodes_have_every_purge_and_every_change_in_force() {
    let figures = measure(&SETTINGS, binary()).unwrap();
    assert_eq!((figures.answered.count, figures.applied.count, figures.changes.count), (10, 10, 5), "{figures}");
    assert_eq!((figures.batches.requests, figures.batches.accepted), (50, 50), "{figures}");
    assert!(figures.answered.p50_us > 0 && figures.applied.p99_us >= figures.applied.p50_us, "{figures}");
    assert!(figures.resident > 0 && figures.resident_peak >= figures.resident, "{figures}");
    // 500 URLs a second are not the 5,000 that were set as the bound: a small run must not pass for a large one.
    assert!(figures.bounds().iter().any(|bound| !bound.kept), "{figures}");
    let written = serde_json::to_string(&figures).unwrap();
    assert_eq!(serde_json::from_str::<Figures>(&written).unwrap().to_string(), figures.to_string());
}

#[test]
fn what_does_not_start_is_a_failed_run() {
    let missing = measure(&SETTINGS, PathBuf::from("no-such-binary")).unwrap_err();
    assert!(missing.contains("no-such-binary cannot be started"), "{missing}");
    let refused = measure(&Settings { edges: 0, ..SETTINGS }, binary()).unwrap_err();
    assert!(refused.contains("edges = 0"), "{refused}");
}
