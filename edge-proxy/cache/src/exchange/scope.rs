//! How much of a resource is asked for upstream when not all that a request needs is stored.

use crate::flight::Scope;
use crate::lookup::Found;
use crate::object::Object;
use crate::range::{Wanted, wanted};
use crate::request::Request;

/// A range that is open to the end and begins this near, in bytes, is fetched with all that is before it, and one that begins this near
/// behind what has come of a body waits for it. Resources that are not longer are fetched whole once a range of them is known.
const NEAR_BYTES: u64 = 1 << 20;

/// For a request that the store does not answer. Where what is large comes in slices of so many bytes, a range is asked for with the whole of its
/// first and its last slice, unless parts are stored as they were asked for.
pub(super) fn of(request: &Request, found: &Found, slice_bytes: Option<u64>) -> Scope {
    if request.head_only {
        return Scope::Head;
    }
    let is_small = found.parts.as_ref().is_some_and(|parts| parts.head().length.is_some_and(|length| length <= NEAR_BYTES));
    // A stored whole is validated as such, for every client at once.
    if is_small || found.object.as_ref().is_some_and(|object| !object.is_partial()) {
        return Scope::Whole;
    }
    match wanted(&request.headers) {
        None => Scope::Whole,
        Some(Wanted::From { first, last: None }) if first <= NEAR_BYTES => Scope::Whole,
        Some(wanted) => Scope::Range(slice_bytes.filter(|_| found.parts.is_none()).map_or(wanted, |bytes| in_slices(wanted, bytes))),
    }
}

/// The slices of so many bytes that a range touches; the range itself where it counts from an end that nobody knows.
fn in_slices(wanted: Wanted, bytes: u64) -> Wanted {
    match wanted {
        Wanted::From { first, last } => {
            let last = last.map(|last| (last - last % bytes).saturating_add(bytes - 1));
            Wanted::From { first: first - first % bytes, last }
        }
        Wanted::Suffix(_) => wanted,
    }
}

/// For refreshing what is stored.
pub(super) fn of_refresh(object: &Object) -> Scope {
    match object.part {
        _ if object.head_only => Scope::Head,
        Some(part) => Scope::Range(Wanted::From { first: part.start, last: Some(part.end - 1) }),
        None => Scope::Whole,
    }
}

/// Whether the range that a request asks for lies so far behind what has come of a body that it is better fetched by itself.
pub(super) fn is_far(object: &Object, request: &Request) -> bool {
    if object.body.is_whole() || request.head_only {
        return false;
    }
    let first = match wanted(&request.headers) {
        None => return false,
        Some(Wanted::From { first, .. }) => first,
        Some(Wanted::Suffix(bytes)) => match object.length() {
            Some(length) => length.saturating_sub(bytes),
            None => return true,
        },
    };
    first > object.offset().saturating_add(object.body.len()).saturating_add(NEAR_BYTES)
}
