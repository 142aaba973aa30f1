//! What the server says of itself (RFC 7643 §5-§7, RFC 7644 §4). It advertises what is built.

use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::schema::{ResourceType, Schema};
use super::schemas::{GROUP, USER};

/// The path of the protocol below the public address of the server.
pub const SCIM_PATH: &str = "/scim/v2";

/// The resources on a page when the client names no `count`.
pub const PAGE_COUNT_DEFAULT: u64 = 100;

/// The resources on a page at most, whatever `count` the client names.
pub const PAGE_COUNT_MAX: u64 = 1000;

/// Every resource type that the server serves.
pub fn resource_types() -> impl Iterator<Item = &'static ResourceType> {
    [&*USER, &*GROUP].into_iter()
}

/// `/ServiceProviderConfig` (RFC 7643 §5). `base` is the absolute address of `/scim/v2`.
#[must_use]
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": [schema_urns::SERVICE_PROVIDER_CONFIG],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": PAGE_COUNT_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "API key",
            "description": "An API key of a connection, sent as a bearer token",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// One entry of `/ResourceTypes` (RFC 7643 §6); its `id` is its name.
#[must_use]
pub fn resource_type(kind: &ResourceType, base: &str) -> Value {
    let extensions: Vec<Value> = kind
        .extensions
        .iter()
        .map(|schema| json!({ "schema": schema.id, "required": false }))
        .collect();
    json!({
        "schemas": [schema_urns::RESOURCE_TYPE],
        "id": kind.name,
        "name": kind.name,
        "description": kind.description,
        "endpoint": kind.endpoint,
        "schema": kind.schema.id,
        "schemaExtensions": extensions,
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base}/ResourceTypes/{}", kind.name),
        },
    })
}

/// Every schema that a resource type names, each once.
pub fn schemas() -> impl Iterator<Item = &'static Schema> {
    resource_types().flat_map(|kind| std::iter::once(&kind.schema).chain(&kind.extensions))
}

/// One entry of `/Schemas` (RFC 7643 §7).
#[must_use]
pub fn schema(schema: &Schema, base: &str) -> Value {
    json!({
        "schemas": [schema_urns::SCHEMA],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes,
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.id) },
    })
}
