//! `skerry token`: tokens of the control API. Those that nodes join with are made by `skerry node token`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use skerry_config::units::Period;

use super::api::{self, Call, segment};
use super::{Fail, show};

/// The options of `skerry token`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry token`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a token; it is shown this once
    Create {
        /// What its bearer may do; each role may do what those before it may
        #[arg(long, value_enum)]
        role: Role,
        /// The name its writes are recorded under
        #[arg(long)]
        name: Option<String>,
        /// A site it is for; may be repeated. Without it all
        #[arg(long = "site", value_name = "NAME")]
        sites: Vec<String>,
        /// How long it is valid, such as 90d; for ever by default
        #[arg(long, value_name = "DURATION")]
        ttl: Option<Period>,
    },
    /// All tokens, those to join with among them; never their secrets
    List,
    /// Revoke a token: from now on it counts for nothing
    Revoke {
        /// Its name, as `skerry token list` shows it
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Reads
    Viewer,
    /// Purges
    Purger,
    /// Writes sites
    Editor,
    /// Everything
    Admin,
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let as_json = options.api.json;
    match options.command {
        Command::Create { role, name, sites, ttl } => {
            let role = role.to_possible_value().map(|role| role.get_name().to_owned());
            let mut body = json!({"kind": "api", "role": role});
            let ttl = ttl.map(|ttl| json!(ttl.to_string()));
            let sites = (!sites.is_empty()).then(|| json!(sites));
            for (field, value) in [("name", name.map(Value::String)), ("sites", sites), ("ttl", ttl)] {
                if let Some(value) = value {
                    body[field] = value;
                }
            }
            let answer = api.call(Call::post("/v1/tokens", body)).await?;
            if as_json {
                show::json(&answer);
            } else {
                // Alone on its line, so that it can be captured: TOKEN=$(skerry token create ...).
                show::line(&show::text(&answer, "token"));
            }
        }
        Command::List => {
            let answer = api.call(Call::get("/v1/tokens")).await?;
            let fields = ["name", "kind", "role", "sites", "region", "expires_at", "made_by", "used_by"];
            show::listed(&answer, "tokens", &fields, as_json);
        }
        Command::Revoke { name } => {
            let path = format!("/v1/tokens/{}", segment(&name));
            let answer = api.call(Call::delete(&path)).await?;
            if as_json {
                show::json(&answer);
            } else {
                show::line(&format!("token {name} is revoked"));
            }
        }
    }
    Ok(())
}
