//! The process log: events on standard error, as lines or as JSON.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` says nothing. The libraries repeat on their own what our lines say with the site and the node.
const DEFAULT_FILTER: &str = "info,hickory_proto=warn,h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,\
     pingora_proxy=error,pingora_core=error,pingora_pool=error,foyer_storage=error";

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line an event, for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts the log of this process. A `RUST_LOG` that cannot be read is ignored, and said.
pub(crate) fn start(format: Format) {
    let (filter, fault) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(format!("RUST_LOG is {text:?}, which is ignored: {error}"))),
        },
        _ => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        eprintln!("skerry: the log does not start: {error}");
    }
    if let Some(fault) = fault {
        tracing::warn!("{fault}");
    }
}
