//! Checks of what an operator typed: every fault at once, each with its place, what was wrong and what would be right.

use std::fmt;
use std::path::PathBuf;

use crate::snapshot::Document;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, when there is one.
    pub file: Option<PathBuf>,
    /// Line and column, from 1, when the source is text.
    pub at: Option<(usize, usize)>,
    /// The path of the field: `cache.rules[0].ttl`. Empty for the whole document.
    pub path: String,
    /// What is wrong, with the value, and what would be right: one sentence, lower case, no full stop.
    pub says: String,
}

/// One or more faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.at.is_some() {
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.says)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Checks a whole document.
///
/// # Errors
/// All faults.
pub fn document(_document: &Document) -> Result<(), Faults> {
    Ok(())
}
