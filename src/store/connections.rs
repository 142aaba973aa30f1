//! Connections of an instance.

use super::row::{Row, Stored};
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{
    Connection, ConnectionId, ConnectionSettings, ConnectionStatus, InstanceId, Profile, PushGuard,
    Scope,
};
use serde_json::{Value, json};

impl Record for Connection {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            instance: row.get("instance_id")?,
            kind: row.get("kind")?,
            name: row.get("name")?,
            directory_key: row.get("directory_key")?,
            status: row.get("status")?,
            profile: row.get("profile")?,
            settings: ConnectionSettings::read(row)?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Record for ConnectionSettings {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            scope: row.get("scope")?,
            pick_up: row.get("pick_up")?,
            entering: row.get("entering")?,
            entering_pattern: row.get("entering_pattern")?,
            required: row.get("required")?,
            incomplete: row.get("incomplete")?,
            recreate: row.get("recreate")?,
            delete_after_days: row.get("delete_after_days")?,
            guard: row.get::<Stored<PushGuard>>("guard")?.0,
            mapping_version: row.get("mapping_version")?,
        })
    }
}

/// Keeps a new connection; `Conflict` if the instance has one of this name.
pub async fn insert(
    tx: &mut Tx,
    connection: &Connection,
    name_key: &str,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO connections (instance_id, id, kind, name, name_key, directory_key, status, \
         profile, created_at, scope, mapping_version, pick_up, entering, entering_pattern, required, \
         incomplete, recreate, delete_after_days, guard) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
         $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(connection.instance)
    .bind(connection.id)
    .bind(connection.kind.word())
    .bind(connection.name.as_str())
    .bind(name_key)
    .bind(connection.directory_key.as_str())
    .bind(connection.status.word())
    .bind(connection.profile.word())
    .bind(connection.created_at)
    .bind(connection.settings.scope.word())
    .bind(connection.settings.mapping_version);
    tx.execute(bind_settings(sql, &connection.settings)).await.map(drop)
}

/// Keeps the scope of a connection; its sync groups are rows of [`super::scope`].
pub async fn set_scope(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
    scope: Scope,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE connections SET scope = $3 WHERE instance_id = $1 AND id = $2");
    tx.change_settings(sql.bind(instance).bind(id).bind(scope.word())).await
}

/// Keeps changed settings of a connection; its scope and its mapping have changes of their own.
pub async fn set_settings(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
    settings: &ConnectionSettings,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE connections SET pick_up = $3, entering = $4, entering_pattern = $5, required = $6, \
         incomplete = $7, recreate = $8, delete_after_days = $9, guard = $10 \
         WHERE instance_id = $1 AND id = $2",
    )
    .bind(instance)
    .bind(id);
    tx.change_settings(bind_settings(sql, settings)).await
}

fn bind_settings(sql: Sql, settings: &ConnectionSettings) -> Sql {
    sql.bind(settings.pick_up.word())
        .bind(settings.entering.word())
        .bind(settings.entering_pattern.as_deref())
        .bind(Value::from(settings.required.clone()).to_string())
        .bind(settings.incomplete.word())
        .bind(settings.recreate.word())
        .bind(settings.delete_after_days.days())
        .bind(json!(settings.guard).to_string())
}

/// All connections of an instance, oldest first.
pub async fn list(tx: &mut Tx, instance: InstanceId) -> Result<Vec<Connection>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, name, directory_key, status, profile, created_at, \
         scope, pick_up, entering, entering_pattern, required, incomplete, recreate, delete_after_days, \
         mapping_version, guard \
         FROM connections WHERE instance_id = $1 ORDER BY id",
    );
    tx.fetch_all(sql.bind(instance)).await
}

/// One connection.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
) -> Result<Option<Connection>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, name, directory_key, status, profile, created_at, \
         scope, pick_up, entering, entering_pattern, required, incomplete, recreate, delete_after_days, \
         mapping_version, guard \
         FROM connections WHERE instance_id = $1 AND id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// Enables or pauses a connection.
pub async fn set_status(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
    status: ConnectionStatus,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE connections SET status = $3 WHERE instance_id = $1 AND id = $2")
        .bind(instance)
        .bind(id)
        .bind(status.word());
    tx.change_settings(sql).await
}

/// Keeps whose habits a connection follows.
pub async fn set_profile(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
    profile: Profile,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE connections SET profile = $3 WHERE instance_id = $1 AND id = $2")
        .bind(instance)
        .bind(id)
        .bind(profile.word());
    tx.change_settings(sql).await
}
