//! Where connections are pulled from.

use super::row::{Record, Row, Stored};
use super::{Sql, StoreError, Tx};
use crate::directory::schedule::Schedule;
use crate::directory::{ConnectionId, InstanceId, LastPull, SourceSettings, Timestamp};

/// The source of a connection.
#[derive(Debug, Clone)]
pub struct Source {
    /// The instance.
    pub instance: InstanceId,
    /// The connection.
    pub connection: ConnectionId,
    /// Where it is, and how it is read.
    pub settings: SourceSettings,
    /// The password for it, sealed.
    pub password: Option<String>,
    /// The password that people get who have none in the file, sealed.
    pub account_password: Option<String>,
    /// When it is pulled.
    pub schedule: Option<Schedule>,
    /// When it is pulled next.
    pub next_run_at: Option<Timestamp>,
    /// What the last complete run found.
    pub last: Option<LastPull>,
    /// Counts the changes of what rows are read by, from 1.
    pub revision: i64,
}

impl Record for Source {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            instance: row.get("instance_id")?,
            connection: row.get("connection_id")?,
            settings: row.get::<Stored<SourceSettings>>("settings")?.0,
            password: row.get("password")?,
            account_password: row.get("account_password")?,
            schedule: row.get::<Option<Stored<Schedule>>>("schedule")?.map(|stored| stored.0),
            next_run_at: row.get("next_run_at")?,
            last: row.get::<Option<Stored<LastPull>>>("last")?.map(|stored| stored.0),
            revision: row.get("revision")?,
        })
    }
}

/// Keeps a source, new or changed.
pub async fn keep(tx: &mut Tx, source: &Source) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO sources (instance_id, connection_id, settings, password, account_password, \
         schedule, next_run_at, last, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (instance_id, connection_id) DO UPDATE SET settings = excluded.settings, \
         password = excluded.password, account_password = excluded.account_password, \
         schedule = excluded.schedule, next_run_at = excluded.next_run_at, last = excluded.last, \
         revision = excluded.revision",
    )
    .bind(source.instance)
    .bind(source.connection)
    .bind(serde_json::to_string(&source.settings).ok())
    .bind(source.password.as_deref())
    .bind(source.account_password.as_deref())
    .bind(source.schedule.as_ref().and_then(|schedule| serde_json::to_string(schedule).ok()))
    .bind(source.next_run_at)
    .bind(source.last.as_ref().and_then(|last| serde_json::to_string(last).ok()))
    .bind(source.revision);
    tx.execute(sql).await.map(drop)
}

/// The source of a connection.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Option<Source>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, connection_id, settings, password, account_password, schedule, \
         next_run_at, last, revision FROM sources WHERE instance_id = $1 AND connection_id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(connection)).await
}

/// The sources of all instances whose time has come.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Source>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, connection_id, settings, password, account_password, schedule, \
         next_run_at, last, revision FROM sources WHERE next_run_at IS NOT NULL \
         AND next_run_at <= $1 ORDER BY next_run_at LIMIT $2",
    );
    tx.fetch_all(sql.bind(now).bind(limit)).await
}

/// Keeps when a source is pulled next; whether nobody else has moved it on meanwhile.
pub async fn move_on(
    tx: &mut Tx,
    source: &Source,
    next: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "UPDATE sources SET next_run_at = $3 WHERE instance_id = $1 AND connection_id = $2 \
         AND next_run_at = $4",
    )
    .bind(source.instance)
    .bind(source.connection)
    .bind(next)
    .bind(source.next_run_at);
    Ok(tx.execute(sql).await? > 0)
}

/// Keeps what the last complete run found, unless the settings that its rows were read by have changed since,
/// or somebody has said that the next run is to look at everything.
pub async fn set_last(tx: &mut Tx, source: &Source, last: &LastPull) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE sources SET last = $3 WHERE instance_id = $1 AND connection_id = $2 AND revision = $4",
    )
    .bind(source.instance)
    .bind(source.connection)
    .bind(serde_json::to_string(last).ok())
    .bind(source.revision);
    tx.execute(sql).await.map(drop)
}

/// Makes the next run look at everything, also if one is under way.
pub async fn forget_last(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE sources SET last = NULL, revision = revision + 1 WHERE instance_id = $1 \
         AND connection_id = $2",
    );
    tx.execute(sql.bind(instance).bind(connection)).await.map(drop)
}
