//! The description of the protocol's surface: the file in the tree, and what the server serves.

use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use scimd::scim::openapi;
use serde_json::Value;

use super::support::database::environment;
use super::support::{Client, Database, TestInstance};

/// `UPDATE_GENERATED=1` writes the file anew, to be reviewed and committed.
#[test]
fn the_file_is_what_the_code_produces() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/scim.json");
    let produced = format!("{:#}\n", openapi::document());
    if environment("UPDATE_GENERATED").is_some() {
        fs::write(&file, &produced).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert!(
        kept == produced,
        "openapi/scim.json differs from the code: run this test with UPDATE_GENERATED=1"
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_part_is_used() {
    let document = openapi::document();
    let mut referred = Vec::new();
    collect_references(&document, &mut referred);
    for reference in &referred {
        let found = document.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some(), "{reference} leads nowhere");
    }
    for section in ["parameters", "headers", "responses", "schemas"] {
        for name in document["components"][section].as_object().unwrap().keys() {
            let reference = format!("#/components/{section}/{name}");
            assert!(referred.contains(&reference), "nothing refers to {reference}");
        }
    }
}

#[tokio::test]
async fn anybody_can_read_it() {
    let test = TestInstance::on(&Database::sqlite()).await;
    let nobody = Client { app: test.app.clone(), token: String::new() };
    let request = Request::builder().uri("/openapi.json").body(Body::empty()).unwrap();
    let answer = nobody.call(request).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body, openapi::document());
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                into.push(reference.clone());
            }
            members.values().for_each(|member| collect_references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}
