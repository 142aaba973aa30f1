//! The licence of an instance: a row only where there is a limit.
//!
//! Who gives or frees a seat locks the row, so that the count is right and nobody is passed over.
//! Without a row nothing is locked.

use super::row::{Record, Row};
use super::{Sql, StoreError, Tx};
use crate::directory::{ConnectionId, InstanceId, Licence, Scope};

impl Record for Licence {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            seats_max: row.get("seats_max")?,
            seats_taken: row.get("seats_taken")?,
            policy: row.get("policy")?,
        })
    }
}

/// What decides about somebody who comes: the scope of the connection, and whether seats are limited.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whose accounts are in scope; everyone for Local accounts.
    pub scope: Scope,
    /// Whether the instance has a licence limit.
    pub is_limited: bool,
}

impl Record for Terms {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let scope: Option<Scope> = row.get("scope")?;
        let limit: Option<i64> = row.get("seats_max")?;
        Ok(Self { scope: scope.unwrap_or(Scope::All), is_limited: limit.is_some() })
    }
}

/// Reads the terms for the accounts of a connection, or for Local ones. Read after the account was
/// written: who changes the terms waits for all who have written.
pub async fn terms(
    tx: &mut Tx,
    instance: InstanceId,
    connection: Option<ConnectionId>,
) -> Result<Terms, StoreError> {
    let sql = Sql::new(
        "SELECT c.scope, l.seats_max FROM instances i \
         LEFT JOIN connections c ON c.instance_id = i.id AND c.id = $2 \
         LEFT JOIN licences l ON l.instance_id = i.id WHERE i.id = $1",
    )
    .bind(instance)
    .bind(connection);
    let terms = tx.fetch_optional(sql).await?;
    Ok(terms.unwrap_or(Terms { scope: Scope::All, is_limited: false }))
}

/// Reads the licence without a lock.
pub async fn find(tx: &mut Tx, instance: InstanceId) -> Result<Option<Licence>, StoreError> {
    let sql =
        Sql::new("SELECT seats_max, seats_taken, policy FROM licences WHERE instance_id = $1");
    tx.fetch_optional(sql.bind(instance)).await
}

/// Locks the licence of an instance that has one, if nobody else has locked it; else `SeatsBusy`.
///
/// Who holds rows of accounts must not wait here: the holder of the lock may wait for those rows.
pub async fn lock(tx: &mut Tx, instance: InstanceId) -> Result<Option<Licence>, StoreError> {
    let mut sql =
        Sql::new("SELECT seats_max, seats_taken, policy FROM licences WHERE instance_id = $1")
            .bind(instance);
    let lock = tx.dialect().for_update_unless_locked();
    sql.push(lock);
    let found = tx.fetch_optional(sql).await?;
    if found.is_none() && find(tx, instance).await?.is_some() {
        return Err(StoreError::SeatsBusy);
    }
    Ok(found)
}

/// Waits for the licence and locks it. Only for a transaction that holds nothing else.
pub async fn wait(tx: &mut Tx, instance: InstanceId) -> Result<Option<Licence>, StoreError> {
    let mut sql =
        Sql::new("SELECT seats_max, seats_taken, policy FROM licences WHERE instance_id = $1")
            .bind(instance);
    let lock = tx.dialect().for_update();
    sql.push(lock);
    tx.fetch_optional(sql).await
}

/// Keeps a licence, new or changed.
pub async fn set(tx: &mut Tx, instance: InstanceId, licence: Licence) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO licences (instance_id, seats_max, seats_taken, policy) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (instance_id) DO UPDATE SET \
         seats_max = excluded.seats_max, seats_taken = excluded.seats_taken, \
         policy = excluded.policy",
    )
    .bind(instance)
    .bind(licence.seats_max)
    .bind(licence.seats_taken)
    .bind(licence.policy.word());
    tx.execute(sql).await.map(drop)
}

/// Takes the limit away.
pub async fn remove(tx: &mut Tx, instance: InstanceId) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM licences WHERE instance_id = $1");
    tx.execute(sql.bind(instance)).await.map(drop)
}
