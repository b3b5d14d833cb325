//! What a plan asks, setting by setting: two measures of one plan may be compared where all of it is the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{Plan, SIZES_BYTES_MAX};
use crate::draw::Sizes;
use crate::file;

/// What makes no other load: words, what must hold, and how often the same is done.
const NOT_ASKED: [&str; 3] = ["what", "bounds", "rounds"];
/// The setting that names a file, whose content counts.
const BYTES_FILE: &str = "objects.bytes_file";

impl Plan {
    /// Every setting that makes the load what it is, by its name, such as `load.connections`; those that have no value are not there. A file of
    /// lengths counts by what is in it. `folder` is where the plan lies.
    ///
    /// # Errors
    /// A sentence: the file of lengths cannot be read.
    pub fn asked(&self, folder: &Path) -> Result<BTreeMap<String, Value>, String> {
        let value = serde_json::to_value(self).map_err(|error| format!("the plan has no JSON: {error}"))?;
        let mut asked = BTreeMap::new();
        flatten("", value, &mut asked);
        asked.retain(|name, _| !NOT_ASKED.contains(&name.as_str()));
        if let Some(name) = &self.objects.bytes_file {
            let text = file::read(&folder.join(name), SIZES_BYTES_MAX)?;
            asked.insert(BYTES_FILE.to_owned(), format!("SHA-256 {}", hex(digest(&SHA256, text.as_bytes()).as_ref())).into());
        } else if let Sizes::Fixed(bytes) = self.sizes(folder)? {
            asked.insert("objects.bytes".to_owned(), bytes.into());
        }
        Ok(asked)
    }
}

fn flatten(name: &str, value: Value, asked: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let below = if name.is_empty() { field } else { format!("{name}.{field}") };
                flatten(&below, value, asked);
            }
        }
        value => {
            asked.insert(name.to_owned(), value);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
