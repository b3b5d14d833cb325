//! `/v1/nodes/{name}/history`.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Params, Place};
use super::problem::Problem;
use crate::clock;
use crate::history::{Bucket, Sums};
use crate::refusal::Refusal;

/// What a node did.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The node.
    node: String,
    /// All that it reported since it joined; what it did in the last five minutes is not among it yet.
    total: SumsView,
    /// Buckets that it could not keep while the control plane was away, and the requests in them.
    dropped: u64,
    /// Requests in them.
    dropped_requests: u64,
    /// By time, of the last three days; those without a request are left out.
    buckets: Vec<BucketView>,
}

/// Five minutes.
#[derive(Serialize, ToSchema)]
pub(crate) struct BucketView {
    /// Its beginning.
    from: String,
    /// Its length.
    seconds: u64,
    /// Of all sites.
    #[serde(flatten)]
    sums: SumsView,
    /// The busiest sites, at most eight.
    sites: Vec<SiteSums>,
}

/// What was done for a site.
#[derive(Serialize, ToSchema)]
pub(crate) struct SiteSums {
    /// Its name.
    site: String,
    /// Its counts.
    #[serde(flatten)]
    sums: SumsView,
}

/// Counts.
#[derive(Serialize, ToSchema)]
pub(crate) struct SumsView {
    /// Requests answered.
    requests: u64,
    /// Those answered from the store.
    hits: u64,
    /// Answers of status 500 to 599, and answers cut off.
    errors: u64,
    /// Bytes of bodies sent.
    bytes: u64,
}

/// What a node did, in buckets of five minutes: also in a time when the control plane was away, once the node has reported it.
#[utoipa::path(get, path = "/v1/nodes/{name}/history", tag = "nodes",
    params(
        ("name" = String, Path, description = "The node's name"),
        ("from" = Option<String>, Query, description = "The time from which on buckets are wanted, such as `2026-11-28T12:00:00Z`; all without it")
    ),
    responses((status = 200, body = HistoryView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    Place(name): Place<String>,
    Params(params): Params<Vec<(String, String)>>,
) -> Result<Answer<HistoryView>, Problem> {
    let mut from = 0;
    for (param, value) in params {
        if param != "from" {
            return Err(Refusal::Malformed(format!("{param:?} is not a parameter here; from is")).into());
        }
        let wrong = || Refusal::Malformed(format!("{value:?} is not a time; write it as 2026-11-28T12:00:00Z"));
        from = clock::seconds_of(&value).ok_or_else(wrong)?;
    }
    api.plane.intent.node(&name)?;
    let (buckets, taken) = api.plane.history.read(&name, from).await?;
    let (dropped, dropped_requests) = (taken.dropped, taken.dropped_requests);
    let buckets = buckets.into_iter().map(BucketView::of).collect();
    Ok(Answer(HistoryView { node: name, total: SumsView::of(taken.total), dropped, dropped_requests, buckets }))
}

impl BucketView {
    fn of(bucket: Bucket) -> Self {
        let sites = bucket.sites.into_iter().map(|(site, sums)| SiteSums { site, sums: SumsView::of(sums) }).collect();
        Self { from: clock::of_seconds(bucket.from), seconds: skerry_agent::BUCKET_SECONDS, sums: SumsView::of(bucket.sums), sites }
    }
}

impl SumsView {
    fn of(sums: Sums) -> Self {
        let Sums { requests, hits, errors, bytes } = sums;
        Self { requests, hits, errors, bytes }
    }
}
