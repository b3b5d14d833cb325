//! That a change of what a request costs is found: `.ci/guards` compares counts as it says, and the kept ones are those of this code's compiler.
//!
//! Counts nothing: `make test` has `.ci/guards` do that.

use std::path::Path;
use std::process::Command;

/// What is kept has at least these.
const CASES: [&str; 5] = ["cache_key", "freshness", "memory_hit", "http1_head", "dns_answer"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a run leaves: what it was made with, and counts.
fn counts(compiler: &str, libc: &str, cases: &[(&str, u64)]) -> String {
    let cases: String = cases.iter().map(|(name, count)| format!("{name} = {count}\n")).collect();
    format!(
        "# A comment.\ncompiler = \"{compiler}\"\ntarget = \"x86_64-unknown-linux-gnu\"\nvectors = \"avx2\"\nlibc = \"{libc}\"\n\
         valgrind = \"3.19.0\"\n\n[instructions]\n{cases}"
    )
}

/// Whether `.ci/guards` lets the counts pass, and all it says of them.
fn compare(kept: &str, counted: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (folder.path().join("kept"), folder.path().join("counted"));
    std::fs::write(&old, kept).expect("a file");
    std::fs::write(&new, counted).expect("a file");
    let output = Command::new(root().join(".ci/guards")).arg("--compare").args([&old, &new]).output().expect(".ci/guards runs");
    (output.status.success(), [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat())
}

fn usual(cases: &[(&str, u64)]) -> String {
    counts("1.95.0", "glibc 2.36", cases)
}

#[test]
fn a_change_of_more_than_five_percent_fails_with_both_numbers() {
    // Planted, and whether it passes.
    let planted =
        [(1060, false), (940, false), (1051, false), (949, false), (1050, true), (950, true), (1040, true), (960, true), (1000, true)];
    for (counted, passes) in planted {
        let (passed, said) = compare(&usual(&[("a", 70), ("b", 1000)]), &usual(&[("a", 70), ("b", counted)]));
        assert_eq!(passed, passes, "{counted}: {said}");
        assert!(said.contains(&format!("b: 1000 instructions are kept, {counted} were counted")), "{said}");
        assert_eq!(said.contains("SKERRY_BLESS=1"), !passes, "{said}");
    }
    let (_, said) = compare(&usual(&[("b", 1000)]), &usual(&[("b", 940)]));
    assert!(said.contains("-6.0 %; the bound is 5 %"), "{said}");
}

#[test]
fn a_case_that_is_on_one_side_only_fails() {
    let (both, one) = (usual(&[("a", 70), ("b", 1000)]), usual(&[("b", 1000)]));
    let (passed, said) = compare(&both, &one);
    assert!(!passed && said.contains("a: 70 instructions are kept, and nothing counts it"), "{said}");
    let (passed, said) = compare(&one, &both);
    assert!(!passed && said.contains("a: 70 instructions were counted, and none are kept"), "{said}");
    let (passed, said) = compare(&usual(&[]), &usual(&[]));
    assert!(!passed && said.contains("no counts in"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_skipped_aloud_and_another_library_is_not() {
    let kept = usual(&[("a", 1000)]);
    let (passed, said) = compare(&kept, &counts("1.96.0", "glibc 2.36", &[("a", 2000)]));
    assert!(passed && said.contains("SKIPPED") && said.contains("compiler 1.95.0, here it is 1.96.0"), "{said}");
    let (passed, said) = compare(&kept, &usual(&[("a", 1000)]).replace("x86_64", "aarch64"));
    assert!(passed && said.contains("SKIPPED"), "{said}");
    let (passed, said) = compare(&kept, &usual(&[("a", 1000)]).replace("avx2", "none"));
    assert!(passed && said.contains("SKIPPED"), "{said}");
    let (passed, said) = compare(&kept, &counts("1.95.0", "glibc 2.41", &[("a", 2000)]));
    assert!(!passed && said.contains("libc glibc 2.36 and here it is glibc 2.41"), "{said}");
}

/// Else a new compiler would have them skipped from then on.
#[test]
fn what_is_kept_was_made_with_the_compiler_that_builds_this() {
    let kept: toml::Table = read(".ci/guards.toml").parse().expect("what is kept is TOML");
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().expect("the toolchain is TOML");
    assert_eq!(kept["compiler"].as_str(), toolchain["toolchain"]["channel"].as_str(), "count anew: SKERRY_BLESS=1 .ci/guards");
    let instructions = kept["instructions"].as_table().expect("counts");
    for case in CASES {
        assert!(instructions.get(case).and_then(toml::Value::as_integer).is_some_and(|count| count > 0), "{case} is not kept");
    }
}
