//! HTTP/2 connections of clients: takes their streams and hands each to Pingora as a session of our own.
//!
//! Ours rather than Pingora's because Pingora's writes the time of sending into `Date`. Pingora's options, and with them its bounds, hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use pingora::proxy::{HttpProxy, ProxyHttp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::accept::{HANDSHAKE_TIME_MAX, KEEPALIVE_SECONDS};
use crate::alarm::Alarm;

/// What the bytes that small DATA frames of a connection lack to 256 each may add up to while they wait: some 16,000 of them. With more the
/// connection is ended.
const SMALL_FRAMES_BUDGET: usize = 4 << 20;

mod session;

use session::H2Session;

/// Answers the requests of one connection, side by side, until it ends, is idle for [`KEEPALIVE_SECONDS`], or has drained after a stop.
pub(crate) async fn serve<App>(stream: Stream, proxy: &Arc<HttpProxy<App>>, stop: &watch::Receiver<bool>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let mut stopping = stop.clone();
    let Some(mut connection) = open_connection(stream, &mut stopping).await else { return };
    let mut is_stopping = false;
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop), if !is_stopping => {
                connection.graceful_shutdown();
                is_stopping = true;
            }
            Some(_) = running.join_next() => {}
            accepted = connection.accept() => {
                let Some(Ok((request, answer))) = accepted else { break };
                if let Some((session, alarm)) = open(request, answer, &digest) {
                    let (proxy, stop) = (Arc::clone(proxy), stop.clone());
                    running.spawn(async move { alarm.bounds(proxy.process_new_http(session, &stop)).await.is_some() });
                }
            }
            () = tokio::time::sleep(Duration::from_secs(KEEPALIVE_SECONDS)), if running.is_empty() => break,
        }
    }
    // What still runs notices by itself that its client is gone, and is counted and logged as any other request.
    running.detach_all();
}

/// Takes the client's preface; `None` when it does not come in [`HANDSHAKE_TIME_MAX`], or not before a stop.
async fn open_connection(stream: Stream, stopping: &mut watch::Receiver<bool>) -> Option<h2::server::Connection<Stream, Bytes>> {
    tokio::select! {
        biased;
        opened = tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake(stream, Some(options()))) => opened.ok()?.ok(),
        _ = stopping.wait_for(|stop| *stop) => None,
    }
}

/// Pingora's options, but that many small messages may wait at once, as a gRPC call sends them.
fn options() -> h2::server::Builder {
    let mut options = default_h2_options();
    options.data_frame_budget(SMALL_FRAMES_BUDGET);
    options
}

/// The session of a stream, and its alarm, unless its target has bytes that would be dangerous upstream (RFC 9113 section 8.3.1, RFC 9112 section 3.2).
fn open(request: Request<RecvStream>, mut answer: SendResponse<Bytes>, digest: &Arc<Digest>) -> Option<(ServerSession, Arc<Alarm>)> {
    let (mut head, body) = request.into_parts();
    // Where the session and the tier find it.
    let alarm: Arc<Alarm> = Arc::default();
    head.extensions.insert(Arc::clone(&alarm));
    let head = RequestHeader::from(head);
    if head.raw_path().iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n' | b' ')) {
        answer.send_reset(h2::Reason::PROTOCOL_ERROR);
        return None;
    }
    let session = H2Session::new(head, body, answer, Arc::clone(digest));
    Some((ServerSession::new_custom(Box::new(session)), alarm))
}

#[cfg(test)]
mod tests;
