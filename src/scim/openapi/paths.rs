//! The endpoints and their operations.

use serde_json::{Map, Value, json};

use super::messages::list;
use super::part;
use super::resources::sent;
use super::shared::{answer, content, refusal};
use crate::scim::schema::ResourceType;
use crate::scim::schemas::Schemas;

/// What any request can be refused with.
const ANY: [u16; 4] = [401, 429, 500, 503];

const PROJECTION: [&str; 2] = ["attributes", "excludedAttributes"];

const QUERY: [&str; 8] = [
    "filter",
    "sortBy",
    "sortOrder",
    "startIndex",
    "count",
    "cursor",
    "attributes",
    "excludedAttributes",
];

/// One operation of an endpoint.
struct Operation {
    method: &'static str,
    id: String,
    summary: String,
    parameters: Vec<&'static str>,
    body: Option<String>,
    answers: Vec<(u16, Value)>,
    refusals: Vec<u16>,
}

/// Every endpoint, below the path of the protocol.
pub(super) fn all() -> Value {
    let mut paths = Map::new();
    let mut add = |path: &str, parameter: Option<&str>, operations: Vec<Operation>| {
        let tag = path.split('/').nth(1).unwrap_or_default();
        paths.insert(path.to_owned(), item(tag, parameter, operations));
    };
    for kind in Schemas::standard().types() {
        let endpoint = kind.endpoint;
        add(endpoint, None, vec![query(kind), create(kind)]);
        add(&format!("{endpoint}/.search"), None, vec![search(kind.name)]);
        let one = vec![read(kind), replace(kind), patch(kind), delete(kind)];
        add(&format!("{endpoint}/{{id}}"), Some("id"), one);
    }
    for (name, operation) in [("why", why()), ("reports", reports()), ("managers", managers())] {
        add(&format!("/Users/{{id}}/.{name}"), Some("id"), vec![operation]);
    }
    add("/.search", None, vec![search("Resource")]);
    add("/Bulk", None, vec![bulk()]);
    add("/Me", None, ["get", "post", "put", "patch", "delete"].map(me).into());
    add("/ServiceProviderConfig", None, vec![discover("ServiceProviderConfig", 403)]);
    for (name, key) in [("ResourceType", "name"), ("Schema", "urn")] {
        add(&format!("/{name}s"), None, vec![discover(&list(name), 403)]);
        add(&format!("/{name}s/{{{key}}}"), Some(key), vec![discover(name, 404)]);
    }
    paths.into()
}

fn item(tag: &str, parameter: Option<&str>, operations: Vec<Operation>) -> Value {
    let mut item = Map::new();
    if let Some(name) = parameter {
        item.insert("parameters".to_owned(), json!([part("parameters", name)]));
    }
    for operation in operations {
        item.insert(operation.method.to_owned(), operation.described(tag));
    }
    item.into()
}

impl Operation {
    fn described(self, tag: &str) -> Value {
        let mut refusals: Vec<u16> = self.refusals.into_iter().chain(ANY).collect();
        refusals.sort_unstable();
        refusals.dedup();
        let refused = refusals.into_iter().map(|status| (status, refusal(status)));
        let responses: Map<String, Value> = self
            .answers
            .into_iter()
            .chain(refused)
            .map(|(status, answer)| (status.to_string(), answer))
            .collect();
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [tag],
            "parameters": self
                .parameters
                .iter()
                .map(|name| part("parameters", name))
                .collect::<Vec<_>>(),
            "responses": responses,
        });
        if let (Some(body), Some(members)) = (self.body, described.as_object_mut()) {
            let body = json!({ "required": true, "content": content(&body) });
            members.insert("requestBody".to_owned(), body);
        }
        described
    }
}

fn query(kind: &ResourceType) -> Operation {
    Operation {
        method: "get",
        id: format!("list{}s", kind.name),
        summary: format!("Find {}s", kind.name),
        parameters: QUERY.into(),
        body: None,
        answers: vec![(200, answer("A page", &[], Some(&list(kind.name))))],
        refusals: vec![400],
    }
}

fn search(name: &str) -> Operation {
    Operation {
        method: "post",
        id: format!("search{name}s"),
        summary: format!("Find {name}s with a query in the body"),
        parameters: Vec::new(),
        body: Some("SearchRequest".to_owned()),
        answers: vec![(200, answer("A page", &[], Some(&list(name))))],
        refusals: vec![400, 413, 415],
    }
}

fn create(kind: &ResourceType) -> Operation {
    let created = answer("The new resource", &["Location", "ETag"], Some(kind.name));
    Operation {
        method: "post",
        id: format!("create{}", kind.name),
        summary: format!("Create a {}", kind.name),
        parameters: PROJECTION.into(),
        body: Some(sent(kind.name)),
        answers: vec![(201, created)],
        refusals: vec![400, 403, 409, 413, 415],
    }
}

fn read(kind: &ResourceType) -> Operation {
    Operation {
        method: "get",
        id: format!("read{}", kind.name),
        summary: format!("Read a {}", kind.name),
        parameters: [&PROJECTION[..], &["If-None-Match"]].concat(),
        body: None,
        answers: vec![
            (200, shown(kind)),
            (304, answer("The client has this version", &["ETag"], None)),
        ],
        refusals: vec![404],
    }
}

fn replace(kind: &ResourceType) -> Operation {
    Operation {
        method: "put",
        id: format!("replace{}", kind.name),
        summary: format!("Replace a {}", kind.name),
        parameters: [&PROJECTION[..], &["If-Match"]].concat(),
        body: Some(sent(kind.name)),
        answers: vec![(200, shown(kind))],
        refusals: vec![400, 403, 404, 409, 412, 413, 415],
    }
}

fn patch(kind: &ResourceType) -> Operation {
    let unshown = "Done; the resource has more members than an answer should carry";
    Operation {
        method: "patch",
        id: format!("patch{}", kind.name),
        summary: format!("Change parts of a {}", kind.name),
        parameters: [&PROJECTION[..], &["If-Match"]].concat(),
        body: Some("PatchOp".to_owned()),
        answers: vec![(200, shown(kind)), (204, answer(unshown, &["ETag"], None))],
        refusals: vec![400, 403, 404, 409, 412, 413, 415],
    }
}

fn delete(kind: &ResourceType) -> Operation {
    Operation {
        method: "delete",
        id: format!("delete{}", kind.name),
        summary: format!("Delete a {}", kind.name),
        parameters: vec!["If-Match"],
        body: None,
        answers: vec![(204, answer("Gone", &[], None))],
        refusals: vec![403, 404, 412],
    }
}

fn why() -> Operation {
    Operation {
        method: "get",
        id: "explainUser".to_owned(),
        summary: "Why a person may enter or not: every rule and who brought it about".to_owned(),
        parameters: Vec::new(),
        body: None,
        answers: vec![(
            200,
            answer("The rules in the order in which they decide", &[], Some("Why")),
        )],
        refusals: vec![404],
    }
}

fn reports() -> Operation {
    Operation {
        method: "get",
        id: "listReports".to_owned(),
        summary: "Who is linked to a person as the manager, up to 1,000 on a page".to_owned(),
        parameters: vec!["cursor"],
        body: None,
        answers: vec![(200, answer("A page", &[], Some(&list("User"))))],
        refusals: vec![400, 404],
    }
}

fn managers() -> Operation {
    Operation {
        method: "get",
        id: "listManagers".to_owned(),
        summary: "The managers of a person, the nearest first".to_owned(),
        parameters: Vec::new(),
        body: None,
        answers: vec![(200, answer("All of them", &[], Some(&list("User"))))],
        refusals: vec![404],
    }
}

fn bulk() -> Operation {
    Operation {
        method: "post",
        id: "bulk".to_owned(),
        summary: "Do many operations".to_owned(),
        parameters: Vec::new(),
        body: Some("BulkRequest".to_owned()),
        answers: vec![(200, answer("What became of each", &[], Some("BulkResponse")))],
        refusals: vec![400, 403, 413, 415],
    }
}

/// Keys belong to connections, not to people.
fn me(method: &'static str) -> Operation {
    Operation {
        method,
        id: format!("{method}Me"),
        summary: "Not offered: a key belongs to a connection, not to a person".to_owned(),
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        refusals: vec![501],
    }
}

/// What the server says of itself; lists refuse a `filter` with 403 (RFC 7644 §4).
fn discover(name: &str, refusal: u16) -> Operation {
    Operation {
        method: "get",
        id: format!("read{name}"),
        summary: "What the server offers (RFC 7644 §4); it cannot be filtered".to_owned(),
        parameters: Vec::new(),
        body: None,
        answers: vec![(200, answer("What the server offers", &[], Some(name)))],
        refusals: vec![refusal],
    }
}

fn shown(kind: &ResourceType) -> Value {
    answer("The resource", &["ETag"], Some(kind.name))
}
