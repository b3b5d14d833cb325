//! Who may do what: every route with the least role it needs, and what it shows of sites.

use axum::http::Method;

use crate::auth::Rank::{self, Admin, Editor, Purger, Viewer};

/// What a route is about, seen from a token that is for some sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The site that the path names.
    Site,
    /// Sites that the request or the answer names: the handler looks at the token's.
    Own,
    /// More than some sites: only for tokens without a scope.
    Whole,
}

/// What a route needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    /// The method.
    pub(super) method: &'static str,
    /// The path, as it is routed and described.
    pub(super) path: &'static str,
    /// The least role.
    pub(super) least: Rank,
    /// What it is about.
    pub(super) reach: Reach,
}

const fn right(method: &'static str, path: &'static str, least: Rank, reach: Reach) -> Right {
    Right { method, path, least, reach }
}

/// Every route that needs a token.
const RIGHTS: &[Right] = &[
    right("GET", "/v1/sites", Viewer, Reach::Own),
    right("GET", "/v1/sites/{name}", Viewer, Reach::Site),
    right("PUT", "/v1/sites/{name}", Editor, Reach::Site),
    right("DELETE", "/v1/sites/{name}", Editor, Reach::Site),
    right("GET", "/v1/sites/{name}/versions", Viewer, Reach::Site),
    right("GET", "/v1/sites/{name}/versions/{version}", Viewer, Reach::Site),
    right("POST", "/v1/sites/{name}/rollback", Editor, Reach::Site),
    right("GET", "/v1/sites/{name}/diff", Viewer, Reach::Site),
    right("POST", "/v1/sites/{name}/diff", Viewer, Reach::Site),
    right("GET", "/v1/rollouts", Viewer, Reach::Own),
    right("GET", "/v1/rollouts/{id}", Viewer, Reach::Own),
    right("POST", "/v1/rollouts/{id}/abort", Editor, Reach::Whole),
    right("POST", "/v1/rollouts/{id}/proceed", Editor, Reach::Whole),
    right("POST", "/v1/check", Viewer, Reach::Own),
    right("POST", "/v1/purges", Purger, Reach::Own),
    right("GET", "/v1/purges", Viewer, Reach::Whole),
    right("GET", "/v1/purges/{seq}", Viewer, Reach::Own),
    right("GET", "/v1/explain", Viewer, Reach::Own),
    right("GET", "/v1/route", Viewer, Reach::Own),
    right("GET", "/v1/events", Viewer, Reach::Own),
    right("GET", "/v1/nodes", Viewer, Reach::Whole),
    right("GET", "/v1/nodes/{name}", Viewer, Reach::Whole),
    right("DELETE", "/v1/nodes/{name}", Admin, Reach::Whole),
    right("POST", "/v1/nodes/{name}/drain", Admin, Reach::Whole),
    right("POST", "/v1/nodes/{name}/resume", Admin, Reach::Whole),
    right("PUT", "/v1/nodes/{name}/steering", Admin, Reach::Whole),
    right("GET", "/v1/secrets", Editor, Reach::Own),
    right("PUT", "/v1/secrets/{name}", Editor, Reach::Own),
    right("DELETE", "/v1/secrets/{name}", Editor, Reach::Own),
    right("GET", "/v1/webhooks", Admin, Reach::Whole),
    right("GET", "/v1/webhooks/{name}", Admin, Reach::Whole),
    right("PUT", "/v1/webhooks/{name}", Admin, Reach::Whole),
    right("DELETE", "/v1/webhooks/{name}", Admin, Reach::Whole),
    right("GET", "/v1/audit", Admin, Reach::Whole),
    right("GET", "/v1/nodes/{name}/figures", Viewer, Reach::Whole),
    right("GET", "/v1/nodes/{name}/errors", Viewer, Reach::Whole),
    right("GET", "/v1/nodes/{name}/history", Viewer, Reach::Whole),
    right("GET", "/v1/tokens", Admin, Reach::Whole),
    right("POST", "/v1/tokens", Admin, Reach::Whole),
    right("DELETE", "/v1/tokens/{name}", Admin, Reach::Whole),
];

/// What a route needs. One that is in no row needs an admin.
pub(super) fn of(method: &Method, path: &str) -> Right {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    RIGHTS.iter().find(|right| right.method == method && right.path == path).copied().unwrap_or(right("?", "?", Admin, Reach::Whole))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_of_the_description_is_in_the_table_once() {
        let document: serde_json::Value = serde_json::from_str(&super::super::openapi_document()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<(String, String)> = paths
            .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())))
            .collect();
        let known: BTreeSet<(String, String)> = RIGHTS.iter().map(|right| (right.method.to_owned(), right.path.to_owned())).collect();
        assert_eq!(known, described);
        assert_eq!(known.len(), RIGHTS.len(), "a route stands in the table twice");
        for right in RIGHTS.iter().filter(|right| right.reach == Reach::Site) {
            assert!(right.path.starts_with("/v1/sites/{name}"), "{right:?} names no site");
        }
    }

    #[test]
    fn writes_need_more_than_reads() {
        // What a viewer may send changes nothing, and the guard takes it for a read.
        let looks = ["/v1/check", "/v1/sites/{name}/diff"];
        for right in RIGHTS.iter().filter(|right| right.method != "GET") {
            assert_eq!(right.least == Viewer, looks.contains(&right.path), "{right:?}");
        }
        assert_eq!(of(&Method::HEAD, "/v1/sites").least, Viewer);
        assert_eq!(of(&Method::GET, "/v1/elsewhere").least, Admin);
    }
}
