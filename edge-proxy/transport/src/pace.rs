//! The least a client must send or take (`limits.rate_min`), by one rule for every protocol.
//!
//! What counts is time in which this side waits for the client, and bytes whenever they move: for each [`least`] of them the client may be waited for
//! one [`WINDOW`]. A slow origin is not the client's fault, and a client that has nothing to take is not waited for. What moves without a wait costs
//! neither a clock nor a timer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may be waited for until enough has moved.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// The bytes that must move in a [`WINDOW`] at `rate_min` bytes per second. Who is asked for no rate must move something all the same.
pub(crate) fn least(rate_min: u64) -> u64 {
    rate_min.saturating_mul(WINDOW.as_secs()).max(1)
}

/// How long a client may take for so many bytes at `rate_min` bytes per second.
pub(crate) fn time_for(rate_min: u64, bytes: u64) -> Duration {
    WINDOW + Duration::from_secs(bytes.checked_div(rate_min).unwrap_or(0))
}

/// The client was slower than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// The pace of one direction.
#[derive(Debug)]
pub(crate) struct Pace {
    /// See [`least`].
    least: u64,
    /// Bytes that moved since there last were enough, and the time that was waited for them.
    bytes: u64,
    waited: Duration,
    /// Since when the client is waited for, over waits that were given up for something else meanwhile.
    since: Option<Instant>,
    /// Made by the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(rate_min: u64) -> Self {
        Self { least: least(rate_min), bytes: 0, waited: Duration::ZERO, since: None, sleep: None }
    }

    /// So many bytes moved, which ends a wait.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.rest();
        self.bytes += bytes as u64;
        if self.bytes >= self.least {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// The client is not waited for any longer.
    pub(crate) fn rest(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Waits for the client's next step.
    ///
    /// # Errors
    /// When too little moved in the [`WINDOW`] that ends before the step.
    pub(crate) async fn wait<T>(&mut self, step: impl Future<Output = T>) -> Result<T, TooSlow> {
        let (mut step, mut waits) = (pin!(step), false);
        poll_fn(|cx| match step.as_mut().poll(cx) {
            Poll::Ready(output) => {
                if waits {
                    self.rest();
                } else {
                    // It was there when it was looked for: nobody knows since when.
                    self.since = None;
                }
                Poll::Ready(Ok(output))
            }
            Poll::Pending => {
                waits = true;
                self.poll_slow(cx).map(Err)
            }
        })
        .await
    }

    /// While the client is waited for: ready as soon as it is too slow.
    pub(crate) fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            let now = Instant::now();
            let since = *self.since.get_or_insert(now);
            let left = WINDOW.saturating_sub(self.waited + (now - since));
            if left.is_zero() {
                return Poll::Ready(TooSlow);
            }
            let due = now + left;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // One that rings too early is set anew when it rings.
            if sleep.is_elapsed() || sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    /// So much time passes; the clock is paused.
    async fn pass(seconds: u64) {
        let _ = timeout(Duration::from_secs(seconds), pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_too_little_while_waited_for_is_too_slow() {
        let mut pace = Pace::new(10);
        for _ in 0..9 {
            pace.wait(pass(1)).await.unwrap();
            pace.moved(11);
        }
        let since = Instant::now();
        assert_eq!(pace.wait(pass(2)).await, Err(TooSlow), "99 bytes in 10 seconds");
        assert_eq!(since.elapsed(), Duration::from_secs(1));
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
        let since = Instant::now();
        assert_eq!(pace.wait(pending::<()>()).await, Err(TooSlow));
        assert_eq!(since.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_for_something_else_goes_on() {
        let (mut pace, since) = (Pace::new(10), Instant::now());
        loop {
            tokio::select! {
                biased;
                waited = pace.wait(pending::<()>()) => break assert_eq!(waited, Err(TooSlow)),
                () = pass(1) => assert!(since.elapsed() < 2 * WINDOW, "the wait begins anew each time"),
            }
        }
        assert_eq!(since.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_client_is_not_its_own() {
        let mut pace = Pace::new(10);
        for _ in 0..10 {
            pass(60).await;
            assert_eq!(pace.wait(async {}).await, Ok(()));
        }
        let since = Instant::now();
        assert_eq!(pace.wait(pending::<()>()).await, Err(TooSlow));
        assert_eq!(since.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_for_no_rate_must_move_something() {
        let mut pace = Pace::new(0);
        pace.wait(pass(9)).await.unwrap();
        pace.moved(1);
        let since = Instant::now();
        assert_eq!(pace.wait(pending::<()>()).await, Err(TooSlow));
        assert_eq!(since.elapsed(), WINDOW);
    }

    #[test]
    fn there_is_time_for_what_is_still_to_be_taken() {
        assert_eq!(time_for(100, 1_000), Duration::from_secs(20));
        assert_eq!(time_for(0, 1_000), WINDOW);
    }
}
