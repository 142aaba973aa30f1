//! Bulk requests (RFC 7644 §3.7): many operations in one message, and one answer for each.
//!
//! [`Request::read`] takes a message apart, [`Plan`] says which operation is next and puts ids
//! where operations refer to each other, and prints the answers. What an operation does is not
//! known here: whoever works a plan off does with each what a request of its own would have done.

mod plan;
mod references;
mod said;

use std::collections::HashSet;

use scim_v2::schema_urns;
use serde_json::{Map, Value, json};

use super::discovery::BULK_OPERATIONS_MAX;
use super::message::{placed, take};
use super::resource;
use super::schemas::Schemas;
use super::version::Expected;
use super::{ErrorKind, ScimError};

pub use plan::{Done, Plan, Step, Work};
pub use said::Said;

/// The characters that an answer repeats of a text which is not what it should be.
const REPEATED_CHARS_MAX: usize = 64;

/// A bulk request.
#[derive(Debug)]
pub struct Request {
    /// After how many errors no other operation is begun; without it, all are.
    fail_on_errors: Option<usize>,
    operations: Vec<Operation>,
}

/// One operation of a bulk request.
#[derive(Debug)]
struct Operation {
    /// The method as the answer names it.
    method: String,
    /// By what others refer to the resource that it creates, and the client to its answer.
    bulk_id: Option<String>,
    /// The path as it came, with a slash in front.
    path: String,
    /// Whether it is a POST, even one that cannot be done.
    creates: bool,
    /// What it asks for, or why that cannot be.
    asked: Result<Asked, ScimError>,
}

/// What an operation asks for.
#[derive(Debug)]
struct Asked {
    method: Method,
    /// The endpoint of a kind of resource.
    endpoint: &'static str,
    /// The id behind it, or a reference to one; nothing for a POST.
    id: String,
    expected: Expected,
    data: Value,
}

/// The methods that a bulk request can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const ALL: [Self; 4] = [Self::Post, Self::Put, Self::Patch, Self::Delete];

    fn word(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The status of success, whether or not a request of its own would be answered with a body.
    fn status(self) -> &'static str {
        match self {
            Self::Post => "201",
            Self::Put | Self::Patch => "200",
            Self::Delete => "204",
        }
    }
}

impl Request {
    /// Reads a bulk request.
    ///
    /// Fails as a whole, with nothing done, when the message is none, holds too many operations, or
    /// gives the same `bulkId` to two of them: nobody could tell which one a reference means. What
    /// is wrong with one operation alone becomes the answer to that operation.
    pub fn read(schemas: &Schemas, body: Value) -> Result<Self, ScimError> {
        let Value::Object(mut body) = body else {
            return Err(ScimError::invalid_syntax(
                "the body must be a JSON object: a BulkRequest message",
            ));
        };
        resource::require_schema(&body, schema_urns::BULK_REQUEST)?;
        let fail_on_errors = match take(&mut body, "failOnErrors") {
            None | Some(Value::Null) => None,
            Some(count) => Some(read_count(&count)?),
        };
        let Some(Value::Array(operations)) = take(&mut body, "Operations") else {
            return Err(ScimError::invalid_syntax("\"Operations\" must be an array of operations"));
        };
        if operations.is_empty() {
            return Err(ScimError::invalid_syntax(
                "\"Operations\" must hold at least one operation",
            ));
        }
        if operations.len() > BULK_OPERATIONS_MAX {
            let detail = format!(
                "\"Operations\" holds {} operations; at most {BULK_OPERATIONS_MAX} fit into one \
                 bulk request: send the rest in another",
                operations.len()
            );
            return Err(ScimError::new(ErrorKind::TooLarge, detail));
        }
        let operations = operations
            .into_iter()
            .enumerate()
            .map(|(index, operation)| {
                read_operation(schemas, operation).map_err(|error| placed(error, index))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        for (index, operation) in operations.iter().enumerate() {
            if let Some(id) = operation.bulk_id.as_deref().filter(|id| !seen.insert(*id)) {
                let problem = format!("\"{}\" is not unique in the request", shortened(id));
                return Err(placed(ScimError::invalid_value("bulkId", &problem), index));
            }
        }
        Ok(Self { fail_on_errors, operations })
    }
}

fn read_count(count: &Value) -> Result<usize, ScimError> {
    let count = count.as_u64().filter(|count| *count > 0);
    count.and_then(|count| usize::try_from(count).ok()).ok_or_else(|| {
        ScimError::invalid_value(
            "failOnErrors",
            "must be a whole number from 1: leave it out if \
                                                  no number of errors shall stop the request",
        )
    })
}

fn read_operation(schemas: &Schemas, operation: Value) -> Result<Operation, ScimError> {
    let Value::Object(mut operation) = operation else {
        return Err(ScimError::invalid_syntax("must be a JSON object"));
    };
    let bulk_id = match take(&mut operation, "bulkId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id).filter(|id| !id.is_empty()),
        Some(_) => return Err(ScimError::invalid_syntax("\"bulkId\" must be a string")),
    };
    let mut text = |name: &str| match take(&mut operation, name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (word, path) = (text("method"), text("path"));
    let path = format!("/{}", path.trim_matches('/'));
    let method = Method::ALL.into_iter().find(|method| word.eq_ignore_ascii_case(method.word()));
    let creates = method == Some(Method::Post);
    let asked = match method {
        Some(Method::Post) if bulk_id.is_none() => {
            Err(ScimError::invalid_value("bulkId", "is required for a POST"))
        }
        Some(method) => read_asked(schemas, method, &path, operation),
        None if word.is_empty() => Err(ScimError::invalid_syntax("\"method\" must be a string")),
        None => Err(ScimError::new(
            ErrorKind::MethodNotAllowed,
            format!(
                "a bulk operation is a POST, PUT, PATCH or DELETE, not \"{}\"",
                shortened(&word)
            ),
        )),
    };
    let method = method.map_or_else(|| shortened(&word), |method| method.word().to_owned());
    Ok(Operation { method, bulk_id, path, creates, asked })
}

fn read_asked(
    schemas: &Schemas,
    method: Method,
    path: &str,
    mut operation: Map<String, Value>,
) -> Result<Asked, ScimError> {
    let (endpoint, id) = split(path);
    let kind = schemas.types().into_iter().find(|kind| kind.endpoint == endpoint);
    let endpoint = kind.map(|kind| kind.endpoint).ok_or_else(|| {
        let detail = format!(
            "\"path\" is \"{}\"; a bulk operation is on /Users or /Groups, or below them",
            shortened(path)
        );
        ScimError::new(ErrorKind::NotFound, detail)
    })?;
    if (method == Method::Post) != id.is_empty() {
        let remedy = match method {
            Method::Post => "POST to the endpoint itself",
            Method::Put | Method::Patch | Method::Delete => "add the id of a resource to the path",
        };
        let detail = format!("\"path\" does not take {}: {remedy}", method.word());
        return Err(ScimError::new(ErrorKind::MethodNotAllowed, detail));
    }
    let expected = match take(&mut operation, "version") {
        None | Some(Value::Null) => Expected::ANY,
        Some(Value::String(tags)) => Expected::read(&tags),
        Some(_) => return Err(ScimError::invalid_syntax("\"version\" must be a string")),
    };
    let data = match take(&mut operation, "data") {
        None | Some(Value::Null) if method != Method::Delete => {
            let detail = format!("\"data\" is missing: {} needs a body", method.word());
            return Err(ScimError::invalid_syntax(detail));
        }
        data => data.unwrap_or_default(),
    };
    Ok(Asked { method, endpoint, id: id.to_owned(), expected, data })
}

/// The endpoint in a path that begins with a slash, and what is behind it. A `bulkId` may hold
/// slashes, an id does not.
fn split(path: &str) -> (&str, &str) {
    let end = path.char_indices().skip(1).find(|(_, c)| *c == '/').map(|(at, _)| at);
    match end.and_then(|end| path.split_at_checked(end)) {
        Some((endpoint, id)) => (endpoint, id.strip_prefix('/').unwrap_or_default()),
        None => (path, ""),
    }
}

/// The message that holds the answers (RFC 7644 §3.7.3).
fn response(answers: &[Value]) -> Value {
    json!({ "schemas": [schema_urns::BULK_RESPONSE], "Operations": answers })
}

fn shortened(text: &str) -> String {
    text.chars().take(REPEATED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
