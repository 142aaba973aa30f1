//! What the schemas that an instance defines ask for beyond reading and showing: data that was there
//! before its schema, values that must be unique, values that nobody may read.

use serde_json::{Map, Value};

use super::Document;
use super::definition::is_reserved;
use super::filter::Operand;
use super::fold::fold;
use super::resource::{coerce, member};
use super::schema::{Attribute, ResourceType, Schema, Uniqueness};

/// 2^53: the whole numbers below have doubles of their own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What stands in the place of a value that is never returned.
pub const HIDDEN: &str = "(hidden)";

/// A value that only one resource may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueValue {
    /// The folded URN and name of the attribute.
    pub attribute: String,
    /// The name of the attribute, for errors.
    pub name: String,
    /// The value as text, for errors.
    pub text: String,
    /// The value as it is compared.
    pub key: String,
}

/// The document with the data of extensions as their schemas want it: it may have come before somebody
/// defined them, in any spelling. What does not fit stays as it came.
#[must_use]
pub fn adopted(kind: &ResourceType, document: &Document) -> Document {
    let defined = |key: &str| kind.extension(key).filter(|schema| !is_reserved(&schema.id));
    if !document.keys().any(|key| defined(key).is_some()) {
        return document.clone();
    }
    let mut adopted = Document::new();
    for (key, value) in document {
        match (defined(key), value) {
            (Some(schema), Value::Object(parts)) => {
                let slot = adopted.entry(&schema.id).or_insert_with(|| Map::new().into());
                if let Value::Object(slot) = slot {
                    adopt(schema, parts, slot);
                }
            }
            _ => {
                adopted.insert(key.clone(), value.clone());
            }
        }
    }
    adopted
}

fn adopt(schema: &Schema, parts: &Map<String, Value>, into: &mut Map<String, Value>) {
    for (name, value) in parts {
        let Some(attribute) = schema.attribute(name) else {
            into.insert(name.clone(), value.clone());
            continue;
        };
        match coerce(attribute, name, value.clone()) {
            Ok(None) => {}
            Ok(Some(value)) => {
                into.insert(attribute.name.clone(), value);
            }
            Err(_) => {
                into.insert(attribute.name.clone(), value.clone());
            }
        }
    }
}

/// How the values of a unique attribute are told from those of others.
#[must_use]
pub fn unique_name(urn: &str, attribute: &Attribute) -> String {
    fold(&format!("{urn}:{}", attribute.name)).into_owned()
}

/// How a value of a unique attribute is compared: as filters compare it.
#[must_use]
pub fn unique_key(attribute: &Attribute, text: &str) -> String {
    if attribute.case_exact { text.to_owned() } else { fold(text).into_owned() }
}

/// What the holder of a value has as its key, if a filter asks for the value of a unique attribute.
#[must_use]
pub fn unique_key_of(attribute: &Attribute, operand: &Operand) -> Option<String> {
    match operand {
        _ if attribute.uniqueness != Uniqueness::Server => None,
        Operand::Text { key, .. } => Some(key.clone()),
        // Up to here every whole number has a double of its own; adding makes 0 of -0.
        Operand::Number(number) if number.fract() == 0.0 && number.abs() < EXACT_MAX => {
            Some(format!("{:.0}", number + 0.0))
        }
        _ => None,
    }
}

/// The unique attributes that the instance has defined, each with its URN. Those of the core schema have
/// indexes of their own.
pub fn unique_attributes(kind: &ResourceType) -> impl Iterator<Item = (&str, &Attribute)> {
    let extended = kind.extensions.iter().flat_map(|schema| {
        schema.attributes.iter().map(|attribute| (schema.id.as_str(), attribute))
    });
    extended.filter(|(_, attribute)| attribute.uniqueness == Uniqueness::Server)
}

/// The values of a document that no other resource may have, in the order of their attributes.
#[must_use]
pub fn unique_values(kind: &ResourceType, document: &Document) -> Vec<UniqueValue> {
    let value = |(urn, attribute): (&str, &Attribute)| {
        let holder = member(document, urn)?.as_object()?;
        let value = member(holder, &attribute.name)?;
        let text = match coerce(attribute, &attribute.name, value.clone()).ok()?? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let key = unique_key(attribute, &text);
        Some(UniqueValue {
            attribute: unique_name(urn, attribute),
            name: attribute.name.clone(),
            text,
            key,
        })
    };
    let mut values: Vec<_> = unique_attributes(kind).filter_map(value).collect();
    values.sort_unstable_by(|one, other| one.attribute.cmp(&other.attribute));
    values
}

/// Puts [`HIDDEN`] in the place of all values that no answer may show.
pub fn hide(kind: &ResourceType, document: &mut Map<String, Value>) {
    for (key, value) in document {
        if let (Some(schema), Value::Object(parts)) = (kind.extension(key), value) {
            hide_parts(&schema.attributes, parts);
        }
    }
}

fn hide_parts(attributes: &[Attribute], parts: &mut Map<String, Value>) {
    for (name, value) in parts {
        let Some(attribute) = attributes.iter().find(|one| one.name.eq_ignore_ascii_case(name))
        else {
            continue;
        };
        if attribute.is_hidden() {
            *value = HIDDEN.into();
            continue;
        }
        let elements = match value {
            Value::Array(items) => items.as_mut_slice(),
            one => std::slice::from_mut(one),
        };
        for parts in elements.iter_mut().filter_map(Value::as_object_mut) {
            hide_parts(&attribute.sub_attributes, parts);
        }
    }
}

/// Puts the values of `now` back where a text of the audit trail has [`HIDDEN`]; where `now` has none,
/// nothing stays: nobody knows what it was.
#[must_use]
pub fn reveal(shown: &Value, now: Option<&Value>) -> Option<Value> {
    match shown {
        Value::String(text) if text == HIDDEN => now.cloned(),
        Value::Object(parts) => {
            let part = |name: &String| now.and_then(|now| now.get(name));
            let revealed = parts
                .iter()
                .filter_map(|(name, shown)| Some((name.clone(), reveal(shown, part(name))?)));
            Some(Value::Object(revealed.collect()))
        }
        Value::Array(items) => {
            let all = now.and_then(Value::as_array);
            let fitting = |shown: &Value| all?.iter().find(|now| fits(shown, now));
            let revealed = items.iter().filter_map(|shown| reveal(shown, fitting(shown)));
            Some(Value::Array(revealed.collect()))
        }
        other => Some(other.clone()),
    }
}

/// Whether a value is what a text of the audit trail shows of it.
fn fits(shown: &Value, now: &Value) -> bool {
    match (shown, now) {
        (Value::String(text), _) if text == HIDDEN => true,
        (Value::Object(shown), Value::Object(now)) => {
            shown.len() == now.len()
                && shown.iter().all(|(name, part)| now.get(name).is_some_and(|now| fits(part, now)))
        }
        (Value::Array(shown), Value::Array(now)) => {
            shown.len() == now.len() && shown.iter().zip(now).all(|(one, other)| fits(one, other))
        }
        (shown, now) => shown == now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn who_is_put_back_gets_no_secret_of_another() {
        let shown = json!({ "cards": [
            { "id": "x", "code": super::HIDDEN }, { "id": "y", "code": super::HIDDEN }
        ] });
        let now = json!({ "cards": [{ "id": "y", "code": "S2" }] });
        let back = json!({ "cards": [{ "id": "x" }, { "id": "y", "code": "S2" }] });
        assert_eq!(super::reveal(&shown, Some(&now)), Some(back));
        let alone = json!({ "pin": super::HIDDEN, "note": "n" });
        let now = json!({ "pin": "1", "note": "m" });
        assert_eq!(super::reveal(&alone, Some(&now)), Some(json!({ "pin": "1", "note": "n" })));
        assert_eq!(super::reveal(&alone, None), Some(json!({ "note": "n" })));
    }

    use super::{adopted, hide, unique_values};
    use crate::scim::definition::{Holder, parse};
    use crate::scim::schema::ResourceType;
    use crate::scim::schemas::{Password, Schemas};

    const URN: &str = "urn:example:2.0:User";

    fn kind() -> ResourceType {
        let schema = parse(&json!({ "id": URN, "attributes": [
            { "name": "badge", "uniqueness": "server" },
            { "name": "desk", "type": "integer", "uniqueness": "server" },
            { "name": "pin", "mutability": "writeOnly" },
            { "name": "cards", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" }, { "name": "code", "returned": "never" },
            ] },
        ] }));
        Schemas::with(1, [(Holder::User, schema.unwrap())], Password::Accepted).user
    }

    fn map(value: Value) -> super::Document {
        let Value::Object(map) = value else { unreachable!("an object") };
        map
    }

    #[test]
    fn data_from_before_its_schema_is_adopted() {
        let cases = [
            (json!({ "title": "Cook" }), json!({ "title": "Cook" })),
            (json!({ URN: { "badge": "A" } }), json!({ URN: { "badge": "A" } })),
            (
                json!({ "URN:example:2.0:user": { "BADGE": 7, "desk": "12", "room": "x" } }),
                json!({ URN: { "badge": "7", "desk": 12, "room": "x" } }),
            ),
            (json!({ URN: { "desk": "left" } }), json!({ URN: { "desk": "left" } })),
            (json!({ URN: { "cards": "a" } }), json!({ URN: { "cards": [{ "value": "a" }] } })),
            (json!({ "urn:other:x": { "badge": 7 } }), json!({ "urn:other:x": { "badge": 7 } })),
        ];
        for (before, after) in cases {
            let once = adopted(&kind(), &map(before.clone()));
            assert_eq!(Value::from(once.clone()), after, "{before}");
            assert_eq!(adopted(&kind(), &once), once, "{before}");
        }
    }

    #[test]
    fn unique_values_are_compared_as_filters_compare_them() {
        let document = map(json!({ URN: { "badge": "Stra\u{df}e", "DESK": "12" } }));
        let values = unique_values(&kind(), &document);
        let keys: Vec<_> = values.iter().map(|one| (one.name.as_str(), one.key.as_str())).collect();
        assert_eq!(keys, [("badge", "strasse"), ("desk", "12")]);
        assert_eq!(unique_values(&kind(), &map(json!({ URN: { "desk": "left" } }))), []);
    }

    #[test]
    fn what_is_never_returned_is_hidden() {
        let mut document = map(json!({ "title": "Cook", URN: {
            "badge": "A", "PIN": "1234", "cards": [{ "value": "x", "code": "secret" }],
        } }));
        hide(&kind(), &mut document);
        let hidden = json!({ "title": "Cook", URN: {
            "badge": "A", "PIN": "(hidden)", "cards": [{ "value": "x", "code": "(hidden)" }],
        } });
        assert_eq!(Value::from(document), hidden);
    }
}
