//! Webhooks: events, sent as signed messages to receivers that operators name.
//!
//! Nothing waits for a receiver. The lock covers the table; `writing`, which all webhooks share, orders changes of it and of what they are.

mod client;
mod hook;
mod sign;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::RwLock;
use skerry_config::secret::Secret;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::events::{EVENTS_KEPT_MAX, Event, Events, Reading};
use crate::figures::Figures;
use crate::refusal::Refusal;
use crate::store::{self, Change, Store, Transaction};
use client::{Client, Receiver};
pub(crate) use hook::Patience;
use hook::{Hook, Record, Shared};

const PREFIX: &str = "webhook/";

/// Webhooks at most.
const HOOKS_MAX: usize = 64;

/// Events looked at together.
const EVENTS_AT_ONCE_MAX: usize = 256;

/// The webhook wanted.
pub(crate) struct Wish {
    /// Its name.
    pub(crate) name: String,
    /// Where messages go.
    pub(crate) url: String,
    /// Which kinds of events; all when none are named.
    pub(crate) kinds: Option<BTreeSet<String>>,
    /// The secret to sign with; the one it has when none is given.
    pub(crate) secret: Option<String>,
}

/// A webhook as it is shown.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) kinds: Option<BTreeSet<String>>,
    /// The mark of its secret.
    pub(crate) secret: String,
    pub(crate) disabled: Option<String>,
    pub(crate) waiting: usize,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) delivered_at: Option<String>,
    pub(crate) last_error: Option<String>,
}

/// The webhooks.
pub(crate) struct Webhooks {
    shared: Arc<Shared>,
    hooks: RwLock<BTreeMap<String, Running>>,
}

struct Running {
    hook: Arc<Hook>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn start(hook: Hook) -> Self {
        let hook = Arc::new(hook);
        let task = tokio::spawn(Arc::clone(&hook).run());
        Self { hook, task }
    }
}

impl Webhooks {
    /// Reads the webhooks and what waits for them, and begins to send. Blocks.
    pub(crate) fn load(
        store: Arc<dyn Store>,
        allow: &[IpNet],
        patience: Patience,
        events: Arc<Events>,
        figures: Figures,
    ) -> Result<Self, String> {
        let shared =
            Arc::new(Shared { store, client: Client::new(allow), patience, events, figures, writing: tokio::sync::Mutex::default() });
        let mut hooks = BTreeMap::new();
        for (key, value) in shared.store.list(PREFIX)? {
            let record: Record = serde_json::from_slice(&value)
                .map_err(|error| format!("the store holds something else than a webhook at {key}: {error}"))?;
            hooks.insert(record.name.clone(), Running::start(Hook::load(&shared, record)?));
        }
        Ok(Self { shared, hooks: RwLock::new(hooks) })
    }

    /// Gives every event to the webhooks that want it, until stopped.
    pub(crate) async fn dispatch(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut reader = self.shared.events.read(None);
        loop {
            tokio::select! {
                told = reader.next(EVENTS_AT_ONCE_MAX) => self.give(told).await,
                () = skerry_agent::stopped(stop.clone()) => break,
            }
        }
        // What happened until now waits for the next start.
        loop {
            let told = reader.ready(EVENTS_AT_ONCE_MAX);
            if told.events.is_empty() {
                return;
            }
            self.give(told).await;
        }
    }

    async fn give(&self, told: Reading) {
        if told.missed > 0 {
            let missed = told.missed;
            tracing::error!(missed, "events were lost to webhooks: they came faster than {EVENTS_KEPT_MAX} could be kept");
        }
        let hooks: Vec<_> = self.hooks.read().values().map(|running| Arc::clone(&running.hook)).collect();
        let wanted: Vec<_> =
            hooks.iter().map(|hook| told.events.iter().filter_map(|event| hook.wants(event)).collect::<Vec<_>>()).collect();
        let then: Vec<Change> = hooks.iter().zip(&wanted).flat_map(|(hook, wanted)| hook.keeps(wanted)).collect();
        if then.is_empty() {
            return;
        }
        // Purges come by the thousand, and each of them brings its own commit to disk, which takes these along.
        let may_be_lost = told.events.iter().all(|told| matches!(told.event, Event::Purge { .. }));
        let transaction = Transaction { when: Vec::new(), then, may_be_lost };
        if let Err(why) = store::blocking(&self.shared.store, move |store| store.transact(&transaction)).await {
            tracing::error!(why, "what waits for webhooks is not in the store");
        }
        // Only now, so that what becomes of a message comes into the store after the message.
        for (hook, wanted) in hooks.iter().zip(wanted) {
            hook.takes(wanted).await;
        }
    }

    /// Makes a webhook, or another one of it, which is enabled again; whether there was none.
    pub(crate) async fn put(&self, wish: Wish) -> Result<(Shown, bool), Refusal> {
        let fault = |path: &str, says: String| Refusal::fault("no such webhook can be made", path, says);
        let receiver = Receiver::of(&wish.url).map_err(|says| fault("url", says))?;
        self.shared.client.judge(&receiver).map_err(|says| fault("url", says))?;
        if let Some(kinds) = &wish.kinds {
            Event::check_kinds(kinds).map_err(|says| fault("kinds", says))?;
        }
        if let Some(secret) = &wish.secret {
            sign::key(secret).map_err(|says| fault("secret", says.to_owned()))?;
        }
        let _writing = self.shared.writing.lock().await;
        let before = self.hooks.read().get(&wish.name).map(|running| running.hook.record());
        let kept = before.as_ref().map(|record| record.secret.clone());
        let secret = wish.secret.map(Secret::new).or(kept);
        let secret = secret.ok_or_else(|| {
            fault("secret", "a new webhook needs a secret to sign with; write whsec_ and 24 to 64 random bytes in base64".to_owned())
        })?;
        if before.is_none() && self.hooks.read().len() >= HOOKS_MAX {
            return Err(Refusal::Conflict(format!("there are {HOOKS_MAX} webhooks already; delete one first")));
        }
        let record = Record { name: wish.name, url: wish.url, kinds: wish.kinds, secret, disabled: None };
        let change = hook::put(&record).ok_or_else(|| Refusal::Broken("cannot write JSON".to_owned()))?;
        let created = before.is_none();
        let mut then = vec![change];
        if created {
            // What came for one of that name while it was deleted.
            then.extend(self.forget_waiting(&record.name).await?);
        }
        self.transact(then).await?;
        let hook = if created {
            let running = Running::start(Hook::new(&self.shared, record.clone()));
            let hook = Arc::clone(&running.hook);
            self.hooks.write().insert(record.name.clone(), running);
            hook
        } else {
            let hook = self.hook(&record.name)?;
            hook.replace(record);
            hook
        };
        Ok((Shown::of(&hook), created))
    }

    /// One webhook.
    pub(crate) fn get(&self, name: &str) -> Result<Shown, Refusal> {
        Ok(Shown::of(&*self.hook(name)?))
    }

    /// All webhooks, by name.
    pub(crate) fn list(&self) -> Vec<Shown> {
        self.hooks.read().values().map(|running| Shown::of(&running.hook)).collect()
    }

    /// Deletes a webhook with what waits for it.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let _writing = self.shared.writing.lock().await;
        self.hook(name)?;
        let gone = self.hooks.write().remove(name);
        drop(gone);
        let mut then = vec![Change::Delete(format!("{PREFIX}{name}"))];
        then.extend(self.forget_waiting(name).await?);
        self.transact(then).await?;
        for outcome in ["delivered", "failed", "dropped"] {
            let _ = self.shared.figures.webhooks.remove_label_values(&[name, outcome]);
        }
        let _ = self.shared.figures.webhooks_waiting.remove_label_values(&[name]);
        Ok(())
    }

    /// Takes what waits for a webhook out of the store.
    async fn forget_waiting(&self, name: &str) -> Result<Vec<Change>, Refusal> {
        let prefix = hook::queue_prefix(name);
        let waiting = store::blocking(&self.shared.store, move |store| store.list(&prefix)).await.map_err(Refusal::Broken)?;
        Ok(waiting.into_iter().map(|(key, _)| Change::Delete(key)).collect())
    }

    async fn transact(&self, then: Vec<Change>) -> Result<(), Refusal> {
        let transaction = Transaction { then, ..Transaction::default() };
        store::blocking(&self.shared.store, move |store| store.transact(&transaction)).await.map(drop).map_err(Refusal::Broken)
    }

    fn hook(&self, name: &str) -> Result<Arc<Hook>, Refusal> {
        let found = self.hooks.read().get(name).map(|running| Arc::clone(&running.hook));
        found.ok_or_else(|| Refusal::Missing(format!("there is no webhook {name:?}")))
    }
}

impl Shown {
    fn of(hook: &Hook) -> Self {
        let (record, waiting, counts) = hook.look();
        Self {
            name: record.name,
            url: record.url,
            kinds: record.kinds,
            secret: record.secret.mark().reveal().to_owned(),
            disabled: record.disabled,
            waiting,
            delivered: counts.delivered,
            failed: counts.failed,
            dropped: counts.dropped,
            delivered_at: counts.delivered_at,
            last_error: counts.last_error,
        }
    }
}

#[cfg(test)]
mod tests;
