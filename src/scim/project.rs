//! Which attributes an answer holds (RFC 7644 §3.9).

use serde_json::{Map, Value};

use super::Document;
use super::grammar;
use super::schema::{Place, ResourceType, Returned, Target};
use scim_v2::filter::AttrPath;

/// The `attributes` and `excludedAttributes` of a request, resolved.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    only: Option<Vec<Spot>>,
    without: Vec<Spot>,
}

/// A place by its canonical names, so that it can be held against the keys of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spot {
    extension: Option<String>,
    attribute: Option<String>,
    sub: Option<String>,
}

impl Projection {
    /// Resolves two comma-separated lists. Names that no schema has select nothing; attributes that
    /// are always returned cannot be excluded.
    #[must_use]
    pub fn read(kind: &ResourceType, only: Option<&str>, without: Option<&str>) -> Self {
        let only = only.filter(|list| !list.trim().is_empty());
        Self {
            only: only.map(|list| spots(kind, list)),
            without: without.map(|list| spots(kind, list)).unwrap_or_default(),
        }
    }

    /// Whether a core attribute will be part of the answer, so that it need not be read otherwise.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        let named =
            |spot: &Spot| spot.extension.is_none() && spot.attribute.as_deref() == Some(name);
        self.only.as_ref().is_none_or(|only| only.iter().any(named))
            && !self.without.iter().any(|spot| named(spot) && spot.sub.is_none())
    }

    /// Whether the request names a core attribute itself.
    #[must_use]
    pub fn asks_for(&self, name: &str) -> bool {
        self.only.is_some() && self.wants(name)
    }

    /// The resource with only what was asked for, and what is always returned.
    #[must_use]
    pub fn apply(&self, kind: &ResourceType, resource: Document) -> Document {
        if self.only.is_none() && self.without.is_empty() {
            return resource;
        }
        let mut kept = Document::new();
        for (key, value) in resource {
            let always = kind
                .attribute(&key)
                .is_some_and(|attribute| attribute.returned == Returned::Always);
            if always {
                kept.insert(key, value);
            } else if kind.extension(&key).is_some() || key.contains(':') {
                if let Some(value) = self.project_extension(&key, value) {
                    kept.insert(key, value);
                }
            } else if let Some(value) = self.project(None, &key, value) {
                kept.insert(key, value);
            }
        }
        kept
    }

    fn project_extension(&self, urn: &str, value: Value) -> Option<Value> {
        let whole =
            |spot: &Spot| spot.extension.as_deref() == Some(urn) && spot.attribute.is_none();
        if self.without.iter().any(whole) {
            return None;
        }
        let all = self.only.as_ref().is_none_or(|only| only.iter().any(whole));
        let Value::Object(parts) = value else {
            return all.then_some(value);
        };
        let mut kept = Map::new();
        for (key, value) in parts {
            let value = if all {
                self.exclude(Some(urn), &key, value)
            } else {
                self.project(Some(urn), &key, value)
            };
            if let Some(value) = value {
                kept.insert(key, value);
            }
        }
        (!kept.is_empty()).then_some(Value::Object(kept))
    }

    fn project(&self, extension: Option<&str>, name: &str, value: Value) -> Option<Value> {
        let value = match &self.only {
            None => value,
            Some(only) => {
                let subs = parts_named(only, extension, name)?;
                if subs.is_empty() {
                    value
                } else {
                    retain_parts(value, &|key| subs.contains(&key))
                }
            }
        };
        self.exclude(extension, name, value)
    }

    fn exclude(&self, extension: Option<&str>, name: &str, value: Value) -> Option<Value> {
        match parts_named(&self.without, extension, name) {
            None => Some(value),
            Some(subs) if subs.is_empty() => None,
            Some(subs) => Some(retain_parts(value, &|key| !subs.contains(&key))),
        }
    }
}

/// The sub-attributes that the spots name of an attribute: `None` if they do not name the attribute,
/// none at all if they name the whole.
fn parts_named<'s>(spots: &'s [Spot], extension: Option<&str>, name: &str) -> Option<Vec<&'s str>> {
    let named: Vec<_> = spots
        .iter()
        .filter(|spot| {
            spot.extension.as_deref() == extension && spot.attribute.as_deref() == Some(name)
        })
        .collect();
    if named.is_empty() {
        return None;
    }
    if named.iter().any(|spot| spot.sub.is_none()) {
        return Some(Vec::new());
    }
    Some(named.iter().filter_map(|spot| spot.sub.as_deref()).collect())
}

fn retain_parts(value: Value, keep: &dyn Fn(&str) -> bool) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| retain_parts(item, keep)).collect(),
        Value::Object(parts) => {
            Value::Object(parts.into_iter().filter(|(key, _)| keep(key)).collect())
        }
        other => other,
    }
}

fn spots(kind: &ResourceType, list: &str) -> Vec<Spot> {
    list.split(',')
        .filter_map(|text| grammar::parse_attribute(text.trim()).ok())
        .map(|path| match kind.resolve(&path) {
            Place::Known(Target { extension, attribute, sub }) => Spot {
                extension: extension.map(str::to_owned),
                attribute: Some(attribute.name.clone()),
                sub: sub.map(|sub| sub.name.clone()),
            },
            Place::Extension(schema) => {
                Spot { extension: Some(schema.id.clone()), attribute: None, sub: None }
            }
            Place::Resource | Place::Foreign | Place::Unknown => foreign_spot(kind, path),
        })
        .collect()
}

/// A spot in data that no schema describes: `…:2.0:User:room` below its URN, or all below `…:2.0:User`.
fn foreign_spot(kind: &ResourceType, path: AttrPath) -> Spot {
    match path.uri {
        Some(uri) if path.sub_attr.is_none() && path.name.eq_ignore_ascii_case(kind.name) => {
            Spot { extension: Some(format!("{uri}:{}", path.name)), attribute: None, sub: None }
        }
        uri => Spot { extension: uri, attribute: Some(path.name), sub: path.sub_attr },
    }
}
