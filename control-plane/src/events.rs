//! What happens, numbered, for those who watch: `GET /v1/events` and webhooks.
//!
//! Nothing waits for a watcher: the last events are kept, a watcher reads them at its own pace, and one that is slower than that is told how many it missed.
//! A number is never used twice: a block of them is taken in the store before it is used, and what is left of it after a crash is left out. A store that was put
//! back to an older copy does not know what was used since, so that every start begins no lower than its time. The lock covers what is kept.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::auth::Grant;
use crate::clock;
use crate::store::{self, Change, Store, Transaction};

/// Events kept for watchers that are slow or come back.
pub(crate) const EVENTS_KEPT_MAX: usize = 4_096;

/// Numbers taken in the store at once.
const NUMBERS_TAKEN: u64 = 100_000;

/// Numbers for every second since 1970, of which a process begins with those of its start: as long as fewer events happen in a second, no number before is as high.
/// They stay below 2^53, beyond which JSON's readers lose digits, until the year 2242.
const NUMBERS_A_SECOND: u64 = 1 << 20;

/// Where the store has the last number taken.
const TAKEN_KEY: &str = "meta/events";

/// An event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// A site was written or deleted.
    Site {
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// The configuration that has it.
        snapshot: u64,
        /// Whether it was deleted.
        deleted: bool,
    },
    /// A purge was accepted.
    Purge {
        /// Its number.
        seq: u64,
    },
    /// Something about a node changed.
    Node {
        /// Its name.
        name: String,
        /// `joined`, `connected`, `disconnected`, `adopted`, `refused`, `drained`, `resumed`, `steered`, `removed`, `renewed`, `behind` or `caught up`.
        what: String,
        /// The configuration it is about, when it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        snapshot: Option<u64>,
        /// Why, when something was refused or the node is behind.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Something about a webhook changed.
    Webhook {
        /// Its name.
        name: String,
        /// `disabled`.
        what: String,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A certificate ends, and nothing has renewed it.
    Certificate {
        /// `ca`, `control`, or `node` with the node's name.
        name: String,
        /// When, RFC 3339.
        ends_at: String,
    },
    /// A rollout went on.
    Rollout {
        /// Its number.
        id: u64,
        /// `began`, `stage`, `adopted`, `rolled_back` (one site), `done`, `ended` (nothing is left of it) or `aborted`.
        what: String,
        /// The configuration that it brings.
        snapshot: u64,
        /// Its stage.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// The site it is about, when it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        site: Option<String>,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The watcher was too slow, or was away for too long. It has no number.
    Lagged {
        /// Events it missed.
        missed: u64,
    },
}

impl Event {
    /// The kinds that can be asked for.
    const KINDS: &[&str] = &["site", "purge", "node", "rollout", "webhook", "certificate"];

    /// Whether there are such kinds, and at least one.
    pub(crate) fn check_kinds(kinds: &BTreeSet<String>) -> Result<(), String> {
        let unknown = kinds.iter().find(|kind| !Self::KINDS.contains(&kind.as_str()));
        match unknown {
            None if kinds.is_empty() => {
                Err(format!("no kind is named; name some of {}, or leave the field out for all", Self::KINDS.join(", ")))
            }
            None => Ok(()),
            Some(unknown) => {
                let shown: String = unknown.chars().take(63).collect();
                Err(format!("{shown:?} is not a kind of event; there are {}", Self::KINDS.join(", ")))
            }
        }
    }

    /// Whether a token may be told: one for some sites hears of those.
    pub(crate) fn is_for(&self, grant: &Grant) -> bool {
        match self {
            Self::Site { name, .. } | Self::Rollout { site: Some(name), .. } => grant.covers(name),
            Self::Lagged { .. } => true,
            Self::Purge { .. } | Self::Node { .. } | Self::Webhook { .. } | Self::Rollout { .. } | Self::Certificate { .. } => {
                grant.is_whole()
            }
        }
    }

    /// The event's name on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Site { .. } => "site",
            Self::Purge { .. } => "purge",
            Self::Node { .. } => "node",
            Self::Webhook { .. } => "webhook",
            Self::Certificate { .. } => "certificate",
            Self::Rollout { .. } => "rollout",
            Self::Lagged { .. } => "lagged",
        }
    }
}

/// An event with its number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Told {
    /// What happened.
    #[serde(flatten)]
    pub(crate) event: Event,
    /// It rises with every event, with gaps.
    pub(crate) number: u64,
    /// When, RFC 3339.
    pub(crate) at: String,
}

/// What a watcher reads at once.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// How many it missed before these, at most.
    pub(crate) missed: u64,
    /// In order.
    pub(crate) events: Vec<Arc<Told>>,
}

/// The events.
pub(crate) struct Events {
    store: Arc<dyn Store>,
    /// The last number that the store says was used, or taken.
    before: u64,
    /// The number after which this process began.
    begun: u64,
    kept: Mutex<Kept>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    /// Nobody is told anything any more.
    is_over: bool,
}

/// One watcher.
pub(crate) struct Reader {
    events: Arc<Events>,
    /// The number of the last event it has read.
    position: u64,
    news: watch::Receiver<u64>,
}

impl Events {
    /// None yet, with numbers above all that were used; it is second `now` since 1970. Blocks.
    pub(crate) fn open(store: Arc<dyn Store>, now: u64) -> Result<Self, String> {
        let before = match store.get(TAKEN_KEY)? {
            None => 0,
            Some(value) => serde_json::from_slice(&value)
                .map_err(|error| format!("the store holds something else than a number at {TAKEN_KEY}: {error}"))?,
        };
        let begun = now.saturating_mul(NUMBERS_A_SECOND).max(before);
        store.transact(&taken(begun + NUMBERS_TAKEN))?;
        Ok(Self { store, before, begun, kept: Mutex::default(), newest: watch::Sender::new(begun) })
    }

    /// Tells whoever watches.
    pub(crate) fn tell(&self, event: Event) {
        let mut kept = self.kept.lock();
        if kept.is_over {
            return;
        }
        let number = *self.newest.borrow() + 1;
        kept.events.push_back(Arc::new(Told { event, number, at: clock::now() }));
        if kept.events.len() > EVENTS_KEPT_MAX {
            kept.events.pop_front();
        }
        self.newest.send_replace(number);
    }

    /// Tells about a node.
    pub(crate) fn node(&self, name: &str, what: &str) {
        self.tell(Event::Node { name: name.to_owned(), what: what.to_owned(), snapshot: None, reason: None });
    }

    /// The number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Begins to watch: after the event of that number, or what happens from now on.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let news = self.newest.subscribe();
        Reader { events: Arc::clone(self), position: after.unwrap_or_else(|| self.newest()), news }
    }

    /// Takes further numbers in the store before those taken are used up, until stopped; then gives back what was not used.
    pub(crate) async fn reserve(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut news = self.newest.subscribe();
        let mut last = *news.borrow_and_update() + NUMBERS_TAKEN;
        loop {
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = skerry_agent::stopped(stop.clone()) => break,
            }
            let newest = *news.borrow_and_update();
            if newest + NUMBERS_TAKEN / 2 > last {
                last = newest + NUMBERS_TAKEN;
                self.keep(last).await;
            }
        }
        // What happens from here on is told to nobody, and has no number.
        self.kept.lock().is_over = true;
        self.keep(self.newest()).await;
    }

    async fn keep(&self, last: u64) {
        if let Err(why) = store::blocking(&self.store, move |store| store.transact(&taken(last))).await {
            tracing::error!(why, "the numbers of events are not in the store; after a crash some may be used again");
        }
    }

    fn after(&self, position: u64, limit: usize) -> Reading {
        let kept = self.kept.lock();
        let newest = *self.newest.borrow();
        if position > newest {
            // Of another history: nothing is known of what it has missed.
            return Reading { missed: 1, events: Vec::new() };
        }
        let first = kept.events.front().map_or(newest + 1, |told| told.number);
        // Between the last number of the process before and the first of this one nothing happened.
        let earlier = match position {
            _ if position >= self.begun => 0,
            // As above.
            _ if position > self.before => 1,
            _ => self.before - position,
        };
        let missed = earlier + first.saturating_sub(position.max(self.begun) + 1);
        let skip = usize::try_from((position + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        Reading { missed, events: kept.events.iter().skip(skip).take(limit).map(Arc::clone).collect() }
    }
}

impl Reader {
    /// What happened after what was read last, at most `limit`; waits until there is something. Being dropped in the middle loses nothing.
    pub(crate) async fn next(&mut self, limit: usize) -> Reading {
        loop {
            self.news.mark_unchanged();
            let reading = self.ready(limit);
            if reading.missed > 0 || !reading.events.is_empty() {
                return reading;
            }
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same without waiting.
    pub(crate) fn ready(&mut self, limit: usize) -> Reading {
        let reading = self.events.after(self.position, limit);
        if reading.missed > 0 || !reading.events.is_empty() {
            self.position = reading.events.last().map_or_else(|| self.events.newest(), |told| told.number);
        }
        reading
    }
}

fn taken(last: u64) -> Transaction {
    Transaction { then: vec![Change::Put(TAKEN_KEY.to_owned(), last.to_string().into_bytes())], ..Transaction::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Redb;

    #[test]
    fn every_kind_that_happens_can_be_asked_for() {
        let (name, what) = (String::new(), String::new());
        // Another variant does not compile here before it has a place in the list.
        let next = |event: &Event| match event {
            Event::Site { .. } => Some(Event::Purge { seq: 1 }),
            Event::Purge { .. } => Some(Event::Node { name: name.clone(), what: what.clone(), snapshot: None, reason: None }),
            Event::Node { .. } => Some(Event::Webhook { name: name.clone(), what: what.clone(), reason: None }),
            Event::Webhook { .. } => Some(Event::Certificate { name: name.clone(), ends_at: String::new() }),
            Event::Certificate { .. } => {
                Some(Event::Rollout { id: 1, what: what.clone(), snapshot: 1, stage: None, site: None, reason: None })
            }
            Event::Rollout { .. } => Some(Event::Lagged { missed: 1 }),
            Event::Lagged { .. } => None,
        };
        let first = Event::Site { name: name.clone(), version: 1, snapshot: 1, deleted: false };
        let events: Vec<Event> = std::iter::successors(Some(first), next).filter(|event| !matches!(event, Event::Lagged { .. })).collect();
        assert!(events.iter().map(Event::name).collect::<BTreeSet<_>>() == Event::KINDS.iter().copied().collect());
    }

    fn numbers(reading: &Reading) -> Vec<u64> {
        reading.events.iter().map(|told| told.number).collect()
    }

    /// The events of a process that begins at a second since 1970.
    fn begin(store: &Arc<dyn Store>, now: u64) -> Arc<Events> {
        Arc::new(Events::open(Arc::clone(store), now).unwrap())
    }

    fn store(place: &tempfile::TempDir) -> Arc<dyn Store> {
        Arc::new(Redb::open(&place.path().join("store")).unwrap())
    }

    /// Ends in peace.
    async fn end(events: &Arc<Events>) {
        let (_stop, stopped) = watch::channel(true);
        Arc::clone(events).reserve(stopped).await;
    }

    #[tokio::test]
    async fn a_watcher_reads_on_where_it_was_and_is_told_what_it_missed() {
        let place = tempfile::tempdir().unwrap();
        let events = begin(&store(&place), 0);
        let mut reader = events.read(None);
        for seq in 1..=3 {
            events.tell(Event::Purge { seq });
        }
        assert_eq!(numbers(&reader.next(2).await), [1, 2]);
        assert_eq!(numbers(&reader.next(2).await), [3]);
        assert_eq!(numbers(&events.read(Some(1)).next(9).await), [2, 3]);
        for seq in 0..EVENTS_KEPT_MAX as u64 {
            events.tell(Event::Purge { seq });
        }
        let reading = events.read(Some(1)).next(1).await;
        assert_eq!((reading.missed, numbers(&reading)), (2, vec![4]));
        let mut strange = events.read(Some(u64::MAX));
        assert_eq!(strange.next(1).await.missed, 1);
        events.tell(Event::Purge { seq: 1 });
        assert_eq!(numbers(&strange.next(9).await), [events.newest()]);
    }

    #[tokio::test]
    async fn no_number_is_used_twice() {
        let place = tempfile::tempdir().unwrap();
        let store = store(&place);
        let crashed = begin(&store, 9);
        crashed.tell(Event::Purge { seq: 1 });
        let used = crashed.newest();
        // The clock may have been set back.
        let next = begin(&store, 3);
        next.tell(Event::Purge { seq: 1 });
        assert!(next.newest() > used);
        end(&next).await;
        assert_eq!(begin(&store, 3).newest(), next.newest(), "an end in peace leaves no gap");
    }

    #[tokio::test]
    async fn numbers_go_on_above_those_that_a_copy_of_the_store_does_not_know() {
        let place = tempfile::tempdir().unwrap();
        let first = store(&place);
        let events = begin(&first, 7);
        events.tell(Event::Purge { seq: 1 });
        end(&events).await;
        first.close();
        let (path, copy) = (place.path().join("store"), place.path().join("copy"));
        std::fs::copy(&path, &copy).unwrap();
        let lost = begin(&(Arc::new(Redb::open(&path).unwrap()) as Arc<dyn Store>), 8);
        (1..=9).for_each(|seq| lost.tell(Event::Purge { seq }));
        let again = begin(&(Arc::new(Redb::open(&copy).unwrap()) as Arc<dyn Store>), 9);
        again.tell(Event::Purge { seq: 2 });
        assert!(again.newest() > lost.newest(), "{} {}", again.newest(), lost.newest());
        // Who read on is told that something is missing; who had read all before the end has missed nothing.
        let missed = |after: u64| again.read(Some(after)).ready(9).missed;
        assert_eq!((missed(lost.newest()), missed(events.newest()), missed(events.newest() - 1)), (1, 0, 1));
    }
}
