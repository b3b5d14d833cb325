//! The bodies of one connection's answers that are at hand but do not fit into the client's windows at once: hands them to the `h2` crate piece by
//! piece, the more urgent first (RFC 9218 section 10).
//!
//! The crate sends what it was given stream after stream in turn and takes no word on the order. So it is given little at a time: what is still here
//! can be overtaken.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::time::Instant;

use crate::door::Entry;
use crate::pace::{self, WINDOW};
use crate::priority::Priority;

/// Bytes handed over for one stream before the next one has its turn: a frame of the size that every client takes (RFC 9113 section 4.2).
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// Bytes handed over before the connection is asked again whether it takes more.
const ROUND_BYTES_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    all: Vec<Body>,
    /// Counts the turns that were had.
    turns: u64,
}

/// An answer's body.
#[derive(Debug)]
pub(super) struct Body {
    stream: SendStream<Bytes>,
    id: u32,
    /// The last piece first.
    pieces: Vec<Bytes>,
    priority: Priority,
    /// When it last had its turn.
    turn: u64,
    /// Whether the client's windows were full when it was last asked for.
    starved: bool,
    entry: Entry,
    sent: u64,
    /// What was sent before this period, and when that began.
    before: u64,
    since: Instant,
}

/// An answer that ended, with the bytes of its body that were sent, and whether that was all of it.
pub(super) struct Ended(pub(super) Entry, pub(super) u64, pub(super) bool);

impl Body {
    pub(super) fn new(stream: SendStream<Bytes>, mut pieces: Vec<Bytes>, priority: Priority, entry: Entry) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        pieces.reverse();
        let (id, since) = (stream.stream_id().as_u32(), Instant::now());
        Self { stream, id, pieces, priority, turn: 0, starved: false, entry, sent: 0, before: 0, since }
    }

    /// Hands over at most one piece; how much, or `None` when the client has given the stream up.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        let Some(piece) = self.pieces.last_mut() else { return Some(0) };
        self.stream.reserve_capacity(piece.len().min(PIECE_BYTES_MAX));
        let room = match self.stream.capacity() {
            0 => match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(_) => return None,
                Poll::Pending => 0,
            },
            room => room,
        };
        self.starved = room == 0;
        if room == 0 {
            return Some(0);
        }
        let data = piece.split_to(room.min(piece.len()).min(PIECE_BYTES_MAX));
        if piece.is_empty() {
            self.pieces.pop();
        }
        let length = data.len();
        self.stream.send_data(data, self.pieces.is_empty()).ok()?;
        self.sent += length as u64;
        Some(length)
    }
}

impl Bodies {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn add(&mut self, body: Body) {
        self.all.push(body);
    }

    /// Changes the priority of a stream, if its answer is still here.
    pub(super) fn reprioritize(&mut self, id: u32, priority: Priority) {
        for body in self.all.iter_mut().filter(|body| body.id == id) {
            body.priority = priority;
        }
    }

    /// Hands over as much as one round takes. Gives whether anything was, and tells `ended` of answers that are no longer here.
    pub(super) fn hand_over(&mut self, cx: &mut Context<'_>, ended: &mut impl FnMut(Ended)) -> bool {
        self.all.iter_mut().for_each(|body| body.starved = false);
        let mut handed = 0;
        while handed < ROUND_BYTES_MAX {
            // Of those that want it in parts, whoever waited longest; of the others, whoever was asked for first.
            let order = |body: &Body| (body.priority, if body.priority.incremental { body.turn } else { 0 }, body.id);
            let ready = self.all.iter().enumerate().filter(|(_, body)| !body.starved);
            let Some(next) = ready.min_by_key(|(_, body)| order(body)).map(|(index, _)| index) else { break };
            self.turns += 1;
            let body = &mut self.all[next];
            body.turn = self.turns;
            let length = body.hand_over(cx);
            handed += length.unwrap_or(0);
            if length.is_none() || body.pieces.is_empty() {
                let Body { entry, sent, .. } = self.all.swap_remove(next);
                ended(Ended(entry, sent, length.is_some()));
            }
        }
        handed > 0
    }

    /// Resets the streams whose client took less than `rate_min` bytes a second over a [`WINDOW`], its own windows being what kept it from more.
    pub(super) fn cut_slow(&mut self, now: Instant, rate_min: u64, ended: &mut impl FnMut(Ended)) {
        let slow = |body: &mut Body| {
            if now.duration_since(body.since) < WINDOW {
                return false;
            }
            let moved = body.sent - body.before;
            (body.since, body.before) = (now, body.sent);
            body.starved && moved < pace::least(rate_min)
        };
        for mut body in self.all.extract_if(.., slow) {
            body.stream.send_reset(Reason::ENHANCE_YOUR_CALM);
            ended(Ended(body.entry, body.sent, false));
        }
    }

    /// Gives all up, for a connection that ended.
    pub(super) fn give_up(&mut self, ended: &mut impl FnMut(Ended)) {
        for Body { entry, sent, .. } in self.all.drain(..) {
            ended(Ended(entry, sent, false));
        }
    }
}
