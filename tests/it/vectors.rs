//! The recorded habits of Okta and Entra, replayed over real HTTP (`tests/vectors/README.md`).

use std::collections::HashMap;
use std::path::Path;

use scimd::directory::ConnectionKind;
use serde_json::Value;

use super::support::{TestInstance, TestServer, both};

const LIFECYCLES: [&str; 4] = ["okta-aiw", "okta-oin", "entra-default", "entra-flag"];

/// The exchanges that `tests/vectors` holds: a lost file must not go unnoticed.
const EXCHANGES: usize = 110;

both! {
    async fn every_lifecycle_runs_through(database) {
        let mut played = 0;
        let first = TestInstance::on(&database).await;
        let server = TestServer::start(first.app.clone()).await;
        for lifecycle in LIFECYCLES {
            played += play(&first.named(lifecycle).await, &server.base, lifecycle).await;
        }
        server.stop().await;
        assert_eq!(played, EXCHANGES);
    }
}

async fn play(test: &TestInstance, base: &str, lifecycle: &str) -> usize {
    let kind =
        if lifecycle.starts_with("okta") { ConnectionKind::Okta } else { ConnectionKind::Entra };
    let connection = test.connection(kind, lifecycle).await;
    let mut variables = HashMap::from([("token".to_owned(), test.token(&connection).await)]);
    let vectors = load(lifecycle);
    for vector in &vectors {
        preload(test, vector, &mut variables).await;
        exchange(base, vector, &mut variables).await;
    }
    vectors.len()
}

fn load(lifecycle: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut vectors: Vec<Value> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|vector: &Value| vector["lifecycle"] == lifecycle)
        .collect();
    vectors.sort_by_key(|vector| vector["seq"].as_i64());
    vectors
}

/// The accounts that the intranet has before the identity provider comes: Local ones.
async fn preload(test: &TestInstance, vector: &Value, variables: &mut HashMap<String, String>) {
    for given in vector.pointer("/given/users").and_then(Value::as_array).into_iter().flatten() {
        let mut document = given.as_object().unwrap().clone();
        let save = document.shift_remove("save");
        let author = test.app.provision.operator();
        let created =
            test.app.provision.create_local_account(test.id, &author, document).await.unwrap();
        if let Some(name) = save.as_ref().and_then(Value::as_str) {
            variables.insert(name.to_owned(), created.id.to_string());
        }
    }
}

async fn exchange(base: &str, vector: &Value, variables: &mut HashMap<String, String>) {
    let name = format!("{} {} {}", vector["lifecycle"], vector["seq"], vector["name"]);
    let text = |pointer: &str| fill(vector.pointer(pointer).unwrap().as_str().unwrap(), variables);
    let method = text("/method").parse::<reqwest::Method>().unwrap();
    let url = format!("{base}/scim/v2{}", text("/path"));
    let mut request = reqwest::Client::new().request(method.clone(), url);
    for (header, value) in vector["headers"].as_object().unwrap() {
        request = request.header(header, fill(value.as_str().unwrap(), variables));
    }
    if !vector["body"].is_null() {
        request = request.body(fill(&vector["body"].to_string(), variables));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await.unwrap();
    let body: Value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{name}: not JSON: {bytes:?}"))
    };
    let expect = &vector["expect"];
    let allowed = match &expect["status"] {
        Value::Array(allowed) => allowed.iter().any(|one| one == status),
        one => one == status,
    };
    assert!(allowed, "{name}: status {status}, body {body}");
    for (header, value) in expect["headers"].as_object().into_iter().flatten() {
        let sent = headers.get(header).map(|sent| sent.to_str().unwrap()).unwrap_or_default();
        assert!(sent.starts_with(value.as_str().unwrap()), "{name}: {header}: {sent}");
    }
    if status != 204 {
        let has: Value =
            serde_json::from_str(&fill(&expect["body_has"].to_string(), variables)).unwrap();
        for (pointer, matcher) in has.as_object().into_iter().flatten() {
            let pointer = fill(pointer, variables);
            let found = lookup(&body, &pointer);
            assert!(
                matches(matcher, found),
                "{name}: {pointer} is {found:?}, not {matcher}: {body}"
            );
        }
    }
    for (variable, pointer) in vector["save"].as_object().into_iter().flatten() {
        let saved = lookup(&body, pointer.as_str().unwrap()).and_then(Value::as_str).unwrap();
        variables.insert(variable.clone(), saved.to_owned());
    }
}

fn fill(text: &str, variables: &HashMap<String, String>) -> String {
    variables.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

fn lookup<'v>(body: &'v Value, pointer: &str) -> Option<&'v Value> {
    body.pointer(pointer).filter(|value| !value.is_null())
}

fn matches(matcher: &Value, found: Option<&Value>) -> bool {
    let Some(rules) =
        matcher.as_object().filter(|rules| rules.keys().all(|key| key.starts_with('$')))
    else {
        return found == Some(matcher);
    };
    let items = || found.and_then(Value::as_array).cloned().unwrap_or_default();
    let has = |members: &Value| {
        let holds = |item: &Value| {
            members.as_object().unwrap().iter().all(|(key, value)| item.get(key) == Some(value))
        };
        items().iter().any(holds)
    };
    rules.iter().all(|(rule, wanted)| match (rule.as_str(), wanted.as_str()) {
        ("$is", Some("present")) => found.is_some(),
        ("$is", Some("absent")) => found.is_none(),
        ("$is", Some("int")) => found.is_some_and(|value| value.is_i64() || value.is_u64()),
        ("$is", Some("bool")) => found.is_some_and(Value::is_boolean),
        ("$is", Some("string")) => found.is_some_and(Value::is_string),
        ("$is", Some("empty")) => found.is_none() || found == Some(&Value::Array(Vec::new())),
        ("$len", _) => items().len() as u64 == wanted.as_u64().unwrap(),
        ("$has", _) => has(wanted),
        ("$not_has", _) => !has(wanted),
        ("$contains", _) => items().contains(wanted),
        ("$oneof", _) => wanted.as_array().unwrap().iter().any(|one| found == Some(one)),
        _ => panic!("unknown matcher {rule}: {wanted}"),
    })
}

#[test]
fn matchers_can_fail() {
    let value = serde_json::json!({ "a": [{ "b": 1 }], "n": 1, "s": "x" });
    let at = |pointer| lookup(&value, pointer);
    for (matcher, pointer) in [
        (serde_json::json!({ "$is": "absent" }), "/a"),
        (serde_json::json!({ "$is": "string" }), "/n"),
        (serde_json::json!({ "$is": "empty" }), "/a"),
        (serde_json::json!({ "$len": 2 }), "/a"),
        (serde_json::json!({ "$has": { "b": 2 } }), "/a"),
        (serde_json::json!({ "$not_has": { "b": 1 } }), "/a"),
        (serde_json::json!({ "$oneof": ["y"] }), "/s"),
        (serde_json::json!("y"), "/s"),
    ] {
        assert!(!matches(&matcher, at(pointer)), "{matcher} at {pointer}");
    }
}
