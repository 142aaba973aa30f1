//! The schemas that instances define, and whether their core schema has a password.

use super::row::{Count, Row};
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{InstanceId, Timestamp};
use crate::scim::definition::{self, Holder};
use crate::scim::fold::fold;
use crate::scim::schema::Schema;
use crate::scim::schemas::{Password, Schemas};

/// A schema that an instance defines.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Definition {
    /// The resources that have it.
    pub resource_type: Holder,
    /// The schema.
    pub schema: Schema,
    /// When it was defined.
    pub created_at: Timestamp,
    /// When it was last defined differently.
    pub modified_at: Timestamp,
}

impl Record for Definition {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let text: String = row.get("definition")?;
        let corrupt = |reason: String| StoreError::Corrupt { column: "definition", reason };
        let definition = serde_json::from_str(&text).map_err(|error| corrupt(error.to_string()))?;
        Ok(Self {
            resource_type: row.get("resource_type")?,
            schema: definition::parse(&definition).map_err(|error| corrupt(error.detail))?,
            created_at: row.get("created_at")?,
            modified_at: row.get("modified_at")?,
        })
    }
}

/// One row of an instance and its schemas; an instance without any has one row without a definition.
struct Part {
    version: i64,
    password: Password,
    definition: Option<Definition>,
}

impl Record for Part {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let definition = match row.get::<Option<String>>("definition")? {
            Some(_) => Some(Definition::read(row)?),
            None => None,
        };
        Ok(Self {
            version: row.get("schemas_version")?,
            password: row.get("password")?,
            definition,
        })
    }
}

/// All schemas of an instance, in one statement, so that they are of one version.
pub async fn of_instance(tx: &mut Tx, instance: InstanceId) -> Result<Schemas, StoreError> {
    let sql = Sql::new(
        "SELECT i.schemas_version, i.password, s.resource_type, s.definition, s.created_at, \
         s.modified_at FROM instances i LEFT JOIN schemas s ON s.instance_id = i.id \
         WHERE i.id = $1 ORDER BY s.created_at, s.urn_key",
    );
    let parts = tx.fetch_all::<Part>(sql.bind(instance)).await?;
    let (version, password) = match parts.first() {
        Some(first) => (first.version, first.password),
        None => return Err(StoreError::Stale),
    };
    let defined = parts.into_iter().filter_map(|part| part.definition);
    let defined = defined.map(|one| (one.resource_type, one.schema));
    Ok(Schemas::with(version, defined, password))
}

/// The definitions of an instance, oldest first.
pub async fn list(tx: &mut Tx, instance: InstanceId) -> Result<Vec<Definition>, StoreError> {
    let sql = Sql::new(
        "SELECT resource_type, definition, created_at, modified_at FROM schemas \
         WHERE instance_id = $1 ORDER BY created_at, urn_key",
    );
    tx.fetch_all(sql.bind(instance)).await
}

/// The version of an instance's schemas: it grows with every change of them.
pub async fn version(tx: &mut Tx, instance: InstanceId) -> Result<i64, StoreError> {
    let sql = Sql::new("SELECT schemas_version AS n FROM instances WHERE id = $1").bind(instance);
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |version| version.0))
}

/// Lets one change of an instance's schemas at a time happen: the row is locked until the end.
pub async fn lock(tx: &mut Tx, instance: InstanceId) -> Result<(), StoreError> {
    let mut sql =
        Sql::new("SELECT schemas_version AS n FROM instances WHERE id = $1").bind(instance);
    let for_update = tx.dialect().for_update();
    sql.push(for_update);
    tx.fetch_optional::<Count>(sql).await.map(drop)
}

/// Says to all that read with a key that the schemas have changed.
pub async fn raise_version(tx: &mut Tx, instance: InstanceId) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE instances SET schemas_version = schemas_version + 1 WHERE id = $1");
    tx.change_settings(sql.bind(instance)).await
}

/// Sets whether the core schema of an instance has a password.
pub async fn set_password(
    tx: &mut Tx,
    instance: InstanceId,
    password: Password,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE instances SET password = $2 WHERE id = $1");
    tx.change_settings(sql.bind(instance).bind(password.word())).await
}

/// Keeps a definition, in the place of one with the same URN.
pub async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    definition: &Definition,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO schemas (instance_id, urn_key, resource_type, definition, created_at, \
         modified_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (instance_id, urn_key) \
         DO UPDATE SET resource_type = $3, definition = $4, modified_at = $6",
    )
    .bind(instance)
    .bind(fold(&definition.schema.id).into_owned())
    .bind(definition.resource_type.word())
    .bind(definition::print(&definition.schema).to_string())
    .bind(definition.created_at)
    .bind(definition.modified_at);
    tx.execute(sql).await.map(drop)
}

/// Removes a definition.
pub async fn remove(tx: &mut Tx, instance: InstanceId, urn: &str) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM schemas WHERE instance_id = $1 AND urn_key = $2");
    tx.execute(sql.bind(instance).bind(fold(urn).into_owned())).await.map(drop)
}
