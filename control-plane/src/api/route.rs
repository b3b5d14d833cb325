//! `/v1/route`.

use std::net::IpAddr;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skerry_dns::place::Client;
use skerry_dns::steer::{Considered, Wanted, explain};
use skerry_dns::zone::Addresses;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::Params;
use super::problem::Problem;
use crate::auth::Grant;
use crate::clock;
use crate::refusal::Refusal;

/// Whose way is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The client's address, or a prefix, as a resolver tells it.
    client: String,
    /// The site; without it any that all edges have and that has no fence.
    site: Option<String>,
}

/// Whom DNS would answer a client with at this moment, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteView {
    /// The client, as a prefix.
    client: String,
    /// The site that was asked for.
    site: Option<String>,
    /// The prefix of the plan's row around the client, whether it was chosen by or not; null where nothing is planned for it.
    #[schema(value_type = Option<String>)]
    matched: Option<IpNet>,
    /// The edges of the answer, in order; empty when there is none to answer with.
    edges: Vec<String>,
    /// Why these: `declared`, `measured`, `estimated`, `geography`, `region`, `held`, `explored`, `spilled` or `last_resort`.
    reason: &'static str,
    /// How long the answer may be kept, in seconds.
    ttl: u64,
    /// The length of the prefix within which every client is given the same answer.
    scope: u8,
    /// The serial of the zone.
    serial: u32,
    /// When the plan was made; null when nothing is planned.
    planned_at: Option<String>,
    /// The edges, the best first, those that were excluded last.
    candidates: Vec<CandidateView>,
}

/// An edge with all that counts for the client.
#[derive(Serialize, ToSchema)]
pub(crate) struct CandidateView {
    /// Its name.
    name: String,
    /// Its region.
    region: String,
    /// The expected latency, in ms; null when nothing is known.
    latency_ms: Option<f64>,
    /// One standard deviation of that, in ms.
    spread_ms: Option<f64>,
    /// How sure the latency is, 0 to 1.
    certainty: f64,
    /// What its operator has it cost, in ms.
    cost_ms: f64,
    /// The price of its load, in ms, as this client counts it.
    price_ms: f64,
    /// How much of what it can do it will do by the plan, 1 being all; may be more; null when that is not known.
    utilization: Option<f32>,
    /// What excludes it; null when nothing does.
    excluded: Option<&'static str>,
}

/// Which edges DNS answers a client with at this moment, and why: the prefix matched, every edge with its expected latency, how sure that is, its load and the price of it, and what excluded the others.
#[utoipa::path(get, path = "/v1/route", tag = "nodes", params(Asked), responses((status = 200, body = RouteView)))]
pub(crate) async fn explain_route(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Params(asked): Params<Asked>,
) -> Result<Answer<RouteView>, Problem> {
    let net = client(&asked.client)?;
    match &asked.site {
        Some(site) => grant.demand_site(site)?,
        None => grant.demand_whole("the way of a client to no site in particular")?,
    }
    let compiled = api.plane.compiler.now().await.map_err(Refusal::Broken)?;
    let addresses = match &asked.site {
        None => Addresses::Steered,
        Some(name) => {
            compiled.site(name).ok_or_else(|| Refusal::Missing(format!("there is no site {name:?}")))?;
            compiled.zone.site(name).copied().unwrap_or(Addresses::Steered)
        }
    };
    let client = Client::new(net.addr(), net.prefix_len());
    let explained = explain(&compiled.zone, &addresses, &client, Wanted::Any, clock::unix_time());
    let explained = explained.ok_or_else(|| Refusal::Missing("the site's addresses are the same for everybody".to_owned()))?;
    let (state, choice) = (compiled.zone.state(), &explained.choice);
    Ok(Answer(RouteView {
        client: net.to_string(),
        site: asked.site,
        matched: explained.matched.map(|prefix| prefix.net()),
        edges: choice.edges.iter().map(|edge| edge.name.clone()).collect(),
        reason: choice.reason.word(),
        ttl: choice.ttl.as_secs(),
        scope: choice.scope,
        serial: state.serial,
        planned_at: (state.plan.made > 0.0).then(|| clock::of_seconds(state.plan.made as u64)),
        candidates: explained.considered.into_iter().map(CandidateView::from).collect(),
    }))
}

impl From<Considered> for CandidateView {
    fn from(considered: Considered) -> Self {
        let Considered { name, region, ms, spread_ms, certainty, cost_ms, price_ms, utilization, excluded } = considered;
        let excluded = excluded.map(|why| why.words());
        Self { name, region, latency_ms: ms, spread_ms, certainty, cost_ms, price_ms, utilization, excluded }
    }
}

/// An address or a prefix.
fn client(text: &str) -> Result<IpNet, Refusal> {
    let address = text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    let net = address.or_else(|| text.parse::<IpNet>().ok()).map(|net| net.trunc());
    let shown: String = text.chars().take(100).collect();
    net.ok_or_else(|| {
        Refusal::Malformed(format!("{shown:?} is no client; write an address such as 192.0.2.7, or a prefix such as 192.0.2.0/24"))
    })
}
