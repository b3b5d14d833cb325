//! Fetches under way that other requests may join: one leader per [`FlightKey`].
//!
//! Owns who leads, who follows and how a follower learns the outcome. What a leader does is [`crate::exchange`]'s. The lock covers the map
//! and is never held over a wait.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fetch::{FetchError, FetchErrorKind};
use crate::key::Key;
use crate::object::Object;
use crate::purge::{Identity, Position};
use crate::range::Wanted;

/// How long a request waits for the head of another one's fetch before it goes upstream itself.
pub(crate) const HEAD_WAIT: Duration = Duration::from_secs(60);

/// The most fetches that can be joined at once; a further one is nobody's but its client's.
pub(crate) const FLIGHTS_MAX: usize = 65_536;

/// What came of a fetch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// An answer that may be stored, its body perhaps still growing.
    Object(Arc<Object>),
    /// Upstream confirmed a stored answer.
    Confirmed(Arc<Object>),
    /// Upstream failed; a stale answer covers it.
    Covered(Arc<Object>, &'static str),
    /// An answer that is for its own client only.
    Private,
    /// No answer.
    Failed(FetchError),
}

/// The key of a flight. Requests with `Authorization` fly apart: their answers usually may not be shared, and must not keep the others waiting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) key: Key,
    pub(crate) authorized: bool,
    pub(crate) scope: Scope,
}

/// How much of a resource is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All of it, with GET.
    Whole,
    /// One range of it, with GET.
    Range(Wanted),
    /// Its head, with HEAD.
    Head,
}

/// One fetch.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The key without variant.
    pub(crate) primary: Key,
    pub(crate) identity: Arc<Identity>,
    /// Where the node stood in purges before the lookup that it began for.
    pub(crate) began: Position,
    outcome: OnceLock<Outcome>,
    /// Told to followers: there is an outcome.
    told: Notify,
}

impl Flight {
    pub(crate) fn new(primary: Key, identity: Arc<Identity>, began: Position) -> Arc<Self> {
        Arc::new(Self { primary, identity, began, outcome: OnceLock::new(), told: Notify::new() })
    }

    /// What came of it; `None` when that takes longer than [`HEAD_WAIT`].
    pub(crate) async fn outcome(&self) -> Option<Outcome> {
        let told = self.told.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if self.outcome.get().is_none() {
            tokio::time::timeout(HEAD_WAIT, told).await.ok()?;
        }
        self.outcome.get().cloned()
    }
}

/// All flights.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<HashMap<FlightKey, Arc<Flight>>>,
}

/// The place of a request.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It leads.
    Leader(Lead),
    /// It follows.
    Follower(Arc<Flight>),
    /// The store changed since it was looked at.
    LookAgain,
    /// There are too many flights.
    Full,
}

impl Flights {
    /// Joins the flight for a key, or begins `flight`. `avoid` is one that proved no use, which is replaced; `usable` says whether another one may
    /// still be joined; `changed` says whether the store has something else than when it was looked at, which happens when a flight ends in between.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &FlightKey,
        flight: impl FnOnce() -> Arc<Flight>,
        usable: impl FnOnce(&Arc<Flight>) -> bool,
        changed: impl FnOnce() -> bool,
    ) -> Joined {
        let mut map = self.map.lock();
        if let Some(found) = map.get(key)
            && usable(found)
        {
            return Joined::Follower(Arc::clone(found));
        }
        if changed() {
            return Joined::LookAgain;
        }
        if map.len() >= FLIGHTS_MAX {
            return Joined::Full;
        }
        let flight = flight();
        map.insert(key.clone(), Arc::clone(&flight));
        Joined::Leader(Lead { flights: Arc::clone(self), keys: vec![key.clone()], flight })
    }

    /// The flight for a key, if one is under way that may be joined.
    pub(crate) fn under_way(&self, key: &FlightKey, usable: impl FnOnce(&Arc<Flight>) -> bool) -> Option<Arc<Flight>> {
        self.map.lock().get(key).filter(|found| usable(found)).map(Arc::clone)
    }

    /// A flight nobody can join.
    pub(crate) fn alone(self: &Arc<Self>, flight: Arc<Flight>) -> Lead {
        Lead { flights: Arc::clone(self), keys: Vec::new(), flight }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.lock().len()
    }
}

/// Held by the leader: the flight ends when it is dropped, however that comes.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Arc<Flights>,
    keys: Vec<FlightKey>,
    pub(crate) flight: Arc<Flight>,
}

impl Lead {
    /// Lets requests that know the variant's key find the flight too.
    pub(crate) fn also_known_as(&mut self, key: FlightKey) {
        if self.keys.is_empty() || self.keys.contains(&key) {
            return;
        }
        let mut map = self.flights.map.lock();
        if map.len() < FLIGHTS_MAX {
            map.entry(key.clone()).or_insert_with(|| Arc::clone(&self.flight));
            self.keys.push(key);
        }
    }

    /// Tells the followers; the first outcome counts.
    pub(crate) fn publish(&self, outcome: Outcome) {
        if self.flight.outcome.set(outcome).is_ok() {
            self.flight.told.notify_waiters();
        }
    }

    /// Ends the flight for those who come later.
    pub(crate) fn land(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut map = self.flights.map.lock();
        for key in self.keys.drain(..) {
            if map.get(&key).is_some_and(|found| Arc::ptr_eq(found, &self.flight)) {
                map.remove(&key);
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.land();
        if self.flight.outcome.get().is_none() {
            let detail = "the fetch was given up".to_owned();
            self.publish(Outcome::Failed(FetchError { kind: FetchErrorKind::Overload, detail, retry_after: None }));
        }
    }
}
