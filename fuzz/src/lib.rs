//! What the fuzz targets share: resources to filter, and mutations that keep JSON readable.

use std::sync::LazyLock;

use libfuzzer_sys::fuzzer_mutate;
use scimd::scim::Document;
use scimd::scim::schema::ResourceType;
use serde_json::{Value, json};

/// A user with values of every kind, for filters to select or not.
pub static PERSON: LazyLock<Document> = LazyLock::new(|| {
    document(json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ],
        "id": "7",
        "externalId": "Dana",
        "userName": "dana@example.com",
        "name": { "formatted": "Dana Straße", "givenName": "Dana", "familyName": "Straße" },
        "displayName": "Dana",
        "title": "",
        "active": true,
        "emails": [
            { "value": "dana@example.com", "type": "work", "primary": true },
            { "value": "d@example.org", "type": "home" },
            { "type": "other" },
        ],
        "phoneNumbers": [{ "value": "1", "type": "work" }],
        "addresses": [{ "locality": "Zürich", "type": "work", "primary": false }],
        "photos": [{ "value": "https://example.com/dana" }],
        "groups": [{ "value": "9", "display": "Design", "type": "direct" }],
        "roles": [],
        "x509Certificates": [{ "value": "AA==" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": "42",
            "department": "IT",
            "manager": { "value": "8" },
        },
        "urn:example:custom": { "room": 12, "tags": ["a", null] },
        "meta": {
            "resourceType": "User",
            "created": "2026-01-31T12:00:00Z",
            "lastModified": "2026-01-31T12:00:00.5+01:00",
        },
    }))
});

/// A group with members.
pub static TEAM: LazyLock<Document> = LazyLock::new(|| {
    document(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "id": "9",
        "displayName": "Design",
        "members": [{ "value": "7", "type": "User" }, { "value": "8" }],
        "meta": { "resourceType": "Group", "created": "2026-01-31T12:00:00Z" },
    }))
});

/// The words that a mutation may write: names, paths and values that the protocol knows.
static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let lines = include_str!("../dictionary/json").lines();
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
});

/// The body that a client would send to put a document in place.
#[must_use]
pub fn with_schemas(kind: &ResourceType, document: &Document) -> Value {
    let mut body = document.clone();
    body.insert("schemas".to_owned(), json!([kind.schema.id]));
    Value::Object(body)
}

/// Changes JSON into other JSON, for mutations of its bytes hardly ever leave any: values are
/// replaced, copied, wrapped and dropped, texts are changed letter by letter.
pub fn mutate(data: &mut [u8], size: usize, size_max: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed));
    let read = data.get(..size).and_then(|text| serde_json::from_slice::<Value>(text).ok());
    if let Some(mut value) = read {
        for _ in 0..=dice.roll(3) {
            let other = pick(&value, &mut dice).clone();
            let mut at = dice.roll(count(&value));
            visit(&mut value, &mut at, &mut |node| change(node, &other, &mut dice));
        }
        let text = value.to_string();
        if text.len() <= size_max.min(data.len()) {
            data[..text.len()].copy_from_slice(text.as_bytes());
            return text.len();
        }
    }
    fuzzer_mutate(data, size, size_max)
}

/// A small generator of numbers (SplitMix64), so that a seed of the fuzzer always does the same.
struct Dice(u64);

impl Dice {
    /// A number below `sides`, which is 0 for no sides.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = usize::try_from((bits ^ (bits >> 31)) >> 33).unwrap_or_default();
        bits.checked_rem(sides).unwrap_or_default()
    }

    fn word(&mut self) -> String {
        let at = self.roll(WORDS.len());
        WORDS.get(at).cloned().unwrap_or_default()
    }
}

/// Makes another value of `node`; `other` is a part of the same input.
fn change(node: &mut Value, other: &Value, dice: &mut Dice) {
    match (dice.roll(8), &mut *node) {
        (0, _) => *node = literal(dice),
        (1, _) => *node = dice.word().into(),
        (2, _) => *node = other.clone(),
        (3, _) => *node = Value::Array(vec![node.take(), other.clone()]),
        (_, Value::String(text)) => *text = spell(text, dice),
        (4, Value::Array(items)) if !items.is_empty() => {
            items.remove(dice.roll(items.len()));
        }
        (5, Value::Array(items)) if !items.is_empty() => {
            let copy = items[dice.roll(items.len())].clone();
            items.push(copy);
        }
        (_, Value::Array(items)) => items.push(other.clone()),
        (4, Value::Object(parts)) if !parts.is_empty() => {
            if let Some(key) = parts.keys().nth(dice.roll(parts.len())).cloned() {
                parts.shift_remove(&key);
            }
        }
        (5, Value::Object(parts)) if !parts.is_empty() => {
            if let Some(key) = parts.keys().nth(dice.roll(parts.len())).cloned() {
                let value = parts.shift_remove(&key).unwrap_or_default();
                parts.insert(spell(&key, dice), value);
            }
        }
        (6, Value::Object(parts)) => {
            parts.insert(dice.word(), literal(dice));
        }
        (_, Value::Object(parts)) => {
            parts.insert(dice.word(), other.clone());
        }
        _ => *node = Value::Array(vec![node.take()]),
    }
}

/// Another text: a word, followed by a word, in another case, or changed by the fuzzer, which tries
/// what the code compares with.
fn spell(text: &str, dice: &mut Dice) -> String {
    match dice.roll(8) {
        0 => text.to_ascii_uppercase(),
        1 => format!("{text}{}", dice.word()),
        2..5 => dice.word(),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let size = bytes.len();
            bytes.resize(size + 64, 0);
            let size_max = bytes.len();
            let size = fuzzer_mutate(&mut bytes, size, size_max);
            bytes.truncate(size);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

fn literal(dice: &mut Dice) -> Value {
    match dice.roll(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!("False"),
        3 => json!(""),
        4 => json!(7),
        5 => json!(-1.5),
        6 => json!([]),
        7 => json!({}),
        8 => json!({ "value": dice.word(), "primary": true }),
        9 => json!([{ "value": dice.word(), "type": dice.word() }]),
        10 => json!({ "op": "add", "path": dice.word(), "value": dice.word() }),
        _ => json!({ dice.word(): dice.word() }),
    }
}

/// How many values there are, with all those inside.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(parts) => 1 + parts.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// Any value, the whole or one inside.
fn pick<'v>(value: &'v Value, dice: &mut Dice) -> &'v Value {
    let inside = match value {
        Value::Array(items) => items.get(dice.roll(items.len() + 1)),
        Value::Object(parts) => parts.values().nth(dice.roll(parts.len() + 1)),
        _ => None,
    };
    inside.map_or(value, |inside| pick(inside, dice))
}

/// Calls `edit` with the value number `at`.
fn visit(value: &mut Value, at: &mut usize, edit: &mut dyn FnMut(&mut Value)) {
    if *at == 0 {
        *at = usize::MAX;
        edit(value);
        return;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, at, edit)),
        Value::Object(parts) => parts.values_mut().for_each(|part| visit(part, at, edit)),
        _ => {}
    }
}

fn document(value: Value) -> Document {
    match value {
        Value::Object(document) => document,
        _ => Document::new(),
    }
}
