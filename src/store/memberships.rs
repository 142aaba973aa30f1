//! Who belongs to which group: one row for each member, so that the cost of a change follows the
//! change and not the size of the group.

use std::collections::HashSet;

use super::query::Viewer;
use super::row::{Count, Id, Record, Row};
use super::sql::Bind;
use super::visible::{Seen, UNPROTECTED, push_member_visible, push_visible};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::directory::{AccountId, GroupId, InstanceId, MemberId, MemberKind};

/// A member as it is shown.
#[derive(Debug, Clone)]
pub struct Member {
    /// The group.
    pub group: GroupId,
    /// The account or group that belongs to it.
    pub id: MemberId,
    /// Which of the two.
    pub kind: MemberKind,
    /// Its name.
    pub display: String,
}

impl Record for Member {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            group: row.get("group_id")?,
            id: row.get("member_id")?,
            kind: row.get("member_kind")?,
            display: row.get("display")?,
        })
    }
}

/// A group that somebody belongs to.
#[derive(Debug, Clone)]
pub struct Belonging {
    /// Who belongs to it.
    pub member: MemberId,
    /// The group.
    pub group: GroupId,
    /// The group's name.
    pub display: String,
}

impl Record for Belonging {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            member: row.get("member_id")?,
            group: row.get("group_id")?,
            display: row.get("display")?,
        })
    }
}

struct Known(MemberId, MemberKind);

impl Record for Known {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("id")?, row.get("kind")?))
    }
}

impl Known {
    fn pair(self) -> (MemberId, MemberKind) {
        (self.0, self.1)
    }
}

/// Those of `ids` that are live accounts or groups which the viewer can see, and which they are.
pub async fn known(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    ids: &[MemberId],
) -> Result<Vec<(MemberId, MemberKind)>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT a.id, 'account' AS kind FROM accounts a \
             WHERE a.instance_id = $1 AND a.deleted_at IS NULL AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        push_visible(&mut sql, viewer, Seen::A);
        if viewer.is_connection() {
            sql.push(" AND NOT a.protected");
        }
        sql.push(
            " UNION ALL SELECT g.id, 'group' FROM groups g \
             WHERE g.instance_id = $1 AND g.deleted_at IS NULL AND g.id IN ",
        );
        sql.push_list(ids.iter().copied());
        push_visible(&mut sql, viewer, Seen::G);
        found.extend(tx.fetch_all::<Known>(sql).await?);
    }
    Ok(found.into_iter().map(Known::pair).collect())
}

/// Adds members; those that were not there yet.
pub async fn add(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    members: &[(MemberId, MemberKind)],
) -> Result<Vec<(MemberId, MemberKind)>, StoreError> {
    let mut added = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO memberships (instance_id, group_id, member_id, member_kind) VALUES ",
        );
        sql.push_rows(members.iter().map(|&(id, kind)| {
            [Bind::from(instance), group.into(), id.into(), kind.word().into()]
        }));
        sql.push(" ON CONFLICT DO NOTHING RETURNING member_id AS id, member_kind AS kind");
        added.extend(tx.fetch_all::<Known>(sql).await?.into_iter().map(Known::pair));
    }
    Ok(added)
}

/// Removes members; those that were there. Whom a connection cannot see as members stay where they are:
/// people of others and protected ones.
pub async fn remove(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    group: GroupId,
    members: &[MemberId],
) -> Result<Vec<(MemberId, MemberKind)>, StoreError> {
    let mut removed = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "DELETE FROM memberships WHERE instance_id = $1 AND group_id = $2 AND member_id IN ",
        )
        .bind(instance)
        .bind(group);
        sql.push_list(members.iter().copied());
        if viewer.is_connection() {
            sql.push(" AND removal_held_at IS NULL");
            sql.push(
                " AND member_id NOT IN (SELECT p.id FROM accounts p WHERE p.instance_id = $1 ",
            );
            sql.push("AND p.id IN ").push_list(members.iter().copied());
            sql.push(" AND (NOT p.protected");
            push_visible(&mut sql, viewer, Seen::P);
            sql.push(") IS NOT TRUE) AND member_id NOT IN (SELECT g.id FROM groups g ");
            sql.push("WHERE g.instance_id = $1 AND g.id IN ").push_list(members.iter().copied());
            sql.push(" AND (TRUE");
            push_visible(&mut sql, viewer, Seen::G);
            sql.push(") IS NOT TRUE)");
        }
        sql.push(" RETURNING member_id AS id, member_kind AS kind");
        removed.extend(tx.fetch_all::<Known>(sql).await?.into_iter().map(Known::pair));
    }
    Ok(removed)
}

/// The ids of the live members of a group that the viewer can see, to hold a complete list against: who
/// cannot be seen cannot be meant by leaving it out.
pub async fn ids(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    group: GroupId,
) -> Result<Vec<MemberId>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.member_id AS id FROM memberships m \
         LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
         AND a.deleted_at IS NULL \
         LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
         AND g.deleted_at IS NULL WHERE m.instance_id = $1 AND m.group_id = $2",
    )
    .bind(instance)
    .bind(group);
    push_member_visible(&mut sql, viewer);
    let found = tx.fetch_all::<Id<MemberId>>(sql).await?;
    Ok(found.into_iter().map(|Id(id)| id).collect())
}

/// The live members of some groups that the viewer can see, in a fixed order; at most `limit` for up to
/// [`BATCH_MAX`] groups.
pub async fn of_groups(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    groups: &[GroupId],
    limit: i64,
) -> Result<Vec<Member>, StoreError> {
    let mut found = Vec::new();
    for groups in groups.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT m.group_id, m.member_id, m.member_kind, \
             COALESCE(a.display_name, a.user_name, g.display_name) AS display FROM memberships m \
             LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
             AND a.deleted_at IS NULL \
             LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
             AND g.deleted_at IS NULL \
             WHERE m.instance_id = $1 AND m.group_id IN ",
        )
        .bind(instance);
        sql.push_list(groups.iter().copied());
        push_member_visible(&mut sql, viewer);
        sql.push(" ORDER BY m.group_id, m.member_id LIMIT ").push_bind(limit);
        found.extend(tx.fetch_all::<Member>(sql).await?);
    }
    Ok(found)
}

/// Whether a group has more members than this, whoever can see them: found out without reading them.
pub async fn are_more_than(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    count: i64,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT member_id AS id FROM memberships WHERE instance_id = $1 AND group_id = $2 \
         LIMIT 1 OFFSET $3",
    );
    let one_more = sql.bind(instance).bind(group).bind(count);
    Ok(tx.fetch_optional::<Id<MemberId>>(one_more).await?.is_some())
}

/// The live groups that the viewer can see and some accounts or groups directly belong to.
pub async fn of_members(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    members: &[MemberId],
) -> Result<Vec<Belonging>, StoreError> {
    let mut found = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT m.member_id, m.group_id, g.display_name AS display FROM memberships m \
             JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.group_id \
             WHERE m.instance_id = $1 AND g.deleted_at IS NULL AND m.member_id IN ",
        )
        .bind(instance);
        sql.push_list(members.iter().copied());
        if viewer.is_connection() {
            sql.push(UNPROTECTED);
        }
        push_visible(&mut sql, viewer, Seen::G);
        sql.push(" ORDER BY m.member_id, m.group_id");
        found.extend(tx.fetch_all::<Belonging>(sql).await?);
    }
    Ok(found)
}

/// The people below some groups, however deep, one level in each statement; circles of groups end.
pub async fn people_below(
    tx: &mut Tx,
    instance: InstanceId,
    groups: &[MemberId],
) -> Result<Vec<MemberId>, StoreError> {
    let (mut level, mut people) = (groups.to_vec(), Vec::new());
    let mut seen: HashSet<MemberId> = groups.iter().copied().collect();
    while !level.is_empty() {
        let mut next = Vec::new();
        for groups in level.chunks(BATCH_MAX) {
            let mut sql = Sql::new(
                "SELECT m.member_id AS id, m.member_kind AS kind FROM memberships m \
                 WHERE m.instance_id = $1 AND m.group_id IN ",
            )
            .bind(instance);
            sql.push_list(groups.iter().copied());
            for Known(id, kind) in tx.fetch_all::<Known>(sql).await? {
                if seen.insert(id) {
                    match kind {
                        MemberKind::Account => people.push(id),
                        MemberKind::Group => next.push(id),
                    }
                }
            }
        }
        level = next;
    }
    Ok(people)
}

/// The live direct members of a group that the viewer can see, from behind `after`.
pub async fn direct(
    tx: &mut Tx,
    instance: InstanceId,
    viewer: Viewer,
    group: GroupId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Member>, StoreError> {
    let mut sql = Sql::new(
        "SELECT m.group_id, m.member_id, m.member_kind, \
         COALESCE(a.display_name, a.user_name, g.display_name) AS display FROM memberships m \
         LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
         AND a.deleted_at IS NULL \
         LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
         AND g.deleted_at IS NULL WHERE m.instance_id = $1 AND m.group_id = $2",
    )
    .bind(instance)
    .bind(group);
    push_member_visible(&mut sql, viewer);
    if let Some(after) = after {
        sql.push(" AND m.member_id > ").push_bind(after);
    }
    sql.push(" ORDER BY m.member_id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}

/// A group that is a member of another.
#[derive(Debug, Clone)]
pub struct Nesting {
    /// The group that it belongs to.
    pub group: GroupId,
    /// The group that belongs.
    pub member: GroupId,
    /// Its name.
    pub display: String,
}

impl Record for Nesting {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            group: row.get("group_id")?,
            member: row.get("member_id")?,
            display: row.get("display")?,
        })
    }
}

/// Who belongs to a group that is nested in the one that was asked for, or to that itself.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The account.
    pub id: AccountId,
    /// The name the person signs in with.
    pub user_name: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// The group that the person directly belongs to.
    pub group: GroupId,
}

impl Record for Reached {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            user_name: row.get("user_name")?,
            display_name: row.get("display_name")?,
            group: row.get("group_id")?,
        })
    }
}

/// All live nestings below a group. `UNION` finds each group once, so circles end.
pub async fn nested(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<Vec<Nesting>, StoreError> {
    let sql = Sql::new(
        "WITH RECURSIVE reach (id) AS (SELECT g.id FROM groups g WHERE g.instance_id = $1 \
         AND g.id = $2 AND g.deleted_at IS NULL UNION SELECT m.member_id FROM reach r \
         CROSS JOIN memberships m CROSS JOIN groups g WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND m.member_kind = 'group' AND g.instance_id = $1 \
         AND g.id = m.member_id AND g.deleted_at IS NULL) \
         SELECT m.group_id, m.member_id, g.display_name AS display FROM reach r \
         CROSS JOIN memberships m CROSS JOIN groups g WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND m.member_kind = 'group' AND g.instance_id = $1 \
         AND g.id = m.member_id AND g.deleted_at IS NULL ORDER BY m.group_id, m.member_id",
    );
    tx.fetch_all(sql.bind(instance).bind(group)).await
}

/// The live accounts that belong to a group or to one below it, in the order of their creation from
/// behind `after`: a row for each membership.
pub async fn effective(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Reached>, StoreError> {
    let mut sql = Sql::new(
        "WITH RECURSIVE reach (id) AS (SELECT g.id FROM groups g WHERE g.instance_id = $1 \
         AND g.id = $2 AND g.deleted_at IS NULL UNION SELECT m.member_id FROM reach r \
         CROSS JOIN memberships m CROSS JOIN groups g WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND m.member_kind = 'group' AND g.instance_id = $1 \
         AND g.id = m.member_id AND g.deleted_at IS NULL) \
         SELECT a.id, a.user_name, a.display_name, m.group_id FROM reach r \
         CROSS JOIN memberships m CROSS JOIN accounts a WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND a.instance_id = $1 AND a.id = m.member_id \
         AND a.deleted_at IS NULL",
    )
    .bind(instance)
    .bind(group);
    if let Some(after) = after {
        sql.push(" AND a.id > ").push_bind(after);
    }
    sql.push(" ORDER BY a.id, m.group_id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}

/// How many live accounts belong to a group or to one below it.
pub async fn effective_count(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "WITH RECURSIVE reach (id) AS (SELECT g.id FROM groups g WHERE g.instance_id = $1 \
         AND g.id = $2 AND g.deleted_at IS NULL UNION SELECT m.member_id FROM reach r \
         CROSS JOIN memberships m CROSS JOIN groups g WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND m.member_kind = 'group' AND g.instance_id = $1 \
         AND g.id = m.member_id AND g.deleted_at IS NULL) \
         SELECT COUNT(DISTINCT a.id) AS n FROM reach r \
         CROSS JOIN memberships m CROSS JOIN accounts a WHERE m.instance_id = $1 \
         AND m.group_id = r.id AND a.instance_id = $1 AND a.id = m.member_id \
         AND a.deleted_at IS NULL",
    );
    let counted = tx.fetch_optional::<Count>(sql.bind(instance).bind(group)).await?;
    Ok(counted.map_or(0, |count| count.0))
}
