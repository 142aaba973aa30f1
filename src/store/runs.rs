//! Runs: work that goes through all people of an instance in steps. Each step is one transaction and
//! keeps how far the run has got, so that whoever finds it unfinished goes on from there.

use serde_json::Value;
use uuid::Uuid;

use super::row::{Record, Row, Stored};
use super::{Sql, StoreError, Tx};
use crate::directory::connection::words;
use crate::directory::source::Stage;
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
        /// Takes back what happened to a person, in a run or by a connection.
        Undo = "undo",
        /// Fetches people from a source and applies what it says of them.
        Pull = "pull",
        /// The same, and takes everything back.
        Rehearsal = "rehearsal",
        /// Gives accounts other names and other directories.
        Migration = "migration",
    }
}

impl RunKind {
    /// Whether it fetches people from a source.
    #[must_use]
    pub fn is_pull(self) -> bool {
        matches!(self, Self::Pull | Self::Rehearsal)
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
    /// The connection whose people it goes through; `None` if it is not about one connection.
    pub connection: Option<ConnectionId>,
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
    /// What a run of another kind was told to do, and has to remember.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Value>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Run {
    /// The connection of a run that goes through the people of one.
    pub fn own_connection(&self) -> Result<ConnectionId, StoreError> {
        let reason = || format!("the run {} of kind {} has none", self.id, self.kind);
        self.connection
            .ok_or_else(|| StoreError::Corrupt { column: "connection_id", reason: reason() })
    }

    /// What a run was told to do.
    pub fn told<T: serde::de::DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_value(self.task.clone().unwrap_or_default())
            .map_err(|error| StoreError::Corrupt { column: "detail", reason: error.to_string() })
    }

    /// What a pull has come to so far.
    #[must_use]
    pub fn pulled(&self) -> Pull {
        self.pull.clone().unwrap_or_default()
    }

    /// The pace of a pull that is applying rows; before that and behind it nothing can be said.
    #[must_use]
    pub fn pace(&self, now: Timestamp) -> Option<Pace> {
        let pull = self.pull.as_ref().filter(|pull| pull.stage == Stage::Applying)?;
        let ms = now.0.saturating_sub(self.started_at.0);
        if self.state != RunState::Open || pull.done <= 0 || ms <= 0 {
            return None;
        }
        let left = pull.rows.saturating_sub(pull.done).max(0);
        let whole = i128::from(left) * i128::from(ms);
        let per = i128::from(pull.done) * 1000;
        Some(Pace {
            rows_per_s: pull.done.saturating_mul(1000) / ms,
            remaining_s: i64::try_from((whole + per - 1) / per).unwrap_or(i64::MAX),
        })
    }
}

/// How fast a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Pace {
    /// The rows that it has done in a second, on average since it began.
    pub rows_per_s: i64,
    /// The seconds that the other rows will take, rounded up.
    pub remaining_s: i64,
}

impl Record for Run {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let kind: RunKind = row.get("kind")?;
        let (pull, task) = if kind.is_pull() {
            (row.get::<Option<Stored<Pull>>>("detail")?.map(|pull| pull.0), None)
        } else {
            (None, row.get::<Option<Stored<Value>>>("detail")?.map(|task| task.0))
        };
        Ok(Self {
            id: row.get("id")?,
            instance: row.get("instance_id")?,
            kind,
            connection: row.get("connection_id")?,
            state: row.get("state")?,
            author: row.get("author")?,
            checkpoint: row.get("checkpoint")?,
            seen: row.get("seen")?,
            changed: row.get("changed")?,
            leased_until: row.get("leased_until")?,
            holder: row.get("holder")?,
            pull,
            task,
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
    .bind(detail(run));
    match tx.execute(sql).await? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

fn detail(run: &Run) -> Option<String> {
    match &run.pull {
        Some(pull) => serde_json::to_string(pull).ok(),
        None => run.task.as_ref().map(Value::to_string),
    }
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
    .bind(detail(after))
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
    .bind(detail(run))
    .bind(run.holder);
    tx.execute(sql).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn run(state: RunState, at: Stage, rows: i64, done: i64) -> Run {
        Run {
            id: RunId(Uuid::nil()),
            instance: InstanceId(Uuid::nil()),
            kind: RunKind::Pull,
            connection: None,
            state,
            author: "test".to_owned(),
            checkpoint: None,
            seen: 0,
            changed: 0,
            leased_until: Timestamp(0),
            holder: None,
            pull: Some(Pull { stage: at, rows, done, ..Pull::default() }),
            task: None,
            started_at: Timestamp(1000),
            ended_at: None,
        }
    }

    #[test]
    fn the_pace_is_told_only_while_rows_are_applied() {
        //  state, stage, rows, done, clock; rows per second and the seconds that remain
        let cases = [
            (RunState::Open, Stage::Applying, 1000, 250, 3000, Some((125, 6))),
            (RunState::Open, Stage::Applying, 1000, 1, 3000, Some((0, 1998))),
            (RunState::Open, Stage::Applying, 1000, 999, 3000, Some((499, 1))),
            (RunState::Open, Stage::Applying, 1000, 1000, 3000, Some((500, 0))),
            (RunState::Open, Stage::Applying, i64::MAX, 1, i64::MAX, Some((0, i64::MAX))),
            (RunState::Open, Stage::Applying, 1000, 0, 3000, None),
            (RunState::Open, Stage::Applying, 1000, 250, 1000, None), // the clock stands
            (RunState::Open, Stage::Applying, 1000, 250, 0, None),    // the clock was set back
            (RunState::Open, Stage::Checking, 1000, 250, 3000, None),
            (RunState::Open, Stage::Suspending, 1000, 1000, 3000, None),
            (RunState::Held, Stage::Applying, 1000, 250, 3000, None),
            (RunState::Done, Stage::Applying, 1000, 1000, 3000, None),
        ];
        for (state, stage, rows, done, now, expected) in cases {
            let pace = run(state, stage, rows, done).pace(Timestamp(now));
            let pace = pace.map(|pace| (pace.rows_per_s, pace.remaining_s));
            assert_eq!(pace, expected, "{state} {stage}, {done} of {rows} at {now}");
        }
    }
}
