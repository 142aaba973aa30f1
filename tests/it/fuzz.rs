//! What is JSON but makes little sense: the server may refuse it or take it, and stays up.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::support::{
    CORE, ENTERPRISE, GROUP, PATCH_OP, Scene, assert_refused, assert_sane, both, person, raw,
};

both! {
    async fn huge_numbers_and_duplicate_keys_do_no_harm(database) {
        let scene = Scene::on(&database).await;
        for text in [
            r#"{"schemas":["C"],"userName":"u","userName":"v"}"#,
            r#"{"schemas":["C"],"userName":"u","USERNAME":"v"}"#,
            r#"{"schemas":["C"],"schemas":[],"userName":"u"}"#,
            r#"{"schemas":["C"],"userName":"u","active":true,"Active":false}"#,
            r#"{"schemas":["C"],"userName":"u","name":{"givenName":"a","givenname":"b"}}"#,
            r#"{"schemas":["C"],"userName":1e400}"#,
            r#"{"schemas":["C"],"userName":123456789012345678901234567890}"#,
            r#"{"schemas":["C"],"userName":-0.0}"#,
            r#"{"schemas":["C"],"userName":"u","x":1e308,"urn:x:y":{"z":99999999999999999999}}"#,
            r#"{"schemas":["C"],"userName":"u","active":1}"#,
            r#"{"schemas":["P"],"Operations":[],"operations":[{"op":"add"}]}"#,
            r#"{"schemas":["P"],"Operations":[{"op":"add","OP":"remove","path":"x","value":1}]}"#,
            r#"{"schemas":["P"],"Operations":[{"op":"add","value":{"name":{"givenName":"a"},
                "name.givenName":"b","name":null}}]}"#,
            r#"{"schemas":["P"],"Operations":[{"op":"add","path":"name","value":{"givenName":1}},
                {"op":"remove","path":"name"},{"op":"add","path":"name.givenName","value":2}]}"#,
        ] {
            let body = text.replace("\"C\"", &format!("\"{CORE}\"")).replace(
                "\"P\"", &format!("\"{PATCH_OP}\""),
            );
            for (place, answer) in scene.send_everywhere(body.as_bytes()).await {
                assert_sane(&answer, &format!("{place} {body}"));
            }
        }
        let nested = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        let inside = format!(
            r#"{{"schemas":["{CORE}"],"userName":"deep","x":{nested},"urn:x:y":{{"z":{nested}}}}}"#,
        );
        let brackets = "[{(".repeat(100_000);
        for body in [
            inside,
            person(
                "deep2", json!({ "roles": [{ "value": brackets }], "title": brackets }),
            ).to_string(),
        ] {
            let answer = raw(&scene.client, "POST", "/Users", body.into_bytes()).await;
            assert_sane(&answer, "deep");
            if answer.status == 201 {
                assert_eq!(
                    scene.client.get(&format!("/Users/{}", answer.text("/id"))).await.status, 200,
                );
            }
        }
        for query in [
            "startIndex=x", "count=x", "count=1.5", "startIndex=1e3", "count=99999999999999999999",
            "startIndex=%00", "count=0x10",
        ] {
            let detail = assert_refused(
                &scene.client.get(&format!("/Users?{query}")).await, 400, "invalidValue",
            );
            assert!(detail.contains(query.split('=').next().unwrap()), "{detail}");
        }
        let max = i64::MAX;
        for query in [
            format!("startIndex={max}"), format!("startIndex={}&count={}", i64::MIN, i64::MIN),
            format!("count={max}"), format!("startIndex={max}&count={max}&filter=id+pr"),
        ] {
            for endpoint in ["/Users", "/Groups"] {
                let answer = scene.client.get(&format!("{endpoint}?{query}")).await;
                assert_eq!(answer.status, 200, "{query}: {answer:?}");
            }
        }
        for filter in [
            "(".repeat(20_000), "not (".repeat(1500),
            format!("{}userName pr{}", "(".repeat(65), ")".repeat(65)),
            "emails[".repeat(1000), format!("userName eq \"{}", "[".repeat(9000)),
            "userName pr and ".repeat(1000),
            format!("userName eq \"{}\"", "\u{fdfa}".repeat(3000)),
        ] {
            let shown: String = filter.chars().take(30).collect();
            let answer = scene.client.find("/Users", &filter).await;
            assert_eq!(answer.status, 400, "{shown}");
            assert!(assert_refused(&answer, 400, "invalidFilter").len() < 500);
        }
        let long = format!("userName eq \"{}\"", "\u{fdfa}".repeat(2000));
        assert_sane(&scene.client.find("/Users", &long).await, "a long filter");
    }

    async fn nothing_that_is_json_brings_the_server_down(database) {
        let scene = Scene::on(&database).await;
        let mut runner = TestRunner::deterministic();
        for _ in 0..200 {
            let mut body = any_message().new_tree(&mut runner).unwrap().current();
            if let Some(mutation) = prop::option::of(
                (any::<prop::sample::Index>(), any_json()),
            ).new_tree(&mut runner).unwrap().current() {
                mutate(&mut body, mutation.0.index(20), mutation.1);
            }
            for (place, answer) in scene.send_everywhere(body.to_string().as_bytes()).await {
                assert_sane(&answer, &format!("{place} {body}"));
            }
            let filter = "[a-zA-Z.:\\[\\]() \"\\\\$0-9]{0,40}|\
                          (userName|emails|active|meta.created|id|groups|members)\
                          (\\[type|\\.value)? (eq|co|gt|pr) [\"\\]a-z0-9 ]{0,9}";
            let filter = filter.new_tree(&mut runner).unwrap().current();
            for endpoint in ["/Users", "/Groups"] {
                assert_sane(&scene.client.find(endpoint, &filter).await, &filter);
            }
            let query = any_query().new_tree(&mut runner).unwrap().current();
            for endpoint in ["/Users", "/Groups", "/"] {
                assert_sane(&scene.client.get(&format!("{endpoint}?{query}")).await, &query);
            }
        }
        for path in [scene.user.as_str(), &scene.group, "/Users", "/Groups?count=1000"] {
            assert_eq!(scene.client.get(path).await.status, 200, "{path}");
        }
    }

    /// What was answered 2xx is what a GET shows, and to say it again changes nothing.
    async fn what_was_acknowledged_reads_back(database) {
        let scene = Scene::on(&database).await;
        let client = &scene.client;
        let mut runner = TestRunner::deterministic();
        let mut acknowledged = 0;
        for round in 0..150 {
            let (key, value) = (any_word(), any_json()).new_tree(&mut runner).unwrap().current();
            let body = person(&format!("reads{round}"), json!({ "title": "x", key: value }));
            let mut answers = vec![client.post("/Users", body).await];
            let Some(path) = answers[0].body["id"].as_str().map(|id| format!("/Users/{id}")) else {
                continue;
            };
            let change = any_patch().new_tree(&mut runner).unwrap().current();
            answers.push(client.send("PATCH", &path, Some(change.clone())).await);
            for answer in answers.iter().filter(|answer| answer.status < 300) {
                acknowledged += 1;
                assert_eq!(answer.body["userName"], format!("reads{round}"), "{answer:?}");
                assert!(answer.body.get("password").is_none(), "{answer:?}");
            }
            let read = client.get(&path).await;
            let last = answers.iter().rfind(|answer| answer.status < 300).unwrap();
            assert_eq!(read.body, last.body, "{change}");
            assert_eq!(client.put(&path, read.body.clone()).await.body, read.body, "{change}");
            let listed = client.find("/Users", &format!("userName eq \"reads{round}\"")).await;
            assert_eq!(listed.at("/Resources/0"), read.body);
            assert_eq!(client.delete(&path).await.status, 204);
        }
        assert!(acknowledged > 100, "{acknowledged} acknowledged: the others show nothing");
    }
}

/// A query with parameters that may mean something.
fn any_query() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "sortBy",
        "sortOrder",
        "startIndex",
        "count",
        "cursor",
        "attributes",
        "excludedAttributes",
        "filter",
    ]);
    let value = prop_oneof![
        any_word(),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("descending".to_owned()),
        Just("eyJxIjoiIiwibSI6MCwiYSI6W251bGxdLCJjIjowLCJ0IjowfQ".to_owned()),
        Just("userName pr".to_owned()),
    ];
    prop::collection::vec((name, value), 0..5).prop_map(|parameters| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
    })
}

/// A PATCH that does not take the name of the person away.
fn any_patch() -> impl Strategy<Value = Value> {
    let word = any_word().prop_filter("the name stays", |word| {
        !word.to_ascii_lowercase().contains("username") && word != CORE
    });
    let operation = (prop::sample::select(vec!["add", "replace", "remove"]), word, any_json())
        .prop_map(|(op, path, value)| json!({ "op": op, "path": path, "value": value }))
        .prop_filter("a path", |operation| operation["path"] != "");
    prop::collection::vec(operation, 1..4)
        .prop_map(|operations| json!({ "schemas": [PATCH_OP], "Operations": operations }))
}

/// Words that mean something to the server, and some that do not.
fn any_word() -> impl Strategy<Value = String> {
    let known = [
        "userName",
        "displayName",
        "externalId",
        "id",
        "schemas",
        "active",
        "emails",
        "members",
        "name",
        "meta",
        "groups",
        "value",
        "type",
        "primary",
        "$ref",
        "op",
        "path",
        "Operations",
        "add",
        "replace",
        "remove",
        "work",
        "name.givenName",
        "emails[type eq \"work\"].value",
        "members[value eq \"x\"]",
        "roles",
        "addresses",
        CORE,
        GROUP,
        ENTERPRISE,
        PATCH_OP,
        "urn:x:y",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
        "True",
        "",
        "\0",
    ];
    prop_oneof![9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_word(), inner), 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A body that is a message of some kind, with anything inside.
fn any_message() -> impl Strategy<Value = Value> {
    let operation =
        (prop::sample::select(vec!["add", "Replace", "remove"]), any_word(), any_json())
            .prop_map(|(op, path, value)| json!({ "op": op, "path": path, "value": value }));
    let operations = prop::collection::vec(operation, 1..4);
    let search = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    let bulk = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
    let method = prop::sample::select(vec!["POST", "put", "PATCH", "DELETE", "GET"]);
    let path = prop::sample::select(vec!["/Users", "/Groups", "/Users/bulkId:a", "/Bulk", "x"]);
    let part = (method, path, any_word(), any_json()).prop_map(|(method, path, id, data)| {
        json!({ "method": method, "path": path, "bulkId": id, "data": data })
    });
    prop_oneof![
        operations
            .prop_map(|operations| json!({ "schemas": [PATCH_OP], "Operations": operations })),
        (any_word(), any_json()).prop_map(move |(by, value)| json!({
            "schemas": [search], "sortBy": by, "filter": value, "cursor": value, "count": value,
        })),
        prop::collection::vec(part, 1..4)
            .prop_map(move |parts| json!({ "schemas": [bulk], "Operations": parts })),
        (any_word(), any_word(), any_json())
            .prop_map(|(name, key, value)| person(&name, json!({ key: value }))),
        (any_word(), any_word(), any_json()).prop_map(|(name, key, value)| json!({
            "schemas": [GROUP], "displayName": name, key: value,
        })),
        any_json(),
    ]
}

/// Puts a value in the place of the `at`-th value within another.
fn mutate(value: &mut Value, at: usize, new: Value) -> Option<usize> {
    let Some(mut at) = at.checked_sub(1) else {
        *value = new;
        return None;
    };
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    for value in inner {
        at = mutate(value, at, new.clone())?;
    }
    Some(at)
}
