//! Accounts: the people of the directory.

use serde_json::{Map, Value};

use super::connection::words;
use super::{AccountId, ConnectionId, Timestamp};

/// A person in the intranet directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its id, which SCIM clients see and keep.
    pub id: AccountId,
    /// The connection that owns it; `None` means Local.
    pub connection: Option<ConnectionId>,
    /// What the identity provider said, verbatim, by canonical attribute names.
    pub document: Map<String, Value>,
    /// The name the person signs in with; unique in the instance without regard to case.
    pub user_name: String,
    /// The client's own name for the person.
    pub external_id: Option<String>,
    /// The name to show.
    pub display_name: Option<String>,
    /// The number that the organisation gave the person.
    pub employee_number: Option<String>,
    /// The `active` of the identity provider.
    pub active: bool,
    /// What the rules make of the facts.
    pub status: Status,
    /// Why.
    pub reason: Option<StatusReason>,
    /// The manager as sent, and whom it names.
    pub manager: ManagerLink,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub modified_at: Timestamp,
    /// When the identity provider deleted it; its row stays, so that it can be restored.
    pub deleted_at: Option<Timestamp>,
}

/// A reference to a manager and, once that person is here and in scope, the account it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManagerLink {
    /// The reference as the client sent it.
    pub sent: Option<String>,
    /// The account it is linked to; `None` while it waits.
    pub account: Option<AccountId>,
}

words! {
    /// Whether a person may enter.
    Status {
        /// The person may enter.
        Active = "active",
        /// The person may not enter.
        Suspended = "suspended",
        /// The account is gone for everybody; an administrator can bring it back.
        Deleted = "deleted",
    }
}

words! {
    /// The rule behind a status other than active.
    StatusReason {
        /// The identity provider deleted the account.
        DeletedInIdp = "deleted in the identity provider",
        /// The identity provider set `active` to false.
        DisabledInIdp = "disabled in the identity provider",
    }
}
