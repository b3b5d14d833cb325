//! Reference pages in Markdown: one section a table, one row a field.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use super::{Field, Kind, Shape};

const MADE: &str = "<!-- Made from the doc comments in config/src by `SKERRY_BLESS=1 cargo test -p skerry-config`; edit those. -->";
const UNITS: &str = "A *duration* is a whole number and a unit, `ms`, `s`, `m`, `h` or `d`: `\"30s\"`. A *size* is a whole number and a unit, \
`B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB` or `TB`: `\"256MiB\"`. A field without a default that is not required may be left out. \
Unknown fields are refused.";

/// The page of a site.
pub(super) fn site(kind: &Kind) -> String {
    let mut page = format!(
        "{MADE}\n\n# A site\n\nA file in TOML, YAML or JSON, or a JSON body of the control API; the [JSON Schema](site.schema.json) is for \
         editors. `skerry check FILE` tells all faults at once. A file with every field: \
         [site-reference.toml](../../config/examples/site-reference.toml).\n\n{UNITS}\n"
    );
    Sections { kind, page: &mut page, seen: HashMap::new() }.table(kind.root, "", "Top level", 2);
    page
}

/// The page of process settings.
pub(super) fn settings(kinds: &[Kind]) -> String {
    let mut page = format!(
        "{MADE}\n\n# Process settings\n\nA file in TOML, YAML or JSON for `skerry control`, `skerry shield`, `skerry edge` and `skerry dns`; the \
         field `role` at its top says `\"control\"`, `\"shield\"`, `\"edge\"` or `\"dns\"`. `skerry check FILE` tells all faults at once. Relative paths \
         are relative to the working directory.\n\n{UNITS} A *bandwidth* is a whole number of bits in a second and a unit, `bit`, `kbit`, `Mbit`, \
         `Gbit` or `Tbit`, all decimal: `\"10Gbit\"`.\n"
    );
    for kind in kinds {
        let name = kind.root.trim_end_matches("Node").to_lowercase();
        write!(page, "\n## role = \"{name}\"\n\nWith every field: [{name}-reference.toml](../../config/examples/{name}-reference.toml).\n")
            .unwrap();
        Sections { kind, page: &mut page, seen: HashMap::new() }.table(kind.root, "", &format!("Top level ({name})"), 3);
    }
    page
}

struct Sections<'a> {
    kind: &'a Kind,
    page: &'a mut String,
    /// The path at which a table has its section.
    seen: HashMap<String, String>,
}

impl Sections<'_> {
    fn table(&mut self, name: &str, path: &str, title: &str, level: usize) {
        let table = self.kind.table(name);
        self.seen.insert(name.to_owned(), path.to_owned());
        write!(self.page, "\n{} {title}\n\n{}\n\n| field | type | default | |\n|---|---|---|---|\n", "#".repeat(level), table.doc).unwrap();
        for field in &table.fields {
            let kind = match &field.shape {
                Shape::Plain(words) => words.clone(),
                Shape::Table(name, _) => self.words("table", name),
                Shape::Tables(name) => self.words("list of tables", name),
            };
            writeln!(self.page, "| `{}` | {kind} | {} | {} |", field.name, default(field), field.doc.replace('|', "\\|")).unwrap();
        }
        for field in &table.fields {
            let (name, mark) = match &field.shape {
                Shape::Table(name, _) => (name, ""),
                Shape::Tables(name) => (name, "[]"),
                Shape::Plain(_) => continue,
            };
            if !self.seen.contains_key(name) {
                let dot = if path.is_empty() { "" } else { "." };
                let below = format!("{path}{dot}{}{mark}", field.name);
                self.table(name, &below, &format!("`{below}`"), level);
            }
        }
    }

    /// A table in words; with the path of its section when that is another one than this field's.
    fn words(&self, words: &str, name: &str) -> String {
        match self.seen.get(name) {
            Some(path) => format!("{words}, as `{path}`"),
            None => words.to_owned(),
        }
    }
}

fn default(field: &Field) -> String {
    match (&field.default, &field.shape) {
        _ if field.required => "required".to_owned(),
        (Some(Value::Object(_)), _) | (_, Shape::Table(_, _)) => String::new(),
        (Some(value), _) => format!("`{value}`"),
        (None, Shape::Plain(words)) if words == "boolean" => "`false`".to_owned(),
        (None, _) => String::new(),
    }
}
