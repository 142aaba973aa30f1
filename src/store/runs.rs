//! Runs: work that goes through all people of an instance in steps. Each step is one transaction and
//! keeps how far the run has got, so that whoever finds it unfinished goes on from there.

use uuid::Uuid;

use super::row::{Record, Row, Stored};
use super::{Sql, StoreError, Tx};
use crate::directory::connection::words;
use crate::directory::{ConnectionId, InstanceId, Pull, RunId, Timestamp};

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
        /// Fetches people from a source and applies what it says of them.
        Pull = "pull",
        /// The same, and takes everything back.
        Rehearsal = "rehearsal",
    }
}

words! {
    /// How far a run is.
    RunState {
        /// There are people left.
        Open = "open",
        /// The guard stopped it; an administrator lets it go on or drops it.
        Held = "held",
        /// It has gone through all of them.
        Done = "done",
        /// It could not go on; the reason is kept with it.
        Failed = "failed",
        /// An administrator ended it.
        Cancelled = "cancelled",
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
    /// Who works on it: an id of its own for each time that it is taken up.
    pub holder: Option<Uuid>,
    /// What a pull has come to, and has to remember.
    pub pull: Option<Pull>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Run {
    /// What a pull has come to so far.
    #[must_use]
    pub fn pulled(&self) -> Pull {
        self.pull.clone().unwrap_or_default()
    }
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
            holder: row.get("holder")?,
            pull: row.get::<Option<Stored<Pull>>>("detail")?.map(|pull| pull.0),
            started_at: row.get("started_at")?,
            ended_at: row.get("ended_at")?,
        })
    }
}

/// Keeps a new run; `Conflict` if it is a pull and another one of its connection has not ended.
pub async fn insert(tx: &mut Tx, run: &Run) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO runs (instance_id, id, kind, connection_id, state, author, checkpoint, seen, \
         changed, leased_until, started_at, ended_at, holder, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
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
    .bind(run.ended_at)
    .bind(run.holder)
    .bind(json(run.pull.as_ref()));
    match tx.execute(sql).await? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

fn json<T: serde::Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

/// One run.
pub async fn find(tx: &mut Tx, instance: InstanceId, id: RunId) -> Result<Option<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE instance_id = $1 AND id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// The same, locked.
pub async fn lock(tx: &mut Tx, instance: InstanceId, id: RunId) -> Result<Option<Run>, StoreError> {
    let mut sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE instance_id = $1 AND id = $2",
    )
    .bind(instance)
    .bind(id);
    let for_update = tx.dialect().for_update();
    sql.push(for_update);
    tx.fetch_optional(sql).await
}

/// The latest runs of an instance, newest first.
pub async fn list(tx: &mut Tx, instance: InstanceId, limit: i64) -> Result<Vec<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE instance_id = $1 \
         ORDER BY id DESC LIMIT $2",
    );
    tx.fetch_all(sql.bind(instance).bind(limit)).await
}

/// The unfinished runs of all instances that nobody works on: those of sources, or all others.
pub async fn left_alone(
    tx: &mut Tx,
    now: Timestamp,
    pulls: bool,
    limit: i64,
) -> Result<Vec<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE ended_at IS NULL \
         AND state = 'open' AND leased_until <= $1 AND (kind IN ('pull', 'rehearsal')) = $2 \
         ORDER BY leased_until, id LIMIT $3",
    );
    tx.fetch_all(sql.bind(now).bind(pulls).bind(limit)).await
}

/// The pull of a connection that has not ended, if there is one.
pub async fn pull_under_way(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Option<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE instance_id = $1 \
         AND connection_id = $2 AND kind = 'pull' AND ended_at IS NULL",
    );
    tx.fetch_optional(sql.bind(instance).bind(connection)).await
}

/// The latest pulls and rehearsals of a connection, newest first.
pub async fn pulls(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    limit: i64,
) -> Result<Vec<Run>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, connection_id, state, author, checkpoint, seen, changed, \
         leased_until, started_at, ended_at, holder, detail FROM runs WHERE instance_id = $1 \
         AND connection_id = $2 AND kind IN ('pull', 'rehearsal') ORDER BY id DESC LIMIT $3",
    );
    tx.fetch_all(sql.bind(instance).bind(connection).bind(limit)).await
}

/// Takes a run for a while, if nobody works on it; whether it was had.
pub async fn lease(
    tx: &mut Tx,
    run: &Run,
    holder: Uuid,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "UPDATE runs SET leased_until = $3, holder = $5 WHERE instance_id = $1 AND id = $2 \
         AND ended_at IS NULL AND state = 'open' AND leased_until <= $4",
    )
    .bind(run.instance)
    .bind(run.id)
    .bind(until)
    .bind(now)
    .bind(holder);
    Ok(tx.execute(sql).await? > 0)
}

/// Keeps how far a run has got, and for how long it belongs to its holder; `Stale` if somebody else has
/// taken it on meanwhile, or has ended it.
pub async fn advance(tx: &mut Tx, before: &Run, after: &Run) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE runs SET state = $3, checkpoint = $4, seen = $5, changed = $6, leased_until = $7, \
         ended_at = $8, detail = $9 WHERE instance_id = $1 AND id = $2 AND ended_at IS NULL \
         AND seen = $10 AND holder = $11",
    )
    .bind(before.instance)
    .bind(before.id)
    .bind(after.state.word())
    .bind(after.checkpoint)
    .bind(after.seen)
    .bind(after.changed)
    .bind(after.leased_until)
    .bind(after.ended_at)
    .bind(json(after.pull.as_ref()))
    .bind(before.seen)
    .bind(before.holder);
    match tx.execute(sql).await? {
        0 => Err(StoreError::Stale),
        _ => Ok(()),
    }
}

/// Keeps what an administrator decides about a run that is locked: whoever worked on it has lost it.
pub async fn decide(tx: &mut Tx, run: &Run) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE runs SET state = $3, leased_until = $4, ended_at = $5, detail = $6, holder = $7 \
         WHERE instance_id = $1 AND id = $2",
    )
    .bind(run.instance)
    .bind(run.id)
    .bind(run.state.word())
    .bind(run.leased_until)
    .bind(run.ended_at)
    .bind(json(run.pull.as_ref()))
    .bind(run.holder);
    tx.execute(sql).await.map(drop)
}
