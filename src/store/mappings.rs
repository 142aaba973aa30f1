//! The mappings that connections have had, and the accounts that they are about.

use serde_json::Value;

use super::row::{Count, Row};
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{Account, ConnectionId, InstanceId, Mapping, Timestamp};

/// A mapping that a connection has had.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MappingVersion {
    /// Its number, from 1.
    pub version: i64,
    /// The mapping.
    #[serde(rename = "rows")]
    pub mapping: Mapping,
    /// Who saved it.
    pub author: String,
    /// Why, in the author's words or in those of the program.
    pub note: String,
    /// When.
    pub created_at: Timestamp,
}

impl Record for MappingVersion {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.get("version")?,
            mapping: mapping(row)?,
            author: row.get("author")?,
            note: row.get("note")?,
            created_at: row.get("created_at")?,
        })
    }
}

fn mapping(row: &Row<'_>) -> Result<Mapping, StoreError> {
    let text: String = row.get("rows")?;
    serde_json::from_str(&text)
        .map_err(|error| StoreError::Corrupt { column: "rows", reason: error.to_string() })
}

/// The version of the mapping that is in force for a connection; `None` if there is no such connection.
pub async fn in_force(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Option<i64>, StoreError> {
    let sql =
        Sql::new("SELECT mapping_version AS n FROM connections WHERE instance_id = $1 AND id = $2");
    let found = tx.fetch_optional::<Count>(sql.bind(instance).bind(connection)).await?;
    Ok(found.map(|Count(version)| version))
}

/// The newest version that a connection has had; 0 if it has had none.
pub async fn newest(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT COALESCE(MAX(version), 0) AS n FROM mappings \
         WHERE instance_id = $1 AND connection_id = $2",
    );
    let found = tx.fetch_optional::<Count>(sql.bind(instance).bind(connection)).await?;
    Ok(found.map_or(0, |Count(version)| version))
}

/// One version.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    version: i64,
) -> Result<Option<MappingVersion>, StoreError> {
    let sql = Sql::new(
        "SELECT version, rows, author, note, created_at FROM mappings \
         WHERE instance_id = $1 AND connection_id = $2 AND version = $3",
    );
    tx.fetch_optional(sql.bind(instance).bind(connection).bind(version)).await
}

/// The versions of a connection, newest first.
pub async fn list(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    limit: i64,
) -> Result<Vec<MappingVersion>, StoreError> {
    let sql = Sql::new(
        "SELECT version, rows, author, note, created_at FROM mappings \
         WHERE instance_id = $1 AND connection_id = $2 ORDER BY version DESC LIMIT $3",
    );
    tx.fetch_all(sql.bind(instance).bind(connection).bind(limit)).await
}

/// The name of a connection and the mapping that is in force for it.
#[derive(Debug)]
pub struct Mapped {
    /// The name of the connection.
    pub connection: String,
    /// The mapping.
    pub mapping: Mapping,
}

impl Record for Mapped {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { connection: row.get("name")?, mapping: mapping(row)? })
    }
}

/// The mappings in force for the connections of an instance, but for those with the default mapping.
pub async fn all_in_force(tx: &mut Tx, instance: InstanceId) -> Result<Vec<Mapped>, StoreError> {
    let sql = Sql::new(
        "SELECT c.name, m.rows FROM connections c JOIN mappings m ON m.instance_id = c.instance_id \
         AND m.connection_id = c.id AND m.version = c.mapping_version \
         WHERE c.instance_id = $1 ORDER BY c.id",
    );
    tx.fetch_all(sql.bind(instance)).await
}

/// Keeps a new version and puts it in force; `Conflict` if there is one of this number.
pub async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kept: &MappingVersion,
) -> Result<(), StoreError> {
    let rows = serde_json::to_value(&kept.mapping).unwrap_or(Value::Null).to_string();
    let sql = Sql::new(
        "INSERT INTO mappings (instance_id, connection_id, version, rows, author, note, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(instance)
    .bind(connection)
    .bind(kept.version)
    .bind(rows)
    .bind(kept.author.as_str())
    .bind(kept.note.as_str())
    .bind(kept.created_at);
    tx.execute(sql).await?;
    let sql =
        Sql::new("UPDATE connections SET mapping_version = $3 WHERE instance_id = $1 AND id = $2");
    tx.change_settings(sql.bind(instance).bind(connection).bind(kept.version)).await
}

/// Keeps the fields that a mapping made of an account whose row is locked.
pub async fn keep_fields(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE accounts SET fields = $3, version = $4, modified_at = $5 \
         WHERE instance_id = $1 AND id = $2",
    )
    .bind(instance)
    .bind(account.id)
    .bind(Value::from(account.fields.clone()).to_string())
    .bind(account.version)
    .bind(account.modified_at);
    tx.execute(sql).await.map(drop)
}
