//! Accounts and what is indexed of them.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::query::{Purpose, Table};
use super::row::{Count, Id, Record, Row};
use super::sql::Bind;
use super::waist::Dialect;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::rules::ReferenceKind;
use crate::directory::{
    Account, AccountId, ConnectionId, Hand, InstanceId, ManagerLink, MemberId, Status,
    StatusReason, Timestamp, Waiting, ids,
};
use crate::scim::fold::fold;

/// The steps that a chain of managers is followed upwards; a circle that is longer goes unseen.
pub const MANAGER_CHAIN_MAX: i64 = 100;

/// How accounts are read.
pub const TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
             r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
             r.document, r.version, r.created_at, r.modified_at, r.deleted_at, r.in_scope, r.hand, \
             r.hand_at, r.hand_overtaken_at, r.protected, r.queued_at, r.missing, r.manager_wait, \
             r.fields, r.local_fields FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
    count: "SELECT COUNT(*) AS n FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
};

/// How deleted accounts are read.
pub const TOMBSTONE_TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
             r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
             r.document, r.version, r.created_at, r.modified_at, r.deleted_at, r.in_scope, r.hand, \
             r.hand_at, r.hand_overtaken_at, r.protected, r.queued_at, r.missing, r.manager_wait, \
             r.fields, r.local_fields FROM accounts r \
             WHERE r.instance_id = $1 AND r.deleted_at IS NOT NULL",
    count: "SELECT COUNT(*) AS n FROM accounts r WHERE r.instance_id = $1 \
            AND r.deleted_at IS NOT NULL",
};

impl Record for Account {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            connection: row.get("connection_id")?,
            document: row.get("document")?,
            user_name: row.get("user_name")?,
            external_id: row.get("external_id")?,
            display_name: row.get("display_name")?,
            employee_number: row.get("employee_number")?,
            active: row.get("active")?,
            status: row.get("status")?,
            reason: row.get("status_reason")?,
            in_scope: row.get("in_scope")?,
            hand: hand(row)?,
            protected: row.get("protected")?,
            queued_at: row.get("queued_at")?,
            missing: row.get("missing")?,
            fields: row.get("fields")?,
            local_fields: row.get("local_fields")?,
            manager: ManagerLink {
                sent: row.get("manager_ref")?,
                account: row.get("manager_id")?,
                waits: row.get("manager_wait")?,
            },
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            modified_at: row.get("modified_at")?,
            deleted_at: row.get("deleted_at")?,
        })
    }
}

fn hand(row: &Row) -> Result<Option<Hand>, StoreError> {
    let Some(word) = row.get("hand")? else { return Ok(None) };
    let overtaken_at = row.get("hand_overtaken_at")?;
    Ok(Some(Hand { word, at: row.get("hand_at")?, overtaken_at }))
}

/// Keeps a new account, unless a live one holds its user name: then nothing is kept and the answer is
/// `false`. The transaction stays usable.
pub async fn insert(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, \
         external_id, display_name, display_name_key, employee_number, active, status, \
         status_reason, manager_ref, manager_ref_key, manager_id, document, version, created_at, \
         modified_at, deleted_at, in_scope, hand, hand_at, hand_overtaken_at, protected, queued_at, \
         missing, manager_wait, fields, local_fields) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
         $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, \
         $28, $29, $30) ON CONFLICT DO NOTHING",
    );
    for value in columns(instance, account) {
        sql = sql.bind(value);
    }
    if tx.execute(sql).await? == 0 {
        return Ok(false);
    }
    insert_emails(tx, instance, account).await?;
    Ok(true)
}

/// Some live accounts, locked, in the order of their ids: who locks several does so in one order.
pub async fn lock(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Account>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(TABLE.select).bind(instance);
        let for_update = tx.dialect().for_update();
        sql.push(" AND r.id IN ").push_list(ids.iter().copied());
        sql.push(" ORDER BY r.id").push(for_update);
        found.extend(tx.fetch_all::<Account>(sql).await?);
    }
    Ok(found)
}

/// Locks accounts without reading them, deleted ones too, in the order of their ids: from now on they are
/// of whom they are. SQLite has one writer.
pub async fn hold(tx: &mut Tx, instance: InstanceId, ids: &[MemberId]) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("SELECT id FROM accounts WHERE instance_id = $1 AND id IN ").bind(instance);
        let for_update = tx.dialect().for_update();
        sql.push_list(ids.iter().copied()).push(" ORDER BY id").push(for_update);
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The next live accounts of a connection in the order of their ids.
pub async fn page_of(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    tx.fetch_all(of_connection(instance, connection, after, limit)).await
}

/// The same, locked.
pub async fn lock_page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = of_connection(instance, connection, after, limit);
    let for_update = tx.dialect().for_update();
    sql.push(for_update);
    tx.fetch_all(sql).await
}

fn of_connection(
    instance: InstanceId,
    connection: ConnectionId,
    after: Option<Uuid>,
    limit: i64,
) -> Sql {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    sql.push(" AND r.connection_id = ").push_bind(connection);
    if let Some(after) = after {
        sql.push(" AND r.id > ").push_bind(after);
    }
    sql.push(" ORDER BY r.id LIMIT ").push_bind(limit);
    sql
}

/// The first `limit` accounts that wait for a seat, locked, in the order of their arrival.
pub async fn queue(
    tx: &mut Tx,
    instance: InstanceId,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let mut sql = Sql::new(TABLE.select).bind(instance);
    let for_update = tx.dialect().for_update();
    sql.push(" AND r.queued_at IS NOT NULL ORDER BY r.queued_at, r.id LIMIT ");
    sql.push_bind(limit).push(for_update);
    tx.fetch_all(sql).await
}

/// The seats of an instance, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats {
    /// How many accounts have one.
    pub taken: i64,
    /// How many wait for one.
    pub waiting: i64,
}

impl Record for Seats {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { taken: row.get("taken")?, waiting: row.get("waiting")? })
    }
}

/// Counts the seats of an instance; looks at all of its accounts.
pub async fn count_seats(tx: &mut Tx, instance: InstanceId) -> Result<Seats, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(CASE WHEN a.status = 'active' AND NOT a.protected THEN 1 END) AS taken, \
         COUNT(a.queued_at) AS waiting FROM accounts a \
         WHERE a.instance_id = $1 AND a.deleted_at IS NULL",
    );
    let seats = tx.fetch_optional(sql.bind(instance)).await?;
    Ok(seats.unwrap_or(Seats { taken: 0, waiting: 0 }))
}

/// Some live accounts.
pub async fn some(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Account>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(TABLE.select).bind(instance);
        sql.push(" AND r.id IN ").push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Account>(sql).await?);
    }
    Ok(found)
}

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

/// An account by its id or its user name among those that were deleted; the last one of that name.
pub async fn tombstone(
    tx: &mut Tx,
    instance: InstanceId,
    name: Tombstone<'_>,
    purpose: Purpose,
) -> Result<Option<Account>, StoreError> {
    let mut sql = Sql::new(TOMBSTONE_TABLE.select).bind(instance);
    match name {
        Tombstone::Id(id) => sql.push(" AND r.id = ").push_bind(id),
        Tombstone::UserName(key) => sql.push(" AND r.user_name_key = ").push_bind(key),
    };
    sql.push(" ORDER BY r.deleted_at DESC, r.id LIMIT 1");
    if purpose == Purpose::Change {
        let for_update = tx.dialect().for_update();
        sql.push(for_update);
    }
    tx.fetch_optional(sql).await
}

/// How a deleted account is named.
#[derive(Debug, Clone, Copy)]
pub enum Tombstone<'n> {
    /// By its id.
    Id(AccountId),
    /// By its folded user name.
    UserName(&'n str),
}

/// What the rules made of an account: what several accounts can have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Standing {
    /// Whether the scope of its connection has it.
    pub in_scope: bool,
    /// The status.
    pub status: Status,
    /// Why.
    pub reason: Option<StatusReason>,
    /// Since when it waits for a seat.
    pub queued_at: Option<Timestamp>,
    /// When the identity provider overtook the administrator's word, if it just did.
    pub overtaken_at: Option<Timestamp>,
}

/// Gives some accounts a standing; `at` is when they changed.
pub async fn set_standing(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
    standing: &Standing,
    at: Timestamp,
) -> Result<(), StoreError> {
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "UPDATE accounts SET in_scope = $2, status = $3, status_reason = $4, queued_at = $5, \
             hand_overtaken_at = COALESCE($6, hand_overtaken_at), version = version + 1, \
             modified_at = $7 WHERE instance_id = $1 AND id IN ",
        )
        .bind(instance)
        .bind(standing.in_scope)
        .bind(standing.status.word())
        .bind(standing.reason.map(StatusReason::word))
        .bind(standing.queued_at)
        .bind(standing.overtaken_at)
        .bind(at);
        sql.push_list(ids.iter().copied());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Corrects what was just written of an account: its standing, in the same version.
pub async fn correct_standing(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE accounts SET in_scope = $3, status = $4, status_reason = $5, queued_at = $6 \
         WHERE instance_id = $1 AND id = $2",
    )
    .bind(instance)
    .bind(account.id)
    .bind(account.in_scope)
    .bind(account.status.word())
    .bind(account.reason.map(StatusReason::word))
    .bind(account.queued_at);
    tx.execute(sql).await.map(drop)
}

/// Keeps a changed account; `Conflict` if another live one holds its user name, `Stale` if the account
/// is no longer in the version before.
pub async fn update(
    tx: &mut Tx,
    instance: InstanceId,
    before: &Account,
    account: &Account,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE accounts SET connection_id = $3, user_name = $4, user_name_key = $5, \
         external_id = $6, display_name = $7, display_name_key = $8, employee_number = $9, \
         active = $10, status = $11, status_reason = $12, manager_ref = $13, \
         manager_ref_key = $14, manager_id = $15, document = $16, version = $17, created_at = $18, \
         modified_at = $19, deleted_at = $20, in_scope = $21, hand = $22, hand_at = $23, \
         hand_overtaken_at = $24, protected = $25, queued_at = $26, missing = $27, \
         manager_wait = $28, fields = $29, local_fields = $30 \
         WHERE instance_id = $1 AND id = $2 AND version = $31",
    );
    for value in columns(instance, account) {
        sql = sql.bind(value);
    }
    if tx.execute(sql.bind(before.version)).await? == 0 {
        return Err(StoreError::Stale);
    }
    if before.document.get("emails") != account.document.get("emails") {
        let sql = Sql::new("DELETE FROM account_emails WHERE instance_id = $1 AND account_id = $2");
        tx.execute(sql.bind(instance).bind(account.id)).await?;
        insert_emails(tx, instance, account).await?;
    }
    Ok(())
}

/// The values of an account's columns, in the order of `insert` and `update`.
fn columns(instance: InstanceId, account: &Account) -> [Bind; 30] {
    let key = |text: &Option<String>| text.as_deref().map(|text| fold(text).into_owned());
    [
        instance.into(),
        account.id.into(),
        account.connection.into(),
        account.user_name.as_str().into(),
        fold(&account.user_name).into_owned().into(),
        account.external_id.as_deref().into(),
        account.display_name.as_deref().into(),
        key(&account.display_name).into(),
        account.employee_number.as_deref().into(),
        account.active.into(),
        account.status.word().into(),
        account.reason.map(StatusReason::word).into(),
        account.manager.sent.as_deref().into(),
        key(&account.manager.sent).into(),
        account.manager.account.into(),
        Value::from(account.document.clone()).to_string().into(),
        account.version.into(),
        account.created_at.into(),
        account.modified_at.into(),
        account.deleted_at.into(),
        account.in_scope.into(),
        account.hand.map(|hand| hand.word.word()).into(),
        account.hand.map(|hand| hand.at).into(),
        account.hand.and_then(|hand| hand.overtaken_at).into(),
        account.protected.into(),
        account.queued_at.into(),
        (!account.missing.is_empty())
            .then(|| Value::from(account.missing.clone()).to_string())
            .into(),
        account.manager.waits.map(Waiting::word).into(),
        Value::from(account.fields.clone()).to_string().into(),
        Value::from(account.local_fields.clone()).to_string().into(),
    ]
}

/// The e-mail addresses of an account, folded, as they are indexed.
#[must_use]
pub fn email_keys(account: &Account) -> Vec<String> {
    let emails = account.document.get("emails").and_then(Value::as_array);
    emails
        .into_iter()
        .flatten()
        .filter_map(|email| email.get("value")?.as_str())
        .map(|value| fold(value).into_owned())
        .collect()
}

async fn insert_emails(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<(), StoreError> {
    let keys = email_keys(account);
    let rows: Vec<[Bind; 4]> = (0..)
        .zip(keys)
        .map(|(position, key): (i64, _)| {
            [instance.into(), account.id.into(), position.into(), key.into()]
        })
        .collect();
    for rows in rows.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO account_emails (instance_id, account_id, position, value_key) VALUES ",
        );
        sql.push_rows(rows.iter().cloned());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The references to managers that one statement looks up.
pub const REFERENCES_AT_ONCE: usize = 100;

/// An account that answers to a reference to a manager.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The place of the reference in the list that was asked for.
    pub reference: i64,
    /// How the account answers to it.
    pub kind: ReferenceKind,
    /// The account.
    pub account: AccountId,
    /// Whether the scope of its connection has it.
    pub in_scope: bool,
}

impl Record for Candidate {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let kind = match row.get::<i64>("kind")? {
            1 => ReferenceKind::Id,
            2 => ReferenceKind::ExternalId,
            3 => ReferenceKind::UserName,
            4 => ReferenceKind::Email,
            _ => ReferenceKind::EmployeeNumber,
        };
        Ok(Self {
            reference: row.get("place")?,
            kind,
            account: row.get("id")?,
            in_scope: row.get("in_scope")?,
        })
    }
}

/// The live accounts that answer to references to managers, each among those of its connection, and
/// how; at most [`REFERENCES_AT_ONCE`] references.
pub async fn manager_candidates(
    tx: &mut Tx,
    instance: InstanceId,
    references: &[Reference],
) -> Result<Vec<Candidate>, StoreError> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("WITH wanted (place, connection_id, id, sent, sent_key) AS (VALUES ")
        .bind(instance);
    sql.push_rows((0_i64..).zip(references).map(|(place, reference)| {
        [
            Bind::from(place),
            reference.connection.into(),
            Bind::Uuid(ids::exact(&reference.sent)),
            reference.sent.as_str().into(),
            fold(&reference.sent).into_owned().into(),
        ]
    }));
    sql.push(
        ") SELECT CAST(1 AS BIGINT) AS kind, w.place, a.id, a.in_scope FROM wanted w \
         JOIN accounts a ON a.instance_id = $1 AND a.id = w.id \
         WHERE a.connection_id = w.connection_id AND a.deleted_at IS NULL \
         UNION ALL SELECT 2, w.place, a.id, a.in_scope FROM wanted w \
         JOIN accounts a ON a.instance_id = $1 AND a.external_id = w.sent \
         WHERE a.connection_id = w.connection_id AND a.deleted_at IS NULL \
         UNION ALL SELECT 3, w.place, a.id, a.in_scope FROM wanted w \
         JOIN accounts a ON a.instance_id = $1 AND a.user_name_key = w.sent_key \
         AND a.deleted_at IS NULL WHERE a.connection_id = w.connection_id \
         UNION ALL SELECT 4, w.place, a.id, a.in_scope FROM wanted w \
         JOIN account_emails e ON e.instance_id = $1 AND e.value_key = w.sent_key \
         JOIN accounts a ON a.instance_id = $1 AND a.id = e.account_id \
         WHERE a.connection_id = w.connection_id AND a.deleted_at IS NULL \
         UNION ALL SELECT 5, w.place, a.id, a.in_scope FROM wanted w \
         JOIN accounts a ON a.instance_id = $1 AND a.employee_number = w.sent \
         WHERE a.connection_id = w.connection_id AND a.deleted_at IS NULL ORDER BY 1 LIMIT 10000",
    );
    tx.fetch_all(sql).await
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
    fn read(row: &Row) -> Result<Self, StoreError> {
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
         FROM chain c JOIN accounts a ON a.instance_id = $1 AND a.id = c.id \
         WHERE a.manager_id IS NOT NULL AND c.step < $3) SELECT id FROM chain ORDER BY step",
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
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "WITH RECURSIVE up (id) AS (SELECT a.id FROM accounts a WHERE a.instance_id = $1 \
             AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied()).push(
            " UNION SELECT a.manager_id FROM up u JOIN accounts a \
             ON a.instance_id = $1 AND a.id = u.id WHERE a.manager_id IS NOT NULL) \
             SELECT DISTINCT a.connection_id, a.manager_ref FROM up u JOIN accounts a \
             ON a.instance_id = $1 AND a.id = u.id WHERE a.manager_wait = 'circle' \
             AND a.connection_id IS NOT NULL AND a.deleted_at IS NULL",
        );
        found.extend(tx.fetch_all::<Reference>(sql).await?);
    }
    Ok(found)
}

/// How many other protected accounts are active.
pub async fn protected_besides(
    tx: &mut Tx,
    instance: InstanceId,
    id: AccountId,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM accounts a WHERE a.instance_id = $1 AND a.protected \
         AND a.status = 'active' AND a.deleted_at IS NULL AND a.id <> $2",
    );
    let counted = tx.fetch_optional::<Count>(sql.bind(instance).bind(id)).await?;
    Ok(counted.map_or(0, |count| count.0))
}
