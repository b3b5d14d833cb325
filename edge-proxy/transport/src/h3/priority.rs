//! What becomes of a client's [`Priority`] over HTTP/3: the priority of a QUIC stream, which may change as long as the request runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::frames::varint;
use crate::priority::Priority;

/// Between the answers of one urgency and those of the next.
const BAND: i32 = 1 << 24;

/// The priority of a request's stream in quinn, where the larger goes first and equal ones take turns: the more urgent first; of one urgency those that
/// are of no use in pieces, in the order of their requests; then the others in turns. Below that of the control stream, which is 0.
#[must_use]
pub fn of_stream(priority: Priority, id: u64) -> i32 {
    let floor = -(i32::from(priority.urgency) + 1) * BAND;
    let order = i32::try_from(id / 4 % (BAND as u64 - 1)).unwrap_or(0);
    if priority.incremental { floor } else { floor + BAND - 1 - order }
}

/// What clients say later of requests, by PRIORITY_UPDATE (RFC 9218 section 7.2). The lock is held for one look.
#[derive(Debug)]
pub(super) struct Priorities {
    of_requests: Mutex<HashMap<u64, Said>>,
    requests_max: usize,
}

/// What was said of one request.
pub(super) type Said = Arc<AtomicU8>;

/// Nothing was said.
const NOTHING: u8 = u8::MAX;

/// The last that was said of a request.
pub(super) fn said(said: &Said) -> Option<Priority> {
    let code = said.load(Ordering::Relaxed);
    (code != NOTHING).then_some(Priority { urgency: code & 7, incremental: code & 8 != 0 })
}

/// Both words in one number, which is not [`NOTHING`].
fn code(priority: Priority) -> u8 {
    priority.urgency | u8::from(priority.incremental) << 3
}

impl Priorities {
    /// For a connection of so many requests at once.
    pub(super) fn new(requests_max: usize) -> Arc<Self> {
        Arc::new(Self { of_requests: Mutex::default(), requests_max })
    }

    /// Takes up a request, of which something may have been said before it came.
    pub(super) fn begin(&self, id: u64) -> Said {
        Arc::clone(self.of_requests.lock().entry(id).or_insert_with(|| Arc::new(AtomicU8::new(NOTHING))))
    }

    pub(super) fn end(&self, id: u64) {
        self.of_requests.lock().remove(&id);
    }

    /// Heeds a PRIORITY_UPDATE. One for a request that has not come is kept if there is room, and one that cannot be read says nothing.
    pub(super) fn update(&self, payload: &[u8]) {
        let mut rest = payload;
        let Some(id) = varint(&mut rest) else { return };
        let code = code(Priority::read(rest));
        let mut of_requests = self.of_requests.lock();
        if let Some(said) = of_requests.get(&id) {
            said.store(code, Ordering::Relaxed);
        } else if of_requests.len() < 2 * self.requests_max {
            of_requests.insert(id, Arc::new(AtomicU8::new(code)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_by_urgency_then_in_order_then_in_turns() {
        let of = |urgency, incremental, id| of_stream(Priority { urgency, incremental }, id);
        let order = [of(0, false, 400), of(0, true, 0), of(3, false, 0), of(3, false, 4), of(3, true, 8), of(7, false, 0), of(7, true, 0)];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert_eq!(of(3, true, 8), of(3, true, 12));
        assert!(order[0] < 0, "ahead of the control stream");
        assert!(of(0, false, u64::MAX >> 2) < 0 && of(7, true, 0) > i32::MIN);
    }

    #[test]
    fn what_is_said_of_requests_is_kept_within_bounds() {
        let priorities = Priorities::new(2);
        priorities.update(b"\x04u=1");
        let early = priorities.begin(4);
        assert_eq!(said(&early), Some(Priority { urgency: 1, incremental: false }));
        let later = priorities.begin(8);
        assert_eq!(said(&later), None);
        priorities.update(b"\x08i");
        assert_eq!(said(&later), Some(Priority { urgency: 3, incremental: true }));
        for id in 0..100 {
            priorities.update(&[id]);
        }
        assert_eq!(priorities.of_requests.lock().len(), 4);
        priorities.end(4);
        assert_eq!(priorities.of_requests.lock().len(), 3);
        priorities.update(b"");
    }
}
