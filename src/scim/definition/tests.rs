//! Definitions as a table: what is read, what is refused and in which words.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{
    ATTRIBUTES_MAX, Holder, SUB_ATTRIBUTES_MAX, parse, print, require_compatible, require_room,
};
use crate::scim::schema::{Attribute, Kind, Mutability, Returned, Schema, Uniqueness};
use crate::scim::schemas::{Password, Schemas};

const URN: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

fn with(attributes: &Value) -> Value {
    json!({ "id": URN, "attributes": attributes })
}

fn attribute(definition: &Value) -> Attribute {
    parse(&with(&json!([definition]))).unwrap().attributes.remove(0)
}

/// The refusal of a definition, in words.
fn refusal(definition: &Value) -> String {
    parse(definition).map_or_else(|error| error.detail, |schema| panic!("taken: {schema:?}"))
}

#[test]
fn what_is_left_out_has_its_default() {
    let badge = attribute(&json!({ "name": "badge" }));
    assert_eq!(badge.kind, Kind::String);
    assert_eq!((badge.multi_valued, badge.required, badge.case_exact), (false, false, false));
    assert_eq!(badge.mutability, Mutability::ReadWrite);
    assert_eq!((badge.returned, badge.uniqueness), (Returned::Default, Uniqueness::None));
    let page = attribute(&json!({ "name": "page", "type": "reference" }));
    assert!(page.case_exact);
    assert_eq!(page.reference_types, ["external"]);
    let pin = attribute(&json!({ "name": "pin", "mutability": "WRITEONLY" }));
    assert_eq!(pin.returned, Returned::Never);
    let global = attribute(&json!({ "name": "badge", "uniqueness": "global" }));
    assert_eq!(global.uniqueness, Uniqueness::Server);
    assert_eq!(parse(&with(&json!([{ "name": "a" }]))).unwrap().name, "User");
}

#[test]
fn what_could_not_work_is_refused_in_words() {
    let many = |count| (0..count).map(|n| json!({ "name": format!("a{n}") })).collect::<Value>();
    let parts = |attribute: &str, parts: Value| json!([{ "name": attribute, "type": "complex", "subAttributes": parts }]);
    let cases = [
        (json!([]), "attributes", "at least one"),
        (json!({}), "attributes", "array"),
        (many(ATTRIBUTES_MAX + 1), "attributes", "at most 100"),
        (json!(["a"]), "attribute 1", "JSON object"),
        (json!([{ "type": "string" }]), "attribute 1", "missing"),
        (json!([{ "name": "1a" }]), "1", "begin with a letter"),
        (json!([{ "name": "a.b" }]), "name", "letters, digits"),
        (json!([{ "name": "" }]), "name", "begin with a letter"),
        (json!([{ "name": "$ref" }]), "name", "begin with a letter"),
        (json!([{ "name": "Members" }]), "name", "members of a group"),
        (json!([{ "name": "a".repeat(101) }]), "name", "at most 100 characters"),
        (json!([{ "name": "a" }, { "name": "A" }]), "A", "twice"),
        (json!([{ "name": "a", "type": "text" }]), "a: \"type\"", "string, boolean"),
        (json!([{ "name": "a", "multivalue": true }]), "\"multivalue\"", "multiValued"),
        (json!([{ "name": "a", "multiValued": "true" }]), "multiValued", "true or false"),
        (json!([{ "name": "a", "mutability": "readOnly" }]), "a: \"mutability\"", "readOnly"),
        (
            json!([{ "name": "a", "mutability": "writeOnly", "returned": "default" }]),
            "returned",
            "must be never",
        ),
        (json!([{ "name": "a", "description": "x".repeat(1001) }]), "description", "1000"),
        (json!([{ "name": "a", "description": "\u{0}" }]), "description", "control"),
        (json!([{ "name": "a", "canonicalValues": "x" }]), "canonicalValues", "array of strings"),
        (json!([{ "name": "a", "canonicalValues": [1] }]), "canonicalValues", "array of strings"),
        (
            json!([{ "name": "a", "type": "integer", "canonicalValues": ["1"] }]),
            "canonicalValues",
            "string only",
        ),
        (
            json!([{ "name": "a", "canonicalValues": vec!["x"; 101] }]),
            "canonicalValues",
            "at most 100",
        ),
        (json!([{ "name": "a", "referenceTypes": ["User"] }]), "referenceTypes", "reference only"),
        (json!([{ "name": "a", "subAttributes": [{ "name": "b" }] }]), "subAttributes", "complex"),
        (json!([{ "name": "a", "type": "complex" }]), "subAttributes", "at least one"),
        (parts("a", many(SUB_ATTRIBUTES_MAX + 1)), "subAttributes", "at most 30"),
        (parts("a", json!([{ "name": "b", "type": "complex" }])), "a.b: \"type\"", "complex"),
        (parts("a", json!([{ "name": "b", "multiValued": true }])), "a.b", "one value"),
        (parts("a", json!([{ "name": "b", "uniqueness": "server" }])), "a.b", "no sub-attributes"),
        (parts("a", json!([{ "name": "b" }, { "name": "B" }])), "a.B", "twice"),
        (
            json!([{ "name": "a", "type": "boolean", "uniqueness": "server" }]),
            "uniqueness",
            "string, reference or integer",
        ),
        (
            json!([{ "name": "a", "multiValued": true, "uniqueness": "server" }]),
            "uniqueness",
            "single-valued",
        ),
        (
            json!([{ "name": "a", "returned": "never", "uniqueness": "server" }]),
            "uniqueness",
            "never returned",
        ),
    ];
    for (attributes, place, reason) in cases {
        let refusal = refusal(&with(&attributes));
        assert!(refusal.contains(place) && refusal.contains(reason), "{attributes}: {refusal}");
    }
}

#[test]
fn a_schema_has_a_urn_of_its_own() {
    let cases = [
        (json!(null), "missing"),
        (json!(7), "must be a string"),
        (json!("acme"), "must be a URN"),
        (json!("https://example.com/User"), "must be a URN"),
        (json!("urn:acme:2.0"), "ends with a name"),
        (json!("urn:acme:User.x"), "ends with a name"),
        (json!("urn:acme with blanks:User"), "ends with a name"),
        (json!(format!("urn:{}:User", "x".repeat(200))), "at most 200"),
        (json!("urn:ietf:params:scim:schemas:core:2.0:User"), "reserved"),
        (json!("URN:ietf:params:scim:schemas:core:2.0:Badge"), "reserved"),
        (json!("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"), "reserved"),
        (json!("urn:ietf:params:scim:schemas:extension:scimd:2.0:User"), "reserved"),
        (json!("urn:ietf:params:scim:api:messages:2.0:Error"), "reserved"),
    ];
    for (id, reason) in cases {
        let refusal = refusal(&json!({ "id": id, "attributes": [{ "name": "a" }] }));
        assert!(refusal.contains(reason), "{id}: {refusal}");
    }
    assert_eq!(Holder::of_urn("urn:x:group"), Some(Holder::Group));
    assert_eq!(Holder::of_urn("urn:x:Badge"), None);
}

#[test]
fn a_path_can_mean_one_schema_only() {
    let schema = |id: &str| parse(&json!({ "id": id, "attributes": [{ "name": "a" }] })).unwrap();
    let there = Schemas::with(1, [(Holder::User, schema("urn:acme:hr:User"))], Password::Accepted);
    for (id, fits) in [
        ("urn:acme:hr:User", true),
        ("urn:acme:hr:Users", true),
        ("urn:acme:hr:Group", true),
        ("urn:acme:hr:User:More", false),
        ("URN:ACME:hr:user:More", false),
        ("urn:acme:hr", false),
    ] {
        assert_eq!(require_room(&there, &schema(id)).is_ok(), fits, "{id}");
    }
}

#[test]
fn stored_values_stay_readable() {
    let old = json!([{ "name": "a" }, { "name": "c", "type": "complex", "subAttributes": [
        { "name": "b", "type": "integer" },
    ] }]);
    let old = parse(&with(&old)).unwrap();
    let complex =
        |part: Value| json!([{ "name": "c", "type": "complex", "subAttributes": [part] }]);
    for (new, fits) in [
        (json!([{ "name": "new" }]), true),
        (json!([{ "name": "a", "caseExact": true, "returned": "request" }]), true),
        (json!([{ "name": "a", "type": "integer" }]), false),
        (json!([{ "name": "a", "multiValued": true }]), false),
        (json!([{ "name": "A" }]), false),
        (complex(json!({ "name": "b", "type": "integer", "required": true })), true),
        (complex(json!({ "name": "b" })), false),
        (complex(json!({ "name": "d" })), true),
    ] {
        let is = require_compatible(&old, &parse(&with(&new)).unwrap()).is_ok();
        assert_eq!(is, fits, "{new}");
    }
}

/// Any attribute that can be defined, as JSON.
fn any_attribute(name: String, part: bool) -> BoxedStrategy<Value> {
    let simple = ["string", "boolean", "decimal", "integer", "dateTime", "binary", "reference"];
    let mutability = select(vec![
        ("readWrite", "default"),
        ("immutable", "request"),
        ("readWrite", "always"),
        ("writeOnly", "never"),
        ("readWrite", "never"),
    ]);
    (select(simple.to_vec()), mutability, any::<[bool; 3]>(), "\\PC{0,20}")
        .prop_map(move |(kind, (mutability, returned), [many, required, exact], about)| {
            json!({
                "name": name, "type": kind, "multiValued": many && !part, "required": required,
                "caseExact": exact, "mutability": mutability, "returned": returned,
                "description": about,
                "canonicalValues": if kind == "string" { vec!["x", "y"] } else { Vec::new() },
                "uniqueness": match (kind, many || part || returned == "never") {
                    ("string" | "integer" | "reference", false) => "server",
                    _ => "none",
                },
            })
        })
        .boxed()
}

fn any_schema() -> impl Strategy<Value = Value> {
    let complex = (any_attribute("b".to_owned(), true), any_attribute("$ref".to_owned(), true))
        .prop_map(|(one, other)| {
            json!({ "name": "deep", "type": "complex", "multiValued": true,
                "subAttributes": [one, other] })
        });
    (any_attribute("flat-1_$".to_owned(), false), complex)
        .prop_map(|(flat, complex)| with(&json!([flat, complex])))
}

proptest! {
    /// What `/Schemas` shows of a definition defines the same.
    #[test]
    fn printing_then_reading_is_the_identity(definition in any_schema()) {
        let schema: Schema = parse(&definition).unwrap();
        prop_assert_eq!(parse(&print(&schema)), Ok(schema));
    }

    /// Whatever stands in a file, reading it ends.
    #[test]
    fn no_definition_panics(text in "\\PC{0,60}", number in any::<i64>()) {
        for value in [json!(text), json!(number), json!([text]), json!({ "x": text })] {
            for name in ["name", "type", "subAttributes", "multiValued", "canonicalValues"] {
                let _ = parse(&with(&json!([{ "name": "a", name: value }])));
            }
            let _ = parse(&json!({ "id": value, "attributes": value }));
            let _ = parse(&with(&json!([value])));
        }
    }
}
