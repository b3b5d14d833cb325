//! `skerry control`, `skerry shield`, `skerry edge`, `skerry dns`: one process in one role.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skerry_config::check;
use skerry_config::process::Process;

use super::Fail;
use crate::{files, hangup, heap, log, stop};

/// How long the runtime waits for what is still blocked after a clean stop.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// The options of a role.
#[derive(Args)]
pub(crate) struct Options {
    /// The settings file: TOML, YAML or JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The control plane.
    Control,
    /// A shield.
    Shield,
    /// An edge.
    Edge,
    /// A DNS node.
    Dns,
}

impl Role {
    /// The subcommand, and the `role` of the settings file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Shield => "shield",
            Self::Edge => "edge",
            Self::Dns => "dns",
        }
    }

    fn of(process: &Process) -> Self {
        match process {
            Process::Control(_) => Self::Control,
            Process::Shield(_) => Self::Shield,
            Process::Edge(_) => Self::Edge,
            Process::Dns(_) => Self::Dns,
        }
    }
}

/// Runs the role until it is told to stop.
pub(crate) fn run(role: Role, options: &Options, format: log::Format) -> Result<(), Fail> {
    let path = options.config.display();
    let process = check::process_file(&options.config).map_err(|faults| Fail::faults(&options.config, &faults))?;
    let found = Role::of(&process);
    if found != role {
        let (found, role) = (found.name(), role.name());
        return Err(Fail::Usage(format!("{path} has role {found:?}, not {role:?}; start it with: skerry {found} --config {path}")));
    }
    let bound = heap::bound(&process, &options.config);
    log::start(format);
    if let Err(error) = bound {
        tracing::warn!("{error}");
    }
    files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::Refused(format!("the runtime does not start: {error}")))?;
    let outcome = runtime.block_on(async {
        let stop = stop::watch()?;
        match process {
            Process::Control(settings) => skerry_control::run(settings, stop).await,
            Process::Shield(settings) => skerry_shield::run(settings, stop).await,
            Process::Dns(settings) => skerry_control::run_dns(settings, stop).await,
            Process::Edge(settings) => {
                let source = skerry_edge::Source { file: options.config.clone(), asked: hangup::watch()? };
                skerry_edge::run(settings, source, stop).await
            }
        }
    });
    runtime.shutdown_timeout(BLOCKED_MAX);
    outcome.map_err(Fail::Refused)
}
