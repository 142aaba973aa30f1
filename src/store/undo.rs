//! Accounts, groups and members for who takes changes back: deleted ones too.

use uuid::Uuid;

use super::query::{Purpose, Table};
use super::row::{Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{GroupId, InstanceId, MemberId, MemberKind};

/// Some rows of two tables, one of what is live and one of what is deleted; locked, each in the order of
/// their ids, if they are about to change.
pub async fn rows<T: Record>(
    tx: &mut Tx,
    instance: InstanceId,
    tables: [&Table; 2],
    ids: &[Uuid],
    purpose: Purpose,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    for table in tables {
        for ids in ids.chunks(BATCH_MAX) {
            let mut sql = Sql::new(table.select).bind(instance);
            sql.push(" AND r.id IN ").push_list(ids.iter().copied());
            if purpose == Purpose::Change {
                let for_update = tx.dialect().for_update();
                sql.push(" ORDER BY r.id").push(for_update);
            }
            found.extend(tx.fetch_all::<T>(sql).await?);
        }
    }
    Ok(found)
}

struct Known(MemberId, MemberKind);

impl Record for Known {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("id")?, row.get("kind")?))
    }
}

/// Those of `ids` that are accounts or groups of the instance, deleted ones too, and which they are.
pub async fn known(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[MemberId],
) -> Result<Vec<(MemberId, MemberKind)>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT a.id, 'account' AS kind FROM accounts a WHERE a.instance_id = $1 AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        sql.push(
            " UNION ALL SELECT g.id, 'group' FROM groups g WHERE g.instance_id = $1 AND g.id IN ",
        );
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Known>(sql).await?);
    }
    Ok(found.into_iter().map(|Known(id, kind)| (id, kind)).collect())
}

struct Present(MemberId);

impl Record for Present {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("member_id").map(Self)
    }
}

/// Those of some members who belong to a group, whether they or it are live or deleted.
pub async fn present(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    members: &[MemberId],
) -> Result<Vec<MemberId>, StoreError> {
    let mut found = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT member_id FROM memberships WHERE instance_id = $1 AND group_id = $2 \
             AND member_id IN ",
        )
        .bind(instance)
        .bind(group);
        sql.push_list(members.iter().copied());
        found.extend(tx.fetch_all::<Present>(sql).await?.into_iter().map(|Present(id)| id));
    }
    Ok(found)
}

/// Takes the name of a group aside within a transaction that gives it another one: whoever wants the name
/// can have it meanwhile.
pub async fn put_aside(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<(), StoreError> {
    let sql =
        Sql::new("UPDATE groups SET display_name_key = $3 WHERE instance_id = $1 AND id = $2");
    // No client can send this: a control character begins it.
    let aside = format!("\u{1}{group}");
    tx.execute(sql.bind(instance).bind(group).bind(aside)).await.map(drop)
}
