//! `/v1/secrets`.

use std::collections::BTreeSet;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skerry_config::secret::Secret;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Author, Json, Place};
use super::problem::Problem;
use super::tokens::is_word;
use crate::auth::Grant;
use crate::events::Event;
use crate::intent::{Named, SecretWish, VALUE_BYTES_MAX, no_secret};
use crate::refusal::Refusal;

/// Sites that one secret is for, at most.
const SITES_MAX: usize = 256;

/// The secret wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretText {
    /// Its value, at most 64 KiB: for `client_key` the PEM text of a key. It is shown to nobody.
    #[schema(value_type = String)]
    value: Secret,
    /// The sites that may use it, 1 to 256 names; without them all. A token for some sites has to name some of its own.
    #[schema(value_type = Option<Vec<String>>)]
    sites: Option<BTreeSet<String>>,
}

/// A secret without its value.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretView {
    /// Its name: a site that uses it has `secret:NAME`.
    name: String,
    /// Two values have the same fingerprint only when they are the same.
    fingerprint: String,
    /// The sites that may use it; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    sites: Option<BTreeSet<String>>,
    /// The sites that do.
    #[schema(value_type = Vec<String>)]
    used_by: BTreeSet<String>,
    /// When its value was written.
    at: String,
    /// By whom.
    author: String,
}

/// All secrets that have names.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretList {
    /// By name.
    secrets: Vec<SecretView>,
}

/// The secrets that sites may name, without their values. A token for some sites sees those that are for no others.
#[utoipa::path(get, path = "/v1/secrets", tag = "sites", responses((status = 200, body = SecretList)))]
pub(crate) async fn list(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Answer<SecretList> {
    let named = api.plane.intent.state().named_secrets();
    let named = named.into_iter().filter(|(named, _)| named.is_for(&grant));
    Answer(SecretList { secrets: named.map(|(named, used_by)| SecretView::of(&named, used_by)).collect() })
}

/// Gives a secret a value. Each site that names it gets a new version, which is rolled out as any change; where one cannot be with the value, nothing is changed.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "sites",
    params(("name" = String, Path, description = "The secret's name: 1 to 63 characters of `a-z`, `0-9` and `-`")),
    request_body = SecretText, responses((status = 200, body = SecretView), (status = 201, body = SecretView)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Place(name): Place<String>,
    Extension(grant): Extension<Grant>,
    Extension(Author(author)): Extension<Author>,
    Json(SecretText { value, sites }): Json<SecretText>,
) -> Result<(StatusCode, Answer<SecretView>), Problem> {
    if !is_word(&name) {
        return Err(Refusal::Malformed(format!("{name:?} is not the name of a secret; write 1 to 63 characters of a-z, 0-9 and -")).into());
    }
    check(&value, sites.as_ref())?;
    demand(&api, &grant, &name)?;
    match &sites {
        None => grant.demand_whole("a secret for all sites")?,
        Some(sites) => sites.iter().try_for_each(|site| grant.demand_site(site))?,
    }
    let written = api.plane.intent.put_secret(SecretWish { name: name.clone(), value, sites }, &author).await?;
    for version in &written.versions {
        let (name, version) = (version.name.clone(), version.version);
        api.plane.events.tell(Event::Site { name, version, snapshot: written.snapshot, deleted: false });
    }
    let used_by = api.plane.intent.state().named_secrets().into_iter().find(|(named, _)| named.name == name).map(|(_, used_by)| used_by);
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Answer(SecretView::of(&written.named, used_by.unwrap_or_default()))))
}

/// Deletes a secret with its values, earlier ones among them: old versions of sites that had them cannot be brought back. One that is in use stays.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "sites", params(("name" = String, Path, description = "The secret's name")),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    Place(name): Place<String>,
    Extension(grant): Extension<Grant>,
) -> Result<StatusCode, Problem> {
    demand(&api, &grant, &name)?;
    if api.plane.intent.state().named_secret(&name).is_none() {
        return Err(no_secret(&name).into());
    }
    api.plane.intent.delete_secret(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Demands that a secret that is there is the token's to write.
fn demand(api: &Api, grant: &Grant, name: &str) -> Result<(), Refusal> {
    match api.plane.intent.state().named_secret(name) {
        Some(named) if !named.is_for(grant) => grant.demand_whole(&format!("secret {name:?}")),
        _ => Ok(()),
    }
}

fn check(value: &Secret, sites: Option<&BTreeSet<String>>) -> Result<(), Refusal> {
    let fault = |path: &str, says: String| Refusal::fault("no such secret can be kept", path, says);
    let bytes = value.reveal().len();
    if bytes == 0 || bytes > VALUE_BYTES_MAX {
        return Err(fault("value", format!("{bytes} bytes; write 1 to {VALUE_BYTES_MAX}")));
    }
    if value.reference().is_some() {
        return Err(fault("value", "this stands for a secret; write the secret itself".to_owned()));
    }
    if sites.is_some_and(|sites| sites.is_empty() || sites.len() > SITES_MAX || !sites.iter().all(|site| is_word(site))) {
        return Err(fault("sites", "write the names of 1 to 256 sites, or leave the field out for all".to_owned()));
    }
    Ok(())
}

impl SecretView {
    fn of(named: &Named, used_by: BTreeSet<String>) -> Self {
        let Named { name, fingerprint, sites, at, author, .. } = named.clone();
        Self { name, fingerprint, sites, used_by, at, author }
    }
}
