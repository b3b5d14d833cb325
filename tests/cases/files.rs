//! Files that operators write.

use crate::house::skerry;

#[test]
fn every_example_passes_the_check() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().into_os_string()).collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    let said = skerry(&[vec!["check".into()], files.clone()].concat()).fine();
    assert_eq!(said.stdout.lines().count(), files.len(), "{said:?}");
}

#[test]
fn a_check_names_every_fault_with_its_place() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bad.toml");
    std::fs::write(&path, "name = \"Shop\"\nhosts = []\nport = 80\n[origin]\nurls = [\"ftp://a\"]\n").unwrap();
    let said = skerry(&["check", path.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{said:?}");
    for place in ["bad.toml:1:", "bad.toml:2:", "bad.toml:3:", "bad.toml:5:"] {
        assert!(said.stderr.contains(place), "{place} is not in {said:?}");
    }
}
