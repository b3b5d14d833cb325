//! What others change of the intent in the same store, as a second control plane on it would.
//!
//! Own changes come by here too, and are known by what they wrote. Whatever else comes has the whole state read anew: it is linear in the sites, and seldom.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Intent, LINGERING, ROLLING, SETTLED, SNAPSHOT_KEY, State, leads, load, nodes, rollouts, secrets, sites};
use crate::store::{self, Change, Follow, Heard, Store, Subject};

/// Own changes that have not come by; where there are more, the oldest counts as that of somebody else.
const OWN_MAX: usize = 10_000;

/// Tries to read a state into which nobody writes meanwhile.
const READ_TRIES: usize = 8;

/// What own changes wrote, in their order. The caller holds the write lock of the intent.
#[derive(Default)]
pub(super) struct Own {
    hasher: RandomState,
    written: Mutex<VecDeque<u64>>,
}

impl Own {
    /// What tells changes from others, when they are of the intent.
    pub(super) fn mark(&self, changes: &[Change]) -> Option<u64> {
        is_intent(changes).then(|| self.sum(changes))
    }

    /// The changes with this mark were made.
    pub(super) fn made(&self, mark: Option<u64>) {
        let mut written = self.written.lock();
        if written.len() == OWN_MAX {
            written.pop_front();
        }
        written.extend(mark);
    }

    /// Whether the next own change is this one; it has come by then.
    fn is_next(&self, changes: &[Change]) -> bool {
        let mut written = self.written.lock();
        let is_next = written.front() == Some(&self.sum(changes));
        if is_next {
            written.pop_front();
        }
        is_next
    }

    fn forget(&self) {
        self.written.lock().clear();
    }

    fn sum(&self, changes: &[Change]) -> u64 {
        let parts = changes.iter().map(|change| match change {
            Change::Put(key, value) => (key, Some(value)),
            Change::Delete(key) => (key, None),
        });
        self.hasher.hash_one(parts.collect::<Vec<_>>())
    }
}

/// Follows the intent in the store until `stop` says so.
pub(crate) async fn follow(intent: Arc<Intent>, stop: watch::Receiver<bool>) {
    let followed = async {
        while let Err(why) = intent.follow().await {
            tracing::warn!(why, "changes of sites and nodes that others make are not seen, trying again");
            tokio::time::sleep(store::FOLLOW_RETRY).await;
        }
    };
    tokio::select! {
        () = skerry_agent::stopped(stop) => {}
        () = followed => {}
    }
}

impl Intent {
    /// Follows the intent in the store until that is closed.
    async fn follow(&self) -> Result<(), String> {
        let mut through = self.read_through.load(Ordering::Relaxed);
        let mut changes = Follow::after(&self.store, Subject::Keys(String::new()), through);
        while let Some(heard) = changes.next().await? {
            if matches!(&heard, Heard::Step(step) if !is_intent(&step.keys)) {
                continue;
            }
            let _writing = self.writing.lock().await;
            match heard {
                Heard::ReadAnew => self.own.forget(),
                Heard::Step(step) if self.own.is_next(&step.keys) || step.revision <= through => continue,
                Heard::Step(_) => {}
            }
            through = self.take_stored().await?;
            self.read_through.store(through, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes the state from the store; the revision up to which it has every change. The caller holds the write lock.
    async fn take_stored(&self) -> Result<u64, String> {
        let (found, revision) = store::blocking(&self.store, read_whole).await?;
        let now = self.state();
        if found.numbers.last < now.numbers.last {
            // The store has fallen back.
            return self.read_anew(&now).await.map(|()| revision).map_err(|refusal| refusal.says().to_owned());
        }
        self.replace_state(found, &now);
        Ok(revision)
    }
}

/// The state, and the revision up to which it has every change. A number never stands for what was written after it.
fn read_whole(store: &dyn Store) -> Result<(State, u64), String> {
    for _ in 0..READ_TRIES {
        let revision = store.revision()?;
        let state = load::state(store)?;
        if store.get(SNAPSHOT_KEY)?.as_deref() == state.numbers_stored.as_deref() {
            return Ok((state, revision));
        }
    }
    Err(format!("somebody wrote into the store during each of {READ_TRIES} readings"))
}

/// Whether changes are of the intent.
fn is_intent(changes: &[Change]) -> bool {
    let prefixes =
        [SNAPSHOT_KEY, SETTLED, ROLLING, LINGERING, sites::PREFIX, nodes::PREFIX, leads::PREFIX, rollouts::PREFIX, secrets::PREFIX];
    changes.iter().any(|change| prefixes.iter().any(|prefix| change.key().starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skerry_config::site::Site;

    use super::*;
    use crate::intent::Wish;
    use crate::store::Redb;

    fn site(name: &str) -> Site {
        let site = serde_json::json!({"name": name, "hosts": [format!("{name}.test")], "origin": {"urls": ["http://127.0.0.1:9"]}});
        serde_json::from_value(site).unwrap()
    }

    #[tokio::test]
    async fn what_another_one_changes_in_the_same_store_is_published_here_too() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
        let open = || Arc::new(Intent::load(Arc::clone(&store), Duration::ZERO).unwrap());
        let (here, there) = (open(), open());
        let (_stop, stopped) = watch::channel(false);
        for intent in [&here, &there] {
            tokio::spawn(follow(Arc::clone(intent), stopped.clone()));
        }
        let has = async |intent: &Arc<Intent>, name: &str| {
            let mut published = intent.published();
            let there = published.wait_for(|tracks| tracks.newest.content.sites.contains_key(name));
            tokio::time::timeout(Duration::from_secs(20), there).await.expect("it is seen").unwrap().newest.version
        };
        let written = there.put_site(site("there"), Wish::default()).await.unwrap();
        assert_eq!(has(&here, "there").await, written.snapshot, "the same content has the same number");
        let written = here.put_site(site("here"), Wish::default()).await.unwrap();
        assert_eq!(has(&there, "here").await, written.snapshot);
        assert!(there.site("there").is_ok() && here.site("there").is_ok());

        // Own changes are not read again: each is one change of the state.
        let (mut changes, before) = (here.changes(), *here.changes().borrow());
        for number in 0..3 {
            here.put_site(site(&format!("own-{number}")), Wish::default()).await.unwrap();
        }
        has(&there, "own-2").await;
        there.put_site(site("last"), Wish::default()).await.unwrap();
        has(&here, "last").await;
        assert_eq!(*changes.borrow_and_update() - before, 4);
        store.close();
    }
}
