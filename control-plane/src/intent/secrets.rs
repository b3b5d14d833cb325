//! Secrets: what versions only refer to. The values lie in a part of the store of their own, and are put in where a configuration is made.
//!
//! A version says `redacted:FINGERPRINT` where a secret was written into its site, and `secret:NAME#FINGERPRINT` where the site names one: the fingerprint
//! pins the value, so that an old version means what it meant, and a new value is a new version of each site that names it.

mod apart;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use skerry_config::secret::{Reference, Secret};
use skerry_config::site::Site;

use super::content::Sealed;
use super::draft::{Draft, In};
use super::sites::{self, SiteVersion, Wish};
use super::{Intent, State, parse};
use crate::auth::Grant;
use crate::clock;
use crate::refusal::Refusal;
use crate::store::Store;

/// All of them.
pub(super) const PREFIX: &str = "secret/";
const VALUES: &str = "secret/value/";
const NAMES: &str = "secret/name/";

/// Values at most, those of old versions among them.
const VALUES_MAX: usize = 20_000;

/// Named secrets at most.
const NAMES_MAX: usize = 1_000;

/// Bytes of a value.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 10;

/// Earlier values of a name that are kept for versions that pin them.
const BEFORE_MAX: usize = 16;

/// A named secret, without its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// Its name.
    pub(crate) name: String,
    /// Tells its value.
    pub(crate) fingerprint: String,
    /// The sites that may use it; all when none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sites: Option<BTreeSet<String>>,
    /// When its value was written.
    pub(crate) at: String,
    /// By whom.
    pub(crate) author: String,
    /// The fingerprints of its earlier values, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<String>,
}

/// All secrets. Copies share everything.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// By fingerprint.
    values: HashTrieMapSync<String, Secret>,
    named: RedBlackTreeMapSync<String, Arc<Named>>,
}

/// A site on its way into a version.
pub(crate) struct Referred {
    /// With references in place of its secrets: what the version holds.
    pub(crate) site: Site,
    /// With the secrets themselves: what nodes are sent.
    pub(crate) resolved: Site,
    /// Those that were written into it.
    written: Vec<Secret>,
}

/// What is wanted of a named secret.
pub(crate) struct SecretWish {
    pub(crate) name: String,
    pub(crate) value: Secret,
    /// The sites that may use it; all when none are named.
    pub(crate) sites: Option<BTreeSet<String>>,
}

/// What came of writing a named secret.
pub(crate) struct SecretWritten {
    pub(crate) named: Arc<Named>,
    pub(crate) created: bool,
    /// The versions made because of it.
    pub(crate) versions: Vec<Arc<SiteVersion>>,
    /// The number of the newest configuration.
    pub(crate) snapshot: u64,
}

impl Secrets {
    /// Reads them, after moving those out of versions that an earlier version of this program put there. Blocks.
    pub(super) fn load(store: &dyn Store) -> Result<Self, String> {
        apart::moved(store)?;
        let mut secrets = Self::default();
        for (key, value) in store.list(VALUES)? {
            secrets.values.insert_mut(key[VALUES.len()..].to_owned(), parse(&key, &value)?);
        }
        for (key, value) in store.list(NAMES)? {
            secrets.named.insert_mut(key[NAMES.len()..].to_owned(), Arc::new(parse(&key, &value)?));
        }
        Ok(secrets)
    }

    /// A site of a version with its secrets; the same one where it has none.
    pub(super) fn sealed(&self, site: &Arc<Site>) -> Arc<Site> {
        if site.secrets().next().is_none() { Arc::clone(site) } else { Arc::new(self.resolved(site)) }
    }

    /// A site with the values of its references. One that has no value stays, for the check to find.
    pub(super) fn resolved(&self, site: &Site) -> Site {
        let mut site = site.clone();
        for secret in site.secrets_mut() {
            let value = secret.reference().and_then(|reference| self.values.get(reference.fingerprint()?));
            if let Some(value) = value {
                *secret = value.clone();
            }
        }
        site
    }

    /// A version as people write it: the present value of a name needs no fingerprint.
    pub(crate) fn shown(&self, site: &Site) -> Site {
        let mut site = site.shown();
        for secret in site.secrets_mut() {
            let Some(Reference::Named { name, fingerprint: Some(fingerprint) }) = secret.reference() else { continue };
            if self.named.get(name).is_some_and(|named| named.fingerprint == fingerprint) {
                *secret = Secret::named(name, None);
            }
        }
        site
    }

    /// Takes the secrets out of a site. References that one of `kept`, versions of the same site, has are good as they are.
    pub(super) fn refer(&self, mut site: Site, kept: &[&Site]) -> Result<Referred, Refusal> {
        let name = site.name.clone();
        let known: Vec<&Secret> = kept.iter().flat_map(|kept| kept.secrets()).collect();
        let fault = |says: String| Refusal::fault(&format!("site {name:?} has faults"), "origin.client_key", says);
        let (mut written, mut is_unknown) = (Vec::new(), false);
        for secret in site.secrets_mut() {
            match secret.reference() {
                None => {
                    written.push(secret.clone());
                    *secret = secret.mark();
                }
                Some(Reference::Named { name: wanted, fingerprint: None }) => {
                    let named = self.named.get(wanted).filter(|named| named.may_be_used_by(&name));
                    let named = named.ok_or_else(|| {
                        fault(format!("there is no secret {wanted:?} for this site; write it first, with skerry secret put {wanted} FILE"))
                    })?;
                    *secret = Secret::named(&named.name, Some(&named.fingerprint));
                }
                Some(Reference::Named { name: wanted, fingerprint: Some(fingerprint) }) => {
                    let is_present =
                        self.named.get(wanted).is_some_and(|named| named.fingerprint == fingerprint && named.may_be_used_by(&name));
                    if !is_present && !known.contains(&&*secret) {
                        return Err(fault(format!(
                            "secret {wanted:?} has not this value any more; write secret:{wanted} for the one it has"
                        )));
                    }
                }
                Some(Reference::Mark(_)) if known.contains(&&*secret) => {}
                // Another site may have it, whose business that is. The check says that this one has no such key.
                Some(Reference::Mark(_)) => is_unknown = true,
            }
        }
        if is_unknown {
            return Ok(Referred { resolved: site.clone(), site, written });
        }
        let mut with = self.clone();
        written.iter().for_each(|secret| with.values.insert_mut(secret.fingerprint(), secret.clone()));
        Ok(Referred { resolved: with.resolved(&site), site, written })
    }
}

impl Named {
    fn may_be_used_by(&self, site: &str) -> bool {
        self.sites.as_ref().is_none_or(|sites| sites.contains(site))
    }

    /// Whether a token may see and write it: one for some sites those that are for no others.
    pub(crate) fn is_for(&self, grant: &Grant) -> bool {
        grant.is_whole() || self.sites.as_ref().is_some_and(|sites| sites.iter().all(|site| grant.covers(site)))
    }
}

impl State {
    /// A site as people write it.
    pub(crate) fn shown(&self, site: &Site) -> Site {
        self.secrets.shown(site)
    }

    /// The named secrets, each with the sites that use it.
    pub(crate) fn named_secrets(&self) -> Vec<(Arc<Named>, BTreeSet<String>)> {
        let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let newest = self.sites.values().filter_map(|version| Some((version, version.site.as_deref()?)));
        for (version, site) in newest {
            for name in names_in(site) {
                users.entry(name.to_owned()).or_default().insert(version.name.clone());
            }
        }
        self.secrets.named.iter().map(|(name, named)| (Arc::clone(named), users.remove(name).unwrap_or_default())).collect()
    }

    /// A named secret.
    pub(crate) fn named_secret(&self, name: &str) -> Option<&Arc<Named>> {
        self.secrets.named.get(name)
    }

    /// The sites whose content in one of the configurations names a secret: the newest, and what nodes have still.
    fn users(&self, name: &str) -> BTreeSet<String> {
        let sealed = self.tracks.all().flat_map(|numbered| numbered.content.sites.values());
        let kept = sealed.filter_map(|sealed| sealed.version.site.as_deref());
        let newest = self.sites.values().filter_map(|version| version.site.as_deref());
        kept.chain(newest).filter(|site| names_in(site).any(|used| used == name)).map(|site| site.name.clone()).collect()
    }

    /// Whether a configuration, or another name, has a value.
    fn is_used(&self, fingerprint: &str, but: &str) -> bool {
        let sealed = self.tracks.all().flat_map(|numbered| numbered.content.sites.values());
        let mut references =
            sealed.filter_map(|sealed| sealed.version.site.as_deref()).flat_map(Site::secrets).filter_map(Secret::reference);
        references.any(|reference| reference.fingerprint() == Some(fingerprint))
            || self.secrets.named.values().any(|named| named.name != but && named.has(fingerprint))
    }
}

impl Named {
    fn has(&self, fingerprint: &str) -> bool {
        self.fingerprint == fingerprint || self.before.iter().any(|before| before == fingerprint)
    }
}

impl Draft {
    /// Keeps the secrets that were written into a site.
    pub(super) fn add_secrets(&mut self, referred: &Referred) -> Result<(), Refusal> {
        referred.written.iter().try_for_each(|secret| self.add_value(secret))
    }

    fn add_value(&mut self, value: &Secret) -> Result<(), Refusal> {
        let fingerprint = value.fingerprint();
        if self.next.secrets.values.contains_key(&fingerprint) {
            return Ok(());
        }
        if self.next.secrets.values.size() >= VALUES_MAX {
            return Err(Refusal::Conflict(format!(
                "{VALUES_MAX} secrets are kept already, those of old versions among them; name one and use it in several sites"
            )));
        }
        self.put(format!("{VALUES}{fingerprint}"), value)?;
        self.next.secrets.values.insert_mut(fingerprint, value.clone());
        Ok(())
    }

    fn forget_value(&mut self, fingerprint: &str, but: &str) {
        if !self.next.is_used(fingerprint, but) {
            self.next.secrets.values.remove_mut(fingerprint);
            self.delete(format!("{VALUES}{fingerprint}"));
        }
    }

    fn name_secret(&mut self, named: &Arc<Named>) -> Result<(), Refusal> {
        self.put(format!("{NAMES}{}", named.name), named)?;
        self.next.secrets.named.insert_mut(named.name.clone(), Arc::clone(named));
        Ok(())
    }
}

impl Intent {
    /// Gives a named secret a value. Every site that names it gets a new version, which is rolled out as any change of it.
    pub(crate) async fn put_secret(&self, wish: SecretWish, author: &str) -> Result<SecretWritten, Refusal> {
        let SecretWish { name, value, sites } = wish;
        let _writing = self.writing.lock().await;
        let state = self.state();
        let before = state.secrets.named.get(&name);
        if before.is_none() && state.secrets.named.size() >= NAMES_MAX {
            return Err(Refusal::Conflict(format!("there are {NAMES_MAX} named secrets already; delete one first")));
        }
        let users = state.users(&name);
        if let Some(other) = users.iter().find(|user| sites.as_ref().is_some_and(|sites| !sites.contains(*user))) {
            return Err(Refusal::Conflict(format!(
                "site {other:?} uses secret {name:?}; name it among the sites, or let it use another one first"
            )));
        }
        let fingerprint = value.fingerprint();
        let mut former: Vec<String> = before.map(|named| named.before.clone()).unwrap_or_default();
        former.extend(before.map(|named| named.fingerprint.clone()));
        former.retain(|known| *known != fingerprint);
        let dropped = former.len().saturating_sub(BEFORE_MAX);
        let dropped: Vec<String> = former.drain(..dropped).collect();
        let (at, author) = (clock::now(), author.to_owned());
        let named = Arc::new(Named { name: name.clone(), fingerprint, sites, at, author: author.clone(), before: former });
        let mut draft = Draft::new(&state);
        draft.add_value(&value)?;
        draft.name_secret(&named)?;
        let mut versions = Vec::new();
        let mut puts = Vec::new();
        for present in state.sites.values() {
            let Some(site) = present.site.as_deref().filter(|site| names_in(site).any(|used| used == name)) else { continue };
            let mut site = site.clone();
            for secret in site.secrets_mut() {
                if matches!(secret.reference(), Some(Reference::Named { name: used, .. }) if used == name) {
                    *secret = Secret::named(&name, Some(&named.fingerprint));
                }
            }
            if present.site.as_deref() == Some(&site) {
                continue;
            }
            sites::check(&draft.next.secrets.resolved(&site)).map_err(|refusal| misfit(&name, &present.name, refusal))?;
            let wish = Wish { author: author.clone(), reason: Some(format!("secret {name} has a new value")), ..Wish::default() };
            let version = Arc::new(sites::stamp(present.name.clone(), present.version + 1, &wish, Some(Arc::new(site))));
            draft.add_version(&version)?;
            puts.push((version.name.clone(), Sealed::of(&version, &draft.next.secrets)?));
            versions.push(version);
        }
        draft.edit(In::Newest, &puts)?;
        dropped.iter().for_each(|fingerprint| draft.forget_value(fingerprint, &name));
        let created = before.is_none();
        let next = self.commit(draft).await?;
        Ok(SecretWritten { named, created, versions, snapshot: next.snapshot })
    }

    /// Deletes a named secret with its values. One that is in use stays.
    pub(crate) async fn delete_secret(&self, name: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        let named = state.secrets.named.get(name).ok_or_else(|| no_secret(name))?;
        let users = state.users(name);
        if !users.is_empty() {
            let users = users.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Refusal::Conflict(format!("secret {name:?} is in use by {users}; let them use another one first, on all nodes")));
        }
        let mut draft = Draft::new(&state);
        draft.next.secrets.named.remove_mut(name);
        draft.delete(format!("{NAMES}{name}"));
        for fingerprint in named.before.iter().chain([&named.fingerprint]) {
            draft.forget_value(fingerprint, name);
        }
        self.commit(draft).await.map(drop)
    }
}

/// There is no such secret.
pub(crate) fn no_secret(name: &str) -> Refusal {
    Refusal::Missing(format!("there is no secret {name:?}; GET /v1/secrets lists them"))
}

/// A new value that a site cannot be with. Its text is in none of the faults.
fn misfit(name: &str, site: &str, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Faulty(_, faults) => Refusal::Faulty(
            format!(
                "site {site:?} cannot be with this value of secret {name:?}; put it under another name, and write the site with that and what belongs to it"
            ),
            faults,
        ),
        other => other,
    }
}

/// The names of the secrets that a site names.
fn names_in(site: &Site) -> impl Iterator<Item = &str> {
    site.secrets().filter_map(|secret| match secret.reference() {
        Some(Reference::Named { name, .. }) => Some(name),
        _ => None,
    })
}
