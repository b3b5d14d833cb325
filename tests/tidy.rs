//! The house numbers: what a reviewer should not have to look for.
//!
//! Each rule is a function from a file's path and text to the lines that break it, and each is shown to be able to fail.

use std::path::{Path, PathBuf};

/// The longest file, in lines.
const FILE_LINES_MAX: usize = 800;
/// The longest function, in lines that are neither empty nor comments.
const FUNCTION_LINES_MAX: usize = 70;

/// What may stand at the top of the tree, dot files aside.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "config",
    "control-plane",
    "deny.toml",
    "docs",
    "edge-proxy",
    "loadtest",
    "origin-shield",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "target",
    "tests",
];

/// Test code that may rest between two looks at a condition, each with why. Everything else waits through one of these.
const POLLERS: &[(&str, &str)] = &[
    ("tests/house/wait.rs", "looks at a condition, rests, looks again, until a deadline"),
    ("edge-proxy/transport/tests/h3/house.rs", "the same, without blocking the runtime"),
    ("edge-proxy/transport/tests/http2/server.rs", "the same, without blocking the runtime"),
    ("edge-proxy/cache/src/exchange/tests/house.rs", "the same, without blocking the runtime"),
];

type Rule = fn(&str, &str) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("files are at most 800 lines", file_length),
    ("functions are at most 70 lines", function_length),
    ("every module opens with what it owns", module_head),
    ("what is left to do is said on an issue", left_to_do),
    ("lints are excepted with a reason", excepted_lints),
    ("tests wait for conditions", sleeping_tests),
    ("nothing names a path of one machine", machine_paths),
    ("foo.rs beside foo/", module_files),
];

fn file_length(_: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX { vec![format!("{lines} lines")] } else { Vec::new() }
}

/// Relies on rustfmt: a function ends at the first line that is a closing brace at its own indentation.
fn function_length(_: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !is_function_start(code) || code.ends_with('}') || code.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let body = lines[start + 1..].iter().take_while(|line| **line != end);
        let long = body.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count();
        if long > FUNCTION_LINES_MAX {
            faults.push(format!("line {}: {long} lines", start + 1));
        }
    }
    faults
}

fn is_function_start(code: &str) -> bool {
    let mut words = code.split_whitespace().skip_while(|word| matches!(*word, "async" | "const") || word.starts_with("pub"));
    words.next() == Some("fn")
}

fn module_head(_: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") { Vec::new() } else { vec!["no `//!` on the first line".to_owned()] }
}

fn left_to_do(_: &str, text: &str) -> Vec<String> {
    // Put together, so that this file does not break its own rule.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    lines_with(text, |line| words.iter().any(|word| line.contains(word)))
}

fn excepted_lints(_: &str, text: &str) -> Vec<String> {
    let words = [concat!("[al", "low("), concat!(" al", "low(")];
    lines_with(text, |line| !line.trim_start().starts_with("//") && words.iter().any(|word| line.contains(word)))
}

fn sleeping_tests(path: &str, text: &str) -> Vec<String> {
    if POLLERS.iter().any(|(file, _)| *file == path) {
        return Vec::new();
    }
    let whole = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    let from = if whole { 0 } else { text.find("#[cfg(test)]\nmod ").unwrap_or(text.len()) };
    let skipped = text[..from].lines().count();
    let word = concat!("sle", "ep(");
    let found = text[from..].lines().enumerate().filter(|(_, line)| calls(line, word));
    found.map(|(index, line)| format!("line {}: {}", skipped + index + 1, line.trim())).collect()
}

/// Whether the line calls `word`, which ends in its parenthesis, and not a name that merely ends in it.
fn calls(line: &str, word: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//")
        && code.match_indices(word).any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

fn machine_paths(_: &str, text: &str) -> Vec<String> {
    let roots = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    lines_with(text, |line| roots.iter().any(|root| line.contains(root)))
}

fn module_files(path: &str, _: &str) -> Vec<String> {
    if path.ends_with("/mod.rs") { vec!["write foo.rs beside foo/".to_owned()] } else { Vec::new() }
}

fn lines_with(text: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let found = text.lines().enumerate().filter(|(_, line)| wrong(line));
    found.map(|(index, line)| format!("line {}: {}", index + 1, line.trim())).collect()
}

/// The dependencies in a manifest that do not come from the workspace table.
fn own_versions(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("a manifest is TOML");
    let mut faults = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(toml::Value::Table(entries)) = manifest.get(kind) else { continue };
        let own = entries.iter().filter(|(_, entry)| entry.get("workspace").and_then(toml::Value::as_bool) != Some(true));
        faults.extend(own.map(|(name, _)| format!("{kind}: {name}")));
    }
    faults
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the tree with that ending, as paths from the root. Build output and dot folders are no part of it.
fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
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
            } else if name.ends_with(ending) {
                found.push(path.to_str().expect("a path in UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_house_is_tidy() {
    let sources = files(".rs");
    assert!(sources.len() > 20, "only {} sources found under {}", sources.len(), root().display());
    let mut faults = Vec::new();
    for path in &sources {
        let text = read(path);
        for (says, rule) in RULES {
            faults.extend(rule(path, &text).into_iter().map(|fault| format!("{path}: {says}: {fault}")));
        }
    }
    for path in [".md", ".toml"].into_iter().flat_map(files) {
        faults.extend(machine_paths(&path, &read(&path)).into_iter().map(|fault| format!("{path}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn versions_stand_in_the_workspace_table_only() {
    let manifests = files("Cargo.toml");
    assert!(manifests.len() >= 10, "{manifests:?}");
    let faults: Vec<String> =
        manifests.iter().flat_map(|path| own_versions(&read(path)).into_iter().map(move |fault| format!("{path}: {fault}"))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_joins_the_top_level() {
    let mut names = std::fs::read_dir(root()).expect("a readable tree").map(|entry| entry.expect("an entry").file_name());
    let strange = names.find(|name| name.to_str().is_none_or(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name)));
    assert_eq!(strange, None);
}

#[test]
fn pollers_exist() {
    for (path, _) in POLLERS {
        assert!(read(path).lines().any(|line| calls(line, concat!("sle", "ep("))), "{path} rests nowhere; take it off the list");
    }
}

#[test]
fn every_rule_can_fail() {
    let long_file = "//! Long.\n".repeat(FILE_LINES_MAX + 1);
    let long_function = format!("//! Head.\nimpl A {{\n    pub(crate) async fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(71));
    let samples: &[(Rule, &str, &str)] = &[
        (file_length, "src/a.rs", &long_file),
        (function_length, "src/a.rs", &long_function),
        (module_head, "src/a.rs", "use std::io;\n"),
        (left_to_do, "src/a.rs", concat!("//! Head.\n// TO", "DO: later\n")),
        (left_to_do, "src/a.rs", concat!("//! Head.\nfn f() { todo", "!() }\n")),
        (excepted_lints, "src/a.rs", concat!("//! Head.\n#[al", "low(dead_code)]\n")),
        (excepted_lints, "src/a.rs", concat!("//! Head.\n#![cfg_attr(test, al", "low(dead_code))]\n")),
        (sleeping_tests, "tests/cases/a.rs", concat!("//! Head.\nthread::sle", "ep(SECOND);\n")),
        (sleeping_tests, "src/a.rs", concat!("//! Head.\n#[cfg(test)]\nmod tests {\n    sle", "ep(SECOND).await;\n}\n")),
        (machine_paths, "src/a.rs", concat!("//! Head.\n// see /ho", "me/someone/notes\n")),
        (module_files, "src/a/mod.rs", "//! Head.\n"),
    ];
    for (rule, path, text) in samples {
        assert_eq!(rule(path, text).len(), 1, "{text}");
    }
    for (says, rule) in RULES {
        assert!(samples.iter().any(|(sample, ..)| std::ptr::fn_addr_eq(*sample, *rule)), "no sample breaks: {says}");
    }
    assert_eq!(own_versions("[dependencies]\na = \"1\"\nb.workspace = true\n[dev-dependencies]\nc = { version = \"1\" }\n").len(), 2);
}

#[test]
fn what_is_fine_is_left_alone() {
    let fine = "//! Head.\nfn f() {\n    g();\n}\n#[cfg(test)]\nmod tests {\n    fn asleep() {}\n}\n";
    for (says, rule) in RULES {
        assert_eq!(rule("src/a.rs", fine), Vec::<String>::new(), "{says}");
    }
    let serving = concat!("//! Head.\nasync fn pause() {\n    time::sle", "ep(BACKOFF).await;\n}\n");
    assert_eq!(sleeping_tests("src/a.rs", serving), Vec::<String>::new(), "waiting is a fault in tests only");
}
