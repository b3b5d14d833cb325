//! The description of the API: made from the handlers, and from the configuration's own schemas.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use skerry_config::purge::Targets;
use skerry_config::site::Site;
use utoipa::PartialSchema as _;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use super::problem::{Problem, ProblemFault};

/// What stands before the paths.
pub(super) fn head() -> OpenApi {
    let about = "The control plane of a Skerry CDN. Every error is a problem document (RFC 9457).";
    let info = InfoBuilder::new().title("Skerry control API").version("1").description(Some(about)).build();
    OpenApiBuilder::new().info(info).build()
}

/// The routes that take a query, as method and path.
pub(super) type Queried = BTreeSet<(String, String)>;

/// The statuses of errors that every route may answer: of guarding, and of a store that fails.
const ALWAYS: &[u16] = &[401, 403, 429, 500];

/// Those of routes that read a body.
const OF_BODIES: &[u16] = &[400, 408, 413, 415, 422];

/// Those of routes that change something.
const OF_WRITES: &[u16] = &[409, 503];

/// The whole document.
pub(super) fn whole(document: OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer"}});
    document["security"] = json!([{"token": []}]);
    let schemas = &mut document["components"]["schemas"];
    schemas["Problem"] = serde_json::to_value(Problem::schema()).unwrap_or_default();
    schemas["ProblemFault"] = serde_json::to_value(ProblemFault::schema()).unwrap_or_default();
    for (name, schema) in configuration() {
        schemas[name] = schema;
    }
    for (path, methods) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            for status in errors(path, method, operation) {
                operation["responses"][status.to_string()] = problem(status);
            }
        }
    }
    document
}

/// The document as text.
pub(super) fn text(document: &Value) -> String {
    format!("{document:#}\n")
}

/// The routes that take a query.
pub(super) fn queried(document: &Value) -> Queried {
    let mut queried = Queried::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        let takes = methods.as_object().into_iter().flatten().filter(|(_, operation)| takes(operation, "in", "query"));
        queried.extend(takes.map(|(method, _)| (method.to_uppercase(), path.clone())));
    }
    queried
}

/// The statuses of the errors that an operation may answer; a handler names those that are its own alone.
fn errors(path: &str, method: &str, operation: &Value) -> BTreeSet<u16> {
    let own = operation["responses"].as_object().into_iter().flatten().filter_map(|(status, _)| status.parse().ok());
    let mut errors: BTreeSet<u16> = own.filter(|status| *status >= 400).collect();
    errors.extend(ALWAYS);
    // What takes no query refuses one.
    errors.insert(400);
    if operation.get("requestBody").is_some() {
        errors.extend(OF_BODIES);
    }
    if method != "get" && path != "/v1/check" {
        errors.extend(OF_WRITES);
    }
    // What a PUT names need not be there.
    if takes(operation, "in", "path") && method != "put" {
        errors.insert(404);
    }
    if takes(operation, "name", "If-Match") {
        errors.insert(412);
    }
    errors
}

/// Whether an operation has a parameter of which this is said.
fn takes(operation: &Value, field: &str, value: &str) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter[field] == value)
}

fn problem(status: u16) -> Value {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    json!({"description": title, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
}

/// The schemas of the configuration crate, by name.
fn configuration() -> Vec<(String, Value)> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<Site>();
    generator.subschema_for::<Targets>();
    generator.take_definitions(true).into_iter().collect()
}
