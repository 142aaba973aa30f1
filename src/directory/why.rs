//! Why a person may enter or not: the rules in plain words, in the order in which they decide.

use super::rules::Facts;
use super::{HandWord, StatusReason, rules};

/// One rule about one account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rung {
    /// The fact that the rule looks at.
    pub fact: Fact,
    /// Whether it keeps the person out, or lets the person in against the rules below it.
    pub applies: bool,
    /// Whether it is the one that made the status.
    pub decides: bool,
    /// What is so, in plain words.
    pub says: &'static str,
    /// What would change it; nothing if the rule does not apply.
    pub remedy: Option<&'static str>,
}

/// The facts that rules look at, by the word under which the audit trail keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Whether the account was deleted.
    Deleted,
    /// The administrator's word.
    Hand,
    /// The identity provider's `active`.
    Active,
    /// The scope of the connection.
    Scope,
    /// The last complete pull.
    Source,
    /// The seat.
    Seat,
}

impl Fact {
    /// The key in the audit trail under which a change of the fact is found.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Deleted | Self::Seat => "status",
            Self::Hand => "hand",
            Self::Active => "active",
            Self::Scope => "inScope",
            Self::Source => "inSource",
        }
    }
}

/// Explains the status of an account: each rule, whether it applies, and what would change that.
#[must_use]
pub fn explain(facts: Facts) -> Vec<Rung> {
    let decisive = decisive(facts);
    let rung = |fact, applies, says, remedy: &'static str| Rung {
        fact,
        applies,
        decides: decisive == Some(fact),
        says,
        remedy: applies.then_some(remedy).filter(|remedy| !remedy.is_empty()),
    };
    let (hand_applies, hand_says, hand_remedy) = hand(facts.hand);
    let deleted = match (facts.deleted, facts.hand) {
        (false, _) => "the account is not deleted",
        (true, Some(HandWord::Deleted | HandWord::DeletedWhileHeld)) => {
            "an administrator deleted the account"
        }
        (true, _) => "the identity provider deleted the account",
    };
    vec![
        rung(
            Fact::Deleted,
            facts.deleted,
            deleted,
            "restore it, while the instance keeps it (30 days by default)",
        ),
        rung(Fact::Hand, hand_applies, hand_says, hand_remedy),
        rung(
            Fact::Active,
            !facts.active,
            if facts.active {
                "the identity provider says that the person is active"
            } else {
                "the identity provider says that the person is not active"
            },
            "enable the person in the identity provider, or reactivate the account here until its \
             next word",
        ),
        rung(
            Fact::Scope,
            !facts.in_scope,
            if facts.in_scope {
                "the scope of the connection has the person"
            } else {
                "the person is in no sync group of the connection"
            },
            "put the person into a sync group, or change the scope of the connection",
        ),
        rung(
            Fact::Source,
            !facts.in_source,
            if facts.in_source {
                "nothing that was pulled lacks the person"
            } else {
                "the last complete pull of the connection did not have the person"
            },
            "put the person back into the source and pull again, or reactivate the account here until \
             the source's next word",
        ),
        rung(
            Fact::Seat,
            !facts.seat && !facts.protected,
            match (facts.protected, facts.seat) {
                (true, _) => "the account is protected and needs no seat",
                (false, true) => "the person has a seat of the licence",
                (false, false) if rules::wants_seat(facts) => {
                    "no seat of the licence is free; the person waits in the queue"
                }
                (false, false) => "the person has no seat, and needs none while kept out",
            },
            if rules::wants_seat(facts) { "raise the limit, or suspend somebody" } else { "" },
        ),
    ]
}

fn hand(hand: Option<HandWord>) -> (bool, &'static str, &'static str) {
    match hand {
        None | Some(HandWord::Deleted | HandWord::DeletedWhileHeld) => {
            (false, "no word of an administrator counts", "")
        }
        Some(HandWord::Held) => {
            (true, "an administrator holds the account, whatever the source says", "release it")
        }
        Some(HandWord::Suspended) => (
            true,
            "an administrator suspended the account until the source's next word",
            "reactivate it, or wait for the next word of the source",
        ),
        Some(HandWord::Reactivated) => (
            true,
            "an administrator let the person in until the source's next word",
            "suspend or hold it, or wait for the next word of the source",
        ),
    }
}

/// The fact behind the rule that made the status.
fn decisive(facts: Facts) -> Option<Fact> {
    match rules::effective_status(facts).1 {
        Some(StatusReason::DeletedInIdp | StatusReason::DeletedByHand) => Some(Fact::Deleted),
        Some(StatusReason::Held | StatusReason::SuspendedByHand) => Some(Fact::Hand),
        Some(StatusReason::DisabledInIdp) => Some(Fact::Active),
        Some(StatusReason::OutOfScope) => Some(Fact::Scope),
        Some(StatusReason::MissingFromSource) => Some(Fact::Source),
        Some(StatusReason::NoSeat) => Some(Fact::Seat),
        None => (facts.hand == Some(HandWord::Reactivated)).then_some(Fact::Hand),
    }
}
