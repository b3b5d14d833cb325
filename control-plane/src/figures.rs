//! The figures of the control plane.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Upper bounds of the buckets of accept to applied, in seconds.
const APPLIED_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// The figures.
#[derive(Clone)]
pub(crate) struct Figures {
    /// Nodes connected, by role.
    pub(crate) nodes_connected: IntGaugeVec,
    /// Purges accepted.
    pub(crate) purges: IntCounter,
    /// The number of the newest purge.
    pub(crate) purge_seq: IntGauge,
    /// From accepting a purge to a node's confirmation, by node and purge.
    pub(crate) purge_applied: Histogram,
    /// Requests of the API, by route and status.
    pub(crate) api_requests: IntCounterVec,
    /// Requests with a token that is none, by what came of them.
    pub(crate) logins_failed: IntCounterVec,
    /// Messages of webhooks, by webhook and what became of them.
    pub(crate) webhooks: IntCounterVec,
    /// Messages that wait, by webhook.
    pub(crate) webhooks_waiting: IntGaugeVec,
    /// The number of the configuration.
    pub(crate) snapshot_version: IntGauge,
    /// Snapshots that nodes refused.
    pub(crate) snapshots_refused: IntCounter,
    /// Joins, by outcome.
    pub(crate) joins: IntCounterVec,
    /// Nodes that are away or behind for too long.
    pub(crate) nodes_behind: IntGauge,
    /// For how long they are, by node.
    pub(crate) node_behind: IntGaugeVec,
    /// When certificates end, by whose.
    pub(crate) certificate_end: IntGaugeVec,
    /// Rollouts that ended, by how.
    pub(crate) rollouts: IntCounterVec,
    /// Whether one is under way.
    pub(crate) rollout_running: IntGauge,
    /// Sites that were rolled back.
    pub(crate) sites_rolled_back: IntCounter,
    /// Prefixes that edges measured, by what became of what they said.
    pub(crate) latency_prefixes: IntCounterVec,
}

impl Figures {
    /// Registers all.
    pub(crate) fn new(registry: &Registry) -> Result<Self, String> {
        let figures = Self::make().map_err(|error| error.to_string())?;
        let all: Vec<Box<dyn prometheus::core::Collector>> = vec![
            Box::new(figures.nodes_connected.clone()),
            Box::new(figures.purges.clone()),
            Box::new(figures.purge_seq.clone()),
            Box::new(figures.purge_applied.clone()),
            Box::new(figures.api_requests.clone()),
            Box::new(figures.logins_failed.clone()),
            Box::new(figures.webhooks.clone()),
            Box::new(figures.webhooks_waiting.clone()),
            Box::new(figures.snapshot_version.clone()),
            Box::new(figures.snapshots_refused.clone()),
            Box::new(figures.joins.clone()),
            Box::new(figures.nodes_behind.clone()),
            Box::new(figures.node_behind.clone()),
            Box::new(figures.certificate_end.clone()),
            Box::new(figures.rollouts.clone()),
            Box::new(figures.rollout_running.clone()),
            Box::new(figures.sites_rolled_back.clone()),
            Box::new(figures.latency_prefixes.clone()),
        ];
        for collector in all {
            registry.register(collector).map_err(|error| error.to_string())?;
        }
        // So that they are there, as 0, before the first one.
        for outcome in ["unknown", "limited"] {
            figures.logins_failed.with_label_values(&[outcome]);
        }
        for outcome in ["taken", "malformed", "beyond", "unasked", "dropped"] {
            figures.latency_prefixes.with_label_values(&[outcome]);
        }
        Ok(figures)
    }

    fn make() -> prometheus::Result<Self> {
        let applied = HistogramOpts::new(
            "skerry_control_purge_applied_seconds",
            "Time from accepting a purge to the confirmation of a connected node that it is in force.",
        );
        Ok(Self {
            nodes_connected: IntGaugeVec::new(Opts::new("skerry_control_nodes_connected", "Nodes connected."), &["role"])?,
            purges: IntCounter::new("skerry_control_purges_total", "Purges accepted.")?,
            purge_seq: IntGauge::new("skerry_control_purge_seq", "Number of the newest purge.")?,
            purge_applied: Histogram::with_opts(applied.buckets(APPLIED_BUCKETS.to_vec()))?,
            api_requests: IntCounterVec::new(Opts::new("skerry_control_api_requests_total", "Requests of the API."), &["route", "status"])?,
            logins_failed: IntCounterVec::new(
                Opts::new("skerry_control_logins_failed_total", "Requests of the API with a token that is not known."),
                &["outcome"],
            )?,
            webhooks: IntCounterVec::new(
                Opts::new("skerry_control_webhooks_total", "Messages of webhooks: delivered, tries that failed, dropped."),
                &["webhook", "outcome"],
            )?,
            webhooks_waiting: IntGaugeVec::new(
                Opts::new("skerry_control_webhooks_waiting", "Messages that wait for a webhook."),
                &["webhook"],
            )?,
            snapshot_version: IntGauge::new("skerry_control_snapshot_version", "Number of the configuration.")?,
            snapshots_refused: IntCounter::new("skerry_control_snapshots_refused_total", "Snapshots that a node refused.")?,
            joins: IntCounterVec::new(Opts::new("skerry_control_joins_total", "Joins asked for."), &["outcome"])?,
            nodes_behind: IntGauge::new("skerry_control_nodes_behind", "Nodes that are away or behind for longer than alarm.behind.")?,
            node_behind: IntGaugeVec::new(
                Opts::new(
                    "skerry_control_node_behind_seconds",
                    "For how long a node is away or behind, of those that are so for longer than alarm.behind.",
                ),
                &["node"],
            )?,
            certificate_end: IntGaugeVec::new(
                Opts::new(
                    "skerry_control_certificate_end_timestamp_seconds",
                    "When a certificate ends, in seconds since 1970: the authority's (ca), the control plane's (control), the first of the nodes' (nodes).",
                ),
                &["certificate"],
            )?,
            rollouts: IntCounterVec::new(Opts::new("skerry_control_rollouts_total", "Rollouts that ended, by how."), &["state"])?,
            rollout_running: IntGauge::new("skerry_control_rollout_running", "Whether a rollout is under way.")?,
            sites_rolled_back: IntCounter::new("skerry_control_sites_rolled_back_total", "Sites that a rollout took back by itself.")?,
            latency_prefixes: IntCounterVec::new(
                Opts::new(
                    "skerry_control_latency_prefixes_total",
                    "Prefixes in reports of how far clients are, by what became of them: taken, malformed, beyond what a report may have, unasked (too early, or not of an edge), dropped because nobody took them in time.",
                ),
                &["outcome"],
            )?,
        })
    }
}
