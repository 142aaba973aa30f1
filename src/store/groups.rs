//! Groups.

use serde_json::Value;

use super::query::Table;
use super::row::{Record, Row};
use super::sql::Bind;
use super::{Sql, StoreError, Tx};
use crate::directory::{Group, InstanceId};
use crate::scim::fold::fold;

/// How groups are read.
pub const TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.display_name, r.external_id, r.entered, r.document, \
             r.version, r.created_at, r.modified_at, r.deleted_at, r.deletion_held_at, \
             r.removals_held_at \
             FROM groups r WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
    count: "SELECT COUNT(*) AS n FROM groups r WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
};

/// How deleted groups are read.
pub const TOMBSTONE_TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.display_name, r.external_id, r.entered, r.document, \
             r.version, r.created_at, r.modified_at, r.deleted_at, r.deletion_held_at, \
             r.removals_held_at \
             FROM groups r WHERE r.instance_id = $1 AND r.deleted_at IS NOT NULL",
    count: "SELECT COUNT(*) AS n FROM groups r WHERE r.instance_id = $1 \
            AND r.deleted_at IS NOT NULL",
};

impl Record for Group {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            connection: row.get("connection_id")?,
            document: row.get("document")?,
            display_name: row.get("display_name")?,
            entered: row.get("entered")?,
            external_id: row.get("external_id")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            modified_at: row.get("modified_at")?,
            deleted_at: row.get("deleted_at")?,
            deletion_held_at: row.get("deletion_held_at")?,
            removals_held_at: row.get("removals_held_at")?,
        })
    }
}

/// Keeps a new group, unless a live one holds its name: then nothing is kept and the answer is
/// `false`. The transaction stays usable.
pub async fn insert(tx: &mut Tx, instance: InstanceId, group: &Group) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO groups (instance_id, id, connection_id, display_name, display_name_key, \
         external_id, document, version, created_at, modified_at, deleted_at, entered, \
         deletion_held_at, removals_held_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    );
    for value in columns(instance, group) {
        sql = sql.bind(value);
    }
    Ok(tx.execute(sql).await? > 0)
}

/// Keeps a changed group; `Conflict` if another live one holds its name, `Stale` if the group is no
/// longer in the version before.
pub async fn update(
    tx: &mut Tx,
    instance: InstanceId,
    before: &Group,
    group: &Group,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE groups SET connection_id = $3, display_name = $4, display_name_key = $5, \
         external_id = $6, document = $7, version = $8, created_at = $9, modified_at = $10, \
         deleted_at = $11, entered = $12, deletion_held_at = $13, removals_held_at = $14 \
         WHERE instance_id = $1 AND id = $2 AND version = $15",
    );
    for value in columns(instance, group) {
        sql = sql.bind(value);
    }
    match tx.execute(sql.bind(before.version)).await? {
        0 => Err(StoreError::Stale),
        _ => Ok(()),
    }
}

/// The values of a group's columns, in the order of `insert` and `update`.
fn columns(instance: InstanceId, group: &Group) -> [Bind; 14] {
    [
        instance.into(),
        group.id.into(),
        group.connection.into(),
        group.display_name.as_str().into(),
        fold(&group.display_name).into_owned().into(),
        group.external_id.as_deref().into(),
        Value::from(group.document.clone()).to_string().into(),
        group.version.into(),
        group.created_at.into(),
        group.modified_at.into(),
        group.deleted_at.into(),
        group.entered.into(),
        group.deletion_held_at.into(),
        group.removals_held_at.into(),
    ]
}
