//! Sites and their versions. A deleted site keeps its number, so that versions of one name never repeat.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_config::site::Site;

use super::content::Sealed;
use super::draft::{Draft, In};
use super::secrets::Referred;
use super::{Intent, LINGERING, Lingering, State};
use crate::auth::Grant;
use crate::clock;
use crate::refusal::Refusal;
use crate::store;

pub(super) const PREFIX: &str = "site/";

/// Versions kept of one site; older ones are dropped.
const VERSIONS_MAX: u64 = 1_000;

/// One version of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SiteVersion {
    /// The site's name.
    pub(crate) name: String,
    /// Its number, from 1.
    pub(crate) version: u64,
    /// When it was made, RFC 3339.
    pub(crate) at: String,
    /// The name of the token it was made with.
    pub(crate) author: String,
    /// Why, in the author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The site; none when this version deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<Arc<Site>>,
}

/// What goes with a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// The name of the token.
    pub(crate) author: String,
    /// Why.
    pub(crate) reason: Option<String>,
    /// What must hold of the present version.
    pub(crate) demand: Option<Demand>,
    /// Whether all nodes are to have it at once.
    pub(crate) now: bool,
    /// What whoever wants it may do; everything when not said.
    pub(crate) grant: Option<Grant>,
}

/// What must hold of a site's present version (RFC 9110 section 13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It is one of these.
    OneOf(Vec<u64>),
    /// There is one.
    Present,
    /// There is none.
    Absent,
}

/// What came of a change.
#[derive(Debug)]
pub(crate) struct Written {
    /// The newest version.
    pub(crate) version: Arc<SiteVersion>,
    /// The number of the configuration that has it; nodes that have it may have a higher one.
    pub(crate) snapshot: u64,
    /// Whether there was no such site before.
    pub(crate) created: bool,
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// The rollout that brings it to all nodes; none when they have it.
    pub(crate) rollout: Option<u64>,
}

impl Intent {
    /// The newest version of a site.
    pub(crate) fn site(&self, name: &str) -> Result<(Arc<SiteVersion>, Arc<Site>), Refusal> {
        let state = self.state();
        let version = state.sites.get(name);
        version.and_then(|version| Some((Arc::clone(version), version.site.clone()?))).ok_or_else(|| missing(name))
    }

    /// Makes `site` the newest version. The same content again makes none. What stands for a secret that the present version has is good as it is.
    pub(crate) async fn put_site(&self, site: Site, wish: Wish) -> Result<Written, Refusal> {
        self.write_site(site, None, wish).await
    }

    /// Makes `site` the newest version; what stands for a secret may be of `old`, an earlier version, too.
    async fn write_site(&self, site: Site, old: Option<&Site>, wish: Wish) -> Result<Written, Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        let before = state.sites.get(&site.name);
        let present = before.filter(|version| version.site.is_some());
        let kept: Vec<&Site> = present.and_then(|version| version.site.as_deref()).into_iter().chain(old).collect();
        let referred = state.secrets.refer(site, &kept)?;
        check(&referred.resolved)?;
        let site = &referred.site;
        require(&site.name, present.map_or(0, |version| version.version), wish.demand.as_ref())?;
        if let Some(present) = present.filter(|version| version.site.as_deref() == Some(site)) {
            return self.same_again(&state, present, &wish).await;
        }
        owners(&state, site)?;
        check_nodes(&state, site)?;
        let created = present.is_none();
        let number = before.map_or(0, |version| version.version) + 1;
        let version = Arc::new(stamp(site.name.clone(), number, &wish, Some(Arc::new(site.clone()))));
        let mut draft = Draft::new(&state);
        draft.add_secrets(&referred)?;
        draft.add_version(&version)?;
        draft.end_lingering(&version.name);
        let mut puts = vec![(version.name.clone(), Sealed::of(&version, &draft.next.secrets)?)];
        for owner in lingering_owners(&state, &version) {
            draft.end_lingering(&owner);
            puts.push((owner, None));
        }
        draft.edit(In::Newest, &puts)?;
        self.written(draft, version, created, &wish).await
    }

    /// Nothing new is wanted of a site, but perhaps at once what waits.
    async fn same_again(&self, state: &State, present: &Arc<SiteVersion>, wish: &Wish) -> Result<Written, Refusal> {
        let version = Arc::clone(present);
        if wish.now && state.waiting.contains(&version.name) {
            let written = self.written(Draft::new(state), version, false, wish).await?;
            return Ok(Written { changed: false, ..written });
        }
        let rollout = state.rollout_of(&version.name);
        Ok(Written { version, snapshot: state.snapshot, created: false, changed: false, rollout })
    }

    /// Deletes a site. DNS forgets it at once, the nodes a while later.
    pub(crate) async fn delete_site(&self, name: &str, wish: Wish) -> Result<Written, Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        let present = state.sites.get(name).filter(|version| version.site.is_some()).ok_or_else(|| missing(name))?;
        require(name, present.version, wish.demand.as_ref())?;
        let version = Arc::new(stamp(name.to_owned(), present.version + 1, &wish, None));
        let mut draft = Draft::new(&state);
        draft.add_version(&version)?;
        if wish.now || self.linger.is_zero() {
            draft.edit(In::Newest, &[(name.to_owned(), None)])?;
        } else if let Some(sealed) = draft.newest.sites.get(name) {
            let lingering = Lingering { until: clock::unix_seconds() + self.linger.as_secs().max(1), version: Arc::clone(&sealed.version) };
            draft.linger(name, lingering)?;
        }
        self.written(draft, version, false, &wish).await
    }

    /// Takes the sites off the nodes that were deleted long enough ago.
    pub(crate) async fn ripen(&self) -> Result<(), Refusal> {
        let is_ripe = |lingering: &Lingering| lingering.until <= clock::unix_seconds();
        if !self.state().lingering.values().any(|lingering| is_ripe(lingering)) {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let mut draft = Draft::new(&self.state());
        let ripe = draft.next.lingering.clone();
        let puts: Vec<_> = ripe.iter().filter(|(_, lingering)| is_ripe(lingering)).map(|(name, _)| (name.clone(), None)).collect();
        puts.iter().for_each(|(name, _)| draft.end_lingering(name));
        draft.edit(In::Newest, &puts)?;
        self.commit(draft).await.map(drop)
    }

    /// Makes the content of an old version the newest one.
    pub(crate) async fn roll_back_site(&self, name: &str, to: u64, mut wish: Wish) -> Result<Written, Refusal> {
        let old = self.site_version(name, to).await?;
        let site =
            old.site.ok_or_else(|| Refusal::Conflict(format!("version {to} of site {name:?} is its deletion; choose another one")))?;
        wish.reason = wish.reason.or_else(|| Some(format!("rollback to version {to}")));
        self.write_site(Site::clone(&site), Some(&site), wish).await
    }

    /// One version.
    pub(crate) async fn site_version(&self, name: &str, number: u64) -> Result<SiteVersion, Refusal> {
        let key = version_key(name, number);
        let value = store::blocking(&self.store, move |store| store.get(&key)).await.map_err(Refusal::Broken)?;
        let value = value.ok_or_else(|| match self.state().sites.get(name) {
            Some(newest) => Refusal::Missing(format!("site {name:?} has no version {number}; its newest is {}", newest.version)),
            None => missing(name),
        })?;
        super::parse(name, &value).map_err(Refusal::Broken)
    }

    /// The newest version of a site that ever was.
    pub(crate) fn newest_version(&self, name: &str) -> Result<SiteVersion, Refusal> {
        let state = self.state();
        state.sites.get(name).map(|version| SiteVersion::clone(version)).ok_or_else(|| missing(name))
    }

    /// All versions kept, the oldest first; deleted sites have theirs still.
    pub(crate) async fn site_versions(&self, name: &str) -> Result<Vec<SiteVersion>, Refusal> {
        if !self.state().sites.contains_key(name) {
            return Err(missing(name));
        }
        let prefix = format!("version/{name}/");
        let found = store::blocking(&self.store, move |store| store.list(&prefix)).await.map_err(Refusal::Broken)?;
        found.iter().map(|(key, value)| super::parse(key, value).map_err(Refusal::Broken)).collect()
    }

    async fn written(&self, mut draft: Draft, version: Arc<SiteVersion>, created: bool, wish: &Wish) -> Result<Written, Refusal> {
        let at_once = if wish.now { Some(draft.at_once(&version, wish.grant.as_ref())?) } else { None };
        let next = self.commit(draft).await?;
        let snapshot = if at_once.is_some() { next.tracks.settled.version } else { next.snapshot };
        let rollout = at_once.or_else(|| next.rollout_of(&version.name));
        Ok(Written { version, snapshot, created, changed: true, rollout })
    }
}

impl Draft {
    /// Makes a version the newest of its site.
    pub(super) fn add_version(&mut self, version: &Arc<SiteVersion>) -> Result<(), Refusal> {
        let (name, number) = (&version.name, version.version);
        self.put(format!("{PREFIX}{name}"), version)?;
        self.put(version_key(name, number), version)?;
        if let Some(old) = number.checked_sub(VERSIONS_MAX) {
            self.delete(version_key(name, old));
        }
        self.next.sites.insert_mut(name.clone(), Arc::clone(version));
        Ok(())
    }

    /// The nodes keep a site that was deleted.
    pub(super) fn linger(&mut self, name: &str, lingering: Lingering) -> Result<(), Refusal> {
        self.put(format!("{LINGERING}{name}"), &lingering)?;
        self.next.lingering.insert_mut(name.to_owned(), Arc::new(lingering));
        Ok(())
    }
}

/// Checks a site on its own, its secrets among it.
pub(crate) fn check(site: &Site) -> Result<(), Refusal> {
    let checked = skerry_config::check::site(site).and_then(|()| skerry_config::check::resolved(site));
    checked.map_err(|faults| Refusal::Faulty(format!("site {:?} has faults", site.name), faults))
}

/// A site as a version would have it, and with its secrets as it would be sent to nodes.
pub(crate) fn refer(state: &State, site: Site) -> Result<Referred, Refusal> {
    let present = state.sites.get(&site.name).and_then(|version| version.site.clone());
    let kept: Vec<&Site> = present.as_deref().into_iter().collect();
    state.secrets.refer(site, &kept)
}

/// Checks that no host of `site`, nor any that its keys have in place of one, belongs to another one. A site that was deleted has none, though nodes keep it for a while.
pub(crate) fn owners(state: &State, site: &Site) -> Result<(), Refusal> {
    let other = |host: &str| {
        let owner = state.tracks.newest.content.owner(host).filter(|owner| **owner != site.name);
        owner.filter(|owner| !state.lingering.contains_key(*owner))
    };
    for host in &site.hosts {
        if let Some(owner) = other(host) {
            return Err(Refusal::Conflict(format!("host {host:?} belongs to site {owner:?}; a host belongs to one site")));
        }
    }
    // What is stored for a host in place of another is purged by the name of either.
    for host in key_hosts(site) {
        if let Some(owner) = other(host) {
            let says = format!("key.host {host:?} belongs to site {owner:?}; name a host that no other site has");
            return Err(Refusal::Conflict(says));
        }
    }
    let sites = state.sites.values().filter(|version| version.name != site.name).filter_map(|version| version.site.as_deref());
    for user in sites {
        if let Some(host) = key_hosts(user).find(|host| site.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))) {
            let says = format!("host {host:?} is the key.host of site {:?}; have that site name another one first", user.name);
            return Err(Refusal::Conflict(says));
        }
    }
    Ok(())
}

/// The hosts that a site's keys have in place of those of requests.
fn key_hosts(site: &Site) -> impl Iterator<Item = &str> {
    let rules = site.cache.rules.iter().filter_map(|rule| rule.key.as_ref());
    std::iter::once(&site.cache.key).chain(rules).filter_map(|key| key.host.as_deref())
}

/// The sites that were deleted and whose hosts a version takes.
fn lingering_owners(state: &State, version: &SiteVersion) -> BTreeSet<String> {
    let hosts = version.site.iter().flat_map(|site| &site.hosts);
    let owners = hosts.filter_map(|host| state.tracks.newest.content.owner(host));
    owners.filter(|owner| **owner != version.name && state.lingering.contains_key(*owner)).cloned().collect()
}

/// Checks that there are the shields that `site` asks for, and edges within its fence.
pub(crate) fn check_nodes(state: &State, site: &Site) -> Result<(), Refusal> {
    let of = |role: Role| state.nodes.values().filter(move |node| node.role() == Some(role));
    let shields: Vec<(&str, &str)> = of(Role::Shield).map(|node| (node.name.as_str(), node.region.as_str())).collect();
    let edge_regions = of(Role::Edge).map(|node| node.region.as_str()).collect();
    skerry_config::check::site_among(site, &shields, &edge_regions)
        .map_err(|faults| Refusal::Faulty(format!("site {:?} has faults", site.name), faults))
}

/// Whether the present version, 0 for none, is as demanded.
fn require(name: &str, present: u64, demand: Option<&Demand>) -> Result<(), Refusal> {
    let is = if present == 0 { "is not there".to_owned() } else { format!("is at version {present}") };
    match demand {
        Some(Demand::OneOf(versions)) if present == 0 || !versions.contains(&present) => {
            Err(Refusal::Stale(format!("site {name:?} {is}, not at the version in If-Match; read it again and repeat the change on it")))
        }
        Some(Demand::Present) if present == 0 => Err(Refusal::Stale(format!("site {name:?} {is}, and If-Match demands one"))),
        Some(Demand::Absent) if present != 0 => Err(Refusal::Stale(format!("site {name:?} {is}, and If-None-Match demands none"))),
        _ => Ok(()),
    }
}

pub(super) fn stamp(name: String, version: u64, wish: &Wish, site: Option<Arc<Site>>) -> SiteVersion {
    SiteVersion { name, version, at: clock::now(), author: wish.author.clone(), reason: wish.reason.clone(), site }
}

fn missing(name: &str) -> Refusal {
    Refusal::Missing(format!("there is no site {name:?}"))
}

/// Numbers are padded, so that keys are in the order of versions.
fn version_key(name: &str, number: u64) -> String {
    format!("version/{name}/{number:020}")
}
