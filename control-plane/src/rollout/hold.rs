//! The figures of a stage while it is held: what the changed sites do on the nodes with the change, on those without, and did before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::{Role, SiteFigures};
use skerry_config::process;

use super::Rollout;
use super::gate::{self, Compared};
use crate::intent::State;
use crate::plane::Plane;

/// Time between two comparisons; nodes report as often.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// What nodes had counted, by node and site.
type Counted = HashMap<String, HashMap<String, SiteFigures>>;

/// See the module.
pub(super) struct Hold {
    plane: Arc<Plane>,
    /// The sites that are compared, by name.
    sites: Vec<String>,
    /// Before the first stage.
    before: Counted,
    /// When the nodes of the present stage all had the change, and what had been counted then.
    since: Option<(Instant, Counted)>,
    /// When figures were last compared.
    compared: Option<Instant>,
}

impl Hold {
    /// Has the nodes report what they do for the sites of a rollout.
    pub(super) fn new(plane: &Arc<Plane>, rollout: &Rollout) -> Self {
        let compares = !plane.rollouts.settings.hold.0.is_zero();
        let judged = rollout.sites.iter().filter(|change| compares && change.is_judged());
        let sites: Vec<String> = judged.map(|change| change.name.clone()).collect();
        plane.health.watch(sites.iter().cloned().collect());
        Self { plane: Arc::clone(plane), sites, before: Counted::new(), since: None, compared: None }
    }

    /// Whether anything is compared.
    pub(super) fn counts(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Whether every connected node has said something of the sites that it ever served.
    pub(super) fn has_figures(&self) -> bool {
        let mut has = true;
        self.plane.health.each_connected(|_, _, _, sites| has &= !sites.is_empty());
        has
    }

    /// Notes what was counted before any node has the change.
    pub(super) fn note_before(&mut self) {
        self.before = self.counted();
    }

    /// A stage begins.
    pub(super) fn begin_stage(&mut self) {
        (self.since, self.compared) = (None, None);
    }

    /// All nodes of the stage have the change, from the first time on that this is called.
    pub(super) fn begin(&mut self) {
        if self.since.is_none() {
            self.since = Some((Instant::now(), self.counted()));
        }
    }

    /// For how long they have had it.
    pub(super) fn lasted(&self) -> Duration {
        self.since.as_ref().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    /// What is wrong with which sites; nothing when that was looked at a moment ago, and is not looked at for the last time.
    pub(super) fn faults(
        &mut self,
        state: &State,
        rollout: &Rollout,
        bounds: &process::Rollout,
        is_last: bool,
    ) -> BTreeMap<String, String> {
        let (Some((_, begun)), Some((rolling, _))) = (&self.since, &state.tracks.rolling) else { return BTreeMap::new() };
        if self.compared.is_some_and(|last| last.elapsed() < COMPARE_EVERY) && !is_last {
            return BTreeMap::new();
        }
        let judged: BTreeSet<&str> = rollout.sites.iter().filter(|change| change.is_judged()).map(|change| change.name.as_str()).collect();
        let mut kinds = [Role::Edge, Role::Shield].map(|role| (role, Kind::default()));
        self.plane.health.each_connected(|node, role, snapshot, sites| {
            let Some((_, kind)) = kinds.iter_mut().find(|(of, _)| *of == role) else { return };
            let has = snapshot >= Some(rolling.version);
            if has {
                kind.names.push(node.to_owned());
            }
            let (begun, before) = (begun.get(node), self.before.get(node));
            for site in sites.keys().filter_map(|site| judged.get(site.as_str())) {
                let Some(now) = sites.get(*site) else { continue };
                let counted = gate::since(now, begun.and_then(|begun| begun.get(*site)));
                let compared = kind.sites.entry(site).or_default();
                if has {
                    compared.with.add(&counted);
                    before.and_then(|before| before.get(*site)).into_iter().for_each(|before| compared.before.add(before));
                } else {
                    compared.without.add(&counted);
                }
            }
        });
        self.compared = Some(Instant::now());
        let fault = |site: &str| {
            kinds.iter().find_map(|(_, kind)| {
                let says = gate::fault(kind.sites.get(site)?, bounds)?;
                Some(super::cut(&format!("{says} (on {})", kind.names.join(", "))))
            })
        };
        judged.into_iter().filter_map(|site| Some((site.to_owned(), fault(site)?))).collect()
    }

    fn counted(&self) -> Counted {
        let mut counted = Counted::new();
        self.plane.health.each_connected(|node, _, _, sites| {
            counted.insert(node.to_owned(), sites.clone());
        });
        counted
    }
}

/// What nodes of one role have counted.
#[derive(Default)]
struct Kind<'a> {
    /// Those that have the change.
    names: Vec<String>,
    sites: HashMap<&'a str, Compared>,
}
