//! What a change costs where there are many sites: printed, and bounded against the cost of the whole, which grows with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_config::site::Site;
use skerry_config::snapshot::{Document, Snapshot};

use super::house::site;
use crate::intent::{Encoded, Intent, Wish};
use crate::store::{Redb, Store};

const SITES: usize = 10_000;
const CHANGES: usize = 20;

fn shop(number: usize, host: &str) -> Site {
    serde_json::from_value(site(&format!("s{number}"), host)).unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_among_ten_thousand_sites_costs_what_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
    fill(&*store);
    let began = Instant::now();
    let intent = Intent::load(Arc::clone(&store), Duration::ZERO).unwrap();
    println!("reading {SITES} sites from the store: {:?}", began.elapsed());

    let settled = Arc::clone(&intent.state().tracks.settled);
    let began = Instant::now();
    let Encoded::Whole(json) = intent.encoded(None, &settled).await.unwrap() else { panic!("a node that has nothing gets the whole") };
    println!("the whole in JSON, once for all nodes: {} bytes in {:?}", json.len(), began.elapsed());
    let began = Instant::now();
    let document: Document = serde_json::from_slice(&json).unwrap();
    let mut node = Snapshot::build(document).unwrap();
    let whole = began.elapsed();
    println!("a node reads, checks and compiles the whole: {whole:?}");
    let began = Instant::now();
    assert_eq!(node.digest(), settled.digest());
    println!("its digest, and ours: {:?}", began.elapsed());

    let (mut commits, mut encodes, mut applies, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 0..CHANGES {
        let began = Instant::now();
        intent.put_site(shop(number * 7, &format!("changed-{number}.test")), Wish { now: true, ..Wish::default() }).await.unwrap();
        commits.push(began.elapsed());
        let to = Arc::clone(&intent.state().tracks.settled);
        let began = Instant::now();
        let Encoded::Change(json) = intent.encoded(Some(node.version()), &to).await.unwrap() else { panic!("a change is sent as one") };
        encodes.push(began.elapsed());
        bytes = json.len();
        let began = Instant::now();
        node = node.apply(serde_json::from_slice(&json).unwrap()).unwrap();
        applies.push(began.elapsed());
        assert_eq!(node.version(), to.version);
    }
    assert_eq!(node.digest(), intent.state().tracks.settled.digest());
    let apply = median(applies);
    println!(
        "a change of one site, the median of {CHANGES}: committed (to disk) in {:?}, encoded once for all nodes in {:?},",
        median(commits),
        median(encodes)
    );
    println!("{bytes} bytes to each node, which reads, checks and compiles it in {apply:?}");
    assert!(apply * 20 < whole, "a node takes {apply:?} for a change of one site and {whole:?} for all of them");
}

/// As many sites as there may be, in one transaction.
fn fill(store: &dyn Store) {
    let mut then = Vec::new();
    for number in 0..SITES {
        let version = serde_json::json!({
            "name": format!("s{number}"), "version": 1, "at": "2024-01-01T00:00:00.000Z", "author": "test",
            "site": shop(number, &format!("s{number}.test")),
        });
        then.push(crate::store::Change::Put(format!("site/s{number}"), version.to_string().into_bytes()));
    }
    assert!(store.transact(&crate::store::Transaction { then, ..Default::default() }).unwrap());
}
