//! What who reads the directory follows: the trail by its positions, and what is there now of what it
//! names.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::groups::TABLE;
use super::row::{Id, Record, Row};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{Group, GroupId, InstanceId, MemberId, MemberKind, ids::AuditId};

/// A link of the trail.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its position.
    pub position: i64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// Its event.
    pub event: AuditId,
}

impl Record for Step {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: row.get("position")?,
            hash: row.get("hash")?,
            event: row.get("event_id")?,
        })
    }
}

/// The links from a position on, that position included, in order.
pub async fn steps(
    tx: &mut Tx,
    instance: InstanceId,
    from: i64,
    limit: i64,
) -> Result<Vec<Step>, StoreError> {
    let sql = Sql::new(
        "SELECT position, hash, event_id FROM audit_links \
         WHERE instance_id = $1 AND position >= $2 ORDER BY position LIMIT $3",
    );
    tx.fetch_all(sql.bind(instance).bind(from).bind(limit)).await
}

/// What an event is about.
#[derive(Debug, Clone)]
pub struct About {
    /// The event.
    pub event: AuditId,
    /// What was changed: `account`, `group`, …
    pub target_kind: String,
    /// Which one.
    pub target: Uuid,
    /// The member that joined or left, when the target is a group.
    pub member: Option<MemberId>,
}

impl Record for About {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            event: row.get("id")?,
            target_kind: row.get("target_kind")?,
            target: row.get("target_id")?,
            member: row.get("member_id")?,
        })
    }
}

/// What some events are about, in no order.
pub async fn about(
    tx: &mut Tx,
    instance: InstanceId,
    events: &[AuditId],
) -> Result<Vec<About>, StoreError> {
    let mut found = Vec::new();
    for events in events.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT e.id, e.target_kind, e.target_id, e.member_id FROM audit_events e \
             WHERE e.instance_id = $1 AND e.id IN ",
        )
        .bind(instance);
        sql.push_list(events.iter().copied());
        found.extend(tx.fetch_all::<About>(sql).await?);
    }
    Ok(found)
}

/// Those of some accounts that still have a row, live or deleted.
pub async fn kept_accounts(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let sql = || Sql::new("SELECT a.id FROM accounts a WHERE a.instance_id = $1 AND a.id IN ");
    kept(tx, instance, ids, sql).await
}

/// Those of some groups that still have a row, live or deleted.
pub async fn kept_groups(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let sql = || Sql::new("SELECT g.id FROM groups g WHERE g.instance_id = $1 AND g.id IN ");
    kept(tx, instance, ids, sql).await
}

async fn kept(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
    statement: impl Fn() -> Sql,
) -> Result<Vec<Uuid>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = statement().bind(instance);
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Id<MemberId>>(sql).await?.into_iter().map(|Id(id)| id.0));
    }
    Ok(found)
}

/// Those of some groups that are live and enter the directory.
pub async fn entered_groups(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Vec<Group>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(TABLE.select).bind(instance);
        sql.push(" AND r.entered AND r.id IN ").push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Group>(sql).await?);
    }
    Ok(found)
}

/// The groups that enter the directory and somebody directly belongs to, in the order of their ids, from
/// behind `after`.
pub async fn groups_of(
    tx: &mut Tx,
    instance: InstanceId,
    member: MemberId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Group>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.group_id AS id FROM memberships m \
         JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.group_id \
         WHERE m.instance_id = $1 AND m.member_id = $2 AND g.deleted_at IS NULL AND g.entered",
    )
    .bind(instance)
    .bind(member);
    if let Some(after) = after {
        sql.push(" AND m.group_id > ").push_bind(after);
    }
    sql.push(" ORDER BY m.group_id LIMIT ").push_bind(limit);
    let ids: Vec<Id<GroupId>> = tx.fetch_all(sql).await?;
    let ids: Vec<Uuid> = ids.into_iter().map(|Id(id)| id.0).collect();
    let mut found = entered_groups(tx, instance, &ids).await?;
    found.sort_by_key(|group| group.id);
    Ok(found)
}

/// A membership as its row has it, whatever has become of the group and the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belongs {
    /// The group.
    pub group: GroupId,
    /// The account or group that belongs to it.
    pub member: MemberId,
    /// Which of the two.
    pub kind: MemberKind,
}

impl Record for Belongs {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            group: row.get("group_id")?,
            member: row.get("member_id")?,
            kind: row.get("member_kind")?,
        })
    }
}

/// Those of some memberships that there are.
pub async fn memberships(
    tx: &mut Tx,
    instance: InstanceId,
    pairs: &[(GroupId, MemberId)],
) -> Result<Vec<Belongs>, StoreError> {
    let mut found = Vec::new();
    for pairs in pairs.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT m.group_id, m.member_id, m.member_kind FROM memberships m \
             WHERE m.instance_id = $1",
        )
        .bind(instance);
        // Whose groups are looked at: few, where those named have many members.
        let members: BTreeSet<MemberId> = pairs.iter().map(|pair| pair.1).collect();
        sql.push(" AND m.member_id IN ").push_list(members);
        sql.push(" AND (m.group_id, m.member_id) IN (VALUES ");
        sql.push_rows(pairs.iter().map(|&(group, member)| [Bind::from(group), member.into()]));
        sql.push(")");
        found.extend(tx.fetch_all::<Belongs>(sql).await?);
    }
    Ok(found)
}

/// The next memberships of an instance behind one of them, in the order of the groups and members.
pub async fn memberships_page(
    tx: &mut Tx,
    instance: InstanceId,
    after: Option<(GroupId, MemberId)>,
    limit: i64,
) -> Result<Vec<Belongs>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.group_id, m.member_id, m.member_kind FROM memberships m WHERE m.instance_id = $1",
    )
    .bind(instance);
    if let Some((group, member)) = after {
        sql.push(" AND (m.group_id, m.member_id) > (").push_bind(group).push(", ");
        sql.push_bind(member).push(")");
    }
    sql.push(" ORDER BY m.group_id, m.member_id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}

/// A member as the directory shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The account or group.
    pub id: MemberId,
    /// Which of the two.
    pub kind: MemberKind,
    /// Its name.
    pub display: String,
}

impl Record for Listed {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("member_id")?,
            kind: row.get("member_kind")?,
            display: row.get("display")?,
        })
    }
}

/// The live direct members of a group from behind `after`; of groups those that enter the directory.
pub async fn members_page(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.member_id, m.member_kind, \
         COALESCE(a.display_name, a.user_name, g.display_name) AS display FROM memberships m \
         LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
         AND a.deleted_at IS NULL \
         LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
         AND g.deleted_at IS NULL AND g.entered \
         WHERE m.instance_id = $1 AND m.group_id = $2 AND (a.id IS NOT NULL OR g.id IS NOT NULL)",
    )
    .bind(instance)
    .bind(group);
    if let Some(after) = after {
        sql.push(" AND m.member_id > ").push_bind(after);
    }
    sql.push(" ORDER BY m.member_id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}
