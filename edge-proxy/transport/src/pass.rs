//! The way of a request that Pingora passes through: its targets, tried one after the other until one can be reached.
//!
//! Below: `kind` tells what a request is for, `watch` holds it to its times and its size, `call` passes a gRPC call through in place of Pingora,
//! `tunnel` a WebSocket, along the upstreams that `tries` finds for both.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Version;
use http::header::{self, HeaderMap};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use crate::connect::{self, Race};
use crate::head::Head;
use crate::hygiene;
use crate::origin::{self, Permit};
use crate::target::Target;
use crate::upstream::{Client, UpstreamError, UpstreamErrorKind};

mod call;
mod kind;
mod tries;
mod tunnel;
mod watch;

pub use kind::{Kind, is_events, wants_events};
pub use watch::Watch;

/// Passes a request of one of the kinds that Pingora cannot pass both ways at once, and its answer back. `false` when that is for Pingora to do.
///
/// # Errors
/// When it did not end properly; the tier is still to be told.
pub async fn both_ways<App>(kind: Kind, app: &App, client: &Client, session: &mut Session, context: &mut App::CTX) -> pingora::Result<bool>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    match kind {
        Kind::Grpc => call::pass(app, client, session, context).await,
        Kind::WebSocket => tunnel::pass(app, client, session, context).await,
        Kind::Request | Kind::Events => Ok(false),
    }
}

/// Says in an error that ended a try whether there may be another one: what was asked can be sent again, and either it was `unseen`, or asking twice
/// changes nothing (RFC 9110 section 9.2.2) and the connection, which was kept from an earlier request, came to its end while this one was on its
/// way. Of HTTP/1.1 in cleartext Pingora says the latter itself, of everything else it is said here.
#[must_use]
pub fn may_try_again(session: &Session, mut error: Box<Error>, is_reused: bool, unseen: bool) -> Box<Error> {
    if session.as_ref().retry_buffer_truncated() || !(unseen || session.req_header().method.is_idempotent()) {
        error.set_retry(false);
        return error;
    }
    let is_end = matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError);
    if is_end && *error.esource() == ErrorSource::Upstream && session.response_written().is_none() {
        error.retry = RetryType::ReusedOnly;
    }
    error.retry.decide_reuse(is_reused);
    error
}

/// The targets of one request, and how far down the list it is.
#[derive(Debug, Default)]
pub struct Way {
    targets: Vec<Target>,
    given_up: usize,
    /// The race for the target in hand, from its beginning until its connection is asked for by its address.
    race: Option<Arc<Race>>,
    /// Which requests it takes turns with, where there is a queue.
    turn: u64,
    /// Leave to ask the target in hand, of one that is guarded.
    permit: Option<(usize, Permit)>,
}

impl Way {
    /// The way of a request along `targets`, in order.
    #[must_use]
    pub fn new(targets: Vec<Target>, head: &Head) -> Self {
        Self { targets, given_up: 0, race: None, turn: origin::turn(&head.authority, &head.path_and_query), permit: None }
    }

    /// How many targets have been given up: the index of the one in hand.
    #[must_use]
    pub fn given_up(&self) -> usize {
        self.given_up
    }

    /// Goes on to the next target; whether there is one.
    pub fn give_up(&mut self) -> bool {
        self.given_up += 1;
        self.race = None;
        self.given_up < self.targets.len()
    }

    /// The peer of the first target from here on that may be asked and whose name can be resolved.
    ///
    /// # Errors
    /// When no target is left; of the last one.
    pub async fn peer(&mut self, client: &Client, watch: &Watch) -> pingora::Result<Box<HttpPeer>> {
        let mut last = None;
        while let Some(target) = self.targets.get(self.given_up) {
            match self.reach(target, client).await {
                Ok((addresses, permit)) => {
                    let won = self.race.take().filter(|race| race.has_won());
                    let race = won.unwrap_or_else(|| Race::new(target, &addresses, client.winners()));
                    let mut peer = race.peer(target, watch.http1_only());
                    self.race = Some(race);
                    watch.bound(&mut peer);
                    self.permit = permit.map(|permit| (self.given_up, permit)).or(self.permit.take());
                    return Ok(Box::new(peer));
                }
                Err(error) => {
                    tracing::warn!(error = error.detail, "upstream skipped");
                    last = Some(error);
                }
            }
            self.permit = None;
            self.given_up += 1;
        }
        let none = || Error::explain(ErrorType::ConnectError, "no upstream can be asked").into_up();
        Err(last.map_or_else(none, UpstreamError::into_error))
    }

    /// The addresses of a target, and leave to ask it unless that is in hand.
    async fn reach(&self, target: &Target, client: &Client) -> Result<(Vec<SocketAddr>, Option<Permit>), UpstreamError> {
        let permit = match &target.guard {
            Some(guard) if self.permit.as_ref().is_none_or(|(at, _)| *at != self.given_up) => Some(guard.enter(self.turn).await?),
            _ => None,
        };
        let addresses = client.addresses(target).await?;
        if addresses.is_empty() {
            return Err(UpstreamError::new(UpstreamErrorKind::Resolve, format!("{} has no address", target.label())));
        }
        Ok((addresses, permit))
    }

    /// The final head of an answer has come. What may last for long counts among the requests of its server no further.
    pub fn answered(&mut self, watch: &Watch, answer: &ResponseHeader) {
        if let Some((_, permit)) = &self.permit {
            permit.answered(answer.status, &answer.headers, true);
        }
        if watch.may_last() {
            self.permit = None;
        }
    }

    /// What to tell Pingora of a peer that could not be connected to: to try again while a target is left.
    #[must_use]
    pub fn unreachable(&mut self, peer: &HttpPeer, mut error: Box<Error>) -> Box<Error> {
        if connect::is_elsewhere(&error) {
            error.set_retry(true);
            return error;
        }
        let why = error.context.as_ref().map_or(error.etype().as_str(), |why| why.as_str());
        tracing::warn!(upstream = %peer._address, error = why, "upstream cannot be reached");
        self.failed(UpstreamErrorKind::Connect);
        error.set_retry(self.give_up());
        error
    }

    /// The target in hand gave no answer, or none to its end.
    pub fn failed(&mut self, kind: UpstreamErrorKind) {
        if let Some((_, permit)) = self.permit.take() {
            permit.failed(kind);
        }
    }

    /// Writes the head for the target in hand: its `Host`, and the end-to-end fields `signed`.
    ///
    /// # Errors
    /// When a field cannot be written, which a parsed one always can.
    pub fn write_head(&self, upstream: &mut RequestHeader, head: &Head, signed: &HeaderMap, watch: &Watch) -> pingora::Result<()> {
        let host = self.targets.get(self.given_up).and_then(|target| target.host_header.as_deref());
        upstream.insert_header(header::HOST, host.unwrap_or(&head.authority))?;
        hygiene::replace_end_to_end(upstream, signed)?;
        // RFC 9112 section 3.2.1: only proxies are asked with an absolute target. This one would say a scheme that is not the request's, and another
        // path than was routed by where it has none.
        if upstream.raw_path() != head.path_and_query.as_bytes() {
            upstream.set_raw_path(head.path_and_query.as_bytes())?;
        }
        // RFC 9113 section 8.2.2: the one member of TE that HTTP/2 has. gRPC servers look for it.
        if upstream.version == Version::HTTP_2 && watch.takes_trailers() {
            upstream.insert_header(header::TE, "trailers")?;
        }
        Ok(())
    }
}
