//! PATCH as a table: a document, operations, the document afterwards.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{apply, changes};
use crate::scim::habits::Habits;
use crate::scim::message::read_patch;
use crate::scim::schemas::Schemas;
use crate::scim::{Document, ScimError};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn patched(before: &Value, operations: &Value) -> Result<Value, ScimError> {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    });
    let mut document: Document = before.as_object().unwrap().clone();
    let (kind, habits) = (&Schemas::standard().user, &Habits::LENIENT);
    for change in changes(kind, habits, read_patch(habits, body)?)? {
        apply(&mut document, change)?;
    }
    Ok(Value::Object(document))
}

#[test]
fn a_value_of_which_nothing_is_kept_removes_nothing() {
    let before = json!({ "userName": "u", "emails": [{ "type": "work", "value": "a@x.example" }] });
    let at = |op: &str, value: Value| json!([{ "op": op, "path": "emails[type eq \"work\"]", "value": value }]);
    for nothing in [json!({}), json!({ "foo": "x" }), json!({ "value": null })] {
        assert_eq!(patched(&before, &at("add", nothing.clone())).as_ref(), Ok(&before));
        assert!(patched(&before, &at("replace", nothing)).is_err());
    }
    assert_eq!(patched(&before, &at("replace", Value::Null)), Ok(json!({ "userName": "u" })));
}

fn check(cases: &[(Value, Value, Value)]) {
    for (before, operations, after) in cases {
        assert_eq!(patched(before, operations).as_ref(), Ok(after), "{operations} on {before}");
    }
}

#[test]
fn simple_and_complex_attributes() {
    check(&[
        // add and replace are the same on a single value
        (
            json!({}),
            json!([{ "op": "add", "path": "title", "value": "x" }]),
            json!({ "title": "x" }),
        ),
        (
            json!({ "title": "x" }),
            json!([{ "op": "Replace", "path": "TITLE", "value": "y" }]),
            json!({ "title": "y" }),
        ),
        // null, "" and remove clear
        (
            json!({ "title": "x" }),
            json!([{ "op": "replace", "path": "title", "value": null }]),
            json!({}),
        ),
        (
            json!({ "title": "x" }),
            json!([{ "op": "replace", "path": "title", "value": "" }]),
            json!({}),
        ),
        (json!({ "title": "x" }), json!([{ "op": "remove", "path": "title" }]), json!({})),
        // sub-attributes that are not named stay
        (
            json!({ "name": { "givenName": "A", "familyName": "B" } }),
            json!([{ "op": "replace", "path": "name", "value": { "givenName": "C" } }]),
            json!({ "name": { "givenName": "C", "familyName": "B" } }),
        ),
        (
            json!({ "name": { "givenName": "A" } }),
            json!([{ "op": "remove", "path": "name.givenName" }]),
            json!({}),
        ),
        // keys of a value without a path are paths
        (
            json!({}),
            json!([{ "op": "replace", "value": { "name.givenName": "A", format!("{ENTERPRISE}:department"): "IT", "active": "False" } }]),
            json!({ "name": { "givenName": "A" }, ENTERPRISE: { "department": "IT" }, "active": false }),
        ),
        // what the server writes, and what nobody knows, is passed over
        (
            json!({}),
            json!([{ "op": "replace", "value": { "id": "1", "meta": {}, "groups": [], "schemas": [], "shoeSize": 9 } }]),
            json!({}),
        ),
    ]);
}

#[test]
fn extensions_and_the_manager() {
    let manager = |value: &str| json!({ ENTERPRISE: { "manager": { "value": value } } });
    let at = format!("{ENTERPRISE}:manager");
    let mut cases = Vec::new();
    for sent in [
        json!("m"),
        json!({ "value": "m" }),
        json!([{ "$ref": "x", "value": "m" }]),
        json!({ "value": "m", "displayName": "M" }),
    ] {
        cases.push((json!({}), json!([{ "op": "Add", "path": at, "value": sent }]), manager("m")));
        cases.push((
            manager("old"),
            json!([{ "op": "Replace", "path": at, "value": sent }]),
            manager("m"),
        ));
    }
    for cleared in [json!(""), json!({ "value": "" }), json!(null), json!([])] {
        cases.push((
            manager("m"),
            json!([{ "op": "Replace", "path": at, "value": cleared }]),
            json!({}),
        ));
    }
    cases.push((manager("m"), json!([{ "op": "Remove", "path": at }]), json!({})));
    cases.push((manager("m"), json!([{ "op": "remove", "path": ENTERPRISE }]), json!({})));
    cases.push((
        json!({}),
        json!([{ "op": "add", "path": ENTERPRISE, "value": { "department": "IT", "unknown": 1 } }]),
        json!({ ENTERPRISE: { "department": "IT" } }),
    ));
    // a URN that no schema has keeps its data
    let room = "urn:ietf:params:scim:schemas:extension:intranet:2.0:User";
    cases.push((
        json!({}),
        json!([{ "op": "Add", "path": format!("{room}:room"), "value": "4.17" }]),
        json!({ room: { "room": "4.17" } }),
    ));
    cases.push((
        json!({ room: { "room": "4.17", "floor": 4 } }),
        json!([{ "op": "remove", "path": format!("{room}:room") }]),
        json!({ room: { "floor": 4 } }),
    ));
    cases.push((
        json!({ room: { "floor": 4 } }),
        json!([{ "op": "replace", "value": { room: { "room": "1" } } }]),
        json!({ room: { "floor": 4, "room": "1" } }),
    ));
    // null clears one name, not its neighbours; a URN need not end like an attribute path
    cases.push((
        json!({ room: { "room": "4.17", "floor": 4 } }),
        json!([{ "op": "replace", "value": { room: { "room": null, "floor": 5 } } }]),
        json!({ room: { "floor": 5 } }),
    ));
    for urn in ["urn:okta:custom:user:1.0", "urn:example:custom:1.0:user"] {
        cases.push((
            json!({ urn: { "room": 1 } }),
            json!([{ "op": "add", "value": { urn: { "desk": 2 } } }]),
            json!({ urn: { "room": 1, "desk": 2 } }),
        ));
    }
    cases.push((
        json!({ "title": "x" }),
        json!([{ "op": "replace", "path": "shoes[type eq \"a\"].value", "value": "y" }]),
        json!({ "title": "x" }),
    ));
    check(&cases);
}

#[test]
fn multi_valued_attributes() {
    let work = json!({ "type": "work", "value": "w", "primary": true });
    let home = json!({ "type": "home", "value": "h" });
    let both = json!({ "emails": [work, home] });
    check(&[
        (
            json!({ "emails": [work] }),
            json!([{ "op": "add", "path": "emails", "value": [home] }]),
            both.clone(),
        ),
        (both.clone(), json!([{ "op": "add", "path": "emails", "value": home }]), both.clone()),
        (
            both.clone(),
            json!([{ "op": "add", "path": "emails", "value": [{ "value": "h", "type": "home" }] }]),
            both.clone(),
        ),
        (
            both.clone(),
            json!([{ "op": "replace", "path": "emails", "value": [home] }]),
            json!({ "emails": [home] }),
        ),
        (
            both.clone(),
            json!([{ "op": "remove", "path": "emails", "value": [{ "value": "h" }] }]),
            json!({ "emails": [work] }),
        ),
        (both.clone(), json!([{ "op": "remove", "path": "emails", "value": [] }]), both.clone()),
        (both.clone(), json!([{ "op": "remove", "path": "emails" }]), json!({})),
        (
            both.clone(),
            json!([{ "op": "remove", "path": "emails[type eq \"home\"]" }]),
            json!({ "emails": [work] }),
        ),
        (
            both.clone(),
            json!([{ "op": "remove", "path": "emails[type eq \"fax\"]" }]),
            both.clone(),
        ),
        // an element that says nothing any more goes
        (
            both.clone(),
            json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "" }]),
            json!({ "emails": [home] }),
        ),
        (
            both.clone(),
            json!([{ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" }]),
            json!({ "emails": [work, { "type": "home", "value": "x" }] }),
        ),
        // an element that is not there comes into being with what the filter says
        (
            json!({}),
            json!([{ "op": "Add", "path": "phoneNumbers[type eq \"Mobile\" and primary eq \"True\"].value", "value": "1" }]),
            json!({ "phoneNumbers": [{ "type": "Mobile", "primary": true, "value": "1" }] }),
        ),
        (
            json!({}),
            json!([{ "op": "add", "path": "addresses[type eq \"work\"].country", "value": "GB" }, { "op": "add", "path": "addresses[type eq \"work\"].locality", "value": "Leeds" }]),
            json!({ "addresses": [{ "type": "work", "country": "GB", "locality": "Leeds" }] }),
        ),
        // a new primary takes the mark from the old one
        (
            both.clone(),
            json!([{ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": true }]),
            json!({ "emails": [{ "type": "work", "value": "w", "primary": false }, { "type": "home", "value": "h", "primary": true }] }),
        ),
    ]);
}

#[test]
fn refusals_name_the_operation_and_the_attribute() {
    let work = json!({ "userName": "a", "emails": [{ "type": "work", "value": "w" }] });
    let op = |op: Value| json!([{ "op": "replace", "path": "title", "value": "x" }, op]);
    for (operation, kind, says) in [
        (
            json!({ "op": "replace", "path": "active", "value": "maybe" }),
            "invalidValue",
            "active must be true or false",
        ),
        (
            json!({ "op": "replace", "path": "name", "value": "Ann" }),
            "invalidValue",
            "name must be a JSON object",
        ),
        (
            json!({ "op": "replace", "path": "emails[type eq \"fax\"]", "value": { "value": "x" } }),
            "noTarget",
            "emails",
        ),
        (
            json!({ "op": "replace", "path": "emails[type ne \"work\"].value", "value": "x" }),
            "noTarget",
            "emails",
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"\"].value", "value": "x" }),
            "noTarget",
            "emails",
        ),
        (json!({ "op": "replace", "path": "emails[", "value": "x" }), "invalidPath", "character"),
        (
            json!({ "op": "replace", "path": "name[givenName eq \"A\"]", "value": "x" }),
            "invalidPath",
            "name",
        ),
        (json!({ "op": "remove" }), "noTarget", "path"),
        (json!({ "op": "replace", "value": "x" }), "invalidValue", "JSON object"),
        (json!({ "op": "add", "path": "title" }), "invalidValue", "value"),
        (json!({ "op": "move", "path": "title" }), "invalidSyntax", "op"),
        (
            json!({ "op": "replace", "path": "emails[shoe eq \"x\"].value", "value": "y" }),
            "invalidFilter",
            "shoe",
        ),
    ] {
        let refused = patched(&work, &op(operation.clone())).unwrap_err();
        assert_eq!(refused.kind.scim_type(), Some(kind), "{operation}: {refused}");
        assert!(refused.detail.starts_with("operation 2: "), "{refused}");
        assert!(refused.detail.contains(says), "{refused}");
    }
}

#[test]
fn a_person_has_a_bounded_number_of_values() {
    let email = |n: usize| json!({ "value": format!("{n}@example.com") });
    let add = |n: usize| json!({ "op": "add", "path": "emails", "value": [email(n)] });
    let many: Vec<Value> = (0..201).map(email).collect();
    let one_by_one: Vec<Value> = (0..201).map(add).collect();
    let elsewhere = json!({ "op": "add", "path": "emails[type eq \"x\"].value", "value": "x" });
    let full = json!({ "emails": &many[..200] });
    for (before, operations) in [
        (json!({}), json!([{ "op": "add", "path": "emails", "value": many }])),
        (json!({}), json!(one_by_one)),
        (full.clone(), json!([elsewhere])),
    ] {
        let refused = patched(&before, &operations).unwrap_err();
        assert!(refused.detail.ends_with("emails must have at most 200 elements"), "{refused}");
    }
    assert_eq!(patched(&full, &json!([{ "op": "remove", "path": "emails" }])), Ok(json!({})));
}

fn operation() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        Just("title"),
        Just("name.givenName"),
        Just("active"),
        Just("emails"),
        Just("emails[type eq \"work\"].value"),
        Just("emails[type eq \"home\"].display"),
        Just("roles[primary eq \"True\"].value"),
        Just("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"),
        Just("urn:x:2.0:User:room"),
    ];
    let value = prop_oneof![
        Just(json!("x")),
        Just(json!("")),
        Just(Value::Null),
        Just(json!(true)),
        Just(json!([{ "type": "work", "value": "w", "primary": true }])),
        Just(json!({ "type": "home", "value": "h" })),
    ];
    (prop_oneof![Just("add"), Just("replace"), Just("remove")], path, value)
        .prop_map(|(op, path, value)| json!({ "op": op, "path": path, "value": value }))
}

proptest! {
    /// Clients repeat a request when its answer is lost: once more changes nothing more.
    #[test]
    fn a_repeated_operation_changes_nothing(
        first in proptest::collection::vec(operation(), 0..5),
        again in operation(),
    ) {
        let Ok(before) = patched(&json!({ "userName": "a" }), &json!([{ "op": "add", "path": "title", "value": "t" }])) else { unreachable!() };
        let before = first.iter().fold(before, |document, operation| {
            patched(&document, &json!([operation])).unwrap_or(document)
        });
        if let Ok(once) = patched(&before, &json!([again])) {
            let twice = patched(&once, &json!([again]));
            // What an operation took away is no longer there to be replaced.
            prop_assert!(twice.as_ref() == Ok(&once) || twice.is_err_and(|error| error.kind.scim_type() == Some("noTarget")));
        }
    }

    /// No document ends with two preferred values.
    #[test]
    fn there_is_one_primary(operations in proptest::collection::vec(operation(), 0..8)) {
        let after = operations.iter().fold(json!({ "userName": "a" }), |document, operation| {
            patched(&document, &json!([operation])).unwrap_or(document)
        });
        for items in after.as_object().unwrap().values().filter_map(Value::as_array) {
            prop_assert!(items.iter().filter(|item| item["primary"] == json!(true)).count() <= 1);
        }
    }
}
