//! Accounts and what is indexed of them.

use serde_json::Value;

use super::query::Table;
use super::row::{Id, Record, Row};
use super::sql::Bind;
use super::waist::Dialect;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::rules::ReferenceKind;
use crate::directory::{
    Account, AccountId, ConnectionId, Hand, InstanceId, ManagerLink, StatusReason, Timestamp,
    Waiting, ids,
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

struct Candidate(ReferenceKind, AccountId);

impl Record for Candidate {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let kind = match row.get::<i64>("kind")? {
            1 => ReferenceKind::Id,
            2 => ReferenceKind::ExternalId,
            3 => ReferenceKind::UserName,
            4 => ReferenceKind::Email,
            _ => ReferenceKind::EmployeeNumber,
        };
        Ok(Self(kind, row.get("id")?))
    }
}

/// The accounts of a connection that answer to a reference to a manager, and how.
pub async fn manager_candidates(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    reference: &str,
) -> Result<Vec<(ReferenceKind, AccountId)>, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(1 AS BIGINT) AS kind, a.id FROM accounts a WHERE a.instance_id = $1 \
         AND a.connection_id = $2 AND a.deleted_at IS NULL AND a.id = $3 \
         UNION ALL SELECT 2, a.id FROM accounts a WHERE a.instance_id = $1 \
         AND a.connection_id = $2 AND a.deleted_at IS NULL AND a.external_id = $4 \
         UNION ALL SELECT 3, a.id FROM accounts a WHERE a.instance_id = $1 \
         AND a.connection_id = $2 AND a.deleted_at IS NULL AND a.user_name_key = $5 \
         UNION ALL SELECT 4, a.id FROM account_emails e JOIN accounts a \
         ON a.instance_id = e.instance_id AND a.id = e.account_id WHERE e.instance_id = $1 \
         AND e.value_key = $5 AND a.connection_id = $2 AND a.deleted_at IS NULL \
         UNION ALL SELECT 5, a.id FROM accounts a WHERE a.instance_id = $1 \
         AND a.connection_id = $2 AND a.deleted_at IS NULL AND a.employee_number = $4 \
         ORDER BY 1 LIMIT 100",
    )
    .bind(instance)
    .bind(connection)
    .bind(Bind::Uuid(ids::exact(reference)))
    .bind(reference)
    .bind(fold(reference).into_owned());
    let found = tx.fetch_all::<Candidate>(sql).await?;
    Ok(found.into_iter().map(|Candidate(kind, id)| (kind, id)).collect())
}

/// A reference to a manager that accounts of a connection hold.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Links all accounts that hold a reference to `manager`, or to nobody; those in `except` stay as
/// they are. The ids of the accounts whose link changed.
pub async fn link(
    tx: &mut Tx,
    instance: InstanceId,
    reference: &Reference,
    manager: Option<AccountId>,
    except: &[AccountId],
    at: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE accounts SET manager_id = $4, version = version + 1, modified_at = $5 \
         WHERE instance_id = $1 AND connection_id = $2 AND manager_ref = $3 \
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

async fn read_chain(
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

/// The references of those of some accounts that are linked to nobody.
pub async fn waiting(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Reference>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT DISTINCT a.connection_id, a.manager_ref FROM accounts a \
             WHERE a.instance_id = $1 AND a.connection_id IS NOT NULL AND a.deleted_at IS NULL \
             AND a.manager_ref IS NOT NULL AND a.manager_id IS NULL AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(ids.iter().copied());
        found.extend(tx.fetch_all::<Reference>(sql).await?);
    }
    Ok(found)
}
