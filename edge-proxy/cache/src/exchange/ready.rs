//! Stored answers that need nobody: fresh, whole, and all of them wanted.
//!
//! The first steps of [`Exchange::run`] without the waiting ones: memory, and of the disk what the page cache has. Whatever is not as simple is
//! left to it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Arc, Directives, Exchange, Object, Policy, Request, State, Time, cookies};
use crate::answer::CacheStatus;
use crate::shape::{self, Shape};

/// A stored answer to send as it is.
pub struct Hit {
    object: Arc<Object>,
    head_only: bool,
    /// Its age in seconds.
    pub age: u64,
    /// This tier's member of `Cache-Status`, without the cache's name.
    pub status_of_cache: CacheStatus,
}

impl Exchange {
    /// The stored answer to a request, if it is fresh, whole, and to be sent as it is; whoever sends it says so with [`Exchange::hit`]. `None` says
    /// nothing about what [`Exchange::run`] would find. Takes out of the request the cookies that the policy takes out.
    #[must_use]
    pub fn ready(self: &Arc<Self>, request: &mut Request, policy: &Policy, now: Time) -> Option<Hit> {
        let directives = Directives::of(&request.headers, policy);
        if policy.show_key || directives.way_past(&request.headers, policy).is_some() {
            return None;
        }
        cookies::strip(&mut request.headers, &policy.cookies);
        let primary = self.primary(request, policy);
        let found = if self.has_search_rules_at_hand(request, policy) {
            self.find_now(&primary, request, &directives, now)
        } else {
            self.find(&primary, request, &directives, now)
        };
        let object = found.object.filter(|object| found.state == State::Fresh && object.body.is_resident())?;
        let head_only = match shape::of(&object, request)? {
            Shape::Whole => false,
            Shape::Head => true,
            _ => return None,
        };
        object.length()?;
        self.note_hit(&object);
        let now = now.max(object.freshness.responded_at);
        let status_of_cache =
            CacheStatus { hit: true, ttl: Some(object.freshness.ttl(now)), detail: found.detail, ..CacheStatus::default() };
        let age = object.freshness.age(now).as_secs();
        Some(Hit { object, head_only, age, status_of_cache })
    }

    /// Counts an answer of [`Exchange::ready`].
    pub fn hit(&self) {
        self.counters.hits.inc();
    }
}

impl Hit {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.object.status
    }

    /// The stored header fields, `Content-Length` not surely among them, `Age` never.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.object.headers
    }

    /// The length of the body, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.object.length().unwrap_or(0)
    }

    /// The text that a tier makes of the head once, and finds here ever after.
    pub fn text(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.object.prepared.text.get_or_init(make).clone()
    }

    /// The same for a field section.
    pub fn section(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.object.prepared.section.get_or_init(make).clone()
    }

    /// The body, shared with the store; nothing for HEAD.
    #[must_use]
    pub fn body(&self) -> Vec<Bytes> {
        if self.head_only { Vec::new() } else { self.object.body.pieces(0, u64::MAX) }
    }
}
