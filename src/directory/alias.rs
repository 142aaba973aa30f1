//! The names that people had before.

use super::{AccountId, Timestamp};

/// The old names of an account that are kept; of more, the latest.
pub const ALIASES_MAX: i64 = 100;

/// A name that an account had.
///
/// Whoever is looked for by it is found, unless somebody has the name now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Alias {
    /// The account.
    #[serde(skip)]
    pub account: AccountId,
    /// The name, as it was written.
    pub name: String,
    /// Since when the account had it, the first time.
    pub since_at: Timestamp,
    /// Until when, the last time.
    pub until_at: Timestamp,
}
