//! The start of the CDN: control plane, shields, edges, origin, sites, in this order, each when the one before answers.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use skerry_config::check;
use skerry_config::site::Site;

use super::child::Children;
use super::data::Data;
use super::layout::{self, Cdn, Node};
use super::ports::{HOST, Ports};
use super::{Options, ca, origin, probe};
use crate::cli::{Api, Call, Refusal, Role, segment};

/// The site that serves every host no other site owns.
const DEFAULT_SITE: &str = "default";
/// How long an origin that is not ours may take to accept a connection before it is called unreachable.
const ORIGIN_CONNECT_MAX: Duration = Duration::from_secs(2);

/// Reads and checks the site files, before anything is started.
pub(crate) fn read_sites(files: &[PathBuf]) -> Result<Vec<Site>, String> {
    files.iter().map(|file| check::site_file(file).map_err(|faults| faults.to_string())).collect()
}

/// Starts everything and waits until it answers.
pub(crate) async fn start(options: &Options, sites: Vec<Site>, data: &Data, children: &mut Children) -> Result<Cdn, String> {
    let ports = match options.port_base {
        Some(base) => Ports::fixed(base, options.edges, options.shields),
        None => Ports::free(options.edges, options.shields)?,
    };
    ca::ensure(data)?;
    let sample = options.origin.is_none();
    let origin = match &options.origin {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => origin::start((HOST, ports.origin).into()).await?,
    };
    let sites = with_default(sites, &origin)?;

    let control_config = data.file("control.toml");
    layout::write(&control_config, &layout::control_settings(data, &ports))?;
    // A stale one would be read before the control plane has removed it.
    let _ = std::fs::remove_file(data.file("control").join("ready.json"));
    children.start(data, "control", Role::Control, control_config.clone())?;
    let (api, token) = control(data, &ports, children).await?;

    let (shields, edges) = (layout::shields(data, &ports), layout::edges(data, &ports));
    for node in &shields {
        let join = join_token(&api, data, node, Role::Shield).await?;
        layout::write(&node.config, &layout::shield_settings(data, &ports, node, join, &options.allow))?;
        children.start(data, &node.name, Role::Shield, node.config.clone())?;
    }
    for node in &edges {
        let join = join_token(&api, data, node, Role::Edge).await?;
        layout::write(&node.config, &layout::edge_settings(data, &ports, node, join, &options.allow))?;
        children.start(data, &node.name, Role::Edge, node.config.clone())?;
    }
    // Sites may name shields, which have to have joined by then.
    nodes_follow(&api, &[&shields[..], &edges[..]].concat(), children).await?;
    for site in &sites {
        apply(&api, site).await?;
    }

    let cdn = Cdn {
        api: format!("http://{HOST}:{}", ports.api),
        token,
        ca: data.file(ca::CERTIFICATE),
        control_config,
        dns: (HOST, ports.dns).into(),
        route: (HOST, ports.route).into(),
        origin,
        sample,
        shields,
        edges,
        ports,
    };
    answers(&api, &cdn, &sites, children).await?;
    Ok(cdn)
}

/// The given sites, and `default` for every other host, unless a given one owns that already.
fn with_default(mut sites: Vec<Site>, origin: &str) -> Result<Vec<Site>, String> {
    if sites.iter().any(|site| site.name == DEFAULT_SITE || site.hosts.iter().any(|host| host == "*")) {
        return Ok(sites);
    }
    // For test suites and first looks: RFC 9111 to the letter, where a site file asks for the origin's word before a cookie is shared.
    let cache = json!({"cookies": {"set_cookie": "store"}});
    let site = json!({"name": DEFAULT_SITE, "hosts": ["*"], "origin": {"urls": [origin]}, "cache": cache});
    let site = serde_json::from_value(site).map_err(|error| format!("the origin {origin:?} cannot be served: {error}"))?;
    check::site(&site).map_err(|faults| format!("the origin {origin:?} cannot be served: {faults}"))?;
    sites.push(site);
    Ok(sites)
}

/// Waits for the control plane; the API and its admin token.
async fn control(data: &Data, ports: &Ports, children: &mut Children) -> Result<(Api, String), String> {
    let url = format!("http://{HOST}:{}", ports.api);
    let folder = data.file("control");
    probe::until("the control plane did not answer", children, || async {
        let ready = folder.join("ready.json");
        if !ready.exists() {
            return Err(format!("{} is not there yet", ready.display()));
        }
        let path = folder.join("admin.token");
        let token = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let api = Api::new(&url, token.trim(), None)?;
        probe::api_answers(&api).await?;
        Ok((api, token.trim().to_owned()))
    })
    .await
}

/// A token for a node that has not joined yet.
async fn join_token(api: &Api, data: &Data, node: &Node, role: Role) -> Result<Option<String>, String> {
    if layout::has_joined(data, node) {
        return Ok(None);
    }
    // A node that ended between being let in and keeping its certificate has its name, and nothing to show for it.
    let path = format!("/v1/nodes/{}", segment(&node.name));
    match api.try_call(Call::delete(&path)).await {
        Ok(_) | Err(Refusal::Status(StatusCode::NOT_FOUND, _)) => {}
        Err(Refusal::Status(_, why)) => return Err(format!("{} cannot join anew: {why}", node.name)),
        Err(Refusal::Unanswered(why)) => return Err(format!("{} cannot join anew: {why}", node.name)),
    }
    let body = json!({"kind": "join", "role": role.name(), "region": node.region});
    let call = Call::post("/v1/tokens", body);
    let answer = api.call(call).await.map_err(|fail| format!("{} gets no join token: {fail}", node.name))?;
    let token = answer.get("token").and_then(serde_json::Value::as_str);
    token.map(|token| Some(token.to_owned())).ok_or_else(|| format!("{} gets no join token: the answer holds none", node.name))
}

async fn apply(api: &Api, site: &Site) -> Result<(), String> {
    let path = format!("/v1/sites/{}", segment(&site.name));
    let body = serde_json::to_value(site).map_err(|error| format!("site {} cannot be written as JSON: {error}", site.name))?;
    let call = Call::put(&path, body);
    api.call(call).await.map(|_| ()).map_err(|fail| format!("site {} is refused: {fail}", site.name))
}

/// Waits until every node runs the newest configuration.
async fn nodes_follow(api: &Api, nodes: &[Node], children: &mut Children) -> Result<(), String> {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    probe::until("not every node followed the control plane", children, || probe::nodes_follow(api, &names)).await
}

/// Waits until every node follows and every edge serves.
async fn answers(api: &Api, cdn: &Cdn, sites: &[Site], children: &mut Children) -> Result<(), String> {
    nodes_follow(api, &[&cdn.shields[..], &cdn.edges[..]].concat(), children).await?;
    // Only the site of our own making is known to serve the sample origin under any name.
    let sample = cdn.sample && sites.iter().any(|site| site.name == DEFAULT_SITE && site.origin.urls == [cdn.origin.clone()]);
    if !cdn.sample {
        warn_of_unreachable(&cdn.origin).await;
    }
    let host = format!("{DEFAULT_SITE}.{}", layout::ZONE);
    for edge in &cdn.edges {
        let what = format!("{} did not serve site {DEFAULT_SITE}", edge.name);
        probe::until(&what, children, || probe::edge_serves(edge.address, &host, sample)).await?;
    }
    for site in sites {
        let what = format!("DNS did not answer for site {}", site.name);
        probe::until(&what, children, || probe::dns_answers(cdn.dns, &site.name)).await?;
    }
    Ok(())
}

/// Says when the given origin is not there: the CDN is up all the same, and serves as soon as the origin is.
async fn warn_of_unreachable(origin: &str) {
    let uri: Option<http::Uri> = origin.parse().ok();
    let address = uri.as_ref().and_then(|uri| {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some(format!("{}:{port}", uri.host()?))
    });
    let Some(address) = address else { return };
    let connect = tokio::time::timeout(ORIGIN_CONNECT_MAX, tokio::net::TcpStream::connect(&address)).await;
    let why = match connect {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no connection within {ORIGIN_CONNECT_MAX:?}"),
    };
    eprintln!("skerry: the origin {origin} cannot be reached ({why}); edges answer with an error until it can");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, host: &str) -> Site {
        serde_json::from_value(json!({"name": name, "hosts": [host], "origin": {"urls": ["http://127.0.0.1:1"]}})).unwrap()
    }

    #[test]
    fn the_default_site_makes_room() {
        let names = |sites: Vec<Site>| with_default(sites, "http://a:1").unwrap().into_iter().map(|site| site.name).collect::<Vec<_>>();
        assert_eq!(names(vec![]), ["default"]);
        assert_eq!(names(vec![site("shop", "a.test")]), ["shop", "default"]);
        assert_eq!(names(vec![site("all", "*")]), ["all"]);
        assert_eq!(names(vec![site("default", "a.test")]), ["default"]);
    }
}
