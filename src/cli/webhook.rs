//! `skerry webhook`: where events are sent, and what became of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::api::{self, Call, segment};
use super::{Fail, show, value_in};

/// The options of `skerry webhook`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    api: api::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a webhook, or change it and enable it again
    Put {
        /// Its name
        name: String,
        /// Where messages are POSTed to
        url: String,
        /// A kind of events, such as node; may be repeated. Without it all
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// The file with the secret that messages are signed with, or - for standard input. Without it the one before stays
        #[arg(long, value_name = "FILE")]
        secret: Option<PathBuf>,
    },
    /// All webhooks, and what became of their messages since the control plane started
    List,
    /// Delete a webhook, with what waits for it
    Delete {
        /// Its name
        name: String,
    },
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let (answer, line) = match options.command {
        Command::Put { name, url, kinds, secret } => {
            let mut body = json!({"url": url});
            if !kinds.is_empty() {
                body["kinds"] = json!(kinds);
            }
            if let Some(file) = secret {
                body["secret"] = json!(value_in(&file)?.trim_end());
            }
            let path = format!("/v1/webhooks/{}", segment(&name));
            let answer = api.call(Call { method: Method::PUT, path: &path, body: Some(body), ..Call::default() }).await?;
            let line = format!("webhook {name} is sent what happens from now on, signed with the secret {}", show::text(&answer, "secret"));
            (answer, line)
        }
        Command::List => {
            let answer = api.call(Call { path: "/v1/webhooks", ..Call::default() }).await?;
            if !options.api.json {
                let fields = ["name", "url", "kinds", "waiting", "delivered", "failed", "dropped", "disabled", "last_error"];
                let row = |webhook: &Value| fields.map(|field| show::text(webhook, field)).to_vec();
                let rows: Vec<_> = show::list(&answer, "webhooks").iter().map(row).collect();
                let head = ["NAME", "URL", "KINDS", "WAITING", "DELIVERED", "FAILED", "DROPPED", "DISABLED", "LAST ERROR"];
                show::table(&head, &rows);
                return Ok(());
            }
            (answer, String::new())
        }
        Command::Delete { name } => {
            let path = format!("/v1/webhooks/{}", segment(&name));
            let answer = api.call(Call { method: Method::DELETE, path: &path, ..Call::default() }).await?;
            (answer, format!("webhook {name} is deleted"))
        }
    };
    if options.api.json {
        show::json(&answer);
    } else {
        show::line(&line);
    }
    Ok(())
}
