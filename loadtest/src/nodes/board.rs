//! What the nodes did and when: one mark a purge and a configuration, with the time at which the last node had it in force.
//!
//! Owns the check that every node saw every purge once, in order and whole. The first fault is kept and fails the run.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use tokio::sync::watch;
use tokio::time::timeout;

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    nodes: usize,
    purges: Marks,
    snapshots: Marks,
    fault: Mutex<Option<String>>,
    /// The newest configuration that any node has checked. All that have the same hold the same: a thousand of many sites are more than a machine has memory for.
    shared: Mutex<Option<Arc<Snapshot>>>,
    /// Rises when a mark is complete, and with the first fault.
    moves: watch::Sender<u64>,
}

/// Which of both a number is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Purges.
    Purge,
    /// Configurations.
    Snapshot,
}

/// By number, from 1.
type Marks = Box<[Mark]>;

#[derive(Debug, Default)]
struct Mark {
    nodes: AtomicUsize,
    last_us: AtomicU64,
    /// Of what the first node was told; 0 before.
    content: AtomicU64,
}

impl Board {
    /// For so many nodes, purges and configurations at most.
    pub(super) fn new(nodes: usize, purges: usize, snapshots: usize) -> Self {
        let marks = |count| std::iter::repeat_with(Mark::default).take(count).collect();
        let (began, moves) = (Instant::now(), watch::Sender::new(0));
        Self { began, nodes, purges: marks(purges), snapshots: marks(snapshots), fault: Mutex::default(), shared: Mutex::default(), moves }
    }

    fn mark(&self, kind: Kind, number: u64) -> Option<&Mark> {
        let marks = match kind {
            Kind::Purge => &self.purges,
            Kind::Snapshot => &self.snapshots,
        };
        marks.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// A node has it in force, from this moment on.
    pub(super) fn in_force(&self, kind: Kind, number: u64, content: u64) {
        let Some(mark) = self.mark(kind, number) else {
            return self.fail(format!("a node was told of {kind:?} {number}, which nobody made"));
        };
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Err(other) = mark.content.compare_exchange(0, content, Ordering::AcqRel, Ordering::Acquire)
            && other != content
        {
            return self.fail(format!("two nodes were told different things of {kind:?} {number}"));
        }
        mark.last_us.fetch_max(now, Ordering::AcqRel);
        if mark.nodes.fetch_add(1, Ordering::AcqRel) + 1 == self.nodes {
            self.moves.send_modify(|count| *count += 1);
        }
    }

    /// The one of these configurations that all nodes hold which have it. There is one control plane: the same number is the same content.
    pub(super) fn share(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        let mut shared = self.shared.lock();
        match &*shared {
            Some(newest) if newest.version() == snapshot.version() => Arc::clone(newest),
            Some(newest) if newest.version() > snapshot.version() => snapshot,
            _ => Arc::clone(shared.insert(snapshot)),
        }
    }

    /// Something that must not be.
    pub(super) fn fail(&self, why: String) {
        self.fault.lock().get_or_insert(why);
        self.moves.send_modify(|count| *count += 1);
    }

    /// The fault, if there was any.
    pub(super) fn sound(&self) -> Result<(), String> {
        self.fault.lock().clone().map_or(Ok(()), Err)
    }

    /// When the last node had it in force, once it has.
    pub(super) async fn everywhere(&self, kind: Kind, number: u64, patience: Duration) -> Result<Instant, String> {
        let mark = self.mark(kind, number).ok_or_else(|| format!("{kind:?} {number} was not to be made"))?;
        let mut moves = self.moves.subscribe();
        let all = async {
            loop {
                moves.mark_unchanged();
                self.sound()?;
                if mark.nodes.load(Ordering::Acquire) == self.nodes {
                    return Ok(self.began + Duration::from_micros(mark.last_us.load(Ordering::Acquire)));
                }
                // The sender is here as long as this is.
                let _ = moves.changed().await;
            }
        };
        let late = || {
            let count = mark.nodes.load(Ordering::Acquire);
            Err(format!("{kind:?} {number} is in force on {count} of {} nodes after {patience:?}", self.nodes))
        };
        timeout(patience, all).await.unwrap_or_else(|_| late())
    }

    /// Whether the nodes were told what was said.
    pub(super) fn said(&self, seq: u64, content: u64) -> Result<(), String> {
        let told = self.mark(Kind::Purge, seq).map(|mark| mark.content.load(Ordering::Acquire));
        if told == Some(content) { Ok(()) } else { Err(format!("the nodes were told another purge {seq} than was asked for")) }
    }
}

/// A number for what purged URLs are; never 0.
pub(super) fn content<'a>(urls: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    urls.for_each(|url| url.hash(&mut hasher));
    hasher.finish().max(1)
}

/// How far one node is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last purge; none before the node was told where it stands.
    seq: Option<u64>,
    snapshot: u64,
    /// How often it heard that it has missed nothing: once a stream.
    streams: u64,
}

impl Progress {
    /// Takes purges that follow what was there; a sentence when they do not.
    pub(super) fn purged(&mut self, purges: &[Purge]) -> Result<(), String> {
        for purge in purges {
            match self.seq {
                Some(seq) if purge.seq == seq + 1 => self.seq = Some(purge.seq),
                seq => return Err(format!("purge {} came after {seq:?}", purge.seq)),
            }
        }
        Ok(())
    }

    /// Takes a place in the log, which a node that has just joined has none of.
    pub(super) fn stands(&mut self, seq: u64) -> Result<(), String> {
        match self.seq.replace(seq) {
            None => Ok(()),
            Some(before) => Err(format!("everything was dropped through purge {seq} although {before} was in force")),
        }
    }

    /// Takes a configuration, newer than the one before.
    pub(super) fn adopted(&mut self, version: u64) -> Result<(), String> {
        let before = std::mem::replace(&mut self.snapshot, version);
        if before < version { Ok(()) } else { Err(format!("configuration {version} came after {before}")) }
    }

    /// It has missed nothing.
    pub(super) fn caught_up(&mut self) {
        self.streams += 1;
    }

    /// Whether it follows, with at least this configuration.
    pub(super) fn follows(&self, snapshot: u64) -> bool {
        self.streams > 0 && self.snapshot >= snapshot
    }

    /// How often its stream was opened, and the last purge.
    pub(super) fn end(&self) -> (u64, u64) {
        (self.streams, self.seq.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use skerry_config::purge::Targets;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn purge(seq: u64) -> Purge {
        Purge { seq, targets: Targets::default() }
    }

    #[tokio::test]
    async fn a_purge_is_everywhere_when_the_last_node_has_it() {
        let board = Board::new(2, 3, 1);
        board.in_force(Kind::Purge, 1, 7);
        let first = Instant::now();
        assert!(board.everywhere(Kind::Purge, 1, Duration::from_millis(1)).await.unwrap_err().contains("1 of 2 nodes"));
        board.in_force(Kind::Purge, 1, 7);
        assert!(board.everywhere(Kind::Purge, 1, PATIENCE).await.unwrap() >= first - Duration::from_micros(1));
        assert_eq!(board.said(1, 7), Ok(()));
        assert!(board.said(1, 8).is_err() && board.said(2, 7).is_err());
        board.in_force(Kind::Purge, 2, 7);
        board.in_force(Kind::Purge, 2, 8);
        assert!(board.everywhere(Kind::Purge, 2, PATIENCE).await.unwrap_err().contains("different things of Purge 2"));
    }

    #[tokio::test]
    async fn a_number_that_nobody_made_is_a_fault() {
        for number in [0, 4] {
            let board = Board::new(1, 3, 1);
            board.in_force(Kind::Purge, number, 7);
            assert!(board.sound().unwrap_err().contains("nobody made"), "{number}");
        }
    }

    #[test]
    fn a_gap_or_a_step_back_is_a_fault() {
        let mut node = Progress::default();
        assert!(node.purged(&[purge(1)]).is_err(), "before it stands anywhere");
        assert_eq!(node.stands(4), Ok(()));
        assert_eq!(node.purged(&[purge(5), purge(6)]), Ok(()));
        assert!(node.purged(&[purge(8)]).unwrap_err().contains("purge 8 came after Some(6)"));
        assert!(node.purged(&[purge(6)]).is_err());
        assert!(node.stands(9).is_err());
        assert_eq!(node.adopted(3), Ok(()));
        assert!(node.adopted(3).is_err());
        assert!(!node.follows(3));
        node.caught_up();
        assert!(node.follows(3) && !node.follows(4));
    }

    #[test]
    fn content_is_of_every_url_in_order() {
        let of = |urls: &[&str]| content(urls.iter().copied());
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert!(of(&["a", "b"]) != of(&["b", "a"]) && of(&["ab"]) != of(&["a", "b"]) && of(&[]) != 0);
    }
}
