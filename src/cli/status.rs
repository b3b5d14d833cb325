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
    let answer = api.call(Call::get("/v1/nodes")).await?;
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
    let answer = api.call(Call::get("/v1/nodes")).await?;
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
    let head = [
        "NAME",
        "ROLE",
        "REGION",
        "STATE",
        "WEIGHT",
        "COST",
        "ADDRESSES",
        "SNAPSHOT",
        "PURGE",
        "LAG",
        "REQUESTS",
        "HITS",
        "ERRORS",
        "PER SECOND",
        "BYTES",
        "MEMORY",
        "CONNECTIONS",
        "CERTIFICATE ENDS",
        "SOFTWARE",
        "LAST SEEN",
    ];
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
    let steering = node.get("steering").filter(|_| node.get("role").is_some_and(|role| role == "edge"));
    let (weight, cost) = match steering {
        Some(steering) => (format!("{} %", show::number(steering, "weight")), format!("{} ms", show::number(steering, "cost_ms"))),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let nothing = Value::Null;
    let part = |field| node.get(field).unwrap_or(&nothing);
    let late = part("behind");
    let state = if flag(late, "alarm") { format!("{state}, behind") } else { state.to_owned() };
    let behind = |field: &str, told: &str| match late.get(told) {
        Some(_) => show::number(late, told),
        None => show::number(answer, field).saturating_sub(show::number(node, field)),
    };
    let is_dns = node.get("role").is_some_and(|role| role == "dns");
    let lag = match (behind("snapshot", "snapshots"), behind("purge_seq", "purges")) {
        (0, 0) => "-".to_owned(),
        (snapshots, 0) => show::count(usize::try_from(snapshots).unwrap_or(usize::MAX), "snapshot"),
        (0, purges) => show::count(usize::try_from(purges).unwrap_or(usize::MAX), "purge"),
        (snapshots, purges) => format!("{snapshots} snapshots, {purges} purges"),
    };
    let seconds = late.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let lag = if seconds >= 1.0 { format!("{lag} for {seconds:.0} s") } else { lag };
    let per_second = node.get("requests_per_second").and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    vec![
        text("name"),
        text("role"),
        text("region"),
        state,
        weight,
        cost,
        text("addresses"),
        if is_dns { format!("zone {}", text("zone_serial")) } else { text("snapshot") },
        if is_dns { "-".to_owned() } else { text("purge_seq") },
        lag,
        text("requests"),
        if is_dns { "-".to_owned() } else { ratio(number("hits"), number("requests")) },
        text("errors"),
        per_second,
        show::bytes(number("bytes")),
        show::bytes(number("memory")),
        text("connections"),
        show::text(part("certificate"), "ends_at"),
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
        assert_eq!(row[9], "1 snapshot");
        assert_eq!(row[11], "66.6 %");
        assert_eq!((row[13].as_str(), row[17].as_str(), row[18].as_str()), ("-", "-", "-"));
        let late = serde_json::json!({"name": "edge-1", "connected": false, "snapshot": 8, "purge_seq": 1, "requests_per_second": 2.25,
            "behind": {"wanted": 9, "snapshots": 1, "purges": 3, "seconds": 61.4, "alarm": true},
            "certificate": {"ends_at": "2027-02-26T12:00:00.000Z"}});
        let row = super::row(&answer, &late);
        assert_eq!((row[3].as_str(), row[9].as_str()), ("away, behind", "1 snapshots, 3 purges for 61 s"));
        assert_eq!((row[13].as_str(), row[17].as_str()), ("2.2", "2027-02-26T12:00:00.000Z"));
    }

    #[test]
    fn an_edge_has_its_steering_and_a_dns_node_its_zone() {
        let answer = serde_json::json!({"snapshot": 9, "purge_seq": 4});
        let behind = serde_json::json!({"snapshots": 0, "purges": 0, "seconds": 0.0, "alarm": false});
        let edge = serde_json::json!({"name": "edge-1", "role": "edge", "steering": {"weight": 50, "cost_ms": 5}, "behind": behind});
        let node = serde_json::json!({"name": "dns-1", "role": "dns", "connected": true, "zone_serial": 77, "requests": 3, "hits": 0,
            "steering": {"weight": 100, "cost_ms": 0}, "behind": behind});
        let row = row(&answer, &edge);
        assert_eq!((row[4].as_str(), row[5].as_str()), ("50 %", "5 ms"));
        let row = super::row(&answer, &node);
        assert_eq!((&*row[3], &*row[4], &*row[5], &*row[7], &*row[8], &*row[9], &*row[11]), ("up", "-", "-", "zone 77", "-", "-", "-"));
    }

    #[test]
    fn no_requests_have_no_ratio() {
        assert_eq!(ratio(0, 0), "-");
        assert_eq!(ratio(u64::MAX, u64::MAX), "100.0 %");
    }
}
