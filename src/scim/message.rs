//! The envelopes of the protocol: lists and PATCH requests (RFC 7644 §3.4.2 and §3.5.2).

use scim_v2::filter::PatchPath;
use scim_v2::schema_urns;
use serde_json::{Map, Value, json};

use super::habits::{Habits, Treatment};
use super::{ErrorKind, ScimError, grammar, resource};

/// The operations that one PATCH request may hold.
pub const PATCH_OPERATIONS_MAX: usize = 10_000;

/// One operation of a PATCH request, as it came.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What to do; clients spell it in any case.
    pub verb: Verb,
    /// Where; without it, the keys of `value` are the paths.
    pub path: Option<PatchPath>,
    /// With what; `None` if the operation has no `value` at all.
    pub value: Option<Value>,
}

/// The verbs of RFC 7644 §3.5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Add values.
    Add,
    /// Replace values.
    Replace,
    /// Remove values.
    Remove,
}

/// A page of a query (RFC 7644 §3.4.2): the counts are integers, `itemsPerPage` is the number of
/// resources in this very answer.
///
/// A page by index has a `startIndex`; a page by cursor has the cursor of the next one, if there is one
/// (RFC 9865 §2).
#[must_use]
pub fn list_response(
    total: u64,
    start_index: Option<u64>,
    next_cursor: Option<String>,
    resources: Vec<Value>,
) -> Value {
    let mut list = Map::new();
    list.insert("schemas".to_owned(), json!([schema_urns::LIST_RESPONSE]));
    list.insert("totalResults".to_owned(), total.into());
    if let Some(start_index) = start_index {
        list.insert("startIndex".to_owned(), start_index.into());
    }
    list.insert("itemsPerPage".to_owned(), resources.len().into());
    if let Some(cursor) = next_cursor {
        list.insert("nextCursor".to_owned(), cursor.into());
    }
    list.insert("Resources".to_owned(), resources.into());
    list.into()
}

/// Reads a PATCH request.
///
/// Fails with `invalidSyntax` when the body is no such message, with `invalidPath` when a path
/// cannot be parsed; both name the operation by its place, counted from 1.
pub fn read_patch(habits: &Habits, body: Value) -> Result<Vec<Operation>, ScimError> {
    let Value::Object(mut body) = body else {
        return Err(ScimError::invalid_syntax("the body must be a JSON object: a PatchOp message"));
    };
    resource::require_schema(&body, schema_urns::PATCH_OP)?;
    let Some(Value::Array(operations)) = take(&mut body, "Operations") else {
        return Err(ScimError::invalid_syntax("\"Operations\" must be an array of operations"));
    };
    if operations.is_empty() {
        return Err(ScimError::invalid_syntax("\"Operations\" must hold at least one operation"));
    }
    if operations.len() > PATCH_OPERATIONS_MAX {
        return Err(ScimError::new(
            ErrorKind::TooLarge,
            format!(
                "\"Operations\" holds {} operations; at most {PATCH_OPERATIONS_MAX} fit into one \
                 request: send the rest in another",
                operations.len()
            ),
        ));
    }
    operations
        .into_iter()
        .enumerate()
        .map(|(index, operation)| {
            read_operation(habits, operation).map_err(|error| placed(error, index))
        })
        .collect()
}

fn read_operation(habits: &Habits, operation: Value) -> Result<Operation, ScimError> {
    let Value::Object(mut operation) = operation else {
        return Err(ScimError::invalid_syntax("must be a JSON object"));
    };
    let verb = match take(&mut operation, "op") {
        Some(Value::String(word)) if word.eq_ignore_ascii_case("add") => Verb::Add,
        Some(Value::String(word)) if word.eq_ignore_ascii_case("replace") => Verb::Replace,
        Some(Value::String(word)) if word.eq_ignore_ascii_case("remove") => Verb::Remove,
        _ => {
            return Err(ScimError::invalid_syntax(
                "\"op\" must be \"add\", \"replace\" or \"remove\"",
            ));
        }
    };
    let path = match take(&mut operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.trim().is_empty() => None,
        Some(Value::String(text)) => Some(read_path(habits, &text)?),
        Some(_) => {
            return Err(ScimError::new(ErrorKind::InvalidPath, "\"path\" must be a string"));
        }
    };
    let value = take(&mut operation, "value");
    if verb != Verb::Remove && value.is_none() {
        return Err(ScimError::invalid_value("\"value\"", "is missing; null clears an attribute"));
    }
    if verb == Verb::Remove && path.is_none() {
        return Err(ScimError::new(ErrorKind::NoTarget, "\"remove\" needs a \"path\""));
    }
    Ok(Operation { verb, path, value })
}

fn read_path(habits: &Habits, text: &str) -> Result<PatchPath, ScimError> {
    let path = grammar::parse_path(text)
        .map_err(|error| ScimError::new(ErrorKind::InvalidPath, error.to_string()))?;
    if habits.loose_filters == Treatment::Refuse && text.trim().parse::<PatchPath>().is_err() {
        return Err(ScimError::new(
            ErrorKind::InvalidPath,
            "the path takes liberties with the grammar of RFC 7644 §3.5.2",
        ));
    }
    Ok(path)
}

/// Takes a member out of a message by its name in any case.
pub(super) fn take(body: &mut Map<String, Value>, name: &str) -> Option<Value> {
    if let Some(value) = body.swap_remove(name) {
        return Some(value);
    }
    let key = body.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    body.swap_remove(&key)
}

/// The error of one operation, with the operation's place in the request.
#[must_use]
pub fn placed(mut error: ScimError, index: usize) -> ScimError {
    error.detail.insert_str(0, &format!("operation {}: ", index + 1));
    error
}
