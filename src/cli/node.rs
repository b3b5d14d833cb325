//! `skerry node`: join tokens, and the nodes that came with them.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};
use skerry_config::units::Period;

use super::api::{self, Api, Call, segment};
use super::{Fail, show, status};

/// The options of `skerry node`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    api: api::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    /// Forget a node; its certificate no longer lets it in
    Remove {
        /// The node
        name: String,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
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
enum NodeRole {
    /// Serves clients
    Edge,
    /// Serves edges
    Shield,
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
        Command::Remove { name } => change(&api, Method::DELETE, &name, "", json, "is forgotten, and its certificate is refused").await,
    }
}

async fn token(api: &Api, role: NodeRole, region: &str, ttl: Option<Period>, json: bool) -> Result<(), Fail> {
    let role = match role {
        NodeRole::Edge => "edge",
        NodeRole::Shield => "shield",
    };
    let mut body = json!({"kind": "join", "role": role, "region": region});
    if let Some(ttl) = ttl {
        body["ttl"] = Value::String(ttl.to_string());
    }
    let answer = api.call(Call { method: Method::POST, path: "/v1/tokens", body: Some(body), ..Call::default() }).await?;
    if json {
        show::json(&answer);
    } else {
        // Alone on its line, so that it can be captured: TOKEN=$(skerry node token create ...).
        show::line(&show::text(&answer, "token"));
    }
    Ok(())
}

async fn change(api: &Api, method: Method, name: &str, verb: &str, json: bool, became: &str) -> Result<(), Fail> {
    let path = format!("/v1/nodes/{}{verb}", segment(name));
    let answer = api.call(Call { method, path: &path, ..Call::default() }).await?;
    if json {
        show::json(&answer);
    } else {
        show::line(&format!("node {name} {became}"));
    }
    Ok(())
}
