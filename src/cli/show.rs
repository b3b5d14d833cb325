//! What commands print: lines, tables for people, JSON for machines.

use std::io::Write as _;

use serde_json::Value;

/// The space between two columns, in characters.
const COLUMN_GAP: usize = 2;

/// Prints one line. A reader that has gone away, as `head` does, is no fault.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// Prints the list of a name in an answer: the answer as JSON, or else a table of fields, with their names as its head.
pub(crate) fn listed(answer: &Value, name: &str, fields: &[&str], as_json: bool) {
    if as_json {
        return json(answer);
    }
    let rows: Vec<Vec<String>> = list(answer, name).iter().map(|entry| fields.iter().map(|field| text(entry, field)).collect()).collect();
    let head: Vec<String> = fields.iter().map(|field| field.to_ascii_uppercase().replace('_', " ")).collect();
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
}

/// Prints a table with its head; columns of numbers are set to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    for row in laid_out(head, rows) {
        line(&row);
    }
}

fn laid_out(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let mut lines = vec![String::new(); rows.len() + 1];
    for (column, title) in head.iter().enumerate() {
        let cells: Vec<String> = std::iter::once((*title).to_owned()).chain(rows.iter().map(|row| cell(row, column))).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let right = cells.len() > 1 && cells[1..].iter().all(|cell| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit()));
        for (line, cell) in lines.iter_mut().zip(cells) {
            if column > 0 {
                line.push_str(&" ".repeat(COLUMN_GAP));
            }
            line.push_str(&if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A field of an answer as text: a string as it is, `-` where there is none.
pub(crate) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(bare).collect::<Vec<_>>().join(", "),
        Some(other) => bare(other),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A field of an answer as a number, 0 where there is none.
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or(0)
}

/// A field of an answer as a list.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Bytes as people read them.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = number;
    let mut rest = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        rest = scaled % 1024;
        scaled /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{scaled}.{} {}", rest * 10 / 1024, UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows = vec![vec!["edge-1".to_owned(), "7".to_owned()], vec!["e".to_owned(), "1200".to_owned()]];
        assert_eq!(laid_out(&["NAME", "REQUESTS"], &rows), ["NAME    REQUESTS", "edge-1         7", "e           1200"]);
    }

    #[test]
    fn bytes_take_the_largest_unit() {
        for (number, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (u64::MAX, "16777215.9 TiB")] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_missing_field_is_a_dash() {
        let value = serde_json::json!({"name": "shop", "hosts": ["a", "b"], "none": null, "empty": []});
        assert_eq!(["name", "hosts", "none", "empty", "absent"].map(|field| text(&value, field)), ["shop", "a, b", "-", "-", "-"]);
    }
}
