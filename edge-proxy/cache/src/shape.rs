//! What of a stored answer a request gets: all of it, ranges, its head, or the word that it is not modified (RFC 9110 sections 13 and 14).
//!
//! Pure. Tells whether an object can answer a request at all; making the answer is [`crate::exchange`]'s.

use http::{StatusCode, header};

use crate::conditional;
use crate::object::Object;
use crate::range::{self, Asked, ContentRange, Wanted};
use crate::request::Request;

/// What of an object a request gets. Positions are in the whole representation: the first byte and the one after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    /// The head alone, as HEAD asks for.
    Head,
    /// A status that has no body.
    NoBody,
    NotModified,
    Part(u64, u64),
    /// Several, ascending.
    Parts(Vec<(u64, u64)>),
    Unsatisfiable,
}

/// RFC 9110 section 13.2.2: `If-None-Match`, else `If-Modified-Since`, then `Range` with `If-Range`. Conditions count for 200 only, ranges for
/// GET only. `None` when the object lacks what the request needs.
pub(crate) fn of(object: &Object, request: &Request) -> Option<Shape> {
    let is_ok = object.status == StatusCode::OK;
    if is_ok && conditional::is_not_modified(&request.headers, &object.headers) {
        return Some(Shape::NotModified);
    }
    if object.head_only && !request.head_only {
        return None;
    }
    if has_no_body(object.status) {
        return Some(Shape::NoBody);
    }
    if let Some(part) = object.part {
        return if request.head_only { None } else { of_part(object, part, request) };
    }
    if request.head_only {
        return Some(Shape::Head);
    }
    // While the length is not known a range cannot be told from an unsatisfiable one: the whole is sent.
    let Some(length) = object.length().filter(|_| is_ok) else { return Some(Shape::Whole) };
    Some(match range::asked(&request.headers, &object.headers, length) {
        Asked::Whole => Shape::Whole,
        Asked::Parts(ranges) => of_ranges(ranges),
        Asked::Unsatisfiable => Shape::Unsatisfiable,
    })
}

/// The same for the request that the object was fetched for: where nobody knows the length of the whole, the end of the part is the end that
/// upstream chose for this request, and for no other.
pub(crate) fn of_fetched(object: &Object, request: &Request) -> Option<Shape> {
    let shape = of(object, request);
    if shape.is_some() || request.head_only || object.length().is_some() || request.headers.contains_key(header::IF_RANGE) {
        return shape;
    }
    let part = object.part?;
    range::wanted(&request.headers).filter(|wanted| part.answers(wanted)).map(|_| Shape::Part(part.start, part.end))
}

fn of_ranges(mut ranges: Vec<(u64, u64)>) -> Shape {
    // Ascending, so that a body that is still growing is read forwards only; RFC 9110 section 15.3.7.2 leaves the order to the server.
    ranges.sort_unstable();
    match ranges[..] {
        [(start, end)] => Shape::Part(start, end),
        _ => Shape::Parts(ranges),
    }
}

fn of_part(object: &Object, part: ContentRange, request: &Request) -> Option<Shape> {
    let ranges = match object.length() {
        Some(length) => match range::asked(&request.headers, &object.headers, length) {
            Asked::Whole => return None,
            Asked::Parts(ranges) => ranges,
            Asked::Unsatisfiable => return Some(Shape::Unsatisfiable),
        },
        None if request.headers.contains_key(header::IF_RANGE) => return None,
        None => match range::wanted(&request.headers)? {
            // Where nobody knows the length, nobody knows whether there is more behind the part.
            Wanted::From { first, last: Some(last) } if last < part.end => vec![(first, last + 1)],
            Wanted::From { .. } | Wanted::Suffix(_) => return None,
        },
    };
    let is_there = |&(start, end): &(u64, u64)| part.start <= start && start < end && end <= part.end;
    ranges.iter().all(is_there).then(|| of_ranges(ranges))
}

/// Whether an answer with this status never has a body.
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
