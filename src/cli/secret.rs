//! `skerry secret`: secrets that sites name, and nobody is shown.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::api::{self, Call, segment};
use super::{Fail, show, value_in};

/// The options of `skerry secret`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry secret`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Give a secret a value; sites that name it, as secret:NAME, get a new version with it
    Put {
        /// Its name
        name: String,
        /// The file with the value, or - for standard input
        file: PathBuf,
        /// A site that may use it; may be repeated. Without it all
        #[arg(long = "site", value_name = "NAME")]
        sites: Vec<String>,
    },
    /// The secrets: names, fingerprints, and the sites that use them
    List,
    /// Delete a secret that no site uses
    Delete {
        /// Its name
        name: String,
    },
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let (answer, line) = match options.command {
        Command::Put { name, file, sites } => {
            let mut body = json!({"value": value_in(&file)?});
            if !sites.is_empty() {
                body["sites"] = json!(sites);
            }
            let path = format!("/v1/secrets/{}", segment(&name));
            let answer = api.call(Call::put(&path, body)).await?;
            let line =
                format!("secret {name} has the value {}, used by: {}", show::text(&answer, "fingerprint"), show::text(&answer, "used_by"));
            (answer, line)
        }
        Command::List => {
            let answer = api.call(Call::get("/v1/secrets")).await?;
            show::listed(&answer, "secrets", &["name", "fingerprint", "sites", "used_by", "at", "author"], options.api.json);
            return Ok(());
        }
        Command::Delete { name } => {
            let path = format!("/v1/secrets/{}", segment(&name));
            let answer = api.call(Call::delete(&path)).await?;
            (answer, format!("secret {name} is deleted"))
        }
    };
    if options.api.json {
        show::json(&answer);
    } else {
        show::line(&line);
    }
    Ok(())
}
