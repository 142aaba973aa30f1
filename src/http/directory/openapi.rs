//! What [`DIRECTORY_PATH`] offers, in `OpenAPI` 3.1, for tools.

use serde_json::{Map, Value, json};

use super::DIRECTORY_PATH;
use crate::directory::{MemberKind, Status, StatusReason};
use crate::provision::reader::{READER_PAGE_DEFAULT, READER_PAGE_MAX};

const ABOUT: &str = "The directory of an instance, to be read, and its changes. A parameter that is not \
    described is answered 400, a path 404, a method 405. docs/directory-api.md says how to keep a copy.";

/// The refusals, by status: the name of each and what it means.
const REFUSALS: [(u16, &str, &str); 8] = [
    (400, "BadRequest", "A parameter is wrong or unknown"),
    (401, "Unauthorized", "No API key, or one that is unknown, expired or revoked"),
    (403, "Forbidden", "The key belongs to a connection"),
    (404, "NotFound", "There is no such account or group, or no longer"),
    (410, "Gone", "The history that the cursor belongs to is gone: read everything again"),
    (
        429,
        "TooManyRequests",
        "Too many requests of the instance wait: `Retry-After` says how long to wait",
    ),
    (500, "Internal", "The server failed"),
    (503, "Unavailable", "The database is away: `Retry-After` says for how many seconds to wait"),
];

/// What any request can be refused with.
const ANY: [u16; 6] = [400, 401, 403, 429, 500, 503];

/// The whole description; the same in each run.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "scimd directory",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": DIRECTORY_PATH }],
        "security": [{ "key": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": { "key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An API key that reads the directory",
            } },
            "parameters": parameters(),
            "responses": refusals(),
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let page = &["after", "limit"];
    let operations = [
        (
            "/accounts",
            "listAccounts",
            "People, in the order of their ids",
            &["after", "limit", "userName", "status", "directory"] as &[&str],
            "AccountPage",
        ),
        ("/accounts/{id}", "readAccount", "One of them", &[], "Account"),
        (
            "/accounts/{id}/groups",
            "listGroupsOfAccount",
            "The groups that a person directly belongs to",
            page,
            "GroupPage",
        ),
        (
            "/accounts/{id}/manager-chain",
            "readManagerChain",
            "The managers of a person, the nearest first",
            &[],
            "Accounts",
        ),
        ("/accounts/{id}/reports", "listReports", "Who reports to a person", page, "AccountPage"),
        (
            "/groups",
            "listGroups",
            "Groups, in the order of their ids",
            &["after", "limit", "displayName"],
            "GroupPage",
        ),
        ("/groups/{id}", "readGroup", "One of them", &[], "Group"),
        (
            "/groups/{id}/members",
            "listMembers",
            "The direct members of a group who are there",
            page,
            "MemberPage",
        ),
        (
            "/memberships",
            "listMemberships",
            "All memberships, whatever has become of their ends",
            page,
            "MembershipPage",
        ),
        (
            "/changes",
            "readChanges",
            "What the next events behind a cursor are about, as it is now",
            &["since", "limit"],
            "Changes",
        ),
    ];
    let path = |(path, id, summary, parameters, shows): (&str, &str, &str, &[&str], &str)| {
        (path.to_owned(), operation(path, id, summary, parameters, shows))
    };
    Value::Object(operations.into_iter().map(path).collect())
}

fn operation(path: &str, id: &str, summary: &str, parameters: &[&str], shows: &str) -> Value {
    let own = path.contains("{id}").then_some(404);
    let own = own.or_else(|| (path == "/changes").then_some(410));
    let mut answers = Map::from_iter([(
        "200".to_owned(),
        json!({
            "description": summary,
            "content": { "application/json": { "schema": part("schemas", shows) } },
        }),
    )]);
    for (status, name, _) in REFUSALS {
        if ANY.contains(&status) || own == Some(status) {
            answers.insert(status.to_string(), part("responses", name));
        }
    }
    let id_first = path.contains("{id}").then_some("id");
    let parameters: Vec<Value> = id_first
        .into_iter()
        .chain(parameters.iter().copied())
        .map(|name| part("parameters", name))
        .collect();
    let tag = path.split('/').nth(1).unwrap_or_default();
    json!({ "get": {
        "operationId": id,
        "summary": summary,
        "tags": [tag],
        "parameters": parameters,
        "responses": answers,
    } })
}

fn parameters() -> Value {
    let limit = json!({
        "type": "integer", "minimum": 1, "maximum": READER_PAGE_MAX, "default": READER_PAGE_DEFAULT,
    });
    let live = [Status::Active, Status::Blocked, Status::Suspended].map(Status::word);
    let text = || json!({ "type": "string" });
    let one = |(name, place, about, schema): (&str, &str, &str, Value)| {
        let parameter = json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": about,
            "schema": schema,
        });
        (name.to_owned(), parameter)
    };
    let all = [
        (
            "id",
            "path",
            "The id, as the server spells it",
            json!({ "type": "string", "format": "uuid" }),
        ),
        ("after", "query", "The `next` of the page before", text()),
        ("limit", "query", "The rows of a page, or the events behind a page of changes", limit),
        ("userName", "query", "The user name, in any case", text()),
        ("status", "query", "The status", json!({ "type": "string", "enum": live })),
        ("directory", "query", "The key of a directory", text()),
        ("displayName", "query", "The name, in any case", text()),
        ("since", "query", "The `next` of the last answer, or a `changesFrom`", text()),
    ];
    Value::Object(all.into_iter().map(one).collect())
}

fn refusals() -> Value {
    let refusal = |(_, name, about): (u16, &str, &str)| {
        let content = json!({ "application/scim+json": { "schema": part("schemas", "Error") } });
        (name.to_owned(), json!({ "description": about, "content": content }))
    };
    Value::Object(REFUSALS.into_iter().map(refusal).collect())
}

fn schemas() -> Value {
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add("Account", account());
    add("Group", group());
    add("Member", record(&[("id", id()), ("kind", kind()), ("displayName", text())]));
    let ends = [("group", id()), ("member", id()), ("memberKind", kind())];
    add("Membership", record(&ends));
    add("Accounts", record(&[("accounts", list("Account"))]));
    for (name, items) in [
        ("Account", "accounts"),
        ("Group", "groups"),
        ("Member", "members"),
        ("Membership", "memberships"),
    ] {
        let mut page = record(&[(items, list(name)), ("next", or_null(&text()))]);
        if let Some(properties) = page.get_mut("properties").and_then(Value::as_object_mut) {
            let about =
                "Where the feed stood before this list; on the first page of what changes tell";
            let cursor = json!({ "type": "string", "description": about });
            properties.insert("changesFrom".to_owned(), cursor);
        }
        add(&format!("{name}Page"), page);
    }
    add(
        "Changes",
        record(&[
            ("changes", list("Change")),
            ("next", text()),
            ("more", json!({ "type": "boolean" })),
        ]),
    );
    add("Change", change());
    add(
        "Error",
        json!({
            "type": "object",
            "required": ["schemas", "status", "detail"],
            "properties": {
                "schemas": { "type": "array", "items": text() },
                "status": text(), "scimType": text(), "detail": text(),
            },
        }),
    );
    Value::Object(all)
}

fn account() -> Value {
    let reasons = StatusReason::ALL.iter().map(|reason| reason.word());
    let reasons: Vec<Value> = reasons.map(Value::from).chain([Value::Null]).collect();
    let live = [Status::Active, Status::Blocked, Status::Suspended].map(Status::word);
    record(&[
        ("id", id()),
        ("userName", text()),
        ("displayName", or_null(&text())),
        ("status", json!({ "type": "string", "enum": live })),
        ("statusReason", json!({ "enum": reasons })),
        ("directory", or_null(&text())),
        ("externalId", or_null(&text())),
        ("fields", json!({ "type": "object", "additionalProperties": text() })),
        ("manager", or_null(&id())),
        ("createdAt", time()),
        ("modifiedAt", time()),
        ("version", json!({ "type": "integer" })),
    ])
}

fn group() -> Value {
    record(&[
        ("id", id()),
        ("displayName", text()),
        ("directory", or_null(&text())),
        ("externalId", or_null(&text())),
        ("createdAt", time()),
        ("modifiedAt", time()),
        ("version", json!({ "type": "integer" })),
    ])
}

fn change() -> Value {
    let is = |kind: &str| ("kind", json!({ "const": kind }));
    let state = || ("state", json!({ "type": "string", "enum": ["live", "deleted", "purged"] }));
    let account = ("account", or_null(&part("schemas", "Account")));
    let group = ("group", or_null(&part("schemas", "Group")));
    json!({ "oneOf": [
        record(&[is("account"), ("id", id()), state(), account]),
        record(&[is("group"), ("id", id()), state(), group]),
        record(&[
            is("membership"),
            ("group", id()),
            ("member", id()),
            ("memberKind", or_null(&kind())),
            ("present", json!({ "type": "boolean" })),
        ]),
    ] })
}

/// An object that has all of these members.
fn record(members: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let members = members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "required": names, "properties": members.collect::<Map<_, _>>() })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": part("schemas", of) })
}

fn or_null(schema: &Value) -> Value {
    json!({ "oneOf": [schema, { "type": "null" }] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn kind() -> Value {
    json!({ "type": "string", "enum": [MemberKind::Account.word(), MemberKind::Group.word()] })
}

/// Points to a part of `components`.
fn part(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
}
