//! The steps of the rollout under way: what is done next, from what the store, the nodes and their figures say at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::Role;

use super::choose::{self, Candidate};
use super::hold::Hold;
use super::late::Lateness;
use super::{Refused, Rollout, Stage, StageName, Standing, tell, tell_end};
use crate::clock;
use crate::intent::State;
use crate::plane::Plane;
use crate::refusal::Refusal;

/// Time after the start in which nodes that are known and have not connected yet are waited for.
const START_GRACE: Duration = Duration::from_secs(10);

/// Time after the start in which the first stage waits for all nodes to be back, of which it is to be chosen.
const RETURN_GRACE: Duration = Duration::from_secs(2);

/// Time that the nodes of a stage have to put the configuration in force.
const ADOPT_MAX: Duration = Duration::from_secs(60);

/// Time that a node of the first stage may be away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// First stages of one rollout; when the nodes of the last one are lost too, it is their common cause.
const FIRST_STAGES_MAX: usize = 3;

/// Time that figures of before the first stage are waited for.
const FIGURES_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Keeper {
    plane: Arc<Plane>,
    start: Instant,
    /// Whether the last step could be done.
    is_well: bool,
    under_way: Option<UnderWay>,
}

/// What is only in memory of the rollout under way.
struct UnderWay {
    id: u64,
    /// How many stages it had when the times below began.
    stages: usize,
    stage_since: Instant,
    lateness: Lateness,
    /// Nodes that were seen to have what rolls out, by name.
    had: BTreeSet<String>,
    /// Since when a node of the first stage is away.
    away_since: Option<Instant>,
    hold: Hold,
}

/// How a stage stands.
enum Reached {
    /// All its nodes have it in force.
    All,
    /// These are waited for.
    Waiting(Vec<String>),
    /// Of the first stage these are not connected.
    Away(Vec<String>),
    /// Of the first stage these were drained or removed, and there are others.
    Gone(Vec<String>),
}

impl Keeper {
    pub(super) fn new(plane: Arc<Plane>) -> Self {
        Self { plane, start: Instant::now(), is_well: true, under_way: None }
    }

    /// Whether the last step could be done, or was not to be; else the next one waits a little.
    pub(super) fn is_well(&self) -> bool {
        self.is_well
    }

    /// Does what is to be done next; whether there was anything.
    pub(super) async fn step(&mut self) -> Result<bool, Refusal> {
        let refusals = self.plane.rollouts.refusals();
        let done = self.next(&refusals).await;
        self.is_well = done.is_ok();
        if !self.is_well {
            self.plane.rollouts.put_back(refusals);
        }
        done
    }

    async fn next(&mut self, refusals: &[Refused]) -> Result<bool, Refusal> {
        let plane = Arc::clone(&self.plane);
        plane.intent.ripen().await?;
        let state = plane.intent.state();
        let Some(rollout) = state.rollout().cloned() else {
            if self.under_way.take().is_some() {
                plane.health.watch(BTreeSet::new());
            }
            plane.figures.rollout_running.set(0);
            let begun = plane.intent.begin_rollout().await?;
            if let Some(rollout) = &begun {
                tracing::info!(rollout = rollout.id, snapshot = rollout.snapshot, sites = rollout.sites.len(), "rollout begins");
                tell(&plane, rollout, "began", None, None);
            }
            return Ok(begun.is_some());
        };
        plane.figures.rollout_running.set(1);
        self.follow(&rollout);
        if let Some(reasons) = refused(&state, &rollout, refusals) {
            return self.roll_back(&rollout, reasons).await;
        }
        match rollout.stages.last() {
            None => self.first_stage(&state, &rollout).await,
            Some(stage) => self.look(&state, &rollout, stage).await,
        }
    }

    /// Notes what is only in memory of a rollout that is new here, or of its next stage.
    fn follow(&mut self, rollout: &Rollout) {
        let stages = rollout.stages.len();
        match &mut self.under_way {
            Some(known) if known.id == rollout.id && known.stages == stages => {}
            Some(known) if known.id == rollout.id => {
                (known.stages, known.stage_since, known.away_since) = (stages, Instant::now(), None);
                known.lateness = Lateness::default();
                known.hold.begin_stage();
            }
            _ => {
                let hold = Hold::new(&self.plane, rollout);
                self.under_way = Some(UnderWay {
                    id: rollout.id,
                    stages,
                    stage_since: Instant::now(),
                    lateness: Lateness::default(),
                    had: BTreeSet::new(),
                    away_since: None,
                    hold,
                });
            }
        }
    }

    /// Begins the first stage, once it is known where the traffic is and who is there.
    async fn first_stage(&mut self, state: &State, rollout: &Rollout) -> Result<bool, Refusal> {
        let nodes = self.candidates(state, rollout);
        let (nobody, everybody) = (!nodes.iter().any(|node| node.serves), self.has_seen_all(state));
        if !everybody && (self.start.elapsed() < RETURN_GRACE || (nobody && self.is_early())) {
            return Ok(false);
        }
        let Some(known) = &mut self.under_way else { return Ok(false) };
        if known.hold.counts() && known.stage_since.elapsed() < FIGURES_MAX && !known.hold.has_figures() {
            return Ok(false);
        }
        known.hold.note_before();
        self.begin(rollout, choose::next(None, &BTreeSet::new(), &nodes)).await
    }

    /// Begins a stage, or ends the rollout when there is none to come.
    async fn begin(&self, rollout: &Rollout, stage: Option<(StageName, BTreeSet<String>)>) -> Result<bool, Refusal> {
        let plane = &self.plane;
        let Some((name, nodes)) = stage else {
            plane.intent.finish_rollout(rollout.id).await?;
            tell_end(plane, rollout.id);
            return Ok(true);
        };
        let nodes = if name == StageName::All { Vec::new() } else { nodes.into_iter().collect() };
        tracing::info!(rollout = rollout.id, stage = name.word(), ?nodes, "stage of a rollout begins");
        let stage = Stage { name, nodes, began: clock::now(), adopted: None, ended: None, hurried: false };
        plane.intent.begin_stage(rollout.id, stage).await?;
        tell(plane, &*plane.intent.rollout(rollout.id)?, "stage", None, None);
        Ok(true)
    }

    /// Looks at the present stage.
    async fn look(&mut self, state: &State, rollout: &Rollout, stage: &Stage) -> Result<bool, Refusal> {
        let plane = Arc::clone(&self.plane);
        let Some((rolling, reach)) = &state.tracks.rolling else { return self.hold(state, rollout, stage).await };
        let reached = self.reached(state, rollout, stage);
        let Some(known) = &mut self.under_way else { return Ok(false) };
        let has = |name: &&String| plane.health.live(name).snapshot >= Some(rolling.version);
        known.had.extend(state.tiers().map(|node| &node.name).filter(|name| reach.has(name)).filter(has).cloned());
        if !matches!(reached, Reached::Away(_)) {
            known.away_since = None;
        }
        let is_late = match reached {
            Reached::All => known.lateness.end(),
            _ => known.lateness.of(rolling.version, Instant::now()) >= ADOPT_MAX,
        };
        match reached {
            Reached::Away(nodes) if !nodes.iter().any(|name| known.had.contains(name)) => {
                // They never had the configuration in force, as far as is known: others go first, or they when they are back.
                if self.candidates(state, rollout).iter().any(|node| node.serves) {
                    return self.replace_first(state, rollout, &nodes, "away").await;
                }
                if !is_late {
                    return Ok(false);
                }
                let why = format!("{} went away and did not put it in force within {} s", nodes.join(" and "), ADOPT_MAX.as_secs());
                self.roll_back(rollout, all(rollout, &super::cut(&why))).await
            }
            Reached::Away(nodes) => {
                let since = *known.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < AWAY_MAX {
                    return Ok(false);
                }
                let why = format!("{} had it in force and has been away for {} s", nodes.join(" and "), AWAY_MAX.as_secs());
                self.roll_back(rollout, all(rollout, &why)).await
            }
            Reached::Gone(nodes) => self.replace_first(state, rollout, &nodes, "drained or removed").await,
            Reached::Waiting(nodes) if is_late => {
                let why = super::cut(&format!("{} did not put it in force within {} s", nodes.join(", "), ADOPT_MAX.as_secs()));
                if stage.name != StageName::All {
                    return self.roll_back(rollout, all(rollout, &why)).await;
                }
                // All others have it, and are looked at. Who is late gets it when it can.
                if rollout.reason.is_none() {
                    tracing::warn!(rollout = rollout.id, why, "rollout goes on without nodes that are late");
                    plane.intent.note_rollout(rollout.id, |rollout| rollout.reason = Some(why)).await?;
                    return Ok(true);
                }
                self.hold(state, rollout, stage).await
            }
            Reached::Waiting(_) => Ok(false),
            Reached::All => self.hold(state, rollout, stage).await,
        }
    }

    /// Begins the first stage anew with other nodes, or takes the rollout back when that happened too often for a chance.
    async fn replace_first(&self, state: &State, rollout: &Rollout, nodes: &[String], how: &str) -> Result<bool, Refusal> {
        let nodes = nodes.join(" and ");
        let stages = rollout.stages.len();
        if stages >= FIRST_STAGES_MAX {
            let why = format!("{stages} times a node of the first stage was lost before the stage was over; the last was {nodes}, {how}");
            return self.roll_back(rollout, all(rollout, &super::cut(&why))).await;
        }
        tracing::info!(rollout = rollout.id, nodes, how, "nodes of the first stage are replaced");
        self.begin(rollout, choose::next(None, &BTreeSet::new(), &self.candidates(state, rollout))).await
    }

    /// Holds a stage whose nodes all have the configuration in force.
    async fn hold(&mut self, state: &State, rollout: &Rollout, stage: &Stage) -> Result<bool, Refusal> {
        let plane = Arc::clone(&self.plane);
        let settings = &plane.rollouts.settings;
        let Some(known) = &mut self.under_way else { return Ok(false) };
        known.hold.begin();
        let is_judged = rollout.sites.iter().any(super::SiteChange::is_judged);
        let is_over = stage.hurried || !is_judged || settings.hold.0.is_zero();
        let is_last = known.hold.lasted() >= settings.hold.0;
        if !is_over {
            let faults = known.hold.faults(state, rollout, settings, is_last);
            if !faults.is_empty() {
                return self.roll_back(rollout, faults).await;
            }
        }
        if is_over || is_last {
            let reached = stage.nodes.iter().cloned().collect();
            return self.begin(rollout, choose::next(Some(stage.name), &reached, &self.candidates(state, rollout))).await;
        }
        if stage.adopted.is_none() {
            let note = |rollout: &mut Rollout| {
                if let Some(stage) = rollout.stages.last_mut() {
                    stage.adopted = Some(clock::now());
                }
            };
            plane.intent.note_rollout(rollout.id, note).await?;
            tell(&plane, rollout, "adopted", None, None);
        }
        Ok(false)
    }

    async fn roll_back(&self, rollout: &Rollout, reasons: BTreeMap<String, String>) -> Result<bool, Refusal> {
        let plane = &self.plane;
        for (site, why) in &reasons {
            tracing::warn!(rollout = rollout.id, site, why, "a site is rolled back");
            plane.figures.sites_rolled_back.inc();
        }
        let told = reasons.clone();
        plane.intent.withdraw(rollout.id, reasons, Standing::RolledBack).await?;
        let now = plane.intent.rollout(rollout.id)?;
        if now.is_under_way() {
            for (site, why) in told {
                tell(plane, &now, "rolled_back", Some(site), Some(why));
            }
        } else {
            tell_end(plane, rollout.id);
        }
        Ok(true)
    }

    /// Whether nodes may still be on their way back to a control plane that has just started.
    fn is_early(&self) -> bool {
        self.start.elapsed() < START_GRACE
    }

    /// Whether every edge and shield has been connected since the start.
    fn has_seen_all(&self, state: &State) -> bool {
        state.tiers().all(|node| self.plane.health.live(&node.name).last_seen.is_some())
    }

    /// Who of a stage has the configuration in force.
    fn reached(&self, state: &State, rollout: &Rollout, stage: &Stage) -> Reached {
        let Some((rolling, reach)) = &state.tracks.rolling else { return Reached::All };
        let (mut waiting, mut away) = (Vec::new(), Vec::new());
        for name in state.tiers().map(|node| &node.name).filter(|name| reach.has(name)) {
            let live = self.plane.health.live(name);
            let is_unknown = live.last_seen.is_none() && self.is_early();
            if is_unknown || (live.connected && live.snapshot.is_none_or(|has| has < rolling.version)) {
                waiting.push(name.clone());
            } else if !live.connected {
                away.push(name.clone());
            }
        }
        if stage.name == StageName::Node {
            let gone = self.gone(state, rollout, stage);
            if !gone.is_empty() {
                return Reached::Gone(gone);
            }
            if !away.is_empty() {
                return Reached::Away(away);
            }
        }
        if waiting.is_empty() { Reached::All } else { Reached::Waiting(waiting) }
    }

    /// The nodes of the first stage that were drained or removed, when there are others of a kind that the stage is left without.
    fn gone(&self, state: &State, rollout: &Rollout, stage: &Stage) -> Vec<String> {
        let of_stage = |name: &String| state.nodes.get(name).filter(|node| !node.drained);
        let gone: Vec<String> = stage.nodes.iter().filter(|name| of_stage(name).is_none()).cloned().collect();
        if gone.is_empty() {
            return gone;
        }
        let left: Vec<Role> = stage.nodes.iter().filter_map(|name| of_stage(name)?.role()).collect();
        let others = self.candidates(state, rollout);
        if others.iter().any(|node| node.serves && !left.contains(&node.role)) { gone } else { Vec::new() }
    }

    /// The nodes, as far as they count for a choice.
    fn candidates(&self, state: &State, rollout: &Rollout) -> Vec<Candidate> {
        let health = &self.plane.health;
        let candidate = |name: &String, role: Role, region: &String, drained: bool| {
            let sites = rollout.open().filter_map(|change| health.figures(name, &change.name));
            let requests = sites.map(|figures| figures.requests()).sum();
            Candidate { name: name.clone(), role, region: region.clone(), serves: !drained && health.live(name).connected, requests }
        };
        state.tiers().filter_map(|node| Some(candidate(&node.name, node.role()?, &node.region, node.drained))).collect()
    }
}

/// Why which sites are to be rolled back because a node refused what is rolling out.
fn refused(state: &State, rollout: &Rollout, refusals: &[Refused]) -> Option<BTreeMap<String, String>> {
    let (rolling, _) = state.tracks.rolling.as_ref()?;
    let refused = refusals.iter().find(|refused| refused.snapshot == rolling.version)?;
    let why = super::cut(&format!("{} refused the configuration: {}", refused.node, refused.reason));
    let at_fault: BTreeMap<String, String> =
        rollout.open().filter(|change| refused.sites.contains(&change.name)).map(|change| (change.name.clone(), why.clone())).collect();
    Some(if at_fault.is_empty() { all(rollout, &why) } else { at_fault })
}

/// One reason for all sites of a rollout.
fn all(rollout: &Rollout, why: &str) -> BTreeMap<String, String> {
    rollout.open().map(|change| (change.name.clone(), why.to_owned())).collect()
}
