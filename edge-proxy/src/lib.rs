//! The tier that clients meet: route, exchange, shape, log.
//!
//! [`run`] is one edge process from its settings to its end.

mod at_once;
mod country;
mod device;
mod duties;
mod explain;
mod fault;
mod fields;
mod fill;
mod reload;
mod request;
mod shape;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;
use skerry_agent::figures::Figures;
use skerry_agent::{Agent, Role, Settings};
use skerry_cache::exchange::{Bounds, Exchange};
use skerry_config::process;
use skerry_config::snapshot::Snapshot;
use skerry_transport::accept::Front;
use skerry_transport::certificates::Certificates;
use skerry_transport::target::Private;
use skerry_transport::upstream::Client;
use skerry_transport::{listen, tls};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::country::Countries;
use crate::duties::Duties;
use crate::fill::Upstreams;
use crate::reload::Watched;
use crate::request::{Edge, Sessions};

/// Runs an edge until `stop` turns true and its requests have drained.
///
/// # Errors
/// One sentence for the operator, when it cannot start.
pub async fn run(settings: process::Edge, stop: watch::Receiver<bool>) -> Result<(), String> {
    let database = settings.geo.database.clone();
    let known_database = Watched::new("country database", database.iter().cloned().collect());
    let countries = Arc::new(Countries::load(database.as_ref())?);
    let sockets = Sockets::bind(&settings.listen).await?;
    let addresses = sockets.addresses()?;
    let agent = tokio::select! {
        prepared = Agent::prepare(agent_settings(&settings)) => prepared?,
        () = skerry_agent::stopped(stop.clone()) => return Ok(()),
    };
    let snapshot = Arc::new(ArcSwap::new(agent.snapshot().unwrap_or_default()));

    let registry = Registry::new();
    let figures = Arc::new(Figures::new(Role::Edge, &registry));
    let exchange = Exchange::new(Bounds {
        memory: settings.cache.memory.0,
        object_max: settings.cache.object_max.0,
        filling_max: settings.cache.filling_max.0,
    });
    exchange.resume_at(agent.purge_seq());
    skerry_cache::collect::register(&exchange, &registry);

    let files = settings.tls.certificates.iter().flat_map(|files| [files.cert.clone(), files.key.clone()]);
    let known_files = Watched::new("certificates", files.collect());
    let certificates = {
        let snapshot = Arc::clone(&snapshot);
        let own = settings.listen.https.iter().map(|address| address.ip()).chain(settings.public_addresses.iter().copied());
        let own = own.filter(|ip| !ip.is_unspecified()).collect();
        Arc::new(Certificates::load(&settings.tls, own, Box::new(move |host| snapshot.load().site_for_host(host).is_some()))?)
    };
    let identity = agent.identity();
    let private = Arc::new(Private::new(&identity.certificate, &identity.key, &identity.ca)?);
    let upstreams = Arc::new(Upstreams::new(&settings.name, &identity.ca, Client::new(), private));
    let edge = Arc::new(Edge {
        name: settings.name.clone(),
        current: Arc::clone(&snapshot),
        exchange: Arc::clone(&exchange),
        upstreams,
        countries: Arc::clone(&countries),
        figures: Arc::clone(&figures),
    });

    let front = Front::new(Sessions(Arc::clone(&edge)), edge, settings.limits.clone(), stop.clone());
    let secured = tls::for_clients(Arc::clone(&certificates) as _)?;
    for listener in sockets.http {
        front.listen(listener, None);
    }
    for listener in sockets.https {
        front.listen(listener, Some(Arc::clone(&secured)));
    }
    for socket in sockets.h3 {
        front.listen_quic(socket, tls::for_quic(Arc::clone(&certificates) as _)?)?;
    }
    let following = agent.follow(Arc::new(Duties::new(snapshot, exchange, figures, Arc::clone(&countries))), stop.clone());
    let tls = settings.tls.clone();
    let renewing = tokio::spawn(known_files.follow(move || certificates.reload(&tls), stop.clone()));
    let relearning =
        tokio::spawn(known_database.follow(move || database.as_ref().map_or(Ok(()), |path| countries.reload(path)), stop.clone()));
    let admin = skerry_agent::admin::serve(sockets.admin, registry, stop.clone());
    skerry_agent::ready::write(&settings.data, &addresses)
        .map_err(|error| format!("{}: ready.json cannot be written: {error}", settings.data.display()))?;
    tracing::info!(name = settings.name, %addresses, "edge ready");

    front.drained().await;
    let _ = tokio::join!(following, renewing, relearning, admin);
    let _ = skerry_agent::ready::clear(&settings.data);
    Ok(())
}

fn agent_settings(settings: &process::Edge) -> Settings {
    Settings {
        role: Role::Edge,
        name: settings.name.clone(),
        data: settings.data.clone(),
        control: settings.control.clone(),
        public_addresses: settings.public_addresses.clone(),
        tier_address: None,
    }
}

/// All sockets of an edge, bound before anything else happens.
struct Sockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    h3: Vec<UdpSocket>,
    admin: TcpListener,
}

impl Sockets {
    async fn bind(settings: &process::EdgeListen) -> Result<Self, String> {
        let admin = listen::bind(settings.admin, "admin").await?;
        let mut sockets = Self { http: Vec::new(), https: Vec::new(), h3: Vec::new(), admin };
        for address in &settings.http {
            sockets.http.push(listen::bind(*address, "http").await?);
        }
        for address in &settings.https {
            sockets.https.push(listen::bind(*address, "https").await?);
        }
        for address in &settings.h3 {
            sockets.h3.push(listen::bind_udp(*address, "h3")?);
        }
        Ok(sockets)
    }

    /// What `ready.json` says.
    fn addresses(&self) -> Result<serde_json::Value, String> {
        let all_of = |addresses: Vec<io::Result<SocketAddr>>| {
            addresses.into_iter().map(|address| address.map(|address| address.to_string())).collect::<io::Result<Vec<_>>>()
        };
        let of = |listeners: &[TcpListener]| all_of(listeners.iter().map(TcpListener::local_addr).collect());
        let all = || -> io::Result<serde_json::Value> {
            Ok(serde_json::json!({
                "pid": std::process::id(),
                "http": of(&self.http)?,
                "https": of(&self.https)?,
                "h3": all_of(self.h3.iter().map(UdpSocket::local_addr).collect())?,
                "admin": self.admin.local_addr()?.to_string(),
            }))
        };
        all().map_err(|error| format!("a listener has no address: {error}"))
    }
}

/// The edge's view of the configuration, swapped whole.
type Current = Arc<ArcSwap<Snapshot>>;
