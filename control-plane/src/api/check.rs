//! `/v1/check`.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::extract::Json;
use super::problem::Problem;
use crate::auth::Grant;
use crate::intent;
use crate::reading;
use crate::refusal::Refusal;

/// What to check: one of both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// A site, as it would be put. That its hosts are free and its shields are there is checked too.
    #[schema(value_type = Option<Object>)]
    site: Option<Value>,
    /// A whole configuration: `{"sites":[..],"shields":[..]}`.
    #[schema(value_type = Option<Object>)]
    document: Option<Value>,
}

/// There is no fault.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sound {
    /// Always true.
    ok: bool,
}

/// Says all faults of a site or of a whole configuration, and changes nothing.
#[utoipa::path(post, path = "/v1/check", tag = "sites", request_body = Question, responses((status = 200, body = Sound)))]
pub(crate) async fn check(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Json(question): Json<Question>,
) -> Result<Answer<Sound>, Problem> {
    match question {
        Question { site: Some(site), document: None } => {
            let site = reading::site_value(&site).map_err(|faults| Refusal::Faulty("the site has faults".to_owned(), faults))?;
            grant.demand_site(&site.name)?;
            let state = api.plane.intent.state();
            let site = intent::refer(&state, site)?.resolved;
            intent::check(&site)?;
            intent::check_nodes(&state, &site)?;
            intent::owners(&state, &site).map_err(|owned| Refusal::fault("the site has faults", "hosts", owned.says()))?;
        }
        Question { site: None, document: Some(document) } => {
            reading::document(&document).map_err(|faults| Refusal::Faulty("the configuration has faults".to_owned(), faults))?;
        }
        _ => return Err(Refusal::fault("nothing can be checked", "", "give either a site or a document").into()),
    }
    Ok(Answer(Sound { ok: true }))
}
