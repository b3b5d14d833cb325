//! Asks upstream: one request, its head, then its body piece by piece ([why not over Pingora's connections](../../../docs/decisions/0022-own-upstream-client.md)).
//!
//! [`Client`] finds a connection and asks over it: `pool` has those that are open, `secured` does TLS, `http1` and `http2` speak the protocols,
//! `body` reads what follows a head and `failure` says why there is none. `links` keeps those between the tiers open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use skerry_config::process;
use skerry_config::site::HttpVersion;
use skerry_config::snapshot::{Shield, Snapshot};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::allowed::Allowed;
use crate::connect::Winners;
use crate::hygiene::{self, FAULT};
use crate::interim::{self, Early, INTERIM, Interim};
use crate::origin::{Origins, Shared};
use crate::pass::is_events;
use crate::private::Private;
use crate::resolve::Resolver;
use crate::sound;
use crate::target::{Endpoint, Target, Times};

mod body;
mod failure;
mod http1;
mod http2;
mod io;
mod links;
mod pool;
mod secured;

pub use body::IncomingBody;
use body::Source;
use failure::{Failed, address_refused};
pub use failure::{PassFailure, UpstreamError, UpstreamErrorKind};
use io::Io;
use links::Links;
use pool::{Opening, Pool, Taken};
use secured::Secured;

/// Idle connections that Pingora keeps for gRPC calls and WebSockets.
const PASSING_CONNECTIONS_MAX: usize = 256;

/// A request without body.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// GET or HEAD.
    pub method: Method,
    /// Path and query.
    pub path_and_query: String,
    /// The `Host` to send, unless the target has its own.
    pub authority: String,
    /// End-to-end header fields.
    pub headers: HeaderMap,
    /// Where interim answers go as they come; without it, and where it has no room, they come with the final head.
    pub early: Option<Arc<Early>>,
}

/// The head of an answer; the body is read from `body`.
pub struct Incoming {
    /// The final status, between 200 and 599.
    pub status: StatusCode,
    /// End-to-end header fields.
    pub headers: HeaderMap,
    /// The interim answers that came before and did not go ahead, at most [`crate::interim::INTERIM_MAX`].
    pub interim: Vec<Interim>,
    /// The body.
    pub body: IncomingBody,
}

/// What was answered, as it came.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    interim: Vec<Interim>,
    source: Source,
}

/// The connections to upstreams.
pub struct Client {
    pool: Arc<Pool>,
    secured: Secured,
    /// Those of gRPC calls and WebSockets, which go both ways at once.
    passing: Connector,
    resolver: Resolver,
    /// What addresses origins may have.
    allowed: Allowed,
    winners: Arc<Winners>,
    origins: Origins,
    /// To shields, of an edge.
    links: Option<Links>,
}

/// The addresses of a server, and which of them may be connected to.
struct Found<'a> {
    ips: Ips,
    allowed: Option<&'a Allowed>,
}

enum Ips {
    One(IpAddr),
    Many(Arc<[IpAddr]>),
}

impl Client {
    /// A client without a connection, which reaches origins as the settings of the process say.
    #[must_use]
    pub fn new(origins: &process::Origins) -> Arc<Self> {
        Self::of(origins, None)
    }

    /// One that reaches shields as well, by these credentials.
    #[must_use]
    pub fn with_links(origins: &process::Origins, private: Arc<Private>) -> Arc<Self> {
        Self::of(origins, Some(Links::new(private)))
    }

    fn of(origins: &process::Origins, links: Option<Links>) -> Arc<Self> {
        Arc::new(Self {
            pool: Arc::default(),
            secured: Secured::default(),
            passing: Connector::new(Some(ConnectorOptions::new(PASSING_CONNECTIONS_MAX))),
            resolver: Resolver::new(&origins.resolvers),
            allowed: Allowed::new(&origins.allow),
            winners: Arc::default(),
            origins: Origins::default(),
            links,
        })
    }

    /// Puts a configuration in force for the servers that are asked.
    pub fn configure(self: &Arc<Self>, snapshot: &Snapshot) {
        self.origins.configure(snapshot, self);
        if let Some(links) = &self.links {
            links.configure(snapshot, self);
        }
    }

    /// A shield, for requests of a site: `times` bounds what it takes it to ask the origin. `None` of a client that has no links.
    #[must_use]
    pub fn shield(&self, shield: &Shield, times: Times, site: Option<Arc<Shared>>) -> Option<Target> {
        let endpoint = self.links.as_ref()?.endpoint(shield);
        Some(Target { endpoint, host_header: None, times, guard: self.origins.shield(&shield.name), site })
    }

    /// What is known of origin servers.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Pingora's connections, for what goes both ways at once.
    pub(crate) fn passing(&self) -> &Connector {
        &self.passing
    }

    /// Which address of a server won the last race to it.
    pub(crate) fn winners(&self) -> &Arc<Winners> {
        &self.winners
    }

    /// The addresses of a target; of an origin only those that it may have.
    ///
    /// # Errors
    /// When its name cannot be resolved, or leads to none that is allowed.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, UpstreamError> {
        Ok(self.find(&target.endpoint).await?.addresses(target.endpoint.port()))
    }

    async fn find(&self, endpoint: &Endpoint) -> Result<Found<'_>, UpstreamError> {
        let ips = match endpoint.ip() {
            Some(ip) => Ips::One(ip),
            None => match self.resolver.addresses(endpoint.host()).await {
                Ok(ips) => Ips::Many(ips),
                Err(detail) => return Err(UpstreamError::new(UpstreamErrorKind::Resolve, detail)),
            },
        };
        let found = Found { ips, allowed: (!endpoint.is_own_tier()).then_some(&self.allowed) };
        match found.all().iter().map(|ip| (*ip, found.may_connect(*ip))).find(|(_, may)| may.is_err()) {
            Some((ip, Err(what))) if found.all().iter().all(|ip| found.may_connect(*ip).is_err()) => {
                Err(address_refused(endpoint, ip, what))
            }
            _ => Ok(found),
        }
    }

    /// Sends `request` to the first target that can be reached and may be asked. The next one is tried only when nothing was sent, so a request reaches
    /// one upstream at most, and while the retries of the site are not used up.
    ///
    /// # Errors
    /// Of the last target tried.
    pub async fn request(&self, targets: &[Target], request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let mut last = UpstreamError::new(UpstreamErrorKind::Connect, "there is no upstream to ask".to_owned());
        let mut asked: Option<&Target> = None;
        for target in targets {
            if asked.is_some_and(|asked| !asked.may_repeat()) {
                break;
            }
            let permit = match &target.guard {
                None => None,
                Some(guard) => match guard.enter(request.turn()).await {
                    Ok(permit) => Some(permit),
                    Err(refused) => {
                        last = refused;
                        continue;
                    }
                },
            };
            asked = Some(target);
            match self.ask(target, request).await {
                Ok(mut incoming) => {
                    permit.iter().for_each(|permit| permit.answered(incoming.status, &incoming.headers, false));
                    // What may last for long counts among the requests of its server no further.
                    if let Some(permit) = permit.filter(|_| !is_events(&incoming.headers)) {
                        incoming.body.count(permit);
                    }
                    return Ok(incoming);
                }
                Err(error) => {
                    permit.iter().for_each(|permit| permit.failed(error.kind));
                    if !error.kind.is_unreachable() {
                        return Err(error);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// One server, over an open connection or over a new one; an open one that turns out to be closed is replaced once by a new one.
    async fn ask(&self, target: &Target, request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let began = Instant::now();
        let found = self.find(&target.endpoint).await?;
        if let Some(taken) = self.pool.take(&target.endpoint, |ip| found.has(ip)) {
            let address = taken.address();
            match taken.ask(target, request, began).await {
                Ok(answered) => return Ok(self.incoming(answered, target, address, began)),
                Err(failed) if !failed.is_of_connection() || !target.may_repeat() => return Err(failed.unanswered(target, address)),
                Err(_) => {}
            }
        }
        // Rare, and large.
        Box::pin(self.ask_anew(target, request, &found, began)).await
    }

    /// Over a new connection. What the server did nothing with, as it says, is asked once more.
    async fn ask_anew(&self, target: &Target, request: &Outgoing, found: &Found<'_>, began: Instant) -> Result<Incoming, UpstreamError> {
        let mut is_last = false;
        loop {
            let taken = self.open(&target.endpoint, &target.times, found).await?;
            let address = taken.address();
            match taken.ask(target, request, began).await {
                Ok(answered) => return Ok(self.incoming(answered, target, address, began)),
                Err(failed) if failed.unseen && !is_last && target.may_repeat() => is_last = true,
                Err(failed) => return Err(failed.unanswered(target, address)),
            }
        }
    }

    /// A connection to ask over that was not there before. Of a server that speaks nothing but HTTP/2 one opens it for all who want one.
    async fn open(&self, endpoint: &Arc<Endpoint>, times: &Times, found: &Found<'_>) -> Result<Taken, UpstreamError> {
        if endpoint.http_version() != HttpVersion::Http2 {
            return self.connect(endpoint, times, found).await;
        }
        loop {
            let mut others = match self.pool.opening(endpoint) {
                Opening::Mine(tell) => {
                    let opened = self.connect(endpoint, times, found).await;
                    tell.send_replace(Some(opened.as_ref().map(drop).map_err(Clone::clone)));
                    return opened;
                }
                Opening::Others(others) => others,
            };
            let time = times.connect + times.tls;
            let told = tokio::time::timeout(time, others.wait_for(Option::is_some)).await.map(|told| told.map(|told| told.clone()));
            match told {
                Ok(Ok(Some(Err(error)))) => return Err(error),
                Ok(Ok(_)) => match self.pool.take(endpoint, |ip| found.has(ip)) {
                    Some(taken) => return Ok(taken),
                    // It has no room left: one more is opened for all of those.
                    None if self.pool.is_shared(endpoint) => {}
                    None => return self.connect(endpoint, times, found).await,
                },
                // Who opened it gave up.
                Ok(Err(_)) => {}
                Err(_) => return Err(unreachable(UpstreamErrorKind::Connect, endpoint, &format!("not within {time:?}"))),
            }
        }
    }

    /// Opens the link to a shield, which then stays open.
    async fn open_link(&self, endpoint: &Arc<Endpoint>, time: Duration) -> Result<(), UpstreamError> {
        let found = self.find(endpoint).await?;
        let times = Times { connect: time, tls: time, first_byte: time, between_bytes: time, total: None, events_idle: time, events: time };
        self.open(endpoint, &times, &found).await.map(drop)
    }

    /// A new connection, at the first of the addresses that answers; one that fails at TLS is left out of a further race.
    async fn connect(&self, endpoint: &Arc<Endpoint>, times: &Times, found: &Found<'_>) -> Result<Taken, UpstreamError> {
        let mut addresses = found.addresses(endpoint.port());
        let mut last = UpstreamError::new(UpstreamErrorKind::Resolve, format!("{} has no address", endpoint.label()));
        while !addresses.is_empty() {
            let connected = self.winners.connect(endpoint, &addresses, times.connect).await;
            let (address, stream) = connected.map_err(|why| unreachable(UpstreamErrorKind::Connect, endpoint, &why))?;
            match self.speak(endpoint, times, address, stream).await {
                Ok(taken) => return Ok(taken),
                Err(error) => last = error,
            }
            addresses.retain(|other| *other != address);
        }
        Err(last)
    }

    /// Does TLS where it is to be done, and begins the protocol that is spoken.
    async fn speak(&self, endpoint: &Arc<Endpoint>, times: &Times, address: SocketAddr, stream: TcpStream) -> Result<Taken, UpstreamError> {
        // Without it what is small waits for the answer to what was sent before it; a socket that does not take the option is as good as closed.
        let _ = stream.set_nodelay(true);
        let failed = |kind, why: &str| unreachable(kind, endpoint, &format!("at {address}: {why}"));
        let (io, is_http2) = match endpoint.tls() {
            None => (Io::Plain(stream), endpoint.http_version() == HttpVersion::Http2),
            Some(tls) => match self.secured.shake_hands(endpoint, tls, stream, times.tls).await {
                Ok((stream, is_http2)) => (Io::Tls(stream), is_http2),
                Err(why) => return Err(failed(UpstreamErrorKind::Tls, &why)),
            },
        };
        if !is_http2 {
            return Ok(Taken::Http1(http1::Connection::new(io, address)));
        }
        let begun = http2::Connection::begin(io, address, endpoint.is_own_tier()).await;
        let connection = begun.map_err(|error| failed(UpstreamErrorKind::Connect, &error.why))?;
        let taken = Taken::Http2(connection.stream());
        self.pool.share(endpoint, connection);
        Ok(taken)
    }

    fn incoming(&self, answered: Answered, target: &Target, address: SocketAddr, began: Instant) -> Incoming {
        let Answered { status, mut headers, mut interim, source } = answered;
        hygiene::strip_hop_by_hop(&mut headers);
        if target.is_own_tier() {
            interim.extend(interim::take(&mut headers));
        } else {
            headers.remove(FAULT);
        }
        headers.remove(INTERIM);
        if let Some(length) = sound::said_again(&headers) {
            headers.insert(header::CONTENT_LENGTH, length);
        }
        let body = IncomingBody::new(source, &headers, target, address, &self.pool, began);
        Incoming { status, headers, interim, body }
    }
}

impl Found<'_> {
    fn all(&self) -> &[IpAddr] {
        match &self.ips {
            Ips::One(ip) => std::slice::from_ref(ip),
            Ips::Many(ips) => ips,
        }
    }

    fn may_connect(&self, ip: IpAddr) -> Result<(), &'static str> {
        self.allowed.map_or(Ok(()), |allowed| allowed.may_connect(ip))
    }

    /// Whether it is one of them that may be connected to.
    fn has(&self, ip: IpAddr) -> bool {
        self.all().contains(&ip) && self.may_connect(ip).is_ok()
    }

    fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        self.all().iter().filter(|ip| self.may_connect(**ip).is_ok()).map(|ip| SocketAddr::new(*ip, port)).collect()
    }
}

impl Taken {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Http1(connection) => connection.address(),
            Self::Http2(stream) => stream.address(),
        }
    }

    async fn ask(self, target: &Target, request: &Outgoing, began: Instant) -> Result<Answered, Failed> {
        match self {
            Self::Http1(connection) => connection.ask(target, request, began).await,
            Self::Http2(stream) => stream.ask(target, request, began).await,
        }
    }
}

fn unreachable(kind: UpstreamErrorKind, endpoint: &Endpoint, why: &str) -> UpstreamError {
    UpstreamError::new(kind, format!("{} cannot be reached: {why}", endpoint.label()))
}
