//! `skerry-loadtest report` with files that were made up.

use std::collections::BTreeMap;
use std::path::Path;

use skerry_loadtest::machine::Machine;
use skerry_loadtest::results::{FORMAT, Measure, Results, Round, Side, write};

use crate::house::{loadtest, said};

/// Results of one measure of ours alone, whose rounds took so much processor time.
fn results(server_s: &[f64], connections: u32) -> Results {
    let round = |server_s: &f64| Round { seconds: 2.0, planned: 50_000, answers: 50_000, server_s: *server_s, ..Round::default() };
    let rounds = server_s.iter().map(round).collect();
    let measure = Measure {
        plan: "hit".to_owned(),
        what: "A hit".to_owned(),
        load: "closed loop".to_owned(),
        asked: BTreeMap::from([("load.connections".to_owned(), connections.into())]),
        sides: vec![Side { name: "skerry".to_owned(), rounds, absent: None, failed: None }],
        notes: Vec::new(),
        bounds: Vec::new(),
    };
    Results {
        format: FORMAT,
        made: "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
        machine: Machine { processor: "P".to_owned(), cores: 2, memory_mib: 1, kernel: "Linux 6".to_owned() },
        versions: vec!["skerry 0".to_owned()],
        revision: None,
        server_core: Some(0),
        generator_core: Some(1),
        measures: vec![measure],
    }
}

fn written(folder: &Path, name: &str, results: &Results) -> String {
    let path = folder.join(name);
    write(&path, results).expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn two_files_of_one_plan_are_compared_and_of_two_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = written(folder.path(), "old.json", &results(&[1.0, 1.01, 1.02], 16));
    let more = written(folder.path(), "more.json", &results(&[1.1, 1.11, 1.12], 16));
    let output = loadtest(&["report", &old, &more]).await;
    let (page, error) = said(&output);
    assert!(output.status.success(), "{error}");
    assert!(page.contains("| hit | skerry | cpu\\_us | 20.2 | 22.2 | +9.9 | beyond the spread |"), "{page}");
    assert!(page.contains("| hit | skerry | answers\\_per\\_second | 25000 | 25000 | +0.0 | within the spread |"), "{page}");
    let other = written(folder.path(), "other.json", &results(&[1.1, 1.11, 1.12], 32));
    let output = loadtest(&["report", &old, &other]).await;
    let (page, error) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let why = "hit is not compared: its plans differ, old and new: load.connections is 16 and 32";
    assert!(error.contains(why) && page.contains("load.connections is 16 and 32") && !page.contains("| skerry |"), "{page}{error}");
}

#[tokio::test]
async fn a_file_of_an_earlier_format_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old.json");
    std::fs::write(&path, "{\"format\": 1, \"made\": \"\"}").expect("written");
    let output = loadtest(&["report", path.to_str().expect("a path in UTF-8")]).await;
    let error = said(&output).1;
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("old.json: its format is 1, this program reads 2: measure anew, or read it with the skerry-loadtest"),
        "{error}"
    );
}
