//! What is known of one name, and the task that renews it: in the background while somebody uses the name, and when somebody asks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Answer, LOOKUP_TIME_MAX, Names, Source};

/// The least time an answer is used, whatever DNS says.
const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest time an answer is used, whatever DNS says.
const TTL_MAX: Duration = Duration::from_secs(3_600);
/// How long an answer is used beyond its time when DNS gives no other.
const LAST_GOOD: Duration = Duration::from_secs(3_600);
/// After how much of its time, in percent, an answer is renewed while the name is in use.
const RENEWED_AT_PERCENT: u32 = 80;
/// How long after a failure DNS is asked again, where an answer is left.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a failure counts for everyone, where no answer is left.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// How long after a failure nobody waits for the next answer, which is on its way by then.
const FAILING_FOR: Duration = Duration::from_secs(RETRY_AFTER.as_secs() + LOOKUP_TIME_MAX.as_secs() + 1);

/// What is known of a name.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Nothing was answered.
    Nothing,
    /// Addresses.
    Addresses {
        /// At least one.
        addresses: Arc<[IpAddr]>,
        /// Until when they are what DNS says, or the last that it said while it fails.
        until: Instant,
        /// Until when they are better than nothing.
        good_until: Instant,
        /// From when on DNS is to be asked again.
        due: Instant,
    },
    /// A failure, with no answer left.
    Failed {
        /// One sentence.
        why: String,
        /// How long it counts.
        until: Instant,
    },
}

/// One name. Dropping it ends the task.
pub(super) struct Kept {
    said: watch::Receiver<Known>,
    wanted: Arc<Wanted>,
    used: Mutex<Instant>,
    task: AbortHandle,
}

/// What users tell the task.
#[derive(Default)]
struct Wanted {
    /// Somebody has used the name since DNS was asked.
    used: AtomicBool,
    /// Somebody wants DNS to be asked.
    ask: Notify,
}

impl Known {
    /// What a user is told at `now`; `None` when he has to wait for an answer.
    pub(super) fn at(&self, now: Instant) -> Option<Result<Arc<[IpAddr]>, String>> {
        match self {
            Self::Addresses { addresses, until, .. } if now < *until => Some(Ok(Arc::clone(addresses))),
            Self::Failed { why, until } if now < *until => Some(Err(why.clone())),
            _ => None,
        }
    }

    /// Whether DNS should be asked meanwhile.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Addresses { due, .. } if now >= *due)
    }

    /// After an answer, or a failure, at `now`.
    fn next(self, answered: Result<Answer, String>, host: &str, now: Instant) -> Self {
        match (answered, self) {
            (Ok(Answer { addresses, ttl }), _) => {
                let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
                let until = now + ttl;
                Self::Addresses { addresses, until, good_until: until + LAST_GOOD, due: now + ttl * RENEWED_AT_PERCENT / 100 }
            }
            (Err(error), Self::Addresses { addresses, until, good_until, .. }) if now < good_until => {
                tracing::warn!(host, error, "using the last good addresses");
                Self::Addresses { addresses, until: until.max(now + FAILING_FOR).min(good_until), good_until, due: now + RETRY_AFTER }
            }
            (Err(why), _) => Self::Failed { why, until: now + FAILED_FOR },
        }
    }
}

impl Kept {
    /// Begins to ask for a name.
    pub(super) fn begin(host: &str, names: &Arc<Names>) -> Arc<Self> {
        let (sender, said) = watch::channel(Known::Nothing);
        let wanted = Arc::new(Wanted::default());
        let task = {
            let (host, names, source, wanted) = (host.to_owned(), Arc::downgrade(names), Arc::clone(&names.source), Arc::clone(&wanted));
            tokio::spawn(async move {
                renew(&host, &*source, &sender, &wanted).await;
                forget(&host, &names, &wanted);
            })
        };
        Arc::new(Self { said, wanted, used: Mutex::new(Instant::now()), task: task.abort_handle() })
    }

    /// Takes note of a use, and gives what is said from here on.
    pub(super) fn use_it(&self) -> watch::Receiver<Known> {
        *self.used.lock() = Instant::now();
        self.wanted.used.store(true, Ordering::Relaxed);
        self.said.clone()
    }

    /// Has DNS asked, unless it is being asked.
    pub(super) fn ask(&self) {
        self.wanted.ask.notify_one();
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for a name again and again, until nobody has wanted it for so long that nothing is worth keeping.
async fn renew(host: &str, source: &dyn Source, said: &watch::Sender<Known>, wanted: &Wanted) {
    loop {
        wanted.used.store(false, Ordering::Relaxed);
        let answered = source.ask(host).await;
        // Who wanted this has it.
        let _ = wanted.ask.notified().now_or_never();
        let known = said.borrow().clone().next(answered, host, Instant::now());
        let (due, end) = match &known {
            Known::Addresses { due, good_until, .. } => (*due, *good_until),
            Known::Failed { until, .. } => (*until, *until),
            Known::Nothing => return,
        };
        said.send_replace(known);
        sleep_until(due).await;
        let in_use = end > due && wanted.used.load(Ordering::Relaxed);
        if !in_use && timeout_at(end, wanted.ask.notified()).await.is_err() {
            return;
        }
    }
}

/// Takes a name out that its task has ended for, unless it is another one by now.
fn forget(host: &str, names: &Weak<Names>, wanted: &Arc<Wanted>) {
    let Some(names) = names.upgrade() else { return };
    let mut known = names.known.lock();
    if known.get(host).is_some_and(|kept| Arc::ptr_eq(&kept.wanted, wanted)) {
        known.remove(host);
    }
}
