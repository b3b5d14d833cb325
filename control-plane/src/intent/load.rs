//! The state from the store: the newest of everything, and what the settled and the rolling configuration have in its place.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::de::DeserializeOwned;

use super::content::{Content, Put, Sealed};
use super::numbered::{Numbered, Numbers, Tracks};
use super::secrets::Secrets;
use super::{
    FIRST_SNAPSHOT, LINGERING, Lingering, ROLLING, SETTLED, SNAPSHOT_KEY, SiteVersion, State, leads, nodes, parse, rollouts, sites,
};
use crate::rollout::Rollout;
use crate::store::Store;

/// Reads everything. Blocks.
pub(super) fn state(store: &dyn Store) -> Result<State, String> {
    let numbers_stored = store.get(SNAPSHOT_KEY)?;
    let numbers = numbers(numbers_stored.as_deref())?;
    let sites: RedBlackTreeMapSync<String, Arc<SiteVersion>> = all(store, sites::PREFIX)?.into_iter().collect();
    let lingering: RedBlackTreeMapSync<String, Arc<Lingering>> = all(store, LINGERING)?.into_iter().collect();
    let leads: RedBlackTreeMapSync<String, String> = all(store, leads::PREFIX)?.into_iter().collect();
    let rollouts = all::<Arc<Rollout>>(store, rollouts::PREFIX)?.into_iter().map(|(_, rollout)| (rollout.id, rollout)).collect();
    let settled: Vec<(String, Option<Arc<SiteVersion>>)> = all(store, SETTLED)?;
    let rolling: Vec<(String, Option<Arc<SiteVersion>>)> = all(store, ROLLING)?;

    let kept = sites.iter().map(|(name, version)| {
        let kept = lingering.get(name).map_or(version, |lingering| &lingering.version);
        (name.clone(), Some(Arc::clone(kept)))
    });
    let secrets = Secrets::load(store)?;
    let kept = sealed(kept.collect(), &secrets)?;
    let nothing = Content::default();
    let waiting: RedBlackTreeSetSync<String> = settled.iter().map(|(name, _)| name.clone()).collect();
    let mut state = State {
        nodes: all(store, nodes::PREFIX)?.into_iter().collect(),
        snapshot: numbers.newest,
        numbers_stored: numbers_stored.map(Into::into),
        sites,
        secrets,
        lingering,
        leads,
        rollouts,
        waiting,
        numbers,
        ..State::default()
    };
    let newest = nothing.edited(&kept, &state.leads).with_shields(state.shields(), &state.leads);
    let settled = if settled.is_empty() { newest.clone() } else { newest.edited(&sealed(settled, &state.secrets)?, &state.leads) };
    let rolling = match (numbers.rolling, state.rollout()) {
        (Some(number), Some(rollout)) => Some((number, settled.edited(&sealed(rolling, &state.secrets)?, &state.leads), rollout.reach())),
        _ => None,
    };
    let newest = Numbered::new(numbers.newest, newest);
    // The same number is the same configuration.
    let numbered = |number, content| if number == newest.version { Arc::clone(&newest) } else { Numbered::new(number, content) };
    let rolling = rolling.map(|(number, content, reach)| (numbered(number, content), reach));
    let settled = numbered(numbers.settled, settled);
    state.tracks = Arc::new(Tracks { settled, rolling, newest });
    Ok(state)
}

/// The numbers. Earlier versions of this program kept one number: all were the same.
fn numbers(stored: Option<&[u8]>) -> Result<Numbers, String> {
    let one = |number| Numbers { last: number, settled: number, newest: number, ..Numbers::default() };
    let Some(stored) = stored else { return Ok(one(FIRST_SNAPSHOT)) };
    parse::<u64>(SNAPSHOT_KEY, stored).map(one).or_else(|_| parse(SNAPSHOT_KEY, stored))
}

/// Everything below a prefix, by what follows it.
fn all<T: DeserializeOwned>(store: &dyn Store, prefix: &str) -> Result<Vec<(String, T)>, String> {
    let found = store.list(prefix)?;
    found.into_iter().map(|(key, value)| Ok((key[prefix.len()..].to_owned(), parse(&key, &value)?))).collect()
}

fn sealed(versions: Vec<(String, Option<Arc<SiteVersion>>)>, secrets: &Secrets) -> Result<Vec<Put>, String> {
    let seal = |(name, version): (String, Option<Arc<SiteVersion>>)| {
        let sealed =
            version.as_ref().map(|version| Sealed::of(version, secrets)).transpose().map_err(|refusal| refusal.says().to_owned())?;
        Ok((name, sealed.flatten()))
    };
    versions.into_iter().map(seal).collect()
}
