//! `skerry purge`: removes answers from every cache, and says on which nodes it is in force, then or later.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use skerry_config::purge::Targets;
use skerry_config::units::Period;

use super::api::{self, Api, Call};
use super::{Fail, show};

/// The options of `skerry purge`.
#[derive(Args)]
#[command(group = ArgGroup::new("targets").required(true).multiple(true).args(["urls", "prefixes", "tags", "hosts", "sites", "all"]))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// A whole URL, https://host/path?query, with all its variants
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Everything whose URL starts so, https://host/path
    #[arg(long = "prefix", value_name = "URL")]
    prefixes: Vec<String>,
    /// Everything with this tag from Cache-Tag or Surrogate-Key
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Everything of this host name
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Everything of this site
    #[arg(long = "site", value_name = "NAME")]
    sites: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Mark stale instead of removing
    #[arg(long)]
    soft: bool,
    /// Wait until every connected node has confirmed, at most this long, such as 5s
    #[arg(long, value_name = "DURATION")]
    wait: Option<Period>,
    #[command(flatten)]
    api: api::Options,
}

#[derive(Subcommand)]
enum Command {
    /// A purge by its number: what it names, who has confirmed it, and when
    Show {
        /// The number
        seq: u64,
    },
    /// How the nodes follow the purges, and how long these took to be in force
    Log,
}

/// Purges, waits if asked to, and fails when a connected node has not confirmed in time.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    match options.command {
        Some(Command::Show { seq }) => return show_one(&api, seq, options.api.json).await,
        Some(Command::Log) => return log(&api, options.api.json).await,
        None => {}
    }
    let targets = Targets {
        urls: options.urls,
        prefixes: options.prefixes,
        tags: options.tags,
        hosts: options.hosts,
        sites: options.sites,
        all: options.all,
        soft: options.soft,
    };
    let wait = options.wait.map_or(Duration::ZERO, |period| period.0);
    let path = options.wait.map_or_else(|| "/v1/purges".to_owned(), |period| format!("/v1/purges?wait={period}"));
    let body = serde_json::to_value(&targets).unwrap_or_else(|_| json!({}));
    let answer = api.call(Call { wait, ..Call::post(&path, body) }).await?;
    if options.api.json {
        show::json(&answer);
    } else {
        for line in report(&answer, options.wait) {
            show::line(&line);
        }
    }
    let pending = nodes(&answer, "pending");
    if options.wait.is_none() || pending.is_empty() {
        return Ok(());
    }
    Err(Fail::Refused(format!(
        "purge {} was not confirmed within {} by {}; it will be in force there once they answer: see skerry status",
        show::text(&answer, "seq"),
        options.wait.unwrap_or_default(),
        pending.join(", ")
    )))
}

async fn show_one(api: &Api, seq: u64, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get(&format!("/v1/purges/{seq}"))).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let [at, author, targets] = ["at", "author", "targets"].map(|field| show::text(&answer, field));
    show::line(&format!("purge {seq} of {targets} by {author} at {at}"));
    let rows = ["acked", "pending", "away"].into_iter().flat_map(|kind| {
        let row = |name: String| {
            let time = answer.get("times").and_then(|times| times.get(&name)).cloned().unwrap_or_default();
            vec![name, kind.to_owned(), show::text(&time, "at"), millis(&time, "after_ms")]
        };
        nodes(&answer, kind).into_iter().map(row).collect::<Vec<_>>()
    });
    show::table(&["NODE", "STATE", "SINCE", "AFTER MS"], &rows.collect::<Vec<_>>());
    Ok(())
}

async fn log(api: &Api, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get("/v1/purges")).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let [oldest, newest, released] = ["oldest", "newest", "released"].map(|field| show::text(&answer, field));
    show::line(&format!("purges {oldest} to {newest} are kept; edges are sent those up to {released}"));
    let row = |node: &Value| {
        let applied = node.get("applied").cloned().unwrap_or_default();
        let own = ["name", "seq", "behind"].map(|field| show::text(node, field));
        let times = ["p50_ms", "p99_ms", "max_ms"].map(|field| millis(&applied, field));
        own.into_iter().chain(times).collect()
    };
    let rows: Vec<_> = show::list(&answer, "nodes").iter().map(row).collect();
    show::table(&["NODE", "PURGE", "BEHIND", "P50 MS", "P99 MS", "MAX MS"], &rows);
    Ok(())
}

/// A time to a tenth of a millisecond.
fn millis(times: &Value, field: &str) -> String {
    times.get(field).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}"))
}

fn nodes(answer: &Value, kind: &str) -> Vec<String> {
    let named = answer.get("nodes").map_or(&[][..], |nodes| show::list(nodes, kind));
    named.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The answer for people.
fn report(answer: &Value, wait: Option<Period>) -> Vec<String> {
    let seq = show::text(answer, "seq");
    if wait.is_none() {
        return vec![format!("purge {seq} is on its way; --wait 5s waits until it is in force")];
    }
    let named = |kind| Some(nodes(answer, kind)).filter(|names| !names.is_empty()).map(|names| names.join(", "));
    let mut lines = vec![format!("purge {seq} is in force on {}", named("acked").unwrap_or_else(|| "no node yet".to_owned()))];
    lines.extend(named("pending").map(|names| format!("not confirmed by {names}")));
    lines.extend(named("away").map(|names| format!("not connected, will apply it when they are back: {names}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_who_confirmed_and_who_did_not() {
        let answer = json!({"seq": 7, "nodes": {"acked": ["shield-1", "edge-1"], "pending": ["edge-2"], "away": ["edge-3"]}});
        let lines = report(&answer, Some(Period::from_secs(5)));
        assert_eq!(
            lines,
            [
                "purge 7 is in force on shield-1, edge-1",
                "not confirmed by edge-2",
                "not connected, will apply it when they are back: edge-3"
            ]
        );
        assert_eq!(report(&answer, None).len(), 1);
    }
}
