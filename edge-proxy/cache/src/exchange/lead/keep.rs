//! Puts into the store what has come: whole objects, parts beside other parts, and what there is of a body that was cut short.

use std::sync::Arc;

use crate::conditional::strong_etag;
use crate::object::{Combined, Growing, Object, Parts};
use crate::purge::Verdict;
use crate::range::ContentRange;
use crate::store::Entry;

use super::super::stored::OnDisk;
use super::Trip;

/// How often it is looked what the disk has of a key that is written meanwhile.
const LOOKS_MAX: usize = 3;

impl Trip {
    /// Stores an object whose body has come, unless a purge, an unsafe request or a later answer was quicker.
    pub(super) async fn store(&self, object: &Arc<Object>) -> bool {
        for _ in 0..LOOKS_MAX {
            let on_disk = self.exchange.only_on_disk(&object.key, self.now).await;
            if let Some(stored) = self.store_beside(object, &on_disk) {
                return stored;
            }
        }
        // What comes under its key all the time is later.
        false
    }

    /// The same, beside what only the disk has of the key; none when that is not so any more.
    fn store_beside(&self, object: &Arc<Object>, on_disk: &OnDisk) -> Option<bool> {
        let exchange = &self.exchange;
        let gone = exchange.purges.verdict(&object.identity, &object.mark) == Verdict::Gone;
        if gone || !object.body.is_whole() {
            return Some(false);
        }
        let turn = exchange.turns.of(&object.key);
        let there = match exchange.store.get(&object.key) {
            Some(there) => Some(there),
            None => exchange.still_on_disk(&object.key, on_disk)?.cloned(),
        };
        if let Some(later) = head_of(there.as_ref())
            && later.mark.recency() > object.mark.recency()
            && !completes(object, later)
        {
            return Some(false);
        }
        let entry = if object.part.is_some() { self.beside(there.as_ref(), object) } else { Entry::Object(Arc::clone(object)) };
        if !exchange.store.takes(&object.key, &entry) {
            return Some(false);
        }
        exchange.put(&turn, object.key.clone(), entry);
        exchange.counters.stored.inc();
        Some(true)
    }

    /// A part with what else there is of the same representation, and was not purged. A whole answer that the part confirms stays, with the
    /// head of the part (RFC 9111 section 3.4). Parts that together are larger than what may be stored give way to the new one.
    fn beside(&self, there: Option<&Entry>, part: &Arc<Object>) -> Entry {
        let exchange = &self.exchange;
        let there = there
            .filter(|there| head_of(Some(there)).is_some_and(|head| exchange.purges.verdict(&head.identity, &head.mark) != Verdict::Gone));
        let parts = match there {
            Some(Entry::Object(whole)) if is_same(whole, part) => {
                return Entry::Object(Arc::new(part.around(None, whole.length, Arc::clone(&whole.body))));
            }
            Some(Entry::Parts(parts)) => Some(parts.as_ref()),
            _ => None,
        };
        let combined = Parts::combined(parts, part, &exchange.filling);
        let combined = if combined.bytes() > self.object_max() { Parts::combined(None, part, &exchange.filling) } else { combined };
        match combined {
            Combined::Whole(whole) => Entry::Object(whole),
            Combined::Parts(parts) => Entry::Parts(parts),
        }
    }

    /// Keeps the bytes that came of a body that was cut short, so that only the rest is asked for next time (RFC 9111 section 3.3). They
    /// need a strong entity tag, by which the rest can be told to belong to them.
    pub(super) async fn keep_beginning(&self, object: &Object) {
        let (start, len) = (object.offset(), object.body.len());
        // What is in slices is of no use without its end: an object on disk is whole.
        if len == 0
            || object.body.is_window()
            || object.body.slices().is_some()
            || object.status != http::StatusCode::OK
            || strong_etag(&object.headers).is_none()
        {
            return;
        }
        let part = ContentRange { start, end: start + len, total: object.length };
        let body = Growing::of_pieces(Arc::clone(&self.exchange.filling), object.body.pieces(0, len));
        self.store(&Arc::new(object.around(Some(part), object.length, body))).await;
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

/// Whether a whole answer is the representation of which a range was fetched while it came.
fn completes(whole: &Object, later: &Object) -> bool {
    later.part.is_some() && is_same(whole, later)
}

/// Whether a whole answer is the representation that a part is of.
fn is_same(whole: &Object, part: &Object) -> bool {
    let same_tag = strong_etag(&whole.headers).is_some_and(|tag| strong_etag(&part.headers) == Some(tag));
    let reaches_no_further = whole.length().is_some_and(|length| part.offset() + part.body.len() <= length);
    let same_length = part.length.is_none_or(|length| whole.length() == Some(length));
    same_tag && whole.status == part.status && whole.part.is_none() && same_length && reaches_no_further
}
