//! The description of the protocol's surface: the file in the tree, and what the server serves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use scimd::http::directory_description;
use scimd::scim::openapi;
use serde_json::Value;

use super::support::database::environment;
use super::support::{Client, Database, TestInstance};

/// `UPDATE_GENERATED=1` writes the files anew, to be reviewed and committed.
#[test]
fn the_files_are_what_the_code_produces() {
    for (name, document) in [("scim", openapi::document()), ("directory", directory_description())]
    {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("openapi/{name}.json"));
        let produced = format!("{document:#}\n");
        if environment("UPDATE_GENERATED").is_some() {
            fs::write(&file, &produced).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == produced,
            "openapi/{name}.json differs from the code: run this test with UPDATE_GENERATED=1"
        );
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_part_is_used() {
    for document in [openapi::document(), directory_description()] {
        assert_whole(&document);
    }
}

fn assert_whole(document: &Value) {
    let mut referred = Vec::new();
    collect_references(document, &mut referred);
    for reference in &referred {
        let found = document.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some(), "{reference} leads nowhere");
    }
    for section in ["parameters", "headers", "responses", "schemas"] {
        let parts = document["components"][section].as_object();
        for name in parts.into_iter().flat_map(|parts| parts.keys()) {
            let reference = format!("#/components/{section}/{name}");
            assert!(referred.contains(&reference), "nothing refers to {reference}");
        }
    }
}

#[tokio::test]
async fn anybody_can_read_it() {
    let test = TestInstance::on(&Database::sqlite()).await;
    let nobody = Client { app: test.app.clone(), token: String::new() };
    for (path, document) in [
        ("/openapi.json", openapi::document()),
        ("/directory/v1/openapi.json", directory_description()),
    ] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = nobody.call(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.body, document);
    }
}

/// What a reader is shown has the members that the description names, and no others.
#[tokio::test]
async fn what_readers_are_shown_is_described() {
    let database = Database::sqlite();
    let test = TestInstance::on(&database).await;
    let okta = test.okta().await;
    let ann = okta.user("ann").await;
    let staff = okta.group("Staff", &[&ann]).await;
    test.app.provision.seal_instance(test.id).await.unwrap();
    let (reader, document) = (test.reader().await, directory_description());
    let shape = |name: &str| document["components"]["schemas"][name]["properties"].clone();
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    for (path, name) in [
        ("/accounts".to_owned(), "AccountPage"),
        (format!("/accounts/{ann}"), "Account"),
        (format!("/groups/{staff}"), "Group"),
        ("/memberships".to_owned(), "MembershipPage"),
        ("/changes".to_owned(), "Changes"),
    ] {
        assert_eq!(names(&reader.read(&path).await), names(&shape(name)), "{path}");
    }
    let changes = reader.read("/changes").await["changes"].clone();
    let described = document["components"]["schemas"]["Change"]["oneOf"].clone();
    for (change, shape) in changes.as_array().unwrap().iter().zip(described.as_array().unwrap()) {
        assert_eq!(names(change), names(&shape["properties"]), "{change}");
    }
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
