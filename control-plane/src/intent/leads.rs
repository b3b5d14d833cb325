//! The shields that lead sites, where the choice is left to us. What is chosen, and when, is [`crate::leads`]'s. It is in force on all nodes at once.

use std::collections::BTreeMap;

use skerry_config::site::Site;

use super::Intent;
use super::draft::Draft;
use crate::refusal::Refusal;

pub(super) const PREFIX: &str = "lead/";

impl Intent {
    /// Has other shields lead sites, and forgets the leaders of those that are gone or not `ours` to choose for.
    pub(crate) async fn lead(&self, changes: BTreeMap<String, String>, ours: fn(&Site) -> bool) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut draft = Draft::new(&self.state());
        let sites = draft.next.sites.clone();
        let is_ours = |name: &String| sites.get(name).and_then(|version| version.site.as_deref()).is_some_and(ours);
        let gone: Vec<String> = draft.next.leads.keys().filter(|name| !is_ours(name)).cloned().collect();
        for site in gone {
            draft.next.leads.remove_mut(&site);
            draft.delete(format!("{PREFIX}{site}"));
        }
        for (site, shield) in changes.into_iter().filter(|(site, _)| is_ours(site)) {
            draft.put(format!("{PREFIX}{site}"), &shield)?;
            draft.next.leads.insert_mut(site, shield);
        }
        if draft.transaction.then.is_empty() {
            return Ok(());
        }
        draft.place_shields();
        self.commit(draft).await.map(drop)
    }
}
