//! The tier that origins meet: recognise the edge, exchange, choose an origin.
//!
//! [`run`] is one shield process from its settings to its end.

mod cached;
mod door;
mod duties;
mod explain;
mod fault;
mod origin;
mod passed;
mod purged;
mod request;

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;
use skerry_agent::figures::Figures;
use skerry_agent::{Agent, Role, Settings};
use skerry_cache::exchange::Exchange;
use skerry_config::process;
use skerry_config::snapshot::Snapshot;
use skerry_transport::accept::Front;
use skerry_transport::gate::Gate;
use skerry_transport::near::Near;
use skerry_transport::upstream::Client;
use skerry_transport::{listen, tls};
use tokio::sync::watch;

use crate::door::AtTheDoor;
use crate::duties::{Duties, Node};
use crate::origin::Origins;
use crate::passed::Sessions;
use crate::purged::Purged;
use crate::request::Shield;

/// Runs a shield until `stop` turns true and its requests have drained.
///
/// # Errors
/// One sentence for the operator, when it cannot start.
pub async fn run(settings: process::Shield, stop: watch::Receiver<bool>) -> Result<(), String> {
    let tier = listen::bind(settings.listen.tier, "edges").await?;
    let admin = listen::bind(settings.listen.admin, "admin").await?;
    let no_address = |error: std::io::Error| format!("a listener has no address: {error}");
    let tier_address = tier.local_addr().map_err(no_address)?;
    let admin_address = admin.local_addr().map_err(no_address)?;
    let joining = Agent::prepare(Settings {
        role: Role::Shield,
        name: settings.name.clone(),
        data: settings.data.clone(),
        control: settings.control.clone(),
        public_addresses: Vec::new(),
        tier_address: Some(settings.advertise.unwrap_or(tier_address)),
        location: None,
    });
    let agent = tokio::select! {
        prepared = joining => prepared?,
        () = skerry_agent::stopped(stop.clone()) => return Ok(()),
    };
    let current = Arc::new(ArcSwap::new(agent.snapshot().unwrap_or_default()));

    let registry = Registry::new();
    let figures = Arc::new(Figures::new(Role::Shield, &registry));
    figures.adopt(&current.load());
    let exchange = Exchange::open(&settings.cache, settings.disk.as_ref(), settings.memory_limit, &settings.data, agent.purge_seq())?;
    skerry_cache::collect::register(&exchange, &registry);

    let identity = agent.identity();
    let client = Client::new(&settings.origins);
    client.configure(&current.load());
    skerry_transport::origin::register(&client, &registry);
    let origins = Arc::new(Origins::new(&settings.name, &identity.ca, Arc::clone(&client)));
    let secured = tls::for_nodes(agent.private(), "edge")?;
    let shares = settings.shares();
    let gate = Gate::within(shares.bound(&process::Limits::between_tiers()), shares.connections);
    gate.register("shield", &registry);
    let shield = Arc::new(Shield {
        name: settings.name.clone(),
        current: Arc::clone(&current),
        exchange: Arc::clone(&exchange),
        origins,
        figures: Arc::clone(&figures),
        gate: gate.clone(),
        purged: Purged::new(agent.places()),
        private: agent.private(),
    });
    let node = Node { gate: gate.clone(), registry: registry.clone() };
    let front = Front::new(Sessions(Arc::clone(&shield)), Arc::new(AtTheDoor(shield)), gate, stop.clone());
    front.listen(tier, Some(secured));

    let near = Near::new(&settings.name, Arc::clone(&client));
    let measuring = {
        let (near, current) = (Arc::clone(&near), Arc::clone(&current));
        tokio::spawn(async move { near.measure(|| current.load_full()).await })
    };
    let duties = Duties::new(current, Arc::clone(&exchange), figures, node, client, near);
    let following = agent.follow(Arc::new(duties), stop.clone());
    let admin = skerry_agent::admin::serve(admin, registry, stop.clone());
    let addresses = serde_json::json!({ "pid": std::process::id(), "tier": tier_address.to_string(), "admin": admin_address.to_string() });
    skerry_agent::ready::write(&settings.data, &addresses)
        .map_err(|error| format!("{}: ready.json cannot be written: {error}", settings.data.display()))?;
    tracing::info!(name = settings.name, %addresses, "shield ready");

    front.drained().await;
    measuring.abort();
    let _ = tokio::join!(following, admin);
    exchange.close().await;
    let _ = skerry_agent::ready::clear(&settings.data);
    Ok(())
}

/// The shield's view of the configuration, swapped whole.
type Current = Arc<ArcSwap<Snapshot>>;
