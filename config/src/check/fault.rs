//! What is said about a fault: its place, what is wrong, what would be right. Owns the wording of a line; never decides what is a fault.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::limits::FAULTS_MAX;

/// Characters of an operator's value that are repeated in a fault.
const QUOTED_CHARS_MAX: usize = 80;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, when there is one.
    pub file: Option<PathBuf>,
    /// Line and column, from 1, when the source is text; columns count characters.
    pub at: Option<(usize, usize)>,
    /// The path of the field: `cache.rules[0].ttl`. Empty for the whole document.
    pub path: String,
    /// What is wrong, with the value, and what would be right: one sentence, lower case, no full stop.
    pub says: String,
}

/// One or more faults, in the order of the text; at most [`FAULTS_MAX`] and one that counts the rest.
///
/// Displayed as one line a fault; serialised as a list of `{"file","path","line","column","detail"}`, without what is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faults(pub Vec<Fault>);

/// A fault before its file and line are known.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// The path of the field.
    pub(crate) path: String,
    /// The byte offset in the text.
    pub(crate) at: Option<usize>,
    /// What the fault says.
    pub(crate) says: String,
    /// The other fields it was judged by: when one of them is itself at fault, this finding may be wrong.
    pub(crate) because: Vec<String>,
}

/// Findings about a typed document, under a path that all of them begin with.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Prepended to every path: empty, or `sites[3].`.
    pub(crate) prefix: String,
    /// In the order found.
    pub(crate) list: Vec<Finding>,
}

impl Findings {
    /// Adds what is wrong with the field at `path`.
    pub(crate) fn add(&mut self, path: impl fmt::Display, says: impl Into<String>) {
        self.add_because(path, &[], says);
    }

    /// Adds what is wrong with the field at `path` as long as the fields in `because` are what they seem.
    pub(crate) fn add_because(&mut self, path: impl fmt::Display, because: &[&str], says: impl Into<String>) {
        self.list.push(Finding {
            path: format!("{}{path}", self.prefix),
            at: None,
            says: says.into(),
            because: because.iter().map(|other| format!("{}{other}", self.prefix)).collect(),
        });
    }
}

impl Faults {
    /// A single fault about a file as a whole.
    pub(crate) fn of_file(file: Option<&Path>, says: String) -> Self {
        Self(vec![Fault { file: file.map(Path::to_owned), at: None, path: String::new(), says }])
    }

    /// Findings as faults, in the order of their places in `text`, bounded. `Ok` when there is none.
    pub(crate) fn from_findings(mut findings: Vec<Finding>, text: &str, file: Option<&Path>) -> Result<(), Self> {
        if findings.is_empty() {
            return Ok(());
        }
        findings.sort_by_key(|finding| finding.at);
        let more = findings.len().saturating_sub(FAULTS_MAX);
        findings.truncate(FAULTS_MAX);
        let mut faults: Vec<Fault> = findings
            .into_iter()
            .map(|finding| Fault {
                file: file.map(Path::to_owned),
                at: finding.at.map(|offset| line_and_column(text, offset)),
                path: finding.path,
                says: finding.says,
            })
            .collect();
        if more > 0 {
            let says = format!("{more} more faults are not listed; mend these first");
            faults.push(Fault { file: file.map(Path::to_owned), at: None, path: String::new(), says });
        }
        Err(Self(faults))
    }
}

/// An operator's text in quotes, with control characters escaped and cut to a readable length.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The line and column of a byte offset, both from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before[..start].matches('\n').count() + 1, before[start..].chars().count() + 1)
}

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

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            file: Option<std::borrow::Cow<'a, str>>,
            path: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            line: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            column: Option<usize>,
            detail: &'a str,
        }
        let (line, column) = self.at.unzip();
        Form { file: self.file.as_deref().map(Path::to_string_lossy), path: &self.path, line, column, detail: &self.says }
            .serialize(serializer)
    }
}
