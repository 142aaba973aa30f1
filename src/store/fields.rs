//! The text fields that an instance adds to those of the directory.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{InstanceId, Timestamp};

/// A field that an instance adds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// When it was defined.
    pub created_at: Timestamp,
}

impl Record for Field {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.get("name")?,
            label: row.get("label")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// The fields of an instance, by name.
pub async fn list(tx: &mut Tx, instance: InstanceId) -> Result<Vec<Field>, StoreError> {
    let sql =
        Sql::new("SELECT name, label, created_at FROM fields WHERE instance_id = $1 ORDER BY name");
    tx.fetch_all(sql.bind(instance)).await
}

/// Keeps a field, in the place of one with the same name.
pub async fn keep(tx: &mut Tx, instance: InstanceId, field: &Field) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO fields (instance_id, name, label, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (instance_id, name) DO UPDATE SET label = $3",
    )
    .bind(instance)
    .bind(field.name.as_str())
    .bind(field.label.as_str())
    .bind(field.created_at);
    tx.execute(sql).await.map(drop)
}

/// Removes a field.
pub async fn remove(tx: &mut Tx, instance: InstanceId, name: &str) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM fields WHERE instance_id = $1 AND name = $2");
    tx.execute(sql.bind(instance).bind(name)).await.map(drop)
}
