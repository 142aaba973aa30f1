//! What is removed for good: accounts and groups that were deleted, with all rows that hang on them.
//!
//! Rows of the audit trail and of the reports of runs stay: they say what was.

use uuid::Uuid;

use super::row::{Count, Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{AccountId, ConnectionId, GroupId, InstanceId, Timestamp};

/// A deleted account or group that is about to be removed, as the audit trail names it.
#[derive(Debug, Clone)]
pub struct Gone {
    /// Its id.
    pub id: Uuid,
    /// Its user name, or the name of the group.
    pub name: String,
    /// The connection that owned it.
    pub connection: Option<ConnectionId>,
}

impl Record for Gone {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            connection: row.get("connection_id")?,
        })
    }
}

/// The first accounts that were deleted before a time, locked; those that somebody else has locked are
/// left to him.
pub async fn overdue_accounts(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Gone>, StoreError> {
    let sql = Sql::new(
        "SELECT a.id, a.user_name AS name, a.connection_id FROM accounts a \
         WHERE a.instance_id = $1 AND a.deleted_at > 0 AND a.deleted_at < $2 \
         ORDER BY a.deleted_at, a.id LIMIT $3",
    );
    lock_first(tx, sql.bind(instance).bind(before).bind(limit)).await
}

/// The first groups that were deleted before a time, locked as accounts are.
pub async fn overdue_groups(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Gone>, StoreError> {
    let sql = Sql::new(
        "SELECT g.id, g.display_name AS name, g.connection_id FROM groups g \
         WHERE g.instance_id = $1 AND g.deleted_at > 0 AND g.deleted_at < $2 \
         ORDER BY g.deleted_at, g.id LIMIT $3",
    );
    lock_first(tx, sql.bind(instance).bind(before).bind(limit)).await
}

async fn lock_first(tx: &mut Tx, mut sql: Sql) -> Result<Vec<Gone>, StoreError> {
    let lock = tx.dialect().for_update_unless_locked();
    sql.push(lock);
    tx.fetch_all(sql).await
}

/// Those of some accounts that are deleted, locked in the order of their ids; at most [`BATCH_MAX`].
pub async fn deleted_accounts(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Gone>, StoreError> {
    let mut sql = Sql::new(
        "SELECT a.id, a.user_name AS name, a.connection_id FROM accounts a \
         WHERE a.instance_id = $1 AND a.deleted_at IS NOT NULL AND a.id IN ",
    )
    .bind(instance);
    let for_update = tx.dialect().for_update();
    sql.push_list(ids.iter().copied()).push(" ORDER BY a.id").push(for_update);
    tx.fetch_all(sql).await
}

/// How much was deleted before a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Overdue {
    /// Accounts.
    pub accounts: i64,
    /// Groups.
    pub groups: i64,
}

/// Counts what was deleted before a time.
pub async fn count_overdue(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
) -> Result<Overdue, StoreError> {
    let accounts = Sql::new(
        "SELECT COUNT(*) AS n FROM accounts a WHERE a.instance_id = $1 \
         AND a.deleted_at > 0 AND a.deleted_at < $2",
    );
    let groups = Sql::new(
        "SELECT COUNT(*) AS n FROM groups g WHERE g.instance_id = $1 \
         AND g.deleted_at > 0 AND g.deleted_at < $2",
    );
    Ok(Overdue {
        accounts: count(tx, accounts.bind(instance).bind(before)).await?,
        groups: count(tx, groups.bind(instance).bind(before)).await?,
    })
}

async fn count(tx: &mut Tx, sql: Sql) -> Result<i64, StoreError> {
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}

/// What hangs on some accounts and goes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Hanging {
    /// E-mail addresses.
    pub emails: i64,
    /// Memberships in groups.
    pub memberships: i64,
    /// What connections have asked for on them.
    pub approvals: i64,
    /// Passwords.
    pub passwords: i64,
    /// Other deleted accounts that name one of them as their manager.
    pub reports: i64,
}

/// Counts what hangs on some accounts.
pub async fn hanging(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Hanging, StoreError> {
    let mut sum = Hanging::default();
    for ids in ids.chunks(BATCH_MAX) {
        for (sql, n) in [
            (
                Sql::new(
                    "SELECT COUNT(*) AS n FROM account_emails WHERE instance_id = $1 \
                     AND account_id IN ",
                ),
                &mut sum.emails,
            ),
            (
                Sql::new(
                    "SELECT COUNT(*) AS n FROM memberships WHERE instance_id = $1 \
                     AND member_id IN ",
                ),
                &mut sum.memberships,
            ),
            (
                Sql::new(
                    "SELECT COUNT(*) AS n FROM claims WHERE instance_id = $1 AND target_id IN ",
                ),
                &mut sum.approvals,
            ),
            (
                Sql::new(
                    "SELECT COUNT(*) AS n FROM account_passwords WHERE instance_id = $1 \
                     AND account_id IN ",
                ),
                &mut sum.passwords,
            ),
            (
                Sql::new(
                    "SELECT COUNT(*) AS n FROM accounts WHERE instance_id = $1 AND manager_id IN ",
                ),
                &mut sum.reports,
            ),
        ] {
            let mut sql = sql.bind(instance);
            sql.push_list(ids.iter().copied());
            *n += count(tx, sql).await?;
        }
    }
    Ok(sum)
}

/// Removes accounts and all rows that hang on them, at most [`BATCH_MAX`]. References to them as managers
/// are for [`super::managers::forget`].
pub async fn remove_accounts(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<(), StoreError> {
    let statements = [
        Sql::new("DELETE FROM account_emails WHERE instance_id = $1 AND account_id IN "),
        Sql::new("DELETE FROM account_passwords WHERE instance_id = $1 AND account_id IN "),
        Sql::new("DELETE FROM lookup_misses WHERE instance_id = $1 AND account_id IN "),
        Sql::new("DELETE FROM account_aliases WHERE instance_id = $1 AND account_id IN "),
        Sql::new(
            "DELETE FROM accounts WHERE instance_id = $1 AND +deleted_at IS NOT NULL AND id IN ",
        ),
    ];
    remove(tx, instance, ids, statements).await
}

/// Removes groups and all rows that hang on them, at most [`BATCH_MAX`]. The scopes that name them are for
/// [`forget_sync_groups`].
pub async fn remove_groups(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<(), StoreError> {
    let statements = [
        Sql::new("DELETE FROM memberships WHERE instance_id = $1 AND group_id IN "),
        Sql::new(
            "DELETE FROM groups WHERE instance_id = $1 AND +deleted_at IS NOT NULL AND id IN ",
        ),
    ];
    remove(tx, instance, ids, statements).await
}

/// Takes members out of all their groups. SQLite would look for them in all memberships of the instance,
/// unless it is told which rows they are; and the plus keeps it from all that were ever deleted.
async fn leave_groups(tx: &mut Tx, instance: InstanceId, ids: &[Uuid]) -> Result<(), StoreError> {
    let mut sql = Sql::new("DELETE FROM memberships WHERE instance_id = $1").bind(instance);
    sql.push(" AND (group_id, member_id) IN (SELECT m.group_id, m.member_id FROM memberships m");
    sql.push(" WHERE m.instance_id = $1 AND m.member_id IN ");
    sql.push_list(ids.iter().copied()).push(")");
    tx.execute(sql).await.map(drop)
}

/// Removes what hangs on accounts and groups alike, and then what the statements name.
async fn remove<const N: usize>(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
    statements: [Sql; N],
) -> Result<(), StoreError> {
    leave_groups(tx, instance, ids).await?;
    let alike = [
        Sql::new("DELETE FROM unique_values WHERE instance_id = $1 AND resource_id IN "),
        Sql::new("DELETE FROM claims WHERE instance_id = $1 AND target_id IN "),
    ];
    for sql in alike.into_iter().chain(statements) {
        let mut sql = sql.bind(instance);
        sql.push_list(ids.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

struct Named(ConnectionId, GroupId);

impl Record for Named {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("connection_id")?, row.get("group_id")?))
    }
}

/// Takes groups out of the scopes that name them; which connections named which of them.
pub async fn forget_sync_groups(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Vec<(ConnectionId, GroupId)>, StoreError> {
    let mut sql =
        Sql::new("DELETE FROM sync_groups WHERE instance_id = $1 AND group_id IN ").bind(instance);
    sql.push_list(ids.iter().copied()).push(" RETURNING connection_id, group_id");
    let found = tx.fetch_all::<Named>(sql).await?;
    Ok(found.into_iter().map(|Named(connection, group)| (connection, group)).collect())
}
