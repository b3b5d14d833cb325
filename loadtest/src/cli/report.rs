//! `report`: a page of what `compare` measured, or what differs between two.

use std::path::PathBuf;

use clap::Args;
use skerry_loadtest::results;

use super::{fail_for, write};

/// One file: its page. Two: which differences are beyond their spread.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file that `compare --json FILE` wrote; with `new`, the one before.
    results: PathBuf,
    /// The one after.
    new: Option<PathBuf>,
    /// In place of the text: write a page with plots of the one file to this file, as HTML.
    #[arg(long, conflicts_with = "new")]
    html: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<(), String> {
    let old = results::read(&options.results)?;
    match (&options.new, &options.html) {
        (Some(new), _) => {
            let difference = results::difference(&old, &results::read(new)?);
            print!("{}", difference.markdown());
            return fail_for(&difference.refused);
        }
        (None, Some(path)) => write(path, &results::html(&old)?)?,
        (None, None) => print!("{}", results::markdown(&old)),
    }
    Ok(())
}
