//! Whether this shield has the purges that an edge has: it waits until it has them, so that an edge never refills from a staler shield.
//!
//! The lock covers what was waited for in vain.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use skerry_agent::Place;
use skerry_transport::hygiene::{PURGE_LOG, PURGE_SEQ};
use tokio::sync::watch;

/// How long a request waits for this shield to catch up with its edge; then it goes past the cache.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Purged {
    /// Where this shield stands.
    places: watch::Receiver<Arc<Place>>,
    /// The number and the history that were last waited for in vain: who wants no more than that does not wait again.
    vain: Mutex<(u64, String)>,
}

impl Purged {
    pub(crate) fn new(places: watch::Receiver<Arc<Place>>) -> Self {
        Self { places, vain: Mutex::default() }
    }

    /// Whether every purge is in force here that is so at the edge that sent these fields, after a bounded wait.
    pub(crate) async fn as_at_edge(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let seq = text(PURGE_SEQ).and_then(|seq| seq.parse().ok()).unwrap_or(0);
        let history = text(PURGE_LOG).unwrap_or_default();
        let mut places = self.places.clone();
        if places.borrow().has_reached(seq, history) {
            return true;
        }
        if self.is_vain(seq, history) {
            return false;
        }
        let reached = places.wait_for(|place| place.has_reached(seq, history));
        if tokio::time::timeout(CATCH_UP_TIME_MAX, reached).await.is_ok_and(|reached| reached.is_ok()) {
            return true;
        }
        let here = self.places.borrow().clone();
        tracing::warn!(seq, history, here = here.seq, "behind an edge; its requests go past the cache until that is over");
        *self.vain.lock() = (seq, history.to_owned());
        false
    }

    fn is_vain(&self, seq: u64, history: &str) -> bool {
        let vain = self.vain.lock();
        vain.0 >= seq && vain.1 == history
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::time::Instant;

    use super::*;

    fn asks(seq: u64, history: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(PURGE_SEQ, HeaderValue::from(seq)), (PURGE_LOG, HeaderValue::from_static(history))])
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_in_vain_is_not_waited_for_again() {
        let at = |seq| Arc::new(Place { log: "a".to_owned(), seq, earlier: Vec::new() });
        let (places, here) = watch::channel(at(3));
        let purged = Purged::new(here);
        let waited = async |headers: &HeaderMap| {
            let since = Instant::now();
            (purged.as_at_edge(headers).await, since.elapsed().as_millis())
        };
        assert_eq!(waited(&asks(3, "a")).await, (true, 0));
        assert_eq!(waited(&asks(5, "a")).await, (false, 2_000));
        assert_eq!(waited(&asks(5, "a")).await, (false, 0));
        assert_eq!(waited(&asks(4, "a")).await, (false, 0));
        // More is worth a wait again, and so is another history.
        let moves = async {
            let _ = tokio::time::timeout(Duration::from_millis(700), std::future::pending::<()>()).await;
            places.send_replace(at(6));
        };
        let more = asks(6, "a");
        assert_eq!(tokio::join!(waited(&more), moves).0, (true, 700));
        assert_eq!(waited(&asks(5, "a")).await, (true, 0));
        assert_eq!(waited(&asks(5, "b")).await, (false, 2_000));
    }
}
