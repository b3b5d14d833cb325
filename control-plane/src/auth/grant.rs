//! What an API token lets its bearer do: a role, for all sites or for some.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::secret::Hash;
use crate::refusal::Refusal;

/// The role of an API token. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rank {
    /// Reads.
    Viewer,
    /// Purges.
    Purger,
    /// Writes sites.
    Editor,
    /// Everything: nodes, tokens, the audit log.
    Admin,
}

impl Rank {
    /// The role of that name.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Purger, Self::Editor, Self::Admin].into_iter().find(|rank| rank.word() == word)
    }

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Purger => "purger",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The word for it, with its article.
    fn spoken(self) -> &'static str {
        match self {
            Self::Viewer => "a viewer",
            Self::Purger => "a purger",
            Self::Editor => "an editor",
            Self::Admin => "an admin",
        }
    }
}

/// What the bearer of a token may do.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The token's name: the author of what is done with it.
    pub(crate) name: String,
    /// Its role.
    pub(crate) rank: Rank,
    /// The sites it is for; all when none are named.
    pub(crate) sites: Option<BTreeSet<String>>,
    /// Until when it is valid, seconds since 1970.
    pub(super) expires: Option<u64>,
    pub(super) hash: Hash,
}

impl Grant {
    /// Whether it is for a site.
    pub(crate) fn covers(&self, site: &str) -> bool {
        self.sites.as_ref().is_none_or(|sites| sites.contains(site))
    }

    /// Whether it is for all sites.
    pub(crate) fn is_whole(&self) -> bool {
        self.sites.is_none()
    }

    /// Demands a role; `what` needs it.
    pub(crate) fn demand(&self, least: Rank, what: &str) -> Result<(), Refusal> {
        if self.rank >= least {
            return Ok(());
        }
        let (own, least) = (self.rank.spoken(), least.spoken());
        Err(Refusal::Denied(format!("token {:?} is {own}, and {what} needs {least}; use a token with that role", self.name)))
    }

    /// Demands that it is for a site.
    pub(crate) fn demand_site(&self, site: &str) -> Result<(), Refusal> {
        if self.covers(site) {
            return Ok(());
        }
        Err(Refusal::Denied(format!("token {:?} is for {}, not for site {site:?}", self.name, self.spoken_scope())))
    }

    /// Demands that it is for all sites; `what` is about more than some of them.
    pub(crate) fn demand_whole(&self, what: &str) -> Result<(), Refusal> {
        if self.is_whole() {
            return Ok(());
        }
        let says = format!("token {:?} is for {}, and {what} is about all; use a token without sites", self.name, self.spoken_scope());
        Err(Refusal::Denied(says))
    }

    /// The sites it is for, in words.
    pub(super) fn spoken_scope(&self) -> String {
        match &self.sites {
            None => "all sites".to_owned(),
            Some(sites) => {
                let named: Vec<_> = sites.iter().take(NAMED_MAX).map(|site| format!("{site:?}")).collect();
                let more = sites.len().saturating_sub(NAMED_MAX);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                format!("{} {}{more}", if sites.len() == 1 { "site" } else { "sites" }, named.join(", "))
            }
        }
    }
}

/// Sites of a scope that a refusal names.
const NAMED_MAX: usize = 5;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::auth) fn grant(rank: Rank, sites: Option<&[&str]>) -> Grant {
        let sites = sites.map(|sites| sites.iter().map(|&site| site.to_owned()).collect());
        Grant { name: "ci".to_owned(), rank, sites, expires: None, hash: [0; 32] }
    }

    #[test]
    fn a_role_may_what_those_before_it_may() {
        let all = [Rank::Viewer, Rank::Purger, Rank::Editor, Rank::Admin];
        for (place, own) in all.iter().enumerate() {
            for (need, least) in all.iter().enumerate() {
                assert_eq!(grant(*own, None).demand(*least, "it").is_ok(), place >= need, "{own:?} {least:?}");
            }
        }
        let refusal = grant(Rank::Viewer, None).demand(Rank::Editor, "PUT /v1/sites/{name}").unwrap_err();
        assert_eq!(refusal.says(), "token \"ci\" is a viewer, and PUT /v1/sites/{name} needs an editor; use a token with that role");
    }

    #[test]
    fn a_scope_is_what_it_names_and_says_so() {
        assert!(grant(Rank::Viewer, None).covers("shop") && grant(Rank::Viewer, None).demand_whole("it").is_ok());
        let some = grant(Rank::Viewer, Some(&["blog", "shop"]));
        assert!(some.covers("shop") && !some.covers("sho"));
        let refusal = some.demand_site("other").unwrap_err();
        assert_eq!(refusal.says(), "token \"ci\" is for sites \"blog\", \"shop\", not for site \"other\"");
        let refusal = some.demand_whole("GET /v1/nodes").unwrap_err();
        assert_eq!(
            refusal.says(),
            "token \"ci\" is for sites \"blog\", \"shop\", and GET /v1/nodes is about all; use a token without sites"
        );
    }
}
