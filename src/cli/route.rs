//! `skerry route`: whom DNS answers a client with, and why.

use clap::Args;
use serde_json::Value;

use super::api::{self, Call, segment};
use super::{Fail, show};

/// The options of `skerry route`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    api: api::Options,
    /// The client: an address, or a prefix such as 192.0.2.0/24
    address: String,
    /// The site; without it any that all edges have and that has no fence
    site: Option<String>,
}

/// Asks, and prints the choice over the edges that were considered.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let mut path = format!("/v1/route?client={}", segment(&options.address));
    if let Some(site) = &options.site {
        path.push_str(&format!("&site={}", segment(site)));
    }
    let answer = api.call(Call::get(&path)).await?;
    if options.api.json {
        show::json(&answer);
        return Ok(());
    }
    report(&answer).iter().for_each(|line| show::line(line));
    let head = ["EDGE", "REGION", "LATENCY", "SPREAD", "CERTAINTY", "COST", "LOAD", "PRICE", "EXCLUDED"];
    let rows: Vec<_> = show::list(&answer, "candidates").iter().map(row).collect();
    show::table(&head, &rows);
    Ok(())
}

/// The choice in words.
fn report(answer: &Value) -> Vec<String> {
    let edges: Vec<&str> = show::list(answer, "edges").iter().filter_map(Value::as_str).collect();
    let text = |field| show::text(answer, field);
    let to = if edges.is_empty() { "no edge".to_owned() } else { edges.join(", then ") };
    let matched = match answer.get("matched").and_then(Value::as_str) {
        Some(prefix) => format!("planned for {prefix} at {}", text("planned_at")),
        None => "nothing is planned for this prefix".to_owned(),
    };
    vec![
        format!("{} is sent to {to}: {}", text("client"), text("reason")),
        format!("{matched}; for {} s, for all clients of its /{}", text("ttl"), text("scope")),
    ]
}

fn row(candidate: &Value) -> Vec<String> {
    let number = |field: &str| candidate.get(field).and_then(Value::as_f64);
    let ms = |field| number(field).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    let percent = |field| number(field).map_or_else(|| "-".to_owned(), |part| format!("{:.0} %", part * 100.0));
    vec![
        show::text(candidate, "name"),
        show::text(candidate, "region"),
        ms("latency_ms"),
        ms("spread_ms"),
        percent("certainty"),
        ms("cost_ms"),
        percent("utilization"),
        ms("price_ms"),
        show::text(candidate, "excluded"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_told_with_what_it_rests_on() {
        let answer = serde_json::json!({"client": "10.1.2.0/24", "edges": ["a", "b"], "reason": "measured", "matched": "10.1.0.0/16",
            "planned_at": "2026-11-28T12:00:00Z", "ttl": 20, "scope": 24});
        assert_eq!(
            report(&answer),
            [
                "10.1.2.0/24 is sent to a, then b: measured",
                "planned for 10.1.0.0/16 at 2026-11-28T12:00:00Z; for 20 s, for all clients of its /24"
            ]
        );
        let candidate = serde_json::json!({"name": "a", "region": "north", "latency_ms": 7.25, "spread_ms": null, "certainty": 0.9,
            "cost_ms": 0.0, "utilization": 0.5, "price_ms": 1.0, "excluded": null});
        assert_eq!(row(&candidate)[2..], ["7.2 ms", "-", "90 %", "0.0 ms", "50 %", "1.0 ms", "-"]);
    }
}
