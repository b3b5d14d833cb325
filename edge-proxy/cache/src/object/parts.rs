//! Parts of a representation that is not stored whole (RFC 9111 section 3.3), and how they combine (section 3.4).
//!
//! Owns which bytes are there. Bytes that touch or overlap are one run; each run is an object of its own, so that a range inside it is
//! answered like any other. All runs have the head of the part that came last (RFC 9110 section 15.3.7.3).

use std::sync::Arc;

use super::{Filling, Growing, Object};
use crate::conditional::strong_etag;
use crate::range::ContentRange;

/// The most runs of one representation; the shortest gives way to a further one.
const RUNS_MAX: usize = 64;

impl Combined {
    /// How many bytes of the representation there are.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Whole(whole) => whole.body.len(),
            Self::Parts(parts) => parts.runs.iter().map(|run| run.body.len()).sum(),
        }
    }
}

/// The runs of one representation: ascending, none touching another, never empty.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    runs: Vec<Arc<Object>>,
}

/// What a new part makes of the ones there are.
#[derive(Debug)]
pub(crate) enum Combined {
    /// Nothing is missing any more.
    Whole(Arc<Object>),
    /// Something still is.
    Parts(Arc<Parts>),
}

impl Parts {
    /// `new`, whose body is whole, beside the runs of `there` if both are parts of the very same representation: with one strong entity tag
    /// (RFC 9110 section 15.3.7.3) and no contradiction about the length.
    pub(crate) fn combined(there: Option<&Self>, new: &Arc<Object>, filling: &Arc<Filling>) -> Combined {
        let there = there.filter(|there| there.is_of_same(new)).map_or(&[][..], |there| &there.runs);
        let length = new.length.or_else(|| there.iter().find_map(|run| run.length));
        let mut held = bytes_of(new);
        let mut apart = Vec::new();
        for run in there {
            let run_bytes = bytes_of(run);
            if run_bytes.start <= held.end && held.start <= run_bytes.end {
                held = held.with(run_bytes);
            } else {
                apart.push(run_bytes);
            }
        }
        let whole = held.start == 0 && length == Some(held.end);
        if whole {
            return Combined::Whole(Arc::new(new.around(None, length, Growing::of_pieces(Arc::clone(filling), held.pieces))));
        }
        apart.push(held);
        apart.sort_by_key(|bytes| bytes.start);
        if apart.len() > RUNS_MAX
            && let Some(shortest) = (0..apart.len()).min_by_key(|&index| apart[index].end - apart[index].start)
        {
            apart.remove(shortest);
        }
        let run = |bytes: Bytes| {
            let part = ContentRange { start: bytes.start, end: bytes.end, total: length };
            Arc::new(new.around(Some(part), length, Growing::of_pieces(Arc::clone(filling), bytes.pieces)))
        };
        Combined::Parts(Arc::new(Self { runs: apart.into_iter().map(run).collect() }))
    }

    fn is_of_same(&self, new: &Object) -> bool {
        let ours = self.head();
        let same_tag = strong_etag(&ours.headers).is_some_and(|tag| strong_etag(&new.headers) == Some(tag));
        let same_length = ours.length.zip(new.length).is_none_or(|(ours, theirs)| ours == theirs);
        let end = self.runs.last().map_or(0, |run| run.offset() + run.body.len()).max(new.offset() + new.body.len());
        same_tag && same_length && ours.length.or(new.length).is_none_or(|length| end <= length)
    }

    /// An object with the head that all runs share.
    pub(crate) fn head(&self) -> &Arc<Object> {
        // There is always one: `combined` puts the new part in, and takes one out only when there are more.
        &self.runs[0]
    }

    /// Every run, ascending.
    pub(crate) fn runs(&self) -> &[Arc<Object>] {
        &self.runs
    }

    /// What is missing of a representation of this length: first byte and the one after the last.
    pub(crate) fn gaps(&self, length: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for part in self.runs.iter().filter_map(|run| run.part) {
            if at < part.start {
                gaps.push((at, part.start));
            }
            at = part.end;
        }
        if at < length {
            gaps.push((at, length));
        }
        gaps
    }

    /// What they cost in memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.runs.iter().map(|run| run.weight()).sum()
    }
}

/// Some bytes and their place in the representation.
struct Bytes {
    start: u64,
    end: u64,
    pieces: Vec<bytes::Bytes>,
}

fn bytes_of(object: &Object) -> Bytes {
    let start = object.offset();
    Bytes { start, end: start + object.body.len(), pieces: object.body.pieces(0, u64::MAX) }
}

impl Bytes {
    /// These bytes and what `other`, which touches them, has before and after them.
    fn with(self, other: Self) -> Self {
        let (start, end) = (self.start.min(other.start), self.end.max(other.end));
        let before = cut(&other, other.start, self.start);
        let after = cut(&other, self.end, other.end);
        Self { start, end, pieces: before.into_iter().chain(self.pieces).chain(after).collect() }
    }
}

/// What of `bytes` lies from `start` up to `end`. A piece that is cut is copied: a byte of it would keep all of it in memory.
fn cut(bytes: &Bytes, start: u64, end: u64) -> Vec<bytes::Bytes> {
    let mut at = bytes.start;
    let mut out = Vec::new();
    for piece in &bytes.pieces {
        let next = at + piece.len() as u64;
        let (from, to) = (start.clamp(at, next), end.clamp(at, next));
        if from < to {
            let place = |offset: u64| usize::try_from(offset - at).unwrap_or(usize::MAX);
            let cut = piece.slice(place(from)..place(to));
            out.push(if cut.len() < piece.len() { bytes::Bytes::copy_from_slice(&cut) } else { cut });
        }
        at = next;
    }
    out
}
