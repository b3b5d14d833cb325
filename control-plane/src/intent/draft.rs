//! The next state while it is being made: what is changed in it, in which configurations, and what of that goes to the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use skerry_agent::wire;
use skerry_config::limits::SITES_MAX;

use super::content::{Content, Put};
use super::numbered::{Numbered, Reach, Tracks};
use super::{Intent, LINGERING, SETTLED, SNAPSHOT_KEY, State, json, load};
use crate::refusal::Refusal;
use crate::store::{self, Change, Condition, Transaction};

/// Which configurations an edit is made in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum In {
    /// The newest alone: the change waits for a rollout.
    Newest,
    /// What is rolling out and what is newer.
    Rolling,
    /// What is rolling out alone: something newer waits.
    OnlyRolling,
    /// All: the change is in force on every node at once.
    All,
}

/// See the module. The caller holds the write lock.
pub(super) struct Draft {
    pub(super) next: State,
    pub(super) settled: Content,
    pub(super) rolling: Option<(Content, Reach)>,
    pub(super) newest: Content,
    pub(super) transaction: Transaction,
}

impl Draft {
    pub(super) fn new(state: &State) -> Self {
        let tracks = &state.tracks;
        Self {
            next: state.clone(),
            settled: tracks.settled.content.clone(),
            rolling: tracks.rolling.as_ref().map(|(rolling, reach)| (rolling.content.clone(), reach.clone())),
            newest: tracks.newest.content.clone(),
            transaction: Transaction::default(),
        }
    }

    pub(super) fn put(&mut self, key: String, value: &impl serde::Serialize) -> Result<(), Refusal> {
        self.transaction.then.push(Change::Put(key, json(value)?));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: String) {
        self.transaction.then.push(Change::Delete(key));
    }

    /// Makes another content of each configuration; those that were the same are so afterwards.
    fn remake(&mut self, which: In, make: impl Fn(&Content) -> Content) {
        let mut made: Vec<(u64, Content)> = Vec::new();
        let mut remade = |content: &mut Content| {
            let known = made.iter().find(|(stamp, _)| *stamp == content.stamp).map(|(_, next)| next.clone());
            let next = known.unwrap_or_else(|| make(content));
            made.push((content.stamp, next.clone()));
            *content = next;
        };
        if which != In::OnlyRolling {
            remade(&mut self.newest);
        }
        if which != In::Newest
            && let Some((rolling, _)) = &mut self.rolling
        {
            remade(rolling);
        }
        if which == In::All {
            remade(&mut self.settled);
        }
    }

    /// Puts sites and takes others away.
    pub(super) fn edit(&mut self, which: In, puts: &[Put]) -> Result<(), Refusal> {
        let chosen = self.next.leads.clone();
        self.remake(which, |content| content.edited(puts, &chosen));
        puts.iter().try_for_each(|(name, _)| self.note_settled(name))
    }

    /// Takes the shields and their leads anew, everywhere.
    pub(super) fn place_shields(&mut self) {
        let (shields, chosen) = (self.next.shields(), self.next.leads.clone());
        self.remake(In::All, |content| content.with_shields(Arc::clone(&shields), &chosen));
    }

    /// Gives every configuration a number above `last`.
    pub(super) fn renumber(&mut self, last: u64) {
        self.next.numbers.last = self.next.numbers.last.max(last);
        self.remake(In::All, Content::renewed);
    }

    /// Keeps in the store what is settled of a site, as long as the newest is something else, or what rolls out.
    pub(super) fn note_settled(&mut self, name: &str) -> Result<(), Refusal> {
        let key = format!("{SETTLED}{name}");
        let settled = self.settled.digest(name);
        let rolls_out = self.rolling.as_ref().is_some_and(|(rolling, _)| rolling.digest(name) != settled);
        if settled == self.newest.digest(name) && !rolls_out {
            if self.next.waiting.contains(name) {
                self.next.waiting.remove_mut(name);
                self.delete(key);
            }
            return Ok(());
        }
        self.next.waiting.insert_mut(name.to_owned());
        let version = self.settled.sites.get(name).map(|sealed| Arc::clone(&sealed.version));
        self.put(key, &version)
    }

    /// A site that was deleted is no longer to be kept on the nodes for a while.
    pub(super) fn end_lingering(&mut self, name: &str) {
        if self.next.lingering.remove_mut(name) {
            self.delete(format!("{LINGERING}{name}"));
        }
    }

    /// What is rolling out to everybody there is nobody left to roll out to.
    pub(super) fn settle(&mut self) -> Result<(), Refusal> {
        let Some((rolling, _)) = self.rolling.take() else { return Ok(()) };
        self.settled = rolling;
        let names: Vec<String> = self.next.waiting.iter().cloned().collect();
        names.iter().try_for_each(|name| self.note_settled(name))
    }

    /// The names of `names`, and of those sites that have to be changed with them because hosts move between them, where sites become what
    /// `wanted` says in the configurations `contents`.
    pub(super) fn closure(
        names: BTreeSet<String>,
        contents: &[&Content],
        wanted: impl Fn(&str) -> Option<Arc<super::Sealed>>,
    ) -> BTreeSet<String> {
        let mut all = names;
        loop {
            let more: BTreeSet<String> = contents.iter().flat_map(|content| content.in_the_way(&all, &wanted)).collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// Gives numbers to what has none, and keeps them.
    fn number(&mut self, before: &Tracks) -> Result<(), Refusal> {
        let numbers = &mut self.next.numbers;
        // Nothing differs from what is settled, and nothing is on its way: there is one configuration.
        if self.next.waiting.is_empty() && self.rolling.is_none() {
            self.settled = self.newest.clone();
        }
        let mut known: Vec<Arc<Numbered>> = before.all().cloned().collect();
        let mut take = |content: &Content| {
            if let Some(same) = known.iter().find(|known| known.content.stamp == content.stamp) {
                return Arc::clone(same);
            }
            numbers.last += 1;
            let numbered = Numbered::new(numbers.last, content.clone());
            known.push(Arc::clone(&numbered));
            numbered
        };
        let settled = take(&self.settled);
        let rolling = self.rolling.as_ref().map(|(rolling, reach)| (take(rolling), reach.clone()));
        let newest = take(&self.newest);
        self.next.snapshot = newest.version;
        let (content, on_its_way) = (&self.newest, self.rolling.as_ref().map(|(rolling, _)| rolling));
        let is_rolling = |name: &String| on_its_way.is_some_and(|rolling| rolling.digest(name) == content.digest(name));
        let numbers = &mut self.next.numbers;
        numbers.settled = settled.version;
        numbers.rolling = rolling.as_ref().map(|(rolling, _)| rolling.version);
        numbers.newest = newest.version;
        if self.next.waiting.iter().any(|name| !is_rolling(name)) {
            let next = numbers.next_rollout.unwrap_or(numbers.rollouts + 1);
            numbers.rollouts = numbers.rollouts.max(next);
            numbers.next_rollout = Some(next);
        }
        self.next.tracks = Arc::new(Tracks { settled, rolling, newest });
        let bytes = self.newest.bytes;
        if bytes > wire::SNAPSHOT_BYTES_MAX {
            let says = format!("the configuration would have {bytes} bytes, at most {} are allowed", wire::SNAPSHOT_BYTES_MAX);
            return Err(Refusal::Conflict(says));
        }
        let sites = self.newest.sites.size();
        if sites > SITES_MAX {
            return Err(Refusal::Conflict(format!("the configuration would have {sites} sites, at most {SITES_MAX} are allowed")));
        }
        Ok(())
    }
}

impl Intent {
    /// Makes a draft the present state once it is in the store. The caller holds the write lock.
    pub(super) async fn commit(&self, draft: Draft) -> Result<Arc<State>, Refusal> {
        let now = self.state();
        if let Some(next) = self.store(&now, draft).await? {
            return Ok(self.replace_state(next, &now));
        }
        self.read_anew(&now).await?;
        Err(Refusal::Busy("somebody else changed the same thing at the same time; try again".to_owned()))
    }

    /// The next state, once it is in the store; `None` when that is not as it was thought to be.
    async fn store(&self, now: &State, mut draft: Draft) -> Result<Option<State>, Refusal> {
        draft.number(&now.tracks)?;
        if draft.next.numbers != now.numbers {
            let value = json(&draft.next.numbers)?;
            draft
                .transaction
                .when
                .push(Condition { key: SNAPSHOT_KEY.to_owned(), holds: now.numbers_stored.as_deref().map(<[u8]>::to_vec) });
            draft.transaction.then.push(Change::Put(SNAPSHOT_KEY.to_owned(), value.clone()));
            draft.next.numbers_stored = Some(value.into());
        }
        let Draft { next, transaction, .. } = draft;
        if transaction.then.is_empty() {
            return Ok(Some(next));
        }
        let mark = self.own.mark(&transaction.then);
        let done = store::blocking(&self.store, move |store| store.transact(&transaction)).await.map_err(Refusal::Broken)?;
        if !done {
            return Ok(None);
        }
        self.own.made(mark);
        Ok(Some(next))
    }

    /// Takes the state from the store when that is not at `before` any more: after an I/O error it may have fallen back, or have done what it said it
    /// had not. The numbers rise above all that were given.
    pub(super) async fn read_anew(&self, before: &State) -> Result<(), Refusal> {
        let stored = before.numbers_stored.clone();
        let found = store::blocking(&self.store, move |store| {
            let is_there = store.get(SNAPSHOT_KEY)?.as_deref() == stored.as_deref();
            if is_there { Ok(None) } else { load::state(store).map(Some) }
        });
        let Some(found) = found.await.map_err(Refusal::Broken)? else { return Ok(()) };
        tracing::warn!("the store is not at what was written last; it is read anew, and the configurations get higher numbers");
        let mut draft = Draft::new(&found);
        draft.renumber(before.numbers.last);
        if let Some(next) = self.store(&found, draft).await? {
            self.replace_state(next, before);
        }
        Ok(())
    }

    pub(super) fn replace_state(&self, next: State, before: &State) -> Arc<State> {
        let next = Arc::new(next);
        *self.state.write() = Arc::clone(&next);
        if !Arc::ptr_eq(&next.tracks, &before.tracks) {
            self.deltas.know(&next.tracks);
            self.published.send_replace(Arc::clone(&next.tracks));
        }
        self.changes.send_modify(|count| *count += 1);
        next
    }
}
