//! Problem details (RFC 9457): the one shape of every error.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use skerry_config::check::Faults;
use utoipa::ToSchema;

use crate::refusal::Refusal;

/// When to try again what a bound was in the way of.
const BUSY_RETRY: Duration = Duration::from_secs(1);

const MEDIA_TYPE: &str = "application/problem+json";

/// An error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong, and what would be right.
    detail: String,
    /// Every fault of what was sent, with its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ProblemFault>>)]
    errors: Option<Faults>,
    /// When asking again makes sense.
    #[serde(skip)]
    again_in: Option<Duration>,
}

/// One fault of what was sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemFault {
    /// The path of the field; empty for the whole.
    path: String,
    /// What is wrong with it.
    detail: String,
    /// The line, from 1, when a text was sent.
    line: Option<usize>,
    /// The column, from 1.
    column: Option<usize>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), errors: None, again_in: None }
    }

    pub(crate) fn with_faults(mut self, faults: Faults) -> Self {
        self.errors = Some(faults);
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Faulty(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Denied(_) => StatusCode::FORBIDDEN,
            Refusal::Missing(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::Stale(_) => StatusCode::PRECONDITION_FAILED,
            Refusal::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if let Refusal::Broken(why) = &refusal {
            tracing::error!(why, "a request failed");
        }
        let problem = Self::new(status, refusal.says());
        match refusal {
            Refusal::Faulty(_, faults) => problem.with_faults(faults),
            Refusal::Busy(_) => Self { again_in: Some(BUSY_RETRY), ..problem },
            Refusal::Limited { again_in, .. } => Self { again_in: Some(again_in), ..problem },
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], json).into_response();
        let challenge = match status {
            StatusCode::UNAUTHORIZED => Some("Bearer"),
            // RFC 6750 section 3.1.
            StatusCode::FORBIDDEN => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(again_in) = self.again_in {
            // Whole seconds (RFC 9110 section 10.2.3), and never none: that would be at once.
            let seconds = again_in.as_secs() + u64::from(again_in.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}

/// Makes a problem of every error that a library answered with in its own words.
pub(crate) async fn cover(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    Problem::new(status, format!("{path} cannot be answered so")).into_response()
}
