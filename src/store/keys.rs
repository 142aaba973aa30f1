//! API keys: of connections, and of who reads the directory. The token itself is never kept.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{
    ConnectionId, ConnectionKind, ConnectionSettings, ConnectionStatus, InstanceId, KeyId, Profile,
    Timestamp,
};

/// What is kept of an API key.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The instance it gives access to.
    pub instance: InstanceId,
    /// The connection it belongs to; `None` if it reads the directory, and does nothing else.
    pub connection: Option<ConnectionId>,
    /// What the administrator calls it.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal.
    #[serde(skip)]
    pub token_hash: String,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within the interval at which uses are kept.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_ip: Option<String>,
}

/// A key together with what a request needs to know of its connection.
#[derive(Debug, Clone)]
pub struct KeyAndConnection {
    /// The key.
    pub key: ApiKey,
    /// What the connection is connected to.
    pub kind: ConnectionKind,
    /// Whether the connection may write.
    pub status: ConnectionStatus,
    /// Whose habits it follows.
    pub profile: Profile,
    /// The connection's name.
    pub connection_name: String,
    /// The name of "its directory".
    pub directory_key: String,
    /// Its settings.
    pub settings: ConnectionSettings,
    /// The version of the instance's schemas.
    pub schemas_version: i64,
}

impl Record for ApiKey {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            instance: row.get("instance_id")?,
            connection: row.get("connection_id")?,
            name: row.get("name")?,
            token_hash: row.get("token_hash")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
            last_used_at: row.get("last_used_at")?,
            last_used_ip: row.get("last_used_ip")?,
        })
    }
}

impl Record for KeyAndConnection {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: ApiKey::read(row)?,
            kind: row.get("kind")?,
            status: row.get("status")?,
            profile: row.get("profile")?,
            connection_name: row.get("connection_name")?,
            directory_key: row.get("directory_key")?,
            settings: ConnectionSettings::read(row)?,
            schemas_version: row.get("schemas_version")?,
        })
    }
}

/// Keeps a new key.
pub async fn insert(tx: &mut Tx, key: &ApiKey) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO api_keys (instance_id, id, connection_id, name, token_hash, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key.instance)
    .bind(key.id)
    .bind(key.connection)
    .bind(key.name.as_str())
    .bind(key.token_hash.as_str())
    .bind(key.created_at)
    .bind(key.expires_at);
    tx.execute(sql).await.map(drop)
}

/// One key of a connection, with the connection and the version of its instance's schemas.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    id: KeyId,
) -> Result<Option<KeyAndConnection>, StoreError> {
    let sql = Sql::new(
        "SELECT k.instance_id, k.id, k.connection_id, k.name, k.token_hash, k.created_at, \
         k.expires_at, k.revoked_at, k.last_used_at, k.last_used_ip, c.kind, c.status, \
         c.profile, c.name AS connection_name, c.directory_key, c.scope, c.pick_up, c.entering, \
         c.entering_pattern, c.required, c.incomplete, c.recreate, \
         c.delete_after_days, c.guard, c.mapping_version, i.schemas_version \
         FROM api_keys k JOIN connections c \
         ON c.instance_id = k.instance_id AND c.id = k.connection_id \
         JOIN instances i ON i.id = k.instance_id \
         WHERE k.instance_id = $1 AND k.id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// One key that reads the directory.
pub async fn find_reader(
    tx: &mut Tx,
    instance: InstanceId,
    id: KeyId,
) -> Result<Option<ApiKey>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, connection_id, name, token_hash, created_at, expires_at, \
         revoked_at, last_used_at, last_used_ip FROM api_keys \
         WHERE instance_id = $1 AND id = $2 AND connection_id IS NULL",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// All keys of an instance, oldest first, revoked ones too.
pub async fn list(tx: &mut Tx, instance: InstanceId) -> Result<Vec<ApiKey>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id, id, connection_id, name, token_hash, created_at, expires_at, \
         revoked_at, last_used_at, last_used_ip FROM api_keys WHERE instance_id = $1 ORDER BY id",
    );
    tx.fetch_all(sql.bind(instance)).await
}

/// Revokes a key; it stays revoked since the first time.
pub async fn revoke(
    tx: &mut Tx,
    instance: InstanceId,
    id: KeyId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE api_keys SET revoked_at = $3 \
         WHERE instance_id = $1 AND id = $2 AND revoked_at IS NULL",
    );
    tx.change_settings(sql.bind(instance).bind(id).bind(at)).await
}

/// Lets a key end at a time.
pub async fn set_expiry(
    tx: &mut Tx,
    instance: InstanceId,
    id: KeyId,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE api_keys SET expires_at = $3 WHERE instance_id = $1 AND id = $2");
    tx.change_settings(sql.bind(instance).bind(id).bind(expires_at)).await
}

/// Keeps when and from where a key was last used.
pub async fn set_last_used(
    tx: &mut Tx,
    instance: InstanceId,
    id: KeyId,
    at: Timestamp,
    ip: Option<&str>,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE api_keys SET last_used_at = $3, last_used_ip = $4 \
         WHERE instance_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)",
    );
    tx.execute(sql.bind(instance).bind(id).bind(at).bind(ip)).await.map(drop)
}
