//! `/v1/tokens`.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_config::units::Period;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Author, Json, Place};
use super::problem::Problem;
use crate::auth::{ApiWish, For, JOIN_TTL, JOIN_TTL_MAX, Listed, NAME_PREFIX, Rank};
use crate::refusal::Refusal;

/// Characters of a name or region.
const WORD_MAX: usize = 63;

/// Sites that one token is for, at most.
const SITES_MAX: usize = 256;

/// The longest an API token may be valid that expires at all.
const API_TTL_MAX: Duration = Duration::from_secs(3_650 * 86_400);

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
    /// What the node is: `edge`, `shield` or `dns` (join). What the bearer may do: `viewer`, `purger`, `editor` or `admin`, each of which may do what those before it may; `admin` by default (api).
    role: Option<String>,
    /// The region of the node: 1 to 63 characters of `a-z`, `0-9` and `-` (join).
    region: Option<String>,
    /// How long it is valid: at most `30d`, `1h` by default (join); at most `3650d`, for ever by default (api).
    #[schema(value_type = Option<String>)]
    ttl: Option<Period>,
    /// The name its writes are recorded under: 1 to 63 characters of `a-z`, `0-9` and `-`, not beginning with `join-` (api).
    name: Option<String>,
    /// The sites it is for, 1 to 256 names; without them all. A token of some sites sees and changes nothing else, and is no admin (api).
    #[schema(value_type = Option<Vec<String>>)]
    sites: Option<BTreeSet<String>>,
}

/// A token. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenMade {
    /// The token.
    token: String,
    /// What it is.
    #[serde(flatten)]
    view: TokenView,
}

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// What for.
    kind: Kind,
    /// What it is listed and revoked by.
    name: String,
    /// What the node is (join), or what the bearer may do (api).
    role: String,
    /// The region of the node (join).
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// The node that has used it (join).
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<String>,
    /// The sites it is for; all when absent (api).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    sites: Option<BTreeSet<String>>,
    /// When it expires; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The name of the token it was made with; absent where that was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_at: Option<String>,
}

/// All tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    /// By name.
    tokens: Vec<TokenView>,
}

/// All tokens that are valid, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", responses((status = 200, body = TokenList)))]
pub(crate) async fn list(State(api): State<Api>) -> Answer<TokenList> {
    Answer(TokenList { tokens: api.plane.tokens.list().into_iter().map(TokenView::from).collect() })
}

/// Makes a token.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenWish, responses((status = 201, body = TokenMade)))]
pub(crate) async fn make(
    State(api): State<Api>,
    Extension(Author(author)): Extension<Author>,
    Json(wish): Json<TokenWish>,
) -> Result<(StatusCode, Answer<TokenMade>), Problem> {
    let (token, listed) = match wish.kind {
        Kind::Join => join(&api, wish, &author).await?,
        Kind::Api => bearer(&api, wish, &author).await?,
    };
    Ok((StatusCode::CREATED, Answer(TokenMade { token, view: listed.into() })))
}

/// Revokes a token: from now on it counts for nothing. The last admin token that does not expire cannot be revoked.
#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path, description = "The token's name")),
    responses((status = 204, description = "Revoked")))]
pub(crate) async fn revoke(State(api): State<Api>, Place(name): Place<String>) -> Result<StatusCode, Problem> {
    api.plane.tokens.revoke(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn join(api: &Api, wish: TokenWish, author: &str) -> Result<(String, Listed), Refusal> {
    let role = wish.role.as_deref().and_then(Role::from_word);
    let role = role.ok_or_else(|| fault("role", "a join token needs a role; write \"edge\", \"shield\" or \"dns\""))?;
    let region = wish.region.filter(|region| is_word(region));
    let region = region.ok_or_else(|| fault("region", "a join token needs a region of 1 to 63 characters of a-z, 0-9 and -"))?;
    if wish.name.is_some() {
        return Err(fault("name", "a join token has no name; the node that uses it brings one"));
    }
    if wish.sites.is_some() {
        return Err(fault("sites", "a join token is for no sites; leave the field out"));
    }
    let ttl = wish.ttl.map_or(JOIN_TTL, |ttl| ttl.0);
    if ttl.as_secs() == 0 || ttl > JOIN_TTL_MAX {
        return Err(fault("ttl", "a join token is valid between \"1s\" and \"30d\""));
    }
    let plane = &api.plane;
    plane.tokens.make_join(role, region, ttl, plane.ca.certificate(), author).await
}

async fn bearer(api: &Api, wish: TokenWish, author: &str) -> Result<(String, Listed), Refusal> {
    if wish.region.is_some() {
        return Err(fault("region", "an API token has no region; leave the field out"));
    }
    if wish.name.as_deref().is_some_and(|name| !is_word(name) || name.starts_with(NAME_PREFIX)) {
        return Err(fault("name", "a token's name has 1 to 63 characters of a-z, 0-9 and -, and does not begin with join-"));
    }
    let rank = wish.role.as_deref().map_or(Some(Rank::Admin), Rank::from_word);
    let rank = rank.ok_or_else(|| fault("role", "an API token's role is \"viewer\", \"purger\", \"editor\" or \"admin\""))?;
    if let Some(sites) = &wish.sites {
        if sites.is_empty() || sites.len() > SITES_MAX || !sites.iter().all(|site| is_word(site)) {
            return Err(fault("sites", "write the names of 1 to 256 sites, or leave the field out for all"));
        }
        if rank == Rank::Admin {
            return Err(fault("sites", "an admin is one of the whole CDN; write role \"editor\", or leave the sites out"));
        }
    }
    let ttl = wish.ttl.map(|ttl| ttl.0);
    if ttl.is_some_and(|ttl| ttl.as_secs() == 0 || ttl > API_TTL_MAX) {
        return Err(fault("ttl", "an API token is valid between \"1s\" and \"3650d\", or for ever without a ttl"));
    }
    api.plane.tokens.make_api(ApiWish { name: wish.name, rank, sites: wish.sites, ttl }, author).await
}

impl From<Listed> for TokenView {
    fn from(listed: Listed) -> Self {
        let expires_at = listed.expires_at();
        let (made_by, made_at) = listed.made.map(|made| (made.by, made.at)).unzip();
        let view = Self {
            kind: Kind::Api,
            name: listed.name,
            role: String::new(),
            region: None,
            used_by: None,
            sites: None,
            expires_at,
            made_by,
            made_at,
        };
        match listed.is_for {
            For::Api { rank, sites } => Self { role: rank.word().to_owned(), sites, ..view },
            For::Join { role, region, used_by } => Self { kind: Kind::Join, role, region: Some(region), used_by, ..view },
        }
    }
}

/// Whether a text is a name as tokens, regions and webhooks have them.
pub(super) fn is_word(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(known)
}

fn fault(path: &str, says: &str) -> Refusal {
    Refusal::fault("no such token can be made", path, says)
}
