//! A leader on its way: the task of its client carries it until that has its answer or leaves; what is left goes on in a task of its own.
//!
//! A task for each fetch would cost a small answer as much as its head does: most are over before anybody would have been woken.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// What is still to be done; nothing once it is over.
pub(super) struct UnderWay(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl UnderWay {
    pub(super) fn new(trip: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(trip)))
    }
}

impl Future for UnderWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Out of its place while it runs: one that panics is gone.
        let Some(mut trip) = self.0.take() else { return Poll::Ready(()) };
        if trip.as_mut().poll(cx).is_pending() {
            self.0 = Some(trip);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Without a runtime the node is going down.
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}
