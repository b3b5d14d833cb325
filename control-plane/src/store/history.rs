//! The last changes of a store, in order, for who watches it. Kept in memory within bounds; what came before is not told but read.
//!
//! The lock covers the steps that are kept. Of use to any store that learns of its changes one after another.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Change, Lost, Step, Subject};

/// Steps kept; who is further behind reads anew.
const STEPS_MAX: usize = 10_000;

/// Bytes of keys and values in them; the newest step is kept however large it is.
const BYTES_MAX: usize = 16 << 20;

/// See the module.
pub(super) struct History {
    kept: Mutex<Kept>,
    /// Rises with every step, and once more at the end.
    moves: watch::Sender<u64>,
}

struct Kept {
    steps: VecDeque<Arc<Step>>,
    bytes: usize,
    /// The revision before the oldest step that is kept.
    floor: u64,
    newest: u64,
    is_closed: bool,
}

impl History {
    /// Begins after a revision.
    pub(super) fn new(revision: u64) -> Self {
        let kept = Kept { steps: VecDeque::new(), bytes: 0, floor: revision, newest: revision, is_closed: false };
        Self { kept: Mutex::new(kept), moves: watch::Sender::new(0) }
    }

    /// The revision of the newest step.
    pub(super) fn newest(&self) -> u64 {
        self.kept.lock().newest
    }

    /// Something has changed. To be told in the order of revisions.
    pub(super) fn note(&self, step: Step) {
        self.change(|kept| {
            kept.newest = step.revision;
            kept.bytes += step.bytes();
            kept.steps.push_back(Arc::new(step));
            while kept.steps.len() > STEPS_MAX || (kept.bytes > BYTES_MAX && kept.steps.len() > 1) {
                let Some(oldest) = kept.steps.pop_front() else { break };
                kept.bytes -= oldest.bytes();
                kept.floor = oldest.revision;
            }
        });
    }

    /// What was told may not be so any more: everybody reads anew.
    pub(super) fn forget(&self) {
        self.change(|kept| {
            kept.newest += 1;
            kept.floor = kept.newest;
            (kept.steps, kept.bytes) = (VecDeque::new(), 0);
        });
    }

    /// Ends every watch.
    pub(super) fn close(&self) {
        self.change(|kept| kept.is_closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.lock());
        self.moves.send_modify(|count| *count += 1);
    }

    /// The first step of a subject after a revision, or the revision up to which there is none.
    fn after(&self, revision: u64, subject: &Subject) -> Result<Result<Arc<Step>, u64>, Lost> {
        let kept = self.kept.lock();
        if kept.is_closed {
            return Err(Lost::Closed);
        }
        if revision < kept.floor || revision > kept.newest {
            return Err(Lost::Behind);
        }
        let next = kept.steps.partition_point(|step| step.revision <= revision);
        Ok(kept.steps.iter().skip(next).find(|step| step.is_of(subject)).cloned().ok_or(kept.newest))
    }
}

/// The changes of a subject, one after another.
pub(crate) struct Watch {
    history: Arc<History>,
    moves: watch::Receiver<u64>,
    subject: Subject,
    at: u64,
}

impl Watch {
    pub(super) fn new(history: &Arc<History>, subject: Subject, after: u64) -> Self {
        Self { history: Arc::clone(history), moves: history.moves.subscribe(), subject, at: after }
    }

    /// The next change, once there is one.
    pub(crate) async fn next(&mut self) -> Result<Arc<Step>, Lost> {
        loop {
            self.moves.mark_unchanged();
            match self.history.after(self.at, &self.subject)? {
                Ok(step) => {
                    self.at = step.revision;
                    return Ok(step);
                }
                Err(newest) => self.at = newest,
            }
            // The sender is in the history, which this holds.
            let _ = self.moves.changed().await;
        }
    }
}

impl Step {
    fn is_of(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Keys(prefix) => self.keys.iter().any(|change| change.key().starts_with(prefix.as_str())),
            Subject::Purges => self.purges.is_some(),
        }
    }

    fn bytes(&self) -> usize {
        let of = |change: &Change| match change {
            Change::Put(key, value) => key.len() + value.len(),
            Change::Delete(key) => key.len(),
        };
        size_of::<Self>() + self.keys.iter().map(of).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(revision: u64, bytes: usize) -> Step {
        Step { revision, keys: vec![Change::Put("a".to_owned(), vec![0; bytes])], purges: None }
    }

    async fn told(history: &Arc<History>, after: u64) -> Result<u64, Lost> {
        Watch::new(history, Subject::Keys(String::new()), after).next().await.map(|step| step.revision)
    }

    #[tokio::test]
    async fn steps_are_kept_within_their_bounds() {
        let history = Arc::new(History::new(7));
        assert_eq!(told(&history, 6).await, Err(Lost::Behind));
        assert_eq!(told(&history, 8).await, Err(Lost::Behind), "what is not yet is not known here");
        let count = STEPS_MAX as u64;
        for revision in 8..8 + count + 2 {
            history.note(step(revision, 0));
        }
        assert_eq!((told(&history, 8).await, told(&history, 9).await), (Err(Lost::Behind), Ok(10)));
        history.note(step(10 + count, BYTES_MAX));
        assert_eq!((told(&history, 8 + count).await, told(&history, 9 + count).await), (Err(Lost::Behind), Ok(10 + count)));
        history.forget();
        assert_eq!(told(&history, 10 + count).await, Err(Lost::Behind));
        assert_eq!(history.newest(), 11 + count);
    }
}
