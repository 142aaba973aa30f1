//! Who reports to whom: references to managers as they were sent, whom they name, and the links.

use std::borrow::Cow;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::accounts::TABLE;
use super::row::{Count, Id, Record, Row};
use super::sql::Bind;
use super::waist::Dialect;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::rules::ReferenceKind;
use crate::directory::{Account, AccountId, ConnectionId, InstanceId, Timestamp, Waiting, ids};
use crate::scim::fold::fold;

/// The steps that a chain of managers is followed upwards; a circle that is longer goes unseen.
pub const MANAGER_CHAIN_MAX: i64 = 100;

/// The live accounts that are linked to a manager, in the order of their ids.
pub async fn reports(
    tx: &mut Tx,
    instance: InstanceId,
    manager: AccountId,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    sql.push(" AND r.manager_id = ").push_bind(manager);
    push_after(&mut sql, after, limit);
    tx.fetch_all(sql).await
}

/// How many live accounts are linked to a manager.
pub async fn count_reports(
    tx: &mut Tx,
    instance: InstanceId,
    manager: AccountId,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new(TABLE.count).bind(instance);
    sql.push(" AND r.manager_id = ").push_bind(manager);
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}

/// The live accounts whose reference to a manager waits, in the order of their ids.
pub async fn unlinked(
    tx: &mut Tx,
    instance: InstanceId,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    sql.push(" AND r.manager_wait IS NOT NULL");
    push_after(&mut sql, after, limit);
    tx.fetch_all(sql).await
}

fn push_after(sql: &mut Sql, after: Option<AccountId>, limit: i64) {
    if let Some(after) = after {
        sql.push(" AND r.id > ").push_bind(after);
    }
    sql.push(" ORDER BY r.id LIMIT ").push_bind(limit);
}

/// An account by one of the names that references to managers use.
#[derive(Debug, Clone)]
pub struct Named {
    /// The connection whose accounts may use the name.
    pub connection: ConnectionId,
    /// What kind of name it is.
    pub kind: ReferenceKind,
    /// The name, folded if case does not matter in it.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// Whether the scope of its connection has it.
    pub in_scope: bool,
}

impl Record for Named {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let kind = match row.get::<i64>("kind")? {
            1 => ReferenceKind::Id,
            2 => ReferenceKind::ExternalId,
            3 => ReferenceKind::UserName,
            4 => ReferenceKind::Email,
            _ => ReferenceKind::EmployeeNumber,
        };
        let account: AccountId = row.get("id")?;
        Ok(Self {
            connection: row.get("connection_id")?,
            kind,
            name: row.get::<Option<String>>("name")?.unwrap_or_else(|| account.to_string()),
            account,
            in_scope: row.get("in_scope")?,
        })
    }
}

/// The live accounts of connections that one of these references could name, by that name; at most
/// [`BATCH_MAX`] references.
pub async fn named(
    tx: &mut Tx,
    instance: InstanceId,
    references: &[Reference],
) -> Result<Vec<Named>, StoreError> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let connections: BTreeSet<ConnectionId> = references.iter().map(|one| one.connection).collect();
    let ids: Vec<Uuid> = references.iter().filter_map(|one| ids::exact(&one.sent)).collect();
    let texts: Vec<&str> = references.iter().map(|one| one.sent.as_str()).collect();
    let keys: Vec<Cow<'_, str>> = texts.iter().map(|sent| fold(sent)).collect();
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    let mut sql = Sql::new(
        "SELECT CAST(2 AS BIGINT) AS kind, a.external_id AS name, a.connection_id, a.id, a.in_scope \
         FROM accounts a WHERE a.instance_id = $1",
    )
    .bind(instance);
    push_named(&mut sql, &connections, "a.external_id", &texts);
    sql.push(
        " UNION ALL SELECT 3, a.user_name_key, a.connection_id, a.id, a.in_scope \
         FROM accounts a WHERE a.instance_id = $1",
    );
    push_named(&mut sql, &connections, "a.user_name_key", &keys);
    sql.push(
        " UNION ALL SELECT 4, e.value_key, a.connection_id, a.id, a.in_scope \
         FROM account_emails e CROSS JOIN accounts a \
         WHERE e.instance_id = $1 AND a.instance_id = $1 AND a.id = e.account_id",
    );
    push_named(&mut sql, &connections, "e.value_key", &keys);
    sql.push(
        " UNION ALL SELECT 5, a.employee_number, a.connection_id, a.id, a.in_scope \
         FROM accounts a WHERE a.instance_id = $1",
    );
    push_named(&mut sql, &connections, "a.employee_number", &texts);
    if !ids.is_empty() {
        sql.push(
            " UNION ALL SELECT 1, NULL, a.connection_id, a.id, a.in_scope FROM accounts a \
             WHERE a.instance_id = $1",
        );
        push_named(&mut sql, &connections, "a.id", &ids);
    }
    sql.push(" ORDER BY 1 LIMIT 50000");
    tx.fetch_all(sql).await
}

fn push_named<T: Into<Bind> + Clone>(
    sql: &mut Sql,
    connections: &BTreeSet<ConnectionId>,
    name: &'static str,
    among: &[T],
) {
    sql.push(" AND a.deleted_at IS NULL AND a.connection_id IN ");
    sql.push_list(connections.iter().copied()).push(" AND ").push(name).push(" IN ");
    sql.push_list(among.iter().cloned());
}

/// Locks accounts for sharing, so that nobody changes them before this transaction ends; whether that
/// was needed. SQLite has one writer.
pub async fn share(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &BTreeSet<AccountId>,
) -> Result<bool, StoreError> {
    if tx.dialect() == Dialect::Sqlite || ids.is_empty() {
        return Ok(false);
    }
    let ids: Vec<AccountId> = ids.iter().copied().collect();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("SELECT id FROM accounts WHERE instance_id = $1 AND id IN ").bind(instance);
        let for_share = tx.dialect().for_share();
        sql.push_list(ids.iter().copied()).push(" ORDER BY id").push(for_share);
        tx.execute(sql).await?;
    }
    Ok(true)
}

/// A reference to a manager that accounts of a connection hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The connection of the accounts.
    pub connection: ConnectionId,
    /// The reference as sent.
    pub sent: String,
}

impl Record for Reference {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { connection: row.get("connection_id")?, sent: row.get("manager_ref")? })
    }
}

/// The references whose folded text is one of `keys`, each once.
pub async fn references(
    tx: &mut Tx,
    instance: InstanceId,
    keys: &[String],
) -> Result<Vec<Reference>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT DISTINCT a.connection_id, a.manager_ref FROM accounts a \
             WHERE a.instance_id = $1 AND a.connection_id IS NOT NULL AND a.deleted_at IS NULL \
             AND a.manager_ref_key IN ",
        )
        .bind(instance);
        sql.push_list(keys.iter().map(String::as_str));
        found.extend(tx.fetch_all::<Reference>(sql).await?);
    }
    Ok(found)
}

/// Links all accounts that hold a reference to `manager`; those in `except` stay as they are. The ids
/// of the accounts whose link changed.
pub async fn link(
    tx: &mut Tx,
    instance: InstanceId,
    reference: &Reference,
    manager: AccountId,
    except: &[AccountId],
    at: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE accounts SET manager_id = $4, manager_wait = NULL, version = version + 1, \
         modified_at = $5 WHERE instance_id = $1 AND connection_id = $2 AND manager_ref = $3 \
         AND manager_ref_key = $6 AND deleted_at IS NULL AND manager_id IS DISTINCT FROM $4",
    )
    .bind(instance)
    .bind(reference.connection)
    .bind(reference.sent.as_str())
    .bind(manager)
    .bind(at)
    .bind(fold(&reference.sent).into_owned());
    if !except.is_empty() {
        sql.push(" AND id NOT IN ").push_list(except.iter().copied());
    }
    sql.push(" RETURNING id");
    changed(tx, sql).await
}

/// Unlinks those of `above` that hold a reference, because they would report to somebody below them. The
/// ids of the accounts that changed.
pub async fn refuse_circle(
    tx: &mut Tx,
    instance: InstanceId,
    reference: &Reference,
    above: &[AccountId],
    at: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE accounts SET manager_id = NULL, manager_wait = $4, version = version + 1, \
         modified_at = $5 WHERE instance_id = $1 AND connection_id = $2 AND manager_ref = $3 \
         AND deleted_at IS NULL AND (manager_id IS NOT NULL OR manager_wait IS DISTINCT FROM $4) \
         AND id IN ",
    )
    .bind(instance)
    .bind(reference.connection)
    .bind(reference.sent.as_str())
    .bind(Waiting::Circle.word())
    .bind(at);
    sql.push_list(above.iter().copied()).push(" RETURNING id");
    changed(tx, sql).await
}

/// Unlinks all accounts that hold one of these references, which name nobody now. The ids of the
/// accounts that changed.
pub async fn unlink(
    tx: &mut Tx,
    instance: InstanceId,
    references: &[Reference],
    waits: Waiting,
    at: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let mut all = Vec::new();
    for references in references.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE accounts SET manager_id = NULL, manager_wait = $2, version = version + 1, \
             modified_at = $3 WHERE instance_id = $1 AND deleted_at IS NULL \
             AND (manager_id IS NOT NULL OR manager_wait IS DISTINCT FROM $2) \
             AND manager_ref_key IN ",
        )
        .bind(instance)
        .bind(waits.word())
        .bind(at);
        sql.push_list(references.iter().map(|reference| fold(&reference.sent).into_owned()));
        sql.push(" AND (connection_id, manager_ref) IN (VALUES ");
        sql.push_rows(
            references.iter().map(|reference| {
                [Bind::from(reference.connection), reference.sent.as_str().into()]
            }),
        );
        sql.push(") RETURNING id");
        all.extend(changed(tx, sql).await?);
    }
    Ok(all)
}

/// Unlinks whoever is linked to one of these accounts, which are removed; at most [`BATCH_MAX`]. The ids of
/// the accounts that changed: nobody but the deleted is linked to somebody deleted.
pub async fn forget(
    tx: &mut Tx,
    instance: InstanceId,
    managers: &[Uuid],
    at: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE accounts SET manager_id = NULL, manager_wait = $2, version = version + 1, \
         modified_at = $3 WHERE instance_id = $1 AND manager_id IN ",
    )
    .bind(instance)
    .bind(Waiting::Nobody.word())
    .bind(at);
    sql.push_list(managers.iter().copied()).push(" RETURNING id");
    changed(tx, sql).await
}

async fn changed(tx: &mut Tx, sql: Sql) -> Result<Vec<AccountId>, StoreError> {
    Ok(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id).collect())
}

/// An account and all its managers upwards, nearest first: whom it must not be the manager of.
///
/// The rows are locked for sharing, so that no concurrent writer moves one of them below the account
/// before this transaction ends; two who would close a circle together meet in a deadlock, which one of
/// them loses and repeats.
pub async fn chain_above(
    tx: &mut Tx,
    instance: InstanceId,
    id: AccountId,
) -> Result<Vec<AccountId>, StoreError> {
    let mut chain = read_chain(tx, instance, id).await?;
    while tx.dialect() == Dialect::Postgres {
        for ids in chain.chunks(BATCH_MAX) {
            let mut sql = Sql::new("SELECT id FROM accounts WHERE instance_id = $1 AND id IN ")
                .bind(instance);
            let for_share = tx.dialect().for_share();
            sql.push_list(ids.iter().copied()).push(for_share);
            tx.execute(sql).await?;
        }
        // Somebody may have moved one of them before the lock was had.
        let locked = std::mem::replace(&mut chain, read_chain(tx, instance, id).await?);
        if chain.iter().all(|id| locked.contains(id)) {
            break;
        }
    }
    Ok(chain)
}

/// An account and all its managers upwards, nearest first, as they are just now.
pub async fn read_chain(
    tx: &mut Tx,
    instance: InstanceId,
    id: AccountId,
) -> Result<Vec<AccountId>, StoreError> {
    let sql = Sql::new(
        "WITH RECURSIVE chain (id, step) AS (SELECT a.id, CAST(0 AS BIGINT) FROM accounts a \
         WHERE a.instance_id = $1 AND a.id = $2 UNION ALL SELECT a.manager_id, c.step + 1 \
         FROM chain c CROSS JOIN accounts a WHERE a.instance_id = $1 AND a.id = c.id \
         AND a.manager_id IS NOT NULL AND c.step < $3) SELECT id FROM chain ORDER BY step",
    )
    .bind(instance)
    .bind(id)
    .bind(MANAGER_CHAIN_MAX);
    Ok(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id).collect())
}

/// The references that wait because the link would have closed a circle, of these accounts and of those
/// above them.
pub async fn circles_above(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Reference>, StoreError> {
    let mut above = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "WITH RECURSIVE up (id) AS (SELECT a.id FROM accounts a WHERE a.instance_id = $1 \
             AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied()).push(
            " UNION SELECT a.manager_id FROM up u CROSS JOIN accounts a \
             WHERE a.instance_id = $1 AND a.id = u.id AND a.manager_id IS NOT NULL) \
             SELECT id FROM up",
        );
        above.extend(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    let mut found = Vec::new();
    for ids in above.chunks(BATCH_MAX) {
        // COALESCE keeps the planner on the ids, away from the index of all references that wait.
        let mut sql = Sql::new(
            "SELECT DISTINCT a.connection_id, a.manager_ref FROM accounts a \
             WHERE a.instance_id = $1 AND COALESCE(a.manager_wait, '') = 'circle' \
             AND a.connection_id IS NOT NULL AND a.deleted_at IS NULL AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Reference>(sql).await?);
    }
    Ok(found)
}
