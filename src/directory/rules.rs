//! The provisioning rules: facts in, decision out.
//!
//! Push, pull, UI and CLI all ask here, so that no two of them can treat the same facts differently.

use super::{
    Account, AccountId, ConnectionId, Hand, HandWord, PickUp, Retention, Status, StatusReason,
    Timestamp,
};

/// What is known of an account that decides whether the person may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that stands by itself")]
pub struct Facts {
    /// The account was deleted.
    pub deleted: bool,
    /// What an administrator decided, while it counts.
    pub hand: Option<HandWord>,
    /// The identity provider's `active`.
    pub active: bool,
    /// The scope of the connection has the account: everyone, or the members of its sync groups.
    pub in_scope: bool,
    /// The last complete pull of the connection has the account; what is pushed always is.
    pub in_source: bool,
    /// The account is out of reach of every connection, and needs no seat.
    pub protected: bool,
    /// The account has a seat of the licence.
    pub seat: bool,
}

/// The status that follows from the facts, and the rule behind it. Nothing else sets a status, so
/// every event is idempotent and the order of events does not matter.
///
/// The first row that fits decides. An administrator's reactivation stands above what the identity
/// provider says; no word of anybody makes a seat.
#[must_use]
pub fn effective_status(facts: Facts) -> (Status, Option<StatusReason>) {
    use HandWord as Hand;
    let idp_counts = facts.hand != Some(Hand::Reactivated);
    let (status, reason) = match facts {
        Facts { deleted: true, hand: Some(Hand::Deleted | Hand::DeletedWhileHeld), .. } => {
            (Status::Deleted, StatusReason::DeletedByHand)
        }
        Facts { deleted: true, .. } => (Status::Deleted, StatusReason::DeletedInIdp),
        Facts { hand: Some(Hand::Held), .. } => (Status::Suspended, StatusReason::Held),
        Facts { hand: Some(Hand::Suspended), .. } => {
            (Status::Suspended, StatusReason::SuspendedByHand)
        }
        Facts { active: false, .. } if idp_counts => {
            (Status::Suspended, StatusReason::DisabledInIdp)
        }
        Facts { in_scope: false, .. } if idp_counts => {
            (Status::Suspended, StatusReason::OutOfScope)
        }
        Facts { in_source: false, .. } if idp_counts => {
            (Status::Suspended, StatusReason::MissingFromSource)
        }
        Facts { protected: false, seat: false, .. } => (Status::Blocked, StatusReason::NoSeat),
        _ => return (Status::Active, None),
    };
    (status, Some(reason))
}

/// Whether nothing but a seat decides if the person may enter.
#[must_use]
pub fn wants_seat(facts: Facts) -> bool {
    effective_status(Facts { seat: false, ..facts }).0 == Status::Blocked
}

/// The administrator's word after the identity provider's next one: a suspension or a reactivation is
/// over then, a hold is not.
#[must_use]
pub fn overtaken(hand: Option<Hand>, at: Timestamp) -> Option<Hand> {
    hand.map(|hand| match hand.in_force() {
        // What was said before the administrator spoke is no answer.
        Some(HandWord::Suspended | HandWord::Reactivated) if at >= hand.at => {
            Hand { overtaken_at: Some(at), ..hand }
        }
        _ => hand,
    })
}

/// The administrator's word after the account is deleted by hand: a hold is remembered.
#[must_use]
pub fn deleted_by_hand(hand: Option<Hand>, at: Timestamp) -> Hand {
    let word = match hand.and_then(Hand::in_force) {
        Some(HandWord::Held) => HandWord::DeletedWhileHeld,
        _ => HandWord::Deleted,
    };
    Hand { word, at, overtaken_at: None }
}

/// The administrator's word that outlives a deletion, by whomever: a hold, for whoever comes back, restored
/// or created anew under the same name.
#[must_use]
pub fn outliving(hand: Option<Hand>) -> Option<Hand> {
    let hand = hand?;
    matches!(hand.in_force(), Some(HandWord::Held | HandWord::DeletedWhileHeld))
        .then_some(Hand { word: HandWord::Held, ..hand })
}

/// Whether an administrator deleted an account: his word is not undone by a connection.
#[must_use]
pub fn is_deleted_by_hand(gone: &Account) -> bool {
    let hand = gone.hand.and_then(Hand::in_force);
    matches!(hand, Some(HandWord::Deleted | HandWord::DeletedWhileHeld))
}

/// Whether a deleted account can come back because its connection creates the person again: while it is
/// kept, and unless an administrator deleted it.
#[must_use]
pub fn comes_back(gone: &Account, writer: ConnectionId, kept: Retention, at: Timestamp) -> bool {
    gone.connection == Some(writer)
        && gone.deleted_at.is_some_and(|deleted_at| !kept.is_over(deleted_at, at))
        && !is_deleted_by_hand(gone)
}

/// What a connection's write to something that exists already means for the ownership of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the connection's own.
    Own,
    /// It is Local; the connection takes it over with this write.
    PickUp,
    /// It is Local; the connection may take it over once an administrator has agreed.
    Ask,
    /// It is Local, and the policy of the connection is never to take over.
    Refused,
    /// It is out of reach of every connection.
    Protected,
    /// Another connection owns it: out of reach.
    Foreign,
}

/// Who may write an account or a group: its own connection, and any connection if it is Local, as the
/// policy of that connection says. What is protected stays as it is, whoever asks.
#[must_use]
pub fn claim(
    owner: Option<ConnectionId>,
    writer: ConnectionId,
    policy: PickUp,
    protected: bool,
) -> Claim {
    match (owner, protected, policy) {
        (Some(owner), ..) if owner != writer => Claim::Foreign,
        (_, true, _) => Claim::Protected,
        (Some(_), false, _) => Claim::Own,
        (None, false, PickUp::ByUserName) => Claim::PickUp,
        (None, false, PickUp::WithApproval) => Claim::Ask,
        (None, false, PickUp::Never) => Claim::Refused,
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

    /// Each row is a rule; a dot is a fact that makes no difference, and both values are tried.
    #[test]
    fn status_follows_from_facts() {
        //  deleted  hand         active scope  source protected seat  => status, reason
        let table = "
            yes      deleted      .      .      .      .         .     => deleted    deleted by an administrator
            yes      deleted_held .      .      .      .         .     => deleted    deleted by an administrator
            yes      held         .      .      .      .         .     => deleted    deleted in the identity provider
            yes      suspended    .      .      .      .         .     => deleted    deleted in the identity provider
            yes      reactivated  .      .      .      .         .     => deleted    deleted in the identity provider
            yes      -            .      .      .      .         .     => deleted    deleted in the identity provider
            no       held         .      .      .      .         .     => suspended  held by an administrator
            no       suspended    .      .      .      .         .     => suspended  suspended by an administrator
            no       reactivated  .      .      .      no        no    => blocked    no free seat
            no       reactivated  .      .      .      no        yes   => active
            no       reactivated  .      .      .      yes       .     => active
            no       -            no     .      .      .         .     => suspended  disabled in the identity provider
            no       -            yes    no     .      .         .     => suspended  in no sync group
            no       -            yes    yes    no     .         .     => suspended  missing from source
            no       -            yes    yes    yes    no        no    => blocked    no free seat
            no       -            yes    yes    yes    no        yes   => active
            no       -            yes    yes    yes    yes       .     => active
        ";
        let mut tried = 0;
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (facts, outcome) = row.split_once("=>").unwrap();
            let words: Vec<&str> = facts.split_whitespace().collect();
            let (status, reason) = outcome.trim().split_once("  ").unwrap_or((outcome.trim(), ""));
            for facts in all_facts().filter(|facts| fits(&words, *facts)) {
                let (found, why) = effective_status(facts);
                let why = why.map(StatusReason::word).unwrap_or_default();
                assert_eq!((found.word(), why), (status, reason.trim()), "{row}: {facts:?}");
                assert_eq!(wants_seat(facts), wants_seat(Facts { seat: !facts.seat, ..facts }));
                tried += 1;
            }
        }
        // A live account is never said to be deleted by hand; every other combination has its row.
        let deleted = [Some(HandWord::Deleted), Some(HandWord::DeletedWhileHeld)];
        let left = all_facts().filter(|facts| !facts.deleted && deleted.contains(&facts.hand));
        assert_eq!(tried + left.count(), all_facts().count());
    }

    fn all_facts() -> impl Iterator<Item = Facts> {
        (0..64_u8).flat_map(|bits| {
            let bit = move |n: u8| bits & (1 << n) != 0;
            let hands = HandWord::ALL.iter().copied().map(Some).chain([None]);
            hands.map(move |hand| Facts {
                deleted: bit(0),
                hand,
                active: bit(1),
                in_scope: bit(2),
                in_source: bit(3),
                protected: bit(4),
                seat: bit(5),
            })
        })
    }

    fn fits(words: &[&str], facts: Facts) -> bool {
        let hand = facts.hand.map_or("-", HandWord::word);
        let flag = |flag: bool| if flag { "yes" } else { "no" };
        let values = [
            flag(facts.deleted),
            hand,
            flag(facts.active),
            flag(facts.in_scope),
            flag(facts.in_source),
            flag(facts.protected),
            flag(facts.seat),
        ];
        assert_eq!(words.len(), values.len(), "{words:?}");
        words.iter().zip(values).all(|(word, value)| *word == "." || *word == value)
    }

    #[test]
    fn the_next_word_of_the_identity_provider_ends_all_but_a_hold() {
        let at = |word| Hand { word, at: Timestamp(1), overtaken_at: None };
        for word in [HandWord::Suspended, HandWord::Reactivated] {
            let hand = overtaken(Some(at(word)), Timestamp(2));
            assert_eq!(hand.and_then(Hand::in_force), None, "{word}");
            assert_eq!(overtaken(hand, Timestamp(3)), hand, "{word}");
        }
        for word in [HandWord::Held, HandWord::Deleted, HandWord::DeletedWhileHeld] {
            assert_eq!(overtaken(Some(at(word)), Timestamp(2)), Some(at(word)));
        }
        let earlier = overtaken(Some(at(HandWord::Suspended)), Timestamp(0));
        assert_eq!(earlier, Some(at(HandWord::Suspended)), "said before");
        assert_eq!(overtaken(None, Timestamp(2)), None);
    }

    #[test]
    fn a_hold_outlives_a_deletion() {
        let at = |word| Hand { word, at: Timestamp(1), overtaken_at: None };
        for (word, deleted, after) in [
            (HandWord::Held, HandWord::DeletedWhileHeld, Some(HandWord::Held)),
            (HandWord::Suspended, HandWord::Deleted, None),
            (HandWord::Reactivated, HandWord::Deleted, None),
        ] {
            let by_hand = deleted_by_hand(Some(at(word)), Timestamp(2));
            assert_eq!(by_hand.word, deleted);
            assert_eq!(outliving(Some(by_hand)).map(|hand| hand.word), after);
            // The identity provider's deletion leaves the word as it is.
            assert_eq!(outliving(Some(at(word))).map(|hand| hand.word), after);
        }
    }

    #[test]
    fn what_is_local_goes_by_the_policy_and_nothing_else_changes_hands() {
        use PickUp::{ByUserName, Never, WithApproval};
        let [okta, entra] = [1, 2].map(|n| ConnectionId(Uuid::from_u128(n)));
        //  owner        policy        protected  what a write of Okta means
        let cases = [
            (None, ByUserName, false, Claim::PickUp),
            (None, WithApproval, false, Claim::Ask),
            (None, Never, false, Claim::Refused),
            (None, ByUserName, true, Claim::Protected),
            (None, WithApproval, true, Claim::Protected),
            (None, Never, true, Claim::Protected),
            (Some(okta), ByUserName, false, Claim::Own),
            (Some(okta), WithApproval, false, Claim::Own),
            (Some(okta), Never, false, Claim::Own),
            (Some(okta), ByUserName, true, Claim::Protected),
            (Some(entra), ByUserName, false, Claim::Foreign),
            (Some(entra), WithApproval, false, Claim::Foreign),
            (Some(entra), Never, false, Claim::Foreign),
            (Some(entra), ByUserName, true, Claim::Foreign),
        ];
        for (owner, policy, protected, meaning) in cases {
            let told = claim(owner, okta, policy, protected);
            assert_eq!(told, meaning, "{owner:?} {policy} {protected}");
        }
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
