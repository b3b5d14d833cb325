//! A body that readers follow while it grows.
//!
//! Owns the bytes and the positions of the readers. One writer appends; any number of readers read at their own offset and pace. The lock
//! covers pieces, length, end and positions, and is never held over a wait. Once whole, the pieces are immutable and read without it.
//!
//! A body that is not to be stored turns into a window: it takes no further readers, forgets what all of them have passed, and its writer
//! waits while it is more than [`WINDOW_BYTES`] ahead of the slowest, or [`NARROW_WINDOW_BYTES`] where memory is short.
//!
//! A body that is too large for memory has its beginning, or all of it, in slices on disk: readers get from there what is not here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fetch::{FetchError, FetchErrorKind};
use crate::store::{Mend, Reading, Slices};

/// How far, in bytes, the writer of a window runs ahead of its slowest reader.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// The same while bodies that are being fetched take more than they may.
pub(crate) const NARROW_WINDOW_BYTES: u64 = 64 << 10;

/// Small pieces are joined up to this many bytes when the body is whole.
const PIECE_BYTES: usize = 64 << 10;

/// What one piece costs beside its bytes: its place in the list and its reference count.
pub(crate) const PIECE_COST: u64 = 96;

/// What slices cost beside their bytes, which are on disk: their key, and who has them.
const SLICES_COST: u64 = 512;

/// Bytes of all bodies that are being fetched, bookkeeping included.
#[derive(Debug, Default)]
pub(crate) struct Filling(AtomicU64);

impl Filling {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, piece: &Bytes) {
        self.0.fetch_add(piece.len() as u64 + PIECE_COST, Ordering::Relaxed);
    }

    fn sub(&self, piece: &Bytes) {
        self.0.fetch_sub(piece.len() as u64 + PIECE_COST, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Growing {
    state: Mutex<State>,
    whole: OnceLock<Whole>,
    /// Told to readers: more bytes, or the end.
    grown: Notify,
    /// Told to the writer: a reader moved or left.
    moved: Notify,
    filling: Arc<Filling>,
    /// Where on disk it is, or is being put.
    slices: OnceLock<Slices>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    len: u64,
    end: Option<Result<(), FetchError>>,
    window: bool,
    readers: HashMap<u64, u64>,
    next_reader: u64,
    /// So many bytes from the start are in slices, and not here.
    sliced: u64,
}

/// Some bytes and where they start.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// A body that has arrived entirely.
#[derive(Debug)]
struct Whole {
    pieces: Box<[Piece]>,
    len: u64,
    /// The bytes before this one are in slices alone.
    first: u64,
}

impl Growing {
    pub(crate) fn new(filling: Arc<Filling>) -> Arc<Self> {
        Arc::new(Self::empty(filling))
    }

    fn empty(filling: Arc<Filling>) -> Self {
        Self {
            state: Mutex::default(),
            whole: OnceLock::new(),
            grown: Notify::new(),
            moved: Notify::new(),
            filling,
            slices: OnceLock::new(),
        }
    }

    /// A body that is whole and in slices on disk.
    pub(crate) fn of_slices(filling: Arc<Filling>, slices: Slices) -> Arc<Self> {
        let body = Self::empty(filling);
        body.state.lock().end = Some(Ok(()));
        let len = slices.length;
        // The cells are new, so that they take the values.
        let _ = body.slices.set(slices);
        let _ = body.whole.set(Whole { pieces: Box::default(), len, first: len });
        Arc::new(body)
    }

    /// A body that is whole from the start. Small pieces are joined.
    pub(crate) fn of_pieces(filling: Arc<Filling>, pieces: impl IntoIterator<Item = Bytes>) -> Arc<Self> {
        let mut len = 0;
        let place = |bytes: Bytes| {
            let start = len;
            len += bytes.len() as u64;
            Piece { start, bytes }
        };
        let pieces = joined(pieces.into_iter().filter(|bytes| !bytes.is_empty()).map(place).collect());
        let body = Self::empty(filling);
        body.state.lock().end = Some(Ok(()));
        // The cell is new, so that it takes the value.
        let _ = body.whole.set(Whole { pieces, len, first: 0 });
        Arc::new(body)
    }

    /// The bytes from `start` up to `end` that are there, shared with this body; fewer where it is shorter or has forgotten some.
    pub(crate) fn pieces(&self, start: u64, end: u64) -> Vec<Bytes> {
        let cut = |piece: &Piece| (piece.start < end && piece.end() > start).then(|| slice(piece, start.max(piece.start), end));
        match self.whole.get() {
            Some(whole) => whole.pieces.iter().filter_map(cut).collect(),
            None => self.state.lock().pieces.iter().filter_map(cut).collect(),
        }
    }

    /// How many bytes have come.
    pub(crate) fn len(&self) -> u64 {
        self.whole.get().map_or_else(|| self.state.lock().len, |whole| whole.len)
    }

    /// Adds bytes, copied so that no larger buffer of the transport stays alive behind them; answers with the length.
    pub(crate) fn append(&self, bytes: &[u8]) -> u64 {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut state = self.state.lock();
        self.filling.add(&bytes);
        let start = state.len;
        state.len += bytes.len() as u64;
        state.pieces.push_back(Piece { start, bytes });
        let len = state.len;
        drop(state);
        self.grown.notify_waiters();
        len
    }

    /// The body is complete: readers get its end, and unless it is a window it can be stored.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock();
        state.end = Some(Ok(()));
        if !state.window {
            let pieces = std::mem::take(&mut state.pieces);
            for piece in &pieces {
                self.filling.sub(&piece.bytes);
            }
            // One is of its own size already.
            let pieces = if pieces.len() == 1 { pieces.into_iter().collect() } else { joined(pieces) };
            let whole = Whole { pieces, len: state.len, first: state.sliced };
            // Only the writer finishes, and only once; a second call would find the same bytes.
            let _ = self.whole.set(whole);
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The body ended early: every reader gets the error after the bytes there are. Nothing happens when it has ended already.
    pub(crate) fn fail(&self, error: FetchError) {
        self.state.lock().end.get_or_insert(Err(error));
        self.grown.notify_waiters();
    }

    /// Whether it has ended, properly or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_whole() || self.state.lock().end.is_some()
    }

    /// Turns the body into a window.
    pub(crate) fn make_window(&self) {
        let mut state = self.state.lock();
        state.window = true;
        self.forget_passed(&mut state);
    }

    pub(crate) fn is_window(&self) -> bool {
        self.state.lock().window
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole.get().is_some()
    }

    /// The length, once it is known.
    pub(crate) fn whole_len(&self) -> Option<u64> {
        self.whole.get().map(|whole| whole.len)
    }

    /// What a whole body costs in memory.
    pub(crate) fn cost(&self) -> u64 {
        let slices = if self.slices.get().is_some() { SLICES_COST } else { 0 };
        slices + self.whole.get().map_or(0, |whole| whole.len - whole.first + PIECE_COST * whole.pieces.len() as u64)
    }

    /// Whether all of a whole body is in memory.
    pub(crate) fn is_resident(&self) -> bool {
        self.whole.get().is_some_and(|whole| whole.first == 0)
    }

    /// Where on disk it is, or is being put.
    pub(crate) fn slices(&self) -> Option<&Slices> {
        self.slices.get()
    }

    /// Whether some of it cannot be had any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.slices.get().is_some_and(Slices::is_gone)
    }

    /// Puts the body into these slices from here on; nothing when it is in others already.
    pub(crate) fn put_into(&self, slices: Slices) {
        let _ = self.slices.set(slices);
    }

    /// Whether everything that has come, or all of it but less than a slice, is to go to disk before more comes.
    pub(crate) fn is_spilling(&self) -> bool {
        self.slices.get().is_some() && !self.is_whole()
    }

    /// The next slice that has come whole, or at the end what is left: its number and its bytes.
    pub(crate) fn next_slice(&self, at_end: bool) -> Option<(u32, Vec<Bytes>)> {
        let slice_bytes = self.slices.get()?.slice_bytes;
        let state = self.state.lock();
        let (start, stop) = (state.sliced, state.len.min(state.sliced + slice_bytes));
        if start == stop || (!at_end && stop - start < slice_bytes) {
            return None;
        }
        let cut = |piece: &Piece| (piece.start < stop && piece.end() > start).then(|| slice(piece, start.max(piece.start), stop));
        Some((u32::try_from(start / slice_bytes).ok()?, state.pieces.iter().filter_map(cut).collect()))
    }

    /// The slice is on disk, or on its way there, and can be read: its bytes need not stay here.
    pub(crate) fn slice_is_put(&self) {
        let Some(slices) = self.slices.get() else { return };
        let mut state = self.state.lock();
        state.sliced = state.len.min(state.sliced + slices.slice_bytes);
        while state.pieces.front().is_some_and(|piece| piece.end() <= state.sliced) {
            if let Some(piece) = state.pieces.pop_front() {
                self.filling.sub(&piece.bytes);
            }
        }
        drop(state);
        // Who waited for bytes that are no longer here finds them there.
        self.grown.notify_waiters();
    }

    /// Where in the body the bytes are that are in slices alone: from the start up to this one.
    fn sliced(&self) -> u64 {
        self.whole.get().map_or_else(|| self.state.lock().sliced, |whole| whole.first)
    }

    /// Waits until the writer may go on; `false` when it is a window that nobody reads any more. A window may run so many bytes ahead of its
    /// slowest reader.
    pub(crate) async fn room(&self, ahead_max: u64) -> bool {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            {
                let state = self.state.lock();
                if !state.window {
                    return true;
                }
                match state.readers.values().min() {
                    None => return false,
                    Some(&slowest) if state.len.saturating_sub(slowest) <= ahead_max => return true,
                    Some(_) => {}
                }
            }
            moved.await;
        }
    }

    /// A reader at the start; `None` when the body takes no more readers.
    pub(crate) fn cursor(self: &Arc<Self>) -> Option<Cursor> {
        if self.is_whole() {
            return Some(Cursor::new(self, None));
        }
        let mut state = self.state.lock();
        if state.window {
            return None;
        }
        let ticket = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(ticket, 0);
        drop(state);
        Some(Cursor::new(self, Some(ticket)))
    }

    fn forget_passed(&self, state: &mut State) {
        let Some(slowest) = state.readers.values().min().copied() else { return };
        while state.pieces.front().is_some_and(|piece| piece.end() <= slowest) {
            if let Some(piece) = state.pieces.pop_front() {
                self.filling.sub(&piece.bytes);
            }
        }
    }

    fn moved_to(&self, state: &mut State, ticket: u64, at: u64) {
        state.readers.insert(ticket, at);
        if state.window {
            self.forget_passed(state);
            self.moved.notify_waiters();
        }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        for piece in &self.state.get_mut().pieces {
            self.filling.sub(&piece.bytes);
        }
    }
}

/// Joins small neighbours, so that a body that came in crumbs costs what it weighs.
fn joined(pieces: VecDeque<Piece>) -> Box<[Piece]> {
    let mut out: Vec<Piece> = Vec::new();
    let mut small = BytesMut::new();
    let mut small_start = 0;
    for piece in pieces {
        if piece.bytes.len() >= PIECE_BYTES / 2 && small.is_empty() {
            out.push(piece);
            continue;
        }
        if small.is_empty() {
            small_start = piece.start;
        }
        small.extend_from_slice(&piece.bytes);
        if small.len() >= PIECE_BYTES {
            out.push(Piece { start: small_start, bytes: Bytes::copy_from_slice(&small) });
            small.clear();
        }
    }
    if !small.is_empty() {
        out.push(Piece { start: small_start, bytes: Bytes::copy_from_slice(&small) });
    }
    out.into()
}

/// The bytes from `at` on in the piece that holds it, cut at `end`.
fn slice(piece: &Piece, at: u64, end: u64) -> Bytes {
    let from = usize::try_from(at - piece.start).unwrap_or(usize::MAX);
    let to = usize::try_from(end.min(piece.end()) - piece.start).unwrap_or(usize::MAX);
    piece.bytes.slice(from..to)
}

/// One reader of a body.
pub(crate) struct Cursor {
    body: Arc<Growing>,
    at: u64,
    end: u64,
    ticket: Option<u64>,
    /// What is read from disk.
    reading: Option<Box<Reading>>,
    /// Gets what was lost there.
    mend: Option<Arc<dyn Mend>>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).field("end", &self.end).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Cursor {
    fn new(body: &Arc<Growing>, ticket: Option<u64>) -> Self {
        Self { body: Arc::clone(body), at: 0, end: u64::MAX, ticket, reading: None, mend: None }
    }

    /// What of the body is lost on disk comes from here.
    pub(crate) fn mend_with(&mut self, mend: &Arc<dyn Mend>) {
        self.mend = Some(Arc::clone(mend));
    }

    /// Reads only from `start` up to `end`.
    pub(crate) fn limit(&mut self, start: u64, end: u64) {
        self.at = start;
        self.end = end;
        if let Some(ticket) = self.ticket {
            let mut state = self.body.state.lock();
            self.body.moved_to(&mut state, ticket, start);
        }
    }

    /// The next bytes; `None` at the end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let body = Arc::clone(&self.body);
        loop {
            let grown = body.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if let Some(answer) = self.ready() {
                return answer;
            }
            let sliced = self.body.sliced();
            if self.at < sliced
                && let Some(slices) = self.body.slices.get()
            {
                return self.next_on_disk(slices.clone(), sliced).await.map(Some);
            }
            grown.await;
        }
    }

    async fn next_on_disk(&mut self, slices: Slices, sliced: u64) -> Result<Bytes, FetchError> {
        let reading = self.reading.get_or_insert_with(|| Box::new(Reading::new(slices)));
        if let Some(length) = self.body.whole_len() {
            reading.is_of_length(length);
        }
        let bytes = reading.next(self.at, self.end, sliced, self.mend.as_ref()).await?;
        self.at += bytes.len() as u64;
        if let Some(ticket) = self.ticket {
            let mut state = self.body.state.lock();
            self.body.moved_to(&mut state, ticket, self.at);
        }
        Ok(bytes)
    }

    /// What can be answered without waiting.
    fn ready(&mut self) -> Option<Result<Option<Bytes>, FetchError>> {
        if self.at >= self.end {
            return Some(Ok(None));
        }
        if self.body.whole.get().is_none() {
            let body = Arc::clone(&self.body);
            let mut state = body.state.lock();
            // The body may have become whole while this waited for the lock.
            if body.whole.get().is_none() {
                return self.ready_in(&mut state);
            }
        }
        let whole = self.body.whole.get()?;
        if self.at >= whole.len {
            return Some(Ok(None));
        }
        if self.at < whole.first {
            return None;
        }
        let index = whole.pieces.partition_point(|piece| piece.end() <= self.at);
        let bytes = slice(whole.pieces.get(index)?, self.at, self.end);
        self.at += bytes.len() as u64;
        Some(Ok(Some(bytes)))
    }

    fn ready_in(&mut self, state: &mut State) -> Option<Result<Option<Bytes>, FetchError>> {
        if self.at < state.sliced {
            return None;
        }
        if self.at < state.len {
            let index = state.pieces.partition_point(|piece| piece.end() <= self.at);
            let Some(piece) = state.pieces.get(index).filter(|piece| piece.start <= self.at) else {
                let detail = "the bytes asked for have passed".to_owned();
                return Some(Err(FetchError { kind: FetchErrorKind::Overload, detail, retry_after: None }));
            };
            let bytes = slice(piece, self.at, self.end);
            self.at += bytes.len() as u64;
            if let Some(ticket) = self.ticket {
                self.body.moved_to(state, ticket, self.at);
            }
            return Some(Ok(Some(bytes)));
        }
        state.end.clone().map(|end| end.map(|()| None))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.body.state.lock();
        state.readers.remove(&ticket);
        if state.window {
            self.body.forget_passed(&mut state);
        }
        drop(state);
        self.body.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
