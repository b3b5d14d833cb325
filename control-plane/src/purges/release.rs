//! When edges may be sent a purge: once every connected shield has confirmed it, or has had its time to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Acks, Purges};

/// Time the shields have to confirm a purge before edges get it all the same.
const SHIELD_TIMEOUT: Duration = Duration::from_secs(2);

/// Deadlines remembered; purges that come while it is full share the newest deadline.
const DEADLINES_MAX: usize = 1024;

/// Releases purges to edges until `stop` says so.
pub(crate) async fn release(purges: Arc<Purges>, acks: Arc<Acks>, stop: watch::Receiver<bool>) {
    let mut heads = purges.heads();
    let mut shields = acks.lowest_shield();
    let mut deadlines: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut seen = *purges.released.borrow();
    loop {
        let head = *heads.borrow_and_update();
        let now = Instant::now();
        if head > seen {
            seen = head;
            if deadlines.len() >= DEADLINES_MAX {
                deadlines.pop_back();
            }
            deadlines.push_back((head, now + SHIELD_TIMEOUT));
        }
        let mut through = head.min(*shields.borrow_and_update());
        while let Some((seq, deadline)) = deadlines.front().copied() {
            if deadline > now && seq > through {
                break;
            }
            through = through.max(seq);
            deadlines.pop_front();
        }
        purges.released.send_if_modified(|released| {
            let rises = through > *released;
            *released = through.max(*released);
            rises
        });
        let deadline = deadlines.front().map_or(now + Duration::from_secs(3600), |(_, deadline)| *deadline);
        tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            _ = heads.changed() => {}
            _ = shields.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}
