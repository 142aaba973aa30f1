//! What runs came to: one row for each person that changed or was refused.

use serde_json::Value;

use super::row::{Count, Record, Row, Stored};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::source::Outcome;
use crate::directory::{AccountId, InstanceId, RunId};

/// One line of a report.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Item {
    /// What happened.
    pub outcome: Outcome,
    /// The line of the file on which the row begins, from 1; `None` for who is missing from the file.
    pub line: Option<i64>,
    /// The user name, as far as there is one.
    pub name: String,
    /// The account, if there is one.
    pub account: Option<AccountId>,
    /// What changed, or why nothing did.
    pub detail: Option<Value>,
}

impl Record for Item {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            outcome: row.get("outcome")?,
            line: row.get("line")?,
            name: row.get("name")?,
            account: row.get("account_id")?,
            detail: row.get::<Option<Stored<Value>>>("detail")?.map(|detail| detail.0),
        })
    }
}

/// Appends lines to the report of a run, behind the `position` that it has already.
pub async fn append(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
    position: i64,
    items: &[Item],
) -> Result<(), StoreError> {
    let numbered: Vec<(i64, &Item)> = (position..).zip(items).collect();
    for items in numbered.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO run_items (instance_id, run_id, position, outcome, line, name, account_id, \
             detail) VALUES ",
        );
        sql.push_rows(items.iter().map(|(position, item)| {
            [
                Bind::from(instance),
                run.into(),
                (*position).into(),
                item.outcome.word().into(),
                Bind::Integer(item.line),
                item.name.as_str().into(),
                item.account.into(),
                item.detail.as_ref().map(Value::to_string).into(),
            ]
        }));
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Where the next line of the report of a run goes.
pub async fn next_position(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT COALESCE(MAX(position) + 1, 0) AS n FROM run_items WHERE instance_id = $1 \
         AND run_id = $2",
    );
    let next = tx.fetch_optional::<Count>(sql.bind(instance).bind(run)).await?;
    Ok(next.map_or(0, |next| next.0))
}

/// Lines of the report of a run, in order, from the one at `from` on.
pub async fn page(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
    from: i64,
    limit: i64,
) -> Result<Vec<Item>, StoreError> {
    let sql = Sql::new(
        "SELECT outcome, line, name, account_id, detail FROM run_items WHERE instance_id = $1 \
         AND run_id = $2 AND position >= $3 ORDER BY position LIMIT $4",
    );
    tx.fetch_all(sql.bind(instance).bind(run).bind(from).bind(limit)).await
}

/// Takes the name and the details of an account out of all reports; how many lines said something of it.
pub async fn erase(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
) -> Result<u64, StoreError> {
    let sql = Sql::new(
        "UPDATE run_items SET name = '', detail = NULL WHERE instance_id = $1 AND account_id = $2 \
         AND (name <> '' OR detail IS NOT NULL)",
    );
    tx.execute(sql.bind(instance).bind(account)).await
}
