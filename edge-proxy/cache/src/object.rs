//! A stored response: head, freshness, purge stamp, and a body shared with whoever reads it.
//!
//! Owns what an object weighs. A head never changes: a 304 makes another object around the same body.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::cacheable::OF_ONE_CONNECTION;
use crate::freshness::Freshness;
use crate::key::Key;
use crate::purge::{Identity, Mark};
use crate::range::ContentRange;
use crate::time::Time;
use crate::vary;

mod growing;
mod parts;

pub(crate) use growing::{Cursor, Filling, Growing, NARROW_WINDOW_BYTES, WINDOW_BYTES};
pub(crate) use parts::{Combined, Parts};

/// What an allocation costs beside what was asked for, in bytes: a header, and the rest of a step of 16.
pub(crate) const ALLOCATION_COST: u64 = 16;
/// An object's own fields, those of its body, and what counts the two, in bytes.
const OBJECT_COST: u64 = (size_of::<Object>() + size_of::<Growing>() + 32) as u64 + 2 * ALLOCATION_COST;
/// A place for a header field in the map, with its share of the table that finds it, in bytes.
const FIELD_COST: u64 = 112;
/// What a field's name costs beside its text where it is none of the usual ones, in bytes.
const NAME_COST: u64 = 40 + ALLOCATION_COST;
/// What separates fields in the prepared heads, and what these say beside the stored fields, in bytes.
const SEPARATORS: u64 = 4;
const PREPARED_COST: u64 = 64 + ALLOCATION_COST;

/// See the module.
#[derive(Debug)]
pub(crate) struct Object {
    /// The key it is stored under: of its variant, if it varies.
    pub(crate) key: Key,
    /// The key without variant, and the generation of the marker that led from there.
    pub(crate) primary: Key,
    pub(crate) generation: u64,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// It had an `Age` when it arrived: another cache had stored it.
    pub(crate) aged: bool,
    /// `Cache-Status` of the caches before this one, about the fetch that brought this object.
    pub(crate) upstream_status: Option<HeaderValue>,
    pub(crate) freshness: Freshness,
    /// The fields the response varies on, and the request's values in the key.
    pub(crate) fields: vary::Fields,
    pub(crate) identity: Arc<Identity>,
    pub(crate) mark: Mark,
    /// The length of the whole representation, where the head or the end of the body tells it.
    pub(crate) length: Option<u64>,
    /// Which of its bytes the body holds, when they are not all.
    pub(crate) part: Option<ContentRange>,
    /// It came in answer to HEAD: there is no body, and only HEAD is answered with it.
    pub(crate) head_only: bool,
    pub(crate) body: Arc<Growing>,
    /// When a failed refresh may be tried again; see [`crate::lookup`].
    pub(crate) retry: AtomicU64,
    pub(crate) prepared: Prepared,
    /// It was asked for after it came.
    pub(crate) asked_again: AtomicBool,
}

/// The head as the tier writes it, once it has been written; its bytes are weighed from the start.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// As lines of text.
    pub(crate) text: OnceLock<Bytes>,
    /// As a field section.
    pub(crate) section: OnceLock<Bytes>,
}

impl Object {
    /// The length of the whole representation, if anything tells it by now.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length.or_else(|| if self.is_partial() { None } else { self.body.whole_len() })
    }

    /// How many bytes the body is going to have, if the head told it.
    pub(crate) fn body_length(&self) -> Option<u64> {
        if self.head_only { Some(0) } else { self.part.map_or(self.length, |part| Some(part.end - part.start)) }
    }

    /// Whether it lacks bytes of its representation that another request may need.
    pub(crate) fn is_partial(&self) -> bool {
        self.part.is_some() || self.head_only
    }

    /// Where in its representation the body begins.
    pub(crate) fn offset(&self) -> u64 {
        self.part.map_or(0, |part| part.start)
    }

    /// The same head around these bytes of the representation; `part` is none when they are all.
    pub(crate) fn around(&self, part: Option<ContentRange>, length: Option<u64>, body: Arc<Growing>) -> Self {
        Self {
            key: self.key.clone(),
            primary: self.primary.clone(),
            generation: self.generation,
            status: self.status,
            headers: self.headers.clone(),
            aged: self.aged,
            upstream_status: self.upstream_status.clone(),
            freshness: self.freshness.clone(),
            fields: Arc::clone(&self.fields),
            identity: Arc::clone(&self.identity),
            mark: self.mark.clone(),
            length,
            part,
            head_only: false,
            body,
            retry: AtomicU64::new(0),
            prepared: Prepared::default(),
            asked_again: AtomicBool::new(false),
        }
    }

    /// Whether it answers a request with these header fields, as far as `Vary` goes.
    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        let key = || vary::key(&self.primary, self.generation, &self.fields, request);
        self.fields.is_empty() || self.key == if self.head_only { key().head() } else { key() }
    }

    /// What it costs in memory beside its key, in bytes; `tests/weight.rs` compares it with what the allocator says.
    pub(crate) fn weight(&self) -> u64 {
        let (mut names, mut values) = (0, 0);
        for (name, value) in &self.headers {
            names += name.as_str().len() as u64;
            values += value.len() as u64;
        }
        let fields = self.headers.len() as u64;
        let map = FIELD_COST * self.headers.capacity() as u64 + NAME_COST * fields + names + values + NAME_COST;
        // As text and as a field section, whether they are there yet or not.
        let prepared = 2 * (names + values + SEPARATORS * fields + PREPARED_COST);
        // What was read from disk does not share it with the key.
        let primary = 32 + self.primary.text_len() as u64;
        OBJECT_COST + map + prepared + primary + self.body.cost() + self.identity.weight() + self.mark.weight()
    }
}

/// The header fields as they are stored: one small buffer of their own, because the ones from the network share the buffer of a whole head;
/// with a `Date` (RFC 9110 section 6.6.1) and without those in `omit` and what belongs to one hop or is not to be stored (RFC 9111 section 3.1).
pub(crate) fn storable(headers: &HeaderMap, omit: &[HeaderName], responded_at: Time) -> HeaderMap {
    let is_kept = |name: &HeaderName| !is_never_stored(name.as_str()) && !omit.contains(name);
    let kept = || headers.iter().filter(|(name, _)| is_kept(name));
    let mut values = BytesMut::with_capacity(kept().map(|(_, value)| value.len()).sum());
    kept().for_each(|(_, value)| values.extend_from_slice(value.as_bytes()));
    let mut values = values.freeze();
    // Not a clone: what that takes cannot be told from its capacity, by which it is weighed.
    let mut out = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in kept() {
        let bytes: Bytes = values.split_to(value.len());
        out.append(name.clone(), HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| value.clone()));
    }
    if crate::freshness::date(&out, header::DATE).is_none() {
        out.insert(header::DATE, http_date(responded_at));
    }
    out
}

fn is_never_stored(name: &str) -> bool {
    matches!(name, "age" | "cache-status") || OF_ONE_CONNECTION.contains(&name)
}

/// A time as HTTP fields write it.
pub(crate) fn http_date(time: Time) -> HeaderValue {
    let date = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time.0.min(DATE_MAX_MS));
    HeaderValue::from_str(&httpdate::fmt_http_date(date)).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// The end of the year 9999, the last that an HTTP date can name.
const DATE_MAX_MS: u64 = 253_402_300_799_000;
