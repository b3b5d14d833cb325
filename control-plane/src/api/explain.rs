//! `/v1/explain`.

use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Uri};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;
use skerry_agent::question::{Explain, Question};
use utoipa::ToSchema;

use super::Api;
use super::extract::Params;
use super::problem::Problem;
use crate::auth::{Grant, purging};
use crate::intent::Node;
use crate::questions::Unanswered;
use crate::refusal::Refusal;

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 8 << 10;

/// Header fields of one request.
const FIELDS_MAX: usize = 64;

/// Bytes of all header fields of one request, names and values.
const FIELDS_BYTES_MAX: usize = 16 << 10;

/// Connected nodes that are asked when none is named.
const NODES_MAX: usize = 256;

/// Nodes that are asked at the same time.
const AT_ONCE_MAX: usize = 64;

/// What the nodes have for a request, and what the next one like it would get.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explained {
    /// The URL that was asked about.
    url: String,
    /// By name.
    nodes: Vec<NodeAnswer>,
}

/// What one node says: an answer or an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeAnswer {
    /// Its name.
    name: String,
    /// `edge` or `shield`.
    role: String,
    /// Its region.
    region: String,
    /// Site, rule, policy, key, variant, what is stored with its age and lifetime, the purges compared, and the next request's outcome with its reason: docs/operating/explain.md tells the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    answer: Option<Value>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Why the next GET of a URL will be a hit, or will not, on every node or on one. Nothing changes, and no origin is asked. A node that does not answer within 2 s has an error in place of its answer.
#[utoipa::path(get, path = "/v1/explain", tag = "nodes",
    params(
        ("url" = String, Query, description = "The URL, absolute, `http` or `https`"),
        ("node" = Option<String>, Query, description = "The node to ask; without it all are asked"),
        ("header" = Option<Vec<String>>, Query, description = "A header field of the request, `Name: value`; may be repeated, at most 64 times and 16 KiB together")
    ),
    responses((status = 200, body = Explained), (status = 404, description = "No such node"), (status = 503, description = "The node is away")))]
pub(crate) async fn explain(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Params(params): Params<Vec<(String, String)>>,
) -> Result<Answer<Explained>, Problem> {
    let Asked { request, node: named } = Asked::read(params)?;
    let url = request.url.clone();
    let plane = &api.plane;
    purging::demand_url(&grant, &url, &plane.intent.state())?;
    let nodes = match &named {
        Some(name) => vec![plane.intent.node(name)?],
        None => plane.intent.state().tiers().cloned().collect(),
    };
    let connected = nodes.iter().filter(|node| plane.health.live(&node.name).connected).count();
    if connected > NODES_MAX {
        let says = format!("{connected} nodes are connected, and at most {NODES_MAX} are asked at once; name one with node=NAME");
        return Err(Refusal::Malformed(says).into());
    }
    let question = Arc::new(Question::Explain(request));
    let asking = nodes.into_iter().map(|node| {
        let (plane, question) = (Arc::clone(plane), Arc::clone(&question));
        async move {
            let told = plane.questions.ask(&node.name, &question).await;
            (node, told)
        }
    });
    let told: Vec<_> = stream::iter(asking).buffered(AT_ONCE_MAX).collect().await;
    if let (Some(name), [(_, Err(Unanswered::Away))]) = (&named, told.as_slice()) {
        return Err(Refusal::Busy(format!("node {name:?} is not connected; it can be asked when it is back")).into());
    }
    Ok(Answer(Explained { url, nodes: told.into_iter().map(|(node, told)| NodeAnswer::of(&node, told)).collect() }))
}

impl NodeAnswer {
    fn of(node: &Node, told: Result<Value, Unanswered>) -> Self {
        let (answer, error) = match told {
            Ok(answer) => (Some(answer), None),
            Err(why) => (None, Some(why.to_string())),
        };
        Self { name: node.name.clone(), role: node.role.clone(), region: node.region.clone(), answer, error }
    }
}

/// The query, read.
struct Asked {
    request: Explain,
    node: Option<String>,
}

impl Asked {
    fn read(params: Vec<(String, String)>) -> Result<Self, Refusal> {
        let (mut url, mut node, mut headers) = (None, None, Vec::new());
        for (name, value) in params {
            match name.as_str() {
                "url" if url.is_none() => url = Some(value),
                "node" if node.is_none() => node = Some(value),
                "header" => headers.push(field(&value)?),
                "url" | "node" => return Err(Refusal::Malformed(format!("{name} is given twice"))),
                _ => return Err(Refusal::Malformed(format!("{name:?} is not a parameter here; url, node and header are"))),
            }
        }
        let bytes: usize = headers.iter().map(|(name, value): &(String, String)| name.len() + value.len()).sum();
        if headers.len() > FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
            let fields = headers.len();
            let says =
                format!("{fields} header fields of {bytes} bytes are too many; at most {FIELDS_MAX} of {FIELDS_BYTES_MAX} bytes are taken");
            return Err(Refusal::Malformed(says));
        }
        let url = url.ok_or_else(|| Refusal::Malformed("which URL is meant was not said; give url=http://HOST/PATH".to_owned()))?;
        Ok(Self { request: Explain { url: usable(&url)?, headers }, node })
    }
}

/// `Name: value` in two.
fn field(text: &str) -> Result<(String, String), Refusal> {
    let parted = text.split_once(':').map(|(name, value)| (name, value.trim()));
    let fine =
        |name: &str, value: &str| HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_bytes(value.as_bytes()).is_ok();
    match parted.filter(|(name, value)| fine(name, value)) {
        Some((name, value)) => Ok((name.to_ascii_lowercase(), value.to_owned())),
        None => Err(Refusal::Malformed(format!("{text:?} is not a header field; write it as 'Name: value'"))),
    }
}

/// An absolute URL of http or https; what cannot be in a request target is percent-encoded, as clients do.
fn usable(text: &str) -> Result<String, Refusal> {
    let wrong = |why: &str| {
        let shown: String = text.chars().take(200).collect();
        Refusal::Malformed(format!("the URL {shown:?} {why}; write it as http://HOST/PATH or https://HOST/PATH"))
    };
    let mut encoded = String::with_capacity(text.len());
    for byte in text.trim().bytes() {
        match byte {
            0x21..=0x7e => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    if encoded.len() > URL_BYTES_MAX {
        return Err(wrong(&format!("has {} bytes and may have {URL_BYTES_MAX}", encoded.len())));
    }
    let uri: Uri = encoded.parse().map_err(|_| wrong("cannot be read"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("is neither http nor https"));
    }
    match uri.authority() {
        Some(authority) if !authority.as_str().contains('@') && !authority.host().is_empty() => Ok(encoded),
        _ => Err(wrong("has no host, or a user")),
    }
}
