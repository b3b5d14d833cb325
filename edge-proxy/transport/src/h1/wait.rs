//! Waiting for a client's bytes, with one timer and one ear for the stop per connection.
//!
//! A wait that ends at once, as on a busy connection it does, touches neither of both.

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::accept::Door;
use crate::connection::Socket;

/// Bytes read at a time, onto the stack.
const READ_BYTES: usize = 8 * 1024;

/// See the module.
pub(super) struct Wait {
    sleep: Pin<Box<Sleep>>,
    stop: watch::Receiver<bool>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    /// Who is woken by timer and stop.
    woken: Option<Waker>,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Bytes, which are in the buffer.
    Bytes,
    /// The end of the connection, or of the time for it.
    End,
    /// Nothing in time.
    Late,
}

impl Wait {
    pub(super) fn new<App>(door: &Door<App>) -> Self {
        let mut stop = door.stop.clone();
        let stopping = Box::pin(async move {
            // Without a sender nobody can ask for a stop.
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let sleep = Box::pin(tokio::time::sleep_until(Instant::now() + door.limits.idle_time.0));
        Self { sleep, stop: door.stop.clone(), stopping, woken: None }
    }

    /// Waits for bytes until `due`, which is asked only if there is a wait; while `idle`, until a stop too.
    pub(super) async fn more(&mut self, socket: &mut Socket, buffer: &mut BytesMut, mut due: impl FnMut() -> Instant, idle: bool) -> Came {
        let mut until = None;
        poll_fn(|cx| {
            let mut room = [MaybeUninit::uninit(); READ_BYTES];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut *socket).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    // A head that comes whole has a piece of memory of its own size.
                    if buffer.is_empty() {
                        *buffer = BytesMut::from(room.filled());
                    } else {
                        buffer.extend_from_slice(room.filled());
                    }
                    return Poll::Ready(Came::Bytes);
                }
                Poll::Ready(_) => return Poll::Ready(Came::End),
                Poll::Pending => {}
            }
            if idle && *self.stop.borrow() {
                return Poll::Ready(Came::End);
            }
            let is_first = until.is_none();
            let due = *until.get_or_insert_with(&mut due);
            // Both would wake this very task already; what else it is woken by, they are asked about.
            let is_armed = is_first && !self.sleep.is_elapsed() && self.sleep.deadline() <= due;
            if is_armed && self.woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            self.poll_late(cx, due, idle)
        })
        .await
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, due: Instant, idle: bool) -> Poll<Came> {
        self.woken = Some(cx.waker().clone());
        // Told once, it is not asked again: it would wake for nothing.
        if !*self.stop.borrow() && self.stopping.as_mut().poll(cx).is_ready() && idle {
            return Poll::Ready(Came::End);
        }
        loop {
            if Instant::now() >= due {
                return Poll::Ready(Came::Late);
            }
            if self.sleep.is_elapsed() || self.sleep.deadline() > due {
                self.sleep.as_mut().reset(due);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
