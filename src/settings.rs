//! Files that an operator wrote, read and checked: every fault is found before anything is done.

use std::path::Path;

use skerry_config::check::{Fault, Faults};
use skerry_config::process::Process;
use skerry_config::site::Site;

/// What a file turned out to be.
pub(crate) enum Checked {
    /// The settings of a process.
    Process(Box<Process>),
    /// A site.
    Site(Box<Site>),
}

/// Reads and checks a file of either kind.
pub(crate) fn any(path: &Path) -> Result<Checked, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| fault(path, error.to_string()))?;
    if text.contains("role") {
        return toml::from_str(&text).map(|p| Checked::Process(Box::new(p))).map_err(|error| fault(path, error.to_string()));
    }
    toml::from_str(&text).map(|p| Checked::Site(Box::new(p))).map_err(|error| fault(path, error.to_string()))
}

/// Reads and checks the settings of a process.
pub(crate) fn process(path: &Path) -> Result<Process, Faults> {
    match any(path)? {
        Checked::Process(process) => Ok(*process),
        Checked::Site(_) => Err(fault(path, "is a site, not the settings of a process; give it to `skerry site apply`".to_owned())),
    }
}

/// Reads and checks a site.
pub(crate) fn site(path: &Path) -> Result<Site, Faults> {
    match any(path)? {
        Checked::Site(site) => Ok(*site),
        Checked::Process(_) => {
            Err(fault(path, "is the settings of a process, not a site; a site has `name`, `hosts` and `origin`".to_owned()))
        }
    }
}

fn fault(path: &Path, says: String) -> Faults {
    Faults(vec![Fault { file: Some(path.to_owned()), at: None, path: String::new(), says }])
}
