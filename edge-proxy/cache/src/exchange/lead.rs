//! What the leader of a flight does: ask upstream, judge what comes, tell those who wait, and see the body in.
//!
//! No client's leaving stops what others wait for or what is to be stored, see [`super::under_way`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use skerry_config::site::SetCookie;
use skerry_config::snapshot::Policy;
use tokio::sync::oneshot;

use super::Exchange;
use super::remember::REMEMBER_ERROR;
use super::search::key_under;
use super::serve::{content_length, refused, sound, take_cache_status};
use crate::cacheable::{self, Kept, Question, Refusal, Response};
use crate::conditional;
use crate::control::delta_seconds;
use crate::fetch::{Fetch, FetchError, FetchErrorKind, Fetched, Forward, Interim};
use crate::flight::{FlightKey, Lead, Outcome, Scope};
use crate::freshness::http_date_at;
use crate::key::Key;
use crate::lookup::note_failure;
use crate::no_vary_search;
use crate::object::{Cursor, Growing, Object, Parts, Prepared, storable};
use crate::purge::Tags;
use crate::range::{self, Wanted};
use crate::request::Request;
use crate::store::{Entry, Marker};
use crate::time::Time;
use crate::vary;

mod complete;
mod confirm;
mod fill;
mod keep;
mod sliced;

pub(super) use complete::{is_gap, ranged};

/// A body of at most so many bytes is read, if it is there, before the leader's client is told of its head.
const SHORT_BYTES_MAX: u64 = 64 * 1024;

/// What the leader tells its own client.
pub(super) enum Led {
    /// Answer from this object; the reader was taken when the body was new. `own` are fields of the answer that are for this client only, as
    /// `interim` is.
    Object { object: Arc<Object>, cursor: Option<Cursor>, own: HeaderMap, interim: Vec<Interim>, fwd_status: Option<u16> },
    /// Upstream failed; this stale object covers it.
    Covered { object: Arc<Object>, interim: Vec<Interim>, detail: &'static str, fwd_status: Option<u16> },
    /// The response is for this client only.
    Direct { fetched: Fetched, refusal: Refusal },
    /// No answer.
    Failed(FetchError),
}

/// One fetch from its beginning to its end.
pub(super) struct Trip {
    pub(super) exchange: Arc<Exchange>,
    /// The request of the leader's client.
    pub(super) request: Arc<Request>,
    pub(super) policy: Arc<Policy>,
    /// Where the request was looked up.
    pub(super) key: Key,
    /// How much to ask for.
    pub(super) scope: Scope,
    /// The stored answer that is to be refreshed.
    pub(super) stale: Option<Arc<Object>>,
    /// The parts there are, which the fetch of the whole may complete.
    pub(super) parts: Option<Arc<Parts>>,
    pub(super) now: Time,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) lead: Lead,
    /// The leader's client; none when nobody waits for the answer.
    pub(super) client: Option<oneshot::Sender<Led>>,
    /// The body is too large for memory, and was not asked for often enough to be written.
    pub(super) kept_off: bool,
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
            Ok(Heard::Confirmed(fetched)) => self.confirm(fetched).await,
            Ok(Heard::New(fetched)) if self.scope == Scope::Head => self.receive_head(fetched).await,
            Ok(Heard::New(fetched)) => self.receive(fetched).await,
            Err(error) => {
                self.exchange.counters.failed.inc();
                self.fail(error);
            }
        }
    }

    /// Asks upstream, validating what is stored or completing the parts of it.
    async fn ask(&self) -> Result<Heard, FetchError> {
        let is_large = |parts: &Arc<Parts>| self.exchange.slicing(&self.key).is_some_and(|slicing| slicing.takes(parts.head()));
        if let Some(parts) = self.parts.as_ref().filter(|parts| self.scope == Scope::Whole && !is_large(parts))
            && let Some(fetched) = self.complete(parts).await?
        {
            return Ok(Heard::New(fetched));
        }
        let validators = |object: &Arc<Object>| [header::ETAG, header::LAST_MODIFIED].iter().any(|name| object.headers.contains_key(name));
        let mut validating = self.stale.as_ref().filter(|object| object.part.is_none() && validators(object));
        loop {
            let mut request = self.upstream_request();
            if let Some(object) = validating {
                conditional::validate(&mut request.headers, &object.headers);
            }
            let fetched = self.fetch(request).await?;
            match (fetched.status, validating) {
                (StatusCode::NOT_MODIFIED, Some(object)) if conditional::confirms(&fetched.headers, &object.headers) => {
                    return Ok(Heard::Confirmed(fetched));
                }
                // A 304 about something else: ask once more, for the thing itself.
                (StatusCode::NOT_MODIFIED, Some(_)) => validating = None,
                (StatusCode::NOT_MODIFIED, None) => return Err(refused(FetchErrorKind::Unasked304, "a 304 that nobody asked for")),
                (StatusCode::PARTIAL_CONTENT, _) => return self.checked_part(fetched).map(Heard::New),
                _ => return Ok(Heard::New(fetched)),
            }
        }
    }

    /// A 206, if it holds the range that was asked for and says nothing that contradicts it.
    fn checked_part(&self, fetched: Fetched) -> Result<Fetched, FetchError> {
        let Scope::Range(wanted) = self.scope else { return Err(refused(FetchErrorKind::Unasked206, "a 206 that nobody asked for")) };
        let part = range::content_range(&fetched.headers).map_err(|why| wrong_range(why.as_str()))?;
        if !part.answers(&wanted) {
            return Err(wrong_range(&format!("bytes {}-{} where {wanted} was asked for", part.start, part.end - 1)));
        }
        if content_length(&fetched.headers)?.is_some_and(|length| length != part.end - part.start) {
            return Err(wrong_range("a content-length that contradicts the content-range"));
        }
        Ok(fetched)
    }

    async fn fetch(&self, request: Request) -> Result<Fetched, FetchError> {
        self.fetch.fetch(Forward { request, purge_seq: self.lead.flight.began.seq }).await.and_then(sound)
    }

    /// The request as it goes upstream: without this client's conditions, for as much as is to be fetched.
    fn upstream_request(&self) -> Request {
        let mut request = Request::clone(&self.request);
        conditional::strip(&mut request.headers);
        request.head_only = self.scope == Scope::Head;
        if let Scope::Range(wanted) = self.scope
            && let Ok(range) = HeaderValue::from_str(&wanted.to_string())
        {
            request.headers.insert(header::RANGE, range);
        }
        request
    }

    /// The request for some bytes of the representation with this entity tag.
    fn bytes_request(&self, first: u64, end: Option<u64>, etag: &HeaderValue) -> Request {
        let mut request = Request::clone(&self.request);
        conditional::strip(&mut request.headers);
        request.head_only = false;
        let wanted = Wanted::From { first, last: end.map(|end| end - 1) };
        if let Ok(range) = HeaderValue::from_str(&wanted.to_string()) {
            request.headers.insert(header::RANGE, range);
            request.headers.insert(header::IF_RANGE, etag.clone());
        }
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
        if let Some(object) = self.coverable(error.retry_after.map(|seconds| Duration::from_secs(seconds.into()))) {
            return self.cover(object, Vec::new(), error.kind.as_str(), None);
        }
        self.lead.publish(Outcome::Failed(error.clone()));
        self.tell(Led::Failed(error));
    }

    /// The stored answer, if it may stand in for a failure; the failure is noted on it, with how long upstream wants to be left alone.
    fn coverable(&self, wait: Option<Duration>) -> Option<Arc<Object>> {
        let object = self.stale.as_ref()?;
        note_failure(&object.retry, wait);
        object.freshness.may_cover_error(self.now).then(|| Arc::clone(object))
    }

    fn cover(&mut self, object: Arc<Object>, interim: Vec<Interim>, detail: &'static str, fwd_status: Option<u16>) {
        self.lead.publish(Outcome::Covered(Arc::clone(&object), detail));
        self.tell(Led::Covered { object, interim, detail, fwd_status });
    }

    /// An answer other than 304.
    async fn receive(&mut self, fetched: Fetched) {
        // RFC 5861 section 4 names the errors that a stale answer may cover; an upstream that is asked too much (RFC 6585 section 4) is no better.
        if matches!(fetched.status.as_u16(), 429 | 500 | 502 | 503 | 504)
            && let Some(object) = self.coverable(retry_after(&fetched))
        {
            return self.cover(object, fetched.interim, "stale-if-error", Some(fetched.status.as_u16()));
        }
        let response = Response {
            status: fetched.status,
            headers: &fetched.headers,
            age: fetched.age,
            requested_at: fetched.requested_at,
            responded_at: fetched.responded_at,
        };
        let length = content_length(&fetched.headers).unwrap_or(None);
        match self.judge(response) {
            Ok(_) if self.scope != Scope::Head && length.is_some_and(|length| length > self.object_max()) => {
                self.refuse(fetched, Refusal::TooLarge);
            }
            Ok(kept) => self.keep(fetched, kept, length).await,
            Err(refusal) => self.refuse(fetched, refusal),
        }
    }

    fn judge(&self, response: Response<'_>) -> Result<Kept, Refusal> {
        let question = Question {
            headers: &self.request.headers,
            path: crate::key::split(&self.request.path_and_query).0,
            ranged: matches!(self.scope, Scope::Range(_)),
        };
        cacheable::judge(question, response, &self.policy)
    }

    /// The largest body that is stored, in bytes.
    fn object_max(&self) -> u64 {
        let most = if self.scope == Scope::Whole { self.exchange.object_max() } else { self.exchange.bounds.object_max };
        most.min(self.policy.object_max.unwrap_or(u64::MAX))
    }

    /// An answer that may not be stored: everybody goes upstream alone, and later requests do so at once.
    fn refuse(&mut self, fetched: Fetched, refusal: Refusal) {
        let exchange = &self.exchange;
        exchange.counters.uncacheable[refusal.index()].inc();
        let is_error = fetched.status.is_server_error();
        // A range that is not there, and a request that came too early (RFC 8470 section 5.2), say nothing about the resource.
        if !matches!(fetched.status, StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::TOO_EARLY) {
            self.remember(is_error, fetched.responded_at);
            if !is_error && self.stale.is_some() {
                exchange.take_away(&self.key.head());
                // What an origin says to HEAD alone is no word about GET.
                if self.scope != Scope::Head {
                    exchange.take_away(&self.key);
                }
            }
        }
        self.lead.publish(Outcome::Private);
        self.tell(Led::Direct { fetched, refusal });
    }

    /// Lets later requests for the key go upstream at once.
    fn remember(&self, is_error: bool, now: Time) {
        let period = if is_error { self.policy.hit_for_miss.0.min(REMEMBER_ERROR) } else { self.policy.hit_for_miss.0 };
        if !period.is_zero() {
            let primary = &self.lead.flight.primary;
            let key = if self.scope == Scope::Head { primary.head() } else { primary.clone() };
            self.exchange.remembered.insert(&key, self.is_authorized(), now.plus(period));
        }
    }

    fn is_authorized(&self) -> bool {
        self.request.headers.contains_key(header::AUTHORIZATION)
    }

    /// An answer that may be stored: everybody reads along while it grows.
    async fn keep(&mut self, mut fetched: Fetched, kept: Kept, length: Option<u64>) {
        let upstream_status = take_cache_status(&mut fetched.headers);
        let tags = Tags::of(&fetched.headers);
        if tags.overflowed() {
            self.exchange.counters.tags_overflowed.inc();
        }
        let primary = self.primary(&fetched.headers);
        let (key, generation) = self.place(&primary, &kept.fields);
        let own = self.own_fields(&fetched.headers, &kept.omit);
        let sliced = self.sliced((fetched.status, &fetched.headers), &kept, length, &key).await;
        let body = match &sliced {
            Some(sliced) => Arc::clone(&sliced.body),
            None => Growing::new(Arc::clone(&self.exchange.filling)),
        };
        let cursor = body.cursor();
        if kept.part.is_some() {
            fetched.headers.remove(header::CONTENT_RANGE);
        }
        if let Some(sliced) = &sliced {
            sliced.note_in(&mut fetched.headers);
        }
        let head_only = self.scope == Scope::Head;
        let object = Arc::new(Object {
            key: if head_only { key.head() } else { key },
            primary,
            generation,
            // Stored parts answer as the whole would, so far as they reach.
            status: if kept.part.is_some() { StatusCode::OK } else { fetched.status },
            headers: storable(&fetched.headers, &kept.omit, fetched.responded_at),
            aged: fetched.headers.contains_key(header::AGE),
            upstream_status,
            freshness: kept.freshness,
            fields: kept.fields,
            identity: Arc::clone(&self.lead.flight.identity),
            mark: self.mark(tags, &fetched.headers),
            length: kept.part.map_or(length, |part| part.total),
            part: kept.part.filter(|_| sliced.is_none()),
            head_only,
            body,
            retry: AtomicU64::new(0),
            prepared: Prepared::default(),
            asked_again: AtomicBool::new(false),
        });
        if !head_only {
            self.lead.also_known_as(FlightKey { key: object.key.clone(), authorized: self.is_authorized(), scope: self.scope });
        }
        let rest = match sliced {
            Some(sliced) => {
                sliced.depart(fetched.body);
                None
            }
            None => Some(fetched.body),
        };
        self.lead.publish(Outcome::Object(Arc::clone(&object)));
        self.tell(Led::Object { object: Arc::clone(&object), cursor, own, interim: fetched.interim, fwd_status: None });
        let Some(body) = rest else { return self.keep_sliced(&object).await };
        if head_only {
            object.body.finish();
            self.store(&object).await;
            return self.lead.land();
        }
        // A short body is mostly there with its head; before a longer one the client is told.
        if length.is_none_or(|length| length > SHORT_BYTES_MAX) {
            tokio::task::yield_now().await;
        }
        self.fill(object, body).await;
    }

    /// The fields that are not stored but go to the client that asked, unless the site takes them out of what is stored, for everybody.
    fn own_fields(&self, headers: &HeaderMap, omit: &[HeaderName]) -> HeaderMap {
        let taken_out = |name: &HeaderName| *name == header::SET_COOKIE && self.policy.cookies.set_cookie == SetCookie::Strip;
        let mut own = HeaderMap::new();
        for name in omit.iter().filter(|name| !taken_out(name)) {
            for value in headers.get_all(name) {
                own.append(name.clone(), value.clone());
            }
        }
        own
    }

    /// The key under which an answer that varies on these fields is stored below `primary`; leaves the marker that leads there.
    fn place(&self, primary: &Key, fields: &vary::Fields) -> (Key, u64) {
        if fields.is_empty() {
            return (primary.clone(), 0);
        }
        let generation = match self.exchange.store.get(primary) {
            Some(Entry::Marker(marker)) if marker.fields == *fields => marker.generation,
            _ => {
                let generation = self.exchange.next_in_order();
                let marker = Marker { fields: Arc::clone(fields), generation };
                self.exchange.put_in_turn(primary.clone(), Entry::Marker(Arc::new(marker)));
                generation
            }
        };
        (vary::key(primary, generation, fields, &self.request.headers), generation)
    }

    /// The key before any variant, by what the answer says of the query.
    fn primary(&self, headers: &HeaderMap) -> Key {
        if !self.policy.no_vary_search {
            return self.lead.flight.primary.clone();
        }
        let rules = no_vary_search::Rules::of(headers);
        self.exchange.note_search_rules(&self.request, &self.policy, rules.as_ref());
        key_under(&self.request, &self.policy, rules.as_ref())
    }
}

/// How long upstream asks to be left alone (RFC 9110 section 10.2.3).
fn retry_after(fetched: &Fetched) -> Option<Duration> {
    let value = fetched.headers.get(header::RETRY_AFTER)?.as_bytes().trim_ascii();
    let seconds = delta_seconds(value).or_else(|| {
        let at = http_date_at(std::str::from_utf8(value).ok()?, fetched.responded_at)?;
        Some(at.saturating_sub(fetched.responded_at.seconds()))
    });
    seconds.map(Duration::from_secs)
}

fn wrong_range(detail: &str) -> FetchError {
    refused(FetchErrorKind::WrongRange, detail)
}
