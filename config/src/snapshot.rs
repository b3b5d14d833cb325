//! The configuration in force on a node: built once from a document, then read by every request without a lock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use http::header::{HeaderMap, HeaderName};
use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};

use crate::check::Faults;
use crate::cookies;
use crate::glob::Glob;
use crate::limits::DNS_NAME_BYTES_MAX;
use crate::site::{AnswerTtl, Cookies, Key, Negative, RequestDirectives, Rule, Site};
use crate::units::Period;

mod change;
mod digest;
mod locate;
mod rate;

pub use change::{Change, Whole};
pub use digest::{DIGEST_BYTES, Digest, Site as SiteDigest};
pub use locate::{Located, MatchedRule};
pub use rate::Rate;

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
    /// The leading shield of each site that leaves the choice to the control plane, by the name of the site, once there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leads: BTreeMap<String, String>,
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

/// The compiled configuration. One that a [`Change`] makes of another shares with it everything that the change does not name.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    version: u64,
    shields: Arc<[Shield]>,
    leads: Table<String>,
    sites: Table<Arc<Served>>,
    exact: Table<Arc<Served>>,
    /// By the suffix after `*.`.
    wildcard: Table<Arc<Served>>,
    any: Option<Arc<Served>>,
    made: Option<change::Made>,
}

/// By a name. A copy costs nothing.
type Table<V> = HashTrieMapSync<String, V, RandomState>;

/// A site with its policies compiled.
#[derive(Debug)]
pub struct Served {
    site: Site,
    /// In order.
    rules: Vec<Compiled>,
    /// What applies when no rule matches.
    default: Arc<Policy>,
    rates: Vec<Rate>,
    digest: OnceLock<SiteDigest>,
    /// Under which the node that runs it counts.
    slot: OnceLock<u32>,
}

/// A rule, ready to be compared with a request.
#[derive(Debug)]
struct Compiled {
    path: Option<Glob>,
    /// In lower case.
    host: Option<String>,
    header: Option<HeaderName>,
    cookie: Option<String>,
    policy: Arc<Policy>,
}

/// What applies to one request: the rule that matched, with the site's defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Policy {
    /// The name of the site.
    #[serde(skip)]
    pub site: Arc<str>,
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
    /// Lifetimes by what the origin answered, in place of its own and of `ttl`; the first that matches counts.
    pub ttls: Vec<AnswerTtl>,
    /// Error answers about which the origin says nothing.
    pub negative: Negative,
    /// The largest body that is stored, in bytes; the node's bound holds too.
    pub object_max: Option<u64>,
    /// What becomes of cookies.
    pub cookies: Cookies,
    /// Whether `Cache-Control` and `Pragma` of the request count.
    pub obey_request: bool,
    /// Whether `No-Vary-Search` counts.
    pub no_vary_search: bool,
    /// Whether an answer whose type contradicts its path is kept out.
    pub deception_guard: bool,
    /// Whether `Cache-Status` tells the key.
    pub show_key: bool,
    /// How long a key whose answers may not be stored is remembered.
    pub hit_for_miss: Period,
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
        let leads = document.leads.into_iter().collect();
        let mut snapshot = Self { version: document.version, shields: document.shields.into(), leads, ..Self::default() };
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
                self.wildcard.insert_mut(suffix.to_owned(), Arc::clone(&served));
            } else {
                self.exact.insert_mut(host, Arc::clone(&served));
            }
        }
        self.sites.insert_mut(served.site.name.clone(), served);
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

    /// The shield that leads a site whose lead is `auto`, once one was chosen.
    #[must_use]
    pub fn lead(&self, site: &str) -> Option<&str> {
        self.leads.get(site).map(String::as_str)
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

    /// The site that owns a host: the exact name, else the longest wildcard, else `*`.
    ///
    /// `host` has no port. It may be in any case and end with a dot: `Shop.Example.COM.` is `shop.example.com`. A wildcard `*.img.example.com`
    /// covers names one or more labels below `img.example.com`, and not that name itself. At most one lookup a label; a text longer than
    /// any name is looked for nowhere, so that a client cannot make the search long.
    #[must_use]
    pub fn site_for_host(&self, host: &str) -> Option<&Arc<Served>> {
        let host = canonical_host(host);
        if host.len() > DNS_NAME_BYTES_MAX {
            return self.any.as_ref();
        }
        if let Some(served) = self.exact.get(host.as_ref()) {
            return Some(served);
        }
        let mut rest = if self.wildcard.is_empty() { "" } else { host.as_ref() };
        while let Some((label, parent)) = rest.split_once('.') {
            // A name that begins with a dot is no name, and no wildcard covers it.
            if !label.is_empty()
                && let Some(served) = self.wildcard.get(parent)
            {
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
        let cache = &site.cache;
        let default = Policy {
            site: site.name.as_str().into(),
            rule: None,
            bypass: false,
            ttl: None,
            default_ttl: cache.default_ttl,
            stale_while_revalidate: None,
            default_stale_while_revalidate: cache.stale_while_revalidate,
            stale_if_error: None,
            default_stale_if_error: cache.stale_if_error,
            ttls: cache.ttls.clone(),
            negative: cache.negative.clone(),
            object_max: cache.object_max.map(|size| size.0),
            cookies: cache.cookies.clone(),
            obey_request: cache.request_directives == RequestDirectives::Obey,
            no_vary_search: cache.no_vary_search,
            deception_guard: cache.deception_guard,
            show_key: cache.show_key,
            hit_for_miss: cache.hit_for_miss,
            key: cache.key.clone(),
        };
        let rules = cache.rules.iter().enumerate().map(|(index, rule)| Compiled::new(index, rule, &default)).collect();
        let rates = site.rate_limits.iter().enumerate().map(|(index, limit)| Rate::new(index, limit)).collect();
        Self { rules, default: Arc::new(default), rates, site, digest: OnceLock::new(), slot: OnceLock::new() }
    }

    /// The site as written.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What tells the site from another content of it.
    #[must_use]
    pub fn digest(&self) -> &SiteDigest {
        self.digest.get_or_init(|| SiteDigest::of(&self.site))
    }

    /// The number by which the node that runs the site counts what it does for it, once [`Self::give_slot`] gave one.
    #[must_use]
    pub fn slot(&self) -> Option<u32> {
        self.slot.get().copied()
    }

    /// Gives the site its number on this node; the first one stays.
    pub fn give_slot(&self, slot: u32) {
        let _ = self.slot.set(slot);
    }

    /// The rate limits, in order.
    #[must_use]
    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// The policy of the first rule that matches, else the site's defaults. `host` is as for [`Snapshot::site_for_host`]; `path` is as sent,
    /// without query. Linear in the path for each rule.
    #[must_use]
    pub fn policy(&self, host: &str, path: &str, headers: &HeaderMap) -> &Arc<Policy> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let matching = self.rules.iter().find(|rule| rule.is_about(host, path) && rule.is_asked_so(headers));
        matching.map_or(&self.default, |rule| &rule.policy)
    }

    /// Every policy that a request for this URL can meet, whatever its header fields: for those who only know the URL.
    pub fn policies(&self, host: &str, path: &str) -> Vec<&Arc<Policy>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut policies = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.is_about(host, path)) {
            policies.push(&rule.policy);
            if rule.header.is_none() && rule.cookie.is_none() {
                return policies;
            }
        }
        policies.push(&self.default);
        policies
    }

    /// Every host name that the key of a request for this host can have in place of it, whatever the path and the header fields.
    pub fn aliases<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a str> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let rules = self.rules.iter().filter(move |rule| rule.is_for(host)).map(|rule| &rule.policy);
        rules.chain([&self.default]).filter_map(|policy| policy.key.host.as_deref())
    }
}

impl Compiled {
    fn new(index: usize, rule: &Rule, default: &Policy) -> Self {
        let policy = Policy {
            rule: Some(index),
            bypass: rule.bypass,
            ttl: rule.ttl,
            stale_while_revalidate: rule.stale_while_revalidate,
            stale_if_error: rule.stale_if_error,
            ttls: rule.ttls.clone().unwrap_or_else(|| default.ttls.clone()),
            negative: rule.negative.clone().unwrap_or_else(|| default.negative.clone()),
            object_max: rule.object_max.map(|size| size.0).or(default.object_max),
            cookies: rule.cookies.clone().unwrap_or_else(|| default.cookies.clone()),
            obey_request: rule.request_directives.map_or(default.obey_request, |given| given == RequestDirectives::Obey),
            key: rule.key.clone().unwrap_or_else(|| default.key.clone()),
            ..default.clone()
        };
        Self {
            path: rule.matches.path.as_deref().map(Glob::new),
            host: rule.matches.host.as_deref().map(str::to_ascii_lowercase),
            header: rule.matches.header.as_deref().and_then(|name| name.parse().ok()),
            cookie: rule.matches.cookie.clone(),
            policy: Arc::new(policy),
        }
    }

    fn is_for(&self, host: &str) -> bool {
        self.host.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
    }

    fn is_about(&self, host: &str, path: &str) -> bool {
        self.is_for(host) && self.path.as_ref().is_none_or(|glob| glob.matches(path))
    }

    fn is_asked_so(&self, headers: &HeaderMap) -> bool {
        self.header.as_ref().is_none_or(|name| headers.contains_key(name))
            && self.cookie.as_deref().is_none_or(|pattern| cookies::of(headers).any(|(name, _)| cookies::is_named(pattern, name)))
    }
}

/// A host as sites are found by: lower case (RFC 9110 section 4.2.3) and without the dot of a rooted name. `host` has no port.
#[must_use]
pub fn canonical_host(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

#[cfg(test)]
mod tests;
