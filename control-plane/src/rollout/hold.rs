//! The figures of a stage while it is held: what the changed sites do on the nodes with the change, on those without, and did before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::{Role, SiteFigures};
use skerry_config::process;

use super::Rollout;
use super::gate::{self, Compared};
use crate::intent::State;
use crate::plane::Plane;

/// What a node had counted for a site.
type Counted = HashMap<(String, String), SiteFigures>;

/// See the module.
pub(super) struct Hold {
    plane: Arc<Plane>,
    /// The sites that are compared, by name.
    sites: Vec<String>,
    /// Before the first stage.
    before: Counted,
    /// When the nodes of the present stage all had the change, and what had been counted then.
    since: Option<(Instant, Counted)>,
}

impl Hold {
    /// Has the nodes report what they do for the sites of a rollout.
    pub(super) fn new(plane: &Arc<Plane>, rollout: &Rollout) -> Self {
        let compares = !plane.rollouts.settings.hold.0.is_zero();
        let judged = rollout.sites.iter().filter(|change| compares && change.is_judged());
        let sites: Vec<String> = judged.map(|change| change.name.clone()).collect();
        plane.health.watch(sites.iter().cloned().collect());
        Self { plane: Arc::clone(plane), sites, before: Counted::new(), since: None }
    }

    /// Whether anything is compared.
    pub(super) fn counts(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Whether every connected node has said something of the sites that it ever served.
    pub(super) fn has_figures(&self, state: &State) -> bool {
        let health = &self.plane.health;
        let connected = state.nodes.keys().filter(|name| health.live(name).connected);
        connected.into_iter().all(|name| self.sites.iter().any(|site| health.figures(name, site).is_some()))
    }

    /// Notes what was counted before any node has the change.
    pub(super) fn note_before(&mut self, state: &State) {
        self.before = self.counted(state);
    }

    /// A stage begins.
    pub(super) fn begin_stage(&mut self) {
        self.since = None;
    }

    /// All nodes of the stage have the change, from the first time on that this is called.
    pub(super) fn begin(&mut self, state: &State) {
        if self.since.is_none() {
            self.since = Some((Instant::now(), self.counted(state)));
        }
    }

    /// For how long they have had it.
    pub(super) fn lasted(&self) -> Duration {
        self.since.as_ref().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    /// What is wrong with which sites.
    pub(super) fn faults(&self, state: &State, rollout: &Rollout, bounds: &process::Rollout) -> BTreeMap<String, String> {
        let judged = rollout.sites.iter().filter(|change| change.is_judged());
        judged.filter_map(|change| Some((change.name.clone(), self.fault(state, &change.name, bounds)?))).collect()
    }

    fn fault(&self, state: &State, site: &str, bounds: &process::Rollout) -> Option<String> {
        [Role::Edge, Role::Shield].into_iter().find_map(|role| {
            let (compared, nodes) = self.compared(state, site, role)?;
            let says = gate::fault(&compared, bounds)?;
            Some(super::cut(&format!("{says} (on {})", nodes.join(", "))))
        })
    }

    /// The figures of a site on the nodes of a role, and the names of those that have the change; `None` when none has.
    fn compared(&self, state: &State, site: &str, role: Role) -> Option<(Compared, Vec<String>)> {
        let (_, begun) = self.since.as_ref()?;
        let (_, reach) = state.tracks.rolling.as_ref()?;
        let (mut compared, mut names) = (Compared::default(), Vec::new());
        for node in state.nodes.values().filter(|node| node.role() == Some(role)) {
            let Some(now) = self.plane.health.figures(&node.name, site) else { continue };
            let key = (node.name.clone(), site.to_owned());
            let counted = gate::since(&now, begun.get(&key));
            if reach.has(&node.name) {
                compared.with.add(&counted);
                if let Some(before) = self.before.get(&key) {
                    compared.before.add(before);
                }
                names.push(node.name.clone());
            } else {
                compared.without.add(&counted);
            }
        }
        (!names.is_empty()).then_some((compared, names))
    }

    fn counted(&self, state: &State) -> Counted {
        let health = &self.plane.health;
        let all = state.nodes.keys().flat_map(|node| self.sites.iter().map(move |site| (node.clone(), site.clone())));
        all.filter_map(|key| health.figures(&key.0, &key.1).map(|figures| (key, figures))).collect()
    }
}
