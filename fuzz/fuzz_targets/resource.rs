//! Resources as clients send them, and answers with some of their attributes (RFC 7643 §3, RFC 7644
//! §3.9).
//!
//! The input is JSON: the body of a POST or PUT, in which `attributes` and `excludedAttributes` may
//! stand beside what belongs to the resource.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use scimd::scim::project::Projection;
use scimd::scim::resource;
use scimd::scim::schema::ResourceType;
use scimd::directory::Profile;
use scimd::provision::habits;
use scimd::scim::habits::Habits;
use scimd::scim::schemas::Schemas;
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    scimd_fuzz::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else {
        return Corpus::Reject;
    };
    for kind in Schemas::standard().types() {
        read_and_projected(kind, &body);
    }
    Corpus::Keep
});

/// Reads a body and projects what came of it; `None` if the server would refuse it.
fn read_and_projected(kind: &ResourceType, body: &Value) -> Option<()> {
    let strict = resource::read(kind, &habits(Profile::Interop), body.clone());
    let document = resource::read(kind, &Habits::LENIENT, body.clone()).ok()?;
    if let Ok(strict) = strict {
        assert_eq!(strict, document, "who is strict reads the same or nothing");
    }
    let whole = scimd_fuzz::with_schemas(kind, &document);
    let again = resource::read(kind, &Habits::LENIENT, whole.clone());
    assert_eq!(again, Ok(document), "reading what was read changes nothing");

    let list = |name| body.get(name).and_then(Value::as_str);
    let projection = Projection::read(kind, list("attributes"), list("excludedAttributes"));
    let mut whole = whole.as_object().cloned()?;
    whole.insert("id".to_owned(), "7".into());
    let answer = projection.apply(kind, whole.clone());
    for name in ["schemas", "id"] {
        assert_eq!(answer.get(name), whole.get(name), "{name} is always returned");
    }
    assert!(answer.keys().all(|key| whole.contains_key(key)), "an answer adds nothing");
    let again = projection.apply(kind, answer.clone());
    assert_eq!(again, answer, "projecting an answer changes nothing");
    Some(())
}
