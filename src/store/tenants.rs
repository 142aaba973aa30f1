//! Customer organisations.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{TenantId, Timestamp};

/// A customer organisation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name; unique without regard to case.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Record for Tenant {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { id: row.get("id")?, name: row.get("name")?, created_at: row.get("created_at")? })
    }
}

/// Keeps a new tenant; `Conflict` if the name is taken.
pub async fn insert(tx: &mut Tx, tenant: &Tenant, name_key: &str) -> Result<(), StoreError> {
    let sql =
        Sql::new("INSERT INTO tenants (id, name, name_key, created_at) VALUES ($1, $2, $3, $4)")
            .bind(tenant.id)
            .bind(tenant.name.as_str())
            .bind(name_key)
            .bind(tenant.created_at);
    tx.execute(sql).await.map(drop)
}

/// All tenants, oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Tenant>, StoreError> {
    tx.fetch_all(Sql::new("SELECT id, name, created_at FROM tenants ORDER BY id")).await
}
