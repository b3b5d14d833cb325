//! Where a request goes: an origin, or a shield.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use skerry_config::origin::Server;
use skerry_config::site::{HttpVersion, OriginServer, Site};

use crate::client_certificate::ClientCertificate;
use crate::origin::{Guard, Shared};
use crate::trust::Trust;

/// Idle connections to one upstream are closed after this time.
const IDLE_TIME_MAX: Duration = Duration::from_secs(50);
/// Concurrent HTTP/2 streams of one connection.
const H2_STREAMS_MAX: usize = 128;
/// HTTP/2 windows, bytes: enough for a download at 1 Gbit/s over 16 ms, little enough for 256 MiB nodes.
const H2_WINDOW_BYTES: u32 = 2 << 20;

/// One place a request may be sent to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The host name or address to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS, unless cleartext.
    pub tls: Option<TlsTo>,
    /// The version of HTTP.
    pub http_version: HttpVersion,
    /// The `Host` to send in place of the client's.
    pub host_header: Option<String>,
    /// Bounds on its answers.
    pub times: Times,
    /// What is known of it, of a server that is guarded.
    pub guard: Option<Arc<Guard>>,
    /// What the servers of the site have in common for which it is asked.
    pub site: Option<Arc<Shared>>,
}

/// How TLS towards a target is done.
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

/// Credentials for the links between tiers.
pub struct Private {
    /// The node's own certificate and key.
    own: Arc<CertKey>,
    /// The only CA that is trusted.
    ca: Arc<[WrappedX509]>,
    /// Keeps connections made with these credentials apart from others.
    group: u64,
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

impl Private {
    /// Credentials from DER.
    ///
    /// # Errors
    /// When a certificate cannot be parsed.
    pub fn new(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, String> {
        for (what, der) in [("node", certificate), ("CA", ca)] {
            x509_parser::parse_x509_certificate(der).map_err(|error| format!("the {what} certificate cannot be read: {error}"))?;
        }
        let mut hasher = DefaultHasher::new();
        (certificate, ca).hash(&mut hasher);
        Ok(Self {
            own: Arc::new(CertKey::new(vec![certificate.to_vec()], key.to_vec())),
            ca: Arc::new([WrappedX509::new(ca.to_vec(), parse_x509)]),
            group: hasher.finish(),
        })
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
    Some(Target {
        port: server.port,
        tls: server.tls.then_some(TlsTo { server_name, verify: origin.verify_tls, trust, client, private: None }),
        host: server.host,
        http_version: origin.http_version,
        host_header: written.host_header.as_ref().or(origin.host_header.as_ref()).cloned(),
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

/// A shield, over mutual TLS. `times` bounds what it takes the shield to ask the origin, `guard` knows whether it can be reached.
#[must_use]
pub fn of_shield(name: &str, address: SocketAddr, private: Arc<Private>, times: Times, guard: Option<Arc<Guard>>) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        tls: Some(TlsTo { server_name: name.to_owned(), verify: true, trust: None, client: None, private: Some(private) }),
        http_version: HttpVersion::Auto,
        host_header: None,
        times,
        guard,
        site: None,
    }
}

impl Target {
    /// The peer for Pingora at one of the target's addresses. With `http1_only` interim answers are seen, and the connection can be upgraded.
    #[must_use]
    pub fn peer(&self, address: SocketAddr, http1_only: bool) -> HttpPeer {
        let server_name = self.tls.as_ref().map(|tls| tls.server_name.clone()).unwrap_or_default();
        let mut peer = HttpPeer::new(address, self.tls.is_some(), server_name);
        let (most, least) = match self.http_version {
            _ if http1_only => (1, 1),
            HttpVersion::Http1 => (1, 1),
            HttpVersion::Http2 => (2, 2),
            HttpVersion::Auto => (if self.tls.is_some() { 2 } else { 1 }, 1),
        };
        peer.options.set_http_version(most, least);
        peer.group_key = u64::from(most + least) - 2;
        if let Some(tls) = &self.tls {
            peer.options.verify_cert = tls.verify;
            peer.options.verify_hostname = tls.verify;
            if let Some(trust) = &tls.trust {
                trust.tell(&mut peer);
            }
            if let Some(client) = &tls.client {
                client.tell(&mut peer);
            }
            if let Some(private) = &tls.private {
                peer.client_cert_key = Some(Arc::clone(&private.own));
                peer.options.ca = Some(Arc::clone(&private.ca));
                peer.group_key ^= private.group;
            }
        }
        // Connections are made by `connect`, which keeps its time itself, so that this is for the handshake alone.
        peer.options.connection_timeout = Some(self.times.tls);
        peer.options.total_connection_timeout = None;
        peer.options.read_timeout = Some(self.times.first_byte.max(self.times.between_bytes));
        peer.options.write_timeout = Some(self.times.between_bytes);
        peer.options.idle_timeout = Some(IDLE_TIME_MAX);
        peer.options.max_h2_streams = H2_STREAMS_MAX;
        peer.options.h2_stream_window_size = Some(H2_WINDOW_BYTES);
        peer.options.h2_connection_window_size = Some(4 * H2_WINDOW_BYTES);
        peer
    }

    /// Whether it is a tier of this very CDN, by the credentials that it has to have.
    #[must_use]
    pub(crate) fn is_own_tier(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.private.is_some())
    }

    /// Whether a request to it may be repeated; that is counted then.
    pub(crate) fn may_repeat(&self) -> bool {
        self.site.as_ref().is_none_or(|site| site.may_repeat())
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

    /// `host:port`, for errors.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
