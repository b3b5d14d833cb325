//! The steps of a rollout, each one transaction. When they are taken is [`crate::rollout`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::{Draft, In};
use super::{Intent, Lingering, ROLLING, Reach, SiteVersion, State, Wish, sites};
use crate::clock;
use crate::refusal::Refusal;
use crate::rollout::{RolledBack, Rollout, SiteChange, Stage, StageName, Standing};

pub(super) const PREFIX: &str = "rollout/";

/// Rollouts that are remembered.
const ROLLOUTS_MAX: usize = 200;

/// Who is said to have made the versions that take changes back.
const AUTHOR: &str = "rollout";

impl Intent {
    /// One rollout.
    pub(crate) fn rollout(&self, id: u64) -> Result<Arc<Rollout>, Refusal> {
        let state = self.state();
        state.rollouts.get(&id).cloned().ok_or_else(|| {
            let waits = state.numbers.next_rollout == Some(id);
            let why = if waits { "has not begun: another one is under way" } else { "is not there, or no longer: the last 200 are kept" };
            Refusal::Missing(format!("rollout {id} {why}"))
        })
    }

    /// Begins a rollout of all changes that wait, when there are any and none is under way.
    pub(crate) async fn begin_rollout(&self) -> Result<Option<Arc<Rollout>>, Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        if state.waiting.is_empty() || state.rollout().is_some() {
            return Ok(None);
        }
        let mut draft = Draft::new(&state);
        let id = draft.next.numbers.next_rollout.take().unwrap_or(state.numbers.rollouts + 1);
        draft.next.numbers.rollouts = draft.next.numbers.rollouts.max(id);
        draft.rolling = Some((draft.newest.clone(), Reach::Nodes(Arc::default())));
        for name in state.waiting.iter() {
            let version = draft.newest.sites.get(name).map(|sealed| Arc::clone(&sealed.version));
            draft.put(format!("{ROLLING}{name}"), &version)?;
        }
        let rollout = Arc::new(Rollout {
            id,
            state: Standing::Running,
            snapshot: state.tracks.newest.version,
            now: false,
            sites: state.waiting.iter().map(|name| change(&draft, name)).collect(),
            stages: Vec::new(),
            began: clock::now(),
            ended: None,
            reason: None,
        });
        draft.keep(&rollout)?;
        self.commit(draft).await?;
        Ok(Some(rollout))
    }

    /// Ends the present stage of a rollout, and begins the next.
    pub(crate) async fn begin_stage(&self, id: u64, stage: Stage) -> Result<(), Refusal> {
        self.change_rollout(id, |draft, rollout| {
            rollout.end_stage(&stage.began);
            rollout.stages.push(stage);
            if let Some((_, reach)) = &mut draft.rolling {
                *reach = rollout.reach();
            }
            Ok(())
        })
        .await
    }

    /// Notes something about a rollout.
    pub(crate) async fn note_rollout(&self, id: u64, note: impl FnOnce(&mut Rollout)) -> Result<(), Refusal> {
        self.change_rollout(id, |_, rollout| {
            note(rollout);
            Ok(())
        })
        .await
    }

    /// What a rollout brought is settled: all nodes have it, or are to have it when they come.
    pub(crate) async fn finish_rollout(&self, id: u64) -> Result<(), Refusal> {
        self.change_rollout(id, |draft, rollout| {
            rollout.sites.iter().for_each(|change| draft.delete(format!("{ROLLING}{}", change.name)));
            draft.settle()?;
            let now = clock::now();
            rollout.end_stage(&now);
            rollout.ended = Some(now);
            let is_back = rollout.sites.iter().all(|change| change.rolled_back.is_some());
            rollout.state = if is_back { Standing::RolledBack } else { Standing::Done };
            Ok(())
        })
        .await
    }

    /// Takes sites of a rollout back to what is settled of them, each for its reason, and with them those whose hosts they need. When none is left
    /// the rollout is over: `ends_as`.
    pub(crate) async fn withdraw(&self, id: u64, reasons: BTreeMap<String, String>, ends_as: Standing) -> Result<(), Refusal> {
        self.change_rollout(id, |draft, rollout| {
            let open: BTreeSet<String> = rollout.open().map(|change| change.name.clone()).collect();
            let named: BTreeSet<String> = reasons.keys().filter(|name| open.contains(*name)).cloned().collect();
            let Some((rolling, _)) = draft.rolling.clone() else { return Ok(()) };
            let settled = draft.settled.clone();
            let all = Draft::closure(named, &[&rolling, &draft.newest], |name| settled.sites.get(name).cloned());
            let puts: Vec<_> = all.iter().map(|name| (name.clone(), settled.sites.get(name).cloned())).collect();
            // A newer change of a site that waits for the next rollout stays.
            let is_newest = |name: &str| rolling.digest(name) == draft.newest.digest(name) || !open.contains(name);
            let newest: Vec<_> = puts.iter().filter(|(name, _)| is_newest(name)).cloned().collect();
            if newest.len() == puts.len() {
                draft.edit(In::Rolling, &puts)?;
            } else {
                draft.edit(In::OnlyRolling, &puts)?;
                draft.edit(In::Newest, &newest)?;
            }
            for name in &all {
                let why = reasons.get(name).cloned().unwrap_or_else(|| "a site that it took a host from was rolled back".to_owned());
                let version = if newest.iter().any(|(other, _)| other == name) { draft.take_back(name, &why)? } else { None };
                draft.delete(format!("{ROLLING}{name}"));
                if let Some(change) = rollout.sites.iter_mut().find(|change| change.name == *name) {
                    change.rolled_back = Some(RolledBack { version, reason: why });
                }
            }
            if rollout.open().next().is_none() {
                draft.settle()?;
                rollout.ended = Some(clock::now());
                rollout.state = if rollout.sites.iter().any(|change| change.rolled_back.is_none()) { Standing::Done } else { ends_as };
            }
            Ok(())
        })
        .await
    }

    async fn change_rollout(&self, id: u64, change: impl FnOnce(&mut Draft, &mut Rollout) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        let Some(rollout) = state.rollout().filter(|rollout| rollout.id == id) else {
            let ended = self.rollout(id)?.ended.clone().unwrap_or_default();
            return Err(Refusal::Conflict(format!("rollout {id} is over since {ended}")));
        };
        let mut rollout = Rollout::clone(rollout);
        let mut draft = Draft::new(&state);
        change(&mut draft, &mut rollout)?;
        draft.keep(&Arc::new(rollout))?;
        self.commit(draft).await.map(drop)
    }
}

impl Draft {
    /// Makes the newest content of a site that of all nodes at once, with the sites whose hosts move with it; the number of what is noted of it.
    pub(super) fn at_once(&mut self, version: &SiteVersion) -> Result<Option<u64>, Refusal> {
        let newest = self.newest.clone();
        let contents: Vec<_> = std::iter::once(&self.settled).chain(self.rolling.as_ref().map(|(rolling, _)| rolling)).collect();
        let all = Self::closure(BTreeSet::from([version.name.clone()]), &contents, |name| newest.sites.get(name).cloned());
        let changes: Vec<SiteChange> = all.iter().map(|name| change(self, name)).collect();
        let puts: Vec<_> = all.iter().map(|name| (name.clone(), newest.sites.get(name).cloned())).collect();
        self.edit(In::All, &puts)?;
        if let Some(mut rollout) = self.next.rollout().map(|rollout| Rollout::clone(rollout)) {
            for change in rollout.sites.iter_mut().filter(|change| change.is_open() && all.contains(&change.name)) {
                change.superseded = true;
                self.transaction.then.push(crate::store::Change::Delete(format!("{ROLLING}{}", change.name)));
            }
            self.keep(&Arc::new(rollout))?;
        }
        let (id, now) = (self.next.numbers.rollouts + 1, clock::now());
        self.next.numbers.rollouts = id;
        let stage = Stage { name: StageName::All, nodes: Vec::new(), began: now.clone(), adopted: None, ended: None, hurried: false };
        self.keep(&Arc::new(Rollout {
            id,
            state: Standing::Done,
            snapshot: self.next.numbers.last + 1,
            now: true,
            sites: changes,
            stages: vec![stage],
            began: now.clone(),
            ended: Some(now),
            reason: None,
        }))?;
        Ok(Some(id))
    }

    /// Keeps a rollout, and forgets the oldest beyond the bound.
    fn keep(&mut self, rollout: &Arc<Rollout>) -> Result<(), Refusal> {
        self.put(key(rollout.id), rollout)?;
        self.next.rollouts.insert_mut(rollout.id, Arc::clone(rollout));
        let oldest = self.next.rollouts.first().map(|(id, _)| *id).filter(|_| self.next.rollouts.size() > ROLLOUTS_MAX);
        if let Some(oldest) = oldest {
            self.next.rollouts.remove_mut(&oldest);
            self.delete(key(oldest));
        }
        Ok(())
    }

    /// Writes down that the newest content of a site is what is settled of it: the number of the version that says so, where one is needed.
    fn take_back(&mut self, name: &str, why: &str) -> Result<Option<u64>, Refusal> {
        let settled = self.settled.sites.get(name).cloned();
        if let Some(lingering) = self.next.lingering.get(name).cloned() {
            // It was deleted meanwhile, which stays so; only what the nodes keep of it for a while is another.
            match settled {
                Some(sealed) => self.linger(name, Lingering { version: Arc::clone(&sealed.version), ..Lingering::clone(&lingering) })?,
                None => self.end_lingering(name),
            }
            return Ok(None);
        }
        let Some(present) = self.next.sites.get(name).cloned() else { return Ok(None) };
        let site = settled.and_then(|sealed| sealed.version.site.clone());
        if present.site == site {
            return Ok(None);
        }
        let wish = Wish { author: AUTHOR.to_owned(), reason: Some(why.to_owned()), ..Wish::default() };
        let version = Arc::new(sites::stamp(name.to_owned(), present.version + 1, wish, site));
        self.add_version(&version)?;
        Ok(Some(version.version))
    }
}

/// What becomes of a site between the settled and the newest configuration.
fn change(draft: &Draft, name: &str) -> SiteChange {
    let State { sites, .. } = &draft.next;
    SiteChange {
        name: name.to_owned(),
        from: draft.settled.sites.get(name).map(|sealed| sealed.version.version),
        to: sites.get(name).map_or(0, |version| version.version),
        deleted: !draft.newest.sites.contains_key(name),
        rolled_back: None,
        superseded: false,
    }
}

fn key(id: u64) -> String {
    format!("{PREFIX}{id:020}")
}
