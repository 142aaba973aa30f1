//! What many operations share: parameters, headers and refusals.

use scim_v2::schema_urns;
use serde_json::{Map, Value, json};

use super::{part, shape};
use crate::scim::discovery::{PAGE_COUNT_DEFAULT, PAGE_COUNT_MAX};
use crate::scim::schemas::Schemas;

/// The media type of every body (RFC 7644 §8.1).
const SCIM_JSON: &str = "application/scim+json";

/// Every status of a refusal (RFC 7644 §3.12), the name of its response and what it means.
const REFUSALS: [(u16, &str, &str); 13] = [
    (400, "BadRequest", "The request is wrong; `scimType` says how"),
    (401, "Unauthorized", "No API key, or one that is unknown, expired or revoked"),
    (403, "Forbidden", "The key is good, the operation is not allowed"),
    (404, "NotFound", "No such resource, or not one of this connection"),
    (405, "MethodNotAllowed", "The endpoint does not know the method"),
    (409, "Conflict", "Another resource holds a value that must be unique"),
    (412, "PreconditionFailed", "The resource is no longer the version that the client named"),
    (413, "TooLarge", "The body, or the number of its operations, is over the limit"),
    (415, "UnsupportedMediaType", "The body is not JSON"),
    (429, "TooManyRequests", "Too many requests of the instance wait, or its connection is paused"),
    (500, "Internal", "The server failed; nothing was acknowledged"),
    (501, "NotImplemented", "A part of the protocol that this server does not offer"),
    (503, "Unavailable", "The database is away, full or contended; nothing was acknowledged"),
];

/// The keywords of RFC 7644 §3.12, Table 9, and of RFC 9865 §2.1 that the server uses.
const SCIM_TYPES: [&str; 11] = [
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
    "invalidCursor",
    "expiredCursor",
    "invalidCount",
];

/// The parameters, by the names under which operations point to them.
pub(super) fn parameters() -> Value {
    let kinds: Vec<&str> = Schemas::standard().types().iter().map(|kind| kind.name).collect();
    let urns: Vec<&str> = Schemas::standard().all().map(|schema| schema.id.as_str()).collect();
    let text = |about: &str, example: &str| json!({ "type": "string", "description": about, "examples": [example] });
    let listed = [
        ("id", path(&json!({ "type": "string", "description": "The `id` of the resource" }))),
        ("name", path(&json!({ "type": "string", "examples": kinds }))),
        ("urn", path(&json!({ "type": "string", "examples": urns }))),
        ("filter", query(&text("Which resources (RFC 7644 §3.4.2.2)", "displayName sw \"A\""))),
        ("sortBy", query(&text("The attribute to sort by (RFC 7644 §3.4.2.3)", "displayName"))),
        ("sortOrder", query(&sort_order())),
        ("startIndex", query(&start_index())),
        ("count", query(&count())),
        ("cursor", query(&cursor())),
        ("attributes", names("Only these attributes (RFC 7644 §3.9)")),
        ("excludedAttributes", names("All attributes but these (RFC 7644 §3.9)")),
        ("If-Match", header("Only if the resource still has one of these versions")),
        ("If-None-Match", header("Only if the resource no longer has one of these versions")),
    ];
    let named = listed.into_iter().map(|(name, mut parameter)| {
        if let Some(members) = parameter.as_object_mut() {
            members.shift_insert(0, "name".to_owned(), name.into());
        }
        (name.to_owned(), parameter)
    });
    Value::Object(named.collect())
}

pub(super) fn sort_order() -> Value {
    json!({ "type": "string", "enum": ["ascending", "descending"], "default": "ascending" })
}

pub(super) fn start_index() -> Value {
    json!({
        "type": "integer",
        "format": "int64",
        "description": "The place of the first resource of the page",
        "minimum": 1,
        "default": 1,
    })
}

pub(super) fn count() -> Value {
    json!({
        "type": "integer",
        "format": "int64",
        "description": format!("The resources of the page; at most {PAGE_COUNT_MAX} are answered"),
        "minimum": 0,
        "default": PAGE_COUNT_DEFAULT,
    })
}

pub(super) fn cursor() -> Value {
    json!({
        "type": "string",
        "description": "`nextCursor` of the page before; empty for the first page (RFC 9865)",
    })
}

/// The headers of answers.
pub(super) fn headers() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "X-Request-Id": {
            "description": "The request, in the log and in the audit trail too",
            "required": true,
            "schema": text,
        },
        "ETag": { "description": "The version of the resource, as `meta.version`", "schema": text },
        "Location": {
            "description": "The address of the new resource",
            "required": true,
            "schema": { "type": "string", "format": "uri" },
        },
        "WWW-Authenticate": {
            "description": "How to authenticate (RFC 6750)",
            "required": true,
            "schema": text,
        },
        "Retry-After": {
            "description": "Seconds to wait before the next attempt",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}

/// The refusals, by name.
pub(super) fn refusals() -> Value {
    let refusal = |&(status, name, about): &(u16, &str, &str)| {
        let headers: &[&str] = match status {
            401 => &["WWW-Authenticate"],
            429 | 503 => &["Retry-After"],
            _ => &[],
        };
        (name.to_owned(), answer(about, headers, Some("Error")))
    };
    let listed = REFUSALS.iter().filter(|(status, ..)| *status != 405).map(refusal);
    Value::Object(listed.collect())
}

/// The Error message: four members and no others (`ScimError::body`).
pub(super) fn error() -> Value {
    let statuses = REFUSALS.map(|(status, ..)| status.to_string());
    json!({
        "type": "object",
        "description": "A refusal (RFC 7644 §3.12)",
        "required": ["schemas", "status", "detail"],
        "properties": {
            "schemas": message_urn(schema_urns::ERROR),
            "status": { "type": "string", "enum": statuses },
            "scimType": { "type": "string", "enum": SCIM_TYPES },
            "detail": { "type": "string", "description": "What went wrong and what to do" },
        },
        "additionalProperties": false,
    })
}

/// The `schemas` of a message.
pub(super) fn message_urn(urn: &str) -> Value {
    json!({ "type": "array", "items": { "const": urn }, "minItems": 1, "maxItems": 1 })
}

/// Points to the refusal with this status.
pub(super) fn refusal(status: u16) -> Value {
    let found = REFUSALS.iter().find(|(known, ..)| *known == status);
    debug_assert!(found.is_some(), "{status} is no refusal");
    found.map_or(Value::Null, |(_, name, _)| part("responses", name))
}

/// An answer; `X-Request-Id` is part of each.
pub(super) fn answer(about: &str, headers: &[&str], body: Option<&str>) -> Value {
    let headers: Map<String, Value> = ["X-Request-Id"]
        .iter()
        .chain(headers)
        .map(|&name| (name.to_owned(), part("headers", name)))
        .collect();
    let mut answer = json!({ "description": about, "headers": headers });
    if let (Some(body), Some(answer)) = (body, answer.as_object_mut()) {
        answer.insert("content".to_owned(), content(body));
    }
    answer
}

/// The content of a request or an answer.
pub(super) fn content(name: &str) -> Value {
    json!({ SCIM_JSON: { "schema": shape(name) } })
}

fn query(schema: &Value) -> Value {
    json!({ "in": "query", "schema": schema })
}

/// A list of names, separated by commas.
fn names(about: &str) -> Value {
    let schema = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "in": "query",
        "description": about,
        "style": "form",
        "explode": false,
        "schema": schema,
    })
}

fn path(schema: &Value) -> Value {
    json!({ "in": "path", "required": true, "schema": schema })
}

fn header(about: &str) -> Value {
    json!({ "in": "header", "description": about, "schema": { "type": "string" } })
}
