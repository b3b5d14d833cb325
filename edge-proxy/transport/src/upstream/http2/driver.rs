//! Runs one HTTP/2 connection: what its streams want to send leaves together, and one that is to be kept open is asked now and then whether it lives.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::alarm::Timer;
use crate::gather::Gathered;
use crate::upstream::io::Io;

/// How often a connection that is to be kept open is asked whether it lives: requests wait for a side that is gone no longer than this and the next.
const PING_EVERY: Duration = Duration::from_secs(2);
/// In how much time it has to say so.
const PING_TIME_MAX: Duration = Duration::from_secs(2);

/// The bytes of a connection below the `h2` crate, which flushes after every frame: they leave when it has nothing more to write for the moment.
/// Clones are the same one; the lock is held for one call.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    gathered: Arc<Mutex<Gathered<Io>>>,
    /// Bytes that have come.
    received: Arc<AtomicU64>,
}

/// Asks whether the other side lives.
struct Pinging {
    pings: PingPong,
    timer: Timer,
    /// When to ask, or by when the answer has to be there.
    due: Instant,
    is_asked: bool,
    /// Bytes that had come when that was last looked at: the answer may wait behind others.
    received: u64,
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self { gathered: Arc::new(Mutex::new(Gathered::new(io))), received: Arc::default() }
    }
}

/// Runs the connection to its end, which it tells.
pub(super) async fn drive(mut connection: h2::client::Connection<Wire, Bytes>, wire: Wire, is_kept: bool, is_over: Arc<AtomicBool>) {
    let mut pinging = if is_kept { connection.ping_pong().map(Pinging::new) } else { None };
    poll_fn(|cx| {
        loop {
            let ended = pin!(&mut connection).poll(cx);
            let drained = wire.gathered.lock().poll_drain(cx);
            if ended.is_ready() || matches!(drained, Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            match pinging.as_mut().map(|pinging| pinging.poll(cx, wire.received.load(Ordering::Relaxed))) {
                None | Some(Poll::Pending) => return Poll::Pending,
                // What is asked goes through the connection.
                Some(Poll::Ready(true)) => {}
                Some(Poll::Ready(false)) => {
                    tracing::warn!("a link between tiers is silent; it is opened anew");
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
    is_over.store(true, Ordering::Release);
}

impl Pinging {
    fn new(pings: PingPong) -> Self {
        Self { pings, timer: Timer::default(), due: Instant::now() + PING_EVERY, is_asked: false, received: 0 }
    }

    /// Ready when it has asked, with `true`, or when there was no answer.
    fn poll(&mut self, cx: &mut Context<'_>, received: u64) -> Poll<bool> {
        if self.is_asked && self.pings.poll_pong(cx).is_ready() {
            self.is_asked = false;
            self.due = Instant::now() + PING_EVERY;
        }
        loop {
            ready!(self.timer.poll(self.due, cx));
            if !self.is_asked || received == self.received {
                break;
            }
            self.received = received;
            self.due = Instant::now() + PING_TIME_MAX;
        }
        self.received = received;
        let asks = !self.is_asked && self.pings.send_ping(Ping::opaque()).is_ok();
        self.is_asked = true;
        self.due = Instant::now() + PING_TIME_MAX;
        Poll::Ready(asks)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let held = buf.filled().len();
        let read = Pin::new(self.gathered.lock().io()).poll_read(cx, buf);
        self.received.fetch_add((buf.filled().len() - held) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.gathered.lock().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.gathered.lock().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by [`drive`], when the crate has nothing more to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.gathered.lock();
        ready!(gathered.poll_drain(cx))?;
        Pin::new(gathered.io()).poll_shutdown(cx)
    }
}
