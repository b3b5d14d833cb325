//! Reading typed values out of a located tree: goes on after every fault. Knows the shapes (text, list, table), not the documents.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::tree::{Entry, Kind, Node};
use crate::check::fault::{Finding, quoted};
use crate::secret::Secret;
use crate::units::{BitRate, Period, Size};

/// What has been found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// In the order found.
    pub(crate) findings: Vec<Finding>,
    /// Paths of fields that have stand-ins without a fault of their own.
    pub(crate) absent: Vec<String>,
}

/// A value that can be read from a tree.
pub(crate) trait Typed: Sized {
    /// The fields, when the value is a table.
    const FIELDS: &'static [&'static str] = &[];

    /// The value at `path`; a stand-in after a fault, which the reader has then been told.
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self;

    /// Something in place of a value that is missing or wrong.
    fn stand_in() -> Self;
}

/// A value written as a text.
pub(crate) trait FromText: Sized {
    /// What it is, with its article.
    const WHAT: &'static str;
    /// What to write, after "write".
    const WRITE: &'static str;

    /// The value of a text, else the whole sentence of what is wrong.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Something in place of a value that is missing or wrong.
    fn stand_in() -> Self;
}

/// A table whose fields are being taken.
pub(crate) struct Table<'a> {
    at: usize,
    path: &'a str,
    entries: &'a [Entry],
    /// Whether the node is a table at all; if not, that is the one fault told.
    is: bool,
    /// The fields that unknown ones are likely meant to be: they are not missing as well.
    meant: Vec<&'static str>,
}

impl Reader {
    /// Notes a fault at a byte offset.
    pub(crate) fn fault(&mut self, path: &str, at: usize, says: String) {
        self.findings.push(Finding { path: path.to_owned(), at: Some(at), says, because: Vec::new() });
    }
}

/// The path of a key below `path`.
fn below(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if plain && key.len() <= 64 { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

impl<'a> Table<'a> {
    /// Begins to take a table apart; every key that is not in `fields` is a fault.
    pub(crate) fn open(node: &'a Node, path: &'a str, fields: &[&'static str], reader: &mut Reader) -> Self {
        let Kind::Table(entries) = &node.kind else {
            reader.fault(path, node.at, format!("{}, not a table; write its fields: {}", node.spoken(), fields.join(", ")));
            return Self { at: node.at, path, entries: &[], is: false, meant: Vec::new() };
        };
        let mut meant = Vec::new();
        for entry in entries.iter().filter(|entry| !fields.contains(&entry.key.as_str())) {
            let says = match closest(&entry.key, fields) {
                Some(name) => {
                    meant.push(name);
                    format!("unknown field; did you mean {name:?}?")
                }
                None => format!("unknown field; known here: {}", fields.join(", ")),
            };
            reader.fault(&below(path, &entry.key), entry.at, says);
        }
        Self { at: node.at, path, entries, is: true, meant }
    }

    fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// A field that must be there; `example` is what to write.
    pub(crate) fn required<T: Typed>(&self, key: &str, example: &str, reader: &mut Reader) -> T {
        let path = below(self.path, key);
        match self.get(key) {
            Some(node) => T::read(node, &path, reader),
            None => {
                if !self.is || self.meant.contains(&key) {
                    reader.absent.push(path);
                } else {
                    reader.fault(&path, self.at, format!("missing; write {example}"));
                }
                T::stand_in()
            }
        }
    }

    /// A field that may be left out or `null`.
    pub(crate) fn optional<T: Typed>(&self, key: &str, reader: &mut Reader) -> Option<T> {
        let node = self.get(key).filter(|node| !matches!(node.kind, Kind::Null))?;
        Some(T::read(node, &below(self.path, key), reader))
    }

    /// A field with a default.
    pub(crate) fn or<T: Typed>(&self, key: &str, default: T, reader: &mut Reader) -> T {
        match self.get(key) {
            Some(node) => T::read(node, &below(self.path, key), reader),
            None => default,
        }
    }
}

impl<T: Typed> Typed for Vec<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        match &node.kind {
            Kind::List(items) => items.iter().enumerate().map(|(index, item)| T::read(item, &format!("{path}[{index}]"), reader)).collect(),
            Kind::Text(text) => {
                reader.fault(path, node.at, format!("{0} is a text, not a list; write [{0}]", quoted(text)));
                Vec::new()
            }
            _ => {
                reader.fault(path, node.at, format!("{}, not a list; write it in square brackets", node.spoken()));
                Vec::new()
            }
        }
    }

    fn stand_in() -> Self {
        Vec::new()
    }
}

impl Typed for bool {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        match &node.kind {
            Kind::Bool(value) => *value,
            _ => {
                reader.fault(path, node.at, format!("{}, not a boolean; write true or false", node.spoken()));
                false
            }
        }
    }

    fn stand_in() -> Self {
        false
    }
}

impl Typed for u32 {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        let number = match &node.kind {
            Kind::Number(text) => text.parse().map_err(|_| format!("{text} is not a whole number up to {}", Self::MAX)),
            _ => Err(format!("{}, not a number; write one such as 100", node.spoken())),
        };
        number.unwrap_or_else(|says| {
            reader.fault(path, node.at, says);
            1
        })
    }

    fn stand_in() -> Self {
        1
    }
}

impl<T: FromText> Typed for T {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        let wrong = match &node.kind {
            Kind::Text(text) => match T::from_text(text) {
                Ok(value) => return value,
                Err(says) => says,
            },
            _ => format!("{}, not {}; write {}", node.spoken(), T::WHAT, T::WRITE),
        };
        reader.fault(path, node.at, wrong);
        <T as FromText>::stand_in()
    }

    fn stand_in() -> Self {
        <T as FromText>::stand_in()
    }
}

macro_rules! from_text {
    ($type:ty, $stand_in:expr, $what:literal, $write:literal, $parse:expr) => {
        impl FromText for $type {
            const WHAT: &'static str = $what;
            const WRITE: &'static str = $write;

            fn from_text(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<Self, String> = $parse;
                parse(text)
            }

            fn stand_in() -> Self {
                $stand_in
            }
        }
    };
}

/// The value that `FromStr` makes of a text, else a sentence made of `WHAT` and `WRITE`.
fn parsed<T: FromText + std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{} is not {}; write {}", quoted(text), T::WHAT, T::WRITE))
}

from_text!(String, String::new(), "a text", "it in quotes", |text| Ok(text.to_owned()));
from_text!(Secret, Self::new(String::new()), "a text", "it in quotes", |text| Ok(Self::new(text.to_owned())));
from_text!(PathBuf, PathBuf::new(), "a path", "it in quotes", |text| Ok(text.into()));
from_text!(Period, Self::default(), "a duration", "a whole number and a unit in quotes, such as \"30s\"", |text| text.parse());
from_text!(Size, Self::default(), "a size", "a whole number and a unit in quotes, such as \"256MiB\"", |text| text.parse());
from_text!(BitRate, Self::default(), "a bandwidth", "a whole number and a unit in quotes, such as \"10Gbit\"", |text| text.parse());
from_text!(IpAddr, Self::V4(Ipv4Addr::UNSPECIFIED), "an IP address", "one such as \"192.0.2.1\" or \"2001:db8::1\"", parsed);
from_text!(
    SocketAddr,
    Self::from(([0, 0, 0, 0], 0)),
    "an IP address with a port",
    "one such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
    parsed
);
from_text!(IpNet, Self::default(), "an IP prefix", "one such as \"192.0.2.0/24\" or \"2001:db8::/32\"", parsed);

/// Reads a table into a struct. Each field says its key and what its absence means: `required("example")`, `optional`, or `or(default)`.
macro_rules! record {
    ($type:ty { $($field:ident = $key:literal: $how:ident $(($argument:expr))?),* $(,)? } else $stand_in:expr) => {
        impl $crate::typed::read::Typed for $type {
            const FIELDS: &'static [&'static str] = &[$($key),*];

            fn read(node: &$crate::typed::tree::Node, path: &str, reader: &mut $crate::typed::read::Reader) -> Self {
                Self::read_beside(node, path, &[], reader)
            }

            fn stand_in() -> Self {
                $stand_in
            }
        }

        impl $type {
            /// Reads it from a table that has other fields too.
            pub(crate) fn read_beside(
                node: &$crate::typed::tree::Node,
                path: &str,
                others: &[&'static str],
                reader: &mut $crate::typed::read::Reader,
            ) -> Self {
                let fields = [<Self as $crate::typed::read::Typed>::FIELDS, others].concat();
                let table = $crate::typed::read::Table::open(node, path, &fields, reader);
                Self { $($field: table.$how($key, $($argument,)? reader)),* }
            }
        }
    };
}
pub(crate) use record;

/// The name in `known` that `wrong` is most likely meant to be: at most two slips away, and fewer than half its letters.
pub(crate) fn closest(wrong: &str, known: &[&'static str]) -> Option<&'static str> {
    /// No field is longer, so no longer key is near to one.
    const LETTERS_MAX: usize = 64;
    if wrong.len() > LETTERS_MAX {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    let near = known.iter().map(|&name| (slips(&wrong, name), name)).min()?;
    (near.0 <= 2 && near.0 * 2 < near.1.len()).then_some(near.1)
}

/// The letters to insert, drop, change or swap with their neighbour that make `a` of `b` (optimal string alignment distance).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
