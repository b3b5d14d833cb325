//! The time by which an exchange that is passed through has to go on, and its end where it does not.
//!
//! Pingora's own timeouts are for one read or write, whichever side is silent, so that they would end an upload whose answer has not begun. So
//! the tier sets an [`Alarm`] and moves it with every piece in either direction. It rings twice: where a request is read from, so that what waits
//! for its client gets an error and the client an answer, and [`RING_AGAIN`] later for whoever runs the exchange, which is dropped then.
//!
//! The lock covers two plain values and is held for as long as it takes to read or write them.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long after an alarm an exchange is dropped that has not ended of it.
const RING_AGAIN: Duration = Duration::from_secs(2);

/// The alarm of one HTTP/1.1 connection, or of one stream.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: Mutex<State>,
    /// Told when it is set to ring earlier than it was.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct State {
    at: Option<Instant>,
    rang: bool,
}

/// The timer of someone who waits by polling, again and again. Moving it on costs nothing: it is set anew when it has run down.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Sets it to ring at a time, or not at all.
    pub(crate) fn set(&self, at: Option<Instant>) {
        let mut state = self.state.lock();
        let earlier = at.is_some_and(|at| state.at.is_none_or(|before| at < before));
        *state = State { at, rang: state.rang && at.is_some() };
        drop(state);
        if earlier {
            self.earlier.notify_one();
        }
    }

    /// Whether it has rung since it was set for this exchange.
    pub(crate) fn rang(&self) -> bool {
        self.state.lock().rang
    }

    /// Ready when it rings. Who waits polls again after each piece, so that an alarm set earlier is seen then.
    pub(crate) fn poll(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(at) = self.state.lock().at else {
                timer.0 = None;
                return Poll::Pending;
            };
            ready!(timer.poll(at, cx));
            let mut state = self.state.lock();
            // Unless it was moved on while the timer ran.
            if state.at.is_some_and(|moved| moved <= at) {
                state.rang = true;
                return Poll::Ready(());
            }
        }
    }

    /// Does `work`, and drops it [`RING_AGAIN`] after the alarm; `None` then.
    pub(crate) async fn bounds<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let at = self.state.lock().at;
            let over = async {
                match at {
                    Some(at) => sleep_until(at + RING_AGAIN).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = self.earlier.notified() => {}
                () = over => {
                    if self.state.lock().at.is_some_and(|at| Instant::now() >= at + RING_AGAIN) {
                        tracing::debug!("an exchange that did not end of its alarm is cut off");
                        return None;
                    }
                }
            }
        }
    }
}

impl Timer {
    /// Ready at `at`.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_it_was_last_set_to() {
        let alarm = Alarm::default();
        let began = Instant::now();
        let secs = Duration::from_secs;
        alarm.set(Some(began + secs(10)));
        let mut timer = Timer::default();
        let waited = tokio::time::timeout(secs(9), std::future::poll_fn(|cx| alarm.poll(&mut timer, cx))).await;
        assert!(waited.is_err() && !alarm.rang());
        alarm.set(Some(began + secs(30)));
        std::future::poll_fn(|cx| alarm.poll(&mut timer, cx)).await;
        assert_eq!((Instant::now() - began, alarm.rang()), (secs(30), true));
        alarm.set(None);
        assert!(!alarm.rang());
        let quiet = tokio::time::timeout(secs(99), std::future::poll_fn(|cx| alarm.poll(&mut timer, cx))).await;
        assert!(quiet.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_hear_it_is_dropped() {
        let alarm = Alarm::default();
        let began = Instant::now();
        let secs = Duration::from_secs;
        assert_eq!(alarm.bounds(async { 1 }).await, Some(1));
        let (ended, ()) = tokio::join!(alarm.bounds(pending::<()>()), async {
            let _ = tokio::time::timeout(secs(5), std::future::pending::<()>()).await;
            alarm.set(Some(began + secs(20)));
            let _ = tokio::time::timeout(secs(1), std::future::pending::<()>()).await;
            alarm.set(Some(began + secs(10)));
            let _ = tokio::time::timeout(secs(1), std::future::pending::<()>()).await;
            alarm.set(Some(began + secs(40)));
        });
        assert_eq!((ended, Instant::now() - began), (None, secs(40) + RING_AGAIN));
    }
}
