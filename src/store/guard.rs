//! What the guard for pushes counts: losses, what there is to lose, what is held.
//!
//! A loss is a row of `guard_losses`, so that who counts and who adds never wait for each other.

use uuid::Uuid;

use super::row::{Count, Record, Row};
use super::{Sql, StoreError, Tx};
use crate::directory::{ConnectionId, GroupId, InstanceId, LossKind, Timestamp};

/// How many losses of a kind there were since a time: as many rows as came through, which the limit bounds.
pub async fn lost(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    kind: LossKind,
    since: Timestamp,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(losses), 0) AS BIGINT) AS n FROM guard_losses \
         WHERE instance_id = $1 AND connection_id = $2 AND kind = $3 AND at > $4",
    );
    count(tx, sql.bind(instance).bind(connection).bind(kind.word()).bind(since)).await
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
        "SELECT CAST(1 AS BIGINT) AS n FROM guard_losses WHERE instance_id = $1 AND at < $2 LIMIT 1",
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
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
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
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
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
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
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
    let accounts_suspended = || {
        Sql::new(
            "SELECT CAST(1 AS BIGINT) AS n FROM accounts WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND suspension_held_at IS NOT NULL \
             LIMIT 1",
        )
    };
    let accounts_deleted = || {
        Sql::new(
            "SELECT CAST(1 AS BIGINT) AS n FROM accounts WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND deletion_held_at IS NOT NULL \
             LIMIT 1",
        )
    };
    let groups_deleted = || {
        Sql::new(
            "SELECT CAST(1 AS BIGINT) AS n FROM groups WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND deletion_held_at IS NOT NULL \
             LIMIT 1",
        )
    };
    let groups_left = || {
        Sql::new(
            "SELECT CAST(1 AS BIGINT) AS n FROM groups WHERE instance_id = $1 \
             AND connection_id = $2 AND deleted_at IS NULL AND removals_held_at IS NOT NULL \
             LIMIT 1",
        )
    };
    let statements = match kind {
        LossKind::Suspension => vec![accounts_suspended()],
        LossKind::Deletion => vec![accounts_deleted(), groups_deleted()],
        LossKind::Removal => vec![groups_left()],
    };
    for sql in statements {
        if count(tx, sql.bind(instance).bind(connection)).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
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
