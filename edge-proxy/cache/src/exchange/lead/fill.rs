//! Sees a body in: appends what comes, holds it to its length, resumes it when it is cut short, and gives up storing what grows too large.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::super::remember::REMEMBER;
use super::super::serve::sound;
use super::Trip;
use crate::answer::{cut_short, too_long};
use crate::conditional::strong_etag;
use crate::control::delta_digits;
use crate::fetch::{Body, FetchError, FetchErrorKind, Forward};
use crate::object::Object;

/// How often a body that was cut short is asked for again from where it ended.
const RESUMES: usize = 3;

/// Fails the body when the leader is gone, however that comes, so that no reader waits forever.
struct Guard(Arc<Object>);

impl Drop for Guard {
    fn drop(&mut self) {
        let detail = "the fetch was given up".to_owned();
        self.0.body.fail(FetchError { kind: FetchErrorKind::Cut, detail });
    }
}

impl Trip {
    /// Reads `body` into `object` to its end and stores it, if it is still to be stored.
    pub(super) async fn fill(&mut self, object: Arc<Object>, mut body: Box<dyn Body>) {
        let _guard = Guard(Arc::clone(&object));
        let mut resumes = 0;
        let mut len = 0;
        loop {
            match self.fill_from(&object, body.as_mut(), &mut len).await {
                Ok(Filled::Whole) => break,
                Ok(Filled::Unwanted) => return,
                Err(error) => match self.resume(&object, len, &mut resumes).await {
                    Some(rest) => body = rest,
                    None => return self.cut(&object, error),
                },
            }
        }
        object.body.finish();
        self.store(&object);
        self.lead.land();
    }

    /// Appends one body to the object, whose first `len` bytes are there.
    async fn fill_from(&mut self, object: &Object, body: &mut dyn Body, len: &mut u64) -> Result<Filled, FetchError> {
        loop {
            if !object.body.room().await {
                return Ok(Filled::Unwanted);
            }
            let Some(bytes) = body.chunk().await? else {
                return match object.length {
                    Some(length) if *len < length => Err(cut_short(length - *len)),
                    _ => Ok(Filled::Whole),
                };
            };
            if object.length.is_some_and(|length| bytes.len() as u64 > length - *len) {
                return Err(too_long());
            }
            *len = object.body.append(&bytes);
            self.bound(object, *len);
        }
    }

    /// The rest of a body from `len` on, if upstream still has the very same (RFC 9110 section 13.1.5); none without a strong entity tag.
    async fn resume(&self, object: &Object, len: u64, resumes: &mut usize) -> Option<Box<dyn Body>> {
        let etag = strong_etag(&object.headers).filter(|_| object.status == StatusCode::OK)?;
        // Where everything had come there is nothing to ask for: what failed was the end itself.
        if object.length.is_some_and(|length| len >= length) {
            return None;
        }
        while *resumes < RESUMES {
            *resumes += 1;
            let mut request = self.whole_request();
            request.headers.insert(header::RANGE, HeaderValue::from_str(&format!("bytes={len}-")).ok()?);
            request.headers.insert(header::IF_RANGE, etag.clone());
            let forward = Forward { request, purge_seq: self.lead.flight.stamp };
            let Ok(fetched) = self.fetch.fetch(forward).await.and_then(sound) else { continue };
            let same = strong_etag(&fetched.headers) == Some(etag);
            if fetched.status != StatusCode::PARTIAL_CONTENT || !same || !continues(&fetched.headers, len, object.length) {
                return None;
            }
            self.exchange.counters.resumed.inc();
            return Some(fetched.body);
        }
        None
    }

    fn cut(&mut self, object: &Object, error: FetchError) {
        self.exchange.counters.cut.inc();
        // Nobody may join a body that will not be whole.
        self.lead.land();
        object.body.fail(error);
    }

    /// Turns the body into a window when it is too large to be stored, or too many bodies grow at once.
    fn bound(&mut self, object: &Object, len: u64) {
        let bounds = &self.exchange.bounds;
        let too_large = len > bounds.object_max;
        let too_many = self.exchange.filling.bytes() > bounds.filling_max;
        if !(too_large || too_many) || object.body.is_window() {
            return;
        }
        self.exchange.counters.windows.inc();
        if too_large {
            self.remember(REMEMBER, object.freshness.responded_at);
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

/// Whether a 206 holds the bytes from `start` to the end of a representation of this length (RFC 9110 section 14.4).
fn continues(headers: &HeaderMap, start: u64, length: Option<u64>) -> bool {
    let mut lines = headers.get_all(header::CONTENT_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(text) = line.to_str() else { return false };
    let Some((range, whole)) = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')) else { return false };
    let number = |text: &str| delta_digits(text.trim().as_bytes());
    let Some((first, last)) = range.split_once('-').and_then(|(first, last)| number(first).zip(number(last))) else { return false };
    let ends = |length: u64| last.checked_add(1) == Some(length);
    first == start
        && match (number(whole), length) {
            (Some(whole), Some(length)) => whole == length && ends(length),
            (Some(whole), None) => ends(whole),
            (None, Some(length)) => whole.trim() == "*" && ends(length),
            // Nothing would tell whether the rest is all of it.
            (None, None) => false,
        }
}

#[cfg(test)]
mod tests;
