//! The names that accounts had before: whom an old name meant.

use super::row::{Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{AccountId, Alias, InstanceId, Timestamp};

impl Record for Alias {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            account: row.get("account_id")?,
            name: row.get("name")?,
            since_at: row.get("since_at")?,
            until_at: row.get("until_at")?,
        })
    }
}

/// Keeps a name that an account has no more. One that it had before already is kept as long as it is now.
pub async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    key: &str,
    alias: &Alias,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO account_aliases (instance_id, name_key, account_id, name, since_at, until_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (instance_id, name_key, account_id) \
         DO UPDATE SET name = excluded.name, until_at = excluded.until_at",
    )
    .bind(instance)
    .bind(key)
    .bind(alias.account)
    .bind(alias.name.as_str())
    .bind(alias.since_at)
    .bind(alias.until_at);
    tx.execute(sql).await.map(drop)
}

/// Forgets the oldest names of an account beyond some of the latest.
pub async fn forget_beyond(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
    kept: i64,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "DELETE FROM account_aliases WHERE instance_id = $1 AND account_id = $2 AND name_key NOT IN \
         (SELECT a.name_key FROM account_aliases a WHERE a.instance_id = $1 AND a.account_id = $2 \
         ORDER BY a.until_at DESC, a.name_key LIMIT $3)",
    );
    tx.execute(sql.bind(instance).bind(account).bind(kept)).await.map(drop)
}

/// The names that an account had, the latest first.
pub async fn of_account(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
) -> Result<Vec<Alias>, StoreError> {
    let sql = Sql::new(
        "SELECT account_id, name, since_at, until_at FROM account_aliases WHERE instance_id = $1 \
         AND account_id = $2 ORDER BY until_at DESC, name_key",
    );
    tx.fetch_all(sql.bind(instance).bind(account)).await
}

/// A live account that had one of some names.
#[derive(Debug, Clone)]
pub struct Former {
    /// The folded name that it had.
    pub key: String,
    /// The account.
    pub account: AccountId,
}

impl Record for Former {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { key: row.get("name_key")?, account: row.get("account_id")? })
    }
}

/// The live accounts that had one of some folded names; of several who had the same, the last comes first.
pub async fn holders(
    tx: &mut Tx,
    instance: InstanceId,
    keys: &[&str],
) -> Result<Vec<Former>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT a.name_key, a.account_id FROM account_aliases a JOIN accounts r \
             ON r.instance_id = a.instance_id AND r.id = a.account_id \
             WHERE a.instance_id = $1 AND r.deleted_at IS NULL AND a.name_key IN ",
        )
        .bind(instance);
        sql.push_list(keys.iter().copied()).push(" ORDER BY a.until_at DESC, a.account_id DESC");
        found.extend(tx.fetch_all::<Former>(sql).await?);
    }
    Ok(found)
}

/// Since when an account has had its name: since it lost the one before.
pub async fn last_until(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
) -> Result<Option<Timestamp>, StoreError> {
    Ok(of_account(tx, instance, account).await?.first().map(|alias| alias.until_at))
}
