//! Approvals: what a connection wants to pick up, for an administrator to decide.

use serde_json::{Map, Value};

use super::connection::words;
use super::{ApprovalId, ConnectionId, MemberKind, Timestamp};
use uuid::Uuid;

/// A Local account or group that a connection has written to under the policy
/// [`WithApproval`](super::PickUp::WithApproval). The client believes that it has it; nothing is taken
/// over before an administrator accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The connection that asks.
    pub connection: ConnectionId,
    /// The account or group that it asks for.
    pub target: Uuid,
    /// Which of the two.
    pub kind: MemberKind,
    /// What the account or group was called when the connection asked.
    pub target_name: String,
    /// What the client has said of it so far.
    pub document: Map<String, Value>,
    /// What the client wants of the members of a group, as JSON.
    pub members: Option<String>,
    /// What has become of it.
    pub state: ApprovalState,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When the connection asked first.
    pub asked_at: Timestamp,
    /// When it last changed.
    pub modified_at: Timestamp,
    /// When an administrator decided.
    pub decided_at: Option<Timestamp>,
}

words! {
    /// What has become of an approval.
    ApprovalState {
        /// Nobody has decided.
        Waiting = "waiting",
        /// An administrator has agreed: the connection owns it.
        Accepted = "accepted",
        /// An administrator has refused.
        Refused = "refused",
        /// The client has deleted what it never had.
        Withdrawn = "withdrawn",
    }
}

impl Approval {
    /// The name that the client has for the account or group.
    #[must_use]
    pub fn name(&self) -> &str {
        let attribute = match self.kind {
            MemberKind::Account => "userName",
            MemberKind::Group => "displayName",
        };
        self.document.get(attribute).and_then(Value::as_str).unwrap_or(&self.target_name)
    }

    /// The client's own name for the account or group.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.document.get("externalId").and_then(Value::as_str)
    }
}
