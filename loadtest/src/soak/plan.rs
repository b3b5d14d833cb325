//! What a soak is asked to do, as a file says it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::plan::faults::Faults;

use super::{OBJECTS_MAX, SECONDS_MAX, Settings};

/// The most and the least of an edge's `memory_limit`, in MiB.
const MEMORY_MIB: std::ops::RangeInclusive<u64> = 64..=65_536;
/// The most clients, in percent of the usual crowd.
const CROWD_MAX_PERCENT: u32 = 400;

/// The plan of a soak.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many small objects are put on disk first: 1 to [`OBJECTS_MAX`].
    pub objects: u64,
    /// How long the mixed load lasts, in seconds: 1 to [`SECONDS_MAX`].
    pub seconds: u64,
    /// The edge's `memory_limit`, in MiB: 64 to 65,536.
    pub memory_mib: u64,
    /// How many clients there are, in percent of the usual crowd of some 1,200 connections: 1 to 400.
    pub crowd_percent: u32,
}

impl Plan {
    /// The settings of a run.
    ///
    /// # Errors
    /// A sentence: a value is out of bounds.
    pub fn settings(self, binary: PathBuf, folder: PathBuf, revision: Option<String>) -> Result<Settings, String> {
        let mut faults = Faults::default();
        faults.within("objects", self.objects, 1, OBJECTS_MAX);
        faults.within("seconds", self.seconds, 1, SECONDS_MAX);
        faults.within("memory_mib", self.memory_mib, *MEMORY_MIB.start(), *MEMORY_MIB.end());
        faults.within("crowd_percent", self.crowd_percent, 1, CROWD_MAX_PERCENT);
        faults.into_result()?;
        Ok(Settings {
            binary,
            folder,
            objects: self.objects,
            load: Duration::from_secs(self.seconds),
            memory_limit: self.memory_mib << 20,
            crowd_percent: u64::from(self.crowd_percent).try_into().unwrap_or(100),
            revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_that_is_shipped_is_one_and_others_say_why_not() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/soak.toml");
        let plan: Plan = crate::settings::read(&path, "soak").expect("a plan");
        let settings = |plan: Plan| plan.settings("skerry".into(), "folder".into(), None);
        assert_eq!(settings(plan.clone()).expect("settings").memory_limit, 256 << 20);
        for (plan, said) in [
            (Plan { objects: 0, ..plan.clone() }, "objects = 0 is not between 1 and"),
            (Plan { memory_mib: 1, ..plan.clone() }, "memory_mib = 1 is not between 64 and 65536"),
            (Plan { crowd_percent: 500, ..plan }, "crowd_percent = 500 is not between 1 and 400"),
        ] {
            let error = settings(plan).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
