//! PATCH: a resource and the request that changes it (RFC 7644 §3.5.2).
//!
//! The input is JSON: `{"resource": …, "patch": …}`.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use scimd::scim::Document;
use scimd::scim::message::read_patch;
use scimd::scim::patch::{apply, changes};
use scimd::scim::resource::{self, ELEMENTS_MAX, is_primary};
use scimd::scim::schema::ResourceType;
use scimd::scim::habits::Habits;
use scimd::scim::schemas::Schemas;
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    scimd_fuzz::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(input) = serde_json::from_slice::<Value>(bytes) else {
        return Corpus::Reject;
    };
    let part = |name| input.get(name).cloned().unwrap_or_default();
    for kind in Schemas::standard().types() {
        patched(kind, part("resource"), part("patch"));
    }
    Corpus::Keep
});

/// Applies a request as the server does and holds the laws; `None` if the server would refuse it.
fn patched(kind: &ResourceType, resource: Value, patch: Value) -> Option<()> {
    let before = resource::read(kind, &Habits::LENIENT, resource).ok()?;
    let sent = size(&patch);
    let changes = changes(kind, &Habits::LENIENT, read_patch(&Habits::LENIENT, patch).ok()?).ok()?;
    assert!(changes.len() <= sent, "each change has its place in the request");
    let mut after = before.clone();
    for change in changes {
        // The members of a group are rows, not part of its document.
        if !change.regards("members") {
            apply(&mut after, change).ok()?;
            assert_one_primary(&after);
        }
    }
    // A value may go into every element; what makes an object of it takes some bytes more.
    let bound = size(&before) + 16 * ELEMENTS_MAX * sent;
    assert!(size(&after) <= bound, "what a request adds is bounded by its length");
    let read = resource::read(kind, &Habits::LENIENT, scimd_fuzz::with_schemas(kind, &after));
    assert_eq!(read, Ok(after), "what PATCH leaves is what a PUT of it would leave");
    Some(())
}

fn assert_one_primary(document: &Document) {
    for (name, value) in document {
        let marked = value.as_array().into_iter().flatten().filter(|item| is_primary(item));
        assert!(marked.count() <= 1, "{name} has more than one primary element");
    }
}

fn size(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}
