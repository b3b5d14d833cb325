//! Bounds that were set beforehand, and whether what was measured keeps them.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// How large a figure of ours may be, beside that of a peer: as a plan sets it, and as results keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The name of the figure: "`cpu_us`", or one of the scenario's own.
    pub figure: String,
    /// The peer that it is compared with.
    pub against: String,
    /// The most that the median of the ratios of the rounds may be.
    pub ratio_max: f64,
}

/// What became of one bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is bounded.
    pub what: String,
    /// By what, with its unit.
    pub wanted: String,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether the one is within the other.
    pub kept: bool,
}

/// Several of them, displayed as a Markdown table.
#[derive(Clone, Copy, Debug)]
pub struct Verdicts<'a>(pub &'a [Verdict]);

impl Verdicts<'_> {
    /// Whether all bounds are kept.
    ///
    /// # Errors
    /// A sentence that names those that are not, with what was measured and what was wanted.
    pub fn kept(&self) -> Result<(), String> {
        let broken: Vec<_> = self.0.iter().filter(|verdict| !verdict.kept).collect();
        let names: Vec<_> =
            broken.iter().map(|verdict| format!("{}: {}, {} wanted", verdict.what, verdict.measured, verdict.wanted)).collect();
        if broken.is_empty() {
            return Ok(());
        }
        Err(format!("{} of {} bounds are not kept: {}", broken.len(), self.0.len(), names.join("; ")))
    }
}

impl Display for Verdicts<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| bound | wanted | measured | |\n|---|---:|---:|---|")?;
        for Verdict { what, wanted, measured, kept } in self.0 {
            writeln!(f, "| {what} | {wanted} | {measured} | {} |", if *kept { "kept" } else { "**not kept**" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_said() {
        let verdict = |what: &str, kept| Verdict { what: what.to_owned(), wanted: "1".to_owned(), measured: "2".to_owned(), kept };
        let all = [verdict("a", true), verdict("b", false)];
        assert_eq!(Verdicts(&all).kept(), Err("1 of 2 bounds are not kept: b: 2, 1 wanted".to_owned()));
        assert_eq!(Verdicts(&all[..1]).kept(), Ok(()));
        assert!(Verdicts(&all).to_string().contains("| b | 1 | 2 | **not kept** |"));
    }
}
