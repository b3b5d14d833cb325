//! The request machine.
//!
//! The steps of [`Exchange::run`], in order:
//!
//! 1. *bypass*: the policy, one of its cookies, or a request directive that it obeys, keeps the request away from the cache: upstream, unchanged.
//! 2. *key*: without the cookies that the policy takes out: site, scheme, host, path, query, fields and cookies by the site's key rules, and by
//!    what answers said of queries (`search`).
//! 3. *lookup*: by key, then by the key of the variant, in memory, then on disk (`stored`); a hard purge makes a find a miss, a soft one stale; of parts, those that hold
//!    the range. Request directives that the policy obeys make it staler or fresher (`directives`).
//! 4. *fresh*: a hit, conditional and range applied.
//! 5. *stale, but within stale-while-revalidate*: a hit; one refresh per key goes on behind it.
//! 6. *stale, a refresh failed less than a second ago, within stale-if-error*: a hit.
//! 7. *only-if-cached*: an error.
//! 8. *remembered as uncacheable*: upstream, unchanged, without waiting for anyone.
//! 9. *flight*: for the whole, a range or the head (`scope`), lead the fetch for the key (`lead`) or follow it; what is to be validated on
//!    every use is fetched alone. What comes of it decides:
//!    an object that fits is answered from; one that does not fit (another variant, purged meanwhile, stale already) starts again at 3;
//!    an answer for its own client only releases everybody to 8; a failure is everybody's failure, unless a stale answer covers it.
//! 10. After `ROUNDS` rounds, a wait for too long, or with too many flights: upstream, unchanged.
//!
//! Owns the steps and nothing else: rules are in their modules, the leader's part is in `lead`, the shape of answers in `serve`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{StatusCode, header};
use skerry_config::purge::Purge;
use skerry_config::snapshot::{Policy, Snapshot};
use tokio::sync::oneshot;

use crate::answer::{Answer, CacheStatus, Failed};
use crate::cookies;
use crate::fetch::{Fetch, FetchError, FetchErrorKind};
use crate::figures::{Counters, Figures};
use crate::flight::{Flight, FlightKey, Flights, Joined, Lead, Outcome, Scope};
use crate::key::Key;
use crate::lookup::{self, Found, State};
use crate::object::{Filling, Object};
use crate::purge::{Identity, Table, Verdict};
use crate::range;
use crate::request::Request;
use crate::store::{Disk, Memory};
use crate::time::Time;

mod directives;
mod explain;
mod invalidate;
mod lead;
mod mend;
mod pass;
mod ranges;
mod ready;
mod remember;
mod scope;
mod search;
mod serve;
mod stored;
mod under_way;

use directives::Directives;
use lead::{Led, Trip};
use pass::failed;
use ranges::Ranges;
pub use ready::Hit;
use remember::Remembered;
use serve::Served;
use stored::Turns;
use under_way::UnderWay;

/// How often one request starts again at the lookup.
const ROUNDS: usize = 4;

/// Bounds of one cache; every number in bytes unless its name says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Stored answers in memory, heads and bookkeeping included.
    pub memory: u64,
    /// The largest body that is stored.
    pub object_max: u64,
    /// All bodies being fetched that may still become stored ones.
    pub filling_max: u64,
}

/// The cache of one node: a store, the fetches under way, and the purges in force.
#[derive(Debug)]
pub struct Exchange {
    bounds: Bounds,
    store: Memory,
    /// What is stored beyond memory, and over restarts.
    disk: Option<Arc<Disk>>,
    /// The largest body that is stored where a disk takes it, in bytes.
    sliced_max: u64,
    turns: Turns,
    flights: Arc<Flights>,
    purges: Arc<Table>,
    remembered: Remembered,
    ranges: Arc<Ranges>,
    filling: Arc<Filling>,
    counters: Counters,
    /// Counts markers and heads.
    order: Arc<AtomicU64>,
}

/// One request on its way through the steps.
struct Asked<'a> {
    request: Arc<Request>,
    policy: &'a Arc<Policy>,
    primary: Key,
    identity: Arc<Identity>,
    directives: Directives,
    now: Time,
    fetch: Arc<dyn Fetch>,
}

impl Asked<'_> {
    fn is_authorized(&self) -> bool {
        self.request.headers.contains_key(header::AUTHORIZATION)
    }
}

impl Exchange {
    /// An empty cache.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self::empty(bounds, Arc::default(), 1))
    }

    fn empty(bounds: Bounds, purges: Arc<Table>, order: u64) -> Self {
        // What is heavier than the store is never kept.
        let object_max = bounds.object_max.min(bounds.memory);
        Self {
            bounds: Bounds { object_max, ..bounds },
            store: Memory::new(bounds.memory, bounds.object_max),
            disk: None,
            sliced_max: 0,
            turns: Turns::new(),
            flights: Arc::default(),
            purges,
            remembered: Remembered::new(),
            ranges: Arc::new(Ranges::new()),
            filling: Arc::default(),
            counters: Counters::default(),
            order: Arc::new(AtomicU64::new(order)),
        }
    }

    /// Answers a request, from the store if it may, through `fetch` if it must.
    ///
    /// `policy` is what applies to this request.
    ///
    /// # Errors
    /// When nothing is stored that may be used and upstream gave no answer.
    pub async fn run(self: &Arc<Self>, request: Request, policy: &Arc<Policy>, now: Time, fetch: Arc<dyn Fetch>) -> Result<Answer, Failed> {
        let mut request = request;
        let directives = Directives::of(&request.headers, policy);
        if let Some(reason) = directives.way_past(&request.headers, policy) {
            let status = CacheStatus::forwarded(reason);
            if directives.only_if_cached() {
                return Err(failed(nothing_stored(), status));
            }
            return self.pass(request, &fetch, status).await.map(|(answer, _)| answer);
        }
        cookies::strip(&mut request.headers, &policy.cookies);
        let shown = policy.show_key.then(|| Key::of(&request, policy).readable());
        let mut answered = self.answer(request, policy, directives, now, fetch).await;
        let status = answered.as_mut().map_or_else(|failed| &mut failed.status_of_cache, |answer| &mut answer.status_of_cache);
        status.key = shown;
        answered
    }

    /// Steps 2 to 4.
    async fn answer(
        self: &Arc<Self>,
        request: Request,
        policy: &Arc<Policy>,
        directives: Directives,
        now: Time,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Answer, Failed> {
        if policy.no_vary_search {
            self.load_search_rules(&request, policy, now).await;
        }
        let primary = self.primary(&request, policy);
        let mut found = self.find_stored(&primary, &request, &directives, now).await;
        // The common case first: it needs none of what follows.
        if found.state == State::Fresh
            && let Some(object) = &found.object
            && let Some(answer) = serve::answer(object, &request, now, Served { detail: found.detail, ..Served::hit() })
        {
            let answer = self.with_mend(answer, object, &request, &fetch);
            let is_at_hand = object.body.slices().is_none() || object.body.is_resident();
            let begun = if is_at_hand { Ok(answer) } else { Box::pin(self.begun(answer)).await };
            match begun {
                Ok(answer) => {
                    self.counters.hits.inc();
                    self.note_hit(object);
                    return Ok(answer);
                }
                // Upstream has another one by now: it is fetched, as nothing of this one was sent.
                Err(_) if object.body.is_gone() => {}
                Err(failed) => {
                    self.counters.failed.inc();
                    return Err(failed);
                }
            }
            found = self.find_stored(&primary, &request, &directives, now).await;
        }
        let identity = Arc::new(identity(&request, policy));
        let asked = Asked { request: Arc::new(request), policy, primary, identity, directives, now, fetch };
        self.beyond_fresh(asked, found).await
    }

    /// Whether answers to the request could not be stored lately. What is said of GET goes for HEAD, but not the other way round.
    fn is_remembered(&self, asked: &Asked<'_>) -> bool {
        let is_in = |key: &Key| self.remembered.contains(key, asked.is_authorized(), asked.now);
        is_in(&asked.primary) || (asked.request.head_only && is_in(&asked.primary.head()))
    }

    fn find(&self, primary: &Key, request: &Request, directives: &Directives, now: Time) -> Found {
        let mut found = lookup::find(&self.store, &self.purges, primary, request, now);
        directives.apply(&mut found, now);
        found
    }

    /// Steps 4 to 10.
    async fn beyond_fresh(self: &Arc<Self>, asked: Asked<'_>, mut found: Found) -> Result<Answer, Failed> {
        let mut avoid: Option<Arc<Flight>> = None;
        let mut status = CacheStatus::default();
        for _ in 0..ROUNDS {
            if found.detail == Some("purged") {
                self.counters.purged.inc();
            }
            status = CacheStatus { detail: found.detail, ..CacheStatus::forwarded(found.reason) };
            if let Some(answer) = self.from_store(&asked, &found) {
                return Ok(answer);
            }
            if asked.directives.only_if_cached() {
                return Err(failed(nothing_stored(), status));
            }
            if found.object.is_none() && self.is_remembered(&asked) {
                status.detail = Some("uncacheable");
                return self.pass_remembered(asked, status).await;
            }
            let scope = scope::of(&asked.request, &found, self.slicing(&found.key));
            let alone = found.object.as_ref().is_some_and(|object| object.freshness.is_for_one());
            let joined = if alone {
                Joined::Leader(self.flights.alone(self.flight(&asked, &found)))
            } else {
                self.join(&asked, &found, scope, avoid.as_ref())
            };
            match joined {
                Joined::Leader(lead) => match self.lead(&asked, &found, scope, lead, status.clone()).await {
                    Some(answer) => return answer,
                    None => break,
                },
                Joined::Follower(flight) => {
                    let Some(outcome) = flight.outcome().await else {
                        self.counters.waits_given_up.inc();
                        status.detail = Some("wait-given-up");
                        break;
                    };
                    if let Some(answer) = self.follow(&asked, outcome, &status) {
                        return answer;
                    }
                    avoid = Some(flight);
                }
                Joined::LookAgain => {}
                Joined::Full => {
                    status.detail = Some("flights-full");
                    break;
                }
            }
            found = self.find_stored(&asked.primary, &asked.request, &asked.directives, asked.now).await;
        }
        self.pass_remembered(asked, status).await
    }

    /// Steps 4 to 6.
    fn from_store(self: &Arc<Self>, asked: &Asked<'_>, found: &Found) -> Option<Answer> {
        let object = found.object.as_ref()?;
        let detail = match found.state {
            State::Fresh => found.detail,
            State::StaleWhileRevalidate => {
                let scope = scope::of_refresh(object);
                if lookup::may_retry(&object.retry, asked.now)
                    && let Joined::Leader(lead) = self.join(asked, found, scope, None)
                {
                    tokio::spawn(self.trip(asked, found, scope, lead, None).run());
                }
                Some("stale-while-revalidate")
            }
            State::StaleIfError => Some("stale-if-error"),
            State::Stale | State::Missing => return None,
        };
        let answer = self.of_object(asked, object, Served { detail, ..Served::hit() })?;
        self.counters.hits.inc();
        if detail.is_some() {
            self.counters.stale_hits.inc();
        }
        Some(answer)
    }

    fn flight(&self, asked: &Asked<'_>, found: &Found) -> Arc<Flight> {
        Flight::new(asked.primary.clone(), Arc::clone(&asked.identity), found.position)
    }

    fn join(self: &Arc<Self>, asked: &Asked<'_>, found: &Found, scope: Scope, avoid: Option<&Arc<Flight>>) -> Joined {
        let key = |scope| FlightKey { key: found.key.clone(), authorized: asked.is_authorized(), scope };
        let usable = |flight: &Arc<Flight>| {
            avoid.is_none_or(|avoid| !Arc::ptr_eq(avoid, flight))
                && self.purges.verdict_before_head(&flight.identity, flight.began) != Verdict::Gone
        };
        // Who wants less than the whole is served by the fetch of the whole, if there is one.
        if scope != Scope::Whole
            && let Some(flight) = self.flights.under_way(&key(Scope::Whole), usable)
        {
            return Joined::Follower(flight);
        }
        let changed = || {
            let again = self.find(&asked.primary, &asked.request, &asked.directives, asked.now);
            let same =
                |one: &Option<Arc<Object>>, other: &Option<Arc<Object>>| one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr);
            if found.from_disk {
                // Memory need not have it, or the marker that leads there.
                return again.object.is_some() && !same(&again.object, &found.object);
            }
            again.key != found.key || !same(&again.object, &found.object)
        };
        self.flights.join(&key(scope), || self.flight(asked, found), usable, changed)
    }

    /// The way of a leader.
    fn trip(self: &Arc<Self>, asked: &Asked<'_>, found: &Found, scope: Scope, lead: Lead, client: Option<oneshot::Sender<Led>>) -> Trip {
        Trip {
            exchange: Arc::clone(self),
            request: Arc::clone(&asked.request),
            policy: Arc::clone(asked.policy),
            key: found.key.clone(),
            scope,
            stale: found.object.clone(),
            parts: found.parts.clone(),
            now: asked.now,
            fetch: Arc::clone(&asked.fetch),
            lead,
            client,
            kept_off: false,
        }
    }

    /// Step 9 for the leader's own client; `None` when it has to ask again by itself.
    async fn lead(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        found: &Found,
        scope: Scope,
        lead: Lead,
        mut status: CacheStatus,
    ) -> Option<Result<Answer, Failed>> {
        self.counters.forwarded[found.reason.index()].inc();
        match self.led(asked, found, scope, lead).await {
            Led::Object { object, cursor, own, interim, fwd_status } => {
                status.stored = true;
                status.fwd_status = fwd_status;
                let served = Served { status, cursor, first: fwd_status.is_none(), detail: None };
                let mut answer = self.of_object(asked, &object, served)?;
                answer.headers.extend(own);
                answer.interim = interim;
                Some(Ok(answer))
            }
            Led::Covered { object, interim, detail, fwd_status } => {
                status.fwd_status = fwd_status;
                status.detail = Some(detail);
                let served = Served { status, cursor: None, first: false, detail: None };
                self.of_object(asked, &object, served).map(|answer| Ok(Answer { interim, ..answer }))
            }
            Led::Direct { fetched, refusal } => {
                // The whole was asked for upstream, this client asked for less: let it ask for itself.
                if scope == Scope::Whole && asked.request.headers.contains_key(header::RANGE) && fetched.status.is_success() {
                    return None;
                }
                // Nor does what came of the range alone tell whether the client's own condition for it holds.
                let is_of_range = matches!(fetched.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
                let is_as_asked = !matches!(scope, Scope::Range(fetched) if range::wanted(&asked.request.headers) != Some(fetched));
                if is_of_range && (!is_as_asked || asked.request.headers.contains_key(header::IF_RANGE)) {
                    return None;
                }
                status.detail = Some(refusal.as_str());
                Some(Ok(serve::direct(fetched, &asked.request, status)))
            }
            Led::Failed(error) => Some(Err(failed(error, status))),
        }
    }

    /// Has a leader go, and what it tells its client. No client's leaving stops it.
    async fn led(self: &Arc<Self>, asked: &Asked<'_>, found: &Found, scope: Scope, lead: Lead) -> Led {
        let (client, mut led) = oneshot::channel();
        let mut under_way = UnderWay::new(self.trip(asked, found, scope, lead, Some(client)).run());
        let told = tokio::select! {
            biased;
            told = &mut led => told,
            () = &mut under_way => led.await,
        };
        told.unwrap_or_else(|_| Led::Failed(lost()))
    }

    /// Step 9 for who follows; `None` when the outcome does not fit.
    fn follow(self: &Arc<Self>, asked: &Asked<'_>, outcome: Outcome, status: &CacheStatus) -> Option<Result<Answer, Failed>> {
        let mut status = CacheStatus { collapsed: true, ..status.clone() };
        let object = match outcome {
            Outcome::Object(object) if scope::is_far(&object, &asked.request) => return None,
            Outcome::Object(object) => {
                status.stored = true;
                object
            }
            Outcome::Confirmed(object) => {
                status.fwd_status = Some(304);
                object
            }
            Outcome::Covered(object, detail) => {
                if !object.fits(&asked.request.headers) || self.purges.verdict(&object.identity, &object.mark) == Verdict::Gone {
                    return None;
                }
                status.detail = Some(detail);
                return self
                    .of_object(asked, &object, Served { status, cursor: None, first: false, detail: None })
                    .inspect(|_| self.counters.collapsed.inc())
                    .map(Ok);
            }
            Outcome::Private => return None,
            Outcome::Failed(error) => return Some(Err(failed(error, status))),
        };
        if !self.fits(asked, &object) {
            return None;
        }
        let answer = self.of_object(asked, &object, Served { status, cursor: None, first: false, detail: None })?;
        self.counters.collapsed.inc();
        Some(Ok(answer))
    }

    /// Answers from an object, with what can be done for what the disk lost of it.
    fn of_object(&self, asked: &Asked<'_>, object: &Object, served: Served) -> Option<Answer> {
        let answer = serve::answer(object, &asked.request, asked.now, served)?;
        Some(self.with_mend(answer, object, &asked.request, &asked.fetch))
    }

    /// Whether another request's answer is also this one's: the query, by what the answer says of it, and the variant; not purged; usable
    /// without asking at the later of this request's time and the answer's, and by the request's own directives.
    fn fits(&self, asked: &Asked<'_>, object: &Object) -> bool {
        let same_query = !asked.policy.no_vary_search || self.primary(&asked.request, asked.policy) == object.primary;
        let fresh_enough = asked.directives.accept(&object.freshness, asked.now);
        if !same_query || !fresh_enough || !object.fits(&asked.request.headers) {
            return false;
        }
        let verdict = self.purges.verdict(&object.identity, &object.mark);
        let now = asked.now.max(object.freshness.responded_at);
        verdict != Verdict::Gone
            && matches!(lookup::state(object, verdict == Verdict::Stale, now), State::Fresh | State::StaleWhileRevalidate)
    }

    /// Puts purges in force, in order; returns when no later lookup can use what they name. `snapshot` tells the key rules by which URLs are compared.
    pub fn purge(&self, purges: &[Purge], snapshot: &Snapshot) {
        self.purges.raise(purges, snapshot);
    }

    /// Drops everything stored or being fetched, and takes `seq` as in force: in place of purges that this node missed and can no longer
    /// learn. `seq` may be below the number in force, as when the control plane was put back to an older state; numbers compare nothing then.
    pub fn purge_all_through(&self, seq: u64) {
        self.purges.drop_all(seq);
        self.store.clear();
    }

    /// Takes up the purge position of an earlier run. In memory nothing is stored then; what is on disk is dropped when the table that was kept
    /// with it does not reach so far.
    pub fn resume_at(&self, seq: u64) {
        self.purges.resume(seq);
    }

    /// The number of the last purge in force.
    #[must_use]
    pub fn purge_seq(&self) -> u64 {
        self.purges.seq()
    }

    /// What the cache counts about itself.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            evictions: self.store.evictions(),
            entries: self.store.entries(),
            bytes: self.store.bytes(),
            filling_bytes: self.filling.bytes(),
            flights: self.flights.len() as u64,
            remembered: self.remembered.len(),
            disk: self.disk.as_ref().map(|disk| disk.figures()),
            ..self.counters.figures()
        }
    }

    /// The generation of a marker, or the place of a head among all.
    fn next_in_order(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }
}

/// The names by which a purge means what is stored for a request.
fn identity(request: &Request, policy: &Policy) -> Identity {
    let identity = Identity::of(request, &policy.site, &policy.key);
    if policy.no_vary_search { identity.with_any_query(request, &policy.key) } else { identity }
}

fn nothing_stored() -> FetchError {
    FetchError {
        kind: FetchErrorKind::OnlyIfCached,
        detail: "the client wants only what is stored, and nothing that fits is".to_owned(),
        retry_after: None,
    }
}

fn lost() -> FetchError {
    FetchError { kind: FetchErrorKind::Overload, detail: "the fetch was given up".to_owned(), retry_after: None }
}

#[cfg(test)]
pub(crate) mod tests;
