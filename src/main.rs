//! The one binary: from a subcommand to a role or to an operator's command.
//!
//! Owns the process: its exit code, its log and its stop. Knows nothing of what the roles do.

mod ask;
mod cli;
mod dev;
mod files;
mod hangup;
mod heap;
mod log;
mod stop;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything builds a TLS configuration: rustls takes the process default, and the first one installed stays. An error
    // means that one is installed already, and there is only one to install.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            eprintln!("skerry: {fail}");
            fail.code()
        }
    }
}
