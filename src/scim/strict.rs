//! What strict clients are told before anything is coerced: names that no schema defines, and values of
//! another JSON type than their attribute's.
//!
//! The lenient reading of [`resource`](super::resource) follows in any case; this only refuses earlier.

use serde_json::{Map, Value};

use super::habits::{Habits, Treatment};
use super::message::Verb;
use super::resource::member;
use super::schema::{Attribute, Kind, ResourceType};
use super::{ErrorKind, ScimError};

/// Checks the body of a POST or PUT: `invalidSyntax` for an unknown name, `invalidValue` for a value of
/// the wrong type.
pub fn check_resource(
    kind: &ResourceType,
    habits: &Habits,
    body: &Map<String, Value>,
) -> Result<(), ScimError> {
    if is_lenient(habits) {
        return Ok(());
    }
    if habits.unknown_names == Treatment::Refuse {
        check_schemas(kind, body)?;
    }
    for (key, value) in body {
        if let Some(attribute) = kind.attribute(key) {
            check_value(habits, attribute, &attribute.name, value)?;
        } else if let Some(extension) = kind.extension(key) {
            check_parts(habits, &extension.attributes, &extension.id, value)?;
        } else {
            habits.unknown_names.check(ErrorKind::InvalidSyntax, || unknown(key))?;
        }
    }
    Ok(())
}

/// Checks the value of a PATCH operation; one element of a multi-valued attribute needs no array.
pub fn check_change(
    habits: &Habits,
    attribute: &Attribute,
    verb: Verb,
    value: &Value,
) -> Result<(), ScimError> {
    match value {
        _ if is_lenient(habits) => Ok(()),
        Value::Array(_) => check_value(habits, attribute, &attribute.name, value),
        one if verb == Verb::Replace => check_value(habits, attribute, &attribute.name, one),
        one => check_single(habits, attribute, &attribute.name, one),
    }
}

/// Whether there is nothing to check, so that a client that may send anything pays nothing for it.
fn is_lenient(habits: &Habits) -> bool {
    (habits.unknown_names, habits.loose_values) == (Treatment::Take, Treatment::Take)
}

/// Checks a value of an attribute: an array exactly where the attribute is multi-valued.
fn check_value(
    habits: &Habits,
    attribute: &Attribute,
    path: &str,
    value: &Value,
) -> Result<(), ScimError> {
    match (attribute.multi_valued, value) {
        (true, Value::Array(items)) => {
            items.iter().try_for_each(|item| check_single(habits, attribute, path, item))
        }
        (true, Value::Null) => Ok(()),
        (true, one) => {
            refuse_type(habits, path, "an array")?;
            check_single(habits, attribute, path, one)
        }
        (false, one) => check_single(habits, attribute, path, one),
    }
}

/// Checks one value of an attribute, or one element of a multi-valued one.
fn check_single(
    habits: &Habits,
    attribute: &Attribute,
    path: &str,
    value: &Value,
) -> Result<(), ScimError> {
    let (fits, due) = match attribute.kind {
        Kind::Complex if value.is_object() => {
            return check_parts(habits, &attribute.sub_attributes, path, value);
        }
        Kind::Complex => (false, "a JSON object"),
        Kind::Boolean => (value.is_boolean(), "true or false"),
        Kind::Integer => (value.is_i64(), "a whole number"),
        Kind::Decimal => (value.is_number(), "a number"),
        Kind::String | Kind::DateTime | Kind::Binary | Kind::Reference => {
            (value.is_string(), "a string")
        }
    };
    if fits || value.is_null() { Ok(()) } else { refuse_type(habits, path, due) }
}

fn check_parts(
    habits: &Habits,
    parts: &[Attribute],
    path: &str,
    value: &Value,
) -> Result<(), ScimError> {
    let Value::Object(members) = value else { return Ok(()) };
    for (key, value) in members {
        let path = format!("{path}.{key}");
        match parts.iter().find(|part| part.name.eq_ignore_ascii_case(key)) {
            Some(part) => check_value(habits, part, &path, value)?,
            None => habits.unknown_names.check(ErrorKind::InvalidSyntax, || unknown(&path))?,
        }
    }
    Ok(())
}

fn check_schemas(kind: &ResourceType, body: &Map<String, Value>) -> Result<(), ScimError> {
    let named = member(body, "schemas").and_then(Value::as_array).into_iter().flatten();
    let is_known =
        |urn: &&str| kind.schema.id.eq_ignore_ascii_case(urn) || kind.extension(urn).is_some();
    match named.filter_map(Value::as_str).find(|urn| !is_known(urn)) {
        None => Ok(()),
        Some(urn) => Err(ScimError::invalid_syntax(unknown(urn))),
    }
}

fn refuse_type(habits: &Habits, path: &str, due: &str) -> Result<(), ScimError> {
    habits.loose_values.check(ErrorKind::InvalidValue, || format!("{path} must be {due}"))
}

fn unknown(name: &str) -> String {
    // A name of a client can be anything; what is repeated of it is cut.
    let name: String = name.chars().take(100).collect();
    format!("no schema of this resource type defines \"{name}\": see /Schemas")
}
