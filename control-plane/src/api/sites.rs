//! `/v1/sites`.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use skerry_config::site::Site;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Json, Pace, Params, Place, SiteText, wish};
use super::problem::Problem;
use crate::auth::Grant;
use crate::events::Event;
use crate::intent::{self, SiteVersion, Written};
use crate::reading;
use crate::refusal::Refusal;

/// A site, in its newest version.
#[derive(Serialize, ToSchema)]
pub(crate) struct SiteView {
    /// Its name.
    name: String,
    /// Its version.
    version: u64,
    /// When this version was made.
    at: String,
    /// By whom.
    author: String,
    /// The version that all nodes have, or return to if the rollout fails; absent while there is none, as for a new site.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<u64>,
    /// The number of the rollout that brings the newest version to all nodes; absent when they have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<u64>,
    /// The site, with marks in place of its secrets.
    #[schema(value_type = Object)]
    site: Site,
}

/// All sites, each in its newest version.
#[derive(Serialize, ToSchema)]
pub(crate) struct SiteList {
    /// By name.
    sites: Vec<SiteView>,
    /// The number of the configuration.
    snapshot: u64,
}

/// What came of a write.
#[derive(Serialize, ToSchema)]
pub(crate) struct SiteWritten {
    /// The site.
    name: String,
    /// The newest version.
    version: u64,
    /// The number of the configuration that has it; nodes that have it may have a higher one.
    snapshot: u64,
    /// False when the site was so already, and no version was made.
    changed: bool,
    /// The number of the rollout that brings it to all nodes; absent when they have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<u64>,
}

/// A version of a site.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionView {
    /// Its number.
    version: u64,
    /// When it was made.
    at: String,
    /// By whom.
    author: String,
    /// Why.
    reason: Option<String>,
    /// Present, and true, when this version deleted the site.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// The site, with marks in place of its secrets; only where one version is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    site: Option<Site>,
}

/// All versions of a site that are kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionList {
    /// The oldest first.
    versions: Vec<VersionView>,
}

/// Why.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Why {
    /// Kept with the version; at most 500 bytes.
    reason: Option<String>,
    /// `staged`, by default: one node, its region, all. `now`: all nodes at once, for emergencies.
    rollout: Option<Pace>,
}

/// Which version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The number of the version whose content is wanted.
    version: u64,
    /// Kept with the new version; at most 500 bytes.
    reason: Option<String>,
    /// `staged`, by default: one node, its region, all. `now`: all nodes at once, for emergencies.
    rollout: Option<Pace>,
}

/// All sites, or those of the token.
#[utoipa::path(get, path = "/v1/sites", tag = "sites", responses((status = 200, body = SiteList)))]
pub(crate) async fn list(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Answer<SiteList> {
    let state = api.plane.intent.state();
    let sites = state.sites.values().filter(|version| grant.covers(&version.name));
    let sites = sites.filter_map(|version| Some(view(&state, version, version.site.as_ref()?)));
    Answer(SiteList { sites: sites.collect(), snapshot: state.snapshot })
}

/// One site.
#[utoipa::path(get, path = "/v1/sites/{name}", tag = "sites", params(("name" = String, Path, description = "The site's name")),
    responses((status = 200, body = SiteView, headers(("ETag", description = "The version in quotes")))))]
pub(crate) async fn read(State(api): State<Api>, Place(name): Place<String>) -> Result<Response, Problem> {
    let (version, site) = api.plane.intent.site(&name)?;
    Ok(([(ETAG, etag(version.version))], Answer(view(&api.plane.intent.state(), &version, &site))).into_response())
}

/// Makes a site, or its next version. The same content again makes no version. Takes JSON, TOML and YAML.
#[utoipa::path(put, path = "/v1/sites/{name}", tag = "sites",
    params(("name" = String, Path, description = "The site's name"), Why,
        ("If-Match" = Option<String>, Header, description = "The version the change is based on, in quotes"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only make a site that is not there")),
    request_body(content = ref("#/components/schemas/Site"), content_type = "application/json"),
    responses((status = 200, body = SiteWritten), (status = 201, body = SiteWritten)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Place(name): Place<String>,
    Params(why): Params<Why>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    SiteText { text, format }: SiteText,
) -> Result<Response, Problem> {
    let wish = wish(grant, why.reason, why.rollout, &headers)?;
    let site = reading::site(&text, format).map_err(|faults| Refusal::Faulty(format!("site {name:?} has faults"), faults))?;
    same_name(&site, &name)?;
    let written = api.plane.intent.put_site(site, wish).await?;
    Ok(answer(&api, &written))
}

/// Deletes a site. Its versions stay.
#[utoipa::path(delete, path = "/v1/sites/{name}", tag = "sites",
    params(("name" = String, Path, description = "The site's name"), Why,
        ("If-Match" = Option<String>, Header, description = "The version the change is based on, in quotes")),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    Place(name): Place<String>,
    Params(why): Params<Why>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let wish = wish(grant, why.reason, why.rollout, &headers)?;
    let written = api.plane.intent.delete_site(&name, wish).await?;
    tell(&api, &written);
    Ok(StatusCode::NO_CONTENT)
}

/// The versions of a site, the oldest first; the last 1000 are kept.
#[utoipa::path(get, path = "/v1/sites/{name}/versions", tag = "sites", params(("name" = String, Path, description = "The site's name")),
    responses((status = 200, body = VersionList)))]
pub(crate) async fn versions(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<VersionList>, Problem> {
    let versions = api.plane.intent.site_versions(&name).await?;
    let state = api.plane.intent.state();
    let versions = versions.into_iter().map(|version| VersionView { site: None, ..version_view(&state, version) }).collect();
    Ok(Answer(VersionList { versions }))
}

/// One version of a site.
#[utoipa::path(get, path = "/v1/sites/{name}/versions/{version}", tag = "sites",
    params(("name" = String, Path, description = "The site's name"), ("version" = u64, Path, description = "The version's number")),
    responses((status = 200, body = VersionView)))]
pub(crate) async fn version(State(api): State<Api>, Place((name, number)): Place<(String, u64)>) -> Result<Answer<VersionView>, Problem> {
    Ok(Answer(version_view(&api.plane.intent.state(), api.plane.intent.site_version(&name, number).await?)))
}

/// Makes the content of an old version the next version.
#[utoipa::path(post, path = "/v1/sites/{name}/rollback", tag = "sites",
    params(("name" = String, Path, description = "The site's name"),
        ("If-Match" = Option<String>, Header, description = "The version that is present, in quotes")),
    request_body = Rollback, responses((status = 200, body = SiteWritten), (status = 201, body = SiteWritten)))]
pub(crate) async fn rollback(
    State(api): State<Api>,
    Place(name): Place<String>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    Json(rollback): Json<Rollback>,
) -> Result<Response, Problem> {
    let wish = wish(grant, rollback.reason, rollback.rollout, &headers)?;
    let written = api.plane.intent.roll_back_site(&name, rollback.version, wish).await?;
    Ok(answer(&api, &written))
}

/// Checks that a site has the name that its path has.
pub(super) fn same_name(site: &Site, name: &str) -> Result<(), Refusal> {
    if site.name == name {
        return Ok(());
    }
    let says = format!("{:?} is not the name in the path; write {name:?} in both", site.name);
    Err(Refusal::fault("the site has another name than its path", "name", says))
}

fn answer(api: &Api, written: &Written) -> Response {
    tell(api, written);
    let version = &written.version;
    let view = SiteWritten {
        name: version.name.clone(),
        version: version.version,
        snapshot: written.snapshot,
        changed: written.changed,
        rollout: written.rollout,
    };
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    (status, [(ETAG, etag(version.version))], Answer(view)).into_response()
}

fn tell(api: &Api, written: &Written) {
    if written.changed {
        let version = &written.version;
        let (name, deleted) = (version.name.clone(), version.site.is_none());
        api.plane.events.tell(Event::Site { name, version: version.version, snapshot: written.snapshot, deleted });
    }
}

fn view(state: &intent::State, version: &SiteVersion, site: &Site) -> SiteView {
    SiteView {
        name: version.name.clone(),
        version: version.version,
        at: version.at.clone(),
        author: version.author.clone(),
        settled: state.tracks.settled.content.sites.get(&version.name).map(|sealed| sealed.version.version),
        rollout: state.rollout_of(&version.name),
        site: state.shown(site),
    }
}

fn version_view(state: &intent::State, version: SiteVersion) -> VersionView {
    let SiteVersion { version, at, author, reason, site, .. } = version;
    VersionView { version, at, author, reason, deleted: site.is_none(), site: site.map(|site| state.shown(&site)) }
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}
