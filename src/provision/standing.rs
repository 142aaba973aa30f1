//! Whether a person may enter: the stored status always equals what the rules make of the facts.
//!
//! An account is first written as if a seat were free, then [`settle`] looks at the terms (the scope of
//! the connection, the licence of the instance) and corrects it. In this order a change of the terms
//! misses nobody: it waits for all who have written. Who leaves frees a seat, and the first in the queue
//! enters in the same transaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Error, Result};
use crate::directory::rules::{Facts, effective_status, overtaken, wants_seat};
use crate::directory::{
    Account, AccountId, Hand, InstanceId, Licence, LossKind, Scope, SeatPolicy, Status,
    StatusReason, Timestamp,
};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author};
use crate::store::seats::{self, Standing};
use crate::store::waist::Nesting;
use crate::store::{Tx, licences, scope};

/// The rule that lets in who has waited.
const SEAT_FREE: &str = "a seat became free";

/// What is known of an account. Whoever is active has a seat.
pub(super) fn facts(account: &Account) -> Facts {
    Facts {
        deleted: account.deleted_at.is_some(),
        hand: account.hand.and_then(Hand::in_force),
        active: account.counts_as_active(),
        in_scope: account.in_scope,
        in_source: account.in_source,
        protected: account.protected,
        seat: account.status == Status::Active,
    }
}

/// The status as it is if a seat is free: what an account is written with before [`settle`].
pub(super) fn judge(account: &mut Account) {
    let facts = Facts { seat: true, ..facts(account) };
    (account.status, account.reason) = effective_status(facts);
    account.queued_at = None;
}

fn has_seat(account: &Account) -> bool {
    account.status == Status::Active && !account.protected
}

/// Brings the scope and the seats of people who are new in order, all of one connection, and their rows with
/// them. Their scope, and who was first has a seat first.
pub(super) async fn settle_new(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    new: &mut [Account],
) -> Result<Scope> {
    let written: Vec<_> = new.iter().map(standing).collect();
    let connection = new.first().and_then(|account| account.connection);
    let terms = licences::terms(tx, instance, connection).await?;
    for account in &mut *new {
        account.in_scope = terms.scope == Scope::All;
        judge(account);
    }
    let mut wanting: Vec<_> = new.iter_mut().filter(|account| wants_seat(facts(account))).collect();
    if terms.is_limited && !wanting.is_empty() {
        seat_new(tx, instance, author, &mut wanting).await?;
    }
    let mut alike: BTreeMap<_, Vec<&Account>> = BTreeMap::new();
    for (account, _) in new.iter().zip(written).filter(|(is, was)| standing(is) != *was) {
        alike.entry(standing(account)).or_default().push(account);
    }
    for accounts in alike.values() {
        let ids: Vec<AccountId> = accounts.iter().map(|account| account.id).collect();
        if let Some(one) = accounts.first() {
            seats::correct_standing(tx, instance, &ids, one).await?;
        }
    }
    Ok(terms.scope)
}

/// Gives seats to people who are new under the lock of the licence, as long as there are any.
async fn seat_new(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    wanting: &mut [&mut Account],
) -> Result<()> {
    let Some(mut licence) = licences::lock(tx, instance).await? else { return Ok(()) };
    let was = licence.seats_taken;
    for account in wanting {
        if licence.free() > 0 {
            licence.seats_taken += 1;
        } else if licence.policy == SeatPolicy::Stop {
            return Err(Error::NoSeat(no_seat(licence)));
        } else {
            queue(account, None, author.at);
        }
    }
    if licence.seats_taken != was {
        licences::set(tx, instance, licence).await?;
    }
    Ok(())
}

fn queue(account: &mut Account, since: Option<Timestamp>, at: Timestamp) {
    (account.status, account.reason) = (Status::Blocked, Some(StatusReason::NoSeat));
    account.queued_at = since.or(Some(at));
}

fn standing(account: &Account) -> (bool, Status, Option<StatusReason>, Option<Timestamp>) {
    (account.in_scope, account.status, account.reason, account.queued_at)
}

/// Brings the scope and the seat of an account in order that was just changed, and its row with them.
pub(super) async fn settle(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    before: &Account,
    after: &mut Account,
) -> Result<()> {
    let written = standing(after);
    let moved = before.connection != after.connection || before.deleted_at.is_some();
    let had = has_seat(before);
    if !moved && had == wants_seat(facts(after)) {
        return Ok(());
    }
    let terms = licences::terms(tx, instance, after.connection).await?;
    if moved {
        after.in_scope = match terms.scope {
            Scope::All => true,
            Scope::Groups => {
                // Who moves a group that she is below waits, or is seen.
                tx.hold_nesting(instance, Nesting::Counts).await?;
                !scope::in_scope(tx, instance, std::slice::from_ref(after)).await?.is_empty()
            }
        };
        judge(after);
    }
    let wants = wants_seat(facts(after));
    if terms.is_limited && wants != had {
        let seats = if wants { Seats::Take } else { Seats::Free };
        seat(tx, instance, author, before, after, seats).await?;
    }
    if standing(after) != written {
        seats::correct_standing(tx, instance, &[after.id], after).await?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seats {
    Take,
    Free,
}

/// Takes or frees the seat of one account under the lock of the licence.
async fn seat(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    before: &Account,
    after: &mut Account,
    seats: Seats,
) -> Result<()> {
    let Some(mut licence) = licences::lock(tx, instance).await? else { return Ok(()) };
    match seats {
        Seats::Free => {
            licence.seats_taken -= 1;
            fill(tx, instance, author, licence).await
        }
        Seats::Take if licence.free() > 0 => {
            licence.seats_taken += 1;
            Ok(licences::set(tx, instance, licence).await?)
        }
        Seats::Take => {
            if licence.policy == SeatPolicy::Stop && before.queued_at.is_none() {
                return Err(Error::NoSeat(no_seat(licence)));
            }
            queue(after, before.queued_at, author.at);
            Ok(())
        }
    }
}

fn no_seat(licence: Licence) -> ScimError {
    let detail = format!(
        "the licence has no free seat ({} of {} are taken): suspend somebody or raise the limit; the \
         policy \"stop\" of this instance refuses whoever comes beyond it",
        licence.seats_taken, licence.seats_max
    );
    ScimError::new(ErrorKind::Forbidden, detail)
}

/// Lets in those who have waited longest, as many as seats are free, and keeps the count.
pub(super) async fn fill(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    mut licence: Licence,
) -> Result<()> {
    while licence.free() > 0 {
        let page = licence.free().min(500);
        let waiting = seats::queue(tx, instance, page).await?;
        let entering: Vec<_> = waiting
            .iter()
            .map(|before| {
                let mut after = before.clone();
                judge(&mut after);
                (before, after)
            })
            .collect();
        licence.seats_taken += count(&entering);
        write(tx, instance, author, &entering, Some(SEAT_FREE), None).await?;
        if count(&waiting) < page {
            break;
        }
    }
    Ok(licences::set(tx, instance, licence).await?)
}

fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

/// Those of some accounts that move into or out of the scope of their connection, and their new facts.
pub(super) fn rescoped(
    accounts: &[Account],
    in_scope: impl Fn(&Account) -> bool,
) -> Vec<(&Account, Account)> {
    let moves = accounts.iter().filter(|account| account.in_scope != in_scope(account));
    moves.map(|was| (was, Account { in_scope: !was.in_scope, ..was.clone() })).collect()
}

/// Gives people new facts that their connection did not say of each, all at once: what it costs follows
/// the number of people who move. The accounts are locked, as they were and as they are to be; what the
/// audit trail says of the cause is told by the latter.
pub(super) async fn move_many(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    moving: Vec<(&Account, Account)>,
    cause: impl Fn(&Account) -> Value + Sync,
) -> Result<Vec<AccountId>> {
    let mut moved = Vec::new();
    for (before, after) in moving {
        // A setting that an administrator changes is no word of the identity provider.
        let hand = match author.connection {
            Some(own) if before.connection == Some(own) => overtaken(before.hand, author.at),
            _ => before.hand,
        };
        let mut after = Account { hand, ..after };
        judge(&mut after);
        moved.push((before, after));
    }
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let freed = moved.iter().filter(|(was, is)| has_seat(was) && !has_seat(is)).count();
    let taking = moved.iter().filter(|(was, is)| !has_seat(was) && has_seat(is)).count();
    let licence = if freed + taking > 0 { licences::lock(tx, instance).await? } else { None };
    if let Some(mut licence) = licence {
        // While a seat is free nobody waits: newcomers take what is free, then queue.
        let mut free = licence.free();
        for (was, is) in moved.iter_mut().filter(|(was, is)| !has_seat(was) && has_seat(is)) {
            if free > 0 {
                (free, licence.seats_taken) = (free - 1, licence.seats_taken + 1);
            } else {
                queue(is, was.queued_at, author.at);
            }
        }
        licence.seats_taken -= i64::try_from(freed).unwrap_or(0);
        write(tx, instance, author, &moved, None, Some(&cause)).await?;
        fill(tx, instance, author, licence).await?;
    } else {
        write(tx, instance, author, &moved, None, Some(&cause)).await?;
    }
    let pairs: Vec<_> = moved.iter().map(|(was, is)| (Some(*was), is)).collect();
    super::manager::settle(tx, instance, author, &pairs).await?;
    Ok(moved.iter().map(|(_, is)| is.id).collect())
}

/// Keeps the new standing of some accounts, one statement for all that have the same, and says so in the
/// audit trail of each.
async fn write(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    changed: &[(&Account, Account)],
    rule: Option<&str>,
    cause: Option<&(dyn Fn(&Account) -> Value + Sync)>,
) -> Result<()> {
    let mut alike: BTreeMap<Standing, Vec<AccountId>> = BTreeMap::new();
    for (was, is) in changed {
        let overtaken_at = is.hand.and_then(|hand| hand.overtaken_at);
        let standing = Standing {
            in_scope: is.in_scope,
            in_source: is.in_source,
            status: is.status,
            reason: is.reason,
            queued_at: is.queued_at,
            overtaken_at: overtaken_at.filter(|_| was.hand != is.hand),
        };
        alike.entry(standing).or_default().push(is.id);
    }
    for (standing, ids) in &alike {
        seats::set_standing(tx, instance, ids, standing, author.at).await?;
    }
    let events: Vec<_> = changed
        .iter()
        .map(|(was, is)| {
            let event = author.change("account.changed", "account", is.id.0);
            let (was_said, is_said) = (said(was), said(is));
            let before = audit::differing(&was_said, &is_said);
            let mut after = audit::differing(&is_said, &was_said);
            if let Some(cause) = cause {
                after.insert("cause".to_owned(), cause(is));
            }
            let rule = rule.map(str::to_owned);
            audit::Event {
                before: Some(Value::Object(before)),
                after: Some(Value::Object(after)),
                rule: rule.or_else(|| is.reason.map(|reason| reason.word().to_owned())),
                ..event
            }
        })
        .collect();
    Ok(audit::append(tx, instance, &events).await?)
}

/// The facts of an account that the audit trail compares, and what the rules made of them.
pub(super) fn said(account: &Account) -> serde_json::Map<String, Value> {
    let hand = account.hand.and_then(Hand::in_force);
    let facts = json!({
        "status": account.status,
        "statusReason": account.reason,
        "inScope": account.in_scope,
        "inSource": account.in_source,
        "hand": hand,
        "protected": account.protected,
    });
    let mut facts = match facts {
        Value::Object(facts) => facts,
        _ => serde_json::Map::new(),
    };
    let deletion = account.deletion_held_at.map(|_| LossKind::Deletion);
    let held = deletion.or(account.suspension_held_at.map(|_| LossKind::Suspension));
    if let Some(held) = held {
        facts.insert("held".to_owned(), held.word().into());
    }
    facts
}
