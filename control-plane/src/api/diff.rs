//! `/v1/sites/{name}/diff`: what differs between two versions of a site, or between a file and what runs.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use skerry_config::site::Site;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Params, Place, SiteText};
use super::problem::Problem;
use super::sites::same_name;
use crate::diff;
use crate::intent;
use crate::reading;
use crate::refusal::Refusal;

/// Which versions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Between {
    /// The number of the one before.
    from: u64,
    /// The number of the one after; the newest, when it is left out.
    to: Option<u64>,
}

/// What differs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Difference {
    /// The name of the site.
    name: String,
    /// The version before; absent when there was no such site.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// The version after; absent of a site that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// Whether anything does.
    changed: bool,
    /// Lines of both as TOML, with marks in place of their secrets: those that are gone begin with `-`, new ones with `+`; a few of those around
    /// them with a space, and `...` stands for those that are left out.
    diff: Vec<String>,
}

/// What differs between two versions of a site. A version that deleted it has nothing.
#[utoipa::path(get, path = "/v1/sites/{name}/diff", tag = "sites",
    params(("name" = String, Path, description = "The site's name"), Between), responses((status = 200, body = Difference)))]
pub(crate) async fn between(
    State(api): State<Api>,
    Place(name): Place<String>,
    Params(between): Params<Between>,
) -> Result<Answer<Difference>, Problem> {
    let intent = &api.plane.intent;
    let before = intent.site_version(&name, between.from).await?;
    let after = match between.to {
        Some(to) => intent.site_version(&name, to).await?,
        None => intent.newest_version(&name)?,
    };
    let diff = lines(&intent.state(), before.site.as_deref(), after.site.as_deref())?;
    Ok(Answer(Difference { name, from: Some(before.version), to: Some(after.version), changed: !diff.is_empty(), diff }))
}

/// What a site that is sent would change, without changing it. Takes JSON, TOML and YAML; a mark stands for the secret that the newest version has.
#[utoipa::path(post, path = "/v1/sites/{name}/diff", tag = "sites", params(("name" = String, Path, description = "The site's name")),
    request_body(content = ref("#/components/schemas/Site"), content_type = "application/json"), responses((status = 200, body = Difference)))]
pub(crate) async fn against(
    State(api): State<Api>,
    Place(name): Place<String>,
    SiteText { text, format }: SiteText,
) -> Result<Answer<Difference>, Problem> {
    let site = reading::site(&text, format).map_err(|faults| Refusal::Faulty(format!("site {name:?} has faults"), faults))?;
    same_name(&site, &name)?;
    let state = api.plane.intent.state();
    let site = intent::refer(&state, site)?.site;
    let present = state.sites.get(&name).filter(|version| version.site.is_some());
    let diff = lines(&state, present.and_then(|version| version.site.as_deref()), Some(&site))?;
    Ok(Answer(Difference { name, from: present.map(|version| version.version), to: None, changed: !diff.is_empty(), diff }))
}

fn lines(state: &intent::State, before: Option<&Site>, after: Option<&Site>) -> Result<Vec<String>, Refusal> {
    Ok(diff::lines(&as_toml(state, before)?, &as_toml(state, after)?))
}

/// A site as people may see it.
fn as_toml(state: &intent::State, site: Option<&Site>) -> Result<String, Refusal> {
    let Some(site) = site else { return Ok(String::new()) };
    toml::to_string(&state.shown(site)).map_err(|error| Refusal::Broken(format!("the site cannot be written as TOML: {error}")))
}
