//! TOML into the located tree, by the `toml` crate's spanned parser.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Entry, Kind, Node, syntax, too_deep};
use crate::check::fault::Finding;
use crate::limits::DEPTH_MAX;

/// The tree of a TOML text.
///
/// # Errors
/// All faults of syntax.
pub(crate) fn tree(text: &str) -> Result<Node, Vec<Finding>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(findings(&errors));
    }
    let at = table.span().start;
    entries(table.into_inner(), 1).map(|entries| Node { at, kind: Kind::Table(entries) }).map_err(|finding| vec![finding])
}

/// One fault a place; when the parser gave up for depth, what it says of the rest is noise.
fn findings(errors: &[toml::de::Error]) -> Vec<Finding> {
    if let Some(deep) = errors.iter().find(|error| error.message().contains("recurs")) {
        return vec![too_deep(deep.span().map_or(0, |span| span.start))];
    }
    let mut findings: Vec<Finding> = errors.iter().map(finding).collect();
    findings.sort_by_key(|finding| finding.at);
    findings.dedup_by_key(|finding| finding.at);
    findings
}

fn finding(error: &toml::de::Error) -> Finding {
    let message = error.message().trim_end_matches('.').replace('\n', ", ");
    syntax(error.span().map_or(0, |span| span.start), format!("this is not TOML: {message}"))
}

fn entries(table: DeTable<'_>, depth: usize) -> Result<Vec<Entry>, Finding> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let at = key.span().start;
        entries.push(Entry { key: key.into_inner().into_owned(), at, value: node(value, depth)? });
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

fn node(value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Finding> {
    let at = value.span().start;
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => Kind::Number(number.to_string()),
        DeValue::Float(number) => Kind::Number(number.to_string()),
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        _ if depth >= DEPTH_MAX => return Err(too_deep(at)),
        DeValue::Array(items) => Kind::List(items.into_iter().map(|item| node(item, depth + 1)).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Kind::Table(entries(table, depth + 1)?),
    };
    Ok(Node { at, kind })
}
