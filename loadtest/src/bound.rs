//! A bound that was set beforehand, and whether what was measured keeps it.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// One bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// What is bounded.
    pub what: String,
    /// By what, with its unit.
    pub wanted: String,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether the one is within the other.
    pub kept: bool,
}

/// Several bounds, displayed as a Markdown table.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a>(pub &'a [Bound]);

impl Bounds<'_> {
    /// What to say of those that are not kept; nothing when all are.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let broken: Vec<_> = self.0.iter().filter(|bound| !bound.kept).collect();
        let names: Vec<_> = broken.iter().map(|bound| format!("{}: {}, {} wanted", bound.what, bound.measured, bound.wanted)).collect();
        (!broken.is_empty()).then(|| format!("{} of {} bounds are not kept: {}", broken.len(), self.0.len(), names.join("; ")))
    }
}

impl Display for Bounds<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| bound | wanted | measured | |\n|---|---:|---:|---|")?;
        for Bound { what, wanted, measured, kept } in self.0 {
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
        let bound = |what: &str, kept| Bound { what: what.to_owned(), wanted: "1".to_owned(), measured: "2".to_owned(), kept };
        let all = [bound("a", true), bound("b", false)];
        assert_eq!(Bounds(&all).broken(), Some("1 of 2 bounds are not kept: b: 2, 1 wanted".to_owned()));
        assert_eq!(Bounds(&all[..1]).broken(), None);
        assert!(Bounds(&all).to_string().contains("| b | 1 | 2 | **not kept** |"));
    }
}
