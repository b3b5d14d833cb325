//! Puts into the store what has come: whole objects, parts beside other parts, and what there is of a body that was cut short.

use std::sync::Arc;

use crate::conditional::strong_etag;
use crate::object::{Combined, Growing, Object, Parts};
use crate::purge::Verdict;
use crate::range::ContentRange;
use crate::store::Entry;

use super::Trip;

impl Trip {
    /// Stores an object whose body has come, unless a purge, an unsafe request or a later answer was quicker.
    pub(super) fn store(&self, object: &Arc<Object>) -> bool {
        let exchange = &self.exchange;
        let gone = exchange.purges.verdict(&object.identity, &object.mark) == Verdict::Gone;
        if gone || self.lead.flight.is_spoiled() || !object.body.is_whole() {
            return false;
        }
        let there = exchange.store.get(&object.key);
        if let Some(later) = head_of(there.as_ref())
            && (later.mark.stamp(), later.freshness.responded_at) > (object.mark.stamp(), object.freshness.responded_at)
        {
            return false;
        }
        let entry = if object.part.is_some() { self.beside(there.as_ref(), object) } else { Entry::Object(Arc::clone(object)) };
        if entry.weight() > exchange.bounds.memory.min(crate::store::ENTRY_MAX) {
            return false;
        }
        exchange.store.insert(object.key.clone(), entry);
        exchange.counters.stored.inc();
        true
    }

    /// A part with what else there is of the same representation. A whole answer that the part confirms stays, with the head of the part
    /// (RFC 9111 section 3.4).
    fn beside(&self, there: Option<&Entry>, part: &Arc<Object>) -> Entry {
        let there = match there {
            Some(Entry::Object(whole)) if is_same(whole, part) => {
                return Entry::Object(Arc::new(part.around(None, whole.length, Arc::clone(&whole.body))));
            }
            Some(Entry::Parts(parts)) if self.exchange.purges.verdict(&parts.head().identity, &parts.head().mark) != Verdict::Gone => {
                Some(parts.as_ref())
            }
            _ => None,
        };
        match Parts::combined(there, part, &self.exchange.filling) {
            Combined::Whole(whole) => Entry::Object(whole),
            Combined::Parts(parts) => Entry::Parts(parts),
        }
    }

    /// Keeps the bytes that came of a body that was cut short, so that only the rest is asked for next time (RFC 9111 section 3.3). They
    /// need a strong entity tag, by which the rest can be told to belong to them.
    pub(super) fn keep_beginning(&self, object: &Object) {
        let (start, len) = (object.offset(), object.body.len());
        if len == 0 || object.body.is_window() || object.status != http::StatusCode::OK || strong_etag(&object.headers).is_none() {
            return;
        }
        let part = ContentRange { start, end: start + len, total: object.length };
        let body = Growing::of_pieces(Arc::clone(&self.exchange.filling), object.body.pieces(0, len));
        self.store(&Arc::new(object.around(Some(part), object.length, body)));
    }
}

/// The head of what is stored.
fn head_of(entry: Option<&Entry>) -> Option<&Arc<Object>> {
    match entry? {
        Entry::Object(object) => Some(object),
        Entry::Parts(parts) => Some(parts.head()),
        Entry::Marker(_) | Entry::Search(_) => None,
    }
}

/// Whether a whole answer is the representation that a part is of.
fn is_same(whole: &Object, part: &Object) -> bool {
    let same_tag = strong_etag(&whole.headers).is_some_and(|tag| strong_etag(&part.headers) == Some(tag));
    same_tag && whole.part.is_none() && part.length.is_none_or(|length| whole.length() == Some(length))
}
