//! Connections of an instance.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{Connection, ConnectionId, ConnectionStatus, InstanceId};

impl Record for Connection {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            instance: row.get("instance_id")?,
            kind: row.get("kind")?,
            name: row.get("name")?,
            directory_key: row.get("directory_key")?,
            status: row.get("status")?,
            profile: row.get("profile")?,
            created_at: row.get("created_at")?,
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
         profile, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(connection.instance)
    .bind(connection.id)
    .bind(connection.kind.word())
    .bind(connection.name.as_str())
    .bind(name_key)
    .bind(connection.directory_key.as_str())
    .bind(connection.status.word())
    .bind(connection.profile.word())
    .bind(connection.created_at);
    tx.execute(sql).await.map(drop)
}

/// All connections of an instance, oldest first.
pub async fn list(tx: &mut Tx, instance: InstanceId) -> Result<Vec<Connection>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, kind, name, directory_key, status, profile, created_at \
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
        "SELECT instance_id, id, kind, name, directory_key, status, profile, created_at \
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
    tx.execute(sql).await.map(drop)
}
