//! The values of attributes that only one resource of an instance may have.

use uuid::Uuid;

use super::row::Id;
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::InstanceId;

/// A value that a resource holds: the attribute and the value as they are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The folded URN and name of the attribute.
    pub attribute: String,
    /// The value, folded unless the attribute is case-exact.
    pub key: String,
}

/// Keeps a value; `false` if a resource holds it already. The transaction stays usable. Who comes second
/// waits until it is known whether the first one keeps it.
pub async fn hold(
    tx: &mut Tx,
    instance: InstanceId,
    held: &Held,
    resource: Uuid,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "INSERT INTO unique_values (instance_id, attribute, value_key, resource_id) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(instance)
    .bind(held.attribute.as_str())
    .bind(held.key.as_str())
    .bind(resource);
    Ok(tx.execute(sql).await? > 0)
}

/// Keeps many values; gives one that two resources have, if there is any.
pub async fn hold_all(
    tx: &mut Tx,
    instance: InstanceId,
    rows: &[(Held, Uuid)],
) -> Result<Option<(Held, Uuid)>, StoreError> {
    for rows in rows.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO unique_values (instance_id, attribute, value_key, resource_id) VALUES ",
        );
        sql.push_rows(rows.iter().map(|(held, resource)| {
            let Held { attribute, key } = held;
            let values: [Bind; 4] = [
                instance.into(),
                attribute.as_str().into(),
                key.as_str().into(),
                (*resource).into(),
            ];
            values
        }));
        sql.push(" ON CONFLICT DO NOTHING");
        if usize::try_from(tx.execute(sql).await?) == Ok(rows.len()) {
            continue;
        }
        for (held, resource) in rows {
            let holder = holder(tx, instance, held).await?;
            if holder.is_some_and(|holder| holder != *resource) {
                return Ok(Some((held.clone(), *resource)));
            }
        }
    }
    Ok(None)
}

/// The resource that holds a value.
pub async fn holder(
    tx: &mut Tx,
    instance: InstanceId,
    held: &Held,
) -> Result<Option<Uuid>, StoreError> {
    let sql = Sql::new(
        "SELECT resource_id AS id FROM unique_values \
         WHERE instance_id = $1 AND attribute = $2 AND value_key = $3",
    )
    .bind(instance)
    .bind(held.attribute.as_str())
    .bind(held.key.as_str());
    Ok(tx.fetch_optional::<Id<Uuid>>(sql).await?.map(|Id(id)| id))
}

/// Lets others have a value that a resource holds.
pub async fn free(
    tx: &mut Tx,
    instance: InstanceId,
    held: &Held,
    resource: Uuid,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "DELETE FROM unique_values \
         WHERE instance_id = $1 AND attribute = $2 AND value_key = $3 AND resource_id = $4",
    )
    .bind(instance)
    .bind(held.attribute.as_str())
    .bind(held.key.as_str())
    .bind(resource);
    tx.execute(sql).await.map(drop)
}

/// Forgets all values of an attribute.
pub async fn forget(tx: &mut Tx, instance: InstanceId, attribute: &str) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM unique_values WHERE instance_id = $1 AND attribute = $2");
    tx.execute(sql.bind(instance).bind(attribute)).await.map(drop)
}
