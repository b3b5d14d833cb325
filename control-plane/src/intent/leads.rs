//! The shields that lead sites, where the choice is left to us. What is chosen, and when, is [`crate::leads`]'s.

use std::collections::BTreeMap;

use skerry_config::site::{Lead, Site};
use skerry_config::snapshot::Shield;

use super::{Intent, State, json};
use crate::refusal::Refusal;
use crate::store::{Change, Transaction};

pub(super) const PREFIX: &str = "lead/";

impl Intent {
    /// Has other shields lead sites, and forgets the leaders of those that are gone or not `ours` to choose for.
    pub(crate) async fn lead(&self, changes: BTreeMap<String, String>, ours: fn(&Site) -> bool) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut next = State::clone(&self.state());
        let is_ours = |name: &String| next.sites.get(name).and_then(|version| version.site.as_deref()).is_some_and(ours);
        let gone: Vec<String> = next.leads.keys().filter(|name| !is_ours(name)).cloned().collect();
        let mut then: Vec<Change> = gone.iter().map(|name| Change::Delete(format!("{PREFIX}{name}"))).collect();
        for (site, shield) in changes.into_iter().filter(|(site, _)| is_ours(site)).collect::<Vec<_>>() {
            then.push(Change::Put(format!("{PREFIX}{site}"), json(&shield)?));
            next.leads.insert(site, shield);
        }
        if then.is_empty() {
            return Ok(());
        }
        for name in &gone {
            next.leads.remove(name);
        }
        self.commit(next, Transaction { then, ..Transaction::default() }).await.map(drop)
    }
}

impl State {
    /// The leaders that there are among `shields`.
    pub(super) fn leads(&self, shields: &[Shield]) -> BTreeMap<String, String> {
        let is_led = |site: &str| {
            let site = self.sites.get(site).and_then(|version| version.site.as_deref());
            site.is_some_and(|site| site.shields.lead == Lead::Auto)
        };
        let there = |shield: &str| shields.iter().any(|other| other.name == shield);
        self.leads
            .iter()
            .filter(|(site, shield)| is_led(site) && there(shield))
            .map(|(site, shield)| (site.clone(), shield.clone()))
            .collect()
    }
}
