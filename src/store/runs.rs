//! Runs: work that goes through all people of an instance in steps. Each step is one transaction and
//! keeps how far the run has got, so that whoever finds it unfinished goes on from there.

use uuid::Uuid;

use super::row::{Record, Row};
use super::{Sql, StoreError, Tx};
use crate::directory::connection::words;
use crate::directory::{ConnectionId, InstanceId, RunId, Timestamp};

words! {
    /// What a run does with each person or group.
    RunKind {
        /// Asks again whether people are in the scope of their connection.
        Scope = "scope",
        /// Makes the fields of accounts anew by the mapping in force.
        Mapping = "mapping",
        /// Asks again which groups enter the directory.
        Groups = "groups",
        /// Asks again which required attributes accounts lack.
        Required = "required",
    }
}

words! {
    /// How far a run is.
    RunState {
        /// There are people left.
        Open = "open",
        /// It has gone through all of them.
        Done = "done",
    }
}

/// A run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Run {
    /// Its id, which the audit rows that it causes carry.
    pub id: RunId,
    /// Its instance.
    pub instance: InstanceId,
    /// What it does.
    pub kind: RunKind,
    /// The connection whose people it goes through.
    pub connection: ConnectionId,
    /// How far it is.
    pub state: RunState,
    /// Who started it.
    pub author: String,
    /// The last person or group that it has seen; they are taken in the order of their ids.
    pub checkpoint: Option<Uuid>,
    /// How many it has seen.
    pub seen: i64,
    /// How many of them it changed.
    pub changed: i64,
    /// Until when somebody works on it.
    pub leased_until: Timestamp,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Record for Run {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            instance: row.get("instance_id")?,
            kind: row.get("kind")?,
            connection: row.get("connection_id")?,
            state: row.get("state")?,
            author: row.get("author")?,
            checkpoint: row.get("checkpoint")?,
            seen: row.get("seen")?,
            changed: row.get("changed")?,
            leased_until: row.get("leased_until")?,
            started_at: row.get("started_at")?,
            ended_at: row.get("ended_at")?,
        })
    }
}

/// Keeps a new run.
pub async fn insert(tx: &mut Tx, run: &Run) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO runs (instance_id, id, kind, connection_id, state, author, checkpoint, seen, \
         changed, leased_until, started_at, ended_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(run.instance)
    .bind(run.id)
    .bind(run.kind.word())
    .bind(run.connection)
    .bind(run.state.word())
    .bind(run.author.as_str())
    .bind(run.checkpoint)
    .bind(run.seen)
    .bind(run.changed)
    .bind(run.leased_until)
    .bind(run.started_at)
    .bind(run.ended_at);
    tx.execute(sql).await.map(drop)
}

/// One run.
pub async fn find(tx: &mut Tx, instance: InstanceId, id: RunId) -> Result<Option<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at FROM runs WHERE instance_id = $1 AND id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// The latest runs of an instance, newest first.
pub async fn list(tx: &mut Tx, instance: InstanceId, limit: i64) -> Result<Vec<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at FROM runs WHERE instance_id = $1 \
         ORDER BY id DESC LIMIT $2",
    );
    tx.fetch_all(sql.bind(instance).bind(limit)).await
}

/// The unfinished runs of all instances that nobody works on.
pub async fn left_alone(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at FROM runs WHERE ended_at IS NULL \
         AND leased_until <= $1 ORDER BY leased_until, id LIMIT $2",
    );
    tx.fetch_all(sql.bind(now).bind(limit)).await
}

/// Takes a run for a while, if nobody works on it; whether it was had.
pub async fn lease(
    tx: &mut Tx,
    run: &Run,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "UPDATE runs SET leased_until = $3 WHERE instance_id = $1 AND id = $2 \
         AND ended_at IS NULL AND leased_until <= $4",
    )
    .bind(run.instance)
    .bind(run.id)
    .bind(until)
    .bind(now);
    Ok(tx.execute(sql).await? > 0)
}

/// Keeps how far a run has got; `Stale` if somebody else has taken it on meanwhile.
pub async fn advance(tx: &mut Tx, before: &Run, after: &Run) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE runs SET state = $3, checkpoint = $4, seen = $5, changed = $6, leased_until = $7, \
         ended_at = $8 WHERE instance_id = $1 AND id = $2 AND ended_at IS NULL AND seen = $9 \
         AND leased_until = $10",
    )
    .bind(before.instance)
    .bind(before.id)
    .bind(after.state.word())
    .bind(after.checkpoint)
    .bind(after.seen)
    .bind(after.changed)
    .bind(after.leased_until)
    .bind(after.ended_at)
    .bind(before.seen)
    .bind(before.leased_until);
    match tx.execute(sql).await? {
        0 => Err(StoreError::Stale),
        _ => Ok(()),
    }
}
