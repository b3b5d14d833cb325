//! `skerry status`: which nodes there are, what they run, and how far behind they are.

use clap::Args;
use serde_json::Value;

use super::api::{self, Api, Call};
use super::{Fail, show};

/// The options of `skerry status`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    api: api::Options,
}

/// Prints the nodes under a line about the whole.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let answer = api.call(Call { path: "/v1/nodes", ..Call::default() }).await?;
    if options.api.json {
        show::json(&answer);
        return Ok(());
    }
    let nodes = show::list(&answer, "nodes");
    let up = nodes.iter().filter(|node| flag(node, "connected")).count();
    show::line(&format!(
        "snapshot {}, purge {}, {up} of {} connected",
        show::text(&answer, "snapshot"),
        show::text(&answer, "purge_seq"),
        show::count(nodes.len(), "node")
    ));
    table(&answer);
    Ok(())
}

/// Prints the nodes alone, as `skerry node list` does.
pub(crate) async fn nodes(api: &Api, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call { path: "/v1/nodes", ..Call::default() }).await?;
    if json {
        show::json(&answer);
    } else {
        table(&answer);
    }
    Ok(())
}

fn flag(node: &Value, field: &str) -> bool {
    node.get(field).and_then(Value::as_bool) == Some(true)
}

fn table(answer: &Value) {
    let head =
        ["NAME", "ROLE", "REGION", "STATE", "ADDRESSES", "SNAPSHOT", "PURGE", "LAG", "REQUESTS", "HITS", "BYTES", "SOFTWARE", "LAST SEEN"];
    let rows: Vec<_> = show::list(answer, "nodes").iter().map(|node| row(answer, node)).collect();
    show::table(&head, &rows);
}

fn row(answer: &Value, node: &Value) -> Vec<String> {
    let text = |field| show::text(node, field);
    let number = |field| show::number(node, field);
    let state = match (flag(node, "connected"), flag(node, "drained")) {
        (true, false) => "up",
        (true, true) => "drained",
        (false, false) => "away",
        (false, true) => "away, drained",
    };
    let behind = |field| show::number(answer, field).saturating_sub(number(field));
    let lag = match (behind("snapshot"), behind("purge_seq")) {
        (0, 0) => "-".to_owned(),
        (snapshots, 0) => show::count(usize::try_from(snapshots).unwrap_or(usize::MAX), "snapshot"),
        (0, purges) => show::count(usize::try_from(purges).unwrap_or(usize::MAX), "purge"),
        (snapshots, purges) => format!("{snapshots} snapshots, {purges} purges"),
    };
    vec![
        text("name"),
        text("role"),
        text("region"),
        state.to_owned(),
        text("addresses"),
        text("snapshot"),
        text("purge_seq"),
        lag,
        text("requests"),
        ratio(number("hits"), number("requests")),
        show::bytes(number("bytes")),
        text("software"),
        text("last_seen"),
    ]
}

/// Hits per hundred requests.
fn ratio(hits: u64, requests: u64) -> String {
    if requests == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(hits) * 1000 / u128::from(requests);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_behind_says_by_how_much() {
        let answer = serde_json::json!({"snapshot": 9, "purge_seq": 4});
        let node = serde_json::json!({"name": "edge-1", "connected": true, "drained": false, "snapshot": 8, "purge_seq": 4,
            "requests": 3, "hits": 2, "bytes": 2048, "addresses": ["192.0.2.1"]});
        let row = row(&answer, &node);
        assert_eq!(row[3], "up");
        assert_eq!(row[7], "1 snapshot");
        assert_eq!(row[9], "66.6 %");
        assert_eq!(row[11], "-");
    }

    #[test]
    fn no_requests_have_no_ratio() {
        assert_eq!(ratio(0, 0), "-");
        assert_eq!(ratio(u64::MAX, u64::MAX), "100.0 %");
    }
}
