//! From the operations of a PATCH to the changes that they mean: paths resolved against the schemas, a
//! value without a path taken apart.

use std::fmt;

use serde_json::Value;

use scim_v2::filter::{AttrPath, PatchPath};

use super::{Change, Spot};
use crate::scim::filter::{Condition, compile_element};
use crate::scim::habits::Habits;
use crate::scim::message::{Operation, Verb, placed};
use crate::scim::resource::is_urn;
use crate::scim::schema::{Attribute, Mutability, Place, ResourceType, Schema, Target};
use crate::scim::{ErrorKind, ScimError, grammar, strict};

/// The comparisons in the filters of all paths of one request: each of them is made for every element.
pub const PATH_TERMS_MAX: usize = 1000;

/// The keys in the values of operations without a path, of one request: each of them is a change.
pub const VALUE_KEYS_MAX: usize = 1000;

/// Resolves the operations of a request; a value without a path becomes one change for each key.
pub fn changes<'a>(
    kind: &'a ResourceType,
    habits: &'a Habits,
    operations: Vec<Operation>,
) -> Result<Vec<Change<'a>>, ScimError> {
    let mut resolver = Resolver {
        kind,
        habits,
        changes: Vec::new(),
        verb: Verb::Add,
        operation: 0,
        terms: 0,
        keys: 0,
    };
    for (index, operation) in operations.into_iter().enumerate() {
        resolver.verb = operation.verb;
        resolver.operation = index;
        let value = operation.value.unwrap_or(Value::Null);
        match operation.path {
            Some(path) => resolver.at(&path, value),
            None => resolver.without_path(value),
        }
        .map_err(|error| placed(error, index))?;
    }
    Ok(resolver.changes)
}

struct Resolver<'a> {
    kind: &'a ResourceType,
    habits: &'a Habits,
    changes: Vec<Change<'a>>,
    verb: Verb,
    operation: usize,
    terms: usize,
    keys: usize,
}

impl<'a> Resolver<'a> {
    fn at(&mut self, path: &PatchPath, value: Value) -> Result<(), ScimError> {
        match path {
            PatchPath::Attr(path) => self.at_attribute(path, value),
            PatchPath::Value(path) => {
                let Place::Known(target) = self.kind.resolve(&path.attr) else {
                    return self.unwritable(ErrorKind::InvalidPath, &path.attr);
                };
                if !target.attribute.multi_valued || target.sub.is_some() {
                    return Err(ScimError::new(
                        ErrorKind::InvalidPath,
                        format!("{} is not multi-valued: it takes no filter", path.attr),
                    ));
                }
                let condition = compile_element(target.attribute, &path.filter)?;
                self.count_terms(&condition)?;
                let sub = match &path.sub_attr {
                    None => {
                        self.habits.element_paths.check(ErrorKind::InvalidPath, || {
                            format!("{path} must name a sub-attribute behind its filter")
                        })?;
                        None
                    }
                    Some(name) => match target.attribute.sub(name) {
                        None => return self.unwritable(ErrorKind::InvalidPath, path),
                        found => found,
                    },
                };
                let target = Target { sub, ..target };
                self.writable(target, Spot::Elements(target, condition), value)
            }
        }
    }

    fn at_attribute(&mut self, path: &AttrPath, value: Value) -> Result<(), ScimError> {
        match self.kind.resolve(path) {
            Place::Known(target) => self.writable(target, Spot::Attribute(target), value),
            Place::Extension(schema) => self.at_extension(schema, value),
            Place::Resource => self.each_key(value),
            Place::Foreign => {
                self.foreign(path)?;
                // Extensions are named after their resource type: a path that ends so is the whole.
                let uri = path.uri.clone().unwrap_or_default();
                let whole = path.name.eq_ignore_ascii_case(self.kind.name);
                let foreign = if whole && path.sub_attr.is_none() {
                    Spot::Foreign { urn: format!("{uri}:{}", path.name), names: Vec::new() }
                } else {
                    let names = std::iter::once(path.name.clone()).chain(path.sub_attr.clone());
                    Spot::Foreign { urn: uri, names: names.collect() }
                };
                self.push(foreign, value);
                Ok(())
            }
            Place::Unknown => self.unwritable(ErrorKind::InvalidPath, path),
        }
    }

    fn at_extension(&mut self, schema: &'a Schema, value: Value) -> Result<(), ScimError> {
        let parts = match value {
            Value::Object(parts) if self.verb != Verb::Remove => parts,
            Value::Object(_) | Value::Null => {
                self.push(Spot::Extension(schema), Value::Null);
                return Ok(());
            }
            _ => {
                return Err(ScimError::invalid_value(&schema.id, "must be a JSON object"));
            }
        };
        self.count_keys(parts.len())?;
        for (key, value) in parts {
            let path = AttrPath { uri: Some(schema.id.clone()), ..attribute_path(&key) };
            match self.kind.resolve(&path) {
                Place::Known(target) => self.writable(target, Spot::Attribute(target), value)?,
                _ => self.unwritable(ErrorKind::InvalidPath, &path)?,
            }
        }
        Ok(())
    }

    fn without_path(&mut self, value: Value) -> Result<(), ScimError> {
        self.habits
            .missing_paths
            .check(ErrorKind::InvalidSyntax, || "the operation needs a \"path\"".to_owned())?;
        self.each_key(value)
    }

    /// A value without a path: each key is a path of its own, dotted, filtered or with a URN.
    fn each_key(&mut self, value: Value) -> Result<(), ScimError> {
        let Value::Object(values) = value else {
            return Err(ScimError::invalid_value(
                "\"value\"",
                "must be a JSON object when the operation has no \"path\"",
            ));
        };
        self.count_keys(values.len())?;
        for (key, value) in values {
            // The URN of an extension that no schema has need not be an attribute path.
            if is_urn(&key) && value.is_object() && self.is_foreign(&key) {
                self.foreign(&key)?;
                self.push(Spot::Foreign { urn: key, names: Vec::new() }, value);
            } else if let Ok(path) = grammar::parse_path(&key) {
                self.at(&path, value)?;
            } else {
                self.unwritable(ErrorKind::InvalidPath, &key)?;
            }
        }
        Ok(())
    }

    /// Whether a key names something that no schema of the type defines.
    fn is_foreign(&self, key: &str) -> bool {
        match grammar::parse_path(key) {
            Ok(PatchPath::Attr(path)) => matches!(self.kind.resolve(&path), Place::Foreign),
            Ok(PatchPath::Value(_)) => false,
            Err(_) => !key.contains('['),
        }
    }

    /// Bounds the work of a request: no resource has so many attributes.
    fn count_keys(&mut self, keys: usize) -> Result<(), ScimError> {
        self.keys += keys;
        if self.keys <= VALUE_KEYS_MAX {
            return Ok(());
        }
        Err(ScimError::new(
            ErrorKind::TooMany,
            format!(
                "the values of a request may hold {VALUE_KEYS_MAX} attributes altogether: send the \
                 rest in another request"
            ),
        ))
    }

    /// Bounds the work of a request: every comparison is made for every element.
    fn count_terms(&mut self, condition: &Condition<'_>) -> Result<(), ScimError> {
        self.terms += condition.terms();
        if self.terms <= PATH_TERMS_MAX {
            return Ok(());
        }
        Err(ScimError::new(
            ErrorKind::TooMany,
            format!(
                "the paths of a request may hold {PATH_TERMS_MAX} comparisons altogether: send the \
                 rest in another request"
            ),
        ))
    }

    fn writable(
        &mut self,
        target: Target<'a>,
        spot: Spot<'a>,
        value: Value,
    ) -> Result<(), ScimError> {
        let read_only = |attribute: &Attribute| attribute.mutability == Mutability::ReadOnly;
        if read_only(target.attribute) || target.sub.is_some_and(read_only) {
            return self.unwritable(ErrorKind::Mutability, &target.leaf().name);
        }
        strict::check_change(self.habits, target.leaf(), self.verb, &value)?;
        if target.attribute.is_kept() {
            self.push(spot, value);
        }
        Ok(())
    }

    /// What cannot be written: passed over, because Okta and Entra send it, or an error.
    fn unwritable(&self, kind: ErrorKind, path: &dyn fmt::Display) -> Result<(), ScimError> {
        self.habits.unwritable_paths.check(kind, || {
            let reason = match kind {
                ErrorKind::Mutability => "is written by the server alone",
                _ => "is no attribute of this resource type: see /Schemas",
            };
            format!("{} {reason}", shortened(path))
        })
    }

    /// Data under a URN that no schema has.
    fn foreign(&self, path: &dyn fmt::Display) -> Result<(), ScimError> {
        self.habits.unknown_names.check(ErrorKind::InvalidSyntax, || {
            format!("no schema defines {}: see /Schemas", shortened(path))
        })
    }

    fn push(&mut self, spot: Spot<'a>, value: Value) {
        let Self { verb, operation, habits, .. } = *self;
        self.changes.push(Change { verb, spot, value, operation, habits });
    }
}

/// A path of a client can be anything; what is repeated of it is cut.
fn shortened(path: &dyn fmt::Display) -> String {
    path.to_string().chars().take(100).collect()
}

fn attribute_path(name: &str) -> AttrPath {
    match name.split_once('.') {
        Some((name, sub)) => AttrPath::with_sub_attr(name, sub),
        None => AttrPath::with_name(name),
    }
}
