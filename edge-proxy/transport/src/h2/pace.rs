//! How fast a client sends a body or takes an answer, at the least.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// The time over which the least rate is measured.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// What moved while a client was waited for. Only that time counts: a slow origin is not the client's fault.
#[derive(Debug)]
pub(super) struct Pace {
    /// The least bytes of a period.
    bytes_min: u64,
    bytes: u64,
    waited: Duration,
    /// Since when a step is waited for, over waits that were given up for something else meanwhile.
    since: Option<Instant>,
}

/// The client was slower than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Pace {
    pub(super) fn new(rate_min: u64) -> Self {
        Self { bytes_min: rate_min.saturating_mul(PERIOD.as_secs()), bytes: 0, waited: Duration::ZERO, since: None }
    }

    /// Waits for the client's next step.
    ///
    /// # Errors
    /// When too little moved in the [`PERIOD`] that ends meanwhile.
    pub(super) async fn wait<F: Future>(&mut self, step: F) -> Result<F::Output, TooSlow> {
        let mut step = pin!(step);
        // What is there already costs neither a clock nor a timer.
        if let Poll::Ready(output) = futures_util::poll!(&mut step) {
            self.since = None;
            return Ok(output);
        }
        loop {
            let since = *self.since.get_or_insert_with(Instant::now);
            let left = PERIOD.saturating_sub(self.waited + since.elapsed());
            let waited = tokio::time::timeout(left, &mut step).await;
            self.waited += since.elapsed();
            self.since = None;
            if self.waited >= PERIOD {
                let bytes = std::mem::take(&mut self.bytes);
                self.waited = Duration::ZERO;
                if bytes < self.bytes_min {
                    return Err(TooSlow);
                }
            }
            if let Ok(output) = waited {
                return Ok(output);
            }
        }
    }

    /// Takes note of bytes that moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(seconds: u64) {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_too_little_while_waited_for_is_too_slow() {
        let mut pace = Pace::new(10);
        for _ in 0..9 {
            assert_eq!(pace.wait(after(1)).await, Ok(()));
            pace.moved(11);
        }
        assert_eq!(pace.wait(after(2)).await, Err(TooSlow), "99 bytes in 10 seconds");
        let mut pace = Pace::new(10);
        for _ in 0..50 {
            assert_eq!(pace.wait(after(1)).await, Ok(()));
            pace.moved(12);
        }
        let since = Instant::now();
        assert_eq!(pace.wait(std::future::pending::<()>()).await, Err(TooSlow));
        assert!(since.elapsed() <= 2 * PERIOD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_for_something_else_goes_on() {
        let (mut pace, since) = (Pace::new(10), Instant::now());
        loop {
            tokio::select! {
                biased;
                waited = pace.wait(std::future::pending::<()>()) => break assert_eq!(waited, Err(TooSlow)),
                () = after(1) => assert!(since.elapsed() < 2 * PERIOD, "the wait begins anew each time"),
            }
        }
        assert_eq!(since.elapsed(), PERIOD);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_waits_for_the_client_is_not_its_own() {
        let mut pace = Pace::new(10);
        for _ in 0..10 {
            after(60).await;
            assert_eq!(pace.wait(async {}).await, Ok(()));
        }
        let since = Instant::now();
        assert_eq!(pace.wait(std::future::pending::<()>()).await, Err(TooSlow));
        assert_eq!(since.elapsed(), PERIOD);
    }
}
