//! Following a subject of the store for as long as it is open, whatever is missed on the way.

use std::sync::Arc;
use std::time::Duration;

use super::{Fault, Lost, Step, Store, Subject, Watch, blocking};

/// Time until who follows begins anew after a fault of the store.
pub(crate) const FOLLOW_RETRY: Duration = Duration::from_secs(1);

/// What who follows has to do.
pub(crate) enum Heard {
    /// Read everything: this is the beginning, or changes were missed, or may be.
    ReadAnew,
    /// Take a change. It may be in what was read already.
    Step(Arc<Step>),
}

/// See the module.
pub(crate) struct Follow {
    store: Arc<dyn Store>,
    subject: Subject,
    watch: Option<Watch>,
}

impl Follow {
    pub(crate) fn new(store: &Arc<dyn Store>, subject: Subject) -> Self {
        Self { store: Arc::clone(store), subject, watch: None }
    }

    /// For who has read everything up to a revision.
    pub(crate) fn after(store: &Arc<dyn Store>, subject: Subject, revision: u64) -> Self {
        let watch = Some(store.watch(subject.clone(), revision));
        Self { store: Arc::clone(store), subject, watch }
    }

    /// The next thing to do; `None` when the store is closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, Fault> {
        if let Some(watch) = &mut self.watch {
            match watch.next().await {
                Ok(step) => return Ok(Some(Heard::Step(step))),
                Err(Lost::Behind) => self.watch = None,
                Err(Lost::Closed) => return Ok(None),
            }
        }
        let revision = blocking(&self.store, |store| store.revision()).await?;
        self.watch = Some(self.store.watch(self.subject.clone(), revision));
        Ok(Some(Heard::ReadAnew))
    }
}
