//! Sees a body in: appends what comes, holds it to its length, resumes it when it is cut short, and gives up storing what grows too large.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::Trip;
use crate::answer::{cut_short, too_long};
use crate::conditional::strong_etag;
use crate::fetch::{Body, FetchError, FetchErrorKind};
use crate::object::{NARROW_WINDOW_BYTES, Object, WINDOW_BYTES};
use crate::range::content_range;

/// How often a body that was cut short is asked for again from where it ended.
const RESUMES: usize = 3;

/// Fails the body when the leader is gone, however that comes, so that no reader waits forever.
struct Guard(Arc<Object>);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.body.has_ended() {
            return;
        }
        let detail = "the fetch was given up".to_owned();
        self.0.body.fail(FetchError { kind: FetchErrorKind::Cut, detail, retry_after: None });
    }
}

impl Trip {
    /// Reads `body` into `object` to its end and stores it, if it is still to be stored.
    pub(super) async fn fill(&mut self, object: Arc<Object>, mut body: Box<dyn Body>) {
        let _guard = Guard(Arc::clone(&object));
        if let Some(length) = object.body_length()
            && self.exchange.goes_to_disk(&object, length)
        {
            self.put_on_disk(&object);
        }
        let mut resumes = 0;
        let mut len = 0;
        let mut promised = object.body_length();
        loop {
            match self.fill_from(&object, body.as_mut(), &mut len, promised).await {
                Ok(Filled::Whole) => break,
                Ok(Filled::Unwanted) => return,
                Err(error) => match self.resume(&object, len, &mut resumes).await {
                    Rest::Body { rest, end } => {
                        body = rest;
                        promised = Some(end - object.offset());
                    }
                    Rest::Unknown => {
                        self.keep_beginning(&object).await;
                        return self.cut(&object, error);
                    }
                    Rest::Other => return self.cut(&object, error),
                },
            }
        }
        self.spill(&object, true).await;
        object.body.finish();
        let stored = self.store(&object).await;
        self.lead.land();
        if stored && self.exchange.is_written_behind(&object) && self.exchange.admits_to_disk(&object, object.body.len()) {
            self.exchange.write_behind(&object).await;
        }
    }

    /// Begins to put a body on disk while it comes; whether the disk takes it. One whose length nobody knows counts as the largest of all: what is
    /// asked for once is not to be written, and it has outgrown memory already.
    fn put_on_disk(&mut self, object: &Object) -> bool {
        let length = object.body_length().unwrap_or(u64::MAX);
        self.kept_off = self.kept_off || !self.exchange.admits_to_disk(object, length);
        !self.kept_off && self.exchange.put_on_disk(object)
    }

    /// Puts on disk what has come of a body that is too large for memory. Waits for room there: upstream waits with it.
    async fn spill(&mut self, object: &Object, at_end: bool) {
        while object.body.is_spilling()
            && !object.body.is_window()
            && let Some((number, pieces)) = object.body.next_slice(at_end)
            && let Some(slices) = object.body.slices()
        {
            if !slices.store(number, &pieces).await {
                // The disk is out; what comes goes to those who read it, and no further.
                self.exchange.counters.windows.inc();
                self.lead.land();
                object.body.make_window();
                return;
            }
            object.body.slice_is_put();
        }
    }

    /// Appends one body to the object, whose first `len` bytes are there, up to the length that a head promised.
    async fn fill_from(
        &mut self,
        object: &Object,
        body: &mut dyn Body,
        len: &mut u64,
        promised: Option<u64>,
    ) -> Result<Filled, FetchError> {
        loop {
            if !object.body.room(self.ahead_max()).await {
                return Ok(Filled::Unwanted);
            }
            let Some(bytes) = body.chunk().await? else {
                return match promised {
                    Some(length) if *len < length => Err(cut_short(length - *len)),
                    _ => Ok(Filled::Whole),
                };
            };
            if promised.is_some_and(|length| bytes.len() as u64 > length - *len) {
                return Err(too_long());
            }
            *len = object.body.append(&bytes);
            self.bound(object, *len);
            self.spill(object, false).await;
        }
    }

    /// The rest of a body from `len` on, if upstream still has the very same (RFC 9110 section 13.1.5), which takes a strong entity tag.
    async fn resume(&self, object: &Object, len: u64, resumes: &mut usize) -> Rest {
        let Some(etag) = strong_etag(&object.headers).filter(|_| object.status == StatusCode::OK) else { return Rest::Unknown };
        // Where everything had come there is nothing to ask for: what failed was the end itself.
        if object.body_length().is_some_and(|length| len >= length) {
            return Rest::Unknown;
        }
        while *resumes < RESUMES && self.fetch.may_repeat() {
            *resumes += 1;
            let start = object.offset() + len;
            let end = object.part.map(|part| part.end);
            let Ok(fetched) = self.fetch(self.bytes_request(start, end, etag)).await else { continue };
            let same = strong_etag(&fetched.headers) == Some(etag);
            let rest = if same { continued(&fetched.headers, start, end, object.length) } else { None };
            if fetched.status == StatusCode::PARTIAL_CONTENT
                && let Some(end) = rest
            {
                self.exchange.counters.resumed.inc();
                return Rest::Body { rest: fetched.body, end };
            }
            return if fetched.status.is_server_error() { Rest::Unknown } else { Rest::Other };
        }
        Rest::Unknown
    }

    fn cut(&mut self, object: &Object, error: FetchError) {
        self.exchange.counters.cut.inc();
        // Nobody may join a body that will not be whole.
        self.lead.land();
        object.body.fail(error);
    }

    /// How far a window may run ahead, in bytes.
    fn ahead_max(&self) -> u64 {
        if self.exchange.filling.bytes() > self.exchange.bounds.filling_max { NARROW_WINDOW_BYTES } else { WINDOW_BYTES }
    }

    /// Turns the body into a window when it is too large to be stored, or too many bodies grow at once.
    fn bound(&mut self, object: &Object, len: u64) {
        let too_large = len > self.object_max();
        let is_spilling = object.body.is_spilling();
        // What goes to disk takes next to nothing.
        let too_many = self.exchange.filling.bytes() > self.exchange.bounds.filling_max && !is_spilling;
        let takes_much = too_many || self.exchange.goes_to_disk(object, len);
        if !too_large && !is_spilling && takes_much && object.part.is_none() && self.put_on_disk(object) {
            return;
        }
        // What is asked for once takes no room in memory from others either.
        let is_kept_off = self.kept_off && self.exchange.goes_to_disk(object, len);
        if !(too_large || too_many || is_kept_off) || object.body.is_window() {
            return;
        }
        self.exchange.counters.windows.inc();
        if too_large {
            self.remember(false, object.freshness.responded_at);
        }
        self.lead.land();
        object.body.make_window();
    }
}

/// How far a body came.
enum Filled {
    Whole,
    /// Nobody reads it and it is not to be stored.
    Unwanted,
}

/// What became of the rest of a body that was cut short.
enum Rest {
    /// Up to, not including, `end` of the representation.
    Body { rest: Box<dyn Body>, end: u64 },
    /// Upstream did not say.
    Unknown,
    /// Upstream has another representation by now, or makes no sense.
    Other,
}

/// Where a 206 ends that holds the bytes from `start` up to `end`, or to the end of a representation of this length (RFC 9110 section 14.4).
fn continued(headers: &HeaderMap, start: u64, end: Option<u64>, length: Option<u64>) -> Option<u64> {
    let range = content_range(headers).ok()?;
    let agreed = range.total.zip(length).is_none_or(|(theirs, ours)| theirs == ours);
    // Without any length nothing would tell whether the rest is all of it.
    (agreed && range.start == start && end.or(length).or(range.total) == Some(range.end)).then_some(range.end)
}
