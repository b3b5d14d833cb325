//! What is stored for a request, and what may be done with it at this moment.
//!
//! Reads the store and the purge table; time is an argument. Changes nothing but when a failed refresh may be tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::answer::Forwarded;
use crate::key::Key;
use crate::object::{Object, Parts};
use crate::purge::{Position, Table, Verdict};
use crate::request::Request;
use crate::shape;
use crate::store::{Entry, Memory};
use crate::time::Time;
use crate::vary;

/// How long after a failed refresh of a stale answer the next one waits, when upstream does not say.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long it waits at most, when upstream does.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What a lookup found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The key under which an answer to this request is, or would be, stored.
    pub(crate) key: Key,
    /// The stored answer that fits the request, unless a hard purge removed it.
    pub(crate) object: Option<Arc<Object>>,
    /// The parts there are of the resource, unless a hard purge removed them.
    pub(crate) parts: Option<Arc<Parts>>,
    /// What may be done with the answer.
    pub(crate) state: State,
    /// Why to go upstream, should it come to that.
    pub(crate) reason: Forwarded,
    /// More about the reason.
    pub(crate) detail: Option<&'static str>,
    /// Where the node stood in purges before it looked.
    pub(crate) position: Position,
    /// Some of what led here was read from disk, and memory may not have it.
    pub(crate) from_disk: bool,
}

/// What may be done with what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Use it.
    Fresh,
    /// Use it and refresh it behind the answer.
    StaleWhileRevalidate,
    /// Use it: a refresh failed a moment ago.
    StaleIfError,
    /// Ask first.
    Stale,
    /// Nothing there.
    Missing,
}

/// Looks a request up in memory.
pub(crate) fn find(store: &Memory, purges: &Table, primary: &Key, request: &Request, now: Time) -> Found {
    find_by(|key| store.get(key), purges, primary, request, now)
}

/// Looks a request up in what `get` gets.
pub(crate) fn find_by(get: impl Fn(&Key) -> Option<Entry>, purges: &Table, primary: &Key, request: &Request, now: Time) -> Found {
    let position = purges.position();
    let mut key = primary.clone();
    let mut reason = Forwarded::UriMiss;
    let mut entry = get(primary);
    if let Some(Entry::Marker(marker)) = &entry {
        key = vary::key(primary, marker.generation, &marker.fields, &request.headers);
        reason = Forwarded::VaryMiss;
        entry = get(&key);
    }
    let mut found = Found { key, object: None, parts: None, state: State::Missing, reason, detail: None, position, from_disk: false };
    match entry {
        Some(Entry::Object(object)) => found.take(object, purges, now),
        Some(Entry::Parts(parts)) => found.take_parts(parts, purges, request, now),
        Some(Entry::Marker(_) | Entry::Search(_)) | None => {}
    }
    if request.head_only
        && found.object.is_none()
        && let Some(Entry::Object(head)) = get(&found.key.head())
    {
        found.take(head, purges, now);
    }
    found
}

impl Found {
    fn take(&mut self, object: Arc<Object>, purges: &Table, now: Time) {
        if object.body.is_gone() {
            self.detail = Some("lost");
            return;
        }
        match purges.verdict(&object.identity, &object.mark) {
            Verdict::Gone => self.detail = Some("purged"),
            verdict => {
                let soft = verdict == Verdict::Stale;
                self.state = state(&object, soft, now);
                self.reason = Forwarded::Stale;
                self.detail = soft.then_some("soft-purged");
                self.object = Some(object);
            }
        }
    }

    fn take_parts(&mut self, parts: Arc<Parts>, purges: &Table, request: &Request, now: Time) {
        let head = parts.head();
        if purges.verdict(&head.identity, &head.mark) == Verdict::Gone {
            self.detail = Some("purged");
            return;
        }
        match parts.runs().iter().find(|run| shape::of(run, request).is_some()) {
            Some(run) => self.take(Arc::clone(run), purges, now),
            None => self.reason = Forwarded::Partial,
        }
        self.parts = Some(parts);
    }
}

/// What freshness and windows allow. A soft purge takes the freshness away, not the windows.
pub(crate) fn state(object: &Object, soft_purged: bool, now: Time) -> State {
    let freshness = &object.freshness;
    if !soft_purged && freshness.is_fresh(now) {
        State::Fresh
    } else if freshness.may_revalidate_behind(now) {
        State::StaleWhileRevalidate
    } else if freshness.may_cover_error(now) && !may_retry(&object.retry, now) {
        State::StaleIfError
    } else {
        State::Stale
    }
}

/// A refresh failed, at a time that only the next request's clock can tell: this, less the milliseconds to wait.
const FAILED: u64 = u64::MAX;

/// Notes that a refresh failed, and how long upstream wants to be left alone, if it says so.
pub(crate) fn note_failure(retry: &AtomicU64, wait: Option<Duration>) {
    let wait = wait.unwrap_or(RETRY_AFTER).clamp(RETRY_AFTER, RETRY_AFTER_MAX);
    retry.store(FAILED - millis(wait), Ordering::Relaxed);
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a refresh may be tried.
pub(crate) fn may_retry(retry: &AtomicU64, now: Time) -> bool {
    let at = retry.load(Ordering::Relaxed);
    if at >= FAILED - millis(RETRY_AFTER_MAX) {
        retry.store(now.plus(Duration::from_millis(FAILED - at)).0, Ordering::Relaxed);
        return false;
    }
    now.0 >= at
}
