//! What migrations have still to do: a row for each account, in the order in which they are done.

use super::row::{Record, Row};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::migration::{Person, Step, Target};
use crate::directory::{AccountId, ConnectionId, InstanceId, RunId};

/// A step and its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The place, from 0.
    pub position: i64,
    /// The step.
    pub step: Step,
}

impl Record for Placed {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let connection: Option<ConnectionId> = row.get("connection_id")?;
        let target = match (row.get("moves")?, connection) {
            (false, _) => Target::Stays,
            (true, None) => Target::Local,
            (true, Some(id)) => Target::Connection(id),
        };
        let step = Step {
            line: row.get("line")?,
            account: row.get("account_id")?,
            name: row.get("name")?,
            new_name: row.get("new_name")?,
            target,
            circle: row.get("circle")?,
        };
        Ok(Self { position: row.get("position")?, step })
    }
}

/// Keeps all that a migration has to do.
pub async fn insert(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
    steps: &[Step],
) -> Result<(), StoreError> {
    let mut position: i64 = 0;
    for steps in steps.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO migration_lines (instance_id, run_id, position, circle, line, account_id, \
             name, new_name, moves, connection_id) VALUES ",
        );
        sql.push_rows((position..).zip(steps).map(|(position, step)| {
            [
                Bind::from(instance),
                run.into(),
                position.into(),
                Bind::Integer(step.circle),
                step.line.into(),
                step.account.into(),
                step.name.as_str().into(),
                step.new_name.as_deref().into(),
                (step.target != Target::Stays).into(),
                step.target.of(None).into(),
            ]
        }));
        tx.execute(sql).await?;
        position += i64::try_from(steps.len()).unwrap_or(0);
    }
    Ok(())
}

/// The next steps of a migration, with the whole of the circle that the last of them is part of.
pub async fn next(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let sql = Sql::new(
        "SELECT position, circle, line, account_id, name, new_name, moves, connection_id \
         FROM migration_lines WHERE instance_id = $1 AND run_id = $2 ORDER BY position LIMIT $3",
    );
    let mut found: Vec<Placed> = tx.fetch_all(sql.bind(instance).bind(run).bind(limit)).await?;
    let last = found.last().and_then(|last| Some((last.position, last.step.circle?)));
    if let Some((position, circle)) = last {
        let sql = Sql::new(
            "SELECT position, circle, line, account_id, name, new_name, moves, connection_id \
             FROM migration_lines WHERE instance_id = $1 AND run_id = $2 AND position > $3 \
             AND circle = $4 ORDER BY position",
        );
        let sql = sql.bind(instance).bind(run).bind(position).bind(circle);
        found.extend(tx.fetch_all::<Placed>(sql).await?);
    }
    Ok(found)
}

/// Removes the steps up to a place, which are done.
pub async fn remove(
    tx: &mut Tx,
    instance: InstanceId,
    run: RunId,
    position: i64,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "DELETE FROM migration_lines WHERE instance_id = $1 AND run_id = $2 AND position <= $3",
    );
    tx.execute(sql.bind(instance).bind(run).bind(position)).await.map(drop)
}

/// A live account and its folded user name.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The folded user name.
    pub key: String,
    /// The account.
    pub person: Person,
}

impl Record for Keyed {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let person = Person {
            id: row.get("id")?,
            user_name: row.get("user_name")?,
            connection: row.get("connection_id")?,
            protected: row.get("protected")?,
        };
        Ok(Self { key: row.get("user_name_key")?, person })
    }
}

/// The live accounts that have one of some folded user names.
pub async fn people(
    tx: &mut Tx,
    instance: InstanceId,
    keys: &[&str],
) -> Result<Vec<Keyed>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT r.id, r.user_name, r.user_name_key, r.connection_id, r.protected \
             FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NULL \
             AND r.user_name_key IN ",
        )
        .bind(instance);
        sql.push_list(keys.iter().copied());
        found.extend(tx.fetch_all::<Keyed>(sql).await?);
    }
    Ok(found)
}

/// The same of some ids.
pub async fn people_of(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Keyed>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT r.id, r.user_name, r.user_name_key, r.connection_id, r.protected \
             FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NULL AND r.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Keyed>(sql).await?);
    }
    Ok(found)
}

/// Takes the name of an account aside within a transaction that gives it another one: whoever wants the
/// name can have it meanwhile.
pub async fn put_aside(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE accounts SET user_name_key = $3 WHERE instance_id = $1 AND id = $2");
    // No client can send this: a control character begins it.
    let aside = format!("\u{1}{account}");
    tx.execute(sql.bind(instance).bind(account).bind(aside)).await.map(drop)
}
