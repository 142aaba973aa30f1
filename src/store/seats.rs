//! What the rules made of accounts: their standing, and the queue for a seat.

use super::accounts::TABLE;
use super::row::{Count, Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{
    Account, AccountId, ConnectionId, InstanceId, Status, StatusReason, Timestamp,
};

/// The first `limit` accounts that wait for a seat, locked, in the order of their arrival.
pub async fn queue(
    tx: &mut Tx,
    instance: InstanceId,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    let for_update = tx.dialect().for_update();
    sql.push(" AND r.queued_at IS NOT NULL ORDER BY r.queued_at, r.id LIMIT ");
    sql.push_bind(limit).push(for_update);
    tx.fetch_all(sql).await
}

/// The seats of an instance, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats {
    /// How many accounts have one.
    pub taken: i64,
    /// How many wait for one.
    pub waiting: i64,
}

impl Record for Seats {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { taken: row.get("taken")?, waiting: row.get("waiting")? })
    }
}

/// Counts the seats of an instance; looks at all of its accounts.
pub async fn count_seats(tx: &mut Tx, instance: InstanceId) -> Result<Seats, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(CASE WHEN a.status = 'active' AND NOT a.protected THEN 1 END) AS taken, \
         COUNT(a.queued_at) AS waiting FROM accounts a \
         WHERE a.instance_id = $1 AND a.deleted_at IS NULL",
    );
    let seats = tx.fetch_optional(sql.bind(instance)).await?;
    Ok(seats.unwrap_or(Seats { taken: 0, waiting: 0 }))
}

/// What the rules made of an account: what several accounts can have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Standing {
    /// Whether the scope of its connection has it.
    pub in_scope: bool,
    /// Whether the last complete pull has it.
    pub in_source: bool,
    /// The status.
    pub status: Status,
    /// Why.
    pub reason: Option<StatusReason>,
    /// Since when it waits for a seat.
    pub queued_at: Option<Timestamp>,
    /// When the identity provider overtook the administrator's word, if it just did.
    pub overtaken_at: Option<Timestamp>,
}

/// Gives some accounts a standing; `at` is when they changed.
pub async fn set_standing(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
    standing: &Standing,
    at: Timestamp,
) -> Result<(), StoreError> {
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE accounts SET in_scope = $2, status = $3, status_reason = $4, queued_at = $5, \
             hand_overtaken_at = COALESCE($6, hand_overtaken_at), version = version + 1, \
             modified_at = $7, in_source = $8, suspended_at = CASE \
             WHEN CAST($9 AS BIGINT) IS NULL THEN NULL ELSE COALESCE(suspended_at, $9) END \
             WHERE instance_id = $1 AND id IN ",
        )
        .bind(instance)
        .bind(standing.in_scope)
        .bind(standing.status.word())
        .bind(standing.reason.map(StatusReason::word))
        .bind(standing.queued_at)
        .bind(standing.overtaken_at)
        .bind(at)
        .bind(standing.in_source)
        .bind(standing.reason.filter(|reason| reason.is_of_source()).map(|_| at));
        sql.push_list(ids.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Corrects what was just written of accounts: they have the standing of `alike`, in the same version.
pub async fn correct_standing(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
    alike: &Account,
) -> Result<(), StoreError> {
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE accounts SET in_scope = $2, status = $3, status_reason = $4, queued_at = $5, \
             suspended_at = CASE WHEN CAST($6 AS BIGINT) IS NULL THEN NULL \
             ELSE COALESCE(suspended_at, $6) END WHERE instance_id = $1 AND id IN ",
        )
        .bind(instance)
        .bind(alike.in_scope)
        .bind(alike.status.word())
        .bind(alike.reason.map(StatusReason::word))
        .bind(alike.queued_at)
        .bind(alike.suspended_since(alike.modified_at));
        sql.push_list(ids.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// How many other protected accounts are active.
pub async fn protected_besides(
    tx: &mut Tx,
    instance: InstanceId,
    id: AccountId,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM accounts a WHERE a.instance_id = $1 AND a.protected \
         AND a.status = 'active' AND a.deleted_at IS NULL AND a.id <> $2",
    );
    let counted = tx.fetch_optional::<Count>(sql.bind(instance).bind(id)).await?;
    Ok(counted.map_or(0, |count| count.0))
}

/// The live accounts of a connection that its source keeps suspended since a time or longer, the longest
/// first, locked; those that somebody else has locked are left for the next time.
pub async fn long_suspended(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    let lock = tx.dialect().for_update_unless_locked();
    sql.push(" AND NOT r.protected AND r.connection_id = ").push_bind(connection);
    sql.push(" AND r.suspended_at IS NOT NULL AND r.suspended_at <= ").push_bind(since);
    sql.push(" ORDER BY r.suspended_at, r.id LIMIT ").push_bind(limit).push(lock);
    tx.fetch_all(sql).await
}

/// How many live accounts of a connection its source keeps suspended since a time or longer.
pub async fn count_long_suspended(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    since: Timestamp,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new(TABLE.count).bind(instance);
    sql.push(" AND NOT r.protected AND r.connection_id = ").push_bind(connection);
    sql.push(" AND r.suspended_at IS NOT NULL AND r.suspended_at <= ").push_bind(since);
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}
