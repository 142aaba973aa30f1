//! Groups of the directory.

use serde_json::{Map, Value};

use super::connection::words;
use super::{ConnectionId, GroupId, Timestamp};

/// A group in the intranet directory; its members are rows of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its id, which SCIM clients see and keep.
    pub id: GroupId,
    /// The connection that owns it; `None` means Local.
    pub connection: Option<ConnectionId>,
    /// What the identity provider said, verbatim, without the members.
    pub document: Map<String, Value>,
    /// Its name; unique in the instance without regard to case.
    pub display_name: String,
    /// Whether it enters the directory, by the rule of its connection.
    pub entered: bool,
    /// The client's own name for the group.
    pub external_id: Option<String>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub modified_at: Timestamp,
    /// When it was deleted; its row and its memberships stay, so that it can be restored.
    pub deleted_at: Option<Timestamp>,
    /// Since when the guard holds that the client has deleted it: the client no longer sees it, everybody
    /// else does.
    pub deletion_held_at: Option<Timestamp>,
    /// Since when the guard holds that some of its members have left.
    pub removals_held_at: Option<Timestamp>,
}

words! {
    /// What a member of a group is.
    MemberKind {
        /// A person.
        Account = "account",
        /// Another group.
        Group = "group",
    }
}
