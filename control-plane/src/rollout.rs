//! Rollouts: how a change of sites reaches the nodes by and by, and is taken back by itself where it does harm.
//!
//! One is under way at most; changes that come meanwhile wait together for the next one. Its steps are transactions of [`crate::intent`], so that a
//! control plane that was killed goes on where it was; what is only in memory here, the figures of a hold, begins anew. The lock covers the words of
//! nodes that refused a configuration.

mod choose;
mod gate;
mod hold;
mod late;
mod record;
mod stage;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skerry_agent::wire;
use skerry_config::process;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::events::Event;
use crate::plane::Plane;
use crate::refusal::Refusal;

pub(crate) use record::{RolledBack, Rollout, SiteChange, Stage, StageName, Standing};

/// Time between two looks at a rollout of which no other word comes, such as new figures.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Refusals that are kept until they are looked at; the oldest go first.
const REFUSALS_MAX: usize = 256;

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 500;

/// What others say to the rollouts.
pub(crate) struct Rollouts {
    settings: process::Rollout,
    refusals: Mutex<VecDeque<Refused>>,
    words: watch::Sender<u64>,
}

/// A node refused a configuration.
#[derive(Clone, Debug)]
struct Refused {
    node: String,
    snapshot: u64,
    reason: String,
    /// The sites at fault, if it knows.
    sites: Vec<String>,
}

impl Rollouts {
    pub(crate) fn new(settings: process::Rollout) -> Self {
        Self { settings, refusals: Mutex::default(), words: watch::Sender::new(0) }
    }

    /// A node refused a configuration.
    pub(crate) fn refused(&self, node: &str, refused: &wire::Refused) {
        let wire::Refused { version, reason, sites } = refused;
        let refused = Refused { node: node.to_owned(), snapshot: *version, reason: cut(reason), sites: sites.clone() };
        let mut refusals = self.refusals.lock();
        if refusals.len() == REFUSALS_MAX {
            refusals.pop_front();
        }
        refusals.push_back(refused);
        drop(refusals);
        self.words.send_modify(|count| *count += 1);
    }

    /// The refusals since the last look.
    fn refusals(&self) -> Vec<Refused> {
        self.refusals.lock().drain(..).collect()
    }

    /// Nothing could be done about them: they are looked at again.
    fn put_back(&self, earlier: Vec<Refused>) {
        let mut refusals = self.refusals.lock();
        let room = REFUSALS_MAX - refusals.len();
        for refused in earlier.into_iter().rev().take(room) {
            refusals.push_front(refused);
        }
    }
}

/// Keeps rollouts going until `stop` says so.
pub(crate) async fn keep(plane: Arc<Plane>, stop: watch::Receiver<bool>) {
    let mut intents = plane.intent.changes();
    let mut nodes = plane.health.changes();
    let mut words = plane.rollouts.words.subscribe();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = stage::Keeper::new(Arc::clone(&plane));
    loop {
        intents.mark_unchanged();
        nodes.mark_unchanged();
        words.mark_unchanged();
        match keeper.step().await {
            // Something was done, so that there may be more to do.
            Ok(true) => {
                if *stop.borrow() {
                    return;
                }
                continue;
            }
            Ok(false) => {}
            Err(refusal) => tracing::error!(why = refusal.says(), "a rollout cannot go on, trying again"),
        }
        tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            _ = intents.changed(), if keeper.is_well() => {}
            _ = nodes.changed(), if keeper.is_well() => {}
            _ = words.changed(), if keeper.is_well() => {}
            _ = look.tick() => {}
        }
    }
}

/// Takes a rollout back, because an operator says so.
pub(crate) async fn abort(plane: &Plane, id: u64, author: &str) -> Result<(), Refusal> {
    let rollout = plane.intent.rollout(id)?;
    let why = format!("{author} aborted rollout {id}");
    let reasons = rollout.open().map(|change| (change.name.clone(), why.clone())).collect();
    plane.intent.withdraw(id, reasons, Standing::Aborted).await?;
    tell_end(plane, id);
    Ok(())
}

/// Ends the hold of the present stage, because an operator says so.
pub(crate) async fn proceed(plane: &Plane, id: u64) -> Result<(), Refusal> {
    let hurry = |rollout: &mut Rollout| {
        if let Some(stage) = rollout.stages.last_mut() {
            stage.hurried = true;
        }
    };
    plane.intent.note_rollout(id, hurry).await
}

/// Tells how a rollout ended, if it did.
fn tell_end(plane: &Plane, id: u64) {
    let Ok(rollout) = plane.intent.rollout(id) else { return };
    for change in &rollout.sites {
        if let Some(RolledBack { reason, .. }) = &change.rolled_back {
            tell(plane, &rollout, "rolled_back", Some(change.name.clone()), Some(reason.clone()));
        }
    }
    let what = match rollout.state {
        Standing::Running => return,
        Standing::Done => "done",
        Standing::RolledBack => "ended",
        Standing::Aborted => "aborted",
    };
    plane.figures.rollouts.with_label_values(&[rollout.state.word()]).inc();
    tracing::info!(rollout = id, state = rollout.state.word(), "rollout over");
    tell(plane, &rollout, what, None, rollout.reason.clone());
}

fn tell(plane: &Plane, rollout: &Rollout, what: &str, site: Option<String>, reason: Option<String>) {
    let stage = rollout.stages.last().map(|stage| stage.name.word().to_owned());
    plane.events.tell(Event::Rollout { id: rollout.id, what: what.to_owned(), snapshot: rollout.snapshot, stage, site, reason });
}

/// As much of a text as is kept of a reason.
fn cut(text: &str) -> String {
    text.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= REASON_BYTES_MAX).map(|(_, letter)| letter).collect()
}
