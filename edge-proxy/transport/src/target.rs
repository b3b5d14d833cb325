//! Where a request goes: an origin, or a shield.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;
use skerry_config::origin::Server;
use skerry_config::site::{HttpVersion, OriginServer, Site};

use crate::client_certificate::ClientCertificate;
use crate::origin::{Guard, Shared};
use crate::private::Private;
use crate::trust::Trust;

/// Idle connections to one upstream are closed after this time.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(50);
/// Concurrent HTTP/2 streams of one connection.
pub(crate) const H2_STREAMS_MAX: usize = 128;
/// HTTP/2 window of what is passed through, in bytes: enough for a download at 1 Gbit/s over 16 ms, little enough for 256 MiB nodes.
const H2_PASS_WINDOW_BYTES: u32 = 2 << 20;
/// The window of a stream of what is fetched, in bytes: a quarter of that, because a connection has room for all its streams at once, so that those whose
/// clients read slowly hold up no others. Large answers come over several streams.
pub(crate) const H2_STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// The window of such a connection.
pub(crate) const H2_CONNECTION_WINDOW_BYTES: u32 = H2_STREAMS_MAX as u32 * H2_STREAM_WINDOW_BYTES;

/// One server that a request may be sent to. What it is made of is shared, so that a clone costs little.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// The `Host` to send in place of the client's.
    pub host_header: Option<Arc<str>>,
    /// Bounds on its answers.
    pub times: Times,
    /// What is known of it, of a server that is guarded.
    pub guard: Option<Arc<Guard>>,
    /// What the servers of the site have in common for which it is asked.
    pub site: Option<Arc<Shared>>,
}

/// A server and how it is spoken to: what connections have in common that can be used for each other's requests.
#[derive(Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<TlsTo>,
    http_version: HttpVersion,
    /// `host:port`, for errors.
    label: String,
    /// The host, where it is an address.
    ip: Option<IpAddr>,
    /// Of what makes it the same as another one.
    hash: u64,
}

/// What the server has to be told of TLS apart from its name: connections and sessions of one are of no use to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) verify: bool,
    pub(crate) http_version: HttpVersion,
    /// Whose certificates count, and who this side is.
    trust: Option<u64>,
    client: Option<u64>,
    private: Option<u64>,
}

/// How TLS towards an endpoint is done.
#[derive(Clone)]
pub struct TlsTo {
    /// The name sent and verified; never empty.
    pub server_name: String,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// The authorities that are trusted in place of the public ones.
    pub trust: Option<Arc<Trust>>,
    /// What is shown to a server that asks for a certificate.
    pub client: Option<Arc<ClientCertificate>>,
    /// Mutual TLS under the CDN's own CA, in place of the public ones.
    pub private: Option<Arc<Private>>,
}

/// Bounds on one exchange with a target.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To connect, all addresses together.
    pub connect: Duration,
    /// For the TLS handshake.
    pub tls: Duration,
    /// From the end of the request to the end of the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub between_bytes: Duration,
    /// From the request to the end of the body, where there is a bound. A stream of events has its own.
    pub total: Option<Duration>,
    /// Between two pieces of a stream of events.
    pub events_idle: Duration,
    /// A whole stream of events.
    pub events: Duration,
}

impl std::fmt::Debug for TlsTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsTo").field("server_name", &self.server_name).field("verify", &self.verify).finish_non_exhaustive()
    }
}

/// The servers of a site's origin, in its order, without guards. Origins whose URL does not parse are left out; the check refuses them long before.
pub(crate) fn of_origin(site: &Site) -> Vec<(OriginServer, Target)> {
    let servers = site.origin.all_servers().into_iter();
    servers.filter_map(|server| of_server(&server, site).map(|target| (server, target))).collect()
}

fn of_server(written: &OriginServer, site: &Site) -> Option<Target> {
    let origin = &site.origin;
    let server: Server = written.url.parse().ok()?;
    let trust = match &origin.ca {
        Some(pem) => Some(Trust::of(pem)?),
        None => None,
    };
    let client = match (&origin.client_certificate, &origin.client_key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate::of(certificate, key.reveal())?),
        _ => None,
    };
    let server_name = written.server_name.as_ref().or(origin.server_name.as_ref());
    let server_name = server_name.cloned().unwrap_or_else(|| server.host.clone());
    let tls = server.tls.then_some(TlsTo { server_name, verify: origin.verify_tls, trust, client, private: None });
    Some(Target {
        endpoint: Endpoint::new(server.host, server.port, tls, origin.http_version),
        host_header: written.host_header.as_ref().or(origin.host_header.as_ref()).map(|host| host.as_str().into()),
        times: Times {
            connect: origin.connect_timeout.0,
            tls: origin.tls_timeout.0,
            first_byte: origin.first_byte_timeout.0,
            between_bytes: origin.between_bytes_timeout.0,
            total: origin.total_timeout.map(|total| total.0),
            events_idle: site.pass.events_idle_timeout.0,
            events: site.pass.events_timeout.0,
        },
        guard: None,
        site: None,
    })
}

/// A shield, over mutual TLS.
#[must_use]
pub fn of_shield(name: &str, address: SocketAddr, private: Arc<Private>) -> Arc<Endpoint> {
    let tls = TlsTo { server_name: name.to_owned(), verify: true, trust: None, client: None, private: Some(private) };
    Endpoint::new(address.ip().to_string(), address.port(), Some(tls), HttpVersion::Http2)
}

impl Endpoint {
    /// The server at a host, which is a name or an address.
    #[must_use]
    pub fn new(host: String, port: u16, tls: Option<TlsTo>, http_version: HttpVersion) -> Arc<Self> {
        let label = format!("{host}:{port}");
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let mut endpoint = Self { host, port, tls, http_version, label, ip, hash: 0 };
        let mut hasher = DefaultHasher::new();
        endpoint.identity().hash(&mut hasher);
        endpoint.hash = hasher.finish();
        Arc::new(endpoint)
    }

    fn identity(&self) -> (&str, Option<(&str, Kind)>, HttpVersion) {
        (&self.label, self.tls.as_ref().map(|tls| (tls.server_name.as_str(), self.kind(tls))), self.http_version)
    }

    /// The kind of TLS.
    pub(crate) fn kind(&self, tls: &TlsTo) -> Kind {
        let trust = tls.trust.as_ref().map(|trust| trust.group());
        let client = tls.client.as_ref().map(|client| client.group());
        let private = tls.private.as_ref().map(|private| private.group());
        Kind { verify: tls.verify, http_version: self.http_version, trust, client, private }
    }

    /// The version of HTTP.
    pub(crate) fn http_version(&self) -> HttpVersion {
        self.http_version
    }

    /// The host name or address to connect to.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for errors.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How TLS is done, unless in cleartext.
    pub(crate) fn tls(&self) -> Option<&TlsTo> {
        self.tls.as_ref()
    }

    /// The host, where it is an address.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether it is a tier of this very CDN, by the credentials that it has to have.
    pub(crate) fn is_own_tier(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.private.is_some())
    }

    /// Its URL in the shortest form.
    pub(crate) fn url(&self) -> String {
        Server { tls: self.tls.is_some(), host: self.host.clone(), port: self.port }.to_string()
    }

    /// Its host and port as they stand in its URL.
    pub(crate) fn authority(&self) -> String {
        let url = self.url();
        url.split_once("://").map_or_else(String::new, |(_, authority)| authority.to_owned())
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.identity() == other.identity()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Target {
    /// The peer for Pingora at one of the target's addresses. With `http1_only` interim answers are seen, and the connection can be upgraded.
    #[must_use]
    pub fn peer(&self, address: SocketAddr, http1_only: bool) -> HttpPeer {
        let tls = self.endpoint.tls();
        let server_name = tls.map(|tls| tls.server_name.clone()).unwrap_or_default();
        let mut peer = HttpPeer::new(address, tls.is_some(), server_name);
        let (most, least) = match self.endpoint.http_version {
            _ if http1_only => (1, 1),
            HttpVersion::Http1 => (1, 1),
            HttpVersion::Http2 => (2, 2),
            HttpVersion::Auto => (if tls.is_some() { 2 } else { 1 }, 1),
        };
        peer.options.set_http_version(most, least);
        peer.group_key = u64::from(most + least) - 2;
        if let Some(tls) = tls {
            peer.options.verify_cert = tls.verify;
            peer.options.verify_hostname = tls.verify;
            if let Some(trust) = &tls.trust {
                trust.tell(&mut peer);
            }
            if let Some(client) = &tls.client {
                client.tell(&mut peer);
            }
            if let Some(private) = &tls.private {
                let (own, ca) = private.for_pass();
                peer.client_cert_key = Some(own);
                peer.options.ca = Some(ca);
                peer.group_key ^= private.group();
            }
        }
        // Connections are made by `connect`, which keeps its time itself, so that this is for the handshake alone.
        peer.options.connection_timeout = Some(self.times.tls);
        peer.options.total_connection_timeout = None;
        peer.options.read_timeout = Some(self.times.first_byte.max(self.times.between_bytes));
        peer.options.write_timeout = Some(self.times.between_bytes);
        peer.options.idle_timeout = Some(IDLE_TIME_MAX);
        peer.options.max_h2_streams = H2_STREAMS_MAX;
        peer.options.h2_stream_window_size = Some(H2_PASS_WINDOW_BYTES);
        peer.options.h2_connection_window_size = Some(4 * H2_PASS_WINDOW_BYTES);
        peer
    }

    /// Whether it is a tier of this very CDN.
    pub(crate) fn is_own_tier(&self) -> bool {
        self.endpoint.is_own_tier()
    }

    /// Whether a request to it may be repeated; that is counted then.
    pub(crate) fn may_repeat(&self) -> bool {
        self.site.as_ref().is_none_or(|site| site.may_repeat())
    }

    /// `host:port`, for errors.
    #[must_use]
    pub fn label(&self) -> &str {
        self.endpoint.label()
    }
}
