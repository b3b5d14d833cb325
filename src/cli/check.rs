//! `skerry check FILE...`: all faults of all files.

use std::path::PathBuf;

use clap::Args;
use skerry_config::check;

use super::{Fail, show};

/// The options of `skerry check`.
#[derive(Args)]
pub(crate) struct Options {
    /// Process settings and site files: TOML, YAML or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Checks every file, the ones after a faulty one too.
pub(crate) fn run(options: &Options) -> Result<(), Fail> {
    let mut faulty = 0;
    for path in &options.files {
        match check::file(path) {
            Ok(_) => show::line(&format!("{}: fine", path.display())),
            Err(faults) => {
                faulty += 1;
                eprintln!("{faults}");
            }
        }
    }
    if faulty == 0 {
        return Ok(());
    }
    let have = if faulty == 1 { "has" } else { "have" };
    Err(Fail::Refused(format!("{faulty} of {} {have} faults; mend the places named above", show::count(options.files.len(), "file"))))
}
