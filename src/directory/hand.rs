//! The administrator's hand: what an administrator can do to an account, and what becomes of it.

use super::connection::words;
use super::rules::{deleted_by_hand, outliving};
use super::{Account, Hand, HandWord, Retention, Timestamp};

words! {
    /// What an administrator does to an account.
    Act {
        /// Keeps the person out until released.
        Hold = "hold",
        /// Ends a hold.
        Release = "release",
        /// Keeps the person out until the identity provider's next word.
        Suspend = "suspend",
        /// Lets the person in until the identity provider's next word.
        Reactivate = "reactivate",
        /// Deletes the account; it can be restored.
        Delete = "delete",
        /// Brings a deleted account back as it was.
        Restore = "restore",
        /// Takes the account from its connection, which can then pick it up again or never sees it.
        MakeLocal = "make-local",
    }
}

/// What an act comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The account becomes this; its status is for the rules to say.
    Changed(Box<Account>),
    /// It is so already.
    Unchanged,
    /// It cannot be done; why, and what to do instead.
    Refused(String),
}

/// What becomes of an account when an administrator does something to it, where what was deleted is kept
/// for so long.
#[must_use]
pub fn act(account: &Account, act: Act, at: Timestamp, kept: Retention) -> Outcome {
    if (act == Act::Restore) != account.deleted_at.is_some() {
        return match act {
            Act::Restore => Outcome::Refused("it is not deleted".to_owned()),
            _ => Outcome::Refused("it is deleted: restore it first".to_owned()),
        };
    }
    let in_force = account.hand.and_then(Hand::in_force);
    let with = |hand: Option<HandWord>| {
        let hand = hand.map(|word| Hand { word, at, overtaken_at: None });
        Outcome::Changed(Box::new(Account { hand, ..account.clone() }))
    };
    match (act, in_force) {
        (Act::Hold, Some(HandWord::Held))
        | (Act::Suspend, Some(HandWord::Suspended))
        | (Act::Reactivate, Some(HandWord::Reactivated)) => Outcome::Unchanged,
        (Act::Release, held) if held != Some(HandWord::Held) => Outcome::Unchanged,
        (Act::Suspend | Act::Reactivate, Some(HandWord::Held)) => {
            Outcome::Refused("it is held: release it first".to_owned())
        }
        (Act::Hold, _) => with(Some(HandWord::Held)),
        (Act::Suspend, _) => with(Some(HandWord::Suspended)),
        (Act::Reactivate, _)
            if !(account.counts_as_active() && account.in_scope && account.in_source) =>
        {
            with(Some(HandWord::Reactivated))
        }
        // Nothing but the administrator's own word keeps the person out.
        (Act::Release, _) | (Act::Reactivate, Some(HandWord::Suspended)) => with(None),
        (Act::Reactivate, _) => Outcome::Unchanged,
        (Act::Delete, _) => {
            let hand = Some(deleted_by_hand(account.hand, at));
            let deleted = Account { hand, deleted_at: Some(at), ..account.clone() };
            Outcome::Changed(Box::new(deleted))
        }
        (Act::Restore, _) => restore(account, at, kept),
        (Act::MakeLocal, _) if account.connection.is_none() => Outcome::Unchanged,
        (Act::MakeLocal, _) => {
            let mut local = Account {
                connection: None,
                in_scope: true,
                in_source: true,
                missing: Vec::new(),
                ..account.clone()
            };
            local.forget_holds();
            Outcome::Changed(Box::new(local))
        }
    }
}

fn restore(account: &Account, at: Timestamp, kept: Retention) -> Outcome {
    if account.deleted_at.is_some_and(|deleted_at| kept.is_over(deleted_at, at)) {
        let days = if kept.days() == 1 { "day" } else { "days" };
        return Outcome::Refused(format!(
            "it was deleted more than {} {days} ago: create it anew",
            kept.days()
        ));
    }
    let hand = outliving(account.hand);
    Outcome::Changed(Box::new(Account { hand, deleted_at: None, ..account.clone() }))
}
