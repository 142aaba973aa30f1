//! Which attributes an answer holds (RFC 7644 §3.9).

use serde_json::{Map, Value};

use super::Document;
use super::grammar;
use super::resource::is_urn;
use super::schema::{Attribute, Place, ResourceType, Returned, Schema, Target};
use scim_v2::filter::AttrPath;

/// The `attributes` and `excludedAttributes` of a request, resolved.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    only: Option<Vec<Spot>>,
    without: Vec<Spot>,
}

/// A place by its canonical names, so that it can be held against the keys of a document; without an
/// attribute it is all of a schema.
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
        let is_named = |spots: &Vec<Spot>| {
            let named = Named::find(spots, None, name);
            named.holder || named.names()
        };
        self.only.as_ref().is_none_or(is_named)
            && !Named::find(&self.without, None, name).is_whole()
    }

    /// Whether the request names a core attribute itself.
    #[must_use]
    pub fn asks_for(&self, name: &str) -> bool {
        self.only.is_some() && self.wants(name)
    }

    /// The resource with only what was asked for, what is always returned, and nothing that never is.
    #[must_use]
    pub fn apply(&self, kind: &ResourceType, resource: Document) -> Document {
        if self.only.is_none() && self.without.is_empty() && !withholds(kind) {
            return resource;
        }
        let mut kept = Document::new();
        for (key, value) in resource {
            let extension = kind.extension(&key);
            let projected = if extension.is_some() || is_urn(&key) {
                self.project_extension(extension, &key, value)
            } else {
                self.project(None, kind.attribute(&key), &key, value)
            };
            if let Some(value) = projected {
                kept.insert(key, value);
            }
        }
        kept
    }

    fn project_extension(&self, schema: Option<&Schema>, urn: &str, value: Value) -> Option<Value> {
        let is_whole =
            |spot: &Spot| spot.extension.as_deref() == Some(urn) && spot.attribute.is_none();
        // Attributes that are always returned cannot be excluded with their schema.
        let is_always = |attribute: &Attribute| attribute.returned == Returned::Always;
        let stays = schema.is_some_and(|schema| schema.attributes.iter().any(is_always));
        if !stays && self.without.iter().any(is_whole) {
            return None;
        }
        let Value::Object(parts) = value else {
            let wanted = self.only.as_ref().is_none_or(|only| only.iter().any(is_whole));
            return wanted.then_some(value);
        };
        let project = |(key, value): (String, Value)| {
            let attribute = schema.and_then(|schema| schema.attribute(&key));
            let value = self.project(Some(urn), attribute, &key, value)?;
            Some((key, value))
        };
        let kept: Map<String, Value> = parts.into_iter().filter_map(project).collect();
        (!kept.is_empty()).then_some(Value::Object(kept))
    }

    fn project(
        &self,
        extension: Option<&str>,
        attribute: Option<&Attribute>,
        name: &str,
        value: Value,
    ) -> Option<Value> {
        let named = self.only.as_ref().map(|only| Named::find(only, extension, name));
        let without = Named::find(&self.without, extension, name);
        let always = returned(attribute) == Returned::Always;
        match (returned(attribute), &named) {
            // Its parts have a say of their own.
            (Returned::Always, _) => {}
            (Returned::Never, _) | (Returned::Request, None) => return None,
            (Returned::Request, Some(named)) if !named.names() => return None,
            (_, Some(named)) if !named.holder && !named.names() => return None,
            _ if without.is_whole() => return None,
            _ => {}
        }
        let keeps = |part: &str| match returned(attribute.and_then(|holder| holder.sub(part))) {
            Returned::Always => true,
            Returned::Never => false,
            Returned::Request => named.as_ref().is_some_and(|named| named.names_part(part)),
            Returned::Default => {
                (always || named.as_ref().is_none_or(|named| named.covers_part(part)))
                    && !without.names_part(part)
            }
        };
        retain_parts(value, &keeps)
    }
}

/// What a list of spots says of one attribute.
#[derive(Debug, Default)]
struct Named<'s> {
    /// It names the schema that holds the attribute.
    holder: bool,
    /// It names the attribute.
    whole: bool,
    /// It names these sub-attributes.
    parts: Vec<&'s str>,
}

impl<'s> Named<'s> {
    fn find(spots: &'s [Spot], extension: Option<&str>, name: &str) -> Self {
        let mut named = Self::default();
        // What every resource has belongs to no schema (RFC 7643 §3.1).
        let of_schema = extension.is_some() || !COMMON.contains(&name);
        for spot in spots.iter().filter(|spot| spot.extension.as_deref() == extension) {
            match (spot.attribute.as_deref(), spot.sub.as_deref()) {
                (None, _) => named.holder |= of_schema,
                (Some(attribute), None) => named.whole |= attribute == name,
                (Some(attribute), Some(sub)) if attribute == name => named.parts.push(sub),
                _ => {}
            }
        }
        named
    }

    /// Whether it names the attribute itself or a part of it.
    fn names(&self) -> bool {
        self.whole || !self.parts.is_empty()
    }

    /// Whether it names all of the attribute.
    fn is_whole(&self) -> bool {
        self.holder || self.whole
    }

    fn names_part(&self, part: &str) -> bool {
        self.parts.contains(&part)
    }

    fn covers_part(&self, part: &str) -> bool {
        self.is_whole() || self.names_part(part)
    }
}

/// The attributes that every resource has.
const COMMON: [&str; 4] = ["schemas", "id", "externalId", "meta"];

fn returned(attribute: Option<&Attribute>) -> Returned {
    attribute.map_or(Returned::Default, |attribute| attribute.returned)
}

/// Whether resources of a type hold something that is not shown unless it is asked for, or never.
fn withholds(kind: &ResourceType) -> bool {
    let is_withheld = |attribute: &Attribute| {
        matches!(attribute.returned, Returned::Request | Returned::Never) && attribute.is_kept()
    };
    kind.attributes().any(|(_, attribute)| {
        is_withheld(attribute) || attribute.sub_attributes.iter().any(is_withheld)
    })
}

/// The parts of a value that are kept; `None` if nothing is left of it.
fn retain_parts(value: Value, keeps: &dyn Fn(&str) -> bool) -> Option<Value> {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let kept: Vec<Value> =
                items.into_iter().filter_map(|item| retain_parts(item, keeps)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(parts) => {
            let kept: Map<String, Value> =
                parts.into_iter().filter(|(key, _)| keeps(key)).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
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
            Place::Resource => Spot { extension: None, attribute: None, sub: None },
            Place::Foreign | Place::Unknown => foreign_spot(kind, path),
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
