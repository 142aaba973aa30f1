//! What deleted accounts were called, for many names at once.

use super::row::Id;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{ConnectionId, InstanceId};

/// Those of some folded user names that deleted accounts had.
pub async fn names(
    tx: &mut Tx,
    instance: InstanceId,
    keys: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT DISTINCT r.user_name_key AS id FROM accounts r WHERE r.instance_id = $1 \
             AND r.deleted_at IS NOT NULL AND r.user_name_key IN ",
        )
        .bind(instance);
        sql.push_list(keys.iter().map(String::as_str));
        found.extend(tx.fetch_all::<Id<String>>(sql).await?.into_iter().map(|Id(key)| key));
    }
    Ok(found)
}

/// Those of some external ids that deleted accounts of a connection had.
pub async fn external_ids(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    external_ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for ids in external_ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT DISTINCT r.external_id AS id FROM accounts r WHERE r.instance_id = $1 \
             AND r.deleted_at IS NOT NULL AND r.connection_id = $2 AND r.external_id IN ",
        )
        .bind(instance)
        .bind(connection);
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Id<String>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    Ok(found)
}
