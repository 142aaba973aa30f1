//! The secrets that API keys are signed with.
//!
//! They only keep noise away from the database: a key is good because the hash of its token stands in
//! `api_keys`, so whoever reads this table still cannot make one.

use uuid::Uuid;

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::Timestamp;

/// One signing secret, in Base64; the header of a token names it.
#[derive(Clone)]
pub struct SigningKey {
    /// Its id.
    pub id: Uuid,
    /// The secret, in Base64.
    pub secret: String,
}

impl Record for SigningKey {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { id: row.get("id")?, secret: row.get("secret")? })
    }
}

/// Keeps a new secret.
pub async fn insert(tx: &mut Tx, key: &SigningKey, at: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new("INSERT INTO signing_keys (id, secret, created_at) VALUES ($1, $2, $3)")
        .bind(key.id)
        .bind(key.secret.as_str())
        .bind(at);
    tx.execute(sql).await.map(drop)
}

/// All secrets, oldest first; the first one signs, so that replicas which start at once agree.
pub async fn list(tx: &mut Tx) -> Result<Vec<SigningKey>, StoreError> {
    tx.fetch_all(Sql::new("SELECT id, secret FROM signing_keys ORDER BY id")).await
}
