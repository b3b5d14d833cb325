//! Results as a page of HTML: one file that refers to no other, for a phone and a desk, for light and dark.

use std::fmt::Write as _;

use super::page::{self, Line, Table};
use super::{Measure, Results, plots};
use crate::chart::{escape, rules};

/// The looks. Colours of plots are set after it.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--soft:#5a6068;--paper:#fff;--card:#f6f7f9;--line:#dcdfe4;--bad:#b00020}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a0a6ae;--paper:#15181c;--card:#1e2227;--line:#363c44;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.2rem 1rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:.4rem 0 1rem}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:1rem;border-top:1px solid var(--line)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0 0 1rem}
dt,.load,.reading{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.reading{max-width:62rem}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.93rem}
th,td{padding:.35rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,td.words{text-align:left}
td.words{white-space:normal;min-width:16rem}
thead th{background:var(--card);font-weight:600}
.bad,.refused{color:var(--bad);font-weight:600}
.refused{border-left:4px solid var(--bad);padding:.5rem .9rem;background:var(--card)}
.plots{display:grid;gap:1rem;align-items:start}
.plots figure{margin:0;background:var(--card);border-radius:8px;padding:.4rem}
svg{display:block;width:100%;height:auto}
@media(min-width:48rem){.plots{grid-template-columns:1fr 1fr}.plots figure:first-child{grid-row:span 2}}
@media(max-width:47.99rem){table{font-size:.85rem}th,td{white-space:normal;padding:.3rem .4rem}td.words{min-width:0}}
";

/// Makes the page.
///
/// # Errors
/// A plot could not be drawn.
pub fn html(results: &Results) -> Result<String, String> {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Side by side</title>\n<style>\n{STYLE}{}</style>\n</head>\n\
         <body>\n<h1>Side by side</h1>\n<dl>\n",
        rules("var(--ink)", "var(--line)")
    );
    for (name, value) in page::circumstances(results) {
        let _ = writeln!(text, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let _ = writeln!(text, "</dl>\n<p class=\"reading\">{}</p>\n<h2>Processor time</h2>", page::READING);
    write_table(&mut text, &page::overview(results));
    if let Some(bounds) = page::bounds(results) {
        text.push_str("<h2>Bounds</h2>\n");
        write_table(&mut text, &bounds);
    }
    results.measures.iter().try_for_each(|measure| write_measure(&mut text, measure))?;
    text.push_str("</body>\n</html>\n");
    Ok(text)
}

fn write_measure(text: &mut String, measure: &Measure) -> Result<(), String> {
    let _ = writeln!(
        text,
        "<h2>{}</h2>\n<p>{}</p>\n<p class=\"load\">Load: {}</p>",
        escape(&measure.plan),
        escape(&measure.what),
        escape(&measure.load)
    );
    if let Some(reason) = measure.refusal() {
        let _ = writeln!(text, "<p class=\"refused\">Refused: {}.</p>", escape(&reason));
    }
    if measure.unsound().is_none() && measure.measured().next().is_some() {
        let drawn = [
            plots::latency(measure)?,
            plots::bars(measure, "cpu_us", "Processor time an answer", "us, with the least and the most of the rounds")?,
            plots::bars(measure, "answers_per_second", "Throughput", "answers a second, with the least and the most")?,
        ];
        text.push_str("<div class=\"plots\">\n");
        for plot in drawn.into_iter().flatten() {
            let _ = writeln!(text, "<figure>{plot}</figure>");
        }
        text.push_str("</div>\n");
        write_table(text, &page::figures(measure));
    }
    let notes = page::notes(measure);
    if !notes.is_empty() {
        text.push_str("<ul>\n");
        for note in notes {
            let _ = writeln!(text, "<li>{}</li>", escape(&note));
        }
        text.push_str("</ul>\n");
    }
    Ok(())
}

fn write_table(text: &mut String, table: &Table) {
    text.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for name in &table.head {
        let _ = write!(text, "<th>{}</th>", escape(name));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for line in &table.lines {
        text.push_str("<tr>");
        match line {
            Line::Cells(cells) => cells.iter().for_each(|cell| {
                let class = if page::is_marked(cell) { " class=\"bad\"" } else { "" };
                let _ = write!(text, "<td{class}>{}</td>", escape(cell));
            }),
            Line::Words(name, words) => {
                let _ = write!(
                    text,
                    "<td>{}</td><td class=\"words\" colspan=\"{}\">{}</td>",
                    escape(name),
                    table.head.len() - 1,
                    escape(words)
                );
            }
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
}
