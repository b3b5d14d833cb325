//! A document of any format as one tree in which every value and every key knows its byte offset.

use crate::check::fault::{Finding, quoted};
use crate::limits::{DEPTH_MAX, TABLE_KEYS_MAX};

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The byte offset of its first character.
    pub(crate) at: usize,
    /// The value.
    pub(crate) kind: Kind,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `null` in JSON and YAML.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A TOML date or time, as written.
    Date(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table; no key twice.
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// The byte offset of the key.
    pub(crate) at: usize,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// The value as one would speak of it, for a fault.
    pub(crate) fn spoken(&self) -> String {
        match &self.kind {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => format!("{value} is a boolean"),
            Kind::Number(text) => format!("{text} is a number"),
            Kind::Date(text) => format!("{text} is a date"),
            Kind::Text(text) => format!("{} is a text", quoted(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
        }
    }

    /// The value of a key, when this is a table that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Where the field at `path` begins, else the nearest table or list around it.
    pub(crate) fn place(&self, path: &str) -> usize {
        let mut node = self;
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let next = match (part.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()), &node.kind) {
                (Some(index), Kind::List(items)) => items.get(index),
                (None, Kind::Table(_)) => node.get(part).map(|entry| &entry.value),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.at
    }

    /// Moves every offset on by `bytes`.
    pub(crate) fn shift(&mut self, bytes: usize) {
        self.at += bytes;
        match &mut self.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| item.shift(bytes)),
            Kind::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.at += bytes;
                entry.value.shift(bytes);
            }),
            _ => {}
        }
    }
}

/// A fault of syntax at a byte offset.
pub(crate) fn syntax(at: usize, says: impl Into<String>) -> Finding {
    Finding { path: String::new(), at: Some(at), says: says.into(), because: Vec::new() }
}

/// The fault of a document that nests deeper than [`DEPTH_MAX`].
pub(crate) fn too_deep(at: usize) -> Finding {
    syntax(at, format!("tables and lists are nested more than {DEPTH_MAX} deep; nothing here needs that"))
}

/// Refuses a key at `at` that a table has already, or one more than [`TABLE_KEYS_MAX`].
pub(crate) fn admit_key(entries: &[Entry], at: usize, key: &str) -> Result<(), Finding> {
    if entries.len() >= TABLE_KEYS_MAX {
        return Err(syntax(at, format!("a table has more than {TABLE_KEYS_MAX} keys; nothing here needs that")));
    }
    if entries.iter().any(|entry| entry.key == key) {
        return Err(syntax(at, format!("the key {} is there twice; keep one of them", quoted(key))));
    }
    Ok(())
}
