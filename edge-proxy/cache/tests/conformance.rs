//! docs/reference/conformance.md: the requirements of the caching RFCs and the tests that hold them.
//!
//! The tables are `conformance/*.toml`. Held here: that no requirement is missing, that every test they name exists, and that the page is what
//! the tables say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The tables, in the order of the page.
const TABLES: &[&str] = &["rfc9111", "rfc9110", "rfc9213", "rfc5861", "rfc8246", "rfc9211", "rfc9875"];

/// Every requirement word of RFC 9111, sections 3 to 5, in the order of its text: what the table must have, no less.
const RFC9111: &[(&str, &str)] = &[
    ("3", "MUST-NOT"),
    ("3.1", "MUST MAY MAY MUST-NOT MAY MUST-NOT"),
    ("3.2", "MUST MAY SHOULD MAY"),
    ("3.3", "MAY MAY MUST-NOT MAY MUST-NOT MUST-NOT"),
    ("3.4", "MAY MUST"),
    ("3.5", "MUST-NOT"),
    ("4", "MUST-NOT MUST MUST MUST MUST"),
    ("4.1", "MUST-NOT MAY SHOULD"),
    ("4.2", "SHOULD MUST MUST-NOT SHOULD"),
    ("4.2.1", ""),
    ("4.2.2", "MAY MUST-NOT"),
    ("4.2.3", "MUST MAY"),
    ("4.2.4", "MUST-NOT MUST-NOT"),
    ("4.3.1", "MUST SHOULD MAY"),
    ("4.3.2", "SHOULD MUST-NOT SHOULD MAY MUST-NOT MUST"),
    ("4.3.3", "MUST MAY"),
    ("4.3.4", "MUST-NOT MUST"),
    ("4.3.5", "SHOULD SHOULD SHOULD MUST"),
    ("4.4", "MUST MAY MUST-NOT"),
    ("5.1", "SHOULD SHOULD"),
    ("5.2", "MUST"),
    ("5.2.1", "MAY"),
    ("5.2.1.1", "MUST-NOT"),
    ("5.2.1.2", "MUST-NOT"),
    ("5.2.1.3", "MUST-NOT"),
    ("5.2.1.5", "MUST-NOT MUST-NOT MUST"),
    ("5.2.1.7", "SHOULD"),
    ("5.2.2", "MUST"),
    ("5.2.2.1", "MUST-NOT"),
    ("5.2.2.2", "MUST-NOT MUST-NOT MUST SHOULD"),
    ("5.2.2.3", "SHOULD SHOULD"),
    ("5.2.2.4", "MUST-NOT MAY SHOULD-NOT"),
    ("5.2.2.5", "MUST-NOT MUST-NOT MUST-NOT MUST"),
    ("5.2.2.6", "MUST-NOT"),
    ("5.2.2.7", "MUST-NOT MAY MUST-NOT MAY SHOULD-NOT"),
    ("5.2.2.8", "MUST-NOT"),
    ("5.2.2.9", "MAY"),
    ("5.2.2.10", "MUST-NOT MUST-NOT"),
    ("5.2.3", "MUST"),
    ("5.2.4", "MUST"),
    ("5.3", "MUST MUST MUST MUST-NOT"),
    ("5.4", ""),
    ("5.5", ""),
];

/// The requirements of one RFC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rfc: u32,
    title: String,
    about: String,
    requirement: Vec<Requirement>,
}

/// One requirement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    section: String,
    level: Level,
    says: String,
    #[serde(default)]
    tests: Vec<String>,
    reason: Option<String>,
    #[serde(default)]
    case: Vec<Case>,
}

/// One of the conditions of a requirement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    says: String,
    tests: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "MAY")]
    May,
    /// Stated without such a word.
    #[serde(rename = "rule")]
    Rule,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::May => "MAY",
            Self::Rule => "rule",
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tables() -> Vec<Table> {
    let read = |name: &&str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    TABLES.iter().map(read).collect()
}

impl Requirement {
    /// Every test it names.
    fn named(&self) -> impl Iterator<Item = &String> {
        self.tests.iter().chain(self.case.iter().flat_map(|case| &case.tests))
    }
}

/// Where each test function of the tree is, by name: every file that has one of that name.
fn test_functions() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a readable tree") {
            let entry = entry.expect("a readable entry");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = folder.join(&name);
            if entry.file_type().expect("a file type").is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(root().join(&path)).expect("a source in UTF-8");
                for test in tests_in(&text) {
                    found.entry(test.to_owned()).or_default().push(path.to_str().expect("a path in UTF-8").to_owned());
                }
            }
        }
    }
    found.values_mut().for_each(|paths| paths.sort());
    found
}

/// The names of the functions below a test attribute; between the two there is nothing but other attributes and comments.
fn tests_in(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut below = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            below = true;
        } else if below && !line.starts_with("#[") && !line.starts_with("//") {
            let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            names.extend(name);
            below = false;
        }
    }
    names
}

#[test]
fn no_requirement_is_missing() {
    let tables = tables();
    let table = tables.iter().find(|table| table.rfc == 9111).unwrap();
    let mut there: Vec<(&str, Vec<String>)> = Vec::new();
    for requirement in &table.requirement {
        if there.last().is_none_or(|(section, _)| *section != requirement.section) {
            there.push((&requirement.section, Vec::new()));
        }
        if requirement.level != Level::Rule {
            there.last_mut().unwrap().1.push(requirement.level.as_str().replace(' ', "-"));
        }
    }
    let there: Vec<(&str, String)> = there.into_iter().map(|(section, levels)| (section, levels.join(" "))).collect();
    let due: Vec<(&str, String)> = RFC9111.iter().map(|(section, levels)| (*section, (*levels).to_owned())).collect();
    assert_eq!(there, due);
    assert_eq!(due.iter().map(|(_, levels)| levels.split_whitespace().count()).sum::<usize>(), 100);
}

#[test]
fn every_requirement_has_its_tests_or_its_reason() {
    for table in tables() {
        for Requirement { section, says, tests, reason, case, .. } in &table.requirement {
            let held = !tests.is_empty() || reason.is_some() || (!case.is_empty() && case.iter().all(|case| !case.tests.is_empty()));
            assert!(held, "RFC {} section {section}: {says}", table.rfc);
        }
    }
}

#[test]
fn every_test_named_exists() {
    let functions = test_functions();
    let mut faults = Vec::new();
    for table in tables() {
        for requirement in &table.requirement {
            let missing = requirement.named().filter(|name| !functions.contains_key(*name));
            faults.extend(missing.map(|name| format!("RFC {} section {}: there is no test {name}", table.rfc, requirement.section)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tests_are_found_below_their_attributes_only() {
    let text = "fn a() {}\n#[test]\nfn b() {}\n    #[tokio::test(start_paused = true)]\n    // why\n    async fn c() {}\n    /// why\n    #[test]\n    fn d(\n";
    assert_eq!(tests_in(text), ["b", "c", "d"]);
}

fn page() -> String {
    let functions = test_functions();
    // A name that two crates have is linked to both.
    let link = |name: &String| {
        let paths = functions.get(name).map_or(&[][..], Vec::as_slice);
        paths.iter().map(|path| format!("[{name}](../../{path})")).collect::<Vec<_>>().join("<br>")
    };
    let links = |names: &[String]| names.iter().map(link).collect::<Vec<_>>().join("<br>");
    let mut page = String::from(
        "# Conformance\n\n<!-- Made from edge-proxy/cache/conformance by a test of that crate; edit the tables there and run it with SKERRY_BLESS=1. -->\n\n\
         What the caching standards require of a cache, in our words, and the tests that hold it. Where a requirement is for somebody else, or a\n\
         permission is not used, the reason stands in place of a test. A *rule* is one that the text states without a requirement word.\n",
    );
    for table in tables() {
        let count = |level: Level| table.requirement.iter().filter(|requirement| requirement.level == level).count();
        let counts = [Level::Must, Level::MustNot, Level::Should, Level::ShouldNot, Level::May, Level::Rule]
            .map(|level| format!("{} {}", count(level), level.as_str()))
            .join(", ");
        let _ = writeln!(page, "\n## RFC {}: {}\n\n{} {counts}.\n", table.rfc, table.title, table.about);
        page.push_str("| section | level | requirement | held by |\n|---|---|---|---|\n");
        for Requirement { section, level, says, tests, reason, case } in &table.requirement {
            let held: Vec<String> = reason.iter().cloned().chain((!tests.is_empty()).then(|| links(tests))).collect();
            let url = format!("https://www.rfc-editor.org/rfc/rfc{}#section-{section}", table.rfc);
            let _ = writeln!(page, "| [{section}]({url}) | {} | {says} | {} |", level.as_str(), held.join("<br>"));
            for case in case {
                let _ = writeln!(page, "| | | … {} | {} |", case.says, links(&case.tests));
            }
        }
    }
    page
}

#[test]
fn the_conformance_page_is_what_the_tables_say() {
    let file = root().join("docs/reference/conformance.md");
    let made = page();
    if std::env::var_os("SKERRY_BLESS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == made,
        "docs/reference/conformance.md is not what the tables say; run this test with SKERRY_BLESS=1 and read the difference"
    );
}
