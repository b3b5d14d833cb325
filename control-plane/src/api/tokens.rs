//! `/v1/tokens`.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_config::units::Period;
use utoipa::ToSchema;

use super::Api;
use super::extract::Json;
use super::problem::Problem;
use crate::auth::{JOIN_TTL, JOIN_TTL_MAX};
use crate::clock;
use crate::refusal::Refusal;

/// Characters of a name or region.
const WORD_MAX: usize = 63;

/// What a token is for.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Joining: one node, once.
    Join,
    /// The API.
    Api,
}

/// The token wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    /// What for.
    kind: Kind,
    /// `edge` or `shield` (join).
    role: Option<String>,
    /// The region of the node: 1 to 63 characters of `a-z`, `0-9` and `-` (join).
    region: Option<String>,
    /// How long it is valid, at most `30d`; `1h` by default (join).
    #[schema(value_type = Option<String>)]
    ttl: Option<Period>,
    /// The name its writes are recorded under: 1 to 63 characters of `a-z`, `0-9` and `-` (api).
    name: Option<String>,
}

/// A token. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenMade {
    /// What for.
    kind: Kind,
    /// The token.
    token: String,
    /// Its name (api).
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// When it expires (join).
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Makes a token.
#[utoipa::path(post, path = "/v1/tokens", tag = "nodes", request_body = TokenWish, responses((status = 201, body = TokenMade)))]
pub(crate) async fn make(State(api): State<Api>, Json(wish): Json<TokenWish>) -> Result<(StatusCode, Answer<TokenMade>), Problem> {
    let made = match wish.kind {
        Kind::Join => join(&api, wish).await?,
        Kind::Api => bearer(&api, wish).await?,
    };
    Ok((StatusCode::CREATED, Answer(made)))
}

async fn join(api: &Api, wish: TokenWish) -> Result<TokenMade, Refusal> {
    let role = wish.role.as_deref().and_then(Role::from_word);
    let role = role.ok_or_else(|| fault("role", "a join token needs a role; write \"edge\" or \"shield\""))?;
    let region = wish.region.filter(|region| is_word(region));
    let region = region.ok_or_else(|| fault("region", "a join token needs a region of 1 to 63 characters of a-z, 0-9 and -"))?;
    if wish.name.is_some() {
        return Err(fault("name", "a join token has no name; the node that uses it brings one"));
    }
    let ttl = wish.ttl.map_or(JOIN_TTL, |ttl| ttl.0);
    if ttl.as_secs() == 0 || ttl > JOIN_TTL_MAX {
        return Err(fault("ttl", "a join token is valid between \"1s\" and \"30d\""));
    }
    let plane = &api.plane;
    let (token, expires) = plane.tokens.make_join(role, region, ttl, plane.ca.certificate()).await?;
    let expires_at = clock::text(UNIX_EPOCH + Duration::from_secs(expires));
    Ok(TokenMade { kind: wish.kind, token, name: None, expires_at: Some(expires_at) })
}

async fn bearer(api: &Api, wish: TokenWish) -> Result<TokenMade, Refusal> {
    if wish.role.is_some() || wish.region.is_some() || wish.ttl.is_some() {
        return Err(fault("", "an API token has no role, region or ttl; it has a name"));
    }
    if wish.name.as_deref().is_some_and(|name| !is_word(name)) {
        return Err(fault("name", "a token's name has 1 to 63 characters of a-z, 0-9 and -"));
    }
    let (token, name) = api.plane.tokens.make_api(wish.name).await?;
    Ok(TokenMade { kind: wish.kind, token, name: Some(name), expires_at: None })
}

fn is_word(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(known)
}

fn fault(path: &str, says: &str) -> Refusal {
    Refusal::fault("no such token can be made", path, says)
}
