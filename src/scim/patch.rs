//! PATCH, applied to a document (RFC 7644 §3.5.2).
//!
//! [`changes`] resolves the operations of a request against the schemas, one [`Change`] for each
//! attribute that is touched; [`apply`] makes one change. What a client may not write (`id`, `meta`,
//! `groups`) and what no schema knows is left out without an error, because Okta and Entra send both.
//! Members of a group never come through [`apply`]: they are rows, not part of a document.

mod resolve;

use std::collections::HashSet;

use serde_json::{Map, Value};

use scim_v2::filter::CompareOp;

use super::filter::{Condition, Operand};
use super::habits::{Habits, Replaced};
use super::message::{Verb, placed};
use super::resource::{
    coerce, coerce_single, immutable, is_primary, require_countable, require_few_urns,
    without_nulls,
};
use super::schema::{Attribute, Mutability, Schema, Target};
use super::{Document, ErrorKind, ScimError};

pub use resolve::{PATH_TERMS_MAX, VALUE_KEYS_MAX, changes};

/// One change of one place in a resource.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// Add, replace or remove.
    pub verb: Verb,
    /// Where.
    pub spot: Spot<'a>,
    /// With what; `Null` for nothing.
    pub value: Value,
    /// The operation's place in the request, from 0, for errors.
    pub operation: usize,
    /// How the client is treated.
    pub habits: &'a Habits,
}

/// A place that can be changed.
#[derive(Debug, Clone)]
pub enum Spot<'a> {
    /// An attribute or a sub-attribute.
    Attribute(Target<'a>),
    /// The elements of a multi-valued attribute that satisfy a filter, or their sub-attribute.
    Elements(Target<'a>, Condition<'a>),
    /// A whole extension, to be removed.
    Extension(&'a Schema),
    /// Data under a URN that no schema has.
    Foreign {
        /// The URN.
        urn: String,
        /// The name below it and below that, if the path has them.
        names: Vec<String>,
    },
}

impl Change<'_> {
    /// Whether the change regards this core attribute.
    #[must_use]
    pub fn regards(&self, name: &str) -> bool {
        match &self.spot {
            Spot::Attribute(target) | Spot::Elements(target, _) => target.is_core(name),
            Spot::Extension(_) | Spot::Foreign { .. } => false,
        }
    }
}

/// Makes one change. After an error the document is of no use: the caller keeps its own copy.
pub fn apply(document: &mut Document, change: Change<'_>) -> Result<(), ScimError> {
    let Change { verb, spot, value, operation, habits } = change;
    match spot {
        Spot::Attribute(target) => within(document, target.extension, |holder| {
            if target.attribute.multi_valued {
                edit_array(holder, target, None, verb, value)
            } else {
                edit_single(holder, target, habits, verb, value)
            }
        }),
        Spot::Elements(target, condition) => within(document, target.extension, |holder| {
            require_one_match(habits, holder, target.attribute, &condition)?;
            edit_array(holder, target, Some(&condition), verb, value)
        }),
        Spot::Extension(schema) => {
            document.shift_remove(&schema.id);
            Ok(())
        }
        Spot::Foreign { urn, names } => {
            edit_foreign(document, &urn, &names, verb, value);
            require_few_urns(document)
        }
    }
    .map_err(|error| placed(error, operation))
}

/// Edits the object that holds a target: the document itself or one of its extensions.
fn within(
    document: &mut Document,
    extension: Option<&str>,
    edit: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    match extension {
        None => edit(document),
        Some(urn) => edit_object(document, urn, edit),
    }
}

/// Edits the object under `key`, which comes into being when needed and goes when it is empty.
fn edit_object(
    holder: &mut Map<String, Value>,
    key: &str,
    edit: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let slot = holder.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    let mut empty = false;
    if let Value::Object(parts) = slot {
        edit(parts)?;
        empty = parts.is_empty();
    }
    if empty {
        holder.shift_remove(key);
    }
    Ok(())
}

fn edit_single(
    holder: &mut Map<String, Value>,
    target: Target<'_>,
    habits: &Habits,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let Target { attribute, sub, .. } = target;
    match (sub, value) {
        (Some(sub), value) => edit_object(holder, &attribute.name, |parts| {
            set(parts, sub, &format!("{}.{}", attribute.name, sub.name), verb, value)
        }),
        // Sub-attributes that are not named stay as they are (RFC 7644 §3.5.2.1 and §3.5.2.3).
        (None, Value::Object(given))
            if verb != Verb::Remove && !attribute.sub_attributes.is_empty() =>
        {
            if (verb, habits.replaced_complex) == (Verb::Replace, Replaced::Whole) {
                holder.shift_remove(&attribute.name);
            }
            edit_object(holder, &attribute.name, |parts| merge(parts, attribute, verb, given))
        }
        (None, value) => set(holder, attribute, &attribute.name, verb, value),
    }
}

fn merge(
    parts: &mut Map<String, Value>,
    attribute: &Attribute,
    verb: Verb,
    given: Map<String, Value>,
) -> Result<(), ScimError> {
    for (key, value) in given {
        let Some(sub) = attribute.sub(&key) else {
            continue;
        };
        if sub.mutability != Mutability::ReadOnly {
            set(parts, sub, &format!("{}.{}", attribute.name, sub.name), verb, value)?;
        }
    }
    Ok(())
}

/// Sets or clears one simple value; "add" and "replace" are the same here (RFC 7644 §3.5.2.1).
fn set(
    holder: &mut Map<String, Value>,
    attribute: &Attribute,
    path: &str,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let value = if verb == Verb::Remove { None } else { coerce(attribute, path, value)? };
    match value {
        Some(value) => holder.insert(attribute.name.clone(), value),
        None => holder.shift_remove(&attribute.name),
    };
    Ok(())
}

fn edit_array(
    holder: &mut Map<String, Value>,
    target: Target<'_>,
    condition: Option<&Condition<'_>>,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let Target { attribute, sub, .. } = target;
    let mut items = match holder.shift_remove(&attribute.name) {
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let preferred: Vec<Value> = items.iter().filter(|item| is_primary(item)).cloned().collect();
    match (sub, condition) {
        (None, None) => edit_all(&mut items, attribute, verb, value)?,
        (None, Some(condition)) => edit_matching(&mut items, attribute, condition, verb, value)?,
        (Some(sub), condition) => edit_parts(&mut items, attribute, sub, condition, verb, value)?,
    }
    keep_one_primary(&mut items, &preferred, attribute)?;
    require_countable(attribute, items.len())?;
    if !items.is_empty() {
        holder.insert(attribute.name.clone(), items.into());
    }
    Ok(())
}

/// `emails`
fn edit_all(
    items: &mut Vec<Value>,
    attribute: &Attribute,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let no_value = value.is_null();
    let given = match coerce(attribute, &attribute.name, value)? {
        Some(Value::Array(given)) => given,
        _ => Vec::new(),
    };
    match verb {
        Verb::Add => {
            let mut known: HashSet<Value> = items.iter().cloned().collect();
            items.extend(given.into_iter().filter(|item| known.insert(item.clone())));
        }
        Verb::Replace => *items = given,
        Verb::Remove if no_value => items.clear(),
        Verb::Remove => items.retain(|item| !given.iter().any(|listed| same_value(item, listed))),
    }
    Ok(())
}

/// `emails[type eq "work"]`
fn edit_matching(
    items: &mut Vec<Value>,
    attribute: &Attribute,
    condition: &Condition<'_>,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let no_value = value.is_null() || value == "";
    let given = match verb {
        Verb::Remove => None,
        Verb::Add | Verb::Replace => coerce_single(attribute, &attribute.name, value)?,
    };
    let given = match (verb, given) {
        (Verb::Add | Verb::Replace, Some(Value::Object(given))) => given,
        (Verb::Add, _) => return Ok(()),
        (Verb::Replace, _) if !no_value => {
            return Err(ScimError::invalid_value(
                &attribute.name,
                "has no sub-attribute that could be kept: use \"remove\" to remove the element",
            ));
        }
        (Verb::Remove | Verb::Replace, _) => {
            items.retain(|item| !satisfies(item, condition));
            return Ok(());
        }
    };
    let mut matched = false;
    for item in items.iter_mut().filter(|item| satisfies(item, condition)) {
        matched = true;
        require_parts_kept(attribute, item, verb, &given)?;
        match (verb, item.as_object_mut()) {
            (Verb::Add, Some(parts)) => parts.extend(given.clone()),
            _ => *item = Value::Object(given.clone()),
        }
    }
    match (matched, verb, seed(condition)) {
        (true, ..) => Ok(()),
        (false, Verb::Add, Some(mut parts)) => {
            parts.extend(given);
            items.push(parts.into());
            Ok(())
        }
        (false, ..) => Err(no_target(attribute)),
    }
}

/// Checks that a new value of an element leaves its immutable parts as they are.
fn require_parts_kept(
    attribute: &Attribute,
    item: &Value,
    verb: Verb,
    given: &Map<String, Value>,
) -> Result<(), ScimError> {
    let immutable_parts =
        attribute.sub_attributes.iter().filter(|part| part.mutability == Mutability::Immutable);
    for part in immutable_parts {
        let (was, is) = (item.get(&part.name), given.get(&part.name));
        let left_out = verb == Verb::Add && is.is_none();
        if was.is_some() && was != is && !left_out {
            return Err(immutable(&format!("{}.{}", attribute.name, part.name)));
        }
    }
    Ok(())
}

/// `emails[type eq "work"].value` and `emails.value`
fn edit_parts(
    items: &mut Vec<Value>,
    attribute: &Attribute,
    sub: &Attribute,
    condition: Option<&Condition<'_>>,
    verb: Verb,
    value: Value,
) -> Result<(), ScimError> {
    let path = format!("{}.{}", attribute.name, sub.name);
    let value = match verb {
        Verb::Remove => None,
        Verb::Add | Verb::Replace => coerce(sub, &path, value)?,
    };
    let mut matched = false;
    for item in items.iter_mut() {
        let chosen = condition.is_none_or(|condition| satisfies(item, condition));
        let Some(parts) = item.as_object_mut().filter(|_| chosen) else {
            continue;
        };
        matched = true;
        let was = parts.get(&sub.name);
        if sub.mutability == Mutability::Immutable && was.is_some() && was != value.as_ref() {
            return Err(immutable(&path));
        }
        match &value {
            Some(value) => parts.insert(sub.name.clone(), value.clone()),
            None => parts.shift_remove(&sub.name),
        };
    }
    let Some(value) = value else {
        items.retain(|item| !is_hollow(item));
        return Ok(());
    };
    if !matched {
        // Entra sets the work address of a person who has none by this path.
        let seed = condition.map_or_else(|| Some(Map::new()), seed);
        let mut parts = seed.ok_or_else(|| no_target(attribute))?;
        parts.insert(sub.name.clone(), value);
        items.push(parts.into());
    }
    Ok(())
}

fn require_one_match(
    habits: &Habits,
    holder: &Map<String, Value>,
    attribute: &Attribute,
    condition: &Condition<'_>,
) -> Result<(), ScimError> {
    let items = holder.get(&attribute.name).and_then(Value::as_array);
    let matches = items.into_iter().flatten().filter(|item| satisfies(item, condition)).count();
    if matches <= 1 {
        return Ok(());
    }
    habits.many_matches.check(ErrorKind::InvalidFilter, || {
        format!("the filter of the path selects {matches} elements of {}: name one", attribute.name)
    })
}

fn satisfies(item: &Value, condition: &Condition<'_>) -> bool {
    item.as_object().is_some_and(|parts| condition.matches(parts))
}

/// The parts that an element must have to satisfy a filter of equalities; `None` for other filters.
fn seed(condition: &Condition<'_>) -> Option<Map<String, Value>> {
    match condition {
        Condition::Compare(target, CompareOp::Eq, operand) => {
            let value = match operand {
                Operand::Boolean(flag) => Value::Bool(*flag),
                Operand::Text { raw, .. } if !raw.is_empty() => Value::String(raw.clone()),
                // An empty text is no value (RFC 7643 §2.5), so no element can have it.
                Operand::Text { .. } | Operand::Null | Operand::Number(_) | Operand::Time(_) => {
                    return None;
                }
            };
            Some(Map::from_iter([(target.attribute.name.clone(), value)]))
        }
        Condition::And(conditions) => {
            let mut parts = Map::new();
            for condition in conditions {
                parts.extend(seed(condition)?);
            }
            Some(parts)
        }
        _ => None,
    }
}

fn no_target(attribute: &Attribute) -> ScimError {
    ScimError::new(
        ErrorKind::NoTarget,
        format!("no element of {} satisfies the filter of the path", attribute.name),
    )
}

/// Whether two elements mean the same: by `value` where they have one, else altogether.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left.get("value"), right.get("value")) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Whether an element says nothing any more: what is left only describes a value that is gone.
fn is_hollow(item: &Value) -> bool {
    item.as_object().is_some_and(|parts| {
        parts.keys().all(|key| matches!(key.as_str(), "type" | "primary" | "display"))
    })
}

/// RFC 7644 §3.5.2: a new `primary` takes the mark from the element that had it.
fn keep_one_primary(
    items: &mut [Value],
    preferred: &[Value],
    attribute: &Attribute,
) -> Result<(), ScimError> {
    if items.iter().filter(|item| is_primary(item)).count() <= 1 {
        return Ok(());
    }
    let fresh = |item: &Value| is_primary(item) && !preferred.contains(item);
    if items.iter().filter(|item| fresh(item)).count() != 1 {
        return Err(ScimError::invalid_value(
            &attribute.name,
            "would have more than one element with \"primary\": true; at most one may have it",
        ));
    }
    for item in items.iter_mut().filter(|item| is_primary(item) && !fresh(item)) {
        if let Some(parts) = item.as_object_mut() {
            parts.insert("primary".to_owned(), Value::Bool(false));
        }
    }
    Ok(())
}

fn edit_foreign(document: &mut Document, urn: &str, names: &[String], verb: Verb, value: Value) {
    let urn = document
        .keys()
        .find(|key| key.eq_ignore_ascii_case(urn))
        .map_or_else(|| urn.to_owned(), Clone::clone);
    match (names, value) {
        ([], value) if verb == Verb::Remove || value.is_null() => {
            document.shift_remove(&urn);
        }
        ([], Value::Object(given)) => {
            for (name, value) in given {
                put_deep(document, &urn, &[name], without_nulls(value));
            }
        }
        // A URN that is no extension, with a plain value: nothing that could be kept under it.
        ([], _) => {}
        (names, _) if verb == Verb::Remove => put_deep(document, &urn, names, None),
        (names, value) => put_deep(document, &urn, names, without_nulls(value)),
    }
}

fn put_deep(holder: &mut Map<String, Value>, key: &str, names: &[String], value: Option<Value>) {
    let Some((name, rest)) = names.split_first() else {
        match value {
            Some(value) if value != Value::String(String::new()) => {
                holder.insert(key.to_owned(), value);
            }
            _ => {
                holder.shift_remove(key);
            }
        }
        return;
    };
    let slot = holder.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Value::Object(parts) = slot {
        put_deep(parts, name, rest, value);
        if parts.is_empty() {
            holder.shift_remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
