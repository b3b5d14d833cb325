//! Reading requests, with a problem for everything that is wrong with them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use skerry_config::check::{Fault, Faults, Format};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::intent::{Demand, Wish};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Time that a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 500;

/// The name of the token a request came with.
#[derive(Clone, Debug)]
pub(crate) struct Author(pub(crate) String);

/// How fast a change goes to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    /// One node, its region, all: the default.
    Staged,
    /// All at once, for emergencies.
    Now,
}

/// A body in JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// A body in any format a site may be written in.
pub(crate) struct SiteText {
    pub(crate) text: String,
    pub(crate) format: Format,
}

/// The variable parts of the path.
pub(crate) struct Place<T>(pub(crate) T);

/// The query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        plain(request.headers())?;
        match media_type(request.headers()).as_deref() {
            None | Some("application/json") => {}
            Some(other) => return Err(unsupported(other, "application/json")),
        }
        let bytes = whole(request.into_body(), BODY_TIMEOUT).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.classify() == Category::Data => {
                let fault = Fault { file: None, at: Some((error.line(), error.column())), path: String::new(), says: error.to_string() };
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is JSON of another shape").with_faults(Faults(vec![fault])))
            }
            Err(error) => Err(not_json(&error)),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for SiteText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        plain(request.headers())?;
        let format = match media_type(request.headers()).as_deref() {
            None | Some("application/json") => Format::Json,
            Some("application/toml" | "text/toml" | "text/x-toml") => Format::Toml,
            Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml") => Format::Yaml,
            Some(other) => return Err(unsupported(other, "application/json, application/toml or application/yaml")),
        };
        let bytes = whole(request.into_body(), BODY_TIMEOUT).await?;
        let text = String::from_utf8(bytes.to_vec());
        let text = text.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not UTF-8: {}", error.utf8_error())))?;
        if format == Format::Json {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|error| not_json(&error))?;
        }
        Ok(Self { text, format })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(place) = Path::from_request_parts(parts, state).await.map_err(|why| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the path {} names nothing: {}", parts.uri.path(), why.body_text()))
        })?;
        Ok(Self(place))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
        Ok(Self(params))
    }
}

/// What goes with a change of a site: who, why, and what must hold.
pub(crate) fn wish(author: Author, reason: Option<String>, rollout: Option<Pace>, headers: &HeaderMap) -> Result<Wish, Problem> {
    if let Some(reason) = reason.as_ref().filter(|reason| reason.len() > REASON_BYTES_MAX) {
        let says = format!("the reason has {} bytes; at most {REASON_BYTES_MAX} are kept", reason.len());
        return Err(Problem::new(StatusCode::BAD_REQUEST, says));
    }
    let demand = match (tags(headers, &IF_MATCH)?, tags(headers, &IF_NONE_MATCH)?) {
        (Some(Tags::Any), None) => Some(Demand::Present),
        (Some(Tags::These(versions)), None) => Some(Demand::OneOf(versions)),
        (None, Some(Tags::Any)) => Some(Demand::Absent),
        (None, None) => None,
        _ => {
            let says = "a write takes If-Match with versions, or If-None-Match with *, and not both";
            return Err(Problem::new(StatusCode::BAD_REQUEST, says));
        }
    };
    Ok(Wish { author: author.0, reason, demand, now: rollout == Some(Pace::Now) })
}

enum Tags {
    Any,
    /// Tags that are no version are left out: they match nothing, and so does a weak one (RFC 9110 section 8.8.3.2).
    These(Vec<u64>),
}

fn tags(headers: &HeaderMap, field: &HeaderName) -> Result<Option<Tags>, Problem> {
    let wrong =
        || Problem::new(StatusCode::BAD_REQUEST, format!("{field} is not an entity tag; write the version in quotes, such as \"3\""));
    let mut values = Vec::new();
    for value in headers.get_all(field) {
        values.extend(value.to_str().map_err(|_| wrong())?.split(',').map(str::trim));
    }
    match values.as_slice() {
        [] => Ok(None),
        ["*"] => Ok(Some(Tags::Any)),
        values => {
            let mut versions = Vec::new();
            for value in values {
                let (weak, tag) = value.strip_prefix("W/").map_or((false, *value), |tag| (true, tag));
                let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(wrong)?;
                versions.extend(tag.parse::<u64>().ok().filter(|_| !weak));
            }
            Ok(Some(Tags::These(versions)))
        }
    }
}

async fn whole(body: Body, timeout: Duration) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(timeout, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {timeout:?}"));
    whole.map_err(|_| late())?.map_err(|error| {
        let too_large = std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if too_large {
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {BODY_BYTES_MAX} bytes"));
        }
        Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
    })
}

/// Demands a body that is not coded, in UTF-8.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |says: String| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, says));
    if let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refused(format!("the body is coded as {coding:?}; send it without a coding"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let charset = kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset.filter(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        Some(charset) => refused(format!("the body is text in {charset:?}; send UTF-8")),
        None => Ok(()),
    }
}

/// The media type without parameters, lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?;
    // What is not text is no media type that is known.
    let text = value.to_str().unwrap_or("?");
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn unsupported(kind: &str, wanted: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body is {kind:?}; send {wanted}"))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let late = whole(body, Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(axum::response::IntoResponse::into_response(late).status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(whole(Body::from("a"), BODY_TIMEOUT).await.unwrap(), "a");
    }
}
