//! Which shields a site's requests go through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which shields stand between the edges and a site's origin, and what becomes of requests when none of them answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shields {
    /// The shields that are asked, by name; all of them where neither `names` nor `regions` is given. At most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub names: Vec<String>,
    /// The regions whose shields are asked, in place of `names`. At most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub regions: Vec<String>,
    /// Which of them is asked first: `key` has each host and path led by a shield of its own, so that they share the work; `auto` has the shield with the lowest measured time to the origin lead them all. The others follow, in an order that each host and path has for itself.
    pub lead: Lead,
    /// What an edge does when none of these shields answers: `origin` has it ask the origin itself; `fail` has it answer 503 with `no-shield`, or with what is stored where `stale_if_error` allows that.
    pub fallback: Fallback,
}

/// Which shield is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lead {
    /// Another one for each host and path.
    #[default]
    Key,
    /// The one with the lowest measured time to the origin.
    Auto,
}

/// What an edge does when no shield answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// It asks the origin itself.
    #[default]
    Origin,
    /// It gives no answer but a stored one.
    Fail,
}

impl Shields {
    /// Whether a shield of this name and region is one of them.
    #[must_use]
    pub fn are(&self, name: &str, region: &str) -> bool {
        if self.names.is_empty() && self.regions.is_empty() {
            return true;
        }
        self.names.iter().any(|own| own == name) || self.regions.iter().any(|own| own == region)
    }

    /// Whether an edge may ask the origin itself.
    #[must_use]
    pub fn may_pass_by(&self) -> bool {
        self.fallback == Fallback::Origin
    }
}
