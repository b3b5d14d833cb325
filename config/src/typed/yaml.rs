//! YAML 1.2 into the located tree: one document, the core schema's plain scalars, aliases up to a bound, no tags.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::tree::{Entry, Kind, Node, admit_key, syntax, too_deep};
use crate::check::fault::Finding;
use crate::limits::{DEPTH_MAX, YAML_EXPANDED_BYTES_MAX};

/// What a node of an alias is counted as beside its text, in bytes.
const NODE_BYTES: usize = 64;

/// A list or table that is being read.
struct Open {
    node: Node,
    key: Option<(String, usize)>,
    anchor: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    root: Option<Node>,
}

/// The tree of a YAML text; an empty text is an empty table.
///
/// # Errors
/// The first fault of syntax.
pub(crate) fn tree(text: &str) -> Result<Node, Finding> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(0);
            syntax(at, format!("this is not YAML: {}", error.info().replace('\n', ", ")))
        })?;
        builder.take(event, start(&span))?;
    }
    Ok(builder.root.unwrap_or(Node { at: 0, kind: Kind::Table(Vec::new()) }))
}

fn start(span: &Span) -> usize {
    span.start.byte_offset().unwrap_or(0)
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: usize) -> Result<(), Finding> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(syntax(at, "a second document begins here; a file holds one")),
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_)) => {
                Err(syntax(at, "YAML tags are not read; write the value without one"))
            }
            Event::Scalar(text, style, anchor, None) => {
                if let Some(open) = self.open.last_mut()
                    && let Kind::Table(entries) = &open.node.kind
                    && open.key.is_none()
                {
                    admit_key(entries, at, &text)?;
                    open.key = Some((text.into_owned(), at));
                    return Ok(());
                }
                let kind = if style == ScalarStyle::Plain { plain(&text) } else { Kind::Text(text.into_owned()) };
                self.place(Node { at, kind }, anchor)
            }
            Event::SequenceStart(_, anchor, None) => self.begin(Node { at, kind: Kind::List(Vec::new()) }, anchor),
            Event::MappingStart(_, anchor, None) => self.begin(Node { at, kind: Kind::Table(Vec::new()) }, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.place(done.node, done.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Finding> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(node.at));
        }
        self.expects_value(node.at)?;
        self.open.push(Open { node, key: None, anchor });
        Ok(())
    }

    /// A key must be a text: a list, a table or an alias in its place is refused.
    fn expects_value(&self, at: usize) -> Result<(), Finding> {
        match self.open.last() {
            Some(Open { node: Node { kind: Kind::Table(_), .. }, key: None, .. }) => Err(syntax(at, "a key must be a text")),
            _ => Ok(()),
        }
    }

    fn alias(&mut self, anchor: usize, at: usize) -> Result<(), Finding> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(syntax(at, "this alias stands inside its own anchor; write the value out"));
        };
        let (bytes, depth) = measure(node);
        if self.expanded + bytes > YAML_EXPANDED_BYTES_MAX {
            let says = format!("the aliases of this file stand for more than {YAML_EXPANDED_BYTES_MAX} bytes; write fewer");
            return Err(syntax(at, says));
        }
        if self.open.len() + depth > DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.expanded += bytes;
        let node = node.clone();
        self.place(node, 0)
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Finding> {
        self.expects_value(node.at)?;
        if anchor != 0 {
            let (bytes, _) = measure(&node);
            if self.expanded + bytes > YAML_EXPANDED_BYTES_MAX {
                let says = format!("the anchors of this file stand for more than {YAML_EXPANDED_BYTES_MAX} bytes; write fewer");
                return Err(syntax(node.at, says));
            }
            self.expanded += bytes;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Table(entries), Some((key, at))) => entries.push(Entry { key, at, value: node }),
            _ => {}
        }
        Ok(())
    }
}

/// The bytes a copy of `node` takes, roughly, and how deep it nests.
fn measure(node: &Node) -> (usize, usize) {
    let over = |nodes: &mut dyn Iterator<Item = (usize, &Node)>| {
        nodes.fold((NODE_BYTES, 1), |(bytes, depth), (key, node)| {
            let (more, inner) = measure(node);
            (bytes + key + more, depth.max(inner + 1))
        })
    };
    match &node.kind {
        Kind::List(items) => over(&mut items.iter().map(|item| (0, item))),
        Kind::Table(entries) => over(&mut entries.iter().map(|entry| (entry.key.len(), &entry.value))),
        Kind::Text(text) | Kind::Number(text) | Kind::Date(text) => (NODE_BYTES + text.len(), 0),
        Kind::Null | Kind::Bool(_) => (NODE_BYTES, 0),
    }
}

/// A plain scalar by the core schema (YAML 1.2.2 section 10.3.2).
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ if is_number(text) => Kind::Number(text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    if let Some(rest) = text.strip_prefix("0x") {
        return digits(rest, 16);
    }
    if let Some(rest) = text.strip_prefix("0o") {
        return digits(rest, 8);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // Rust's grammar of floats is the core schema's once words are excluded.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
}
