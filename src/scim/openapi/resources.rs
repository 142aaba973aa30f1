//! The shapes of resources, made from their schemas.

use serde_json::{Map, Value, json};

use super::messages::{list, list_response};
use super::shape;
use crate::scim::resource::ELEMENTS_MAX;
use crate::scim::schema::{Attribute, Kind, Mutability, ResourceType, Returned, Schema};

/// The shapes of a kind of resource: answered, sent, listed, its extensions, and `meta`, which is
/// the same for every kind.
pub(super) fn shapes(kind: &ResourceType) -> Vec<(String, Value)> {
    let mut shapes = vec![
        (kind.name.to_owned(), resource(kind)),
        (sent(kind.name), sent_resource(kind)),
        (list(kind.name), list_response(&shape(kind.name))),
    ];
    for extension in &kind.extensions {
        let shape = object(&extension.description, &extension.attributes);
        shapes.push((extension.name.clone(), shape));
    }
    if let Some(meta) = kind.attribute("meta") {
        shapes.push(("Meta".to_owned(), object(&meta.description, &meta.sub_attributes)));
    }
    shapes
}

/// The name of a resource as clients send it.
pub(super) fn sent(name: &str) -> String {
    format!("Sent{name}")
}

/// A resource as it is answered. Only what is always returned is required: clients choose the rest.
fn resource(kind: &ResourceType) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for attribute in kind.common.iter().chain(&kind.schema.attributes) {
        let described = match attribute.name.as_str() {
            "schemas" => resource_urns(kind, attribute),
            "meta" => json!({ "$ref": "#/components/schemas/Meta", "readOnly": true }),
            _ => describe(attribute),
        };
        properties.insert(attribute.name.clone(), described);
        if attribute.returned == Returned::Always {
            required.push(attribute.name.as_str());
        }
    }
    for extension in &kind.extensions {
        properties.insert(extension.id.clone(), extension_shape(extension));
    }
    json!({
        "type": "object",
        "description": kind.description,
        "required": required,
        "properties": properties,
        // Data under a URN that no schema has is kept for the client.
        "patternProperties": { ":": { "type": "object" } },
        "additionalProperties": false,
    })
}

/// What a resource needs to be taken: its own schema and its required attributes.
fn sent_resource(kind: &ResourceType) -> Value {
    let needed = kind.schema.attributes.iter().filter(|attribute| attribute.required);
    let required: Vec<&str> =
        std::iter::once("schemas").chain(needed.map(|attribute| attribute.name.as_str())).collect();
    json!({ "allOf": [shape(kind.name), { "type": "object", "required": required }] })
}

/// Clients write `schemas` too (RFC 7644 §3.1), though the server makes its own.
fn resource_urns(kind: &ResourceType, attribute: &Attribute) -> Value {
    json!({
        "type": "array",
        "description": attribute.description,
        "items": { "type": "string" },
        "contains": { "const": kind.schema.id },
    })
}

fn extension_shape(extension: &Schema) -> Value {
    let mut shape = shape(&extension.name);
    if extension.attributes.iter().all(is_read_only)
        && let Some(shape) = shape.as_object_mut()
    {
        shape.insert("readOnly".to_owned(), true.into());
    }
    shape
}

fn object(description: &str, attributes: &[Attribute]) -> Value {
    let properties: Map<String, Value> =
        attributes.iter().map(|part| (part.name.clone(), describe(part))).collect();
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// One attribute of the registry.
fn describe(attribute: &Attribute) -> Value {
    let one = value(attribute);
    let mut described = if attribute.multi_valued { array(attribute, &one) } else { one };
    let Some(members) = described.as_object_mut() else {
        return described;
    };
    members.insert("description".to_owned(), attribute.description.as_str().into());
    if is_read_only(attribute) {
        members.insert("readOnly".to_owned(), true.into());
    }
    described
}

fn array(attribute: &Attribute, items: &Value) -> Value {
    let mut array = json!({ "type": "array", "items": items });
    if attribute.name != "members"
        && !is_read_only(attribute)
        && let Some(array) = array.as_object_mut()
    {
        array.insert("maxItems".to_owned(), ELEMENTS_MAX.into());
        if attribute.sub("primary").is_some() {
            let preferred = json!({
                "required": ["primary"],
                "properties": { "primary": { "const": true } },
            });
            array.insert("contains".to_owned(), preferred);
            array.insert("minContains".to_owned(), 0.into());
            array.insert("maxContains".to_owned(), 1.into());
        }
    }
    array
}

fn value(attribute: &Attribute) -> Value {
    match attribute.kind {
        Kind::Complex => object(&attribute.description, &attribute.sub_attributes),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Decimal => json!({ "type": "number" }),
        Kind::Integer => json!({ "type": "integer", "format": "int64" }),
        Kind::DateTime => json!({ "type": "string", "format": "date-time" }),
        Kind::Binary => json!({ "type": "string", "contentEncoding": "base64" }),
        // What clients write is kept verbatim, whether it is a URI or not.
        Kind::Reference if is_read_only(attribute) => json!({ "type": "string", "format": "uri" }),
        Kind::String if attribute.required => json!({ "type": "string", "pattern": "\\S" }),
        // Other values than the canonical ones are taken too: they are no `enum`.
        Kind::String if !attribute.canonical_values.is_empty() => {
            json!({ "type": "string", "examples": attribute.canonical_values })
        }
        Kind::String | Kind::Reference => json!({ "type": "string" }),
    }
}

fn is_read_only(attribute: &Attribute) -> bool {
    attribute.mutability == Mutability::ReadOnly
}
