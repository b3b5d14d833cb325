//! What a request's own directives change (RFC 9111 section 5.2.1).
//!
//! By default only `only-if-cached` counts, which costs nobody but its client anything; the others count where the site says so, because any
//! client could make the origin answer each of its requests with them.

use http::{HeaderMap, header};
use skerry_config::snapshot::Policy;

use crate::answer::Forwarded;
use crate::control::Asked;
use crate::cookies;
use crate::freshness::Freshness;
use crate::lookup::{Found, State};
use crate::time::Time;

/// The directives of one request that count.
#[derive(Debug, Default)]
pub(super) struct Directives {
    asked: Option<Asked>,
    obeyed: bool,
}

impl Directives {
    pub(super) fn of(request: &HeaderMap, policy: &Policy) -> Self {
        let any = request.contains_key(header::CACHE_CONTROL) || (policy.obey_request && request.contains_key(header::PRAGMA));
        Self { asked: any.then(|| Asked::of(request)), obeyed: policy.obey_request }
    }

    fn obeyed(&self) -> Option<&Asked> {
        self.asked.as_ref().filter(|_| self.obeyed)
    }

    /// Why the request, with these fields, goes past the cache, if it does.
    pub(super) fn way_past(&self, request: &HeaderMap, policy: &Policy) -> Option<Forwarded> {
        if policy.bypass || cookies::bypasses(request, &policy.cookies) {
            return Some(Forwarded::Bypass);
        }
        let no_store = self.obeyed().is_some_and(|asked| asked.no_store);
        no_store.then_some(Forwarded::Request)
    }

    pub(super) fn only_if_cached(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.only_if_cached)
    }

    /// Whether the answer to another's request is as fresh as this one, made at `now`, will have it. What came after this was asked is as good
    /// as what it would have brought itself.
    pub(super) fn accept(&self, freshness: &Freshness, now: Time) -> bool {
        freshness.responded_at >= now || self.obeyed().is_none_or(|asked| freshness.satisfies(asked, now))
    }

    /// Makes what was found as fresh or stale as the request will have it.
    pub(super) fn apply(&self, found: &mut Found, now: Time) {
        let Some(asked) = self.obeyed() else { return };
        let says_nothing = !asked.no_cache && asked.max_age.is_none() && asked.min_fresh.is_none() && asked.max_stale.is_none();
        let Some(object) = found.object.as_ref().filter(|_| !says_nothing) else { return };
        let soft_purged = found.detail.is_some();
        if soft_purged || !object.freshness.satisfies(asked, now) {
            if found.state == State::Fresh {
                found.reason = Forwarded::Request;
            }
            found.state = State::Stale;
        } else if found.state != State::Fresh {
            found.state = State::Fresh;
            found.detail = Some("max-stale");
        }
    }
}
