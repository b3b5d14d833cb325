//! `skerry secret`: secrets that sites name, and nobody is shown.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::api::{self, Call, segment};
use super::{Fail, show, value_in};

/// The options of `skerry secret`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    api: api::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
            let answer = api.call(Call { method: Method::PUT, path: &path, body: Some(body), ..Call::default() }).await?;
            let line =
                format!("secret {name} has the value {}, used by: {}", show::text(&answer, "fingerprint"), show::text(&answer, "used_by"));
            (answer, line)
        }
        Command::List => {
            let answer = api.call(Call { path: "/v1/secrets", ..Call::default() }).await?;
            if !options.api.json {
                let fields = ["name", "fingerprint", "sites", "used_by", "at", "author"];
                let row = |secret: &Value| fields.map(|field| show::text(secret, field)).to_vec();
                let rows: Vec<_> = show::list(&answer, "secrets").iter().map(row).collect();
                show::table(&["NAME", "FINGERPRINT", "SITES", "USED BY", "WRITTEN", "AUTHOR"], &rows);
                return Ok(());
            }
            (answer, String::new())
        }
        Command::Delete { name } => {
            let path = format!("/v1/secrets/{}", segment(&name));
            let answer = api.call(Call { method: Method::DELETE, path: &path, ..Call::default() }).await?;
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
