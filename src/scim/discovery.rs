//! What the server says of itself (RFC 7643 §5-§7, RFC 7644 §4). It advertises what is built.

use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::schema::{ResourceType, Schema};

/// The path of the protocol below the public address of the server.
pub const SCIM_PATH: &str = "/scim/v2";

/// The resources on a page when the client names no `count`.
pub const PAGE_COUNT_DEFAULT: u64 = 100;

/// The resources on a page at most, whatever `count` the client names.
pub const PAGE_COUNT_MAX: u64 = 1000;

/// The operations of a bulk request at most.
pub const BULK_OPERATIONS_MAX: usize = 1000;

/// The bytes of a bulk request at most: its operations are held in memory together.
pub const BULK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a cursor can be used, in seconds.
pub const CURSOR_SECONDS_MAX: i64 = 3600;

/// `/ServiceProviderConfig` (RFC 7643 §5, RFC 9865 §4). `base` is the absolute address of `/scim/v2`;
/// `conforms` says whether the connection's profile is the interoperability profile, `bulk_bytes_max` how
/// large a bulk request may be on this server.
#[must_use]
pub fn service_provider_config(base: &str, conforms: bool, bulk_bytes_max: usize) -> Value {
    let mut config = json!({
        "schemas": [schema_urns::SERVICE_PROVIDER_CONFIG],
        "patch": { "supported": true },
        "bulk": {
            "supported": true,
            "maxOperations": BULK_OPERATIONS_MAX,
            "maxPayloadSize": bulk_bytes_max,
        },
        "filter": { "supported": true, "maxResults": PAGE_COUNT_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": PAGE_COUNT_DEFAULT,
            "maxPageSize": PAGE_COUNT_MAX,
            "cursorTimeout": CURSOR_SECONDS_MAX,
        },
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
    });
    // Said only where it is true: strict clients refuse a member that RFC 7643 does not know.
    if let (true, Some(config)) = (conforms, config.as_object_mut()) {
        config.insert("interopProfileConformant".to_owned(), true.into());
    }
    config
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
