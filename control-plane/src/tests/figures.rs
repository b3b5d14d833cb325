//! The figures of sites, from a node's own counts over its stream to the table that is asked for them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use skerry_agent::{Role, Settings, SiteFigures};
use skerry_config::process::{ControlLink, Location};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::house::{TestNode, eventually, settings};
use crate::plane::Plane;
use crate::publish::{self, Door};
use crate::start;
use crate::store::{Redb, Store};

/// Long enough for many reports.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// The nodes' door of a control plane, and what is behind it.
pub(super) struct Behind {
    pub(super) plane: Arc<Plane>,
    address: String,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Behind {
    pub(super) async fn start(data: &Path) -> Self {
        let store: Arc<dyn Store> = Arc::new(Redb::open(&data.join("store.redb")).unwrap());
        let plane = Arc::new(start::plane(&settings(data), store, &Registry::new()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tls = {
            let (chain, key) = plane.ca.own(&["127.0.0.1".to_owned()]).unwrap();
            publish::tls(&plane.ca, chain, key).unwrap()
        };
        let (stop, stopped) = watch::channel(false);
        let serving = publish::serve(listener, tls, Door::new(Arc::clone(&plane), stopped.clone()), stopped);
        Self { plane, address, stop, serving }
    }

    async fn node(&self, data: &Path, name: &str) -> TestNode {
        self.node_at(data, name, None).await
    }

    /// One that says where it stands.
    pub(super) async fn node_at(&self, data: &Path, name: &str, location: Option<Location>) -> TestNode {
        let certificate = self.plane.ca.certificate();
        let (token, _) = self.plane.tokens.make_join(Role::Edge, "north".to_owned(), TOKEN_LIFE, certificate, "admin").await.unwrap();
        TestNode::start(Settings {
            role: Role::Edge,
            name: name.to_owned(),
            data: data.join(name),
            control: ControlLink { address: self.address.clone(), join_token: Some(token) },
            public_addresses: Vec::new(),
            tier_address: None,
            location,
        })
        .await
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.serving.await.unwrap();
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_of_watched_sites_are_known_and_those_of_others_are_not() {
    let place = tempfile::tempdir().unwrap();
    let behind = Behind::start(place.path()).await;
    let health = &behind.plane.health;
    let heads = std::array::from_fn(|class| class as u64);
    let shop = SiteFigures { hits: 5, misses: 3, passes: 2, failures: 1, errors: 1, bytes: 900, heads, head_micros: 77 };
    let node = behind.node(place.path(), "edge-1").await;
    {
        let mut sites = node.told.sites.lock();
        sites.insert("shop".to_owned(), shop.clone());
        sites.insert("other".to_owned(), SiteFigures::default());
    }
    eventually("the node connects", async || health.live("edge-1").connected.then_some(())).await;
    health.watch(names(&["shop", "unknown"]));
    let known = eventually("the figures arrive", async || health.figures("edge-1", "shop")).await;
    assert_eq!((known, shop.requests()), (shop.clone(), 11));
    assert_eq!(
        (health.figures("edge-1", "other"), health.figures("edge-1", "unknown"), health.figures("edge-2", "shop")),
        (None, None, None)
    );

    let more = SiteFigures { hits: 6, ..shop };
    node.told.sites.lock().insert("shop".to_owned(), more.clone());
    eventually("the next report", async || (health.figures("edge-1", "shop")? == more).then_some(())).await;

    health.watch(names(&["other"]));
    assert_eq!(health.figures("edge-1", "shop"), None, "at once");
    eventually("the new watch", async || health.figures("edge-1", "other")).await;

    // A node that comes later, or again, hears of the watch too.
    let settings = node.stop().await;
    eventually("the node goes", async || (!health.live("edge-1").connected).then_some(())).await;
    assert_eq!(health.figures("edge-1", "other"), None);
    let again = TestNode::start(settings).await;
    again.told.sites.lock().insert("other".to_owned(), more.clone());
    eventually("the node is back", async || (health.figures("edge-1", "other")? == more).then_some(())).await;
    health.watch(BTreeSet::new());
    assert_eq!(health.figures("edge-1", "other"), None);
    again.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sites_are_watched_than_the_bound() {
    let place = tempfile::tempdir().unwrap();
    let behind = Behind::start(place.path()).await;
    let health = &behind.plane.health;
    let node = behind.node(place.path(), "edge-1").await;
    let all: BTreeSet<String> = (0..1_001).map(|number| format!("site-{number:04}")).collect();
    node.told.sites.lock().extend(all.iter().map(|name| (name.clone(), SiteFigures::default())));
    health.watch(all);
    eventually("the last of the first 1,000", async || health.figures("edge-1", "site-0999")).await;
    assert_eq!(health.figures("edge-1", "site-1000"), None);
    node.stop().await;
    behind.stop().await;
}
