//! Large answers in slices: the head is stored as soon as it is there, and what is fetched is what readers want, several slices at once.
//!
//! Owns what is fetched like that, and the slice that the answer brings itself. What is not is filled from one body ([`super::fill`]).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::Trip;
use crate::cacheable::Kept;
use crate::conditional::strong_etag;
use crate::disk::State;
use crate::exchange::Exchange;
use crate::exchange::scope::Slicing;
use crate::fetch::Body;
use crate::flight::Scope;
use crate::key::Key;
use crate::lists::members;
use crate::object::{Growing, Object};
use crate::purge::Verdict;
use crate::store::{Disk, Entry, Mend};

/// How long upstream may take to show that it sends parts, before the one body that it sends is used.
const PROOF_MAX: Duration = Duration::from_secs(3);

/// An answer that comes in slices.
pub(super) struct Sliced {
    /// All of its slices.
    pub(super) body: Arc<Growing>,
    /// The length of the whole, in bytes.
    length: u64,
    /// The slice whose bytes the answer brings.
    number: u32,
    /// The body of the slice behind it, which proved that upstream sends parts.
    next: Option<Box<dyn Body>>,
    mend: Arc<dyn Mend>,
    room: OwnedSemaphorePermit,
}

impl Exchange {
    /// How what is under a key comes in slices, if it is large; none where there is no disk for them, or upstream is known to send it whole only.
    pub(in crate::exchange) fn slicing(&self, key: &Key) -> Option<Slicing> {
        let disk = self.slicing_disk()?;
        (!self.ranges.is_whole_only(key)).then(|| Slicing { slice_bytes: disk.inline_max(), above: disk.resident_max() })
    }

    fn slicing_disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref().filter(|disk| disk.state() == State::Serving)
    }

    /// The body of what is stored under a key, if it is in slices of this size and of the very same representation: what came of it stays.
    async fn slices_there(&self, key: &Key, trip: &Trip, headers: &HeaderMap, (length, slice_bytes): (u64, u64)) -> Option<Arc<Growing>> {
        let entry = match self.store.get(key) {
            Some(entry) => entry,
            None => self.slicing_disk()?.peek(key, trip.now).await?,
        };
        let Entry::Object(there) = entry else { return None };
        let is_same = strong_etag(&there.headers) == strong_etag(headers) && there.part.is_none() && there.length() == Some(length);
        let is_in_use = self.purges.verdict(&there.identity, &there.mark) != Verdict::Gone && !there.body.is_gone();
        let is_in_slices = there.body.slices().is_some_and(|slices| slices.slice_bytes == slice_bytes) && there.body.is_whole();
        (is_same && is_in_use && is_in_slices).then(|| Arc::clone(&there.body))
    }
}

impl Trip {
    /// How an answer comes in slices that is to be stored under this key; none when it does not: it is small, or its parts could not be told from
    /// those of another version, or do not come.
    pub(super) async fn sliced(
        &mut self,
        (status, headers): (StatusCode, &HeaderMap),
        kept: &Kept,
        length: Option<u64>,
        key: &Key,
    ) -> Option<Sliced> {
        let exchange = Arc::clone(&self.exchange);
        let Slicing { slice_bytes, above } = exchange.slicing(key)?;
        let disk = exchange.slicing_disk()?;
        strong_etag(headers)?;
        let (length, number) = match kept.part {
            None => (length?, 0),
            Some(part) => {
                let length = part.total?;
                let is_slice = part.start % slice_bytes == 0 && part.end >= (part.start + slice_bytes).min(length);
                (length, u32::try_from(part.start / slice_bytes).ok().filter(|_| is_slice)?)
            }
        };
        let is_told = kept.part.is_some() || (status == StatusCode::OK && accepts_ranges(headers));
        let object_max = exchange.object_max().min(self.policy.object_max.unwrap_or(u64::MAX));
        if self.scope == Scope::Head || !is_told || length <= above || length > object_max || u32::try_from(length / slice_bytes).is_err() {
            return None;
        }
        self.kept_off = self.kept_off || !disk.admits(key, length);
        if self.kept_off {
            return None;
        }
        let room = disk.room_for_reader(slice_bytes)?;
        let mend = exchange.mender(key, headers, &self.request, &self.fetch)?;
        let is_proved = kept.part.is_some() || exchange.ranges.are_sent(&self.request.authority);
        let next = if is_proved {
            None
        } else {
            let end = (2 * slice_bytes).min(length);
            Some(tokio::time::timeout(PROOF_MAX, mend.open(slice_bytes, end, length)).await.ok()?.ok()?)
        };
        let body = match exchange.slices_there(key, self, headers, (length, slice_bytes)).await {
            Some(body) => body,
            None => Growing::of_slices(Arc::clone(&exchange.filling), disk.slices(key, length, true)?),
        };
        Some(Sliced { body, length, number, next, mend, room })
    }
}

impl Sliced {
    /// Says in the stored head what a 206 does not: the length of the whole, and that it comes in parts, for the tier that asks this one.
    pub(super) fn note_in(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.length));
        headers.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
    }

    /// Lets the answer's own body bring its slice: it is dropped at its end.
    pub(super) fn depart(self, opened: Box<dyn Body>) {
        let Some(slices) = self.body.slices() else { return };
        slices.take_in(self.number, &self.mend, opened, self.room);
        if let Some(next) = self.next
            && let Some(room) = slices.room()
        {
            slices.take_in(self.number + 1, &self.mend, next, room);
        }
    }
}

impl Trip {
    /// Sees an answer in whose slices are on their way.
    pub(super) async fn keep_sliced(&mut self, object: &Arc<Object>) {
        self.exchange.counters.sliced.inc();
        self.store(object).await;
        self.lead.land();
    }
}

/// RFC 9110 section 14.3.
fn accepts_ranges(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_RANGES).iter().flat_map(|line| members(line.as_bytes())).any(|unit| unit.eq_ignore_ascii_case(b"bytes"))
}
