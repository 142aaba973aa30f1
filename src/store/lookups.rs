//! Look-up tables: what they have, and what they were asked for in vain.

use std::collections::BTreeMap;

use super::row::{Count, Row};
use super::sql::Bind;
use super::{BATCH_MAX, Record, Sql, StoreError, Tx};
use crate::directory::{AccountId, InstanceId, Timestamp};
use crate::scim::fold::fold;

/// An entry of a look-up table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// What is looked up, in any case.
    pub value: String,
    /// What stands in its place.
    pub result: String,
}

impl Record for Entry {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { value: row.get("value")?, result: row.get("result")? })
    }
}

impl Entry {
    /// How its value is compared.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.value)
    }
}

/// How values are compared: without regard to case and to the blanks at both ends, which nobody sees.
#[must_use]
pub fn key(value: &str) -> String {
    fold(value.trim()).into_owned()
}

/// A look-up table in numbers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableSize {
    /// Its name.
    pub name: String,
    /// The entries that it has.
    pub entries: i64,
}

impl Record for TableSize {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { name: row.get("name")?, entries: row.get("n")? })
    }
}

/// A value that a table does not have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unmatched {
    /// The name of the table.
    pub table: String,
    /// The value, as one of the accounts has it.
    pub value: String,
    /// The live accounts that have it.
    pub accounts: i64,
    /// Since when.
    pub since: Timestamp,
}

impl Record for Unmatched {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            table: row.get("name")?,
            value: row.get("value")?,
            accounts: row.get("n")?,
            since: row.get("since")?,
        })
    }
}

/// The tables of an instance that have entries, by name.
pub async fn tables(tx: &mut Tx, instance: InstanceId) -> Result<Vec<TableSize>, StoreError> {
    let sql = Sql::new(
        "SELECT name, COUNT(*) AS n FROM lookups WHERE instance_id = $1 GROUP BY name ORDER BY name",
    );
    tx.fetch_all(sql.bind(instance)).await
}

/// How many entries a table has.
pub async fn count(tx: &mut Tx, instance: InstanceId, table: &str) -> Result<i64, StoreError> {
    let sql = Sql::new("SELECT COUNT(*) AS n FROM lookups WHERE instance_id = $1 AND name = $2");
    let found = tx.fetch_optional::<Count>(sql.bind(instance).bind(table)).await?;
    Ok(found.map_or(0, |Count(count)| count))
}

/// The entries of a table, by value.
pub async fn entries(
    tx: &mut Tx,
    instance: InstanceId,
    table: &str,
) -> Result<Vec<Entry>, StoreError> {
    let sql = Sql::new(
        "SELECT value, result FROM lookups WHERE instance_id = $1 AND name = $2 ORDER BY value_key",
    );
    tx.fetch_all(sql.bind(instance).bind(table)).await
}

/// The entries of a table with these keys.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    table: &str,
    keys: &[String],
) -> Result<Vec<Entry>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT value, result FROM lookups WHERE instance_id = $1 AND name = $2 \
             AND value_key IN ",
        )
        .bind(instance)
        .bind(table);
        sql.push_list(keys.iter().map(String::as_str));
        found.extend(tx.fetch_all::<Entry>(sql).await?);
    }
    Ok(found)
}

/// Keeps entries in the place of those with the same keys, and forgets that they were missed. No two may
/// have the same key.
pub async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    table: &str,
    entries: &[Entry],
) -> Result<(), StoreError> {
    for entries in entries.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("INSERT INTO lookups (instance_id, name, value_key, value, result) VALUES ");
        sql.push_rows(entries.iter().map(|entry| -> [Bind; 5] {
            let (value, result) = (entry.value.as_str().into(), entry.result.as_str().into());
            [instance.into(), table.into(), entry.key().into(), value, result]
        }));
        sql.push(
            " ON CONFLICT (instance_id, name, value_key) \
             DO UPDATE SET value = excluded.value, result = excluded.result",
        );
        tx.execute(sql).await?;
        let mut sql = Sql::new(
            "DELETE FROM lookup_misses WHERE instance_id = $1 AND name = $2 AND value_key IN ",
        )
        .bind(instance)
        .bind(table);
        sql.push_list(entries.iter().map(Entry::key));
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Removes the entries with these keys.
pub async fn remove(
    tx: &mut Tx,
    instance: InstanceId,
    table: &str,
    keys: &[String],
) -> Result<(), StoreError> {
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("DELETE FROM lookups WHERE instance_id = $1 AND name = $2 AND value_key IN ")
                .bind(instance)
                .bind(table);
        sql.push_list(keys.iter().map(String::as_str));
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The values that tables do not have, with the live accounts that have them, by table and value.
pub async fn unmatched(
    tx: &mut Tx,
    instance: InstanceId,
    limit: i64,
) -> Result<Vec<Unmatched>, StoreError> {
    // Who missed a value while it was put into the table has a row here all the same.
    let sql = Sql::new(
        "SELECT s.name, MIN(s.value) AS value, COUNT(*) AS n, MIN(s.missed_at) AS since \
         FROM lookup_misses s JOIN accounts a ON a.instance_id = s.instance_id \
         AND a.id = s.account_id AND a.deleted_at IS NULL LEFT JOIN lookups l \
         ON l.instance_id = s.instance_id AND l.name = s.name AND l.value_key = s.value_key \
         WHERE s.instance_id = $1 AND l.name IS NULL GROUP BY s.name, s.value_key \
         ORDER BY s.name, s.value_key LIMIT $2",
    );
    tx.fetch_all(sql.bind(instance).bind(limit)).await
}

struct Miss {
    account: AccountId,
    table: String,
    key: String,
}

impl Record for Miss {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            account: row.get("account_id")?,
            table: row.get("name")?,
            key: row.get("value_key")?,
        })
    }
}

/// What was looked up in vain for some accounts, in the place of what was noted of them before: the
/// table and the value.
pub async fn settle_misses(
    tx: &mut Tx,
    instance: InstanceId,
    at: Timestamp,
    missed: &[(AccountId, Vec<(String, String)>)],
) -> Result<(), StoreError> {
    for missed in missed.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT account_id, name, value_key FROM lookup_misses \
             WHERE instance_id = $1 AND account_id IN ",
        )
        .bind(instance);
        sql.push_list(missed.iter().map(|(account, _)| *account));
        let mut noted: BTreeMap<AccountId, Vec<(String, String)>> = BTreeMap::new();
        for Miss { account, table, key } in tx.fetch_all::<Miss>(sql).await? {
            noted.entry(account).or_default().push((table, key));
        }
        let (mut stale, mut fresh) = (Vec::new(), Vec::<[Bind; 6]>::new());
        for (account, misses) in missed {
            let mut is: BTreeMap<(String, String), &str> = BTreeMap::new();
            for (table, value) in misses {
                is.insert((table.clone(), key(value)), value.trim());
            }
            let was = noted.remove(account).unwrap_or_default();
            if was.len() == is.len() && was.iter().all(|one| is.contains_key(one)) {
                continue;
            }
            if !was.is_empty() {
                stale.push(*account);
            }
            fresh.extend(is.into_iter().map(|((table, key), value)| -> [Bind; 6] {
                let (table, key) = (table.into(), key.into());
                [instance.into(), (*account).into(), table, key, value.into(), at.into()]
            }));
        }
        if !stale.is_empty() {
            let mut sql =
                Sql::new("DELETE FROM lookup_misses WHERE instance_id = $1 AND account_id IN ")
                    .bind(instance);
            sql.push_list(stale);
            tx.execute(sql).await?;
        }
        for rows in fresh.chunks(BATCH_MAX) {
            let mut sql = Sql::new(
                "INSERT INTO lookup_misses (instance_id, account_id, name, value_key, value, \
                 missed_at) VALUES ",
            );
            sql.push_rows(rows.iter().cloned());
            tx.execute(sql).await?;
        }
    }
    Ok(())
}
