//! Where a walk through the pages of a query goes on: in the database for pages by index, in the hands of
//! the client for pages by cursor (RFC 9865).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Sought;
use crate::directory::Timestamp;
use crate::provision::{Caller, Query};
use crate::scim::discovery::CURSOR_SECONDS_MAX;
use crate::scim::sort::Position;
use crate::scim::{ErrorKind, ScimError};
use crate::store::Reached;

/// Where a walk stands between two pages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Behind which resource it goes on, for each type that is queried.
    #[serde(rename = "a")]
    pub(super) after: Vec<Option<Position>>,
    /// The resources on the pages so far.
    #[serde(rename = "c")]
    pub(super) consumed: u64,
    /// How many the query selected when the walk began.
    #[serde(rename = "t")]
    pub(super) total: u64,
    /// How far the database was when the last page was read: a standby must have come so far to go on.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) reached: Option<Reached>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "q")]
    query: String,
    #[serde(rename = "m")]
    made_at: i64,
    #[serde(flatten)]
    mark: Mark,
}

/// The earliest time from which a mark or a cursor is still good.
pub(super) fn since(now: Timestamp) -> Timestamp {
    now.plus_ms(-1000 * CURSOR_SECONDS_MAX)
}

/// A fingerprint of what a query selects, in which order and for whom; the size of its pages may change
/// on the way.
pub(super) fn fingerprint(caller: &Caller, sought: &[Sought], query: &Query) -> String {
    let mut hasher = DefaultHasher::new();
    let Query { filter, sort_by, descending, .. } = query;
    (sought, filter, sort_by, descending, caller.connection).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A mark as the client carries it.
pub(super) fn cursor(query: &str, mark: &Mark, now: Timestamp) -> String {
    let cursor = Cursor { query: query.to_owned(), made_at: now.0, mark: mark.clone() };
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

pub(super) fn invalid_cursor() -> ScimError {
    ScimError::new(
        ErrorKind::InvalidCursor,
        "the cursor belongs to no answer to this very query: begin again with an empty cursor",
    )
}

/// The mark that a cursor carries: `invalidCursor` if it is none, or of another query; `expiredCursor` if
/// it is too old (RFC 9865 §2.1).
pub(super) fn read_cursor(
    text: &str,
    query: &str,
    sought: usize,
    now: Timestamp,
) -> Result<Mark, ScimError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid_cursor())?;
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| invalid_cursor())?;
    if cursor.query != query || cursor.mark.after.len() != sought {
        return Err(invalid_cursor());
    }
    if cursor.made_at < since(now).0 {
        return Err(ScimError::new(
            ErrorKind::ExpiredCursor,
            format!(
                "the cursor is older than {CURSOR_SECONDS_MAX} seconds: begin again with an empty \
                 cursor"
            ),
        ));
    }
    Ok(cursor.mark)
}
