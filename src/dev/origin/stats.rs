//! Which paths were asked for, and how often: what a test needs to know how many requests came through.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

/// The most paths that are told apart; requests for further ones are counted together.
const PATHS_MAX: usize = 4_096;

/// Counts by path. The lock covers the map and is held for one look.
#[derive(Debug, Default)]
pub(super) struct Stats {
    paths: Mutex<BTreeMap<String, u64>>,
}

impl Stats {
    /// Counts a request.
    pub(super) fn count(&self, path: &str) {
        let mut paths = self.paths.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(seen) = paths.get_mut(path) {
            *seen += 1;
        } else {
            let path = if paths.len() < PATHS_MAX { path } else { "*" };
            *paths.entry(path.to_owned()).or_insert(0) += 1;
        }
    }

    /// `{"requests": {"/": 1}}`.
    pub(super) fn json(&self) -> Value {
        let paths = self.paths.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        json!({ "requests": *paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_does_not_grow_without_end() {
        let stats = Stats::default();
        for number in 0..PATHS_MAX + 10 {
            stats.count(&format!("/{number}"));
        }
        stats.count("/0");
        let seen = stats.json();
        assert_eq!(seen["requests"]["/0"], 2);
        assert_eq!(seen["requests"]["*"], 10);
        assert!(seen["requests"].as_object().unwrap().len() <= PATHS_MAX + 1);
    }
}
