//! The least a client must take or send (`limits.rate_min`): counts what moves while it is waited for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The time over which a client's rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// The client was slower than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

/// The rate of one direction of a request. The time in which nobody waits for the client does not count.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that must move in [`WINDOW`].
    floor: u64,
    waited: Duration,
    moved: u64,
    /// Since when the client is waited for, over waits that were given up for something else meanwhile.
    since: Option<Instant>,
}

impl Pace {
    /// At least `rate` bytes per second.
    pub(super) fn new(rate: u64) -> Self {
        Self { floor: rate.saturating_mul(WINDOW.as_secs()), waited: Duration::ZERO, moved: 0, since: None }
    }

    /// Waits for the client. Where there is nothing to wait for, no clock is asked.
    pub(super) async fn wait<T>(&mut self, moving: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut moving = pin!(moving);
        if let Poll::Ready(moved) = poll_fn(|cx| Poll::Ready(moving.as_mut().poll(cx))).await {
            self.waited += self.since.take().map_or(Duration::ZERO, |began| began.elapsed());
            return Ok(moved);
        }
        let began = *self.since.get_or_insert_with(Instant::now);
        let waited = timeout(WINDOW.saturating_sub(self.waited + began.elapsed()), moving).await;
        self.waited += began.elapsed();
        self.since = None;
        waited.map_err(|_| TooSlow)
    }

    /// Counts what has moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if self.moved >= self.floor {
            (self.waited, self.moved) = (Duration::ZERO, 0);
        }
    }
}

/// How long a client may take for so many bytes at `rate` bytes per second.
pub(super) fn time_for(rate: u64, bytes: u64) -> Duration {
    WINDOW + Duration::from_secs(bytes.checked_div(rate).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So much time passes; the clock is paused.
    async fn pass(seconds: u64) {
        let _ = timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_too_little_is_found_out_after_one_window() {
        let mut pace = Pace::new(100);
        for _ in 0..9 {
            pace.wait(pass(1)).await.unwrap();
            pace.moved(99);
        }
        let since = Instant::now();
        assert_eq!(pace.wait(std::future::pending::<()>()).await, Err(TooSlow));
        assert_eq!(since.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_for_something_else_goes_on() {
        let (mut pace, since) = (Pace::new(100), Instant::now());
        loop {
            tokio::select! {
                biased;
                waited = pace.wait(std::future::pending::<()>()) => break assert_eq!(waited, Err(TooSlow)),
                () = pass(1) => assert!(since.elapsed() < 2 * WINDOW, "the wait begins anew each time"),
            }
        }
        assert_eq!(since.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_enough_is_waited_for_as_long_as_it_takes() {
        let mut pace = Pace::new(100);
        for _ in 0..100 {
            pace.wait(pass(9)).await.unwrap();
            pace.moved(1_000);
            // What the other side needs is not the client's doing.
            pass(60).await;
        }
        assert_eq!(time_for(100, 1_000), Duration::from_secs(20));
        assert_eq!(time_for(0, 1_000), WINDOW);
    }
}
