//! HTTP/2 connections of clients ([why not Pingora's](../../../docs/decisions/0012-http2-bounds.md)).
//!
//! The `h2` crate speaks the protocol, above a [`wire`] that gathers what it writes and counts what passes by ([`frames`]). The [`driver`] takes the
//! requests of a connection and has the tier answer them, at once or in a task of their own; what is passed through it hands to Pingora, as a
//! [`stream`](crate::stream). [`bodies`] sends what does not fit into a client's windows, by [`priority`](crate::priority). Whatever a client can make this side hold, do or wait for has a bound:
//! those here, `config::process::Limits`, the bounds of the driver and the [`pace`](crate::pace) of bodies.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::UniqueID as _;
use pingora::proxy::ProxyHttp;
use skerry_config::process::Limits;
use tokio::sync::watch;

use crate::accept::Door;
use crate::connection::Socket;
use crate::head::Refusal;

mod bodies;
mod coming;
mod driver;
mod frames;
mod going;
mod wire;

use driver::Driver;
use wire::Wire;

/// Bytes of one request's body that are held until somebody reads them; the window of a stream.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The bytes of all bodies of a connection that are held: so many windows of streams, or a share of the streams where there are many.
const STREAM_WINDOWS: u32 = 4;
/// Of so many streams one can fill its window before the connection's is full.
const STREAMS_PER_WINDOW: u32 = 32;
/// Bytes of one answer that the crate holds and does not send yet.
const SEND_BUFFER: usize = 64 * 1024;
/// The payload of a frame that clients may send, in bytes; the least that may be said (RFC 9113 section 6.5.2).
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// The table of fields that clients may refer to, in bytes.
const FIELD_TABLE_BYTES: u32 = 4 * 1024;
/// A list of fields so many times as large as `Limits::head` is answered 431 by the crate, unseen by the tier; at four times that again the
/// connection ends (`ENHANCE_YOUR_CALM`). Between the two numbers of CONTINUATION frames that such a list needs there is room for a quarter more.
const HEAD_FACTOR: u64 = 2;
/// Streams reset by the client before they were even looked at (RFC 9113 section 10.5, "rapid reset"); one more ends the connection.
const PENDING_RESETS_MAX: usize = 32;
/// So many streams that a client may have open account for one of those: an edge resets what its clients give up.
const STREAMS_PER_PENDING_RESET: usize = 4;
/// Streams reset by us that are remembered, so that what is still under way for them is no error; and for how long.
const RESETS_KEPT_MAX: usize = 64;
const RESETS_KEPT: Duration = Duration::from_secs(1);
/// Malformed messages, and streams above the number allowed; one more ends the connection.
const STREAM_ERRORS_MAX: usize = 256;
/// What the bytes that small DATA frames of a connection lack to 256 each may add up to while they wait: some 16,000 of them, as many small messages of
/// gRPC calls may wait at once. With more the connection is ended.
const SMALL_FRAMES_BUDGET: usize = 4 << 20;

type Connection = h2::server::Connection<Wire, Bytes>;

/// Answers the requests of one connection, side by side, until it ends, is idle for too long, breaks a bound, or has drained after a stop.
pub(crate) async fn serve<App>(socket: Socket, door: &Door<App>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let client = Arc::clone(socket.client());
    let digest = Arc::new(client.digest(socket.id()));
    let wire = Wire::new(socket);
    let mut stopping = door.stop.clone();
    let connection = match open(wire.clone(), &door.limits, &mut stopping).await {
        Some(Ok(connection)) => connection,
        // Another protocol than the handshake agreed on; a client that only leaves is none.
        Some(Err(error)) if error.is_library() => {
            door.behind.refused(Refusal::Line, &client);
            return;
        }
        Some(Err(_)) | None => return,
    };
    Driver::new(door, client, digest, connection, wire).run(stopping).await;
}

/// Takes the client's preface; `None` when it does not come in time, or not before a stop.
async fn open(wire: Wire, limits: &Limits, stopping: &mut watch::Receiver<bool>) -> Option<Result<Connection, h2::Error>> {
    let mut handshake = pin!(builder(limits).handshake::<Wire, Bytes>(wire.clone()));
    let opened = std::future::poll_fn(|cx| {
        let opened = handshake.as_mut().poll(cx);
        // A client that is gone is noticed by the next read.
        let _ = wire.poll_drain(cx);
        opened.map(Some)
    });
    tokio::select! {
        biased;
        opened = tokio::time::timeout(limits.handshake_time.0, opened) => opened.ok()?,
        _ = stopping.wait_for(|stop| *stop) => None,
    }
}

fn builder(limits: &Limits) -> h2::server::Builder {
    let windows = STREAM_WINDOWS.max(limits.streams / STREAMS_PER_WINDOW);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head.0.saturating_mul(HEAD_FACTOR)).unwrap_or(u32::MAX))
        .header_table_size(FIELD_TABLE_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(windows).min(i32::MAX as u32))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX.max(limits.streams as usize / STREAMS_PER_PENDING_RESET))
        .max_concurrent_reset_streams(RESETS_KEPT_MAX)
        .reset_stream_duration(RESETS_KEPT)
        .max_local_error_reset_streams(Some(STREAM_ERRORS_MAX))
        .data_frame_budget(SMALL_FRAMES_BUDGET);
    builder
}

#[cfg(test)]
mod tests;
