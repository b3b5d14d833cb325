//! What is stored under a key, as the payload of a record: heads of objects, markers of variants, rules of queries.
//!
//! Pure. A payload is a row of fields, each with a tag and a length, so that a reader passes over what it does not know; what it needs and does
//! not find makes the whole none. The body of a small object follows its head; that of a large one is in slices (see [`super::slices`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::record::{Kind, Record, Stamp};
use super::slices::Slices;
use crate::codec::{Reader, Writer};
use crate::freshness::{Freshness, Source};
use crate::key::Key;
use crate::no_vary_search;
use crate::object::{Filling, Growing, Object, Prepared};
use crate::purge::{Identity, Mark, Tags};
use crate::store::{Entry, Marker};
use crate::time::Time;

const STATUS: u8 = 1;
const HEADERS: u8 = 2;
const FLAGS: u8 = 3;
const UPSTREAM_STATUS: u8 = 4;
const FRESHNESS: u8 = 5;
const VARY: u8 = 6;
const IDENTITY: u8 = 7;
const TAGS: u8 = 8;
const GROUPS: u8 = 9;
const LENGTH: u8 = 10;
const PRIMARY: u8 = 11;
const SLICES: u8 = 12;
const GENERATION: u8 = 13;
const RULES: u8 = 14;

/// Room that is made for a head at first, in bytes; most take no more.
const HEAD_BYTES: usize = 1 << 10;

const AGED: u8 = 1;
const HEAD_ONLY: u8 = 2;
const SPARSE: u8 = 4;
const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;
const IMMUTABLE: u8 = 4;

/// Where lifetimes come from, as written.
const SOURCES: [Source; 9] = [
    Source::Nothing,
    Source::Ttls,
    Source::Negative,
    Source::Rule,
    Source::SharedMaxAge,
    Source::MaxAge,
    Source::Expires,
    Source::Default,
    Source::Heuristic,
];

/// The record of an object whose body is in `slices`, or behind its head where there are none.
pub(super) fn of_object(object: &Object, slices: Option<&Slices>) -> Bytes {
    let body = if slices.is_some() { Vec::new() } else { object.body.pieces(0, u64::MAX) };
    let total = slices.map_or_else(|| object.body.len(), |slices| slices.length);
    let [seq, invalidations, drops, order] = object.mark.numbers();
    let stamp = Stamp { seq, invalidations, drops, order };
    record(Kind::Object, &object.key, total, stamp, |out| write_head(object, slices, out)).encode(&body)
}

fn write_head(object: &Object, slices: Option<&Slices>, out: &mut Writer) {
    out.field(STATUS, |out| out.short(object.status.as_u16()));
    out.field(HEADERS, |out| {
        for (name, value) in &object.headers {
            out.bytes(name.as_str().as_bytes());
            out.bytes(value.as_bytes());
        }
    });
    let is_sparse = slices.is_some_and(|slices| slices.is_sparse);
    let flags = (u8::from(object.aged) * AGED) | (u8::from(object.head_only) * HEAD_ONLY) | (u8::from(is_sparse) * SPARSE);
    out.field(FLAGS, |out| out.byte(flags));
    if let Some(status) = &object.upstream_status {
        out.field(UPSTREAM_STATUS, |out| out.bytes(status.as_bytes()));
    }
    out.field(FRESHNESS, |out| write_freshness(&object.freshness, out));
    out.field(VARY, |out| object.fields.iter().for_each(|name| out.bytes(name.as_str().as_bytes())));
    out.field(IDENTITY, |out| object.identity.write(out));
    out.field(TAGS, |out| object.mark.tags().write(out));
    out.field(GROUPS, |out| out.names(object.mark.groups().iter()));
    if let Some(length) = object.length {
        out.field(LENGTH, |out| out.number(length));
    }
    out.field(PRIMARY, |out| {
        out.number(object.generation);
        out.bytes(object.primary.text());
    });
    if let Some(slices) = slices {
        out.field(SLICES, |out| {
            out.number(slices.object);
            out.number(slices.slice_bytes);
            out.number(slices.length);
        });
    }
}

/// The record of a marker.
pub(super) fn of_marker(key: &Key, marker: &Marker, order: u64) -> Bytes {
    let write = |out: &mut Writer| {
        out.field(GENERATION, |out| out.number(marker.generation));
        out.field(VARY, |out| marker.fields.iter().for_each(|name| out.bytes(name.as_str().as_bytes())));
    };
    record(Kind::Marker, key, 0, Stamp { order, ..Stamp::default() }, write).encode(&[])
}

/// The record of what answers say of queries.
pub(super) fn of_rules(key: &Key, rules: &no_vary_search::Rules, order: u64) -> Bytes {
    let write = |out: &mut Writer| out.field(RULES, |out| rules.write(out));
    record(Kind::Search, key, 0, Stamp { order, ..Stamp::default() }, write).encode(&[])
}

fn record(kind: Kind, key: &Key, total: u64, stamp: Stamp, write_head: impl FnOnce(&mut Writer)) -> Record {
    let mut payload = Writer::with_capacity(HEAD_BYTES);
    payload.behind_length(write_head);
    let key = Bytes::copy_from_slice(key.text());
    Record { kind, key, object: stamp.order, number: 0, total, stamp, payload: payload.finish().into() }
}

/// What a record holds; none when it lacks something. `slices` opens the body of a large object.
pub(super) fn entry(record: &Record, filling: &Arc<Filling>, slices: impl FnOnce(u64, u64, u64, bool) -> Slices) -> Option<Entry> {
    let mut payload = Reader::new(record.payload.clone());
    let mut fields = Fields::of(Reader::new(payload.bytes()?))?;
    let key = Key::from_text(record.key.to_vec());
    match record.kind {
        Kind::Object => fields.object(record, key, payload.rest(), filling, slices).map(|object| Entry::Object(Arc::new(object))),
        Kind::Marker => {
            let marker = Marker { fields: fields.vary.take()?.into(), generation: fields.generation? };
            Some(Entry::Marker(Arc::new(marker)))
        }
        Kind::Search => Some(Entry::Search(Arc::new(fields.rules?))),
        Kind::Slice | Kind::Nothing => None,
    }
}

/// The fields that were found.
#[derive(Default)]
struct Fields {
    status: Option<StatusCode>,
    headers: Option<HeaderMap>,
    flags: u8,
    upstream_status: Option<HeaderValue>,
    freshness: Option<Freshness>,
    vary: Option<Vec<HeaderName>>,
    identity: Option<Identity>,
    tags: Tags,
    groups: Vec<u128>,
    length: Option<u64>,
    primary: Option<(u64, Key)>,
    slices: Option<(u64, u64, u64)>,
    generation: Option<u64>,
    rules: Option<no_vary_search::Rules>,
}

impl Fields {
    fn of(mut from: Reader) -> Option<Self> {
        let mut found = Self::default();
        while !from.is_empty() {
            let (tag, mut value) = from.field()?;
            match tag {
                STATUS => found.status = Some(StatusCode::from_u16(value.short()?).ok()?),
                HEADERS => found.headers = Some(headers(value)?),
                FLAGS => found.flags = value.byte()?,
                UPSTREAM_STATUS => found.upstream_status = Some(HeaderValue::from_maybe_shared(value.bytes()?).ok()?),
                FRESHNESS => found.freshness = Some(freshness(&mut value)?),
                VARY => found.vary = Some(names(value)?),
                IDENTITY => found.identity = Some(Identity::read(&mut value)?),
                TAGS => found.tags = Tags::read(&mut value)?,
                GROUPS => found.groups = value.names()?,
                LENGTH => found.length = Some(value.number()?),
                PRIMARY => found.primary = Some((value.number()?, Key::from_text(value.bytes()?.to_vec()))),
                SLICES => found.slices = Some((value.number()?, value.number()?, value.number()?)),
                GENERATION => found.generation = Some(value.number()?),
                RULES => found.rules = Some(no_vary_search::Rules::read(&mut value)?),
                _ => {}
            }
        }
        Some(found)
    }

    fn object(
        self,
        record: &Record,
        key: Key,
        rest: Bytes,
        filling: &Arc<Filling>,
        slices: impl FnOnce(u64, u64, u64, bool) -> Slices,
    ) -> Option<Object> {
        let headers = self.headers?;
        let body = match self.slices {
            Some((object, slice_bytes, length)) if slice_bytes > 0 && length == record.total && rest.is_empty() => {
                Growing::of_slices(Arc::clone(filling), slices(object, slice_bytes, length, self.flags & SPARSE != 0))
            }
            None if rest.len() as u64 == record.total => Growing::of_pieces(Arc::clone(filling), [Bytes::copy_from_slice(&rest)]),
            _ => return None,
        };
        let (generation, primary) = self.primary?;
        let Stamp { seq, invalidations, drops, order } = record.stamp;
        Some(Object {
            key,
            primary,
            generation,
            status: self.status?,
            headers,
            aged: self.flags & AGED != 0,
            upstream_status: self.upstream_status,
            freshness: self.freshness?,
            fields: self.vary?.into(),
            identity: Arc::new(self.identity?),
            mark: Mark::of_numbers([seq, invalidations, drops, order], self.tags, self.groups.into()),
            length: self.length,
            part: None,
            head_only: self.flags & HEAD_ONLY != 0,
            body,
            retry: AtomicU64::new(0),
            prepared: Prepared::default(),
            asked_again: AtomicBool::new(true),
        })
    }
}

/// Fields of HTTP, in one small buffer of their own: what they were read from may be a large record.
fn headers(from: Reader) -> Option<HeaderMap> {
    let mut from = Reader::new(Bytes::copy_from_slice(&from.rest()));
    let mut headers = HeaderMap::new();
    while !from.is_empty() {
        let name = HeaderName::from_bytes(&from.bytes()?).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(from.bytes()?).ok()?).ok()?;
    }
    Some(headers)
}

fn names(mut from: Reader) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    while !from.is_empty() {
        names.push(HeaderName::from_bytes(&from.bytes()?).ok()?);
    }
    Some(names)
}

fn write_freshness(freshness: &Freshness, out: &mut Writer) {
    let Freshness { lifetime, initial_age, responded_at, source, .. } = freshness;
    for period in [lifetime, initial_age, &freshness.stale_while_revalidate, &freshness.stale_if_error] {
        out.number(period.as_secs());
        out.word(period.subsec_nanos());
    }
    out.number(responded_at.0);
    out.byte(SOURCES.iter().position(|known| known == source).and_then(|at| u8::try_from(at).ok()).unwrap_or(0));
    let flag = |is_so: bool, flag: u8| u8::from(is_so) * flag;
    out.byte(flag(freshness.no_cache, NO_CACHE) | flag(freshness.must_revalidate, MUST_REVALIDATE) | flag(freshness.immutable, IMMUTABLE));
}

fn freshness(from: &mut Reader) -> Option<Freshness> {
    let mut period = || Some(Duration::new(from.number()?, from.word().filter(|nanos| *nanos < 1_000_000_000)?));
    let [lifetime, initial_age, stale_while_revalidate, stale_if_error] = [period()?, period()?, period()?, period()?];
    let responded_at = Time(from.number()?);
    let source = *SOURCES.get(usize::from(from.byte()?))?;
    let flags = from.byte()?;
    Some(Freshness {
        lifetime,
        initial_age,
        responded_at,
        source,
        no_cache: flags & NO_CACHE != 0,
        must_revalidate: flags & MUST_REVALIDATE != 0,
        immutable: flags & IMMUTABLE != 0,
        stale_while_revalidate,
        stale_if_error,
    })
}
