//! What the protocol costs without the database: filters, PATCH, projections, reading and printing.
//!
//! `cargo bench --bench protocol`. What each row measures is in `benches/README.md`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{Bencher, black_box};
use scimd::scim::filter::{self, Condition};
use scimd::scim::grammar::parse_filter;
use scimd::scim::habits::Habits;
use scimd::scim::message::{Operation, list_response, read_patch};
use scimd::scim::patch::{apply, changes};
use scimd::scim::project::Projection;
use scimd::scim::schema::ResourceType;
use scimd::scim::schemas::Schemas;
use scimd::scim::{Document, ScimError, resource};
use serde_json::{Value, json};

/// A look-up as Okta and Entra send it before they create a person.
const LOOK_UP: &str = r#"userName eq "x""#;

/// The comparisons in the long filter; a client that asks for a page of known people sends such.
const LONG_FILTER_TERMS: usize = 100;

fn main() {
    divan::main();
}

fn user() -> &'static ResourceType {
    &Schemas::standard().user
}

fn compile(text: &str) -> Result<Condition<'static>, ScimError> {
    filter::resolve(user(), &[], &filter::parse(text, &Habits::LENIENT)?)
}

#[divan::bench]
fn filter_parse_look_up(bencher: Bencher<'_, '_>) {
    bencher.bench(|| parse_filter(black_box(LOOK_UP)));
}

#[divan::bench]
fn filter_parse_long(bencher: Bencher<'_, '_>) {
    let text = long_filter();
    bencher.bench(|| parse_filter(black_box(&text)));
}

#[divan::bench]
fn filter_compile_look_up(bencher: Bencher<'_, '_>) {
    bencher.bench(|| compile(black_box(LOOK_UP)));
}

#[divan::bench]
fn filter_match_simple(bencher: Bencher<'_, '_>) {
    bench_match(bencher, r#"userName eq "DANA@example.com""#);
}

#[divan::bench]
fn filter_match_value_path(bencher: Bencher<'_, '_>) {
    bench_match(bencher, r#"emails[type eq "work" and value ew "@example.com"]"#);
}

fn bench_match(bencher: Bencher<'_, '_>, text: &str) {
    let condition: Condition<'_> = compile(text).expect("a filter");
    let person = document();
    assert!(condition.matches(&person), "the filter selects the person");
    bencher.bench(|| black_box(&condition).matches(black_box(&person)));
}

fn long_filter() -> String {
    let term = |number| format!(r#"userName eq "person{number}@example.com""#);
    (0..LONG_FILTER_TERMS).map(term).collect::<Vec<_>>().join(" or ")
}

/// From the parsed operations of a request to the document as it is stored.
#[divan::bench]
fn patch_resolve_and_apply(bencher: Bencher<'_, '_>) {
    let operations = read_patch(&Habits::LENIENT, entra_patch()).expect("a PATCH");
    let person = document();
    bencher
        .with_inputs(|| (operations.clone(), person.clone()))
        .bench_values(|(operations, person)| patched(operations, person));
}

/// The same from the parsed JSON on.
#[divan::bench]
fn patch_read_resolve_and_apply(bencher: Bencher<'_, '_>) {
    let person = document();
    bencher.with_inputs(|| (entra_patch(), person.clone())).bench_values(|(body, person)| {
        patched(read_patch(&Habits::LENIENT, body).expect("a PATCH"), person)
    });
}

fn patched(operations: Vec<Operation>, mut person: Document) -> Document {
    for change in changes(user(), &Habits::LENIENT, operations).expect("known paths") {
        apply(&mut person, change).expect("good values");
    }
    person
}

/// What Entra sends when a person moves: an operation for each attribute.
fn entra_patch() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [
            {
                "op": "Replace",
                "path": "emails[type eq \"work\"].value",
                "value": "dana.new@example.com",
            },
            { "op": "Replace", "path": "name.familyName", "value": "Fox-Hill" },
            { "op": "Replace", "path": "displayName", "value": "Dana Fox-Hill" },
            {
                "op": "Add",
                "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "value": "Research",
            },
            { "op": "Replace", "path": "active", "value": "False" },
        ],
    })
}

#[divan::bench]
fn project_attributes(bencher: Bencher<'_, '_>) {
    bench_projection(bencher, Some("userName,name.familyName,emails.value"), None);
}

#[divan::bench]
fn project_excluded_attributes(bencher: Bencher<'_, '_>) {
    bench_projection(bencher, None, Some("groups,emails.display,meta"));
}

/// Resolves the lists, as each request does once, and projects one user.
fn bench_projection(bencher: Bencher<'_, '_>, only: Option<&str>, without: Option<&str>) {
    let person = document();
    bencher.with_inputs(|| person.clone()).bench_values(|person| {
        Projection::read(user(), black_box(only), black_box(without)).apply(user(), person)
    });
}

/// The JSON text of a page, from documents that are ready to be sent.
#[divan::bench]
fn json_print_page_of_100_users(bencher: Bencher<'_, '_>) {
    let page: Vec<Value> = (0..100).map(|_| Value::Object(document())).collect();
    let page = list_response(100, Some(1), None, page);
    bencher.bench(|| serde_json::to_vec(black_box(&page)));
}

/// The body of a POST from its text to a document that follows the schemas.
#[divan::bench]
fn json_parse_and_read_user(bencher: Bencher<'_, '_>) {
    let text = person().to_string();
    bencher.bench(|| {
        let body = serde_json::from_str(black_box(&text)).expect("JSON");
        resource::read(user(), &Habits::LENIENT, body)
    });
}

/// The same from the parsed JSON on.
#[divan::bench]
fn resource_read_user(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(person).bench_values(|body| resource::read(user(), &Habits::LENIENT, body));
}

/// A user as clients send one, as it is stored.
fn document() -> Document {
    let mut document = resource::read(user(), &Habits::LENIENT, person()).expect("a user");
    document.insert("id".to_owned(), "0197a3c0-0000-7000-8000-000000000001".into());
    document
}

/// A user with the attributes that identity providers fill by default.
fn person() -> Value {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ],
        "externalId": "f0c1a7be-3d2e-4a55-9f1d-0a1b2c3d4e5f",
        "userName": "dana@example.com",
        "name": { "formatted": "Dana Fox", "familyName": "Fox", "givenName": "Dana" },
        "displayName": "Dana Fox",
        "title": "Engineer",
        "preferredLanguage": "en-GB",
        "timezone": "Europe/London",
        "active": true,
        "emails": [
            { "value": "dana@example.com", "type": "work", "primary": true },
            { "value": "dana@example.org", "type": "home" },
        ],
        "phoneNumbers": [
            { "value": "+44 20 7946 0000", "type": "work" },
            { "value": "+44 7700 900000", "type": "mobile" },
        ],
        "addresses": [{
            "streetAddress": "1 Example Street",
            "locality": "London",
            "postalCode": "EC1A 1AA",
            "country": "GB",
            "type": "work",
        }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": "1042",
            "department": "Engineering",
            "manager": { "value": "0197a3c0-0000-7000-8000-000000000002" },
        },
    })
}
