//! `skerry node`: join tokens, and the nodes that came with them.

use clap::{Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};
use skerry_config::units::Period;

use super::api::{self, Api, Call, segment};
use super::{Fail, show, status};

/// The options of `skerry node`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry node`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tokens with which nodes join
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// All nodes
    List,
    /// Take a node out of DNS and routing; it goes on answering those who still come
    Drain {
        /// The node
        name: String,
    },
    /// Put a drained node back
    Resume {
        /// The node
        name: String,
    },
    /// Change how DNS takes an edge into account; what is left out stays as it is
    #[command(group = clap::ArgGroup::new("steering").required(true).multiple(true))]
    Steer {
        /// The edge
        name: String,
        /// The share of the clients it would have that it is given, in percent, 0 to 100
        #[arg(long, value_name = "PERCENT", group = "steering")]
        weight: Option<u32>,
        /// How much farther away it is to count as, such as 5ms, at most 1s
        #[arg(long, value_name = "DURATION", group = "steering")]
        cost: Option<Period>,
    },
    /// The metrics of a node, asked over its own stream
    Figures {
        /// The node
        name: String,
        /// Only metrics whose names begin so; may be repeated
        #[arg(long = "metric", value_name = "PREFIX")]
        metrics: Vec<String>,
    },
    /// The last requests that a node answered with an error or cut off, the newest first
    Errors {
        /// The node
        name: String,
    },
    /// What a node did in the last three days, by five minutes
    History {
        /// The node
        name: String,
        /// The time from which on, such as 2026-11-28T12:00:00Z; all without it
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
    },
    /// Forget a node; its certificates are revoked, with the control plane and with all other nodes
    Remove {
        /// The node
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token that lets one node join, once
    Create {
        /// What the node will be
        #[arg(long, value_enum)]
        role: NodeRole,
        /// Where it will be
        #[arg(long)]
        region: String,
        /// How long the token may be used, such as 1h
        #[arg(long, value_name = "DURATION")]
        ttl: Option<Period>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NodeRole {
    /// Serves clients
    Edge,
    /// Serves edges
    Shield,
    /// Answers DNS
    Dns,
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let json = options.api.json;
    match options.command {
        Command::Token { command: TokenCommand::Create { role, region, ttl } } => token(&api, role, &region, ttl, json).await,
        Command::List => status::nodes(&api, json).await,
        Command::Drain { name } => {
            change(&api, Method::POST, &name, "/drain", json, "is drained: DNS and routing leave it out as soon as every node knows").await
        }
        Command::Resume { name } => change(&api, Method::POST, &name, "/resume", json, "takes requests again").await,
        Command::Steer { name, weight, cost } => steer(&api, &name, weight, cost, json).await,
        Command::Figures { name, metrics } => figures(&api, &name, &metrics, json).await,
        Command::Errors { name } => errors(&api, &name, json).await,
        Command::History { name, from } => history(&api, &name, from.as_deref(), json).await,
        Command::Remove { name } => change(&api, Method::DELETE, &name, "", json, "is forgotten, and its certificates are revoked").await,
    }
}

async fn token(api: &Api, role: NodeRole, region: &str, ttl: Option<Period>, json: bool) -> Result<(), Fail> {
    let role = match role {
        NodeRole::Edge => "edge",
        NodeRole::Shield => "shield",
        NodeRole::Dns => "dns",
    };
    let mut body = json!({"kind": "join", "role": role, "region": region});
    if let Some(ttl) = ttl {
        body["ttl"] = Value::String(ttl.to_string());
    }
    let answer = api.call(Call::post("/v1/tokens", body)).await?;
    if json {
        show::json(&answer);
    } else {
        // Alone on its line, so that it can be captured: TOKEN=$(skerry node token create ...).
        show::line(&show::text(&answer, "token"));
    }
    Ok(())
}

async fn steer(api: &Api, name: &str, weight: Option<u32>, cost: Option<Period>, json: bool) -> Result<(), Fail> {
    let mut body = serde_json::Map::new();
    body.extend(weight.map(|weight| ("weight".to_owned(), weight.into())));
    if let Some(cost) = cost {
        let whole = u32::try_from(cost.0.as_millis()).map_err(|_| Fail::Usage(format!("a cost of {cost} is too much; give at most 1s")))?;
        body.insert("cost_ms".to_owned(), whole.into());
    }
    let path = format!("/v1/nodes/{}/steering", segment(name));
    let answer = api.call(Call::put(&path, Value::Object(body))).await?;
    if json {
        show::json(&answer);
    } else {
        let steering = &answer["steering"];
        let (weight, cost) = (show::number(steering, "weight"), show::number(steering, "cost_ms"));
        show::line(&format!("node {name} has a weight of {weight} % and counts as {cost} ms farther away"));
    }
    Ok(())
}

async fn figures(api: &Api, name: &str, metrics: &[String], json: bool) -> Result<(), Fail> {
    let mut path = format!("/v1/nodes/{}/figures", segment(name));
    for (place, metric) in metrics.iter().enumerate() {
        path.push_str(&format!("{}metric={}", if place == 0 { '?' } else { '&' }, segment(metric)));
    }
    let answer = api.call(Call::get(&path)).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    show::text(&answer, "text").lines().for_each(show::line);
    if answer.get("cut").and_then(Value::as_bool) == Some(true) {
        return Err(Fail::Refused("there is more than one answer has room for; ask for some with --metric PREFIX".to_owned()));
    }
    Ok(())
}

async fn errors(api: &Api, name: &str, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get(&format!("/v1/nodes/{}/errors", segment(name)))).await?;
    let columns = ["time", "site", "status", "method", "url", "reason"];
    show::listed(&answer, "errors", &columns, json);
    Ok(())
}

async fn history(api: &Api, name: &str, from: Option<&str>, json: bool) -> Result<(), Fail> {
    let from = from.map(|from| format!("?from={}", segment(from))).unwrap_or_default();
    let answer = api.call(Call::get(&format!("/v1/nodes/{}/history{from}", segment(name)))).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let sums = |sums: &Value| {
        let counts = ["requests", "hits", "errors"].map(|field| show::text(sums, field));
        counts.into_iter().chain([show::bytes(show::number(sums, "bytes"))]).collect::<Vec<_>>()
    };
    let row = |bucket: &Value| [vec![show::text(bucket, "from")], sums(bucket)].concat();
    let mut rows: Vec<_> = show::list(&answer, "buckets").iter().map(row).collect();
    rows.push([vec!["since it joined".to_owned()], sums(answer.get("total").unwrap_or(&Value::Null))].concat());
    show::table(&["FROM", "REQUESTS", "HITS", "ERRORS", "BYTES"], &rows);
    let dropped = show::number(&answer, "dropped_requests");
    if dropped > 0 {
        show::line(&format!("{dropped} requests more, of a time that the node could not keep"));
    }
    Ok(())
}

async fn change(api: &Api, method: Method, name: &str, verb: &str, json: bool, became: &str) -> Result<(), Fail> {
    let path = format!("/v1/nodes/{}{verb}", segment(name));
    let answer = api.call(Call { method, ..Call::get(&path) }).await?;
    if json {
        show::json(&answer);
    } else {
        show::line(&format!("node {name} {became}"));
    }
    Ok(())
}
