//! What an operator types: one file a command, all of them a thin layer over the control API.
//!
//! Standard output is the answer, standard error the reason there is none. Exit code 0: done; 1: refused; 2: bad usage.

mod api;
mod audit;
mod check;
mod explain;
mod node;
mod purge;
mod role;
mod rollout;
mod route;
mod secret;
mod show;
mod site;
mod status;
mod token;
mod webhook;

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use skerry_config::check::Faults;

use crate::{dev, log};

pub(crate) use api::{Api, Call, Refusal, segment};
pub(crate) use role::Role;
pub(crate) use show::line;

/// Skerry: a self-hosted CDN in one binary.
#[derive(Parser)]
#[command(name = "skerry", version)]
pub(crate) struct Cli {
    /// How the log is written
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log: log::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole CDN on this machine: control plane, shields, edges, DNS and a sample origin
    Dev(dev::Options),
    /// Run the control plane
    Control(role::Options),
    /// Run a shield
    Shield(role::Options),
    /// Run an edge
    Edge(role::Options),
    /// Run a DNS node: it answers for the zone of a control plane that it follows
    Dns(role::Options),
    /// Check process settings and site files: all faults at once
    Check(check::Options),
    /// Apply, show and roll back sites
    Site(site::Options),
    /// How changes of sites reach the nodes, stage by stage
    Rollout(rollout::Options),
    /// Remove answers from every cache
    Purge(purge::Options),
    /// Why the next GET of a URL will be a hit, or will not, on each node
    Explain(explain::Options),
    /// Whom DNS answers a client with, and why
    Route(route::Options),
    /// Add, drain and remove nodes
    Node(node::Options),
    /// Make, list and revoke tokens of the control API
    Token(token::Options),
    /// Keep, list and delete secrets that sites name
    Secret(secret::Options),
    /// Send events to a URL, signed
    Webhook(webhook::Options),
    /// Who changed what
    Audit(audit::Options),
    /// Nodes, versions, hit ratio and lag
    Status(status::Options),
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Fail {
    /// What was typed cannot be done: exit code 2.
    Usage(String),
    /// What was asked was refused or did not come about: exit code 1.
    Refused(String),
}

impl Fail {
    /// A file with faults: one as a sentence, several as a list under one.
    pub(crate) fn faults(path: &Path, faults: &Faults) -> Self {
        Self::Refused(match faults.0.as_slice() {
            [fault] => fault.to_string(),
            all => format!("{} has {} faults:\n{faults}", path.display(), all.len()),
        })
    }

    /// The exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(says) | Self::Refused(says)) = self;
        f.write_str(says)
    }
}

impl Cli {
    /// Does what was typed.
    pub(crate) fn run(self) -> Result<(), Fail> {
        match self.command {
            Command::Dev(options) => dev::run(options, self.log),
            Command::Control(options) => role::run(role::Role::Control, &options, self.log),
            Command::Shield(options) => role::run(role::Role::Shield, &options, self.log),
            Command::Edge(options) => role::run(role::Role::Edge, &options, self.log),
            Command::Dns(options) => role::run(role::Role::Dns, &options, self.log),
            Command::Check(options) => check::run(&options),
            Command::Site(options) => brief(site::run(options)),
            Command::Rollout(options) => brief(rollout::run(options)),
            Command::Purge(options) => brief(purge::run(options)),
            Command::Explain(options) => brief(explain::run(options)),
            Command::Route(options) => brief(route::run(options)),
            Command::Node(options) => brief(node::run(options)),
            Command::Token(options) => brief(token::run(options)),
            Command::Secret(options) => brief(secret::run(options)),
            Command::Webhook(options) => brief(webhook::run(options)),
            Command::Audit(options) => brief(audit::run(options)),
            Command::Status(options) => brief(status::run(options)),
        }
    }
}

/// A value that must not be typed on a command line, where others on the machine see it: what a file holds, or with `-` standard input.
fn value_in(file: &Path) -> Result<String, Fail> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Fail::Usage(format!("the value in {} cannot be read: {error}", file.display())))
}

/// Runs a command that asks the API a few things and ends.
fn brief(command: impl Future<Output = Result<(), Fail>>) -> Result<(), Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Fail::Refused(format!("the runtime does not start: {error}")))?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_api_stand_before_or_after_the_verb() {
        for words in [["skerry", "site", "--api", "http://a", "list"], ["skerry", "site", "list", "--api", "http://a"]] {
            assert!(Cli::try_parse_from(words).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn a_purge_of_nothing_is_bad_usage() {
        assert!(Cli::try_parse_from(["skerry", "purge"]).is_err());
        assert!(Cli::try_parse_from(["skerry", "purge", "--soft"]).is_err());
        assert!(Cli::try_parse_from(["skerry", "purge", "--tag", "a", "--url", "http://h/p", "--tag", "b"]).is_ok());
        assert!(Cli::try_parse_from(["skerry", "purge", "show", "7", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["skerry", "purge", "--all", "show", "7"]).is_err());
    }
}
