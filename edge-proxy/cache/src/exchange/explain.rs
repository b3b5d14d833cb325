//! Explaining a request: the steps of [`Exchange::run`] gone along with the same lookups, up to where they would change something.
//!
//! Changes nothing that is stored and asks nobody but the disk, of which nothing goes into memory for it but rules for queries. A look is still a look: it counts for what the store keeps when it is full, and it starts
//! the second after a failed refresh, as any request's would.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use skerry_config::snapshot::Policy;

use super::directives::Directives;
use super::{Exchange, scope};
use crate::answer::Forwarded;
use crate::cookies;
use crate::explain::{
    Age, Bytes, Compared, Explanation, Field, KeyView, Lifetime, Moment, Next, Outcome, Purges, Stored, Tier, Variant, Verdict as Shown,
    Window,
};
use crate::flight::{Flight, FlightKey, Scope};
use crate::freshness::Source;
use crate::key::Key;
use crate::lookup::{Found, State};
use crate::object::{Object, http_date};
use crate::purge::Verdict;
use crate::request::Request;
use crate::store::Entry;
use crate::time::Time;
use crate::vary;

impl Exchange {
    /// Says what is stored for a GET of `request`, and what such a request would get at `now` and why. `policy` is as for [`Self::run`].
    pub async fn explain(&self, request: &Request, policy: &Policy, now: Time) -> Explanation {
        let directives = Directives::of(&request.headers, policy);
        let past = directives.way_past(&request.headers, policy);
        let mut request = request.clone();
        cookies::strip(&mut request.headers, &policy.cookies);
        let request = &request;
        self.load_search_rules(request, policy, now).await;
        let primary = self.primary(request, policy);
        let (found, on_disk) = self.find_without_use(&primary, request, &directives, now).await;
        let seen = |key: &Key| match self.store.get(key) {
            Some(entry) => Some((entry, Tier::Memory)),
            None => on_disk.iter().find(|(known, _)| known == key).map(|(_, entry)| (entry.clone(), Tier::Disk)),
        };
        let authorized = request.headers.contains_key(header::AUTHORIZATION);
        // As it is in the store: a lookup hides what a purge took away.
        let (object, parts, tier) = match seen(&found.key) {
            Some((Entry::Object(object), tier)) => (Some(object), Vec::new(), tier),
            Some((Entry::Parts(parts), tier)) => {
                (Some(Arc::clone(parts.head())), parts.runs().iter().map(|run| bytes(run)).collect(), tier)
            }
            Some((Entry::Marker(_) | Entry::Search(_), _)) | None => (None, Vec::new(), Tier::Memory),
        };
        let scope = scope::of(request, &found, self.slicing(&found.key));
        let looked = Looked {
            past,
            only_if_cached: directives.only_if_cached(),
            uncacheable_until: self.remembered.until(&primary, authorized, now),
            fetching: [Scope::Whole, scope]
                .into_iter()
                .any(|scope| self.is_fetching(&FlightKey { key: found.key.clone(), authorized, scope })),
            purges: self.compared(object.as_ref()),
            found,
            now,
        };
        Explanation {
            now: moment(now),
            policy: policy.clone(),
            key: KeyView { text: primary.readable(), hash: hex(&primary) },
            variant: seen(&primary).and_then(|(entry, _)| variant(&entry, &looked.found.key, request)),
            stored: object.as_deref().map(|object| Stored { parts, ..stored(object, tier, now) }),
            uncacheable_until: looked.uncacheable_until.map(moment),
            fetching: looked.fetching,
            next: looked.next(),
            purges: looked.purges,
        }
    }

    /// Whether a fetch is under way that a request may join.
    fn is_fetching(&self, key: &FlightKey) -> bool {
        let usable = |flight: &Arc<Flight>| self.purges.verdict_before_head(&flight.identity, flight.began) != Verdict::Gone;
        self.flights.under_way(key, usable).is_some()
    }

    fn compared(&self, object: Option<&Arc<Object>>) -> Purges {
        let in_force = self.purges.seq();
        let Some(object) = object else { return Purges { in_force, invalidated: false, stamp: None, compared: Vec::new(), verdict: None } };
        let compared = self.purges.compared(&object.identity, &object.mark, &object.headers).into_iter();
        let compared =
            compared.map(|one| Compared { kind: one.kind, name: one.name, hard: one.hard, soft: one.soft, verdict: shown(one.verdict) });
        let verdict = shown(self.purges.verdict(&object.identity, &object.mark));
        let invalidated = self.purges.is_invalidated(&object.identity, &object.mark);
        Purges { in_force, invalidated, stamp: Some(object.mark.stamp()), compared: compared.collect(), verdict: Some(verdict) }
    }
}

/// The variant that a marker leads to.
fn variant(entry: &Entry, key: &Key, request: &Request) -> Option<Variant> {
    let Entry::Marker(marker) = entry else { return None };
    let field = |name: &HeaderName| Field {
        name: name.as_str().to_owned(),
        value: vary::value(name, &request.headers).map(|value| String::from_utf8_lossy(&value).into_owned()),
    };
    Some(Variant { fields: marker.fields.iter().map(field).collect(), hash: hex(key) })
}

/// Everything the steps look at.
struct Looked {
    past: Option<Forwarded>,
    only_if_cached: bool,
    found: Found,
    purges: Purges,
    uncacheable_until: Option<Time>,
    fetching: bool,
    now: Time,
}

impl Looked {
    /// The steps of [`Exchange::run`], in their order.
    fn next(&self) -> Next {
        if let Some(reason) = self.past {
            let who = if reason == Forwarded::Bypass { "the site's policy keeps" } else { "its own no-store keeps" };
            let why = format!("{who} the request away from the cache");
            return if self.only_if_cached { refused(reason, &why) } else { upstream(Outcome::Pass, reason, None, why) };
        }
        let Found { object, state, reason, detail, .. } = &self.found;
        let hit = |outcome, detail, why| Next { outcome, fwd: None, detail, why };
        match (state, object) {
            (State::Fresh, Some(object)) if *detail == Some("max-stale") => {
                return hit(Outcome::Hit, *detail, format!("{}, which the request's max-stale allows", self.stale(object)));
            }
            (State::Fresh, Some(object)) => return hit(Outcome::Hit, None, format!("fresh for {} more", left(object, self.now))),
            (State::StaleWhileRevalidate, Some(object)) => {
                let (over, window) = (self.stale(object), window(object, object.freshness.stale_while_revalidate, self.now));
                let why = format!("{over}, but within stale-while-revalidate for {} more; it is refreshed behind the answer", window);
                return hit(Outcome::StaleWhileRevalidate, Some("stale-while-revalidate"), why);
            }
            (State::StaleIfError, Some(object)) => {
                let (over, window) = (self.stale(object), window(object, object.freshness.stale_if_error, self.now));
                let why = format!("{over}, but a refresh failed a moment ago, and stale-if-error holds for {} more", window);
                return hit(Outcome::StaleIfError, Some("stale-if-error"), why);
            }
            _ => {}
        }
        if self.only_if_cached {
            return refused(*reason, "nothing that is stored may be used");
        }
        if object.is_none()
            && let Some(until) = self.uncacheable_until
        {
            let left = spoken(until.since(self.now));
            let why = format!(
                "an answer for this key could not be stored; for {left} more its requests go upstream without waiting for each other"
            );
            return upstream(Outcome::Pass, *reason, Some("uncacheable"), why);
        }
        let alone = object.as_ref().is_some_and(|object| object.freshness.is_for_one());
        if self.fetching && !alone {
            let why = "another request's fetch is under way, and this one gets its answer if it fits".to_owned();
            return upstream(Outcome::Collapse, *reason, *detail, why);
        }
        match object {
            Some(object) => self.refreshed(object),
            None => upstream(Outcome::Miss, *reason, *detail, self.missing()),
        }
    }

    /// A stored response that may not be used without asking.
    fn refreshed(&self, object: &Object) -> Next {
        let has = |name: HeaderName| object.headers.contains_key(name);
        let (outcome, how) = match (has(header::ETAG), has(header::LAST_MODIFIED)) {
            (true, _) => (Outcome::Validate, "it is validated by its ETag"),
            (false, true) => (Outcome::Validate, "it is validated by its Last-Modified"),
            (false, false) => (Outcome::Miss, "it has no validator, so it is fetched whole"),
        };
        let mut why = format!("{}; {how}", self.stale(object));
        if object.freshness.may_cover_error(self.now) {
            let left = window(object, object.freshness.stale_if_error, self.now);
            why.push_str(&format!("; should upstream fail, stale-if-error holds for {left} more"));
        }
        upstream(outcome, self.found.reason, self.found.detail, why)
    }

    /// Why a stored response is not fresh.
    fn stale(&self, object: &Object) -> String {
        if self.purges.verdict == Some(Shown::Stale) {
            return format!("{} made it stale", self.deciding(Shown::Stale));
        }
        if self.found.reason == Forwarded::Request {
            return "what is stored does not satisfy the request's directives".to_owned();
        }
        if object.freshness.no_cache {
            return "no-cache asks for validation on every use".to_owned();
        }
        if object.freshness.lifetime.is_zero() {
            return "it has no lifetime".to_owned();
        }
        format!("stale for {}", left(object, self.now))
    }

    fn missing(&self) -> String {
        match (self.purges.verdict, self.found.reason) {
            (Some(Shown::Gone), _) => format!("{} removed what is stored", self.deciding(Shown::Gone)),
            (_, Forwarded::Partial) => "only parts are stored, and not all that the request needs".to_owned(),
            (_, Forwarded::VaryMiss) => "nothing is stored for this variant".to_owned(),
            _ => "nothing is stored for this key".to_owned(),
        }
    }

    /// The purge that decided, as a subject.
    fn deciding(&self, verdict: Shown) -> String {
        if self.purges.invalidated {
            return "an unsafe request or a cache group".to_owned();
        }
        let deciding = self.purges.compared.iter().filter(|one| one.verdict == verdict);
        let numbered = deciding.map(|one| (if verdict == Shown::Gone { one.hard } else { one.soft }, one));
        match numbered.max_by_key(|(number, _)| *number) {
            Some((number, one)) => format!("purge {number} (by {})", one.kind),
            None => "a purge".to_owned(),
        }
    }
}

fn refused(reason: Forwarded, why: &str) -> Next {
    upstream(Outcome::Refuse, reason, Some("only-if-cached"), format!("{why}, and the request wants nothing else (only-if-cached)"))
}

fn upstream(outcome: Outcome, reason: Forwarded, detail: Option<&'static str>, why: String) -> Next {
    Next { outcome, fwd: Some(reason.as_str()), detail, why }
}

fn stored(object: &Object, tier: Tier, now: Time) -> Stored {
    let freshness = &object.freshness;
    let text =
        |name: HeaderName, headers: &HeaderMap| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let current = freshness.age(now);
    Stored {
        tier,
        status: object.status.as_u16(),
        stored_at: moment(freshness.responded_at),
        age: Age {
            initial_ms: millis(freshness.initial_age),
            resident_ms: millis(now.since(freshness.responded_at)),
            current_ms: millis(current),
        },
        lifetime: Lifetime {
            lifetime_ms: millis(freshness.lifetime),
            source: source(freshness.source),
            remaining_ms: difference(freshness.lifetime, current),
            no_cache: freshness.no_cache,
        },
        stale_while_revalidate: Window {
            window_ms: millis(freshness.stale_while_revalidate),
            remaining_ms: difference(freshness.lifetime.saturating_add(freshness.stale_while_revalidate), current),
            open: freshness.may_revalidate_behind(now),
        },
        stale_if_error: Window {
            window_ms: millis(freshness.stale_if_error),
            remaining_ms: difference(freshness.lifetime.saturating_add(freshness.stale_if_error), current),
            open: freshness.may_cover_error(now),
        },
        etag: text(header::ETAG, &object.headers),
        last_modified: text(header::LAST_MODIFIED, &object.headers),
        length: object.length(),
        parts: Vec::new(),
        tags: object.mark.tags().len(),
        upstream_status: object.upstream_status.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
    }
}

/// Which bytes a run holds.
fn bytes(run: &Object) -> Bytes {
    let first = run.offset();
    Bytes { first, last: (first + run.body.len()).saturating_sub(1) }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Ttls => "ttls",
        Source::Negative => "negative",
        Source::Rule => "rule",
        Source::SharedMaxAge => "s-maxage",
        Source::MaxAge => "max-age",
        Source::Expires => "Expires",
        Source::Default => "default",
        Source::Heuristic => "Last-Modified",
        Source::Nothing => "nothing",
    }
}

fn shown(verdict: Verdict) -> Shown {
    match verdict {
        Verdict::Untouched => Shown::Untouched,
        Verdict::Stale => Shown::Stale,
        Verdict::Gone => Shown::Gone,
    }
}

fn moment(time: Time) -> Moment {
    Moment { unix_ms: time.0, date: http_date(time).to_str().unwrap_or_default().to_owned() }
}

fn hex(key: &Key) -> String {
    format!("{:032x}", key.hash())
}

/// The time between lifetime and age, whichever is longer.
fn left(object: &Object, now: Time) -> String {
    spoken(object.freshness.lifetime.abs_diff(object.freshness.age(now)))
}

/// The time until a window closes.
fn window(object: &Object, window: Duration, now: Time) -> String {
    spoken(object.freshness.lifetime.saturating_add(window).saturating_sub(object.freshness.age(now)))
}

/// Seconds, to the millisecond where they are not whole, so that sums come out.
fn spoken(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        millis => format!("{}.{millis:03} s", duration.as_secs()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds from `b` up to `a`; negative when `b` is longer.
fn difference(a: Duration, b: Duration) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    signed(a).saturating_sub(signed(b))
}
