//! What the guard for pushes counts, and what it holds.
//!
//! A loss is a row of `guard_losses`, so that who counts and who adds never wait for each other. What is
//! held is a time in the row that it is about: the directory reads it as if nothing had been said.

use uuid::Uuid;

use super::query::Table;
use super::row::{Count, Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx, accounts, groups};
use crate::directory::{
    Account, AccountId, ConnectionId, Group, GroupId, InstanceId, LossKind, MemberId, MemberKind,
    Timestamp,
};

/// How many losses of a kind there were since a time; it looks at `most` of them.
pub async fn lost(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
    since: Timestamp,
    most: i64,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(l.losses), 0) AS BIGINT) AS n FROM (SELECT losses \
         FROM guard_losses WHERE instance_id = $1 AND connection_id = $2 AND kind = $3 AND at > $4 \
         ORDER BY at DESC LIMIT $5) l",
    );
    let sql = sql.bind(instance).bind(connection).bind(kind.word()).bind(since).bind(most);
    count(tx, sql).await
}

/// Keeps that something was lost.
pub async fn keep_loss(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
    at: Timestamp,
    id: Uuid,
    losses: i64,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO guard_losses (instance_id, connection_id, kind, at, id, losses) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let sql = sql.bind(instance).bind(connection).bind(kind.word()).bind(at).bind(id).bind(losses);
    tx.execute(sql).await.map(drop)
}

/// Forgets what a connection has lost.
pub async fn forget_losses(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM guard_losses WHERE instance_id = $1 AND connection_id = $2");
    tx.execute(sql.bind(instance).bind(connection)).await.map(drop)
}

/// Whether an instance keeps losses from before a time.
pub async fn has_losses_before(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM guard_losses WHERE instance_id = $1 AND at < $2 \
         LIMIT 1) l",
    );
    Ok(count(tx, sql.bind(instance).bind(before)).await? > 0)
}

/// Forgets losses from before a time.
pub async fn forget_losses_before(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM guard_losses WHERE instance_id = $1 AND at < $2");
    tx.execute(sql.bind(instance).bind(before)).await.map(drop)
}

/// How much there was of something, and when that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// How much.
    pub total: i64,
    /// When.
    pub counted_at: Timestamp,
}

impl Record for Total {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { total: row.get("total")?, counted_at: row.get("counted_at")? })
    }
}

/// How much there was that can be lost, when it was last counted.
pub async fn total(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
) -> Result<Option<Total>, StoreError> {
    let sql = Sql::new(
        "SELECT total, counted_at FROM guard_totals WHERE instance_id = $1 AND connection_id = $2 \
         AND kind = $3",
    );
    tx.fetch_optional(sql.bind(instance).bind(connection).bind(kind.word())).await
}

/// Keeps how much there is.
pub async fn keep_total(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
    total: Total,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO guard_totals (instance_id, connection_id, kind, total, counted_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (instance_id, connection_id, kind) \
         DO UPDATE SET total = excluded.total, counted_at = excluded.counted_at",
    );
    let sql = sql.bind(instance).bind(connection).bind(kind.word());
    tx.execute(sql.bind(total.total).bind(total.counted_at)).await.map(drop)
}

/// Counts what a connection has that can be lost: people who may enter, or memberships in its groups.
pub async fn count_total(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
) -> Result<i64, StoreError> {
    let sql = match kind {
        LossKind::Suspension | LossKind::Deletion => Sql::new(
            "SELECT COUNT(*) AS n FROM accounts WHERE instance_id = $1 AND connection_id = $2 \
             AND deleted_at IS NULL AND status IN ('active', 'blocked')",
        ),
        LossKind::Removal => Sql::new(
            "SELECT COUNT(*) AS n FROM groups g JOIN memberships m \
             ON m.instance_id = g.instance_id AND m.group_id = g.id \
             WHERE g.instance_id = $1 AND g.connection_id = $2 AND g.deleted_at IS NULL",
        ),
    };
    count(tx, sql.bind(instance).bind(connection)).await
}

/// People of a connection by what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct People {
    /// Who may enter, at once or as soon as a seat is free.
    pub may_enter: i64,
    /// Who may not.
    pub suspended: i64,
    /// Who was deleted and is kept.
    pub deleted: i64,
}

impl Record for People {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            may_enter: row.get("may_enter")?,
            suspended: row.get("suspended")?,
            deleted: row.get("deleted")?,
        })
    }
}

/// Counts the people of a connection.
pub async fn people(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<People, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(CASE WHEN status IN ('active', 'blocked') THEN 1 END) AS may_enter, \
         COUNT(CASE WHEN status = 'suspended' THEN 1 END) AS suspended, \
         COUNT(CASE WHEN status = 'deleted' THEN 1 END) AS deleted \
         FROM accounts WHERE instance_id = $1 AND connection_id = $2",
    );
    Ok(tx.fetch_optional(sql.bind(instance).bind(connection)).await?.unwrap_or_default())
}

/// What the guard holds for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Holding {
    /// Accounts that the client has disabled.
    pub suspensions: i64,
    /// Those of them who may enter now, and are not about to be deleted.
    pub entering: i64,
    /// Accounts that the client has deleted.
    pub deletions: i64,
    /// Those of them who may enter now.
    pub deleted_entering: i64,
    /// Groups that the client has deleted.
    pub group_deletions: i64,
    /// Members whom the client has taken out of groups.
    pub removals: i64,
    /// When the oldest of all that was said.
    pub since: Option<Timestamp>,
}

impl Holding {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.suspensions + self.deletions + self.group_deletions + self.removals == 0
    }
}

struct Held {
    first: i64,
    second: i64,
    since: Option<Timestamp>,
}

impl Record for Held {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { first: row.get("first")?, second: row.get("second")?, since: row.get("since")? })
    }
}

/// Counts what the guard holds for a connection.
pub async fn holding(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Holding, StoreError> {
    let suspensions = Sql::new(
        "SELECT COUNT(*) AS first, COUNT(CASE WHEN status IN ('active', 'blocked') \
         AND deletion_held_at IS NULL THEN 1 END) AS second, MIN(suspension_held_at) AS since \
         FROM accounts WHERE instance_id = $1 AND connection_id = $2 AND deleted_at IS NULL \
         AND suspension_held_at IS NOT NULL",
    );
    let deletions = Sql::new(
        "SELECT COUNT(*) AS first, COUNT(CASE WHEN status IN ('active', 'blocked') THEN 1 END) \
         AS second, MIN(deletion_held_at) AS since FROM accounts WHERE instance_id = $1 \
         AND connection_id = $2 AND deleted_at IS NULL AND deletion_held_at IS NOT NULL",
    );
    let group_deletions = Sql::new(
        "SELECT COUNT(*) AS first, CAST(0 AS BIGINT) AS second, MIN(deletion_held_at) AS since \
         FROM groups WHERE instance_id = $1 AND connection_id = $2 AND deleted_at IS NULL \
         AND deletion_held_at IS NOT NULL",
    );
    let removals = Sql::new(
        "SELECT COUNT(*) AS first, CAST(0 AS BIGINT) AS second, MIN(m.removal_held_at) AS since \
         FROM groups g JOIN memberships m ON m.instance_id = g.instance_id AND m.group_id = g.id \
         WHERE g.instance_id = $1 AND g.connection_id = $2 AND g.deleted_at IS NULL \
         AND g.removals_held_at IS NOT NULL AND m.removal_held_at IS NOT NULL",
    );
    let mut held = Vec::with_capacity(4);
    for sql in [suspensions, deletions, group_deletions, removals] {
        let found = tx.fetch_optional::<Held>(sql.bind(instance).bind(connection)).await?;
        held.push(found.unwrap_or(Held { first: 0, second: 0, since: None }));
    }
    let since = held.iter().filter_map(|held| held.since).min();
    let mut held = held.into_iter().map(|held| (held.first, held.second));
    let mut next = || held.next().unwrap_or_default();
    let (suspended, deleted, groups, removed) = (next(), next(), next(), next());
    Ok(Holding {
        suspensions: suspended.0,
        entering: suspended.1,
        deletions: deleted.0,
        deleted_entering: deleted.1,
        group_deletions: groups.0,
        removals: removed.0,
        since,
    })
}

/// Whether the guard holds something of a kind for a connection.
pub async fn is_holding(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
) -> Result<bool, StoreError> {
    let sql = match kind {
        LossKind::Suspension => Sql::new(
            "SELECT COUNT(*) AS n FROM (SELECT 1 FROM accounts WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND suspension_held_at IS NOT NULL \
             LIMIT 1) h",
        ),
        LossKind::Deletion => Sql::new(
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM accounts WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND deletion_held_at IS NOT NULL \
             LIMIT 1) a) + (SELECT COUNT(*) FROM (SELECT 1 FROM groups WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND deletion_held_at IS NOT NULL \
             LIMIT 1) g) AS n",
        ),
        LossKind::Removal => Sql::new(
            "SELECT COUNT(*) AS n FROM (SELECT 1 FROM groups WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND removals_held_at IS NOT NULL \
             LIMIT 1) h",
        ),
    };
    Ok(count(tx, sql.bind(instance).bind(connection)).await? > 0)
}

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
    fn read(row: &Row) -> Result<Self, StoreError> {
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
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self(row.get("id")?, row.get("kind")?))
    }
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

/// How many members a group has.
pub async fn member_count(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<i64, StoreError> {
    let sql =
        Sql::new("SELECT COUNT(*) AS n FROM memberships WHERE instance_id = $1 AND group_id = $2");
    count(tx, sql.bind(instance).bind(group)).await
}

async fn count(tx: &mut Tx, sql: Sql) -> Result<i64, StoreError> {
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}
