//! Where walks through the pages of a query go on.
//!
//! A page by index is asked for by a number. A number of resources that were skipped says nothing once
//! one of them is deleted, so the place is remembered when the page before is read.

use super::row::Row;
use super::{Record, Sql, StoreError, Tx};
use crate::directory::{InstanceId, KeyId, Timestamp};

/// A page of a walk: whose, through which query, from which index on.
#[derive(Debug, Clone, Copy)]
pub struct PageId<'p> {
    /// The instance.
    pub instance: InstanceId,
    /// The key that walks.
    pub key: KeyId,
    /// A fingerprint of the query.
    pub query: &'p str,
    /// The index of the first resource on the page.
    pub start_index: i64,
}

struct Mark(String);

impl Record for Mark {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("mark")?))
    }
}

/// The mark of a page, unless it was made before `since`.
pub async fn find(
    tx: &mut Tx,
    page: PageId<'_>,
    since: Timestamp,
) -> Result<Option<String>, StoreError> {
    let sql = Sql::new(
        "SELECT mark FROM page_marks WHERE instance_id = $1 AND key_id = $2 AND query = $3 \
         AND start_index = $4 AND made_at >= $5",
    );
    let sql = bound(sql, page).bind(since);
    Ok(tx.fetch_optional::<Mark>(sql).await?.map(|Mark(mark)| mark))
}

/// Keeps the mark of the next page, and forgets all others of the query but that of the `current` page,
/// which may be asked for once more, and all that the key made before `since`.
pub async fn keep(
    tx: &mut Tx,
    next: PageId<'_>,
    mark: &str,
    current: i64,
    (at, since): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "DELETE FROM page_marks WHERE instance_id = $1 AND key_id = $2 \
         AND (made_at < $5 OR query = $3 AND start_index <> $4)",
    );
    tx.execute(bound(sql, PageId { start_index: current, ..next }).bind(since)).await?;
    let sql = Sql::new(
        "INSERT INTO page_marks (instance_id, key_id, query, start_index, mark, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (instance_id, key_id, query, start_index) \
         DO UPDATE SET mark = excluded.mark, made_at = excluded.made_at",
    );
    tx.execute(bound(sql, next).bind(mark).bind(at)).await.map(drop)
}

/// Forgets all marks of a query, whose walk is over.
pub async fn forget(tx: &mut Tx, page: PageId<'_>) -> Result<(), StoreError> {
    let sql =
        Sql::new("DELETE FROM page_marks WHERE instance_id = $1 AND key_id = $2 AND query = $3");
    tx.execute(sql.bind(page.instance).bind(page.key).bind(page.query)).await.map(drop)
}

fn bound(sql: Sql, page: PageId<'_>) -> Sql {
    sql.bind(page.instance).bind(page.key).bind(page.query).bind(page.start_index)
}
