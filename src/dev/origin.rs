//! The sample origin: a small site that behaves as an origin should, so that there is something to cache.
//!
//! It runs inside `skerry dev`, speaks HTTP/1.1, and names in its `Cache-Control` and `Cache-Tag` what each answer is worth. Nothing in it
//! is slower or more forgiving for a CDN than for a browser.

mod answer;
mod api;
mod file;
mod live;
mod page;
mod stats;
mod ts;
mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::answer::Answer;
use super::probe::READY_PATH;

/// The most connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// What the origin remembers.
#[derive(Debug)]
struct Origin {
    api: api::Version,
    stats: stats::Stats,
}

/// Starts the origin; its URL. It ends with the runtime.
pub(crate) async fn start(address: SocketAddr) -> Result<String, String> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("the sample origin cannot listen on {address}: {error}; choose other ports with --port-base"))?;
    let origin = Arc::new(Origin { api: api::Version::default(), stats: stats::Stats::default() });
    tokio::spawn(accept(listener, origin));
    Ok(format!("http://{address}"))
}

async fn accept(listener: TcpListener, origin: Arc<Origin>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let origin = Arc::clone(&origin);
        tokio::spawn(async move {
            connection(stream, origin).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, origin: Arc<Origin>) {
    // Without it the tail of every answer waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let origin = Arc::clone(&origin);
        async move { Ok::<_, Infallible>(respond(&origin, request).await) }
    });
    let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection to the sample origin broke");
    }
}

async fn respond(origin: &Origin, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if path != READY_PATH {
        origin.stats.count(&path);
    }
    match path.as_str() {
        READY_PATH => answer::empty(http::StatusCode::NO_CONTENT),
        "/" | "/style.css" | "/skerry.svg" | "/bars.png" => page::respond(&request, &path),
        "/api/version" => api::version(&origin.api, &request),
        "/echo" => api::echo(request).await,
        "/stats" => answer::json(&origin.stats.json(), "no-store"),
        "/ws" => websocket::respond(request),
        _ if path.starts_with("/live/") => live::respond(&request, &path),
        _ if let Some(length) = file::length(&path) => file::respond(&request, length),
        _ => answer::text(http::StatusCode::NOT_FOUND, "there is nothing here; / lists what there is\n"),
    }
}
