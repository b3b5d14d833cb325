//! Keeping the node's history, with and without the control plane, and bringing it there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc};

use super::{End, blocking, say};
use crate::history::WRITE_EVERY;
use crate::wire::{Report, report};
use crate::{Duties, Inner};

/// Time until buckets that were sent and not acknowledged are sent again.
const SEND_AGAIN: Duration = Duration::from_secs(10);

/// Brings what was counted to disk, every 5 s.
pub(super) async fn keep(inner: &Arc<Inner>, duties: &Arc<dyn Duties>) {
    loop {
        tokio::time::sleep(WRITE_EVERY).await;
        store(inner, duties, false).await;
    }
}

/// Brings what was counted to disk; with `close` as a bucket that can be sent.
pub(super) async fn store(inner: &Arc<Inner>, duties: &Arc<dyn Duties>, close: bool) {
    let duties = Arc::clone(duties);
    let stored = blocking(inner, move |inner| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        inner.history.count(now, &duties.load(), duties.sites(), close);
        inner.history.store()
    });
    if let Err(why) = stored.await {
        tracing::error!(why, "the node's history is not on disk");
    }
}

/// Sends what the control plane does not have, until it says that it does. A stream begins with all that was counted before it.
pub(super) async fn tell(inner: &Arc<Inner>, duties: &Arc<dyn Duties>, taken: &Notify, reports: &mpsc::Sender<Report>) -> End {
    store(inner, duties, true).await;
    loop {
        match inner.history.next() {
            Some(history) => {
                if let Err(end) = say(reports, report::What::History(history)).await {
                    return end;
                }
                // Either way it is looked at what is left.
                let _ = tokio::time::timeout(SEND_AGAIN, taken.notified()).await;
            }
            None => inner.history.stored.notified().await,
        }
    }
}
