//! The guard for pushes: losses are counted, and beyond the limits of their connection they are held.
//!
//! What is held is kept in the rows that it is about, as facts beside what the client has said: the client
//! reads its own words, and the directory stays as it is. So all other writes go on, a client that says the
//! contrary takes a hold back by itself, and an administrator who applies it does what the client had asked
//! for, by the same rules.

use serde_json::json;

use super::resource::Resource;
use super::{Caller, Provision, Result, standing, transact};
use crate::directory::push_guard::{
    GUARD_FLOOR, GUARD_TOTAL_MINUTES, GUARD_WINDOW_MINUTES_MAX, LossKind, Losses, PushGuard,
};
use crate::directory::{Account, ConnectionKind, Group, InstanceId, MemberId, Timestamp};
use crate::store::Tx;
use crate::store::audit::{self, Author, Category};
use crate::store::guard::{self, Total};
use crate::store::held as rows;

mod decide;
mod held;

pub use decide::{Decided, Deciding, GUARD_FORESEEN_MAX, HeldDecision};
pub use held::{GUARD_PAGE, GuardState, HeldChange, HeldMark};

/// The rule that the audit trail names.
const RULE: &str = "guard";

/// Losses that are too many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    kind: LossKind,
    /// Whether others of the kind are held already.
    tripped: bool,
    /// How many there are in the window, these among them.
    losses: i64,
    /// How much there was, if the share is too large.
    present: Option<i64>,
}

/// Whether losses are in the rows of the transaction already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// They are made if they are not too many.
    Later,
    /// They are taken back if they are too many.
    Already,
}

/// Whether the losses of a caller are counted: those of a file are, by the pull, before its first change.
pub(super) fn watches(caller: &Caller) -> bool {
    caller.settings.guard.on && caller.kind != ConnectionKind::Csv
}

/// Whether the row is one that the caller has deleted, while the guard holds that.
pub(super) fn is_gone_to<R: Resource>(row: &R::Row, caller: &Caller) -> bool {
    R::deletion_held_at(row).is_some() && R::owner(row) == Some(caller.connection)
}

/// Counts losses, if they are not too many.
///
/// Who pushes at the same moment is not seen: as many losses as there are writers may come through beyond
/// a limit. Once something is held, everything of its kind is.
pub(super) async fn judge(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    losses: Losses,
    made: Made,
) -> Result<Option<Over>> {
    for &kind in LossKind::ALL {
        if losses.of(kind) > 0
            && let Some(over) = over(tx, caller, author.at, kind, losses.of(kind), made).await?
        {
            return Ok(Some(over));
        }
    }
    let (instance, connection) = (caller.instance, caller.connection);
    for &kind in LossKind::ALL {
        if losses.of(kind) > 0 {
            let (at, id) = (author.at, author.ids.fresh());
            guard::keep_loss(tx, instance, connection, kind, at, id, losses.of(kind)).await?;
        }
    }
    Ok(None)
}

async fn over(
    tx: &mut Tx,
    caller: &Caller,
    at: Timestamp,
    kind: LossKind,
    count: i64,
    made: Made,
) -> Result<Option<Over>> {
    let (instance, connection) = (caller.instance, caller.connection);
    let limits = caller.settings.guard;
    let since = limits.since(at);
    let lost = guard::lost(tx, instance, connection, kind, since).await?;
    let ahead = caller.ahead.of(kind);
    let losses = lost + count.max(ahead);
    let over = |tripped, present| Some(Over { kind, tripped, losses, present });
    if guard::is_holding(tx, instance, connection, kind).await? {
        return Ok(over(true, None));
    }
    if limits.is_over_count(kind, losses) {
        return Ok(over(false, None));
    }
    // Whatever there is, a share of it is at most all of it.
    if !limits.is_over_percent(losses, losses) {
        return Ok(None);
    }
    let old = Timestamp(at.0 - GUARD_TOTAL_MINUTES * 60_000);
    let remembered = guard::total(tx, instance, connection, kind).await?;
    if let Some(Total { total, counted_at }) = remembered.filter(|one| one.counted_at >= old) {
        // What was lost since is in that total still. Whether it really is too much is counted below.
        let since = since.max(Timestamp(counted_at.0 - 1));
        let since = guard::lost(tx, instance, connection, kind, since).await?;
        if !limits.is_over_percent(losses, total + lost - since) {
            return Ok(None);
        }
    }
    let mut total = guard::count_total(tx, instance, connection, kind).await?;
    if made == Made::Already {
        total += count;
    }
    guard::keep_total(tx, instance, connection, kind, Total { total, counted_at: at }).await?;
    if total < GUARD_FLOOR {
        // Who tries out a connection lets a handful of people come and go all day.
        return Ok(None);
    }
    let present = lost + total;
    Ok(if limits.is_over_percent(losses, present) { over(false, Some(present)) } else { None })
}

/// Says that the guard has begun to hold losses of a kind.
pub(super) async fn trip(tx: &mut Tx, caller: &Caller, author: &Author, over: &Over) -> Result<()> {
    if over.tripped {
        return Ok(());
    }
    let PushGuard { percent_max, window_minutes, .. } = caller.settings.guard;
    let count_max = caller.settings.guard.count_max(over.kind);
    tracing::warn!(
        instance = %caller.instance,
        connection = %caller.connection,
        kind = %over.kind,
        losses = over.losses,
        count_max,
        percent_max,
        window_minutes,
        "the guard holds what a client pushes until an administrator decides"
    );
    let target = caller.connection.0;
    let event = author.event(Category::UserSync, "connection.guard_tripped", "connection", target);
    let after = json!({
        "kind": over.kind,
        "losses": over.losses,
        "of": over.present,
        "limit": over.present.map_or(count_max, |_| percent_max),
        "limitIn": if over.present.is_some() { "percent" } else { "count" },
        "windowMinutes": window_minutes,
    });
    let event = audit::Event { after: Some(after), rule: Some(RULE.to_owned()), ..event };
    Ok(audit::append(tx, caller.instance, &[event]).await?)
}

/// The author of what is held.
pub(super) fn holder_of(author: &Author) -> Author {
    Author { rule: Some(RULE), ..author.clone() }
}

/// Holds that a client disables somebody, or lets go what it takes back; whether something new is held.
pub(super) async fn meet_suspension(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: &Account,
    after: &mut Account,
) -> Result<bool> {
    if after.active {
        after.suspension_held_at = None;
    }
    let is_lost = before.status.may_enter() && !after.status.may_enter();
    if !is_lost || !watches(caller) {
        return Ok(false);
    }
    let losses = Losses { suspensions: 1, ..Losses::default() };
    let Some(over) = judge(tx, caller, author, losses, Made::Later).await? else {
        return Ok(false);
    };
    trip(tx, caller, author, &over).await?;
    after.suspension_held_at = Some(author.at);
    standing::judge(after);
    Ok(true)
}

/// Deletes what a client deletes, or holds that.
pub(super) async fn delete<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: R::Row,
) -> Result<()> {
    if !watches(caller) {
        R::delete(tx, caller, author, before).await?;
        return Ok(());
    }
    let over = if R::IS_DELETED_ALONE {
        let losses = Losses { deletions: 1, ..Losses::default() };
        let over = judge(tx, caller, author, losses, Made::Later).await?;
        if over.is_none() {
            R::delete(tx, caller, author, before.clone()).await?;
        }
        over
    } else {
        tx.mark().await?;
        let losses = R::delete(tx, caller, author, before.clone()).await?;
        let mut over = judge(tx, caller, author, losses, Made::Already).await?;
        if over.is_none() && R::holds_members(&before) {
            // What is held of its own members would go with it undecided.
            let (kind, losses) = (LossKind::Removal, losses.removals);
            over = Some(Over { kind, tripped: true, losses, present: None });
        }
        match over {
            None => tx.forget_mark().await?,
            Some(_) => tx.back_to_mark().await?,
        }
        over
    };
    let Some(over) = over else { return Ok(()) };
    trip(tx, caller, author, &over).await?;
    R::hold_deletion(tx, caller, &holder_of(author), before).await
}

/// Holds that members leave a group.
pub(super) async fn hold_removals(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    members: &[MemberId],
) -> Result<()> {
    rows::hold_members(tx, instance, group.id, members, author.at).await?;
    say(tx, instance, &holder_of(author), group, members, "group.member_removal_held").await
}

/// Holds that those leave a group whom its client has deleted, too: it creates the group anew, without them.
pub(super) async fn without_the_gone(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    group: Group,
) -> Result<Group> {
    let gone = rows::gone_members(tx, caller.instance, group.id).await?;
    if gone.is_empty() {
        return Ok(group);
    }
    hold_removals(tx, caller.instance, author, &group, &gone).await?;
    Ok(Group { removals_held_at: group.removals_held_at.or(Some(author.at)), ..group })
}

/// Lets members stay whom the client adds again, or an administrator keeps, while the guard holds that they
/// leave; since when it still holds that others do.
pub(super) async fn keep_members(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    members: &[MemberId],
) -> Result<(bool, Option<Timestamp>)> {
    if group.removals_held_at.is_none() || members.is_empty() {
        return Ok((false, group.removals_held_at));
    }
    let kept = rows::keep_members(tx, instance, group.id, members).await?;
    if kept.is_empty() {
        return Ok((false, group.removals_held_at));
    }
    say(tx, instance, author, group, &kept, "group.member_kept").await?;
    let others = rows::held_members(tx, instance, group.id, None, 1).await?;
    Ok((true, group.removals_held_at.filter(|_| !others.is_empty())))
}

/// Writes a row into the audit trail for each of some members.
async fn say(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    members: &[MemberId],
    action: &str,
) -> Result<()> {
    let events: Vec<_> = members
        .iter()
        .map(|member| {
            let event = author.change(action, "group", group.id.0);
            audit::Event { member: Some(*member), ..event }
        })
        .collect();
    Ok(audit::append(tx, instance, &events).await?)
}

impl Provision {
    /// Forgets the losses that no window reaches.
    pub(super) async fn forget_old_losses(&self, instance: InstanceId) -> Result<()> {
        let before = Timestamp(self.clock.now().0 - GUARD_WINDOW_MINUTES_MAX * 60_000);
        let mut tx = self.store.read().await?;
        let has_some = guard::has_losses_before(&mut tx, instance, before).await?;
        drop(tx);
        if !has_some {
            return Ok(());
        }
        transact!(
            self.store,
            |tx| Ok(guard::forget_losses_before(&mut tx, instance, before).await?)
        )
    }
}
