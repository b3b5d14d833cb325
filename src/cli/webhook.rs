//! `skerry webhook`: where events are sent, and what became of them.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::api::{self, Call, segment};
use super::{Fail, show, value_in};

/// The options of `skerry webhook`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry webhook`.
#[derive(Subcommand)]
pub(crate) enum Command {
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
            let answer = api.call(Call::put(&path, body)).await?;
            let line = format!("webhook {name} is sent what happens from now on, signed with the secret {}", show::text(&answer, "secret"));
            (answer, line)
        }
        Command::List => {
            let answer = api.call(Call::get("/v1/webhooks")).await?;
            show::listed(
                &answer,
                "webhooks",
                &["name", "url", "kinds", "waiting", "delivered", "failed", "dropped", "disabled", "last_error"],
                options.api.json,
            );
            return Ok(());
        }
        Command::Delete { name } => {
            let path = format!("/v1/webhooks/{}", segment(&name));
            let answer = api.call(Call::delete(&path)).await?;
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
