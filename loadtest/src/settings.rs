//! Reading the plan of a scenario that has settings of its own: `scenario`, `what`, and a table of the scenario's name.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::file;

/// The longest plan, in bytes.
pub(crate) const PLAN_BYTES_MAX: u64 = 64 << 10;

/// The settings of a scenario from a plan's file.
///
/// # Errors
/// A sentence: it cannot be read, is of another scenario, or says what is not known.
pub fn read<T: DeserializeOwned>(path: &Path, scenario: &str) -> Result<T, String> {
    let text = file::read(path, PLAN_BYTES_MAX)?;
    parse(&text, scenario).map_err(|why| format!("{}: {why}", path.display()))
}

/// The settings of a scenario from a plan's text.
///
/// # Errors
/// A sentence, as [`read`].
pub fn parse<T: DeserializeOwned>(text: &str, scenario: &str) -> Result<T, String> {
    let mut table: toml::Table = text.parse().map_err(|error| format!("the plan is not TOML: {error}"))?;
    match table.remove("scenario") {
        Some(toml::Value::String(named)) if named == scenario => {}
        Some(other) => return Err(format!("the plan is of scenario {other}; {scenario:?} is wanted")),
        None => return Err(format!("the plan names no scenario; write scenario = {scenario:?}")),
    }
    if !matches!(table.remove("what"), Some(toml::Value::String(_))) {
        return Err("the plan does not say what it is of; write what = \"one sentence\"".to_owned());
    }
    let settings = table.remove(scenario).ok_or_else(|| format!("the plan has no table [{scenario}]"))?;
    if let Some(key) = table.keys().next() {
        return Err(format!("{key:?} is not known; a plan of {scenario} has scenario, what and [{scenario}]"));
    }
    settings.try_into().map_err(|error: toml::de::Error| format!("[{scenario}]: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        count: u32,
    }

    #[test]
    fn a_plan_says_its_scenario_and_nothing_unknown() {
        let read = |text: &str| parse::<Sample>(text, "sample");
        assert_eq!(read("scenario = \"sample\"\nwhat = \"a\"\n[sample]\ncount = 3\n"), Ok(Sample { count: 3 }));
        for (text, says) in [
            ("what = \"a\"\n[sample]\ncount = 3\n", "names no scenario"),
            ("scenario = \"other\"\nwhat = \"a\"\n[sample]\ncount = 3\n", "of scenario \"other\""),
            ("scenario = \"sample\"\n[sample]\ncount = 3\n", "does not say what"),
            ("scenario = \"sample\"\nwhat = \"a\"\n", "no table [sample]"),
            ("scenario = \"sample\"\nwhat = \"a\"\nmore = 1\n[sample]\ncount = 3\n", "\"more\" is not known"),
            ("scenario = \"sample\"\nwhat = \"a\"\n[sample]\ncount = 3\nmore = 1\n", "unknown field `more`"),
            ("scenario = \"sample\"\nwhat = \"a\"\n[sample]\ncount = -3\n", "[sample]: "),
            ("scenario = ", "is not TOML"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(says), "{why}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.toml");
        std::fs::write(&path, "#".repeat((64 << 10) + 1)).expect("written");
        let why = super::read::<Sample>(&path, "sample").expect_err("long");
        assert!(why.ends_with("/plan.toml has more than 65536 bytes, which are the most that are read"), "{why}");
    }
}
