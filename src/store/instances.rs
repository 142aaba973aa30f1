//! Instances: the intranet directories of the tenants.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{InstanceId, Retention, TenantId, Timestamp};

/// One intranet directory of a tenant.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The tenant that owns it.
    pub tenant: TenantId,
    /// The name of that tenant.
    pub tenant_name: String,
    /// Its name; unique in the tenant without regard to case.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Record for Instance {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            tenant: row.get("tenant_id")?,
            tenant_name: row.get("tenant_name")?,
            name: row.get("name")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// Keeps a new instance; `Conflict` if the tenant has one of this name.
pub async fn insert(tx: &mut Tx, instance: &Instance, name_key: &str) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO instances (id, tenant_id, name, name_key, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(instance.id)
    .bind(instance.tenant)
    .bind(instance.name.as_str())
    .bind(name_key)
    .bind(instance.created_at);
    tx.execute(sql).await.map(drop)
}

/// All instances of all tenants, oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Instance>, StoreError> {
    tx.fetch_all(Sql::new(
        "SELECT i.id, i.tenant_id, t.name AS tenant_name, i.name, i.created_at \
         FROM instances i JOIN tenants t ON t.id = i.tenant_id ORDER BY i.id",
    ))
    .await
}

struct Kept(Retention);

impl Record for Kept {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("retention_days").map(Self)
    }
}

/// How long an instance keeps what was deleted.
pub async fn retention(tx: &mut Tx, instance: InstanceId) -> Result<Retention, StoreError> {
    let sql = Sql::new("SELECT retention_days FROM instances WHERE id = $1").bind(instance);
    let kept = tx.fetch_optional::<Kept>(sql).await?;
    Ok(kept.map(|Kept(kept)| kept).unwrap_or_default())
}

/// Sets how long an instance keeps what was deleted.
pub async fn set_retention(
    tx: &mut Tx,
    instance: InstanceId,
    kept: Retention,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE instances SET retention_days = $2 WHERE id = $1");
    tx.execute(sql.bind(instance).bind(kept.days())).await.map(drop)
}
