//! The scope of a connection: everyone whom it pushes, or the members of its sync groups.
//!
//! When members come or go, only those people are looked at who are below what moved, and only those
//! are written whose scope is another than before.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Result, standing};
use crate::directory::{AccountId, Group, InstanceId, MemberId, MemberKind};
use crate::store::audit::Author;
use crate::store::waist::Nesting;
use crate::store::{BATCH_MAX, Tx, accounts, scope};

type Members = [(MemberId, MemberKind)];

/// Looks again at the people who left or joined a group, directly or with a group.
pub(super) async fn reconsider(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    left: &Members,
    joined: &Members,
) -> Result<()> {
    if (left.is_empty() && joined.is_empty()) || !scope::is_used(tx, instance).await? {
        return Ok(());
    }
    let all = || left.iter().chain(joined).copied();
    let of = |wanted| -> Vec<MemberId> {
        all().filter(|(_, kind)| *kind == wanted).map(|(id, _)| id).collect()
    };
    let (people, groups) = (of(MemberKind::Account), of(MemberKind::Group));
    let hold = if groups.is_empty() { Nesting::Counts } else { Nesting::Moves };
    tx.hold_nesting(instance, hold).await?;
    let mut affected = scope::accounts_among(tx, instance, &people).await?;
    affected.extend(scope::accounts_below(tx, instance, &groups).await?);
    let happened = if joined.is_empty() { "left" } else { "joined" };
    look_again(tx, instance, author, affected, &cause(happened, group)).await
}

/// Looks again at the people who were below a group that is deleted now.
pub(super) async fn group_deleted(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
) -> Result<()> {
    if !scope::is_used(tx, instance).await? {
        return Ok(());
    }
    tx.hold_nesting(instance, Nesting::Moves).await?;
    let affected = scope::accounts_below(tx, instance, &[group.id.into()]).await?;
    look_again(tx, instance, author, affected, &cause("deleted", group)).await
}

fn cause(happened: &str, group: &Group) -> Value {
    json!({ "group": group.id, "name": group.display_name, "happened": happened })
}

/// Asks the rules again about people, batch by batch, so that memory stays bounded.
async fn look_again(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    mut affected: Vec<AccountId>,
    cause: &Value,
) -> Result<()> {
    affected.sort_unstable();
    affected.dedup();
    for ids in affected.chunks(BATCH_MAX) {
        let locked = accounts::lock(tx, instance, ids).await?;
        let within = scope::in_scope(tx, instance, ids).await?;
        let holds = |account: &crate::directory::Account| within.contains(&account.id);
        standing::move_many(tx, instance, author, &locked, holds, Some(cause)).await?;
    }
    Ok(())
}
