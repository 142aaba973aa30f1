//! The values of a document at a path, as text: what a mapping reads.

use scim_v2::filter::{AttrPath, PatchPath};
use serde_json::{Map, Value};

use super::filter::{Condition, compile_element};
use super::schema::{Attribute, Kind, Mutability, Place, ResourceType, Target};
use super::{Document, ErrorKind, ScimError, grammar};

/// The names that an error lists at most.
const LISTED_MAX: usize = 40;

/// A path that has been read: `title`, `emails[primary eq true].value`, `urn:…:User:department`.
#[derive(Debug, Clone)]
pub struct Path(PatchPath);

/// A path that has been found in the schemas.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    target: Target<'a>,
    condition: Option<Condition<'a>>,
}

impl Path {
    /// Reads a path, in the grammar of PATCH.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        let refused =
            |error| ScimError::new(ErrorKind::InvalidPath, format!("the path \"{text}\": {error}"));
        grammar::parse_path(text).map(Self).map_err(refused)
    }

    /// The path as an operation of a PATCH has it.
    #[must_use]
    pub fn to_patch(&self) -> PatchPath {
        self.0.clone()
    }

    /// Finds the path in the schemas. What no client may read cannot be read so either, and what the
    /// server alone writes is in no document.
    pub fn resolve<'a>(&self, kind: &'a ResourceType) -> Result<Reading<'a>, ScimError> {
        match &self.0 {
            PatchPath::Attr(path) => {
                let target = with_value(find(kind, path)?, &path.to_string())?;
                Ok(Reading { target, condition: None })
            }
            PatchPath::Value(path) => {
                let target = find(kind, &path.attr)?;
                let whole = path.to_string();
                if target.sub.is_some() || target.attribute.kind != Kind::Complex {
                    let detail = format!("{} takes no filter, as in {whole}", path.attr);
                    return Err(ScimError::new(ErrorKind::InvalidPath, detail));
                }
                let condition = Some(compile_element(target.attribute, &path.filter)?);
                let Some(name) = &path.sub_attr else {
                    return Ok(Reading { target: with_value(target, &whole)?, condition });
                };
                let sub = target.attribute.sub(name).filter(|sub| !sub.is_hidden());
                let unknown = || unknown(&whole, names(&target.attribute.sub_attributes));
                let sub = Some(sub.ok_or_else(unknown)?);
                Ok(Reading { target: Target { sub, ..target }, condition })
            }
        }
    }
}

impl Reading<'_> {
    /// Whether the values stand under this URN.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        self.target.extension
    }

    /// Whether the values are true or false.
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.target.leaf().kind == Kind::Boolean
    }

    /// The values of a document, in order; numbers and flags as they are written.
    #[must_use]
    pub fn texts(&self, document: &Document) -> Vec<String> {
        let Some(condition) = &self.condition else {
            return self.target.values(document).into_iter().filter_map(text).collect();
        };
        let elements = Target { sub: None, ..self.target };
        let part = |element: &Map<String, Value>| {
            let sub = self.target.sub?;
            element.get(&sub.name).and_then(text)
        };
        let matching = elements.values(document).into_iter().filter_map(Value::as_object);
        matching.filter(|element| condition.matches(element)).filter_map(part).collect()
    }
}

fn find<'a>(kind: &'a ResourceType, path: &AttrPath) -> Result<Target<'a>, ScimError> {
    let whole = path.to_string();
    match kind.resolve(path) {
        Place::Known(target) if target.is_hidden() => Err(ScimError::new(
            ErrorKind::InvalidPath,
            format!("{whole} is never returned, so nothing can be made of it"),
        )),
        Place::Known(target) if !is_kept(target) => Err(ScimError::new(
            ErrorKind::InvalidPath,
            format!("{whole} is written by the server alone: no identity provider sends it"),
        )),
        Place::Known(target) => Ok(target),
        Place::Extension(schema) => Err(unknown(&whole, names(&schema.attributes))),
        Place::Resource => Err(unknown(&whole, names(&kind.schema.attributes))),
        Place::Foreign => {
            let schemas = kind.extensions.iter().map(|schema| schema.id.clone()).collect();
            Err(unknown(&whole, schemas))
        }
        Place::Unknown => Err(unknown(&whole, siblings(kind, path))),
    }
}

/// What could stand where a name is unknown.
fn siblings(kind: &ResourceType, path: &AttrPath) -> Vec<String> {
    let schema = path.uri.as_deref().and_then(|urn| kind.extension(urn)).unwrap_or(&kind.schema);
    let attribute = schema.attribute(&path.name).filter(|one| !one.sub_attributes.is_empty());
    names(attribute.map_or(&schema.attributes, |attribute| &attribute.sub_attributes))
}

fn is_kept(target: Target<'_>) -> bool {
    let writable = |attribute: &Attribute| attribute.mutability != Mutability::ReadOnly;
    writable(target.attribute) && target.sub.is_none_or(writable)
}

/// Of a complex attribute its `value` is read, as filters do (RFC 7644 §3.4.2.2).
fn with_value<'a>(target: Target<'a>, whole: &str) -> Result<Target<'a>, ScimError> {
    if target.leaf().kind != Kind::Complex {
        return Ok(target);
    }
    match target.attribute.sub("value") {
        Some(value) if target.sub.is_none() && !value.is_hidden() => {
            Ok(Target { sub: Some(value), ..target })
        }
        _ => {
            let parts = names(&target.leaf().sub_attributes).join(", ");
            let detail = format!("{whole} has parts: name one of {parts} behind a dot");
            Err(ScimError::new(ErrorKind::InvalidPath, detail))
        }
    }
}

fn names(attributes: &[Attribute]) -> Vec<String> {
    let shown = attributes.iter().filter(|one| !one.is_hidden());
    shown.filter(|one| one.mutability != Mutability::ReadOnly).map(|one| one.name.clone()).collect()
}

fn unknown(path: &str, mut known: Vec<String>) -> ScimError {
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    known.truncate(LISTED_MAX);
    let known = known.join(", ");
    let detail = format!("no schema of the instance defines {path}; there are {known}{more}");
    ScimError::new(ErrorKind::InvalidPath, detail)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Path;
    use crate::scim::schemas::Schemas;

    fn texts(path: &str) -> Result<Vec<String>, String> {
        let Value::Object(document) = json!({
            "userName": "ann", "active": true, "title": "Clerk", "name": { "givenName": "Ann" },
            "emails": [
                { "value": "home@example.com", "type": "home" },
                { "value": "work@example.com", "type": "work", "primary": true },
            ],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                "department": "Sales", "manager": { "value": "7" },
            },
        }) else {
            return Ok(Vec::new());
        };
        let path = Path::parse(path).map_err(|error| error.detail)?;
        let reading = path.resolve(&Schemas::standard().user).map_err(|error| error.detail)?;
        Ok(reading.texts(&document))
    }

    #[test]
    fn values_are_read_as_text() {
        const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let department = format!("{ENTERPRISE}:department");
        let manager = format!("{ENTERPRISE}:manager");
        let cases: &[(&str, &[&str])] = &[
            ("title", &["Clerk"]),
            ("TITLE", &["Clerk"]),
            ("active", &["true"]),
            ("name.givenName", &["Ann"]),
            ("nickName", &[]),
            ("emails", &["home@example.com", "work@example.com"]),
            ("emails.type", &["home", "work"]),
            ("emails[primary eq true].value", &["work@example.com"]),
            ("emails[type eq \"home\"]", &["home@example.com"]),
            ("emails[type eq \"other\"].value", &[]),
            (&department, &["Sales"]),
            (&manager, &["7"]),
        ];
        for (path, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(texts(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_can() {
        let cases = [
            ("jobTitle", "no schema of the instance defines jobTitle; there are userName, name,"),
            ("name.first", "there are formatted, familyName, givenName"),
            ("name", "name has parts: name one of formatted"),
            ("urn:acme:2.0:User:badge", "extension:enterprise:2.0:User"),
            ("password", "never returned"),
            ("groups.value", "written by the server alone"),
            ("title[type eq \"x\"].value", "title takes no filter"),
            ("emails[kind eq \"x\"].value", "kind"),
            ("emails[type eq \"work\"].first", "there are value, display, type, primary"),
            ("emails[", "the path \"emails[\""),
        ];
        for (path, why) in cases {
            let refused = texts(path).unwrap_err();
            assert!(refused.contains(why), "{path}: {refused}");
        }
    }
}
