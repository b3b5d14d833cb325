//! How long an answer is waited for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long one answer may take to its last octet, in seconds.
const ANSWER_TIMEOUT_S: u64 = 120;
/// The same, where nothing else is said.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(ANSWER_TIMEOUT_S);

/// The longest that one may be waited for.
pub const ANSWER_MAX: Duration = Duration::from_secs(3_600);

/// Waits for answers, each for the same time, with one timer that is set anew only when it rings: to set it for every request would cost the
/// generator more than to look at it.
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timer: Box::pin(sleep(timeout)), timeout }
    }

    /// What comes of `asking`; none when it takes too long.
    pub(super) async fn wait<T>(&mut self, asking: impl Future<Output = T>) -> Option<T> {
        let due = tokio::time::Instant::now() + self.timeout;
        let mut asking = pin!(asking);
        poll_fn(|context| {
            if let Poll::Ready(answer) = asking.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            while self.timer.as_mut().poll(context).is_ready() {
                if self.timer.deadline() >= due {
                    return Poll::Ready(None);
                }
                self.timer.as_mut().reset(due);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let mut patience = Patience::new(ANSWER_TIMEOUT);
        for _ in 0..3 {
            let late = tokio::time::timeout(ANSWER_TIMEOUT - Duration::from_secs(1), std::future::pending::<()>());
            assert!(patience.wait(late).await.is_some());
        }
        let begun = tokio::time::Instant::now();
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), ANSWER_TIMEOUT);
    }
}
