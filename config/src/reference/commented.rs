//! Examples in TOML with every field: doc comments as `# text`, fields that are not needed as `#field = value`.

use std::fmt::Write;

use serde_json::Value;

use super::{Field, Kind, Shape};

/// Characters of a line of comment.
const WIDTH: usize = 118;

struct Page<'a> {
    kind: &'a Kind,
    /// Fields that are written though they are not required.
    live: &'a [&'a str],
    text: String,
}

/// The example of a kind; `sample` has a value for every field that has no default.
pub(super) fn toml(kind: &Kind, sample: &Value, live: &[&str], opening: &str) -> String {
    let mut page = Page { kind, live, text: String::new() };
    page.comment(&format!(
        "{opening} A field behind # may be left out; shown is its default, or else an example. \
         Made from the doc comments in config/src."
    ));
    page.text.push('\n');
    if let Some(role) = sample.get("role") {
        writeln!(page.text, "role = {role}").unwrap();
    }
    page.table(kind.root, sample, "", true);
    page.text
}

impl Page<'_> {
    fn comment(&mut self, text: &str) {
        let mut line = "#".to_owned();
        for word in text.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                writeln!(self.text, "{line}").unwrap();
                line = "#".to_owned();
            }
            line.push(' ');
            line.push_str(word);
        }
        writeln!(self.text, "{line}").unwrap();
    }

    fn table(&mut self, name: &str, sample: &Value, path: &str, live: bool) {
        let table = self.kind.table(name);
        let (plain, tables): (Vec<&Field>, Vec<&Field>) = table.fields.iter().partition(|field| matches!(field.shape, Shape::Plain(_)));
        for field in plain {
            let path = below(path, field.name);
            let value = sample.get(field.name).or(field.default.as_ref()).unwrap_or_else(|| panic!("the sample has no {path}"));
            self.comment(&field.doc);
            let mark = if live && (field.required || self.live.contains(&path.as_str())) { "" } else { "#" };
            writeln!(self.text, "{mark}{} = {}", field.name, value_in_toml(value)).unwrap();
        }
        for field in tables {
            let path = below(path, field.name);
            let chosen = field.required || self.live.contains(&path.as_str());
            let inner = sample.get(field.name).or(field.default.as_ref()).unwrap_or(&Value::Null);
            let (name, header, live, inner) = match &field.shape {
                Shape::Table(name, optional) => (name, format!("[{path}]"), live && (chosen || !optional), inner),
                Shape::Tables(name) => (name, format!("[[{path}]]"), live && chosen, &inner[0]),
                Shape::Plain(_) => continue,
            };
            self.text.push('\n');
            self.comment(&field.doc);
            writeln!(self.text, "{}{header}", if live { "" } else { "#" }).unwrap();
            self.table(name, inner, &path, live);
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn value_in_toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(value_in_toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
