//! A DNS node: answers for the zone of the control plane that it follows, and from its copy on disk while that is away.
//!
//! Never writes intent and never decides what an answer is. [`run`] is one DNS node from its settings to its end.

mod copy;
mod duties;
mod held;

use std::sync::Arc;

use prometheus::Registry;
use serde_json::json;
use skerry_agent::{Agent, Role, Settings, admin, ready};
use skerry_config::process;
use tokio::sync::watch;

use crate::declared;
use crate::feed::compiled::Compiler;
use crate::places::KnownPlaces;
use crate::redirect;
use crate::start::{address, dns_address, dns_sockets, route_listener, tcp};
use copy::DiskCopy;
use duties::Duties;
use held::Held;

/// Runs a DNS node until `stop` says so. It is ready when it has a zone to answer from: its copy, or what the control plane says.
///
/// # Errors
/// One sentence when it cannot start: an address is taken, the data directory cannot be used, the control plane refuses the token.
pub async fn run(settings: process::DnsNode, stop: watch::Receiver<bool>) -> Result<(), String> {
    let dns = dns_sockets(settings.listen.dns).await?;
    let route = route_listener(settings.listen.route).await?;
    let admin_listener = tcp("listen.admin", settings.listen.admin).await?;
    let addresses = json!({
        "pid": std::process::id(),
        "dns": dns_address(&dns)?.to_string(),
        "route": route.as_ref().map(address).transpose()?.map(|address| address.to_string()),
        "admin": address(&admin_listener)?.to_string(),
    });
    let joining = Agent::prepare(Settings {
        role: Role::Dns,
        name: settings.name.clone(),
        data: settings.data.clone(),
        control: settings.control.clone(),
        public_addresses: Vec::new(),
        tier_address: None,
        location: None,
    });
    let agent = tokio::select! {
        prepared = joining => prepared?,
        () = skerry_agent::stopped(stop.clone()) => return Ok(()),
    };
    let registry = Registry::new();
    let known = KnownPlaces::open(&settings.geo, &registry)?;
    let data = settings.data.clone();
    ready::clear(&data).map_err(|error| format!("{} cannot be written: {error}", data.display()))?;
    let opened = tokio::task::spawn_blocking({
        let data = data.clone();
        move || DiskCopy::open(&data)
    });
    let (copy, found) = opened.await.map_err(|error| format!("the copy of the zone could not be read: {error}"))??;
    let held = Arc::new(Held::new(copy, found, known.as_ref().map(KnownPlaces::places)));
    held.register(&registry).map_err(|error| format!("cannot register the figures of a DNS node: {error}"))?;

    let serving = skerry_dns::serve::serve(dns, held.state(), declared::limits(&settings.limits), &registry, stop.clone())?;
    let routing = match route {
        Some(listener) => redirect::serve(listener, Arc::new(Compiler::new(held.state())), &registry, stop.clone())?,
        None => tokio::spawn(std::future::ready(())),
    };
    let until = stop.clone();
    let placing = tokio::spawn(async move {
        if let Some(known) = known {
            known.keep(until).await;
        }
    });
    let duties = Duties::new(Arc::clone(&held), registry.clone());
    let following = agent.follow(Arc::new(duties), stop.clone());
    let administering = admin::serve(admin_listener, registry, stop.clone());
    if held.has_zone(stop.clone()).await {
        ready::write(&data, &addresses).map_err(|error| format!("{}: ready.json cannot be written: {error}", data.display()))?;
        tracing::info!(name = settings.name, %addresses, "DNS node ready");
    }
    skerry_agent::stopped(stop).await;
    let _ = tokio::join!(serving, routing, placing, following, administering);
    // A file that stays would say that a process answers; failing to remove it is no reason to fail a stop.
    let _ = ready::clear(&data);
    Ok(())
}
