//! Sync groups: which groups bring whom into the scope of a connection.
//!
//! Membership counts through groups in groups, as deep as they go; circles of groups are survived,
//! because a recursion with UNION visits each group only once. Deleted groups bring nobody.

use std::collections::HashSet;

use super::row::{Count, Id};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{AccountId, ConnectionId, GroupId, InstanceId, MemberId};

/// The sync groups of a connection.
pub async fn groups(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Vec<GroupId>, StoreError> {
    let sql = Sql::new(
        "SELECT group_id AS id FROM sync_groups WHERE instance_id = $1 AND connection_id = $2 \
         ORDER BY group_id",
    );
    let found = tx.fetch_all::<Id<GroupId>>(sql.bind(instance).bind(connection)).await?;
    Ok(found.into_iter().map(|Id(id)| id).collect())
}

/// Names the sync groups of a connection anew.
pub async fn set_groups(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    groups: &[GroupId],
) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM sync_groups WHERE instance_id = $1 AND connection_id = $2");
    tx.execute(sql.bind(instance).bind(connection)).await?;
    for groups in groups.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("INSERT INTO sync_groups (instance_id, connection_id, group_id) VALUES ");
        sql.push_rows(
            groups.iter().map(|id| [Bind::from(instance), connection.into(), (*id).into()]),
        );
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The connections whose scope names a group.
pub async fn named_by(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<Vec<ConnectionId>, StoreError> {
    let sql = Sql::new(
        "SELECT connection_id AS id FROM sync_groups WHERE instance_id = $1 AND group_id = $2",
    );
    let found = tx.fetch_all::<Id<ConnectionId>>(sql.bind(instance).bind(group)).await?;
    Ok(found.into_iter().map(|Id(id)| id).collect())
}

/// Whether some connection of the instance goes by sync groups.
pub async fn is_used(tx: &mut Tx, instance: InstanceId) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM connections WHERE instance_id = $1 AND scope = 'groups'",
    );
    let count = tx.fetch_optional::<Count>(sql.bind(instance)).await?;
    Ok(count.is_some_and(|count| count.0 > 0))
}

/// Those of some members that are live accounts whose connection goes by sync groups.
pub async fn accounts_among(
    tx: &mut Tx,
    instance: InstanceId,
    members: &[MemberId],
) -> Result<Vec<AccountId>, StoreError> {
    let mut found = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT a.id FROM accounts a JOIN connections c \
             ON c.instance_id = a.instance_id AND c.id = a.connection_id AND c.scope = 'groups' \
             WHERE a.instance_id = $1 AND a.deleted_at IS NULL AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(members.iter().copied());
        found.extend(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    Ok(found)
}

/// The live accounts below some groups, however deep, whose connection goes by sync groups.
pub async fn accounts_below(
    tx: &mut Tx,
    instance: InstanceId,
    groups: &[MemberId],
) -> Result<Vec<AccountId>, StoreError> {
    let mut found = Vec::new();
    for groups in groups.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "WITH RECURSIVE below (id) AS (SELECT m.member_id FROM memberships m \
             WHERE m.instance_id = $1 AND m.group_id IN ",
        )
        .bind(instance);
        sql.push_list(groups.iter().copied()).push(
            " UNION SELECT m.member_id FROM below b JOIN memberships m \
             ON m.instance_id = $1 AND m.group_id = b.id) \
             SELECT a.id FROM below b JOIN accounts a ON a.instance_id = $1 AND a.id = b.id \
             AND a.deleted_at IS NULL JOIN connections c \
             ON c.instance_id = $1 AND c.id = a.connection_id AND c.scope = 'groups' ORDER BY a.id",
        );
        found.extend(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    Ok(found)
}

/// Those of some accounts that are below one of the sync groups of their connection.
pub async fn in_scope(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[AccountId],
) -> Result<HashSet<AccountId>, StoreError> {
    let by_connection = " JOIN accounts a ON a.instance_id = $1 AND a.id = u.account_id \
         JOIN sync_groups s ON s.instance_id = $1 AND s.connection_id = a.connection_id \
         AND s.group_id = u.group_id";
    above(tx, instance, accounts, |sql| {
        sql.push(by_connection);
    })
    .await
}

/// Whether an account is below one of the sync groups of its connection.
pub async fn is_in_scope(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
) -> Result<bool, StoreError> {
    Ok(in_scope(tx, instance, &[account]).await?.contains(&account))
}

/// Those of some accounts that are below one of these groups.
pub async fn below_any(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[AccountId],
    groups: &[GroupId],
) -> Result<HashSet<AccountId>, StoreError> {
    let mut found = HashSet::new();
    for groups in groups.chunks(BATCH_MAX) {
        let below = above(tx, instance, accounts, |sql| {
            sql.push(" WHERE u.group_id IN ").push_list(groups.iter().copied());
        });
        found.extend(below.await?);
    }
    Ok(found)
}

/// Walks from some accounts up through their groups; `wanted` says which pairs of an account and a
/// group above it count.
async fn above(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[AccountId],
    wanted: impl Fn(&mut Sql),
) -> Result<HashSet<AccountId>, StoreError> {
    let mut found = HashSet::new();
    for accounts in accounts.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "WITH RECURSIVE up (account_id, group_id) AS (SELECT m.member_id, m.group_id \
             FROM memberships m JOIN groups g ON g.instance_id = $1 AND g.id = m.group_id \
             AND g.deleted_at IS NULL WHERE m.instance_id = $1 AND m.member_id IN ",
        )
        .bind(instance);
        sql.push_list(accounts.iter().copied()).push(
            " UNION SELECT u.account_id, m.group_id FROM up u JOIN memberships m \
             ON m.instance_id = $1 AND m.member_id = u.group_id \
             JOIN groups g ON g.instance_id = $1 AND g.id = m.group_id AND g.deleted_at IS NULL) \
             SELECT DISTINCT u.account_id AS id FROM up u",
        );
        wanted(&mut sql);
        found.extend(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    Ok(found)
}
