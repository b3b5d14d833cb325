//! The borders between crates, and what may not enter the build.
//!
//! The table below is the one of docs/architecture.md; the compiler guards a border only as long as nobody adds a line to a Cargo.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::MetadataCommand;

/// Which crates of this workspace each crate may use. `skerry` may use all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("skerry-config", &[]),
    ("skerry-cache", &["skerry-config"]),
    ("skerry-transport", &["skerry-config"]),
    ("skerry-agent", &["skerry-config", "skerry-transport"]),
    ("skerry-edge", &["skerry-cache", "skerry-transport", "skerry-agent", "skerry-config"]),
    ("skerry-shield", &["skerry-cache", "skerry-transport", "skerry-agent", "skerry-config"]),
    ("skerry-control", &["skerry-agent", "skerry-dns", "skerry-transport", "skerry-config"]),
    ("skerry-dns", &[]),
    ("skerry-loadtest", &["skerry-agent", "skerry-dns", "skerry-config"]),
];

/// The modules of the load test that may name other crates of this workspace: decision 19. All others know the CDN as a client does.
const LOADTEST_INSIDE: &[&str] = &["nodes", "steering"];

/// The package that may use every other one.
const WHOLE: &str = "skerry";

type Uses = BTreeMap<String, BTreeSet<String>>;

fn workspace_uses() -> Uses {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata runs");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    metadata
        .packages
        .iter()
        .map(|package| {
            let uses = package.dependencies.iter().map(|used| used.name.clone()).filter(|name| ours.contains(name)).collect();
            (package.name.to_string(), uses)
        })
        .collect()
}

/// Every use that the table does not allow, and every crate the table does not know, as sentences.
fn faults(uses: &Uses) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for (package, used) in uses {
        if package == WHOLE {
            continue;
        }
        let Some(may_use) = allowed.get(package.as_str()) else {
            faults.push(format!("{package} is not in the table of allowed dependencies"));
            continue;
        };
        for name in used.iter().filter(|name| !may_use.contains(&name.as_str())) {
            faults.push(format!("{package} may not use {name}"));
        }
    }
    faults
}

/// The packages that deny.toml bans and the lock file holds.
fn banned(lock: &str, deny: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("the lock file is TOML");
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let bans = deny["bans"]["deny"].as_array().expect("a list of bans");
    let bans: BTreeSet<&str> = bans.iter().map(|ban| ban["crate"].as_str().expect("a crate name")).collect();
    assert!(bans.contains("aws-lc-rs") && bans.contains("openssl-sys") && bans.contains("native-tls"), "deny.toml lost a ban: {bans:?}");
    let packages = lock["package"].as_array().expect("a list of packages");
    packages.iter().filter_map(|package| package["name"].as_str()).filter(|name| bans.contains(name)).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The lines of a source file of the load test, by its path below `src`, that name a crate it may not.
fn named_outside(path: &str, text: &str) -> Vec<String> {
    let module = path.split(['/', '.']).next().unwrap_or_default();
    if LOADTEST_INSIDE.contains(&module) {
        return Vec::new();
    }
    let crates = ALLOWED.iter().map(|(name, _)| name.replace('-', "_")).filter(|name| name != "skerry_loadtest");
    let crates: Vec<String> = crates.collect();
    let names = |line: &&str| crates.iter().any(|name| line.contains(name));
    text.lines().filter(names).map(|line| format!("loadtest/src/{path}: {}", line.trim())).collect()
}

/// All source files below a folder, as paths from it.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(folder).expect("below it").to_str().expect("a path in UTF-8").to_owned());
            }
        }
    }
    found
}

#[test]
fn only_two_modules_of_the_load_test_know_the_inside() {
    let folder = root().join("loadtest/src");
    let found = sources(&folder);
    assert!(found.len() > 20 && found.iter().any(|path| path.starts_with("nodes/")), "{found:?}");
    let read = |path: &String| std::fs::read_to_string(folder.join(path)).expect("a readable file");
    let faults: Vec<String> = found.iter().flat_map(|path| named_outside(path, &read(path))).collect();
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(named_outside("drive.rs", "use skerry_agent::Agent;\nuse std::io;\n"), ["loadtest/src/drive.rs: use skerry_agent::Agent;"]);
    assert_eq!(named_outside("drive/nodes.rs", "use skerry_dns::steer;\n").len(), 1);
    assert_eq!(named_outside("nodes/fleet.rs", "use skerry_agent::Agent;\n").len(), 0);
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let uses = workspace_uses();
    assert_eq!(uses.len(), ALLOWED.len() + 1, "crates and table differ: {:?}", uses.keys());
    assert_eq!(faults(&uses), Vec::<String>::new());
}

#[test]
fn a_use_across_a_border_is_found() {
    let mut uses = workspace_uses();
    uses.entry("skerry-cache".to_owned()).or_default().insert("skerry-transport".to_owned());
    uses.insert("skerry-utils".to_owned(), BTreeSet::new());
    assert_eq!(
        faults(&uses),
        ["skerry-cache may not use skerry-transport", "skerry-utils is not in the table of allowed dependencies"].map(str::to_owned)
    );
}

#[test]
fn nothing_banned_is_in_the_lock_file() {
    assert_eq!(banned(&read("Cargo.lock"), &read("deny.toml")), Vec::<String>::new());
}

#[test]
fn a_banned_crate_is_found() {
    let lock = "[[package]]\nname = \"native-tls\"\nversion = \"0.2.0\"\n[[package]]\nname = \"rustls\"\nversion = \"0.23.0\"\n";
    assert_eq!(banned(lock, &read("deny.toml")), ["native-tls".to_owned()]);
}
