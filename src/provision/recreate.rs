//! People who come again after they were deleted: who they are to the directory, and what is remembered of
//! them.

use super::resource::holder;
use super::users::{Users, write};
use super::{Caller, Result, mapping, standing};
use crate::directory::rules::{comes_back, is_deleted_by_hand, outliving};
use crate::directory::{Account, InstanceId, Recreate, Timestamp};
use crate::scim::fold::fold;
use crate::store::accounts::{self, Tombstone};
use crate::store::audit::Author;
use crate::store::query::{Narrow, Purpose};
use crate::store::{Tx, instances, tombstones};

/// Who was held is not let in by being deleted and created anew.
pub(super) async fn outlive(tx: &mut Tx, instance: InstanceId, new: &mut [Account]) -> Result<()> {
    let mut gone: Vec<String> = new.iter().map(name_key).collect();
    if gone.len() > 1 {
        gone = tombstones::names(tx, instance, &gone).await?;
    }
    for account in new {
        let key = name_key(account);
        if gone.contains(&key) {
            let name = Tombstone::UserName(&key);
            let gone = accounts::tombstone(tx, instance, name, Purpose::Look).await?;
            account.hand = outliving(gone.and_then(|gone| gone.hand));
        }
        standing::judge(account);
    }
    Ok(())
}

fn name_key(account: &Account) -> String {
    fold(&account.user_name).into_owned()
}

/// The places of those of several new people who may be somebody who was deleted: with as many statements
/// as for one, and none unless the connection wants the same ids again.
pub(super) async fn expected(tx: &mut Tx, caller: &Caller, new: &[Account]) -> Result<Vec<usize>> {
    if caller.settings.recreate == Recreate::New {
        return Ok(Vec::new());
    }
    let names: Vec<String> = new.iter().map(name_key).collect();
    let names = tombstones::names(tx, caller.instance, &names).await?;
    let ids: Vec<&str> = new.iter().filter_map(|new| new.external_id.as_deref()).collect();
    let (instance, connection) = (caller.instance, caller.connection);
    let ids = tombstones::external_ids(tx, instance, connection, &ids).await?;
    let is_expected = |new: &Account| {
        names.contains(&name_key(new))
            || new.external_id.as_ref().is_some_and(|id| ids.contains(id))
    };
    let places = new.iter().enumerate().filter(|(_, new)| is_expected(new));
    Ok(places.map(|(place, _)| place).collect())
}

/// The deleted account, locked, that somebody new is by the policy of the connection: the last one of the
/// user name, else the connection's last one of the external id. Nobody if the name is taken.
pub(super) async fn predecessor(
    tx: &mut Tx,
    caller: &Caller,
    at: Timestamp,
    new: &Account,
) -> Result<Option<Account>> {
    if caller.settings.recreate == Recreate::New {
        return Ok(None);
    }
    let kept = instances::retention(tx, caller.instance).await?;
    let key = name_key(new);
    let by_id = new.external_id.as_deref();
    let by_id = by_id.map(|id| Tombstone::ExternalId(caller.connection, id));
    for name in [Some(Tombstone::UserName(&key)), by_id].into_iter().flatten() {
        let gone = accounts::tombstone(tx, caller.instance, name, Purpose::Change).await?;
        let Some(gone) = gone else { continue };
        if is_deleted_by_hand(&gone) {
            return Ok(None);
        }
        if !comes_back(&gone, caller.connection, kept, at) {
            continue;
        }
        let taken = holder::<Users>(tx, caller, Narrow::UserName(key.clone())).await?.is_some();
        return Ok((!taken).then_some(gone));
    }
    Ok(None)
}

/// Brings a deleted account back as its connection describes the person now: with its id, its groups and
/// what administrators wrote.
pub(super) async fn revive(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: &Account,
    mut new: Account,
) -> Result<Account> {
    // Another one of that name may have been held, too.
    outlive(tx, caller.instance, std::slice::from_mut(&mut new)).await?;
    let mut after = Account {
        id: before.id,
        hand: outliving(before.hand).or(new.hand),
        local_fields: before.local_fields.clone(),
        version: before.version + 1,
        created_at: before.created_at,
        ..new
    };
    standing::judge(&mut after);
    let (connection, version) = (Some(caller.connection), caller.settings.mapping_version);
    let (schemas, one) = (&caller.schemas, std::slice::from_mut(&mut after));
    let misses = mapping::apply(tx, caller.instance, connection, version, schemas, one).await?;
    misses.keep(tx, caller.instance, author.at).await?;
    write(tx, caller.instance, schemas, author, before, after, "recreated").await
}
