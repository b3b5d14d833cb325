//! `skerry dev`: a whole CDN on this machine, each role a process of its own, as in production.
//!
//! Owns the order of starting and stopping, and the lines it prints. Everything it needs to know again at the next start lies in the
//! data directory.

mod ca;
mod child;
mod data;
mod endpoints;
mod layout;
mod origin;
mod ports;
mod probe;
mod roles;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use tokio::sync::watch;

use crate::cli::Fail;
use crate::{log, stop};

/// The most edges, each on its own loopback address.
const EDGES_MAX: u8 = 32;
/// The most shields.
const SHIELDS_MAX: u8 = 8;
/// The highest port that `--port-base` allows, so that the whole layout stays under the ephemeral ports.
const PORT_BASE_MAX: u16 = 32_000;

/// The options of `skerry dev`.
#[derive(Args)]
pub(crate) struct Options {
    /// Serve this site too: a file in TOML, YAML or JSON
    #[arg(long = "site", value_name = "FILE")]
    sites: Vec<PathBuf>,
    /// Serve this origin for every host name, in place of the sample origin
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Origins may be in this prefix too, such as 192.168.0.0/16, beside loopback and the public internet; may be given again
    #[arg(long, value_name = "PREFIX")]
    allow: Vec<IpNet>,
    /// How many edges; edge i answers on 127.0.0.i
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(EDGES_MAX)))]
    edges: u8,
    /// How many shields; with 0 the edges ask origins themselves
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=i64::from(SHIELDS_MAX)))]
    shields: u8,
    /// Fixed ports: the API on P, nodes P+1, DNS P+2, origin P+3, shield i on P+10+i and P+20+i, edges on P+80 (http) and P+43 (https),
    /// the admin listener of edge i on P+100+i. Free ones by default
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1024..=i64::from(PORT_BASE_MAX)))]
    port_base: Option<u16>,
    /// Keep everything here; by default in a directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write this file, as JSON, when everything answers
    #[arg(long, value_name = "FILE")]
    endpoints: Option<PathBuf>,
}

/// Runs the CDN until it is told to stop.
pub(crate) fn run(options: Options, format: log::Format) -> Result<(), Fail> {
    log::start(format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::Refused(format!("the runtime does not start: {error}")))?;
    let outcome = runtime.block_on(async {
        let stop = stop::watch()?;
        whole(&options, stop).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map_err(Fail::Refused)
}

/// Starts, serves, stops. The data directory outlives the processes, and the endpoints file says the truth: it is gone when they are.
async fn whole(options: &Options, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let sites = roles::read_sites(&options.sites)?;
    let data = data::Data::open(options.data.as_deref())?;
    if let Some(path) = &options.endpoints {
        endpoints::remove(path)?;
    }
    let mut children = child::Children::default();
    let started = tokio::select! {
        started = roles::start(options, sites, &data, &mut children) => started.map(Some),
        _ = stop.wait_for(|stop| *stop) => Ok(None),
    };
    let outcome = match started {
        Ok(Some(cdn)) => serve(options, &cdn, &mut children, stop).await,
        Ok(None) => Ok(()),
        Err(fault) => Err(fault),
    };
    children.stop().await;
    if let Some(path) = &options.endpoints {
        endpoints::remove(path)?;
    }
    outcome
}

/// From the moment everything answers to the stop.
async fn serve(
    options: &Options,
    cdn: &layout::Cdn,
    children: &mut child::Children,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    if let Some(path) = &options.endpoints {
        endpoints::write(path, cdn, children)?;
    }
    for line in endpoints::welcome(cdn) {
        crate::cli::line(&line);
    }
    loop {
        tokio::select! {
            gone = children.next_gone() => eprintln!("skerry: {gone}"),
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}
