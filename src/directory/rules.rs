//! The provisioning rules: facts in, decision out.
//!
//! Push, pull, UI and CLI all ask here, so that no two of them can treat the same facts differently.

use super::{AccountId, ConnectionId, Status, StatusReason};

/// What is known of an account that decides whether the person may enter.
///
/// Later facts (held by an administrator, outside the sync groups, missing from a full pull, no free
/// seat) take their place here and a row in [`effective_status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The identity provider deleted the account.
    pub deleted: bool,
    /// The identity provider's `active`.
    pub active: bool,
}

/// The status that follows from the facts, and the rule behind it. Nothing else sets a status, so
/// every event is idempotent and the order of events does not matter.
#[must_use]
pub fn effective_status(facts: Facts) -> (Status, Option<StatusReason>) {
    match facts {
        Facts { deleted: true, .. } => (Status::Deleted, Some(StatusReason::DeletedInIdp)),
        Facts { active: false, .. } => (Status::Suspended, Some(StatusReason::DisabledInIdp)),
        Facts { active: true, .. } => (Status::Active, None),
    }
}

/// What a connection's write to something that exists already means for the ownership of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the connection's own.
    Own,
    /// It was Local; the connection takes it over with this write.
    PickUp,
    /// Another connection owns it: out of reach.
    Foreign,
}

/// Who may write an account or a group: its own connection, or any connection if it is Local.
#[must_use]
pub fn claim(owner: Option<ConnectionId>, writer: ConnectionId) -> Claim {
    match owner {
        None => Claim::PickUp,
        Some(owner) if owner == writer => Claim::Own,
        Some(_) => Claim::Foreign,
    }
}

/// How an account answers to a reference to a manager; the first kind that any account answers to
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// The account's id.
    Id,
    /// The client's name for the account.
    ExternalId,
    /// The name the person signs in with.
    UserName,
    /// An e-mail address.
    Email,
    /// The employee number.
    EmployeeNumber,
}

/// Whom a reference to a manager names among the accounts in the scope of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody in scope yet: the reference waits, and no account is made for it.
    Waiting,
    /// Several accounts answer to it equally well: it waits until one does.
    Ambiguous,
    /// This account.
    Found(AccountId),
}

/// Picks the account that a reference names from all that answer to it.
#[must_use]
pub fn resolve_manager(candidates: &[(ReferenceKind, AccountId)]) -> Resolution {
    let Some(best) = candidates.iter().map(|(kind, _)| *kind).min() else {
        return Resolution::Waiting;
    };
    let mut found = candidates.iter().filter(|(kind, _)| *kind == best).map(|(_, id)| *id);
    let Some(first) = found.next() else {
        return Resolution::Waiting;
    };
    if found.any(|other| other != first) { Resolution::Ambiguous } else { Resolution::Found(first) }
}

#[cfg(test)]
mod tests {
    use super::ReferenceKind::{Email, EmployeeNumber, ExternalId, Id, UserName};
    use super::*;
    use uuid::Uuid;

    #[test]
    fn status_follows_from_facts() {
        use StatusReason::{DeletedInIdp, DisabledInIdp};
        //  deleted active  status              reason
        let cases = [
            (false, true, Status::Active, None),
            (false, false, Status::Suspended, Some(DisabledInIdp)),
            (true, true, Status::Deleted, Some(DeletedInIdp)),
            (true, false, Status::Deleted, Some(DeletedInIdp)),
        ];
        for (deleted, active, status, reason) in cases {
            let facts = Facts { deleted, active };
            assert_eq!(effective_status(facts), (status, reason), "{facts:?}");
        }
    }

    #[test]
    fn a_connection_takes_what_is_local_and_nothing_of_another() {
        let [okta, entra] = [1, 2].map(|n| ConnectionId(Uuid::from_u128(n)));
        assert_eq!(claim(None, okta), Claim::PickUp);
        assert_eq!(claim(Some(okta), okta), Claim::Own);
        assert_eq!(claim(Some(entra), okta), Claim::Foreign);
    }

    #[test]
    fn the_first_kind_of_reference_that_anybody_answers_to_decides() {
        let [ann, bob] = [1, 2].map(|n| AccountId(Uuid::from_u128(n)));
        let cases: [(&[_], _); 7] = [
            (&[], Resolution::Waiting),
            (&[(Email, ann)], Resolution::Found(ann)),
            (&[(Email, ann), (Id, bob)], Resolution::Found(bob)),
            (&[(UserName, ann), (Email, ann), (Email, bob)], Resolution::Found(ann)),
            (&[(Email, ann), (Email, ann)], Resolution::Found(ann)),
            (&[(Email, ann), (Email, bob)], Resolution::Ambiguous),
            (&[(EmployeeNumber, ann), (ExternalId, ann), (ExternalId, bob)], Resolution::Ambiguous),
        ];
        for (candidates, resolution) in cases {
            assert_eq!(resolve_manager(candidates), resolution, "{candidates:?}");
        }
    }
}
