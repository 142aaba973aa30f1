//! Reading what a client sent into a document that follows the schemas.
//!
//! Lenient in, canonical out: names in any case, booleans and numbers as text, single values where
//! an array is due and the other way round, `null` and `""` for "no value" (RFC 7643 §2.5), unknown
//! attributes. What comes out is spelled and typed as the schema says; texts are kept verbatim,
//! because Entra sends a value again in every cycle if it reads back another.

use std::str::FromStr;

use scim_v2::ScimDateTime;
use serde_json::{Map, Number, Value};

use super::fold::fold;
use super::habits::Habits;
use super::schema::{Attribute, Kind, Mutability, ResourceType};
use super::strict;
use super::{Document, ErrorKind, ScimError};

/// The characters that an indexed text (userName, displayName, externalId, an e-mail address, a
/// reference to a manager) may have: database indexes bound the length of their keys.
pub const INDEXED_TEXT_CHARS_MAX: usize = 512;

/// The bytes that its folded form may have; only a few scripts grow when they are folded.
pub const INDEXED_KEY_BYTES_MAX: usize = 2048;

/// The bytes that a resource may have as JSON, the members of a group aside.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// The schema URNs that a resource has data under at most.
pub const URNS_MAX: usize = 100;

/// The elements of a multi-valued attribute at most, members of groups aside: those are rows.
pub const ELEMENTS_MAX: usize = 200;

/// Reads the body of a POST or PUT: a document without what the server alone writes (`schemas`,
/// `id`, `meta`, `groups` and all other readOnly attributes) and without unknown core attributes.
///
/// Data under a URN that no schema has is kept as it came, so that a custom attribute is not lost
/// before somebody maps it. Fails with `invalidSyntax` when the body is no resource of this type,
/// with `invalidValue` when an attribute has a value of a wrong type.
pub fn read(kind: &ResourceType, habits: &Habits, body: Value) -> Result<Document, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax(format!(
            "the body must be a JSON object: a {} resource",
            kind.name
        )));
    };
    require_schema(&body, &kind.schema.id)?;
    strict::check_resource(kind, habits, &body)?;
    let mut document = Document::new();
    for (key, value) in body {
        if let Some(attribute) = kind.attribute(&key) {
            put(&mut document, attribute, &attribute.name, value)?;
        } else if kind.schema.id.eq_ignore_ascii_case(&key) {
            // Some clients write core attributes below their URN, as they write those of extensions.
            document.extend(read_parts(&kind.schema.attributes, &kind.schema.id, value)?);
        } else if let Some(extension) = kind.extension(&key) {
            let read = read_parts(&extension.attributes, &extension.id, value)?;
            if !read.is_empty() {
                document.insert(extension.id.clone(), read.into());
            }
        } else if is_urn(&key)
            && value.is_object()
            && let Some(kept) = without_nulls(value)
        {
            document.insert(key, kept);
        }
    }
    require_one_primary(kind, &document)?;
    require_few_urns(&document)?;
    Ok(document)
}

/// Refuses data under more URNs than any client has schemas: each change looks through all of them.
pub fn require_few_urns(document: &Document) -> Result<(), ScimError> {
    if document.keys().filter(|key| is_urn(key)).count() > URNS_MAX {
        return Err(ScimError::invalid_value(
            "the resource",
            &format!("would have data under more than {URNS_MAX} schema URNs"),
        ));
    }
    Ok(())
}

/// Checks that a message names the schema it must name (RFC 7644 §3.1).
pub fn require_schema(body: &Map<String, Value>, urn: &str) -> Result<(), ScimError> {
    let named = |value: &Value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(urn));
    match member(body, "schemas") {
        Some(Value::Array(urns)) if urns.iter().any(named) => Ok(()),
        Some(one) if named(one) => Ok(()),
        _ => Err(ScimError::invalid_syntax(format!(
            "\"schemas\" must be an array that holds \"{urn}\""
        ))),
    }
}

/// A member of a message by its name in any case.
#[must_use]
pub fn member<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    body.get(name)
        .or_else(|| body.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

/// Refuses a resource that is too large to be one; custom extensions could grow without end.
pub fn require_fitting(document: &Document) -> Result<(), ScimError> {
    let bytes = serde_json::to_string(document).map_or(0, |text| text.len());
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(ScimError::invalid_value(
            "the resource",
            &format!("would have {bytes} bytes; at most {DOCUMENT_BYTES_MAX} can be kept"),
        ));
    }
    Ok(())
}

/// Checks that every required attribute has a value; those of an extension, and the parts of a complex
/// attribute, only if it is there.
pub fn require_attributes(kind: &ResourceType, document: &Document) -> Result<(), ScimError> {
    for (extension, attribute) in kind.attributes() {
        let value = value_at(document, extension, &attribute.name);
        let is_due = extension.is_none_or(|urn| document.contains_key(urn));
        if attribute.required && is_due && value.is_none_or(is_blank) {
            return Err(required(&attribute.name));
        }
        let elements = match value {
            Some(Value::Array(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => continue,
        };
        for part in attribute.sub_attributes.iter().filter(|part| part.required) {
            let lacks = |one: &Value| one.is_object() && one.get(&part.name).is_none_or(is_blank);
            if elements.iter().any(lacks) {
                return Err(required(&format!("{}.{}", attribute.name, part.name)));
            }
        }
    }
    Ok(())
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn required(path: &str) -> ScimError {
    ScimError::invalid_value(path, "is required and must not be blank")
}

/// What a request leaves out of an immutable attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// Nothing is meant by it: a PUT need not repeat what cannot change.
    Kept,
    /// The client took it away.
    Removed,
}

/// Checks that immutable attributes with a value keep it (RFC 7644 §3.5.1 and §3.5.2); else the error is
/// `mutability`. Elements of multi-valued attributes may come and go as a whole.
pub fn keep_immutable(
    kind: &ResourceType,
    before: &Document,
    after: &mut Document,
    left_out: LeftOut,
) -> Result<(), ScimError> {
    for (extension, attribute) in kind.attributes() {
        let Some(was) = value_at(before, extension, &attribute.name) else { continue };
        if attribute.mutability == Mutability::Immutable {
            keep_value(holder_mut(after, extension), attribute, &attribute.name, was, left_out)?;
        } else if let (false, Value::Object(was)) = (attribute.multi_valued, was) {
            let is_immutable = |part: &&Attribute| {
                part.mutability == Mutability::Immutable && was.contains_key(&part.name)
            };
            if !attribute.sub_attributes.iter().any(|part| is_immutable(&part)) {
                continue;
            }
            let holder = holder_mut(after, extension);
            let slot = holder.entry(&attribute.name).or_insert_with(|| Map::new().into());
            let Value::Object(is) = slot else { continue };
            for part in &attribute.sub_attributes {
                if let (Mutability::Immutable, Some(was)) = (part.mutability, was.get(&part.name)) {
                    let path = format!("{}.{}", attribute.name, part.name);
                    keep_value(is, part, &path, was, left_out)?;
                }
            }
        }
    }
    Ok(())
}

fn keep_value(
    holder: &mut Map<String, Value>,
    attribute: &Attribute,
    path: &str,
    was: &Value,
    left_out: LeftOut,
) -> Result<(), ScimError> {
    match holder.get(&attribute.name) {
        Some(is) if is == was => Ok(()),
        None if left_out == LeftOut::Kept => {
            holder.insert(attribute.name.clone(), was.clone());
            Ok(())
        }
        _ => Err(immutable(path)),
    }
}

/// The refusal to change what is immutable.
#[must_use]
pub fn immutable(path: &str) -> ScimError {
    ScimError::new(
        ErrorKind::Mutability,
        format!("{path} is immutable: it has a value already, which cannot change"),
    )
}

fn value_at<'d>(document: &'d Document, extension: Option<&str>, name: &str) -> Option<&'d Value> {
    match extension {
        None => document.get(name),
        Some(urn) => document.get(urn)?.get(name),
    }
}

/// The object that holds the attributes of an extension, or the core ones.
fn holder_mut<'d>(
    document: &'d mut Document,
    extension: Option<&str>,
) -> &'d mut Map<String, Value> {
    let Some(urn) = extension else { return document };
    let slot = document.entry(urn).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Map::new().into();
    }
    match slot {
        Value::Object(parts) => parts,
        _ => unreachable!("the slot was made an object"),
    }
}

/// Whether a key of a document can be the URN of a schema rather than the name of an attribute.
#[must_use]
pub fn is_urn(key: &str) -> bool {
    key.contains(':')
}

/// Makes of `value` what `attribute` keeps: `None` for no value.
///
/// `path` names the attribute in errors.
pub fn coerce(attribute: &Attribute, path: &str, value: Value) -> Result<Option<Value>, ScimError> {
    if !attribute.multi_valued {
        return coerce_single(attribute, path, value);
    }
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    require_countable(attribute, items.len())?;
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        kept.extend(coerce_single(attribute, path, item)?);
    }
    Ok((!kept.is_empty()).then_some(Value::Array(kept)))
}

/// Reads the sub-attributes of a complex value or of an extension; an empty result means no value.
pub fn read_parts(
    parts: &[Attribute],
    path: &str,
    value: Value,
) -> Result<Map<String, Value>, ScimError> {
    let members = match value {
        Value::Object(members) => members,
        Value::Null => Map::new(),
        _ => return Err(ScimError::invalid_value(path, "must be a JSON object")),
    };
    let mut kept = Map::new();
    for (key, value) in members {
        if let Some(part) = parts.iter().find(|part| part.name.eq_ignore_ascii_case(&key)) {
            put(&mut kept, part, &format!("{path}.{}", part.name), value)?;
        }
    }
    Ok(kept)
}

/// Reads one value of an attribute, an element if the attribute is multi-valued.
pub fn coerce_single(
    attribute: &Attribute,
    path: &str,
    value: Value,
) -> Result<Option<Value>, ScimError> {
    let kept = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::Array(mut items) if items.len() <= 1 => {
            return match items.pop() {
                None => Ok(None),
                Some(Value::Array(_)) => Err(wrong_type(attribute, path)),
                Some(one) => coerce_single(attribute, path, one),
            };
        }
        value => match attribute.kind {
            Kind::String | Kind::Reference | Kind::Binary => coerce_text(attribute, path, value),
            Kind::Boolean => coerce_boolean(attribute, path, &value),
            Kind::Integer | Kind::Decimal => coerce_number(attribute, path, value),
            Kind::DateTime => coerce_time(attribute, path, value),
            Kind::Complex => coerce_complex(attribute, path, value),
        }?,
    };
    let empty = kept.as_object().is_some_and(Map::is_empty);
    Ok((!empty).then_some(kept))
}

/// Refuses U+0000, which PostgreSQL cannot keep in a text.
pub fn require_storable(path: &str, text: &str) -> Result<(), ScimError> {
    if text.contains('\0') {
        return Err(ScimError::invalid_value(path, "must not contain the character U+0000"));
    }
    Ok(())
}

/// Refuses a multi-valued attribute with more elements than a person can have; members of groups are
/// not counted.
pub fn require_countable(attribute: &Attribute, count: usize) -> Result<(), ScimError> {
    if count > ELEMENTS_MAX && attribute.name != "members" {
        return Err(ScimError::invalid_value(
            &attribute.name,
            &format!("must have at most {ELEMENTS_MAX} elements"),
        ));
    }
    Ok(())
}

/// Refuses a text that is too long for a database index.
pub fn require_indexable(path: &str, text: &str) -> Result<(), ScimError> {
    if text.chars().count() > INDEXED_TEXT_CHARS_MAX {
        return Err(ScimError::invalid_value(
            path,
            &format!("must have at most {INDEXED_TEXT_CHARS_MAX} characters"),
        ));
    }
    if fold(text).len() > INDEXED_KEY_BYTES_MAX {
        return Err(ScimError::invalid_value(
            path,
            &format!("must have at most {INDEXED_KEY_BYTES_MAX} bytes when it is case-folded"),
        ));
    }
    Ok(())
}

fn put(
    into: &mut Map<String, Value>,
    attribute: &Attribute,
    path: &str,
    value: Value,
) -> Result<(), ScimError> {
    if attribute.mutability == Mutability::ReadOnly {
        return Ok(());
    }
    let kept = coerce(attribute, path, value)?;
    if let Some(value) = kept.filter(|_| attribute.is_kept()) {
        into.insert(attribute.name.clone(), value);
    }
    Ok(())
}

fn coerce_text(attribute: &Attribute, path: &str, value: Value) -> Result<Value, ScimError> {
    match value {
        Value::String(text) => {
            require_storable(path, &text)?;
            Ok(Value::String(text))
        }
        Value::Number(number) => Ok(Value::String(number.to_string())),
        Value::Bool(flag) => Ok(Value::String(flag.to_string())),
        _ => Err(wrong_type(attribute, path)),
    }
}

fn coerce_boolean(attribute: &Attribute, path: &str, value: &Value) -> Result<Value, ScimError> {
    match value {
        Value::Bool(flag) => Ok(Value::Bool(*flag)),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        _ => Err(wrong_type(attribute, path)),
    }
}

fn coerce_number(attribute: &Attribute, path: &str, value: Value) -> Result<Value, ScimError> {
    let number = match value {
        Value::Number(number) => Some(number),
        Value::String(text) => Number::from_str(&text).ok(),
        _ => None,
    };
    match number {
        Some(number) if attribute.kind == Kind::Decimal || number.is_i64() => Ok(number.into()),
        _ => Err(wrong_type(attribute, path)),
    }
}

fn coerce_time(attribute: &Attribute, path: &str, value: Value) -> Result<Value, ScimError> {
    match value {
        Value::String(text) if text.parse::<ScimDateTime>().is_ok() => Ok(Value::String(text)),
        _ => Err(wrong_type(attribute, path)),
    }
}

fn coerce_complex(attribute: &Attribute, path: &str, value: Value) -> Result<Value, ScimError> {
    let value = match value {
        Value::Object(_) => value,
        // Entra sends a manager, the validators a member, as the bare text of its `value`.
        simple @ (Value::String(_) | Value::Number(_)) if attribute.sub("value").is_some() => {
            Value::Object(Map::from_iter([("value".to_owned(), simple)]))
        }
        _ => return Err(wrong_type(attribute, path)),
    };
    Ok(Value::Object(read_parts(&attribute.sub_attributes, path, value)?))
}

fn wrong_type(attribute: &Attribute, path: &str) -> ScimError {
    let due = match attribute.kind {
        Kind::String => "a string",
        Kind::Boolean => "true or false",
        Kind::Decimal => "a number",
        Kind::Integer => "a whole number",
        Kind::DateTime => "a date and time such as 2026-01-31T12:00:00Z",
        Kind::Binary => "a Base64 string",
        Kind::Reference => "a string that holds a URI",
        Kind::Complex => "a JSON object",
    };
    let many = if attribute.multi_valued { "an array; each element must be " } else { "" };
    ScimError::invalid_value(path, &format!("must be {many}{due}"))
}

/// RFC 7643 §2.4: `primary` is true for at most one element.
fn require_one_primary(kind: &ResourceType, document: &Document) -> Result<(), ScimError> {
    for (extension, attribute) in kind.attributes() {
        let Some(Value::Array(items)) = value_at(document, extension, &attribute.name) else {
            continue;
        };
        if items.iter().filter(|item| is_primary(item)).count() > 1 {
            return Err(ScimError::invalid_value(
                &attribute.name,
                "has more than one element with \"primary\": true; at most one may have it",
            ));
        }
    }
    Ok(())
}

/// Whether an element of a multi-valued attribute is the preferred one.
#[must_use]
pub fn is_primary(item: &Value) -> bool {
    item.get("primary") == Some(&Value::Bool(true))
}

/// Untyped data without its nulls; `None` if nothing is left.
#[must_use]
pub fn without_nulls(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(members) => {
            let kept: Map<String, Value> = members
                .into_iter()
                .filter_map(|(key, value)| Some((key, without_nulls(value)?)))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
    }
}
