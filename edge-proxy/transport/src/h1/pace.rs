//! How fast a client must at least take or give, while it is waited for.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Over this much waiting the rate is judged.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Counts the waiting and the bytes that ended it. Costs nothing where nobody waits.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes that must come or go in a [`WINDOW`], at least one.
    least: u64,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// `rate` is in bytes per second; who is asked for none must still do something in a [`WINDOW`].
    pub(super) fn new(rate: u64) -> Self {
        Self { least: rate.saturating_mul(WINDOW.as_secs()).max(1), ..Self::default() }
    }

    /// So many bytes came or went.
    pub(super) fn went(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
            self.bytes += bytes as u64;
        }
    }

    /// There is nothing to wait for now.
    pub(super) fn rest(&mut self) {
        self.went(0);
    }

    /// While waiting: ready as soon as it went too slowly.
    pub(super) fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.since.get_or_insert(now);
            let Some(left) = WINDOW.checked_sub(self.waited + (now - since)).filter(|left| !left.is_zero()) else {
                if self.bytes < self.least {
                    return Poll::Ready(());
                }
                (self.bytes, self.waited, self.since) = (0, Duration::ZERO, Some(now));
                continue;
            };
            let due = now + left;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            // One that rings too early is set anew when it rings.
            if sleep.is_elapsed() || sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
