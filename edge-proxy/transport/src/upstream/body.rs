//! The body of an answer, and what becomes of its connection at the end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::failure::{Due, Failed};
use super::pool::Pool;
use super::{UpstreamError, UpstreamErrorKind, http1, http2};
use crate::origin::Permit;
use crate::pass::is_events;
use crate::target::{Endpoint, Target};

/// Reads a body, and gives the connection back to the pool when it ended properly.
pub struct IncomingBody {
    source: Source,
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
    pool: Arc<Pool>,
    between_bytes: Duration,
    /// When it has to end, and what it is called when it has not.
    until: Option<(Instant, UpstreamErrorKind)>,
    /// Counts the request among those that its server is asked.
    permit: Option<Permit>,
}

/// Where the pieces come from.
pub(super) enum Source {
    /// All has been read.
    Nothing,
    Http1(http1::Reading),
    Http2(Box<http2::Reading>),
}

impl Source {
    fn poll_piece(&mut self, cx: &mut Context<'_>, due: &Due) -> Poll<Result<Option<Bytes>, Failed>> {
        match self {
            Self::Nothing => Poll::Ready(Ok(None)),
            Self::Http1(reading) => reading.poll_piece(cx, due),
            Self::Http2(reading) => reading.poll_piece(cx, due),
        }
    }

    /// Whether it is known already that nothing more comes.
    fn is_done(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1(reading) => reading.is_done(),
            // That a stream is closed does not say that it was closed properly: reading on does.
            Self::Http2(_) => false,
        }
    }
}

impl IncomingBody {
    /// The body behind a head with these fields, which `target` at `address` was asked for at `began`.
    pub(super) fn new(source: Source, headers: &HeaderMap, target: &Target, address: SocketAddr, pool: &Arc<Pool>, began: Instant) -> Self {
        let times = &target.times;
        let (between_bytes, until) = if is_events(headers) {
            (times.events_idle, Some((Instant::now() + times.events, UpstreamErrorKind::Timeout)))
        } else {
            (times.between_bytes, times.total.map(|total| (began + total, UpstreamErrorKind::TooLong)))
        };
        let (endpoint, pool) = (Arc::clone(&target.endpoint), Arc::clone(pool));
        let mut body = Self { source, address, endpoint, pool, between_bytes, until, permit: None };
        if body.source.is_done() {
            body.end();
        }
        body
    }

    /// Has the request count for as long as the body is read.
    pub(super) fn count(&mut self, permit: Permit) {
        if !matches!(self.source, Source::Nothing) {
            self.permit = Some(permit);
        }
    }

    /// The next piece, never empty; `None` at the proper end.
    ///
    /// # Errors
    /// When the answer ends early or nothing comes in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let due = Due::of_piece(self.between_bytes, self.until);
        // What comes without a pause is never waited for.
        let piece = if due.is_past() { Err(due.failed()) } else { poll_fn(|cx| self.source.poll_piece(cx, &due)).await };
        match piece {
            Ok(piece) => {
                if let (Some(piece), Some(permit)) = (&piece, &self.permit) {
                    permit.received(piece.len());
                }
                if piece.is_none() || self.source.is_done() {
                    self.end();
                }
                Ok(piece)
            }
            Err(failed) => Err(self.broke_off(&failed)),
        }
    }

    fn end(&mut self) {
        self.permit = None;
        if let Source::Http1(reading) = std::mem::replace(&mut self.source, Source::Nothing)
            && let Some(connection) = reading.into_connection()
        {
            self.pool.put(&self.endpoint, connection);
        }
    }

    fn broke_off(&mut self, failed: &Failed) -> UpstreamError {
        self.source = Source::Nothing;
        if let Some(permit) = self.permit.take() {
            permit.broke_off(failed.kind);
        }
        UpstreamError::new(failed.kind, format!("the answer of {} broke off: {}", self.address, failed.why))
    }
}
