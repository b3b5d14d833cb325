//! The tier that clients meet: route, exchange, shape, log.
//!
//! [`run`] is one edge process from its settings to its end.

mod beacon;
mod cached;
mod country;
mod device;
mod door;
mod duties;
mod explain;
mod fault;
mod fields;
mod fill;
mod forwarded;
mod listeners;
mod live;
mod passed;
mod quic;
mod rate;
mod request;
mod round_trips;
mod shape;
mod shields;
mod utilization;

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;
use skerry_agent::figures::Figures;
use skerry_agent::reload::Watched;
use skerry_agent::{Agent, Role, Settings};
use skerry_cache::exchange::Exchange;
use skerry_config::process;
use skerry_config::snapshot::Snapshot;
use skerry_transport::accept::Front;
use skerry_transport::certificates::Certificates;
use skerry_transport::gate::Gate;
use skerry_transport::upstream::Client;
use skerry_transport::{listen, tls};
use tokio::sync::watch;

use crate::beacon::Beacon;
use crate::country::Countries;
use crate::door::AtTheDoor;
use crate::duties::{Duties, Node};
use crate::fill::Upstreams;
use crate::listeners::{Bound, Listeners};
use crate::live::{Live, Parts};
use crate::passed::Sessions;
use crate::quic::{Announced, Quic};
use crate::rate::Rates;
use crate::request::Edge;
use crate::round_trips::RoundTrips;
use crate::utilization::Watcher;

pub use crate::live::Source;

/// Runs an edge until `stop` turns true and its requests have drained. `settings` were read from `source`, which is read again when it changes.
///
/// # Errors
/// One sentence for the operator, when it cannot start.
pub async fn run(settings: process::Edge, source: Source, stop: watch::Receiver<bool>) -> Result<(), String> {
    let known = (Watched::new(vec![source.file.clone()]), Watched::new(live::certificate_files(&settings.tls)));
    let database = settings.geo.database.clone();
    let known_database = Watched::new(database.iter().cloned().collect());
    let countries = Arc::new(Countries::load(database.as_ref())?);
    let admin = listen::bind(settings.listen.admin, "admin").await?;
    let bound = Bound::bind(&settings.listen)?;
    let bound_quic = quic::Bound::bind(&settings.listen.h3)?;
    let agent = tokio::select! {
        prepared = Agent::prepare(agent_settings(&settings)) => prepared?,
        () = skerry_agent::stopped(stop.clone()) => return Ok(()),
    };
    let snapshot = Arc::new(ArcSwap::new(agent.snapshot().unwrap_or_default()));

    let registry = Registry::new();
    let figures = Arc::new(Figures::new(Role::Edge, &registry));
    figures.adopt(&snapshot.load());
    let exchange = Exchange::open(&settings.cache, settings.disk.as_ref(), settings.memory_limit, &settings.data, agent.purge_seq())?;
    skerry_cache::collect::register(&exchange, &registry);

    let certificates = Arc::new(certificates(&settings, &snapshot)?);
    let identity = agent.identity();
    let client = Client::with_links(&settings.origins, agent.private());
    client.configure(&snapshot.load());
    skerry_transport::origin::register(&client, &registry);
    let upstreams = Arc::new(Upstreams::new(&settings.name, &identity.ca, Arc::clone(&client), agent.places()));
    let shares = settings.shares();
    let gate = Gate::within(shares.bound(&settings.limits), shares.connections);
    gate.register("edge", &registry);
    let announced = Announced::default();
    let round_trips = RoundTrips::new(settings.measuring.keep.0, &registry);
    let watcher = Watcher::new(&settings.capacity, Arc::clone(&figures), gate.clone(), &registry);
    let edge = Arc::new(Edge {
        name: settings.name.clone(),
        current: Arc::clone(&snapshot),
        exchange: Arc::clone(&exchange),
        upstreams,
        countries: Arc::clone(&countries),
        figures: Arc::clone(&figures),
        gate: gate.clone(),
        announced: Arc::clone(&announced),
        rates: Rates::new(&registry),
        round_trips: Arc::clone(&round_trips),
        beacon: Beacon::new(settings.measuring.beacon, &registry),
    });

    let front = Front::new(Sessions(Arc::clone(&edge)), Arc::new(AtTheDoor(edge)), gate.clone(), stop.clone());
    let secured = tls::for_clients(Arc::clone(&certificates) as _)?;
    let listeners = Listeners::open(front.clone(), secured, bound)?;
    let quic = Quic::open(front.clone(), tls::for_quic(Arc::clone(&certificates) as _)?, announced, bound_quic)?;
    let admin_address = admin.local_addr().map_err(|error| format!("a listener has no address: {error}"))?;
    let forgetting = tokio::spawn(round_trips::forget(Arc::clone(&round_trips), stop.clone()));
    let node = Node { gate: gate.clone(), registry: registry.clone(), round_trips, utilization: watcher.told() };
    let parts = Parts { listeners, quic, certificates, gate, admin: admin_address };
    let addresses = parts.addresses();
    let live = Live::new(source, settings.clone(), known, parts, &registry);
    let duties = Duties::new(snapshot, Arc::clone(&exchange), figures, node, client, Arc::clone(&countries));
    let following = agent.follow(Arc::new(duties), stop.clone());
    let reload_countries = move || database.as_ref().map_or(Ok(()), |path| countries.reload(path));
    let relearning = tokio::spawn(known_database.follow("country database", reload_countries, stop.clone()));
    let watching = tokio::spawn(watcher.watch(stop.clone()));
    let admin = skerry_agent::admin::serve(admin, registry, stop.clone());
    skerry_agent::ready::write(&settings.data, &addresses)
        .map_err(|error| format!("{}: ready.json cannot be written: {error}", settings.data.display()))?;
    tracing::info!(name = settings.name, %addresses, "edge ready");
    // After the first word of ready.json, which it writes anew.
    let living = tokio::spawn(live.follow(stop.clone()));

    front.drained().await;
    let _ = tokio::join!(following, living, relearning, forgetting, watching, admin);
    exchange.close().await;
    let _ = skerry_agent::ready::clear(&settings.data);
    Ok(())
}

/// The certificates of the sites that are in force, whatever those are by then.
fn certificates(settings: &process::Edge, current: &Current) -> Result<Certificates, String> {
    let current = Arc::clone(current);
    let listening = settings.listen.https.iter().chain(&settings.listen.h3);
    let own = listening.map(|address| address.ip()).chain(settings.public_addresses.iter().copied());
    let own = own.filter(|ip| !ip.is_unspecified()).collect();
    Certificates::load(&settings.tls, own, Box::new(move |host| current.load().site_for_host(host).is_some()))
}

fn agent_settings(settings: &process::Edge) -> Settings {
    Settings {
        role: Role::Edge,
        name: settings.name.clone(),
        data: settings.data.clone(),
        control: settings.control.clone(),
        public_addresses: settings.public_addresses.clone(),
        tier_address: None,
        location: settings.location,
    }
}

/// The edge's view of the configuration, swapped whole.
type Current = Arc<ArcSwap<Snapshot>>;
