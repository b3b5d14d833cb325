//! What `skerry dev` tells when everything answers: the endpoints file for scripts, the welcome for people.

use std::path::Path;

use serde_json::{Value, json};

use super::child::Children;
use super::layout::{Cdn, Node, ZONE};

/// Writes the endpoints file, whole or not at all.
pub(crate) fn write(path: &Path, cdn: &Cdn, children: &Children) -> Result<(), String> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let text = format!("{:#}\n", described(cdn, children));
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| format!("the endpoints file {} cannot be written: {error}", path.display()))
}

/// Removes the endpoints file of an earlier run.
pub(crate) fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("the endpoints file {} cannot be removed: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn described(cdn: &Cdn, children: &Children) -> Value {
    let shield = |node: &Node| {
        json!({
            "name": node.name, "region": node.region, "tier": node.address.to_string(), "admin": format!("http://{}", node.admin),
            "pid": children.pid(&node.name), "config": node.config,
        })
    };
    let edge = |node: &Node| {
        json!({
            "name": node.name, "region": node.region, "http": node.address.to_string(),
            "https": node.https.map(|address| address.to_string()), "h3": node.h3.map(|address| address.to_string()),
            "admin": format!("http://{}", node.admin),
            "pid": children.pid(&node.name), "config": node.config,
        })
    };
    json!({
        "control": {
            "api": cdn.api, "token": cdn.token, "ca": cdn.ca, "pid": children.pid("control"), "config": cdn.control_config,
        },
        "dns": cdn.dns.to_string(),
        "route": cdn.route.to_string(),
        "zone": ZONE,
        "origin": cdn.origin,
        "shields": cdn.shields.iter().map(shield).collect::<Vec<_>>(),
        "edges": cdn.edges.iter().map(edge).collect::<Vec<_>>(),
    })
}

/// The lines for the terminal: where everything is, and three commands that show what a CDN does.
pub(crate) fn welcome(cdn: &Cdn) -> Vec<String> {
    let mut lines = vec!["skerry dev: everything answers".to_owned(), String::new()];
    lines.push(format!("  control API  {}  (its description: {}/docs)", cdn.api, cdn.api));
    lines.push(format!("  origin       {}", cdn.origin));
    for node in &cdn.shields {
        lines.push(format!("  {:<11}  https://{}  (edges only)", node.name, node.address));
    }
    for node in &cdn.edges {
        let https = node.https.map(|address| format!("  https://{address}")).unwrap_or_default();
        let h3 = if node.h3.is_some() { "  (HTTP/3 too)" } else { "" };
        lines.push(format!("  {:<11}  http://{}{https}{h3}", node.name, node.address));
    }
    lines.push(format!("  DNS          {}, zone {ZONE}", cdn.dns));
    lines.push(format!("  routing host http://{}  (redirects to an edge)", cdn.route));
    lines.push(format!("  CA           {}", cdn.ca.display()));
    lines.extend([String::new(), "Try:".to_owned(), String::new()]);
    lines.extend(tries(cdn));
    lines.extend([String::new(), "Ctrl-C stops it all.".to_owned()]);
    lines
}

fn tries(cdn: &Cdn) -> Vec<String> {
    let Some(edge) = cdn.edges.first() else { return Vec::new() };
    let page = format!("http://{}/", edge.address);
    let binary = std::env::current_exe().map_or_else(|_| "skerry".to_owned(), |path| path.display().to_string());
    let subnet = cdn.edges.len();
    vec![
        "  # Twice: Cache-Status tells a miss, then a hit.".to_owned(),
        format!("  curl -sD - -o /dev/null {page}"),
        "  # Gone from every cache when the command returns.".to_owned(),
        format!("  {binary} purge --all --wait 5s --api {} --token {}", cdn.api, cdn.token),
        format!("  # The edge for a client in 10.{subnet}.0.0/16."),
        format!("  dig @{} -p {} default.{ZONE} +short +subnet=10.{subnet}.0.0/16", cdn.dns.ip(), cdn.dns.port()),
    ]
}
