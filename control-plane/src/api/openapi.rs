//! The description of the API: made from the handlers, and from the configuration's own schemas.

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

/// The whole document as text.
pub(super) fn text(document: OpenApi) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer"}});
    document["security"] = json!([{"token": []}]);
    let schemas = &mut document["components"]["schemas"];
    schemas["Problem"] = serde_json::to_value(Problem::schema()).unwrap_or_default();
    schemas["ProblemFault"] = serde_json::to_value(ProblemFault::schema()).unwrap_or_default();
    for (name, schema) in configuration() {
        schemas[name] = schema;
    }
    let problem = json!({
        "description": "A problem",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    });
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|methods| methods.values_mut()) {
        if operation.get("responses").is_some() {
            operation["responses"]["default"] = problem.clone();
        }
    }
    format!("{document:#}\n")
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
