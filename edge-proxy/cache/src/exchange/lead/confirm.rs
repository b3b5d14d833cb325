//! What a 304, or an answer to HEAD, makes of the stored answer it is about (RFC 9111 sections 4.3.4 and 4.3.5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use http::{HeaderMap, StatusCode, header};

use super::super::invalidate::groups_of;
use super::super::serve::take_cache_status;
use super::{Led, Trip};
use crate::cacheable::Response;
use crate::conditional;
use crate::fetch::Fetched;
use crate::flight::Outcome;
use crate::freshness::Freshness;
use crate::groups::CACHE_GROUPS;
use crate::object::{Object, Prepared, storable};
use crate::purge::{Mark, Tags};

impl Trip {
    /// 304: the stored answer holds.
    pub(super) async fn confirm(&mut self, fetched: Fetched) {
        let Some(stale) = self.stale.clone() else { return };
        self.exchange.counters.revalidated.inc();
        self.hand_on(&stale, fetched, StatusCode::NOT_MODIFIED).await;
    }

    /// An answer to HEAD: it says whether the stored answer to GET still holds; without one it is stored for itself.
    pub(super) async fn receive_head(&mut self, fetched: Fetched) {
        let stored = self.stale.clone().filter(|stale| !stale.is_partial());
        let Some(stored) = stored.filter(|_| fetched.status == StatusCode::OK) else { return self.receive(fetched).await };
        // What is stored may be the word that there is nothing, which no 200 confirms.
        if stored.status == fetched.status && conditional::freshens_by_head(&fetched.headers, &stored.headers, stored.length()) {
            self.exchange.counters.revalidated.inc();
            let status = fetched.status;
            return self.hand_on(&stored, fetched, status).await;
        }
        // RFC 9111 section 4.3.5: what differs is not to be used any more.
        self.exchange.take_away(&self.key);
        self.stale = None;
        self.receive(fetched).await;
    }

    /// Stores the refreshed answer, if it may still be stored, and answers with it.
    async fn hand_on(&mut self, stale: &Object, fetched: Fetched, status: StatusCode) {
        let (object, may_be_stored) = self.refreshed(stale, &fetched);
        let object = Arc::new(object);
        if may_be_stored {
            self.store(&object).await;
            self.lead.publish(Outcome::Confirmed(Arc::clone(&object)));
        } else {
            self.exchange.take_away(&object.key);
            self.remember(false, fetched.responded_at);
            self.lead.publish(Outcome::Private);
        }
        let cursor = if object.head_only { None } else { object.body.cursor() };
        let (own, interim) = (HeaderMap::new(), fetched.interim);
        self.tell(Led::Object { object, cursor, own, interim, fwd_status: Some(status.as_u16()) });
    }

    /// The stored answer with the fields of a later one, its body shared; and whether it may be stored.
    fn refreshed(&self, stale: &Object, fetched: &Fetched) -> (Object, bool) {
        let mut merged: HeaderMap = conditional::updated(&stale.headers, &fetched.headers);
        let upstream_status = take_cache_status(&mut merged);
        let response = Response {
            status: stale.status,
            headers: &merged,
            age: fetched.age,
            requested_at: fetched.requested_at,
            responded_at: fetched.responded_at,
        };
        let judged = self.judge(response);
        let may_be_stored = judged.is_ok();
        let (freshness, fields, omit) = match judged {
            Ok(kept) => (kept.freshness, kept.fields, kept.omit),
            Err(_) => {
                let freshness = Freshness { responded_at: fetched.responded_at, ..stale.freshness.clone() };
                (freshness, Arc::clone(&stale.fields), Vec::new())
            }
        };
        let primary = if may_be_stored { self.primary(&merged) } else { stale.primary.clone() };
        let (key, generation) = if fields == stale.fields && primary == stale.primary {
            (stale.key.clone(), stale.generation)
        } else {
            let (key, generation) = self.place(&primary, &fields);
            (if stale.head_only { key.head() } else { key }, generation)
        };
        let object = Object {
            key,
            primary,
            generation,
            status: stale.status,
            headers: storable(&merged, &omit, fetched.responded_at),
            aged: fetched.headers.contains_key(header::AGE),
            upstream_status,
            freshness,
            fields,
            identity: Arc::clone(&stale.identity),
            mark: self.mark(Tags::of(&merged), &merged),
            length: stale.length,
            part: stale.part,
            head_only: stale.head_only,
            body: Arc::clone(&stale.body),
            retry: AtomicU64::new(0),
            prepared: Prepared::default(),
            asked_again: AtomicBool::new(false),
        };
        (object, may_be_stored)
    }

    /// What the purges of later are compared with.
    pub(super) fn mark(&self, tags: Tags, headers: &HeaderMap) -> Mark {
        let groups = groups_of(&self.request, &self.policy, headers, CACHE_GROUPS);
        Mark::new(self.lead.flight.began, tags, groups).in_order(self.exchange.next_in_order())
    }
}
