//! The certificates of a node are bounded, and neither its renewal nor its removal ends with the bound.

use std::time::Duration;

use super::*;
use crate::store::{Redb, Store};

const DAY: u64 = 86_400;
const LIFE: u64 = 90 * DAY;

struct Records {
    intent: Intent,
    revoked: Revoked,
    store: Arc<dyn Store>,
    _data: tempfile::TempDir,
}

fn records() -> Records {
    let data = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Redb::open(&data.path().join("store")).unwrap());
    let intent = Intent::load(Arc::clone(&store), Duration::ZERO).unwrap();
    Records { intent, revoked: Revoked::load(&*store).unwrap(), store, _data: data }
}

/// A certificate that ends then.
fn issued(number: u64, ends: u64) -> Issued {
    Issued { certificate: format!("{number:064x}"), ends, counts_until: ends }
}

fn node(name: &str, issued: Issued) -> Node {
    Node {
        name: name.to_owned(),
        role: "edge".to_owned(),
        region: "north".to_owned(),
        issued,
        next: None,
        former: Vec::new(),
        token: "token".to_owned(),
        drained: false,
        steering: Steering::default(),
        addresses: Vec::new(),
        tier_address: None,
        joined_at: clock::now(),
    }
}

impl Records {
    async fn admit(&self, node: Node, again: bool) -> Result<(), Refusal> {
        self.intent.admit_node(node, Transaction::default(), again, &self.revoked).await
    }

    async fn renew(&self, by: u64, issued: Issued) -> Result<(), Refusal> {
        self.intent.renew_node("edge-1", &format!("{by:064x}"), issued, &self.revoked).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.intent.node("edge-1").unwrap().certificates().count(), self.revoked.watch().borrow().len())
    }
}

#[tokio::test]
async fn a_node_whose_renewals_are_lost_is_not_refused_for_ever() {
    let records = records();
    let ends = clock::unix_seconds() + LIFE;
    records.admit(node("edge-1", issued(0, ends)), false).await.unwrap();
    // One that it never heard of each day: the first of them are revoked when there are too many.
    for number in 1..=20 {
        records.renew(0, issued(number, ends + number * 2 * DAY)).await.unwrap();
    }
    assert_eq!(records.counts(), (FORMER_MAX + 2, 20 - FORMER_MAX - 1));
    let known = records.intent.node("edge-1").unwrap();
    assert_eq!((&known.issued, &known.next), (&issued(0, ends), &Some(issued(20, ends + 40 * DAY))));
    // Revoked in the store too.
    assert_eq!(Revoked::load(&*records.store).unwrap().watch().borrow().len(), 20 - FORMER_MAX - 1);
    // Who asks all the time has to wait.
    let why = records.renew(0, issued(21, ends + 40 * DAY + 1)).await.unwrap_err();
    assert!(why.says().contains("another one is issued"), "{}", why.says());
    records.intent.use_renewed("edge-1", &records.revoked).await.unwrap();
    assert_eq!(records.intent.node("edge-1").unwrap().issued.certificate, issued(20, 0).certificate);
}

#[tokio::test]
async fn certificates_that_have_ended_are_in_nobodys_way() {
    let records = records();
    let now = clock::unix_seconds();
    let mut full = node("edge-1", issued(0, now + LIFE));
    full.former = (1..=9).map(|number| issued(number, now - 1)).collect();
    full.next = Some(issued(10, now + LIFE));
    records.admit(full, false).await.unwrap();
    records.renew(0, issued(11, now + LIFE)).await.unwrap();
    assert_eq!(records.counts(), (3, 0));
}

#[tokio::test]
async fn a_node_that_joins_again_and_again_can_be_removed() {
    let records = records();
    let ends = clock::unix_seconds() + LIFE;
    records.admit(node("edge-1", issued(0, ends)), false).await.unwrap();
    let mut refused = 0;
    for number in 1..=100 {
        refused += usize::from(records.admit(node("edge-1", issued(number, ends)), true).await.is_err());
    }
    assert_eq!((records.counts(), refused), ((FORMER_MAX + 1, 0), 100 - FORMER_MAX));
    records.admit(node("edge-1", issued(101, ends + 2 * DAY)), true).await.unwrap();
    assert_eq!(records.counts(), (FORMER_MAX + 1, 1));
    records.intent.remove_node("edge-1", &records.revoked, Vec::new()).await.unwrap();
    assert_eq!(records.revoked.watch().borrow().len(), FORMER_MAX + 2);
}

#[tokio::test]
async fn a_removal_is_not_refused_however_many_are_revoked() {
    use skerry_agent::wire::REVOKED_MAX;
    let records = records();
    let ends = clock::unix_seconds() + LIFE;
    let many: Vec<_> = (1..=u64::try_from(REVOKED_MAX).unwrap()).map(|number| issued(number, ends + number)).collect();
    records.store.transact(&Transaction { then: records.revoked.changes(&many), ..Transaction::default() }).unwrap();
    records.revoked.add(&many);
    let own = issued(0, ends + LIFE);
    records.admit(node("edge-1", own.clone()), false).await.unwrap();
    records.intent.remove_node("edge-1", &records.revoked, Vec::new()).await.unwrap();
    let read = Revoked::load(&*records.store).unwrap();
    for table in [read.watch(), records.revoked.watch()] {
        let table = table.borrow().clone();
        assert_eq!(table.len(), REVOKED_MAX);
        let has = |issued: &Issued| table.contains_key(&crate::auth::unhex(&issued.certificate).unwrap());
        assert!(has(&own) && !has(&many[0]) && has(&many[1]), "the first that ends makes room");
    }
}
