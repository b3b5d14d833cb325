//! What a node says of the configurations it was sent: once of each, and within bounds.

use std::sync::atomic::{AtomicU64, Ordering};

use skerry_agent::wire::Refused;

/// Bytes of the reason of a refusal that are heard.
const REASON_BYTES_MAX: usize = 1_024;

/// Sites at fault that are heard of in one refusal; a rollout finds out about more of them one refusal after another.
const REFUSED_SITES_MAX: usize = 1_000;

/// Bytes of the name of a site.
const SITE_BYTES_MAX: usize = 63;

/// What a node said of the configurations it was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answered {
    /// The one in force on it, as far as that is known to be of our history.
    pub(super) has: Option<u64>,
    /// The last one it has put in force or refused.
    pub(super) last: Option<u64>,
}

/// The configuration that a node was sent and has not answered. Zero, which no configuration is, means none.
#[derive(Debug, Default)]
pub(super) struct Awaited(AtomicU64);

impl Awaited {
    /// The node is sent one.
    pub(super) fn sent(&self, version: u64) {
        self.0.store(version, Ordering::Relaxed);
    }

    /// The node answers. Whether that is news: whatever was not asked, or was answered before, changes nothing.
    pub(super) fn is_answered(&self, version: u64) -> bool {
        version != 0 && self.0.compare_exchange(version, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A refusal as far as it is heard.
pub(super) fn bounded(Refused { version, mut reason, sites }: Refused) -> Refused {
    let end = (0..=reason.len().min(REASON_BYTES_MAX)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
    reason.truncate(end);
    let sites = sites.into_iter().filter(|site| site.len() <= SITE_BYTES_MAX).take(REFUSED_SITES_MAX).collect();
    Refused { version, reason, sites }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_answered_once_and_only_when_it_was_sent() {
        let awaited = Awaited::default();
        assert!(!awaited.is_answered(0) && !awaited.is_answered(5));
        awaited.sent(5);
        assert!(!awaited.is_answered(4), "another one");
        assert!(awaited.is_answered(5));
        assert!(!awaited.is_answered(5), "once more");
    }

    #[test]
    fn a_refusal_is_heard_within_bounds() {
        let sites = std::iter::once("s".repeat(SITE_BYTES_MAX + 1)).chain((0..REFUSED_SITES_MAX + 9).map(|number| format!("s{number}")));
        let heard = bounded(Refused { version: 7, reason: format!("a{}", "ü".repeat(1 << 20)), sites: sites.collect() });
        assert_eq!((heard.version, heard.reason.len(), heard.sites.len()), (7, REASON_BYTES_MAX - 1, REFUSED_SITES_MAX));
        assert!(heard.sites.iter().all(|site| site.len() <= SITE_BYTES_MAX));
        let whole = Refused { version: 7, reason: "because".to_owned(), sites: vec!["shop".to_owned()] };
        assert_eq!(bounded(whole.clone()), whole);
    }
}
