//! Accounts: the people of the directory.

use serde_json::{Map, Value};

use super::connection::words;
use super::{AccountId, ConnectionId, Timestamp};

/// A person in the intranet directory.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that stands by itself")]
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
    /// Whether its connection's scope has it: everyone, or the members of the sync groups.
    pub in_scope: bool,
    /// Whether the last complete pull of its connection had it; for who pushes, always.
    pub in_source: bool,
    /// The administrator's last word.
    pub hand: Option<Hand>,
    /// Whether it is out of reach of every connection.
    pub protected: bool,
    /// What the rules make of the facts.
    pub status: Status,
    /// Why.
    pub reason: Option<StatusReason>,
    /// Since when it waits for a seat; `None` unless it is blocked.
    pub queued_at: Option<Timestamp>,
    /// The required attributes of its connection that the identity provider has not sent.
    pub missing: Vec<String>,
    /// The directory fields that the mapping made of the document: texts by name.
    pub fields: Map<String, Value>,
    /// The directory fields that administrators wrote: texts by name.
    pub local_fields: Map<String, Value>,
    /// The manager as sent, and whom it names.
    pub manager: ManagerLink,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub modified_at: Timestamp,
    /// When it was deleted; its row stays, so that it can be restored.
    pub deleted_at: Option<Timestamp>,
    /// Since when the guard holds that the client has set `active` to false: until an administrator
    /// decides, the person counts as active.
    pub suspension_held_at: Option<Timestamp>,
    /// Since when the guard holds that the client has deleted it: the client no longer sees it, everybody
    /// else does.
    pub deletion_held_at: Option<Timestamp>,
}

impl StatusReason {
    /// Whether the source keeps the person out by itself: no administrator's word, no lack of seats.
    #[must_use]
    pub fn is_of_source(self) -> bool {
        match self {
            Self::DisabledInIdp | Self::OutOfScope | Self::MissingFromSource => true,
            Self::DeletedInIdp
            | Self::DeletedByHand
            | Self::Held
            | Self::SuspendedByHand
            | Self::NoSeat => false,
        }
    }
}

impl Account {
    /// Somebody of whom nothing is known yet, and whom no connection has.
    #[must_use]
    pub fn blank(id: AccountId, at: Timestamp) -> Self {
        Self {
            id,
            connection: None,
            document: Map::new(),
            user_name: String::new(),
            external_id: None,
            display_name: None,
            employee_number: None,
            active: true,
            in_scope: true,
            in_source: true,
            hand: None,
            protected: false,
            status: Status::Active,
            reason: None,
            queued_at: None,
            missing: Vec::new(),
            fields: Map::new(),
            local_fields: Map::new(),
            manager: ManagerLink::default(),
            version: 1,
            created_at: at,
            modified_at: at,
            deleted_at: None,
            suspension_held_at: None,
            deletion_held_at: None,
        }
    }

    /// Whether the identity provider lets the person in, as far as it is known to mean what it says.
    #[must_use]
    pub fn counts_as_active(&self) -> bool {
        self.active || self.suspension_held_at.is_some()
    }

    /// Has it be as if the client had never said what the guard holds: that is a matter of the connection
    /// which has the account, and goes with it.
    pub fn forget_holds(&mut self) {
        if self.suspension_held_at.take().is_some() {
            self.active = true;
            self.document.insert("active".to_owned(), Value::Bool(true));
        }
        self.deletion_held_at = None;
    }

    /// Since when the source keeps the person out, if it does so since a change at that time.
    #[must_use]
    pub fn suspended_since(&self, at: Timestamp) -> Option<Timestamp> {
        self.reason.filter(|reason| reason.is_of_source()).map(|_| at)
    }
}

/// A reference to a manager and, once that person is here and in scope, the account it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManagerLink {
    /// The reference as the client sent it.
    pub sent: Option<String>,
    /// The account it is linked to; `None` while it waits.
    pub account: Option<AccountId>,
    /// Why it waits; `None` if it is linked, or if nothing was sent.
    pub waits: Option<Waiting>,
}

/// What an administrator decided about an account, and whether that still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hand {
    /// The decision.
    pub word: HandWord,
    /// When.
    pub at: Timestamp,
    /// When the identity provider's next word took its place; a hold is never overtaken.
    pub overtaken_at: Option<Timestamp>,
}

impl Hand {
    /// The decision while it counts.
    #[must_use]
    pub fn in_force(self) -> Option<HandWord> {
        self.overtaken_at.is_none().then_some(self.word)
    }
}

words! {
    /// What an administrator can decide about an account.
    HandWord {
        /// Keep the person out until the hold is released, whatever the identity provider says.
        Held = "held",
        /// Keep the person out until the identity provider's next word.
        Suspended = "suspended",
        /// Let the person in until the identity provider's next word.
        Reactivated = "reactivated",
        /// Delete the account.
        Deleted = "deleted",
        /// Delete the account, which was held.
        DeletedWhileHeld = "deleted_held",
    }
}

words! {
    /// Why a reference to a manager is linked to nobody.
    Waiting {
        /// Nobody in the scope of the connection answers to it.
        Nobody = "nobody",
        /// Several people answer to it equally well.
        Ambiguous = "ambiguous",
        /// The manager would report to his own report.
        Circle = "circle",
    }
}

words! {
    /// Whether a person may enter.
    Status {
        /// The person may enter.
        Active = "active",
        /// The person may enter as soon as a seat is free.
        Blocked = "blocked",
        /// The person may not enter.
        Suspended = "suspended",
        /// The account is gone for everybody; an administrator can bring it back.
        Deleted = "deleted",
    }
}

impl Status {
    /// Whether the person may enter, at once or as soon as a seat is free.
    #[must_use]
    pub fn may_enter(self) -> bool {
        matches!(self, Self::Active | Self::Blocked)
    }
}

words! {
    /// The rule behind a status other than active.
    StatusReason {
        /// The identity provider deleted the account.
        DeletedInIdp = "deleted in the identity provider",
        /// An administrator deleted the account.
        DeletedByHand = "deleted by an administrator",
        /// An administrator holds the account.
        Held = "held by an administrator",
        /// An administrator suspended the account until the identity provider's next word.
        SuspendedByHand = "suspended by an administrator",
        /// The identity provider set `active` to false.
        DisabledInIdp = "disabled in the identity provider",
        /// The account is in none of the sync groups of its connection.
        OutOfScope = "in no sync group",
        /// The last complete pull of its connection did not have the account.
        MissingFromSource = "missing from source",
        /// The licence has no free seat.
        NoSeat = "no free seat",
    }
}
