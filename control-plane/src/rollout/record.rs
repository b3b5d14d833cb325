//! What is known of a rollout: what it changes, how far it is, what came of it. It lies in the store, so that a control plane that was killed goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::intent::Reach;

/// A rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rollout {
    /// Its number, from 1.
    pub(crate) id: u64,
    /// How it stands.
    pub(crate) state: Standing,
    /// The number of the configuration that it brings.
    pub(crate) snapshot: u64,
    /// Whether it went to all nodes at once, without stages.
    pub(crate) now: bool,
    /// The sites that it changes, by name.
    pub(crate) sites: Vec<SiteChange>,
    /// The stages so far.
    pub(crate) stages: Vec<Stage>,
    /// When it began, RFC 3339.
    pub(crate) began: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// Without which nodes it goes on, or why it came to an end before all stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// How a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Under way.
    Running,
    /// On all nodes; sites that were rolled back say so.
    Done,
    /// All of its sites were rolled back.
    RolledBack,
    /// An operator ended it, and its sites were rolled back.
    Aborted,
}

/// What becomes of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SiteChange {
    /// Its name.
    pub(crate) name: String,
    /// The version that all nodes had; none of a new site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    /// The version that it brings.
    pub(crate) to: u64,
    /// Whether that version deletes the site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    /// That it was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rolled_back: Option<RolledBack>,
    /// Present, and true, when another version went to all nodes at once meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) superseded: bool,
}

/// Why a site was rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RolledBack {
    /// The version that has the former content; none where a newer one waited already, or the site stays deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// One sentence, with the figures.
    pub(crate) reason: String,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Stage {
    /// Which nodes it reaches.
    pub(crate) name: StageName,
    /// Their names; empty of the last stage, which reaches all.
    pub(crate) nodes: Vec<String>,
    /// When it began, RFC 3339.
    pub(crate) began: String,
    /// When all of them that are connected had the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adopted: Option<String>,
    /// When it had been held for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// Present, and true, when an operator ended the hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hurried: bool,
}

/// Which nodes a stage reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StageName {
    /// One edge and one shield.
    Node,
    /// All of the region of that edge.
    Region,
    /// All.
    All,
}

impl Rollout {
    /// Whether it is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state == Standing::Running
    }

    /// The nodes that are to have what it brings.
    pub(crate) fn reach(&self) -> Reach {
        let nodes = match self.stages.last() {
            Some(stage) if stage.name == StageName::All => return Reach::All,
            Some(stage) => stage.nodes.iter().cloned().collect(),
            None => BTreeSet::new(),
        };
        Reach::Nodes(Arc::new(nodes))
    }

    /// The present stage is over.
    pub(crate) fn end_stage(&mut self, now: &str) {
        if let Some(stage) = self.stages.last_mut() {
            stage.adopted.get_or_insert_with(|| now.to_owned());
            stage.ended.get_or_insert_with(|| now.to_owned());
        }
    }

    /// The changes that are under way still.
    pub(crate) fn open(&self) -> impl Iterator<Item = &SiteChange> {
        self.sites.iter().filter(|change| change.is_open())
    }
}

impl SiteChange {
    /// Whether it is under way still.
    pub(crate) fn is_open(&self) -> bool {
        self.rolled_back.is_none() && !self.superseded
    }

    /// Whether its figures say something: there was such a site, and there is.
    pub(crate) fn is_judged(&self) -> bool {
        self.is_open() && self.from.is_some() && !self.deleted
    }
}

impl Standing {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }
}

impl StageName {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Region => "region",
            Self::All => "all",
        }
    }
}
