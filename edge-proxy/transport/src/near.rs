//! How far the origins are of sites whose leading shield is chosen by that: the time that a connection to them takes, measured now and then.
//!
//! A connection is opened for it and closed at once: those of requests are kept, so that there may be none to measure for hours, and none at all at a
//! shield that is not asked. The lock covers the times.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use skerry_config::site::{Lead, Site};
use skerry_config::snapshot::{Served, Snapshot};
use tokio::net::TcpStream;

use crate::target::{self, Target};
use crate::upstream::Client;

/// The time from one measurement of a site to the next, give or take a quarter; more where there are many.
const INTERVAL: Duration = Duration::from_secs(5);
/// Sites that are measured at once.
const AT_ONCE_MAX: usize = 8;
/// How long each of these takes at least, so that no more than 32 sites are measured in a second.
const TURN: Duration = Duration::from_millis(250);
/// Measurements of a site that count: the lowest of them is its time, because load makes them longer, and nothing makes them shorter.
const SAMPLES: usize = 5;

/// See the module.
pub struct Near {
    /// The name of this shield.
    name: String,
    client: Arc<Client>,
    times: Mutex<HashMap<String, VecDeque<Duration>>>,
}

impl Near {
    /// Of the shield of this name. Knows nothing yet; `client` says where origins may be.
    #[must_use]
    pub fn new(name: &str, client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), client, times: Mutex::default() })
    }

    /// The sites that this shield may lead.
    fn sites(&self, snapshot: &Snapshot) -> Vec<Arc<Served>> {
        let Some(own) = snapshot.shields().iter().find(|shield| shield.name == self.name) else { return Vec::new() };
        let may_lead = |site: &Site| site.shields.lead == Lead::Auto && site.shields.are(&own.name, &own.region);
        snapshot.sites().filter(|served| may_lead(served.site())).map(Arc::clone).collect()
    }

    /// The time to the origin of each site that was measured and could be reached, in no order.
    #[must_use]
    pub fn times(&self) -> Vec<(String, Duration)> {
        let times = self.times.lock();
        times.iter().filter_map(|(site, samples)| Some((site.clone(), *samples.iter().min()?))).collect()
    }

    /// Measures the sites of the configuration that is in force at each moment. Never ends by itself.
    pub async fn measure(&self, current: impl Fn() -> Arc<Snapshot>) {
        loop {
            let sites = self.sites(&current());
            self.times.lock().retain(|name, _| sites.iter().any(|served| served.site().name == *name));
            let turns = futures_util::stream::iter(sites).map(|served| async move {
                tokio::join!(self.measure_one(served.site()), tokio::time::sleep(TURN));
            });
            turns.buffer_unordered(AT_ONCE_MAX).collect::<()>().await;
            tokio::time::sleep(jittered(INTERVAL)).await;
        }
    }

    async fn measure_one(&self, site: &Site) {
        let took = self.time_to(site).await;
        let mut times = self.times.lock();
        match took {
            Some(took) => {
                let samples = times.entry(site.name.clone()).or_default();
                samples.push_back(took);
                samples.drain(..samples.len().saturating_sub(SAMPLES));
            }
            // What cannot be reached is at no distance.
            None => {
                times.remove(&site.name);
            }
        }
    }

    /// The time to the first of the site's servers that can be connected to.
    async fn time_to(&self, site: &Site) -> Option<Duration> {
        for (_, target) in target::of_origin(site) {
            if let Some(took) = self.time_to_one(&target).await {
                return Some(took);
            }
        }
        None
    }

    async fn time_to_one(&self, target: &Target) -> Option<Duration> {
        let addresses = self.client.addresses(target).await.ok()?;
        let connecting = async {
            for address in addresses {
                let began = Instant::now();
                if TcpStream::connect(address).await.is_ok() {
                    return Some(began.elapsed());
                }
            }
            None
        };
        tokio::time::timeout(target.times.connect, connecting).await.ok()?
    }
}

/// A time around `interval`, so that shields do not all measure at once.
fn jittered(interval: Duration) -> Duration {
    let draw = u32::try_from(RandomState::new().hash_one(()) % 512).unwrap_or_default();
    interval * (768 + draw) / 1_024
}

#[cfg(test)]
mod tests {
    use skerry_config::check::{self, Format};
    use skerry_config::process::Origins;
    use skerry_config::snapshot::{Document, Shield};

    use super::*;

    fn site(name: &str, urls: &[String], shields: &str) -> Site {
        let hosts = format!("hosts = [\"{name}.test\"]\n[origin]\nurls = {urls:?}\n[shields]\n{shields}\n");
        check::site_text(&format!("name = \"{name}\"\n{hosts}"), Format::Toml, None).unwrap()
    }

    #[tokio::test]
    async fn sites_that_want_it_have_the_time_to_their_first_server_that_can_be_reached() {
        let here = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = format!("http://{}", here.local_addr().unwrap());
        let closed = format!("http://{}", tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
        let sites = vec![
            site("near", &[closed.clone(), there.clone()], "lead = \"auto\""),
            site("gone", &[closed], "lead = \"auto\""),
            site("refused", &["http://169.254.169.254".to_owned()], "lead = \"auto\""),
            site("elsewhere", std::slice::from_ref(&there), "lead = \"auto\"\nregions = [\"south\"]"),
            site("other", &[there], "lead = \"key\""),
        ];
        let shields = vec![Shield { name: "shield-1".to_owned(), region: "north".to_owned(), address: "127.0.0.1:1".parse().unwrap() }];
        let snapshot = |sites| {
            let shields = shields.clone();
            Arc::new(Snapshot::build(Document { version: 1, sites, shields, ..Document::default() }).unwrap())
        };
        let current = arc_swap::ArcSwap::new(snapshot(sites.clone()));
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        let near = Near::new("shield-1", Client::new(&Origins { allow, resolvers: Vec::new() }));
        let looking = async {
            let known = || near.times().into_iter().map(|(site, _)| site).collect::<Vec<_>>();
            while known().is_empty() {
                here.accept().await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(known(), ["near"]);
            assert!(near.times()[0].1 < Duration::from_secs(1), "{:?}", near.times());
            current.store(snapshot(sites[1..].to_vec()));
            while !known().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let both = async {
            tokio::select! {
                () = near.measure(|| current.load_full()) => {}
                () = looking => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    }
}
