//! Schemas as data (RFC 7643 §7): one registry drives validation, coercion, filters, PATCH,
//! projection and what `/Schemas` answers, so none of them can disagree about an attribute.

use serde::Serialize;

use super::grammar;
use scim_v2::filter::AttrPath;

/// One attribute of a schema, with the characteristics of RFC 7643 §2.2.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// The name as it is spelled in answers; requests may use any case.
    pub name: String,
    /// The data type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The parts of a complex attribute; empty for all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Attribute>,
    /// Whether the value is an array.
    pub multi_valued: bool,
    /// What the attribute is for, in a sentence.
    pub description: String,
    /// Whether a resource without it is refused.
    pub required: bool,
    /// Suggested values; an open list, other values are taken too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    /// Whether comparisons regard case.
    pub case_exact: bool,
    /// Who may write it.
    pub mutability: Mutability,
    /// When it is part of an answer.
    pub returned: Returned,
    /// How far its value must be unique.
    pub uniqueness: Uniqueness,
    /// What a reference may point to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    /// What becomes of a value that a client writes.
    #[serde(skip)]
    pub keeping: Keeping,
}

/// What becomes of a value that a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// It is kept.
    #[default]
    Kept,
    /// It is forgotten at once: of a password nothing is ever kept.
    Forgotten,
}

/// The data types of RFC 7643 §2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Unicode text.
    String,
    /// True or false.
    Boolean,
    /// A real number.
    Decimal,
    /// A whole number.
    Integer,
    /// An `xsd:dateTime`.
    DateTime,
    /// Base64 text.
    Binary,
    /// A URI.
    Reference,
    /// A set of sub-attributes.
    Complex,
}

/// Who may write an attribute (RFC 7643 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mutability {
    /// The server writes it; what clients send is ignored.
    ReadOnly,
    /// Clients write it.
    ReadWrite,
    /// Clients write it while it has no value.
    Immutable,
    /// Clients write it and never read it.
    WriteOnly,
}

/// When an attribute is part of an answer (RFC 7643 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Returned {
    /// In every answer, whatever was asked for.
    Always,
    /// Unless the request names other attributes.
    Default,
    /// Only if the request names it.
    Request,
    /// In no answer.
    Never,
}

/// How far a value must be unique (RFC 7643 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Uniqueness {
    /// No two resources need differ.
    None,
    /// Unique among the resources of one instance.
    Server,
}

/// A named set of attributes (RFC 7643 §7).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schema {
    /// The URN.
    pub id: String,
    /// A short name.
    pub name: String,
    /// What the schema is for.
    pub description: String,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

/// A kind of resource: its endpoint, its core schema and its extensions (RFC 7643 §6).
#[derive(Debug, Clone)]
pub struct ResourceType {
    /// The name, which is the `id` too.
    pub name: &'static str,
    /// The path below the base URL, with its slash.
    pub endpoint: &'static str,
    /// What the resource is.
    pub description: &'static str,
    /// The core schema.
    pub schema: Schema,
    /// Optional extensions.
    pub extensions: Vec<Schema>,
    /// `schemas`, `id`, `externalId` and `meta`: part of every resource (RFC 7643 §3.1), of no schema.
    pub common: Vec<Attribute>,
}

/// Where an attribute path of a client leads in a resource.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// An attribute that a schema defines.
    Known(Target<'a>),
    /// All of an extension.
    Extension(&'a Schema),
    /// All of the resource: the URN of the core schema alone.
    Resource,
    /// A URN that no schema of the type has; its data is kept for the client, untyped.
    Foreign,
    /// A name that the core schema does not define.
    Unknown,
}

/// A defined attribute, or one of its sub-attributes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The extension that holds the attribute; `None` for core and common attributes.
    pub extension: Option<&'a str>,
    /// The attribute.
    pub attribute: &'a Attribute,
    /// The sub-attribute that is meant, if the path names one.
    pub sub: Option<&'a Attribute>,
}

impl Schema {
    /// The attribute of this name in any case.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.attributes, name)
    }
}

impl Attribute {
    /// Whether what clients write is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.mutability != Mutability::ReadOnly && self.keeping == Keeping::Kept
    }

    /// Whether no answer ever shows it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.returned == Returned::Never
    }

    /// The sub-attribute of this name in any case.
    #[must_use]
    pub fn sub(&self, name: &str) -> Option<&Attribute> {
        find(&self.sub_attributes, name)
    }
}

impl ResourceType {
    /// The extension with this URN in any case.
    #[must_use]
    pub fn extension(&self, urn: &str) -> Option<&Schema> {
        self.extensions.iter().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// A core or common attribute by name in any case.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.schema.attribute(name).or_else(|| find(&self.common, name))
    }

    /// All attributes, each with the extension that holds it; `None` for core and common ones.
    pub fn attributes(&self) -> impl Iterator<Item = (Option<&str>, &Attribute)> {
        let core = self.common.iter().chain(&self.schema.attributes);
        let extended = self.extensions.iter().flat_map(|schema| {
            schema.attributes.iter().map(|attribute| (Some(schema.id.as_str()), attribute))
        });
        core.map(|attribute| (None, attribute)).chain(extended)
    }

    /// The place that `path` names. URNs and names are compared without case (RFC 7643 §2.1).
    #[must_use]
    pub fn resolve(&self, path: &AttrPath) -> Place<'_> {
        let Some(urn) = path.uri.as_deref() else {
            return known(None, self.attribute(&path.name), path.sub_attr.as_deref());
        };
        if urn.eq_ignore_ascii_case(&self.schema.id) {
            return known(None, self.attribute(&path.name), path.sub_attr.as_deref());
        }
        if let Some(schema) = self.extension(urn) {
            let attribute = schema.attribute(&path.name);
            return known(Some(&schema.id), attribute, path.sub_attr.as_deref());
        }
        // The grammar cannot know that the last segment of a bare schema URN is no attribute.
        let whole = format!("{urn}:{}", path.name);
        if path.sub_attr.is_none() {
            if whole.eq_ignore_ascii_case(&self.schema.id) {
                return Place::Resource;
            }
            if let Some(schema) = self.extension(&whole) {
                return Place::Extension(schema);
            }
        }
        Place::Foreign
    }

    /// The place that a written attribute path names, as in `attributes=` or a key of a PATCH value.
    #[must_use]
    pub fn place(&self, path: &str) -> Place<'_> {
        match grammar::parse_attribute(path) {
            Ok(path) => self.resolve(&path),
            Err(_) => Place::Unknown,
        }
    }
}

fn known<'a>(
    extension: Option<&'a str>,
    attribute: Option<&'a Attribute>,
    sub: Option<&str>,
) -> Place<'a> {
    let Some(attribute) = attribute else {
        return Place::Unknown;
    };
    match sub.map(|name| attribute.sub(name)) {
        None => Place::Known(Target { extension, attribute, sub: None }),
        Some(Some(sub)) => Place::Known(Target { extension, attribute, sub: Some(sub) }),
        Some(None) => Place::Unknown,
    }
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}
