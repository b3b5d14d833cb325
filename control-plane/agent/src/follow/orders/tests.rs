//! Orders of two streams of one node: the later one began while what the earlier one ordered was being done.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use skerry_config::process::ControlLink;
use skerry_config::snapshot::Document;

use super::*;
use crate::identity::tests::identity;
use crate::{Load, Role, Settings, disk, question};

/// How long the other side may take.
const SOON: Duration = Duration::from_secs(20);

/// Says that it begins with snapshot 2, and ends when it may.
struct Slow {
    begins: SyncSender<()>,
    may_end: parking_lot::Mutex<Receiver<()>>,
}

impl Duties for Slow {
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String> {
        if snapshot.version() == 2 {
            self.begins.send(()).unwrap();
            self.may_end.lock().recv_timeout(SOON).unwrap();
        }
        Ok(())
    }
    fn purge(&self, _: &[Purge]) {}
    fn purge_all_through(&self, _: u64) {}
    fn load(&self) -> Load {
        Load::default()
    }
    fn explain(self: Arc<Self>, _: question::Explain) -> question::Answer {
        Box::pin(std::future::ready(Err("there is nothing".to_owned())))
    }
}

fn inner(data: &std::path::Path) -> Arc<Inner> {
    let lock = disk::claim(data).unwrap();
    let settings = Settings {
        role: Role::Edge,
        name: "a".to_owned(),
        data: data.to_owned(),
        control: ControlLink { address: "127.0.0.1:1".to_owned(), join_token: None },
        public_addresses: Vec::new(),
        tier_address: None,
        location: None,
    };
    Arc::new(Inner::open(settings, identity("a"), lock).unwrap())
}

fn change(from: u64, to: u64) -> SnapshotChange {
    let json = serde_json::to_vec(&Change { from, version: to, ..Change::default() }).unwrap();
    SnapshotChange { from, to, json: json.into() }
}

fn whole(version: u64) -> SnapshotPart {
    let json = serde_json::to_vec(&Document { version, ..Document::default() }).unwrap();
    SnapshotPart { version, total_bytes: json.len() as u64, part: json.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_overtaken_by_what_an_earlier_stream_began_is_not_put_over_it() {
    let data = tempfile::tempdir().unwrap();
    let inner = inner(data.path());
    let ((begins, begun), (end, may_end)) = (sync_channel(1), sync_channel(1));
    let slow = Arc::new(Slow { begins, may_end: may_end.into() });
    let desk = || Desk::new(Arc::clone(&inner), Arc::clone(&slow) as Arc<dyn Duties>);
    assert!(matches!(desk().snapshot_part(whole(1)).await, Ok(Some(report::What::Adopted(_)))));

    let (mut first, mut second) = (desk(), desk());
    let earlier = tokio::spawn(async move { first.snapshot_change(change(1, 2)).await });
    tokio::task::block_in_place(|| begun.recv_timeout(SOON)).unwrap();
    let later = tokio::spawn(async move { second.snapshot_change(change(1, 3)).await });
    // It waits for the lock by now, or will; in neither case is it done.
    tokio::task::yield_now().await;
    end.send(()).unwrap();
    assert!(matches!(earlier.await.unwrap(), Ok(report::What::Adopted(Adopted { version: 2 }))));
    let why = later.await.unwrap().unwrap_err();
    assert!(why.contains("not in force"), "{why}");
    assert_eq!(inner.snapshot.load().as_ref().map(|snapshot| snapshot.version()), Some(2));
    assert_eq!(keep::Snapshots::load(data.path()).unwrap().1.map(|snapshot| snapshot.version()), Some(2));
    // Nor is a whole one whose number is not higher.
    for version in [1, 2] {
        let why = desk().snapshot_part(whole(version)).await.unwrap_err();
        assert!(why.contains("cannot follow 2"), "{why}");
    }
    assert_eq!(inner.snapshot.load().as_ref().map(|snapshot| snapshot.version()), Some(2));
}
