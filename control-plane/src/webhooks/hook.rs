//! One webhook: what it is, what waits for it, and the task that sends it on, one message at a time and in order.
//!
//! What waits is in the store as well, so that a restart sends it. The lock covers the state; it is held across no await and no work of the store.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::client::{Client, Message, Receiver};
use super::sign;
use crate::auth;
use crate::clock;
use crate::events::{Event, Events, Told};
use crate::figures::Figures;
use crate::store::{self, Change, Store, Transaction};

/// Messages that wait for one webhook; beyond it the oldest are dropped and counted.
pub(super) const QUEUE_MAX: usize = 1_000;

/// What the keys of waiting messages begin with; the webhook's name follows.
pub(super) const QUEUE_PREFIX: &str = "webhook-queue/";

/// A webhook as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) url: String,
    /// The kinds of events it wants; all when none are named.
    pub(super) kinds: Option<BTreeSet<String>>,
    pub(super) secret: skerry_config::secret::Secret,
    /// Why nothing is sent to it any more.
    pub(super) disabled: Option<String>,
}

/// How long, and how often, a receiver is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The wait after the first failure; it doubles with each. Half of each wait is drawn.
    pub(crate) first: Duration,
    /// The longest wait.
    pub(crate) longest: Duration,
    /// Tries of one message, after which it is dropped.
    pub(crate) tries: u32,
    /// Tries that fail in a row, over all messages, after which the webhook is disabled.
    pub(crate) failures: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(300), tries: 12, failures: 100 }
    }
}

/// What has become of a webhook's messages since the process began.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) delivered_at: Option<String>,
    pub(super) last_error: Option<String>,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    number: u64,
    body: String,
}

struct State {
    record: Record,
    waiting: VecDeque<Waiting>,
    counts: Counts,
    failures_in_a_row: u32,
}

/// What all webhooks share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) client: Client,
    pub(super) patience: Patience,
    pub(super) events: Arc<Events>,
    pub(super) figures: Figures,
    pub(super) writing: tokio::sync::Mutex<()>,
}

/// See the module.
pub(super) struct Hook {
    shared: Arc<Shared>,
    state: Mutex<State>,
    changed: Notify,
}

/// What is sent of an event.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: &'a str,
    number: u64,
    data: &'a Event,
}

impl Hook {
    /// One with what waits for it in the store. Blocks.
    pub(super) fn load(shared: &Arc<Shared>, record: Record) -> Result<Self, String> {
        let prefix = queue_prefix(&record.name);
        let mut waiting = VecDeque::new();
        for (key, value) in shared.store.list(&prefix)? {
            let number = key[prefix.len()..].parse().map_err(|_| format!("the store holds a message at {key}"))?;
            waiting.push_back(Waiting { number, body: String::from_utf8_lossy(&value).into_owned() });
        }
        let hook = Self::with(shared, record, waiting);
        let then = hook.cut(&mut hook.state.lock());
        if !then.is_empty() {
            shared.store.transact(&Transaction { when: Vec::new(), then, may_be_lost: true })?;
        }
        Ok(hook)
    }

    /// One for which nothing waits.
    pub(super) fn new(shared: &Arc<Shared>, record: Record) -> Self {
        Self::with(shared, record, VecDeque::new())
    }

    fn with(shared: &Arc<Shared>, record: Record, waiting: VecDeque<Waiting>) -> Self {
        for outcome in ["delivered", "failed", "dropped"] {
            shared.figures.webhooks.with_label_values(&[record.name.as_str(), outcome]);
        }
        let state = State { record, waiting, counts: Counts::default(), failures_in_a_row: 0 };
        let hook = Self { shared: Arc::clone(shared), state: Mutex::new(state), changed: Notify::new() };
        hook.gauge(&hook.state.lock());
        hook
    }

    pub(super) fn record(&self) -> Record {
        self.state.lock().record.clone()
    }

    /// What it was, how much waits, and what became of the rest.
    pub(super) fn look(&self) -> (Record, usize, Counts) {
        let state = self.state.lock();
        (state.record.clone(), state.waiting.len(), state.counts.clone())
    }

    /// Makes it another; what waits stays.
    pub(super) fn replace(&self, record: Record) {
        let mut state = self.state.lock();
        state.record = record;
        state.failures_in_a_row = 0;
        drop(state);
        self.changed.notify_one();
    }

    /// The message of an event, if it wants it.
    pub(super) fn wants(&self, told: &Told) -> Option<Waiting> {
        let state = self.state.lock();
        let kind = told.event.name();
        let wants = state.record.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        if !wants || state.record.disabled.is_some() {
            return None;
        }
        let body = Body { kind, timestamp: &told.at, number: told.number, data: &told.event };
        Some(Waiting { number: told.number, body: serde_json::to_string(&body).ok()? })
    }

    /// What puts messages into the store.
    pub(super) fn keeps(&self, messages: &[Waiting]) -> Vec<Change> {
        let state = self.state.lock();
        messages.iter().map(|message| Change::Put(self.key(&state, message.number), message.body.clone().into_bytes())).collect()
    }

    /// Sends messages too, which are in the store.
    pub(super) async fn takes(&self, messages: Vec<Waiting>) {
        if messages.is_empty() {
            return;
        }
        let changes = {
            let mut state = self.state.lock();
            state.waiting.extend(messages);
            self.cut(&mut state)
        };
        self.store(changes).await;
        self.changed.notify_one();
    }

    /// Drops what may not wait: the oldest beyond the bound, and all when nothing is sent any more.
    fn cut(&self, state: &mut State) -> Vec<Change> {
        let most = if state.record.disabled.is_some() { 0 } else { QUEUE_MAX };
        let count = state.waiting.len().saturating_sub(most);
        let changes: Vec<Change> =
            state.waiting.drain(..count).map(|waiting| Change::Delete(queue_key(&state.record.name, waiting.number))).collect();
        for _ in &changes {
            state.counts.dropped += 1;
            self.count(state, "dropped");
        }
        self.gauge(state);
        changes
    }

    /// Sends what waits, until the task is ended.
    pub(super) async fn run(self: Arc<Self>) {
        let mut tries = 0;
        loop {
            let next = self.next();
            let Some((record, message)) = next else {
                self.changed.notified().await;
                continue;
            };
            match self.send(&record, &message).await {
                Ok(()) => {
                    tries = 0;
                    self.delivered(&message).await;
                }
                Err(failure) => {
                    tries += 1;
                    let wait = self.failed(&record, &message, &failure.says, failure.is_gone, &mut tries).await;
                    // Another URL or secret is tried at once.
                    let _ = tokio::time::timeout(wait, self.replaced(&record)).await;
                }
            }
        }
    }

    fn next(&self) -> Option<(Record, Waiting)> {
        let state = self.state.lock();
        let first = state.waiting.front().filter(|_| state.record.disabled.is_none())?;
        Some((state.record.clone(), first.clone()))
    }

    async fn replaced(&self, record: &Record) {
        while self.state.lock().record == *record {
            self.changed.notified().await;
        }
    }

    async fn send(&self, record: &Record, message: &Waiting) -> Result<(), super::client::Failure> {
        let failed = |says: String| super::client::Failure { says, is_gone: false };
        let receiver = Receiver::of(&record.url).map_err(failed)?;
        let key = sign::key(record.secret.reveal()).map_err(|says| failed(says.to_owned()))?;
        let (id, timestamp) = (format!("evt_{}", message.number), clock::unix_seconds());
        let signature = sign::signature(&key, &id, timestamp, &message.body);
        self.shared.client.send(&receiver, Message { id: &id, timestamp, signature, body: message.body.clone() }).await
    }

    async fn delivered(&self, message: &Waiting) {
        let change = {
            let mut state = self.state.lock();
            state.counts.delivered += 1;
            state.counts.delivered_at = Some(clock::now());
            state.failures_in_a_row = 0;
            self.count(&state, "delivered");
            self.done(&mut state, message)
        };
        self.store(change).await;
    }

    /// Takes note of a failed try; the time until the next one.
    async fn failed(&self, record: &Record, message: &Waiting, says: &str, is_gone: bool, tries: &mut u32) -> Duration {
        let patience = self.shared.patience;
        let has_failed_too_often = {
            let mut state = self.state.lock();
            state.counts.failed += 1;
            state.counts.last_error = Some(says.to_owned());
            state.failures_in_a_row += 1;
            self.count(&state, "failed");
            state.failures_in_a_row >= patience.failures
        };
        tracing::warn!(webhook = record.name, why = says, "a webhook was not delivered");
        if is_gone || has_failed_too_often {
            if let Some(reason) = self.disable(record, says, is_gone).await {
                *tries = 0;
                self.shared.events.tell(Event::Webhook { name: record.name.clone(), what: "disabled".to_owned(), reason: Some(reason) });
            }
        } else if *tries >= patience.tries {
            let changes = {
                let mut state = self.state.lock();
                state.counts.dropped += 1;
                self.count(&state, "dropped");
                self.done(&mut state, message)
            };
            self.store(changes).await;
            *tries = 0;
        }
        wait(patience, (*tries).max(1))
    }

    /// Sends nothing any more; why. A hook that was written anew meanwhile has its chances before it.
    async fn disable(&self, record: &Record, says: &str, is_gone: bool) -> Option<String> {
        let _writing = self.shared.writing.lock().await;
        let (why, changes) = {
            let mut state = self.state.lock();
            let failures = state.failures_in_a_row;
            if state.record != *record || !(is_gone || failures >= self.shared.patience.failures) {
                return None;
            }
            let why = if is_gone { says.to_owned() } else { format!("{failures} tries in a row failed; the last one: {says}") };
            state.record.disabled = Some(why.clone());
            let mut changes = self.cut(&mut state);
            changes.extend(put(&state.record));
            (why, changes)
        };
        self.store(changes).await;
        Some(why)
    }

    /// Takes a message out.
    fn done(&self, state: &mut State, message: &Waiting) -> Vec<Change> {
        state.waiting.retain(|waiting| waiting.number != message.number);
        self.gauge(state);
        vec![Change::Delete(self.key(state, message.number))]
    }

    async fn store(&self, then: Vec<Change>) {
        if then.is_empty() {
            return;
        }
        // Lost, it is sent once more, with the same number.
        let transaction = Transaction { when: Vec::new(), then, may_be_lost: true };
        if let Err(why) = store::blocking(&self.shared.store, move |store| store.transact(&transaction)).await {
            tracing::warn!(why, "what became of a webhook's message is not in the store");
        }
    }

    fn key(&self, state: &State, number: u64) -> String {
        queue_key(&state.record.name, number)
    }

    fn count(&self, state: &State, outcome: &str) {
        self.shared.figures.webhooks.with_label_values(&[state.record.name.as_str(), outcome]).inc();
        self.gauge(state);
    }

    fn gauge(&self, state: &State) {
        let waiting = i64::try_from(state.waiting.len()).unwrap_or(i64::MAX);
        self.shared.figures.webhooks_waiting.with_label_values(&[state.record.name.as_str()]).set(waiting);
    }
}

/// The wait before try `tries + 1`, half of it drawn.
fn wait(patience: Patience, tries: u32) -> Duration {
    let whole = patience.first.saturating_mul(2_u32.saturating_pow(tries - 1)).min(patience.longest);
    let drawn = auth::random().map_or(u8::MAX, |random| random[0]);
    whole / 2 + whole / 2 * u32::from(drawn) / u32::from(u8::MAX)
}

/// The change that keeps a webhook.
pub(super) fn put(record: &Record) -> Option<Change> {
    Some(Change::Put(format!("{}{}", super::PREFIX, record.name), serde_json::to_vec(record).ok()?))
}

pub(super) fn queue_prefix(name: &str) -> String {
    format!("{QUEUE_PREFIX}{name}/")
}

fn queue_key(name: &str, number: u64) -> String {
    format!("{QUEUE_PREFIX}{name}/{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_drawn() {
        let patience = Patience::default();
        for (tries, whole) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (100, 300)] {
            let (least, most) = (Duration::from_millis(500 * whole), Duration::from_secs(whole));
            let wait = wait(patience, tries);
            assert!(least <= wait && wait <= most, "{tries}: {wait:?}");
        }
    }
}
