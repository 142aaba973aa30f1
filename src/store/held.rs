//! What the guard for pushes holds: a time in the row that it is about. The directory reads the row as if
//! nothing had been said.

use uuid::Uuid;

use super::query::Table;
use super::row::{Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx, accounts, groups};
use crate::directory::{
    Account, AccountId, ConnectionId, Group, GroupId, InstanceId, MemberId, MemberKind, Timestamp,
};

/// Which rows of a connection are sought.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of this instance.
    pub instance: InstanceId,
    /// Of this connection.
    pub connection: ConnectionId,
    /// This one only.
    pub only: Option<Uuid>,
    /// Those behind this one, in the order of their ids.
    pub after: Option<Uuid>,
    /// So many at most.
    pub limit: i64,
}

fn select(tx: &Tx, table: &Table, held: &'static str, wanted: Wanted, locked: Locked) -> Sql {
    let mut sql = Sql::new(table.select).bind(wanted.instance);
    sql.push(" AND r.connection_id = ").push_bind(wanted.connection).push(held);
    for (operator, id) in [(" AND r.id = ", wanted.only), (" AND r.id > ", wanted.after)] {
        if let Some(id) = id {
            sql.push(operator).push_bind(id);
        }
    }
    sql.push(" ORDER BY r.id LIMIT ").push_bind(wanted.limit);
    if locked == Locked::Yes {
        let for_update = tx.dialect().for_update();
        sql.push(for_update);
    }
    sql
}

/// Whether rows are locked as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// They are about to change.
    Yes,
    /// They are only looked at.
    No,
}

/// The accounts whose suspension is held.
pub async fn suspended(
    tx: &mut Tx,
    wanted: Wanted,
    locked: Locked,
) -> Result<Vec<Account>, StoreError> {
    let held = " AND r.suspension_held_at IS NOT NULL";
    let sql = select(tx, &accounts::TABLE, held, wanted, locked);
    tx.fetch_all(sql).await
}

/// The accounts whose deletion is held.
pub async fn deleted(
    tx: &mut Tx,
    wanted: Wanted,
    locked: Locked,
) -> Result<Vec<Account>, StoreError> {
    let held = " AND r.deletion_held_at IS NOT NULL";
    let sql = select(tx, &accounts::TABLE, held, wanted, locked);
    tx.fetch_all(sql).await
}

/// The groups whose deletion is held.
pub async fn deleted_groups(
    tx: &mut Tx,
    wanted: Wanted,
    locked: Locked,
) -> Result<Vec<Group>, StoreError> {
    let held = " AND r.deletion_held_at IS NOT NULL";
    let sql = select(tx, &groups::TABLE, held, wanted, locked);
    tx.fetch_all(sql).await
}

/// The groups that hold on to members whom the client has taken out.
pub async fn left_groups(
    tx: &mut Tx,
    wanted: Wanted,
    locked: Locked,
) -> Result<Vec<Group>, StoreError> {
    let held = " AND r.removals_held_at IS NOT NULL";
    let sql = select(tx, &groups::TABLE, held, wanted, locked);
    tx.fetch_all(sql).await
}

/// Lets the suspensions of some accounts be what they are.
pub async fn release_suspensions(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<(), StoreError> {
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE accounts SET suspension_held_at = NULL WHERE instance_id = $1 AND id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// A member whose removal is held.
#[derive(Debug, Clone)]
pub struct HeldMember {
    /// The account or group.
    pub id: MemberId,
    /// Which of the two.
    pub kind: MemberKind,
    /// Its user name, or its name; nothing if it was deleted.
    pub name: Option<String>,
    /// Since when.
    pub held_at: Timestamp,
}

impl Record for HeldMember {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("member_id")?,
            kind: row.get("member_kind")?,
            name: row.get("name")?,
            held_at: row.get("removal_held_at")?,
        })
    }
}

/// The members of a group whose removal is held, in the order of their ids.
pub async fn held_members(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<HeldMember>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.member_id, m.member_kind, m.removal_held_at, \
         COALESCE(a.user_name, g.display_name) AS name FROM memberships m \
         LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
         LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
         WHERE m.instance_id = $1 AND m.group_id = $2 AND m.removal_held_at IS NOT NULL",
    )
    .bind(instance)
    .bind(group);
    if let Some(after) = after {
        sql.push(" AND m.member_id > ").push_bind(after);
    }
    sql.push(" ORDER BY m.member_id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}

struct Known(MemberId, MemberKind);

impl Record for Known {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("id")?, row.get("kind")?))
    }
}

/// The members of a group whose own deletion is held, and not yet their removal.
pub async fn gone_members(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<Vec<MemberId>, StoreError> {
    let sql = Sql::new(
        "SELECT m.member_id AS id, m.member_kind AS kind FROM memberships m \
         LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
         LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
         WHERE m.instance_id = $1 AND m.group_id = $2 AND m.removal_held_at IS NULL \
         AND (a.deletion_held_at IS NOT NULL OR g.deletion_held_at IS NOT NULL)",
    );
    let found = tx.fetch_all::<Known>(sql.bind(instance).bind(group)).await?;
    Ok(found.into_iter().map(|known| known.0).collect())
}

/// Holds the removal of some members of a group.
pub async fn hold_members(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    members: &[MemberId],
    at: Timestamp,
) -> Result<(), StoreError> {
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE memberships SET removal_held_at = $3 WHERE instance_id = $1 AND group_id = $2 \
             AND removal_held_at IS NULL AND member_id IN ",
        )
        .bind(instance)
        .bind(group)
        .bind(at);
        sql.push_list(members.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Lets some members of a group stay whose removal was held; which of them those were.
pub async fn keep_members(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    members: &[MemberId],
) -> Result<Vec<MemberId>, StoreError> {
    let mut kept = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE memberships SET removal_held_at = NULL WHERE instance_id = $1 \
             AND group_id = $2 AND removal_held_at IS NOT NULL AND member_id IN ",
        )
        .bind(instance)
        .bind(group);
        sql.push_list(members.iter().copied());
        sql.push(" RETURNING member_id AS id, member_kind AS kind");
        kept.extend(tx.fetch_all::<Known>(sql).await?.into_iter().map(|known| known.0));
    }
    Ok(kept)
}

/// Takes some members out of a group whose removal was held; which of them those were.
pub async fn take_out(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    members: &[MemberId],
) -> Result<Vec<(MemberId, MemberKind)>, StoreError> {
    let mut taken = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "DELETE FROM memberships WHERE instance_id = $1 AND group_id = $2 \
             AND removal_held_at IS NOT NULL AND member_id IN ",
        )
        .bind(instance)
        .bind(group);
        sql.push_list(members.iter().copied());
        sql.push(" RETURNING member_id AS id, member_kind AS kind");
        let found = tx.fetch_all::<Known>(sql).await?;
        taken.extend(found.into_iter().map(|Known(id, kind)| (id, kind)));
    }
    Ok(taken)
}
