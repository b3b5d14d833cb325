//! Text into typed values, with every fault and its place.
//!
//! Each format is read into one located tree; hand-written readers take the tree apart and go on after a fault with a stand-in
//! value, which serde's derives cannot do. Owns syntax and types; what values mean together is judged in `check`. Reads no file.

mod json;
mod process;
mod read;
mod site;
mod toml;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::check::fault::Finding;
use crate::limits::FILE_BYTES_MAX;

pub(crate) use process::read as read_process;
pub(crate) use read::{Reader, Typed};
pub(crate) use tree::{Kind, Node};

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0 or 1.1.
    Toml,
    /// YAML 1.2, core schema, one document; anchors and aliases, but neither tags nor merge keys.
    Yaml,
    /// JSON (RFC 8259).
    Json,
}

impl Format {
    /// The format that a file's extension stands for: `.toml`, `.yaml`, `.yml` or `.json`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The tree of a text. A byte order mark before it is ignored.
///
/// # Errors
/// What is wrong with the syntax. After a fault of this kind nothing is said about the values.
pub(crate) fn tree(text: &str, format: Format) -> Result<Node, Vec<Finding>> {
    if text.len() > FILE_BYTES_MAX {
        let says = format!("the text is {} bytes long; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(vec![Finding { path: String::new(), at: None, says, because: Vec::new() }]);
    }
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - bare.len();
    let read = match format {
        Format::Toml => toml::tree(bare),
        Format::Yaml => yaml::tree(bare).map_err(|finding| vec![finding]),
        Format::Json => json::tree(bare).map_err(|finding| vec![finding]),
    };
    match read {
        Ok(mut node) => {
            if skipped > 0 {
                node.shift(skipped);
            }
            Ok(node)
        }
        Err(mut findings) => {
            findings.iter_mut().for_each(|finding| finding.at = finding.at.map(|at| at + skipped));
            Err(findings)
        }
    }
}
