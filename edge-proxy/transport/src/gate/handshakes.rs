//! Handshakes under way. Whoever is slow with his makes room for the next: of too many, the oldest ends.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Gate;

/// The TLS handshakes and PROXY protocol headers of all listeners that may be under way at once. A client takes a round trip or two for one, so that
/// this is many thousands a second, while those that never end hold no more memory than this many.
pub const HANDSHAKES_MAX: usize = 4_096;

/// All that are under way, by their number. The lock covers nothing else.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    begun: u64,
    /// Dropping a sender tells its handshake to end.
    all: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A handshake; it ends when this is dropped.
pub(crate) struct Handshake {
    gate: Gate,
    number: u64,
    supplanted: oneshot::Receiver<()>,
}

impl Handshakes {
    pub(super) fn begin(&self, gate: &Gate) -> Handshake {
        let (sender, supplanted) = oneshot::channel();
        let mut under_way = self.0.lock();
        let number = under_way.begun;
        under_way.begun += 1;
        under_way.all.insert(number, sender);
        if under_way.all.len() > HANDSHAKES_MAX {
            under_way.all.pop_first();
        }
        Handshake { gate: gate.clone(), number, supplanted }
    }
}

impl Handshake {
    /// Ends when so many came after this one that it must make room.
    pub(crate) async fn supplanted(&mut self) {
        // Nothing is ever sent: the answer is that the sender is gone.
        let _ = (&mut self.supplanted).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.gate.0.handshakes.0.lock().all.remove(&self.number);
    }
}
