//! Results as a page of Markdown. Nothing in it is typed by hand, so it cannot say what was not measured.

use std::fmt::Write as _;

use super::page::{self, Line, Table};
use super::{Measure, Results};

/// Makes the page.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text = String::from("# Side by side\n\nMade from a file of results by `skerry-loadtest`, not to be edited by hand.\n\n");
    for (name, value) in page::circumstances(results) {
        let _ = writeln!(text, "- {name}: {}.", escape(&value));
    }
    let _ = writeln!(text, "\n{}\n\n## Processor time\n", page::READING);
    write_table(&mut text, &page::overview(results));
    if let Some(bounds) = page::bounds(results) {
        text.push_str("\n## Bounds\n\n");
        write_table(&mut text, &bounds);
    }
    results.measures.iter().for_each(|measure| write_measure(&mut text, measure));
    text
}

fn write_measure(text: &mut String, measure: &Measure) {
    let _ = writeln!(text, "\n## {}\n\n{}\n\nLoad: {}.\n", escape(&measure.plan), escape(&measure.what), escape(&measure.load));
    let refusal = measure.refusal();
    if let Some(reason) = &refusal {
        let _ = writeln!(text, "**Refused: {}.**", escape(reason));
    }
    if measure.unsound().is_none() && measure.measured().next().is_some() {
        if refusal.is_some() {
            text.push('\n');
        }
        write_table(text, &page::figures(measure));
    }
    let notes = page::notes(measure);
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        let _ = writeln!(text, "- {}.", escape(note.trim_end_matches('.')));
    }
}

pub(super) fn write_table(text: &mut String, table: &Table) {
    let columns = table.head.len();
    let head: Vec<String> = table.head.iter().map(|name| escape(name)).collect();
    let _ = writeln!(text, "| {} |\n|---{}|", head.join(" | "), "|--:".repeat(columns - 1));
    for line in &table.lines {
        let cells: Vec<String> = match line {
            Line::Cells(cells) => {
                cells.iter().map(|cell| if page::is_marked(cell) { format!("**{}**", escape(cell)) } else { escape(cell) }).collect()
            }
            Line::Words(name, words) => {
                let mut cells = vec![escape(name), escape(words)];
                cells.resize(columns, String::new());
                cells
            }
        };
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// Words of a file as words of a page: nothing in them is markup, ends a line or a cell.
pub(super) fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => text.extend(['\\', letter]),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}
