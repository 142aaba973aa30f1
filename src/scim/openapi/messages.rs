//! The shapes of messages (RFC 7644) and of what discovery answers (RFC 7643 §5-§7).

use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::shape;
use super::shared::{self, message_urn};
use crate::scim::message::PATCH_OPERATIONS_MAX;
use crate::scim::schemas::Schemas;

/// Every message by its name.
pub(super) fn shapes() -> Vec<(String, Value)> {
    let any: Vec<Value> = Schemas::standard().types().iter().map(|kind| shape(kind.name)).collect();
    let shapes = [
        (list("Resource"), list_response(&json!({ "anyOf": any }))),
        ("PatchOp".to_owned(), patch_op()),
        ("SearchRequest".to_owned(), search_request()),
        ("BulkRequest".to_owned(), bulk_request()),
        ("BulkResponse".to_owned(), bulk_response()),
        ("Error".to_owned(), shared::error()),
        ("ServiceProviderConfig".to_owned(), service_provider_config()),
        ("ResourceType".to_owned(), resource_type()),
        (list("ResourceType"), list_response(&shape("ResourceType"))),
        ("Schema".to_owned(), schema()),
        (list("Schema"), list_response(&shape("Schema"))),
        ("Attribute".to_owned(), schema_attribute()),
        ("Why".to_owned(), why()),
    ];
    shapes.into()
}

/// The name of a page of resources.
pub(super) fn list(name: &str) -> String {
    format!("{name}List")
}

/// A page: by index it has `startIndex`, by cursor `nextCursor` instead, except on the last page.
pub(super) fn list_response(item: &Value) -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": "object",
        "description": "A page of a query (RFC 7644 §3.4.2, RFC 9865)",
        "required": ["schemas", "totalResults", "itemsPerPage", "Resources"],
        "properties": {
            "schemas": message_urn(schema_urns::LIST_RESPONSE),
            "totalResults": whole,
            "startIndex": { "type": "integer", "minimum": 1 },
            "itemsPerPage": whole,
            "nextCursor": { "type": "string" },
            "Resources": { "type": "array", "items": item },
        },
        "additionalProperties": false,
    })
}

fn why() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    let rule = json!({
        "type": "object",
        "required": ["fact", "applies", "decides", "says", "remedy", "by"],
        "properties": {
            "fact": { "enum": ["deleted", "hand", "active", "scope", "source", "seat"] },
            "applies": { "type": "boolean" },
            "decides": { "type": "boolean", "description": "Whether this rule made the status" },
            "says": { "type": "string", "description": "What is so, in plain words" },
            "remedy": { "type": ["string", "null"], "description": "What would change it" },
            "by": {
                "type": ["object", "null"],
                "description": "The event that made it so",
                "required": ["at", "action", "actor", "request_id", "run", "cause"],
                "properties": {
                    "at": time,
                    "action": { "type": "string" },
                    "actor": { "type": "string" },
                    "request_id": { "type": ["string", "null"] },
                    "run": { "type": ["string", "null"] },
                    "cause": { "description": "The group or the setting that moved" },
                },
            },
        },
    });
    json!({
        "type": "object",
        "description": "The chain of causes behind the status of an account",
        "required": ["id", "user_name", "status", "reason", "rules", "hand", "queued_at"],
        "properties": {
            "id": { "type": "string" },
            "user_name": { "type": "string" },
            "status": { "type": "string" },
            "reason": { "type": ["string", "null"] },
            "rules": { "type": "array", "items": rule },
            "hand": { "type": ["object", "null"], "description": "The administrator's last word" },
            "queued_at": { "type": ["string", "null"], "description": "In the queue for a seat since" },
        },
    })
}

fn patch_op() -> Value {
    let path = json!({
        "type": "string",
        "description": "Where (RFC 7644 §3.5.2); without it, the keys of `value` are the paths",
        "examples": ["active", "emails[type eq \"work\"].value"],
    });
    json!({
        "type": "object",
        "description": "Changes of a resource (RFC 7644 §3.5.2)",
        "required": ["schemas", "Operations"],
        "properties": {
            "schemas": message_urn(schema_urns::PATCH_OP),
            "Operations": {
                "type": "array",
                "minItems": 1,
                "maxItems": PATCH_OPERATIONS_MAX,
                "items": { "anyOf": [
                    {
                        "type": "object",
                        "required": ["op", "value"],
                        "properties": {
                            "op": { "enum": ["add", "replace"] },
                            "path": path,
                            "value": { "description": "With what; null clears an attribute" },
                        },
                        "additionalProperties": false,
                    },
                    {
                        "type": "object",
                        "required": ["op", "path"],
                        "properties": { "op": { "const": "remove" }, "path": path },
                        "additionalProperties": false,
                    },
                ] },
            },
        },
        "additionalProperties": false,
    })
}

fn search_request() -> Value {
    let names = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "description": "A query that does not fit into an address (RFC 7644 §3.4.3)",
        "required": ["schemas"],
        "properties": {
            "schemas": message_urn(schema_urns::SEARCH_REQUEST),
            "attributes": names,
            "excludedAttributes": names,
            "filter": { "type": "string" },
            "sortBy": { "type": "string" },
            "sortOrder": shared::sort_order(),
            "startIndex": shared::start_index(),
            "count": shared::count(),
            "cursor": shared::cursor(),
        },
        "additionalProperties": false,
    })
}

fn bulk_request() -> Value {
    json!({
        "type": "object",
        "description": "Many requests in one (RFC 7644 §3.7)",
        "required": ["schemas", "Operations"],
        "properties": {
            "schemas": message_urn(schema_urns::BULK_REQUEST),
            "failOnErrors": { "type": "integer", "minimum": 1 },
            "Operations": { "type": "array", "items": {
                "type": "object",
                "required": ["method", "path"],
                "properties": {
                    "method": { "enum": ["POST", "PUT", "PATCH", "DELETE"] },
                    "path": { "type": "string", "examples": ["/Users"] },
                    "bulkId": { "type": "string", "description": "The client's name for it" },
                    "version": { "type": "string", "description": "As `If-Match`" },
                    "data": { "type": "object" },
                },
                "additionalProperties": false,
            } },
        },
        "additionalProperties": false,
    })
}

fn bulk_response() -> Value {
    json!({
        "type": "object",
        "description": "What became of each operation (RFC 7644 §3.7)",
        "required": ["schemas", "Operations"],
        "properties": {
            "schemas": message_urn(schema_urns::BULK_RESPONSE),
            "Operations": { "type": "array", "items": {
                "type": "object",
                "required": ["method", "status"],
                "properties": {
                    "method": { "type": "string", "description": "As it was sent" },
                    "status": { "type": "string", "pattern": "^[1-5][0-9]{2}$" },
                    "location": {
                        "type": "string",
                        "description": "The address of the resource; of a path that is none, as it was sent",
                    },
                    "bulkId": { "type": "string" },
                    "version": { "type": "string" },
                    "response": { "type": "object" },
                },
            } },
        },
    })
}

fn service_provider_config() -> Value {
    let supported = |more: Value| {
        let mut properties = json!({ "supported": { "type": "boolean" } });
        if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
            properties.extend(more);
        }
        json!({ "type": "object", "required": ["supported"], "properties": properties })
    };
    let whole = json!({ "type": "integer", "minimum": 0 });
    let features = ["patch", "bulk", "filter", "changePassword", "sort", "etag"];
    discovered(
        schema_urns::SERVICE_PROVIDER_CONFIG,
        &[&features[..], &["authenticationSchemes"]].concat(),
        json!({
            "patch": supported(json!({})),
            "bulk": supported(json!({ "maxOperations": whole, "maxPayloadSize": whole })),
            "filter": supported(json!({ "maxResults": whole })),
            "changePassword": supported(json!({})),
            "sort": supported(json!({})),
            "etag": supported(json!({})),
            "authenticationSchemes": { "type": "array", "items": {
                "type": "object",
                "required": ["type", "name", "description"],
            } },
        }),
    )
}

fn resource_type() -> Value {
    let text = json!({ "type": "string" });
    discovered(
        schema_urns::RESOURCE_TYPE,
        &["id", "name", "endpoint", "schema"],
        json!({
            "id": text,
            "name": text,
            "description": text,
            "endpoint": text,
            "schema": text,
            "schemaExtensions": { "type": "array", "items": {
                "type": "object",
                "required": ["schema", "required"],
                "properties": { "schema": text, "required": { "type": "boolean" } },
            } },
        }),
    )
}

fn schema() -> Value {
    let text = json!({ "type": "string" });
    let attributes = json!({ "type": "array", "items": shape("Attribute") });
    discovered(
        schema_urns::SCHEMA,
        &["id", "name", "attributes"],
        json!({ "id": text, "name": text, "description": text, "attributes": attributes }),
    )
}

fn discovered(urn: &str, required: &[&str], mut properties: Value) -> Value {
    if let Some(properties) = properties.as_object_mut() {
        properties.shift_insert(0, "schemas".to_owned(), message_urn(urn));
        properties.insert("meta".to_owned(), shape("Meta"));
    }
    let required = [&["schemas"], required, &["meta"]].concat();
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
    })
}

/// The characteristics of RFC 7643 §2.2.
fn schema_attribute() -> Value {
    let (text, flag) = (json!({ "type": "string" }), json!({ "type": "boolean" }));
    let texts = json!({ "type": "array", "items": text });
    json!({
        "type": "object",
        "required": ["name", "type", "multiValued"],
        "properties": {
            "name": text,
            "type": { "enum": [
                "string", "boolean", "decimal", "integer", "dateTime", "binary", "reference",
                "complex",
            ] },
            "subAttributes": { "type": "array", "items": shape("Attribute") },
            "multiValued": flag,
            "description": text,
            "required": flag,
            "canonicalValues": texts,
            "caseExact": flag,
            "mutability": { "enum": ["readOnly", "readWrite", "immutable", "writeOnly"] },
            "returned": { "enum": ["always", "never", "default", "request"] },
            "uniqueness": { "enum": ["none", "server", "global"] },
            "referenceTypes": texts,
        },
    })
}
