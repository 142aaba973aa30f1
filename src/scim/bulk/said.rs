//! What a bulk request says of people who are to go, before any of it is done.

use serde_json::Value;

use super::{Method, Request, Work};

/// How many operations take somebody's access away, if they can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Those that delete.
    pub deletes: i64,
    /// Those that set `active` to false.
    pub disables: i64,
}

impl Said {
    fn of(deletes: bool, disables: bool) -> Self {
        Self { deletes: i64::from(deletes), disables: i64::from(disables) }
    }
}

impl Request {
    /// What all of its operations say.
    #[must_use]
    pub fn said(&self) -> Said {
        let asked = self.operations.iter().filter_map(|operation| operation.asked.as_ref().ok());
        asked.fold(Said::default(), |sum, asked| {
            let said = match asked.method {
                Method::Delete => Said::of(true, false),
                Method::Put | Method::Patch => Said::of(false, disables(&asked.data)),
                Method::Post => Said::default(),
            };
            Said { deletes: sum.deletes + said.deletes, disables: sum.disables + said.disables }
        })
    }
}

impl Work {
    /// What it says by itself.
    #[must_use]
    pub fn said(&self) -> Said {
        match self {
            Self::Delete(..) => Said::of(true, false),
            Self::Replace(_, _, body) | Self::Patch(_, _, body) => Said::of(false, disables(body)),
            Self::Create(_) => Said::default(),
        }
    }
}

/// Whether the body of a PUT or PATCH sets `active` to false, as clients commonly write it.
fn disables(body: &Value) -> bool {
    let operations = body.get("Operations").and_then(Value::as_array);
    let by_operation = |operation: &Value| {
        let value = operation.get("value");
        let path = operation.get("path").and_then(Value::as_str);
        let of_active = path.is_some_and(|path| path.eq_ignore_ascii_case("active"));
        of_active && value.is_some_and(is_false) || value.is_some_and(sets_active_false)
    };
    sets_active_false(body) || operations.into_iter().flatten().any(by_operation)
}

fn sets_active_false(value: &Value) -> bool {
    value.get("active").is_some_and(is_false)
}

/// Entra writes it as a text.
fn is_false(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::String(text) => text.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::disables;
    use serde_json::json;

    #[test]
    fn a_body_that_disables_is_told_from_others() {
        for (body, is_so) in [
            (json!({ "userName": "ann", "active": false }), true),
            (json!({ "userName": "ann", "active": true }), false),
            (json!({ "userName": "ann" }), false),
            (
                json!({ "Operations": [{ "op": "replace", "path": "active", "value": false }] }),
                true,
            ),
            (
                json!({ "Operations": [{ "op": "Replace", "path": "Active", "value": "False" }] }),
                true,
            ),
            (json!({ "Operations": [{ "op": "replace", "value": { "active": false } }] }), true),
            (
                json!({ "Operations": [{ "op": "replace", "path": "active", "value": true }] }),
                false,
            ),
            (json!({ "Operations": [{ "op": "remove", "path": "members" }] }), false),
            (json!("active"), false),
        ] {
            assert_eq!(disables(&body), is_so, "{body}");
        }
    }
}
