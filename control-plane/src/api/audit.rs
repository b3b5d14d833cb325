//! `/v1/audit`.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::Params;
use super::problem::Problem;
use crate::journal::{LINES_READ_MAX, Line};
use crate::refusal::Refusal;

/// Lines of an answer that says nothing of a limit.
const LINES_READ: u64 = 100;

/// Which lines.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Lines with a higher number, in order; without it the newest ones.
    after: Option<u64>,
    /// At most so many, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// Lines of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// In the order of their numbers.
    lines: Vec<Line>,
    /// The number of the newest line.
    newest: u64,
}

/// Who changed what: a line for every write through the API, refused ones among them. The last 100000 are kept here, all in `audit.log`. Nothing changes them.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(Which), responses((status = 200, body = AuditPage)))]
pub(crate) async fn read(State(api): State<Api>, Params(which): Params<Which>) -> Result<Answer<AuditPage>, Problem> {
    let limit = which.limit.unwrap_or(LINES_READ);
    if !(1..=LINES_READ_MAX).contains(&limit) {
        return Err(Refusal::Malformed(format!("limit is {limit}; ask for 1 to {LINES_READ_MAX} lines")).into());
    }
    // The description says int64, which is what most clients have.
    if which.after.is_some_and(|after| i64::try_from(after).is_err()) {
        return Err(Refusal::Malformed("after is not the number of a line; ask for lines after one that was read".to_owned()).into());
    }
    let lines = api.plane.journal.read(which.after, limit).await?;
    Ok(Answer(AuditPage { lines, newest: api.plane.journal.newest() }))
}
