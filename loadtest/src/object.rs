//! The objects that are asked for: their names say what they are, and every byte of them is known on both sides.

use std::ops::Range;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// All bodies are cut from this many bytes, each from a place of its own; a prime, so that no slice of a large body is like the next.
const PATTERN_BYTES: usize = 65_537;
/// How many header fields an answer with many has.
const FIELDS: usize = 40;
/// How many tags there are.
pub(crate) const TAGS: u64 = 50;
/// The longest body, in bytes.
const BYTES_MAX: u64 = 1 << 30;

/// What an answer is like beside its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Cacheable for a day, with a strong validator.
    Plain,
    /// The same with many header fields.
    Fields,
    /// The same with a tag.
    Tagged,
    /// The same for each language.
    Varied,
    /// Not to be stored.
    Private,
}

impl Kind {
    const ALL: [(Self, &'static str); 5] =
        [(Self::Plain, "plain"), (Self::Fields, "fields"), (Self::Tagged, "tagged"), (Self::Varied, "varied"), (Self::Private, "private")];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Object {
    /// A small one: all of them together take one page of the disk each.
    pub(crate) fn small(number: u64) -> Self {
        Self { kind: Kind::Plain, number, bytes: 500 + number * 7 % 2_000 }
    }

    pub(crate) fn path(self) -> PathAndQuery {
        let path = format!("/{}/{}/{}", self.kind.name(), self.number, self.bytes);
        path.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }

    /// What a path names.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (kind, number, bytes) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (kind, _) = Kind::ALL.into_iter().find(|(_, name)| *name == kind)?;
        (parts.next().is_none() && bytes <= BYTES_MAX).then_some(Self { kind, number, bytes })
    }

    /// The head of the answer.
    pub(crate) fn head(self) -> HeaderMap {
        let mut head = HeaderMap::new();
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("none"));
        let control = if self.kind == Kind::Private { "no-store" } else { "max-age=86400" };
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        head.insert(header::ETAG, self.validator());
        match self.kind {
            Kind::Fields => {
                for field in 0..FIELDS {
                    let name = HeaderName::try_from(format!("x-field-{field}"));
                    name.into_iter().for_each(|name| drop(head.insert(name, value(format!("value {field} of object {}", self.number)))));
                }
            }
            Kind::Tagged => drop(head.insert("cache-tag", value(format!("tag-{}", self.number % TAGS)))),
            Kind::Varied => drop(head.insert(header::VARY, HeaderValue::from_static("accept-language"))),
            Kind::Plain | Kind::Private => {}
        }
        head
    }

    /// The strong validator of its one version.
    pub(crate) fn validator(self) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{}-{}\"", self.number, self.bytes)).unwrap_or(HeaderValue::from_static("\"none\""))
    }

    fn place(self, at: u64) -> usize {
        let length = PATTERN_BYTES as u64;
        usize::try_from((self.number.wrapping_mul(7_919) % length + at % length) % length).unwrap_or(0)
    }
}

/// What all bodies are cut from.
#[derive(Debug)]
pub(crate) struct Pattern(Box<[u8]>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        let once: Vec<u8> = (0..PATTERN_BYTES).map(|_| next()).collect();
        // Twice, so that as much as one round of it begins anywhere.
        Self([&once[..], &once[..]].concat().into())
    }

    /// The bytes of a body from `range.start` on: some of those in the range, at least one.
    pub(crate) fn piece(&self, object: Object, range: &Range<u64>) -> &[u8] {
        let place = object.place(range.start);
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(PATTERN_BYTES);
        &self.0[place..place + length]
    }

    /// Whether these are the bytes of a body from `at` on.
    pub(crate) fn is(&self, object: Object, at: u64, bytes: &[u8]) -> bool {
        let mut at = at;
        bytes.chunks(PATTERN_BYTES).all(|chunk| {
            let range = at..at + chunk.len() as u64;
            at = range.end;
            self.piece(object, &range) == chunk
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_object_and_nothing_else() {
        for kind in [Kind::Plain, Kind::Fields, Kind::Tagged, Kind::Varied, Kind::Private] {
            let object = Object { kind, number: 17, bytes: 1_000 };
            assert_eq!(Object::of(object.path().path()), Some(object));
            assert_eq!(object.head().contains_key("x-field-39"), kind == Kind::Fields);
        }
        for wrong in ["", "/", "/plain/1", "/plain/1/2/3", "/plain/x/1", "/else/1/1", "/plain/1/99999999999"] {
            assert_eq!(Object::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_body_is_told_from_another_and_from_another_place() {
        let pattern = Pattern::new();
        let object = Object { kind: Kind::Plain, number: 3, bytes: 200_000 };
        let mut body = Vec::new();
        while (body.len() as u64) < object.bytes {
            body.extend_from_slice(pattern.piece(object, &(body.len() as u64..object.bytes)));
        }
        assert_eq!(body.len() as u64, object.bytes);
        assert!(pattern.is(object, 0, &body) && pattern.is(object, 70_000, &body[70_000..150_000]));
        assert!(!pattern.is(object, 1, &body) && !pattern.is(Object { number: 4, ..object }, 0, &body));
        body[150_000] ^= 1;
        assert!(!pattern.is(object, 0, &body));
    }
}
