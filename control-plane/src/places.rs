//! The databases of places that DNS goes by: read at the start, and again when their files change.
//!
//! Never asked while they are read: who answers goes on with what was read before.

use std::sync::Arc;

use prometheus::{IntCounterVec, Opts, Registry};
use skerry_agent::reload::Watched;
use skerry_config::process::DnsGeo;
use skerry_dns::geo::{Databases, Places};
use tokio::sync::watch;

/// See the module.
pub(crate) struct KnownPlaces {
    databases: Arc<Databases>,
    watched: Watched,
    reads: IntCounterVec,
}

impl KnownPlaces {
    /// Reads those that the settings name; `None` where they name none. Blocks.
    ///
    /// # Errors
    /// One sentence: a database cannot be read, or a figure is registered already.
    pub(crate) fn open(DnsGeo { city, asn }: &DnsGeo, registry: &Registry) -> Result<Option<Self>, String> {
        let reads = reads(registry)?;
        if city.is_none() && asn.is_none() {
            return Ok(None);
        }
        let watched = Watched::new(city.iter().chain(asn).cloned().collect());
        let databases = Arc::new(Databases::read(city.as_deref(), asn.as_deref())?);
        Ok(Some(Self { databases, watched, reads }))
    }

    /// What they know, whenever it was read.
    pub(crate) fn places(&self) -> Arc<dyn Places> {
        Arc::clone(&self.databases) as Arc<dyn Places>
    }

    /// Reads them again when they change, until `stop` says so.
    pub(crate) async fn keep(self, stop: watch::Receiver<bool>) {
        let Self { databases, watched, reads } = self;
        let reload = move || {
            let read = databases.reload();
            reads.with_label_values(&[if read.is_ok() { "read" } else { "failed" }]).inc();
            read
        };
        watched.follow("databases of places", reload, stop).await;
    }
}

fn reads(registry: &Registry) -> Result<IntCounterVec, String> {
    let opts = Opts::new(
        "skerry_dns_geo_reads_total",
        "Readings of the databases of places after the start, by `outcome`: `read`, or `failed`, after which what was read before counts on.",
    );
    let reads = IntCounterVec::new(opts, &["outcome"]).map_err(|error| error.to_string())?;
    registry.register(Box::new(reads.clone())).map_err(|error| error.to_string())?;
    for outcome in ["read", "failed"] {
        reads.with_label_values(&[outcome]);
    }
    Ok(reads)
}
