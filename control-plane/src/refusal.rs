//! Why a request is not done: one type for every module below the API, so that only the API knows statuses.

use std::time::Duration;

use skerry_config::check::{Fault, Faults};

/// A refusal.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request makes no sense as it is.
    Malformed(String),
    /// What was sent has faults.
    Faulty(String, Faults),
    /// The token that the request came with is not for that.
    Denied(String),
    /// There is no such thing.
    Missing(String),
    /// It contradicts what is there.
    Conflict(String),
    /// The version that the request is about is not the present one.
    Stale(String),
    /// A bound is reached, or who could do it is away; later it may work.
    Busy(String),
    /// Who asks has had as much as it may for now.
    Limited {
        /// The sentence.
        says: String,
        /// When it may have this.
        again_in: Duration,
    },
    /// The store or the machine failed.
    Broken(String),
}

impl Refusal {
    /// One fault at a path.
    pub(crate) fn fault(title: &str, path: impl Into<String>, says: impl Into<String>) -> Self {
        let fault = Fault { file: None, at: None, path: path.into(), says: says.into() };
        Self::Faulty(title.to_owned(), Faults(vec![fault]))
    }

    /// A node that was removed asks to join with the token it had.
    pub(crate) fn with_its_token(node: &str) -> Self {
        Self::Conflict(format!("node {node:?} was removed, and its join token with it; make another one with \"skerry node token create\""))
    }

    /// The sentence.
    pub(crate) fn says(&self) -> &str {
        match self {
            Self::Malformed(says)
            | Self::Faulty(says, _)
            | Self::Denied(says)
            | Self::Missing(says)
            | Self::Conflict(says)
            | Self::Stale(says)
            | Self::Busy(says)
            | Self::Limited { says, .. }
            | Self::Broken(says) => says,
        }
    }
}
