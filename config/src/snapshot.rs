//! The configuration in force on a node: built once from a document, then read by every request without a lock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::check::Faults;
use crate::site::{Key, Site};
use crate::units::Period;

/// The whole configuration as it travels to nodes and lies on their disks. Immutable once numbered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The number of this configuration; every change raises it. 0 is the empty configuration before the first.
    pub version: u64,
    /// All sites, by name.
    pub sites: Vec<Site>,
    /// All shields that are not drained.
    pub shields: Vec<Shield>,
}

/// A shield, as edges reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shield {
    /// The node's name; also the TLS server name its certificate is valid for.
    pub name: String,
    /// The region it is in.
    pub region: String,
    /// Where its tier listener answers.
    pub address: SocketAddr,
}

/// The compiled configuration.
#[derive(Debug, Default)]
pub struct Snapshot {
    version: u64,
    shields: Vec<Shield>,
    sites: HashMap<String, Arc<Served>>,
    exact: HashMap<String, Arc<Served>>,
    /// By the suffix after `*.`.
    wildcard: HashMap<String, Arc<Served>>,
    any: Option<Arc<Served>>,
}

/// A site with its policies compiled.
#[derive(Debug)]
pub struct Served {
    site: Site,
    /// One for each rule, in order, then the default.
    policies: Vec<Arc<Policy>>,
}

/// What applies to one request: the rule that matched, with the site's defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The index of the rule in the site, from 0; `None` for the site's defaults.
    pub rule: Option<usize>,
    /// Never store, never answer from the cache.
    pub bypass: bool,
    /// The lifetime in place of the origin's.
    pub ttl: Option<Period>,
    /// The lifetime when the origin says nothing.
    pub default_ttl: Period,
    /// The stale-while-revalidate window in place of the origin's.
    pub stale_while_revalidate: Option<Period>,
    /// The stale-while-revalidate window when the origin says nothing.
    pub default_stale_while_revalidate: Period,
    /// The stale-if-error window in place of the origin's.
    pub stale_if_error: Option<Period>,
    /// The stale-if-error window when the origin says nothing.
    pub default_stale_if_error: Period,
    /// What tells one stored answer from another.
    pub key: Key,
}

impl Snapshot {
    /// Checks and compiles a document.
    ///
    /// # Errors
    /// All faults of all sites, hosts owned twice among them.
    pub fn build(document: Document) -> Result<Self, Faults> {
        crate::check::document(&document)?;
        let mut snapshot = Self { version: document.version, shields: document.shields, ..Self::default() };
        for site in document.sites {
            snapshot.add(Arc::new(Served::new(site)));
        }
        Ok(snapshot)
    }

    fn add(&mut self, served: Arc<Served>) {
        for host in &served.site.hosts {
            let host = host.to_ascii_lowercase();
            if host == "*" {
                self.any = Some(Arc::clone(&served));
            } else if let Some(suffix) = host.strip_prefix("*.") {
                self.wildcard.insert(suffix.to_owned(), Arc::clone(&served));
            } else {
                self.exact.insert(host, Arc::clone(&served));
            }
        }
        self.sites.insert(served.site.name.clone(), served);
    }

    /// The number of this configuration.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The shields, in the document's order.
    #[must_use]
    pub fn shields(&self) -> &[Shield] {
        &self.shields
    }

    /// The site of that name.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Arc<Served>> {
        self.sites.get(name)
    }

    /// All sites, in no order.
    pub fn sites(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.sites.values()
    }

    /// The site that owns a host: the exact name, else the longest wildcard, else `*`. `host` is lower case and has no port.
    #[must_use]
    pub fn site_for_host(&self, host: &str) -> Option<&Arc<Served>> {
        if let Some(served) = self.exact.get(host) {
            return Some(served);
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(served) = self.wildcard.get(parent) {
                return Some(served);
            }
            rest = parent;
        }
        self.any.as_ref()
    }
}

impl Served {
    /// Compiles a checked site.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let default = Policy {
            rule: None,
            bypass: false,
            ttl: None,
            default_ttl: site.cache.default_ttl,
            stale_while_revalidate: None,
            default_stale_while_revalidate: site.cache.stale_while_revalidate,
            stale_if_error: None,
            default_stale_if_error: site.cache.stale_if_error,
            key: site.cache.key.clone(),
        };
        let rules = site.cache.rules.iter().enumerate().map(|(index, rule)| {
            Arc::new(Policy {
                rule: Some(index),
                bypass: rule.bypass,
                ttl: rule.ttl,
                stale_while_revalidate: rule.stale_while_revalidate,
                stale_if_error: rule.stale_if_error,
                key: rule.key.clone().unwrap_or_else(|| default.key.clone()),
                ..default.clone()
            })
        });
        let policies = rules.chain([Arc::new(default.clone())]).collect();
        Self { site, policies }
    }

    /// The site as written.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The policy of the first rule that matches, else the site's defaults. `host` is lower case without port, `path` without query.
    #[must_use]
    pub fn policy(&self, host: &str, path: &str) -> &Arc<Policy> {
        let matching = self.site.cache.rules.iter().position(|rule| {
            rule.matches.path.as_deref().is_none_or(|pattern| path_matches(pattern, path))
                && rule.matches.host.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
        });
        &self.policies[matching.unwrap_or(self.policies.len() - 1)]
    }
}

/// Whether `path` matches `pattern`, where `*` stands for any number of characters. Linear in both for one star, at most their product.
fn path_matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while s < path.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, s));
            p += 1;
        } else if pattern.get(p) == Some(&path[s]) {
            p += 1;
            s += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            p = after;
            s = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}
