//! Sorting (RFC 7644 §3.4.2.3): by which value a resource stands where, and what a reader remembers to go
//! on from there.

use std::cmp::Ordering;

use scim_v2::filter::AttrPath;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::fold::fold;
use super::resource::is_primary;
use super::schema::{Kind, Place, ResourceType, Target};
use super::{Document, ScimError, grammar};

/// The order of a query: by an attribute, resources without it last; turned round if it descends.
#[derive(Debug, Clone)]
pub struct Sort<'a> {
    /// The attribute; `None` if this type of resource does not have it.
    pub target: Option<Target<'a>>,
    /// Whether the greatest come first, after those without a value.
    pub descending: bool,
}

/// The value that a resource is sorted by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A whole number, a flag, or a time in milliseconds since 1970.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A text, folded unless its attribute is case-exact.
    Text(String),
}

/// A place in the order of a query: behind the resource that stood there when it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// What the resource is sorted by; nothing if it has no value or the query has no order of its own.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The resource; among equals, the older ones come first.
    #[serde(rename = "i")]
    pub id: Uuid,
}

/// Resolves `sortBy` for each of the types that are queried together.
///
/// Fails with `invalidValue` when none of them defines the attribute, or when it is complex and has no
/// `value` to sort by.
pub fn resolve<'a>(
    kinds: &[&'a ResourceType],
    by: &str,
    descending: bool,
) -> Result<Vec<Sort<'a>>, ScimError> {
    let unknown = |reason: &str| ScimError::invalid_value("sortBy", reason);
    let path = grammar::parse_attribute(by.trim())
        .map_err(|error| unknown(&format!("is no attribute: {error}")))?;
    let sorts: Vec<Sort<'a>> =
        kinds.iter().map(|kind| Sort { target: target(kind, &path), descending }).collect();
    if sorts.iter().all(|sort| sort.target.is_none()) {
        return Err(unknown(
            "must name an attribute of the resources that has a simple value: see /Schemas",
        ));
    }
    Ok(sorts)
}

fn target<'a>(kind: &'a ResourceType, path: &AttrPath) -> Option<Target<'a>> {
    let Place::Known(target) = kind.resolve(path) else { return None };
    let target = match (target.leaf().kind, target.sub) {
        (Kind::Complex, None) => Target { sub: target.attribute.sub("value"), ..target },
        _ => target,
    };
    let leaf = target.leaf();
    // The order would tell what is never returned.
    (leaf.kind != Kind::Complex && !target.is_hidden()).then_some(target)
}

impl Sort<'_> {
    /// What a resource is sorted by: of several values the primary one, or else the first.
    #[must_use]
    pub fn key(&self, document: &Document) -> Option<Key> {
        let target = self.target?;
        let holder = match target.extension {
            None => document,
            Some(urn) => document.get(urn)?.as_object()?,
        };
        let value = match holder.get(&target.attribute.name)? {
            Value::Array(items) => items.iter().find(|item| is_primary(item)).or(items.first())?,
            one => one,
        };
        let value = match target.sub {
            None => value,
            Some(sub) => value.get(&sub.name)?,
        };
        key_of(value, target.leaf().kind, target.leaf().case_exact)
    }
}

fn key_of(value: &Value, kind: Kind, case_exact: bool) -> Option<Key> {
    match value {
        Value::Bool(flag) => Some(Key::Integer(i64::from(*flag))),
        // All numbers of an attribute are compared in one way, or their order would be none.
        Value::Number(number) if kind == Kind::Decimal => number.as_f64().map(Key::Number),
        Value::Number(number) => number.as_i64().map(Key::Integer),
        Value::String(text) if kind == Kind::DateTime => {
            let time: jiff::Timestamp = text.parse().ok()?;
            Some(Key::Integer(time.as_millisecond()))
        }
        Value::String(text) if case_exact => Some(Key::Text(text.clone())),
        Value::String(text) => Some(Key::Text(fold(text).into_owned())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Key {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Text(_), _) => Ordering::Greater,
            (_, Self::Text(_)) => Ordering::Less,
            (left, right) => left.number().total_cmp(&right.number()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an order among numbers of two kinds")]
    fn number(&self) -> f64 {
        match self {
            Self::Integer(number) => *number as f64,
            Self::Number(number) => *number,
            Self::Text(_) => f64::INFINITY,
        }
    }
}

impl Position {
    /// The place of a resource in the order of creation.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        Self { key: None, id }
    }

    /// How two places stand to each other in an order.
    #[must_use]
    pub fn order(&self, other: &Self, descending: bool) -> Ordering {
        let by_key = match (&self.key, &other.key) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => left.order(right),
        };
        let ascending = by_key.then_with(|| self.id.cmp(&other.id));
        if descending { ascending.reverse() } else { ascending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Beyond 2^53 a whole number and a fraction can be equal to one and not to the other.
    #[test]
    fn all_decimals_are_compared_in_one_way() {
        let keys: Vec<_> = [
            json!(9_007_199_254_740_992_u64),
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992.0),
            json!(-1),
        ]
        .iter()
        .map(|value| key_of(value, Kind::Decimal, false).unwrap())
        .collect();
        assert!(keys.iter().all(|key| matches!(key, Key::Number(_))), "{keys:?}");
    }
}
