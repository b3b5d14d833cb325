//! How much of a resource is asked for upstream when not all that a request needs is stored.

use crate::conditional::strong_etag;
use crate::flight::Scope;
use crate::lookup::Found;
use crate::object::Object;
use crate::range::{Wanted, wanted};
use crate::request::Request;

/// A range that is open to the end and begins this near, in bytes, is fetched with all that is before it, and one that begins this near
/// behind what has come of a body waits for it. Resources that are not longer are fetched whole once a range of them is known.
const NEAR_BYTES: u64 = 1 << 20;

/// How large answers come in slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slicing {
    /// The size of a slice, in bytes.
    pub(super) slice_bytes: u64,
    /// What is longer is large, in bytes.
    pub(super) above: u64,
}

impl Slicing {
    /// Whether an object, or what a stored part is of, is so large that it comes in slices.
    pub(super) fn takes(self, object: &Object) -> bool {
        object.length.is_some_and(|length| length > self.above) && strong_etag(&object.headers).is_some()
    }
}

/// For a request that the store does not answer. Where large answers come in slices, a range of one is asked for with the whole of its first and its
/// last slice, and so is one that begins far into what nobody knows.
pub(super) fn of(request: &Request, found: &Found, slicing: Option<Slicing>) -> Scope {
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
        Some(wanted) => {
            let may_be_large = |slicing: &Slicing| match &found.parts {
                Some(parts) => slicing.takes(parts.head()),
                None => matches!(wanted, Wanted::From { first, .. } if first > NEAR_BYTES),
            };
            Scope::Range(slicing.filter(may_be_large).map_or(wanted, |slicing| in_slices(wanted, slicing.slice_bytes)))
        }
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
