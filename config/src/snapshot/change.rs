//! From one configuration to the next by what differs, so that a change costs what it changes and not what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Served, Shield, Snapshot};
use crate::check::{Fault, Faults};
use crate::limits::SITES_MAX;
use crate::site::Site;

/// What makes one configuration of another. Immutable, as both are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The number of the configuration it is made for.
    pub from: u64,
    /// The number of the one that it makes; above `from`.
    pub version: u64,
    /// Sites that are new or have another content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Site>,
    /// Names of sites that are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// All shields, where they are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shields: Option<Vec<Shield>>,
    /// Leading shields that are others, by site; null where there is none any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leads: BTreeMap<String, Option<String>>,
}

/// How a snapshot was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    from: u64,
    sites: Arc<[String]>,
}

impl Change {
    /// The sites of the change that faults are about, by name; none when they are about something else.
    #[must_use]
    pub fn accused(&self, faults: &Faults) -> Vec<String> {
        let index = |fault: &Fault| fault.path.strip_prefix("sites[")?.split(']').next()?.parse::<usize>().ok();
        let sites: BTreeSet<usize> = faults.0.iter().filter_map(index).collect();
        sites.into_iter().filter_map(|index| Some(self.sites.get(index)?.name.clone())).collect()
    }
}

impl Snapshot {
    /// Checks a change and makes the next configuration of this one, in time that grows with the change alone. What no change names stays the same
    /// [`Arc`].
    ///
    /// # Errors
    /// All faults of what the change brings, hosts owned twice among them; one when it is made for another configuration than this.
    pub fn apply(&self, change: Change) -> Result<Self, Faults> {
        if change.from != self.version || change.version <= change.from {
            let says = format!("a change from {} to {} does not follow configuration {}", change.from, change.version, self.version);
            return Err(Faults(vec![Fault { file: None, at: None, path: "from".to_owned(), says }]));
        }
        let mut next = self.clone();
        let named: Vec<String> = change.gone.iter().cloned().chain(change.sites.iter().map(|site| site.name.clone())).collect();
        named.iter().for_each(|name| next.remove(name));
        crate::check::change(&change, |host| next.owner(host).map(|served| served.site.name.as_str()))?;
        next.version = change.version;
        for site in change.sites {
            next.add(Arc::new(Served::new(site)));
        }
        if next.sites.size() > SITES_MAX {
            let says = format!("{} sites; a configuration has at most {SITES_MAX}", next.sites.size());
            return Err(Faults(vec![Fault { file: None, at: None, path: "sites".to_owned(), says }]));
        }
        if let Some(shields) = change.shields {
            next.shields = shields.into();
        }
        for (site, lead) in change.leads {
            match lead {
                Some(shield) => next.leads.insert_mut(site, shield),
                None => drop(next.leads.remove_mut(&site)),
            }
        }
        next.made = Some(Made { from: self.version, sites: named.into() });
        Ok(next)
    }

    /// The sites that differ from those of configuration `version`, by name, when this one was made of that by a change.
    #[must_use]
    pub fn changed_since(&self, version: u64) -> Option<&[String]> {
        self.made.as_ref().filter(|made| made.from == version).map(|made| &*made.sites)
    }

    /// The whole, in the JSON of a [`super::Document`].
    ///
    /// # Errors
    /// One sentence, when it cannot be written.
    pub fn to_json(&self) -> Result<Vec<u8>, String> {
        let mut sites: Vec<&Site> = self.sites.values().map(|served| &served.site).collect();
        sites.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let whole = Whole { version: self.version, sites, shields: &self.shields, leads: self.leads.iter().collect() };
        serde_json::to_vec(&whole).map_err(|error| format!("the configuration cannot be written as JSON: {error}"))
    }

    /// The site that owns a host or pattern as a site file writes it, in lower case.
    fn owner(&self, host: &str) -> Option<&Arc<Served>> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix),
            None if host == "*" => self.any.as_ref(),
            None => self.exact.get(host),
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(served) = self.sites.get(name).cloned() else { return };
        self.sites.remove_mut(name);
        for host in &served.site.hosts {
            let host = host.to_ascii_lowercase();
            if let Some(suffix) = host.strip_prefix("*.") {
                self.wildcard.remove_mut(suffix);
            } else if host == "*" {
                self.any = None;
            } else {
                self.exact.remove_mut(&host);
            }
        }
    }
}

/// A [`super::Document`] that is written and not owned.
#[derive(Debug, Serialize)]
pub struct Whole<'a> {
    /// Its number.
    pub version: u64,
    /// All sites, by name.
    pub sites: Vec<&'a Site>,
    /// All shields that are not drained.
    pub shields: &'a [Shield],
    /// The leading shields, by site.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub leads: BTreeMap<&'a String, &'a String>,
}

#[cfg(test)]
mod tests;
