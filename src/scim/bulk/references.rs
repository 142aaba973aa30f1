//! References to what another operation of the same request creates (RFC 7644 §3.7.2).
//!
//! A reference is a text `bulkId:x` where an id is due: a value of any attribute, the end of a
//! `$ref`, a text in the filter of a PATCH path. Everything else that only contains these letters
//! stays as it is.

use serde_json::{Map, Value};

/// What makes an id a reference.
const PREFIX: &str = "bulkId:";

/// What a piece of `data` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A resource, or a value within one.
    Value,
    /// A PATCH message, whose operations have paths.
    Patch,
    /// One operation of it.
    Operation,
}

/// The `bulkId` that an id refers to.
pub(super) fn target(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)
}

/// Puts ids where references are. Where `id_of` has none, the value that refers is left out: the
/// member of a group, the manager of a user; nothing is left if that is all there was.
pub(super) fn resolve(
    data: Value,
    piece: Piece,
    id_of: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Value> {
    Some(match data {
        Value::String(text) => match target(&text) {
            Some(bulk_id) => Value::String(id_of(bulk_id)?),
            None => Value::String(text),
        },
        Value::Array(items) => {
            items.into_iter().filter_map(|item| resolve(item, piece, id_of)).collect()
        }
        Value::Object(members) => Value::Object(resolve_members(members, piece, id_of)?),
        plain => plain,
    })
}

/// The texts to which a piece of data refers are told to `seen`; the data stays as it is.
pub(super) fn find(data: Value, piece: Piece, seen: &mut dyn FnMut(&str)) -> Value {
    let mut note = |bulk_id: &str| {
        seen(bulk_id);
        Some(format!("{PREFIX}{bulk_id}"))
    };
    resolve(data, piece, &mut note).unwrap_or_default()
}

fn resolve_members(
    members: Map<String, Value>,
    piece: Piece,
    id_of: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Map<String, Value>> {
    let mut kept = Map::with_capacity(members.len());
    for (key, value) in members {
        let resolved = match (piece, value) {
            (Piece::Operation, Value::String(path)) if key.eq_ignore_ascii_case("path") => {
                Some(Value::String(resolve_path(&path, id_of)))
            }
            (_, Value::String(address)) if key.eq_ignore_ascii_case("$ref") => {
                resolve_address(address, id_of).map(Value::String)
            }
            (Piece::Patch, value) if key.eq_ignore_ascii_case("Operations") => {
                resolve(value, Piece::Operation, id_of)
            }
            (_, value) => resolve(value, Piece::Value, id_of),
        };
        match resolved {
            Some(value) => {
                kept.insert(key, value);
            }
            // What refers to nobody yet is no member and no manager, whatever else is said of it.
            None if key.eq_ignore_ascii_case("value") || key.eq_ignore_ascii_case("$ref") => {
                return None;
            }
            None => {}
        }
    }
    Some(kept)
}

/// The path of a PATCH operation: references are texts in its filter, as in
/// `members[value eq "bulkId:x"]`.
fn resolve_path(path: &str, id_of: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut resolved = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, literal)) = rest.find('"').and_then(|at| rest.split_at_checked(at)) {
        resolved.push_str(before);
        let mut texts = serde_json::Deserializer::from_str(literal).into_iter::<String>();
        let Some(Ok(text)) = texts.next() else {
            // The parser of paths will say what is wrong with it.
            rest = literal;
            break;
        };
        let Some((quoted, after)) = literal.split_at_checked(texts.byte_offset()) else { break };
        match target(&text).and_then(&mut *id_of) {
            Some(id) => resolved.push_str(&Value::String(id).to_string()),
            None => resolved.push_str(quoted),
        }
        rest = after;
    }
    resolved + rest
}

/// The address of a resource: the reference is its last segment, or all of it.
fn resolve_address(
    address: String,
    id_of: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<String> {
    let Some((before, bulk_id)) = address.rsplit_once(PREFIX) else { return Some(address) };
    if !before.is_empty() && !before.ends_with('/') {
        return Some(address);
    }
    Some(format!("{before}{}", id_of(bulk_id)?))
}
