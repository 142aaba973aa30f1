//! The surface of the protocol in `OpenAPI` 3.1, generated from the registry that the server itself
//! works with, so that the description cannot fall behind it.
//!
//! Requests are described as clients should send them; the server takes more (`resource`).

mod messages;
mod paths;
mod resources;
mod shared;

use serde_json::{Map, Value, json};

use super::discovery::SCIM_PATH;
use super::schemas::Schemas;

const ABOUT: &str = "The SCIM 2.0 service provider (RFC 7643, RFC 7644, RFC 9865). Names of \
    attributes, parameters and URNs are taken in any case. A path that is not described is answered \
    404, a method that is not described 405 with an `Allow` header, both with an Error message.";

/// The whole description; the same in each run.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "scimd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": SCIM_PATH }],
        "security": [{ "key": [] }],
        "paths": paths::all(),
        "components": {
            "securitySchemes": { "key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An API key of a connection",
            } },
            "parameters": shared::parameters(),
            "headers": shared::headers(),
            "responses": shared::refusals(),
            "schemas": schemas(),
        },
    })
}

/// Every shape of a body, by its name.
fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    for kind in Schemas::standard().types() {
        schemas.extend(resources::shapes(kind));
    }
    schemas.extend(messages::shapes());
    schemas
}

/// Points to a part of `components`.
fn part(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
}

/// Points to a schema.
fn shape(name: &str) -> Value {
    part("schemas", name)
}
