//! What becomes of the configurations when changes, rollouts and what takes them back come in an unlucky order: with a real store, without nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skerry_agent::Role;
use skerry_config::site::Site;
use tempfile::TempDir;

use crate::clock;
use crate::feed::Feed;
use crate::health::Health;
use crate::intent::{Intent, Wish, Written};
use crate::revoked::Revoked;
use crate::rollout::{Rollout, Stage, StageName, Standing};
use crate::store::{Change, Redb, Store, Transaction};
use crate::zone::Zone;

/// What operators want, on a disk.
struct Desk {
    directory: TempDir,
    store: Arc<dyn Store>,
    intent: Intent,
    linger: Duration,
}

fn content(name: &str, hosts: &[&str]) -> Site {
    serde_json::from_value(json!({"name": name, "hosts": hosts, "origin": {"urls": ["http://127.0.0.1:9"]}})).unwrap()
}

impl Desk {
    fn new(linger: Duration) -> Self {
        Self::with(linger, Vec::new())
    }

    /// With something in its store.
    fn with(linger: Duration, then: Vec<Change>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
        assert!(store.transact(&Transaction { then, ..Default::default() }).unwrap());
        let intent = Intent::load(Arc::clone(&store), linger).unwrap();
        Self { directory, store, intent, linger }
    }

    /// The same after the process ended, at whatever moment.
    fn restart(self) -> Self {
        self.store.close();
        drop((self.intent, self.store));
        let store: Arc<dyn Store> = Arc::new(Redb::open(&self.directory.path().join("store")).unwrap());
        let intent = Intent::load(Arc::clone(&store), self.linger).unwrap();
        Self { directory: self.directory, store, intent, linger: self.linger }
    }

    async fn put(&self, name: &str, hosts: &[&str]) -> Written {
        self.intent.put_site(content(name, hosts), Wish::default()).await.unwrap()
    }

    async fn put_now(&self, name: &str, hosts: &[&str]) -> Written {
        self.intent.put_site(content(name, hosts), Wish { now: true, ..Wish::default() }).await.unwrap()
    }

    /// Sites that all nodes have.
    async fn settled(&self, sites: &[(&str, &[&str])]) {
        for (name, hosts) in sites {
            self.put_now(name, hosts).await;
        }
    }

    /// Begins a rollout of what waits, on one node.
    async fn begin(&self) -> Arc<Rollout> {
        let rollout = self.intent.begin_rollout().await.unwrap().expect("something waits");
        let nodes = vec!["edge-1".to_owned()];
        let stage = Stage { name: StageName::Node, nodes, began: clock::now(), adopted: None, ended: None, hurried: false };
        self.intent.begin_stage(rollout.id, stage).await.unwrap();
        rollout
    }

    async fn finish(&self, rollout: &Rollout) {
        self.intent.finish_rollout(rollout.id).await.unwrap();
    }

    async fn take_back(&self, rollout: &Rollout, sites: &[&str]) {
        let reasons: BTreeMap<String, String> = sites.iter().map(|site| ((*site).to_owned(), "it failed".to_owned())).collect();
        self.intent.withdraw(rollout.id, reasons, Standing::RolledBack).await.unwrap();
    }

    /// The hosts of a site in the settled, the rolling and the newest configuration; `-` where there is none.
    fn hosts(&self, site: &str) -> String {
        let tracks = Arc::clone(&self.intent.state().tracks);
        let contents = [Some(&tracks.settled), tracks.rolling.as_ref().map(|(rolling, _)| rolling), Some(&tracks.newest)];
        let hosts = contents.map(|numbered| {
            let found = numbered.and_then(|numbered| numbered.content.sites.get(site));
            found.map_or_else(|| "-".to_owned(), |sealed| sealed.site.hosts.join("+"))
        });
        hosts.join(" ")
    }

    /// The numbers of the settled, the rolling and the newest configuration.
    fn numbers(&self) -> (u64, Option<u64>, u64) {
        let tracks = Arc::clone(&self.intent.state().tracks);
        (tracks.settled.version, tracks.rolling.as_ref().map(|(rolling, _)| rolling.version), tracks.newest.version)
    }

    fn waiting(&self) -> Vec<String> {
        self.intent.state().waiting.iter().cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_former_content_again_waits_while_its_change_rolls_out() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.put("shop", &["b.test"]).await;
    let rollout = desk.begin().await;
    let back = desk.intent.roll_back_site("shop", 1, Wish::default()).await.unwrap();
    assert_eq!((back.rollout, desk.waiting()), (Some(rollout.id + 1), vec!["shop".to_owned()]));
    let desk = desk.restart();
    assert_eq!((desk.hosts("shop").as_str(), desk.waiting().len()), ("a.test b.test a.test", 1));
    desk.finish(&rollout).await;
    assert_eq!(desk.hosts("shop"), "b.test - a.test", "what came last goes out in its turn");
    let next = desk.begin().await;
    assert_eq!((next.id, &next.sites[0].name), (rollout.id + 1, &"shop".to_owned()));
    desk.finish(&next).await;
    assert_eq!((desk.hosts("shop").as_str(), desk.waiting().len()), ("a.test - a.test", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_former_content_can_be_hurried_while_its_change_rolls_out() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.put("shop", &["b.test"]).await;
    let rollout = desk.begin().await;
    desk.put("shop", &["a.test"]).await;
    let again = desk.put_now("shop", &["a.test"]).await;
    assert!(!again.changed && again.rollout.is_some());
    assert_eq!((desk.hosts("shop").as_str(), desk.waiting().len()), ("a.test a.test a.test", 0));
    assert!(desk.intent.rollout(rollout.id).unwrap().sites[0].superseded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_was_deleted_stays_so_when_its_removal_is_taken_back() {
    let desk = Desk::new(Duration::from_secs(1));
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.intent.delete_site("shop", Wish::default()).await.unwrap();
    let ripe = async || {
        super::house::eventually("the site is ripe", async || {
            desk.intent.ripen().await.unwrap();
            (desk.waiting() == ["shop"]).then_some(())
        })
        .await;
    };
    ripe().await;
    let rollout = desk.begin().await;
    desk.take_back(&rollout, &["shop"]).await;
    let state = desk.intent.state();
    assert!(state.sites.get("shop").is_some_and(|version| version.site.is_none() && version.version == 2), "no version brings it back");
    assert!(state.lingering.contains_key("shop"), "its removal is tried again");
    assert_eq!(desk.hosts("shop"), "a.test - a.test", "the nodes keep it meanwhile");
    assert!(desk.intent.site("shop").is_err());
    // Another site may have its host, and keeps it when the removal is taken back after that.
    desk.put("heir", &["a.test"]).await;
    assert_eq!((desk.hosts("shop"), desk.hosts("heir")), ("a.test - -".to_owned(), "- - a.test".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heir_of_a_site_keeps_its_host_when_the_removal_is_taken_back() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.intent.delete_site("shop", Wish::default()).await.unwrap();
    let rollout = desk.begin().await;
    desk.put("heir", &["a.test"]).await;
    desk.take_back(&rollout, &["shop"]).await;
    assert_eq!((desk.hosts("shop"), desk.hosts("heir")), ("a.test - -".to_owned(), "- - a.test".to_owned()));
    assert!(desk.intent.site("heir").is_ok() && desk.intent.site("shop").is_err());
    let next = desk.begin().await;
    desk.finish(&next).await;
    assert_eq!((desk.hosts("shop"), desk.hosts("heir")), ("- - -".to_owned(), "a.test - a.test".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_one_owner_in_every_configuration_when_a_site_is_taken_back() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("a", &["a.test"]), ("b", &["h.test"])]).await;
    desk.put("b", &["b.test"]).await;
    desk.put("a", &["h.test"]).await;
    let rollout = desk.begin().await;
    // Newer, and with the host still.
    desk.put("a", &["h.test", "more.test"]).await;
    desk.take_back(&rollout, &["b"]).await;
    assert_eq!((desk.hosts("a").as_str(), desk.hosts("b").as_str()), ("a.test - a.test", "h.test - h.test"));
    let two = desk.intent.put_site(content("a", &["h.test"]), Wish { now: true, ..Wish::default() }).await.unwrap_err();
    assert!(two.says().contains("belongs to site \"b\""), "{two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_the_keys_of_one_site_is_no_other_site_s() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("a", &["shop.b.test"]), ("b", &["*.b.test"])]).await;
    let sharing = |host: &str| {
        let mut site = content("b", &["*.b.test"]);
        site.cache.key.host = Some(host.to_owned());
        site
    };
    let now = || Wish { now: true, ..Wish::default() };
    let taken = desk.intent.put_site(sharing("Shop.b.test"), now()).await.unwrap_err();
    assert!(taken.says().contains("key.host \"Shop.b.test\" belongs to site \"a\""), "{taken:?}");
    desk.intent.put_site(sharing("img.b.test"), now()).await.unwrap();
    let used = desk.intent.put_site(content("a", &["shop.b.test", "IMG.b.test"]), now()).await.unwrap_err();
    assert!(used.says().contains("is the key.host of site \"b\""), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_is_not_taken_back_for_one_that_stays() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("a", &["h.test"]), ("c", &["c.test"])]).await;
    desk.put("a", &["a.test"]).await;
    let rollout = desk.begin().await;
    desk.put("a", &["b.test"]).await;
    desk.put("c", &["h.test"]).await;
    desk.take_back(&rollout, &["a"]).await;
    assert_eq!((desk.hosts("a").as_str(), desk.hosts("c").as_str()), ("h.test - b.test", "c.test - h.test"));
    assert_eq!(desk.waiting(), ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_only_rise_over_a_restart_in_the_middle_of_a_rollout() {
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.put("shop", &["b.test"]).await;
    let rollout = desk.begin().await;
    desk.put_now("shop", &["c.test"]).await;
    assert_eq!(desk.waiting().len(), 0);
    let before = desk.numbers();
    assert!(before.0 < before.2, "{before:?}");
    let desk = desk.restart();
    assert_eq!(desk.numbers(), before);
    desk.intent.note_rollout(rollout.id, |_| {}).await.unwrap();
    assert_eq!(desk.numbers(), before);
    desk.put("news", &["n.test"]).await;
    let after = desk.numbers();
    assert_eq!((after.0, after.1), (before.0, before.1), "what has not changed keeps its number");
    assert!(after.2 > before.2, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_nodes_are_to_have_is_known_for_as_long_as_they_are() {
    const CHANGES: usize = 70;
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    desk.put("shop", &["b.test"]).await;
    desk.begin().await;
    let (settled, rolling, _) = desk.numbers();
    for change in 0..CHANGES {
        desk.put("news", &[&format!("n{change}.test")]).await;
        let known = [Some(settled), rolling].map(|version| desk.intent.known(version.unwrap()).is_some());
        assert_eq!(known, [true, true], "after {change} changes");
    }
    assert_eq!((desk.numbers().0, desk.numbers().1), (settled, rolling));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fell_back_is_read_anew_and_numbers_rise_above_those_that_were_given() {
    const NUMBERS: &str = "meta/snapshot";
    let desk = Desk::new(Duration::ZERO);
    desk.settled(&[("shop", &["a.test"])]).await;
    let old = desk.store.get(NUMBERS).unwrap().unwrap();
    desk.settled(&[("shop", &["b.test"])]).await;
    let given = desk.numbers().2;
    // As after an I/O error, when the file is opened anew at what had come to disk.
    let then = vec![Change::Put(NUMBERS.to_owned(), old)];
    assert!(desk.store.transact(&Transaction { then, ..Default::default() }).unwrap());
    let refused = desk.intent.put_site(content("shop", &["c.test"]), Wish::default()).await.unwrap_err();
    assert!(refused.says().contains("try again"), "{refused:?}");
    desk.put_now("shop", &["c.test"]).await;
    assert!(desk.numbers().0 > given);
    assert_eq!(desk.hosts("shop"), "c.test - c.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_moves_to_a_new_site_is_answered_all_the_time() {
    let desk = Desk::new(Duration::from_secs(300));
    desk.settled(&[("old", &["h.test", "*.w.test"])]).await;
    let node = crate::intent::Node {
        name: "edge-1".to_owned(),
        role: Role::Edge.word().to_owned(),
        region: "north".to_owned(),
        issued: Default::default(),
        next: None,
        former: Vec::new(),
        token: String::new(),
        drained: false,
        steering: Default::default(),
        addresses: vec!["127.0.0.9".parse().unwrap()],
        tier_address: None,
        joined_at: clock::now(),
    };
    desk.intent.admit_node(node, Transaction::default(), false, &Revoked::load(&*desk.store).unwrap()).await.unwrap();
    let (intent, health) = (Arc::new(desk.intent), Arc::new(Health::new()));
    let _session = health.connect("edge-1", Role::Edge, Some(intent.state().tracks.settled.version), 0, String::new());
    let settings = super::house::settings(desk.directory.path());
    let mut zone = Zone::new(&settings.dns, None, Arc::clone(&intent), health, Arc::new(Feed::new(skerry_dns::state::State::default())));
    intent.delete_site("old", Wish::default()).await.unwrap();
    for (name, host) in [("heir", "H.test"), ("part", "deep.in.w.test"), ("new", "new.test"), ("newer", "newer.test")] {
        intent.put_site(content(name, &[host]), Wish::default()).await.unwrap();
    }
    let state = zone.next().unwrap();
    let lacking: Vec<&String> = state.lacking.keys().collect();
    assert_eq!(lacking, ["new", "newer"], "the edge serves the others through the old site");
    assert!(Arc::ptr_eq(&state.lacking["new"], &state.lacking["newer"]), "however many sites, one set of the edges that lack them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_has_a_bounded_number_of_sites_and_the_others_follow() {
    const SITES: usize = 1_500;
    let mut then = vec![Change::Put("meta/snapshot".to_owned(), br#"{"last":2,"settled":1,"newest":2,"rollouts":0}"#.to_vec())];
    for number in 0..SITES {
        let name = format!("s{number:04}");
        let version =
            json!({"name": name, "version": 1, "at": clock::now(), "author": "test", "site": content(&name, &[&format!("{name}.test")])});
        then.push(Change::Put(format!("site/{name}"), version.to_string().into_bytes()));
        then.push(Change::Put(format!("settled/{name}"), b"null".to_vec()));
    }
    let desk = Desk::with(Duration::ZERO, then);
    assert_eq!(desk.waiting().len(), SITES);
    // A host moves from the last to the first: both go together.
    desk.put_now("s0000", &["a.test"]).await;
    desk.put_now("s1499", &["b.test"]).await;
    desk.put("s1499", &["c.test"]).await;
    desk.put("s0000", &["b.test"]).await;
    let first = desk.begin().await;
    let names: Vec<&str> = first.sites.iter().map(|change| change.name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[999], names[1_000]), (1_001, "s0000", "s0999", "s1499"));
    assert_eq!((desk.hosts("s0000").as_str(), desk.hosts("s1200").as_str()), ("a.test b.test b.test", "- - s1200.test"));
    let (settled, rolling, newest) = desk.numbers();
    assert!(Some(settled) < rolling && rolling < Some(newest) && rolling == Some(first.snapshot), "{settled} {rolling:?} {newest}");
    let desk = desk.restart();
    assert_eq!(desk.numbers(), (settled, rolling, newest));
    desk.finish(&first).await;
    // From where the last one ended.
    desk.put("s0001", &["again.test"]).await;
    let promised = desk.intent.state().rollout_of("s0001");
    let second = desk.begin().await;
    assert_eq!((Some(second.id), second.sites.len(), desk.waiting().len()), (promised, 500, 500));
    desk.finish(&second).await;
    assert_eq!((desk.waiting().len(), desk.numbers().0), (0, desk.numbers().2));
}
