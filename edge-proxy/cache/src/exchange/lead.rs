//! What the leader of a flight does: ask upstream, judge what comes, tell those who wait, and see the body in.
//!
//! Runs as a task of its own, so that no client's leaving stops what others wait for or what is to be stored.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{StatusCode, header};
use skerry_config::snapshot::Policy;
use tokio::sync::oneshot;

use super::Exchange;
use super::remember::{REMEMBER, REMEMBER_ERROR};
use super::serve::{content_length, protocol, sound, take_cache_status};
use crate::cacheable::{self, Kept, Question, Refusal, Response};
use crate::conditional;
use crate::fetch::{Fetch, FetchError, Fetched, Forward};
use crate::flight::{FlightKey, Lead, Outcome};
use crate::freshness::Freshness;
use crate::key::{Key, split};
use crate::lookup::note_failure;
use crate::object::{Cursor, Growing, Object, storable};
use crate::purge::{Mark, Tags, Verdict};
use crate::request::Request;
use crate::store::{Entry, Marker};
use crate::time::Time;
use crate::vary;

mod fill;

/// What the leader tells its own client.
pub(super) enum Led {
    /// Answer from this object; the reader was taken when the body was new.
    Object { object: Arc<Object>, cursor: Option<Cursor>, fwd_status: Option<u16> },
    /// Upstream failed; this stale object covers it.
    Covered { object: Arc<Object>, detail: &'static str, fwd_status: Option<u16> },
    /// The response is for this client only.
    Direct { fetched: Fetched, refusal: Refusal },
    /// No answer.
    Failed(FetchError),
}

/// One fetch from its beginning to its end.
pub(super) struct Trip {
    pub(super) exchange: Arc<Exchange>,
    /// The request of the leader's client.
    pub(super) request: Request,
    pub(super) policy: Arc<Policy>,
    /// Where the request was looked up.
    pub(super) key: Key,
    /// The stored answer that is to be refreshed.
    pub(super) stale: Option<Arc<Object>>,
    pub(super) now: Time,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) lead: Lead,
    /// The leader's client; none when nobody waits for the answer.
    pub(super) client: Option<oneshot::Sender<Led>>,
}

/// What upstream answered.
enum Heard {
    /// 304: the stored answer holds.
    Confirmed(Fetched),
    /// Another answer.
    New(Fetched),
}

impl Trip {
    pub(super) async fn run(mut self) {
        match self.ask().await {
            Ok(Heard::Confirmed(fetched)) => self.confirm(&fetched),
            Ok(Heard::New(fetched)) => self.receive(fetched).await,
            Err(error) => {
                self.exchange.counters.failed.inc();
                self.fail(error);
            }
        }
    }

    /// Asks upstream for the whole, validating what is stored.
    async fn ask(&self) -> Result<Heard, FetchError> {
        let validators = |object: &Arc<Object>| [header::ETAG, header::LAST_MODIFIED].iter().any(|name| object.headers.contains_key(name));
        let mut validating = self.stale.as_ref().filter(|object| validators(object));
        loop {
            let mut request = self.whole_request();
            if let Some(object) = validating {
                conditional::validate(&mut request.headers, &object.headers);
            }
            let fetched = self.fetch.fetch(Forward { request, purge_seq: self.lead.flight.stamp }).await.and_then(sound)?;
            match (fetched.status, validating) {
                (StatusCode::NOT_MODIFIED, Some(object)) if conditional::confirms(&fetched.headers, &object.headers) => {
                    return Ok(Heard::Confirmed(fetched));
                }
                // A 304 about something else: ask once more, for the thing itself.
                (StatusCode::NOT_MODIFIED, Some(_)) => validating = None,
                (StatusCode::NOT_MODIFIED, None) => return Err(protocol("a 304 that nobody asked for".to_owned())),
                (StatusCode::PARTIAL_CONTENT, _) => return Err(protocol("a 206 that nobody asked for".to_owned())),
                _ => return Ok(Heard::New(fetched)),
            }
        }
    }

    fn question(&self) -> Question<'_> {
        Question { path: split(&self.request.path_and_query).0, headers: &self.request.headers, ranged: false }
    }

    fn whole_request(&self) -> Request {
        let mut request = self.request.clone();
        conditional::strip(&mut request.headers);
        request.head_only = false;
        request
    }

    fn tell(&mut self, led: Led) {
        if let Some(client) = self.client.take() {
            // A client that left needs no answer.
            let _ = client.send(led);
        }
    }

    /// Upstream gave no answer.
    fn fail(&mut self, error: FetchError) {
        if let Some(object) = self.coverable() {
            return self.cover(object, error.kind.as_str(), None);
        }
        self.lead.publish(Outcome::Failed(error.clone()));
        self.tell(Led::Failed(error));
    }

    /// The stored answer, if it may stand in for a failure; the failure is noted on it.
    fn coverable(&self) -> Option<Arc<Object>> {
        let object = self.stale.as_ref()?;
        note_failure(&object.retry);
        object.freshness.may_cover_error(self.now).then(|| Arc::clone(object))
    }

    fn cover(&mut self, object: Arc<Object>, detail: &'static str, fwd_status: Option<u16>) {
        self.lead.publish(Outcome::Covered(Arc::clone(&object), detail));
        self.tell(Led::Covered { object, detail, fwd_status });
    }

    /// An answer other than 304.
    async fn receive(&mut self, fetched: Fetched) {
        // RFC 5861 section 4 names the errors that a stale answer may cover.
        if matches!(fetched.status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(object) = self.coverable()
        {
            return self.cover(object, "stale-if-error", Some(fetched.status.as_u16()));
        }
        let response = Response {
            status: fetched.status,
            headers: &fetched.headers,
            requested_at: fetched.requested_at,
            responded_at: fetched.responded_at,
        };
        let length = content_length(&fetched.headers).unwrap_or(None);
        let kept = cacheable::judge(self.question(), response, &self.policy);
        match kept {
            Ok(_) if length.is_some_and(|length| length > self.exchange.bounds.object_max) => self.refuse(fetched, Refusal::TooLarge),
            Ok(kept) => self.keep(fetched, kept, length).await,
            Err(refusal) => self.refuse(fetched, refusal),
        }
    }

    /// An answer that may not be stored: everybody goes upstream alone, and later requests do so at once.
    fn refuse(&mut self, fetched: Fetched, refusal: Refusal) {
        let exchange = &self.exchange;
        exchange.counters.uncacheable.inc();
        let is_error = fetched.status.is_server_error();
        self.remember(if is_error { REMEMBER_ERROR } else { REMEMBER }, fetched.responded_at);
        if !is_error && self.stale.is_some() {
            exchange.store.remove(&self.key);
        }
        self.lead.publish(Outcome::Private);
        self.tell(Led::Direct { fetched, refusal });
    }

    fn remember(&self, period: std::time::Duration, now: Time) {
        self.exchange.remembered.insert(&self.lead.flight.primary, self.is_authorized(), now.plus(period));
    }

    fn is_authorized(&self) -> bool {
        self.request.headers.contains_key(header::AUTHORIZATION)
    }

    /// An answer that may be stored: everybody reads along while it grows.
    async fn keep(&mut self, mut fetched: Fetched, kept: Kept, length: Option<u64>) {
        let upstream_status = take_cache_status(&mut fetched.headers);
        let body = Growing::new(Arc::clone(&self.exchange.filling));
        let cursor = body.cursor();
        let tags = Tags::of(&fetched.headers);
        if tags.overflowed() {
            self.exchange.counters.tags_overflowed.inc();
        }
        let (key, generation) = self.place(&kept.fields);
        let object = Arc::new(Object {
            key,
            primary: self.lead.flight.primary.clone(),
            generation,
            status: fetched.status,
            headers: storable(&fetched.headers, &kept.omit, fetched.responded_at),
            aged: fetched.headers.contains_key(header::AGE),
            upstream_status,
            freshness: kept.freshness,
            fields: kept.fields,
            identity: Arc::clone(&self.lead.flight.identity),
            mark: Mark::new(self.lead.flight.stamp, tags),
            length,
            body,
            retry: AtomicU64::new(0),
        });
        self.lead.also_known_as(FlightKey { key: object.key.clone(), authorized: self.is_authorized() });
        self.lead.publish(Outcome::Object(Arc::clone(&object)));
        self.tell(Led::Object { object: Arc::clone(&object), cursor, fwd_status: None });
        self.fill(object, fetched.body).await;
    }

    /// The key under which an answer that varies on these fields is stored; leaves the marker that leads there.
    fn place(&self, fields: &vary::Fields) -> (Key, u64) {
        let primary = &self.lead.flight.primary;
        if fields.is_empty() {
            return (primary.clone(), 0);
        }
        let generation = match self.exchange.store.get(primary) {
            Some(Entry::Marker(marker)) if marker.fields == *fields => marker.generation,
            _ => {
                let generation = self.exchange.next_generation();
                if !self.lead.flight.is_spoiled() {
                    self.exchange.store.insert(primary.clone(), Entry::Marker(Arc::new(Marker { fields: Arc::clone(fields), generation })));
                }
                generation
            }
        };
        (vary::key(primary, generation, fields, &self.request.headers), generation)
    }

    /// 304: the stored answer with the fields of this one (RFC 9111 section 4.3.4), its body shared.
    fn confirm(&mut self, fetched: &Fetched) {
        let Some(stale) = self.stale.clone() else { return };
        self.exchange.counters.revalidated.inc();
        let mut merged = conditional::updated(&stale.headers, &fetched.headers);
        let upstream_status = take_cache_status(&mut merged);
        let response =
            Response { status: stale.status, headers: &merged, requested_at: fetched.requested_at, responded_at: fetched.responded_at };
        let judged = cacheable::judge(self.question(), response, &self.policy);
        let (freshness, fields, omit) = match &judged {
            Ok(kept) => (kept.freshness.clone(), Arc::clone(&kept.fields), kept.omit.as_slice()),
            Err(_) => (Freshness { responded_at: fetched.responded_at, ..stale.freshness.clone() }, Arc::clone(&stale.fields), &[][..]),
        };
        let (key, generation) = if fields == stale.fields { (stale.key.clone(), stale.generation) } else { self.place(&fields) };
        let object = Arc::new(Object {
            key,
            primary: stale.primary.clone(),
            generation,
            status: stale.status,
            headers: storable(&merged, omit, fetched.responded_at),
            aged: fetched.headers.contains_key(header::AGE),
            upstream_status,
            freshness,
            fields,
            identity: Arc::clone(&stale.identity),
            mark: Mark::new(self.lead.flight.stamp, Tags::of(&merged)),
            length: stale.length,
            body: Arc::clone(&stale.body),
            retry: AtomicU64::new(0),
        });
        match judged {
            Ok(_) => {
                self.store(&object);
                self.lead.publish(Outcome::Confirmed(Arc::clone(&object)));
            }
            Err(_) => {
                self.exchange.store.remove(&self.key);
                self.remember(REMEMBER, fetched.responded_at);
                self.lead.publish(Outcome::Private);
            }
        }
        let cursor = object.body.cursor();
        self.tell(Led::Object { object, cursor, fwd_status: Some(StatusCode::NOT_MODIFIED.as_u16()) });
    }

    /// Stores an object whose body is whole, unless a purge, an unsafe request or a later answer was quicker.
    fn store(&self, object: &Arc<Object>) -> bool {
        let exchange = &self.exchange;
        let fits = object.weight() <= exchange.bounds.memory.min(crate::store::ENTRY_MAX);
        let gone = exchange.purges.verdict(&object.identity, &object.mark) == Verdict::Gone;
        if !fits || gone || self.lead.flight.is_spoiled() || !object.body.is_whole() {
            return false;
        }
        if let Some(Entry::Object(there)) = exchange.store.get(&object.key)
            && (there.mark.stamp(), there.freshness.responded_at) > (object.mark.stamp(), object.freshness.responded_at)
        {
            return false;
        }
        exchange.store.insert(object.key.clone(), Entry::Object(Arc::clone(object)));
        exchange.counters.stored.inc();
        true
    }
}
