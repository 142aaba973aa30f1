//! Files that were uploaded, in versions, their bytes in parts.

use super::row::{Record, Row};
use super::{Sql, StoreError, Tx};
use crate::directory::{InstanceId, Timestamp};

/// A version of a document, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Document {
    /// Its name, as it was given.
    pub name: String,
    /// The version, from 1.
    pub version: i64,
    /// Its size.
    pub bytes: i64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Who uploaded it.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}

impl Record for Document {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.get("name")?,
            version: row.get("version")?,
            bytes: row.get("bytes")?,
            checksum: row.get("checksum")?,
            author: row.get("author")?,
            created_at: row.get("created_at")?,
        })
    }
}

struct Part(Vec<u8>);

impl Record for Part {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("content").map(Self)
    }
}

/// Keeps a new version; `Conflict` if there is one of this number.
pub async fn insert(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
    document: &Document,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO documents (instance_id, name_key, version, name, bytes, checksum, author, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(instance)
    .bind(name_key)
    .bind(document.version)
    .bind(document.name.as_str())
    .bind(document.bytes)
    .bind(document.checksum.as_str())
    .bind(document.author.as_str())
    .bind(document.created_at);
    match tx.execute(sql).await? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

/// Keeps a part of the bytes of a version.
pub async fn insert_part(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
    version: i64,
    position: i64,
    content: Vec<u8>,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO document_parts (instance_id, name_key, version, position, content) \
         VALUES ($1, $2, $3, $4, $5)",
    );
    let sql = sql.bind(instance).bind(name_key).bind(version).bind(position).bind(content);
    tx.execute(sql).await.map(drop)
}

/// A part of the bytes of a version; `None` behind the last one.
pub async fn part(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
    version: i64,
    position: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = Sql::new(
        "SELECT content FROM document_parts WHERE instance_id = $1 AND name_key = $2 \
         AND version = $3 AND position = $4",
    );
    let sql = sql.bind(instance).bind(name_key).bind(version).bind(position);
    Ok(tx.fetch_optional::<Part>(sql).await?.map(|part| part.0))
}

/// The versions of a document, newest first.
pub async fn versions(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
) -> Result<Vec<Document>, StoreError> {
    let sql = Sql::new(
        "SELECT name, version, bytes, checksum, author, created_at FROM documents \
         WHERE instance_id = $1 AND name_key = $2 ORDER BY version DESC",
    );
    tx.fetch_all(sql.bind(instance).bind(name_key)).await
}

/// The documents of an instance, by name, each in all its versions, newest first.
pub async fn list(
    tx: &mut Tx,
    instance: InstanceId,
    limit: i64,
) -> Result<Vec<Document>, StoreError> {
    let sql = Sql::new(
        "SELECT name, version, bytes, checksum, author, created_at FROM documents \
         WHERE instance_id = $1 ORDER BY name_key, version DESC LIMIT $2",
    );
    tx.fetch_all(sql.bind(instance).bind(limit)).await
}

/// Removes the versions of a document up to this one, and their bytes.
pub async fn remove_to(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
    version: i64,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "DELETE FROM documents WHERE instance_id = $1 AND name_key = $2 AND version <= $3",
    );
    tx.execute(sql.bind(instance).bind(name_key).bind(version)).await.map(drop)
}

/// Keeps the size and the checksum of a version whose parts are all there.
pub async fn complete(
    tx: &mut Tx,
    instance: InstanceId,
    name_key: &str,
    document: &Document,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE documents SET bytes = $4, checksum = $5 WHERE instance_id = $1 AND name_key = $2 \
         AND version = $3",
    )
    .bind(instance)
    .bind(name_key)
    .bind(document.version)
    .bind(document.bytes)
    .bind(document.checksum.as_str());
    tx.execute(sql).await.map(drop)
}
