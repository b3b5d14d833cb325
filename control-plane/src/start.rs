//! From settings to a control plane that answers, and back to nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use serde_json::{Value, json};
use skerry_agent::{disk, listen, ready};
use skerry_config::process;
use skerry_dns::serve::Sockets as DnsSockets;
use skerry_dns::state::State;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api;
use crate::auth::{self, Logins, Tokens};
use crate::behind::{self, Behind};
use crate::ca::Ca;
use crate::certificates;
use crate::clock;
use crate::cookies::CookieSecrets;
use crate::declared;
use crate::events::Events;
use crate::feed::Feed;
use crate::feed::compiled::Compiler;
use crate::figures::Figures;
use crate::health::Health;
use crate::history::{self, History};
use crate::intent::{self, Intent};
use crate::journal::Journal;
use crate::latency::Latency;
use crate::leads;
use crate::places::KnownPlaces;
use crate::plane::Plane;
use crate::publish::{self, Door};
use crate::purges::{self, Purges};
use crate::redirect;
use crate::removed::{self, Removed};
use crate::revoked::Revoked;
use crate::rollout::{self, Rollouts};
use crate::secured::Secured;
use crate::store::{Redb, Store};
use crate::webhooks::{Patience, Webhooks};
use crate::zone::Zone;

/// Time the parts have to end when the control plane stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for which nodes keep a site that was deleted; by default the lifetime of an answer of DNS.
const LINGER_MAX: Duration = Duration::from_secs(300);

/// The store's file in the data directory.
const STORE: &str = "store.redb";

/// Refuses to begin an empty CDN over the remains of another: its nodes would be strangers, and its sites gone.
fn refuse_lost_store(data: &Path) -> Result<(), String> {
    let store = data.join(STORE);
    let is_empty = std::fs::metadata(&store).map_or(true, |meta| meta.len() == 0);
    if Ca::exists(data) && is_empty {
        let data = data.display();
        return Err(format!(
            "{data} has the certificate authority of a CDN but its store {STORE} is missing or empty; put the store back from a copy, or choose an empty data directory"
        ));
    }
    Ok(())
}

/// The sockets; all are bound before anything is served.
struct Sockets {
    api: TcpListener,
    nodes: TcpListener,
    dns: DnsSockets,
    route: Option<TcpListener>,
}

/// Runs a control plane until `stop` says so. Binds everything, writes `ready.json`, then serves.
///
/// # Errors
/// One sentence when it cannot start: an address is taken, the data directory cannot be used, the store or the CA cannot be read.
pub async fn run(settings: process::Control, stop: watch::Receiver<bool>) -> Result<(), String> {
    let data = &settings.data;
    let _lock = disk::claim(data)?;
    ready::clear(data).map_err(|error| format!("{} cannot be written: {error}", data.display()))?;
    let sockets = bind(&settings.listen).await?;
    let nodes_address = address(&sockets.nodes)?;
    let names = if settings.names.is_empty() { vec![nodes_address.ip().to_string()] } else { settings.names.clone() };
    let registry = Registry::new();
    refuse_lost_store(data)?;
    let store = Arc::new(Redb::open(&data.join(STORE))?);
    let plane = Arc::new(plane(&settings, Arc::clone(&store) as Arc<dyn Store>, &registry)?);
    removed::again(&plane).await?;
    let (chain, key) = plane.ca.own(&names)?;
    let own = chain.first().map(|own| own.to_vec()).unwrap_or_default();
    let tls = publish::tls(&plane.ca, chain, key)?;
    let api_address = address(&sockets.api)?;
    let secured = settings.api.tls.as_ref().map(|tls| Secured::new(tls, &names, &[api_address, nodes_address], &plane)).transpose()?;
    if secured.is_none() && !api_address.ip().to_canonical().is_loopback() {
        tracing::warn!(api = %api_address, "tokens cross the network in the clear: the API listens outside loopback without TLS; set api.tls");
    }
    let addresses = addresses(&sockets, secured.is_some())?;

    let known = KnownPlaces::open(&settings.dns.geo, &registry)?;
    let places = known.as_ref().map(KnownPlaces::places);
    let mut zone = Zone::new(&settings.dns, places, Arc::clone(&plane.intent), Arc::clone(&plane.health), Arc::clone(&plane.feed));
    zone.renew();
    let secrets = CookieSecrets::open(data)?;
    plane.feed.cookies(secrets.secrets());
    let limits = declared::limits(&settings.dns.limits);
    let mut parts = vec![skerry_dns::serve::serve(sockets.dns, plane.feed.state(), limits, &registry, stop.clone())?];
    parts.push(tokio::spawn(zone.keep(stop.clone())));
    parts.extend(known.map(|known| tokio::spawn(known.keep(stop.clone()))));
    if let Some(listener) = sockets.route {
        parts.push(redirect::serve(listener, Arc::clone(&plane.compiler), &registry, stop.clone())?);
    }
    parts.push(tokio::spawn(secrets.keep(Arc::clone(&plane.feed), stop.clone())));
    let latency = Latency::open(data, &settings.dns, &registry)?;
    parts.push(tokio::spawn(latency.keep(Arc::clone(&plane), stop.clone())));
    parts.push(tokio::spawn(purges::release(Arc::clone(&plane.purges), Arc::clone(&plane.health.acks), stop.clone())));
    parts.push(tokio::spawn(purges::follow(Arc::clone(&plane.purges), stop.clone())));
    parts.push(tokio::spawn(auth::follow(Arc::clone(&plane.tokens), stop.clone())));
    parts.push(tokio::spawn(intent::follow(Arc::clone(&plane.intent), stop.clone())));
    parts.push(tokio::spawn(rollout::keep(Arc::clone(&plane), stop.clone())));
    parts.push(tokio::spawn(leads::keep(Arc::clone(&plane), stop.clone())));
    parts.push(tokio::spawn(Arc::clone(&plane.events).reserve(stop.clone())));
    parts.push(tokio::spawn(Arc::clone(&plane.webhooks).dispatch(stop.clone())));
    parts.push(tokio::spawn(gauge(Arc::clone(&plane), stop.clone())));
    parts.push(tokio::spawn(behind::watch(Arc::clone(&plane), settings.alarm.behind.0, stop.clone())));
    parts.push(tokio::spawn(history::keep(Arc::clone(&plane), stop.clone())));
    parts.push(tokio::spawn(certificates::watch(Arc::clone(&plane), own, stop.clone())));
    parts.push(publish::serve(sockets.nodes, tls, Door::new(Arc::clone(&plane), stop.clone()), stop.clone()));
    let router = api::router(Arc::clone(&plane), registry, stop.clone());
    match secured {
        Some(secured) => {
            parts.push(listen::serve_over_tls(sockets.api, router, Arc::clone(&secured.config), stop.clone()));
            parts.push(tokio::spawn(secured.keep(stop.clone())));
        }
        None => parts.push(listen::serve(sockets.api, router, stop.clone())),
    }
    drop(plane);

    ready::write(data, &addresses).map_err(|error| format!("{} cannot be written: {error}", data.display()))?;
    tracing::info!(%addresses, "control plane ready");
    skerry_agent::stopped(stop).await;
    let ended = tokio::time::timeout(STOP_TIMEOUT, end(parts)).await;
    // A file that stays would say that a process answers; failing to remove it is no reason to fail a stop.
    let _ = ready::clear(data);
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    ended.map_err(|_| format!("parts of the control plane did not end within {} s", STOP_TIMEOUT.as_secs()))?;
    closed.map_err(|error| format!("the store could not be closed: {error}"))
}

/// What `ready.json` says.
fn addresses(sockets: &Sockets, is_secured: bool) -> Result<Value, String> {
    Ok(json!({
        "pid": std::process::id(),
        "api": address(&sockets.api)?.to_string(),
        "api_tls": is_secured,
        "nodes": address(&sockets.nodes)?.to_string(),
        "dns": dns_address(&sockets.dns)?.to_string(),
        "route": sockets.route.as_ref().map(address).transpose()?.map(|address| address.to_string()),
    }))
}

/// All parts over an open store, none of them running yet.
pub(crate) fn plane(settings: &process::Control, store: Arc<dyn Store>, registry: &Registry) -> Result<Plane, String> {
    let data = &settings.data;
    let intent = Arc::new(Intent::load(Arc::clone(&store), settings.dns.ttl.0.min(LINGER_MAX))?);
    let snapshot = intent.state().snapshot;
    let figures = Figures::new(registry)?;
    let events = Arc::new(Events::open(Arc::clone(&store), clock::unix_seconds())?);
    let allow = &settings.webhooks.allow;
    let webhooks = Webhooks::load(Arc::clone(&store), allow, Patience::default(), Arc::clone(&events), figures.clone())?;
    let feed = Arc::new(Feed::new(State::default()));
    Ok(Plane {
        ca: Ca::load(data, settings.certificates.life.0)?,
        tokens: Arc::new(Tokens::load(Arc::clone(&store), data)?),
        logins: Logins::default(),
        intent,
        purges: Arc::new(Purges::open(Arc::clone(&store), snapshot, &settings.purges)?),
        health: Arc::new(Health::new()),
        questions: Arc::default(),
        revoked: Revoked::load(&*store)?,
        removed: Arc::new(Removed::load(data)?),
        behind: Behind::default(),
        compiler: Arc::new(Compiler::new(feed.state())),
        feed,
        history: History::new(Arc::clone(&store)),
        rollouts: Rollouts::new(settings.rollout.clone()),
        journal: Journal::open(&data.join("audit.log"), store)?,
        events,
        webhooks: Arc::new(webhooks),
        figures,
    })
}

async fn bind(wanted: &process::ControlListen) -> Result<Sockets, String> {
    let api = tcp("listen.api", wanted.api).await?;
    let nodes = tcp("listen.nodes", wanted.nodes).await?;
    let dns = dns_sockets(wanted.dns).await?;
    let route = route_listener(wanted.route).await?;
    Ok(Sockets { api, nodes, dns, route })
}

/// The listener of the routing host, if there is to be one.
pub(crate) async fn route_listener(wanted: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    match wanted {
        Some(wanted) => tcp("listen.route", wanted).await.map(Some),
        None => Ok(None),
    }
}

/// The sockets of DNS, on one port.
pub(crate) async fn dns_sockets(wanted: SocketAddr) -> Result<DnsSockets, String> {
    DnsSockets::bind(wanted).await.map_err(|error| taken("listen.dns", wanted, &error))
}

/// A listener for what a setting names.
pub(crate) async fn tcp(setting: &str, wanted: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(wanted).await.map_err(|error| taken(setting, wanted, &error))
}

fn taken(setting: &str, wanted: SocketAddr, error: &std::io::Error) -> String {
    format!("cannot listen on {wanted} ({setting}): {error}")
}

/// Where DNS is answered.
pub(crate) fn dns_address(sockets: &DnsSockets) -> Result<SocketAddr, String> {
    sockets.address().map_err(|error| format!("a listener has no address: {error}"))
}

/// Where a listener listens.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| format!("a listener has no address: {error}"))
}

/// Keeps the gauges that follow numbers.
async fn gauge(plane: Arc<Plane>, stop: watch::Receiver<bool>) {
    let mut heads = plane.purges.heads();
    let mut published = plane.intent.published();
    loop {
        plane.figures.purge_seq.set(i64::try_from(*heads.borrow_and_update()).unwrap_or(i64::MAX));
        plane.figures.snapshot_version.set(i64::try_from(published.borrow_and_update().newest.version).unwrap_or(i64::MAX));
        tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            _ = heads.changed() => {}
            _ = published.changed() => {}
        }
    }
}

async fn end(parts: Vec<JoinHandle<()>>) {
    for part in parts {
        if let Err(error) = part.await {
            tracing::error!(%error, "a part of the control plane failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_lost_is_not_begun_anew_over_its_authority() {
        let place = tempfile::tempdir().unwrap();
        let (data, store) = (place.path(), place.path().join(STORE));
        assert_eq!(refuse_lost_store(data), Ok(()), "an empty directory");
        std::fs::write(data.join("ca.key"), "key").unwrap();
        assert!(refuse_lost_store(data).unwrap_err().contains("missing or empty"));
        std::fs::write(&store, "").unwrap();
        assert!(refuse_lost_store(data).unwrap_err().contains(STORE));
        std::fs::write(&store, "content").unwrap();
        assert_eq!(refuse_lost_store(data), Ok(()));
    }
}
