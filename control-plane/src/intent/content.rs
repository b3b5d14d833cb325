//! What one configuration holds, before it has a number. Copies share everything, so that an edit costs what it changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use skerry_config::site::{Lead, Site};
use skerry_config::snapshot::{Shield, SiteDigest};

use super::secrets::Secrets;
use super::{SiteVersion, json};
use crate::refusal::Refusal;

/// A site as a configuration has it.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The version it was first written as; a later one may have the same content.
    pub(crate) version: Arc<SiteVersion>,
    /// Its content, with the secrets that the version only refers to.
    pub(crate) site: Arc<Site>,
    /// What tells its content from another.
    pub(crate) digest: SiteDigest,
    /// Its size in JSON.
    bytes: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Two with the same stamp are the same.
    pub(super) stamp: u64,
    /// By name.
    pub(crate) sites: RedBlackTreeMapSync<String, Arc<Sealed>>,
    /// The name of the site that owns a host or pattern, by that in lower case.
    hosts: HashTrieMapSync<String, String>,
    /// The size of all sites in JSON.
    pub(super) bytes: usize,
    /// The shields that are not drained.
    pub(crate) shields: Arc<[Shield]>,
    /// The leading shields of sites that leave the choice to us, by site.
    pub(crate) leads: RedBlackTreeMapSync<String, String>,
}

/// What an edit puts in the place of a site; nothing for a site that goes.
pub(super) type Put = (String, Option<Arc<Sealed>>);

impl Sealed {
    /// The content of a version; nothing of one that deleted the site.
    pub(super) fn of(version: &Arc<SiteVersion>, secrets: &Secrets) -> Result<Option<Arc<Self>>, Refusal> {
        let Some(site) = version.site.as_ref().map(|site| secrets.sealed(site)) else { return Ok(None) };
        let json = json(&site)?;
        let digest = SiteDigest::of_json(&json);
        Ok(Some(Arc::new(Self { version: Arc::clone(version), site, digest, bytes: json.len() })))
    }
}

impl Default for Content {
    fn default() -> Self {
        Self {
            stamp: stamp(),
            sites: RedBlackTreeMapSync::new_sync(),
            hosts: HashTrieMapSync::new_sync(),
            bytes: 0,
            shields: Arc::new([]),
            leads: RedBlackTreeMapSync::new_sync(),
        }
    }
}

impl Content {
    /// The same, to be taken for another: it gets a number of its own.
    pub(super) fn renewed(&self) -> Self {
        Self { stamp: stamp(), ..self.clone() }
    }

    /// Puts sites and takes others away. `chosen` are the leading shields of all sites.
    pub(super) fn edited(&self, puts: &[Put], chosen: &RedBlackTreeMapSync<String, String>) -> Self {
        let mut next = self.renewed();
        for (name, _) in puts {
            let Some(old) = next.sites.get(name).cloned() else { continue };
            next.sites.remove_mut(name);
            next.leads.remove_mut(name);
            next.bytes -= old.bytes;
            for host in old.site.hosts.iter().map(|host| host.to_ascii_lowercase()) {
                if next.hosts.get(&host) == Some(name) {
                    next.hosts.remove_mut(&host);
                }
            }
        }
        for (name, sealed) in puts {
            let Some(sealed) = sealed else { continue };
            next.bytes += sealed.bytes;
            for host in &sealed.site.hosts {
                next.hosts.insert_mut(host.to_ascii_lowercase(), name.clone());
            }
            next.sites.insert_mut(name.clone(), Arc::clone(sealed));
            if let Some(shield) = chosen.get(name).filter(|shield| next.may_lead(&sealed.site, shield)) {
                let shield = shield.clone();
                next.leads.insert_mut(name.clone(), shield);
            }
        }
        next
    }

    /// Takes these shields, and of the leading ones those that are among them.
    pub(super) fn with_shields(&self, shields: Arc<[Shield]>, chosen: &RedBlackTreeMapSync<String, String>) -> Self {
        let mut next = Self { shields, leads: RedBlackTreeMapSync::new_sync(), ..self.renewed() };
        let leads = chosen.iter().filter(|(name, shield)| next.sites.get(*name).is_some_and(|sealed| next.may_lead(&sealed.site, shield)));
        next.leads = leads.map(|(name, shield)| (name.clone(), shield.clone())).collect();
        next
    }

    fn may_lead(&self, site: &Site, shield: &str) -> bool {
        site.shields.lead == Lead::Auto && self.shields.iter().any(|known| known.name == shield)
    }

    /// The site that owns a host or pattern.
    pub(super) fn owner(&self, host: &str) -> Option<&String> {
        self.hosts.get(&host.to_ascii_lowercase())
    }

    /// The digest of a site's content.
    pub(super) fn digest(&self, name: &str) -> Option<SiteDigest> {
        self.sites.get(name).map(|sealed| sealed.digest)
    }

    /// The other sites here that own a host of a site of `names` as `wanted` has it, beyond those names: they have to be as there too.
    pub(super) fn in_the_way(&self, names: &BTreeSet<String>, wanted: impl Fn(&str) -> Option<Arc<Sealed>>) -> BTreeSet<String> {
        let sites = names.iter().filter_map(|name| wanted(name));
        let owners = sites.flat_map(|sealed| sealed.site.hosts.iter().filter_map(|host| self.owner(host).cloned()).collect::<Vec<_>>());
        owners.filter(|owner| !names.contains(owner)).collect()
    }
}

fn stamp() -> u64 {
    static STAMPS: AtomicU64 = AtomicU64::new(0);
    STAMPS.fetch_add(1, Ordering::Relaxed)
}
