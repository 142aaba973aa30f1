//! Accounts and what is indexed of them.

use serde_json::Value;
use uuid::Uuid;

use super::query::{Purpose, Table};
use super::row::{Count, Record, Row};
use super::sql::Bind;
use super::waist::Dialect;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{
    Account, AccountId, ConnectionId, Hand, InstanceId, ManagerLink, MemberId, Status,
    StatusReason, Timestamp, Waiting,
};
use crate::scim::fold::fold;

/// How accounts are read.
pub const TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
             r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
             r.manager_wait, r.document, r.version, r.created_at, r.modified_at, r.deleted_at, \
             r.in_scope, r.hand, r.hand_at, r.hand_overtaken_at, r.protected, r.queued_at, \
             r.missing, r.fields, r.local_fields, r.in_source, r.suspension_held_at, \
             r.deletion_held_at FROM accounts r \
             WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
    count: "SELECT COUNT(*) AS n FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NULL",
};

/// How deleted accounts are read.
pub const TOMBSTONE_TABLE: Table = Table {
    select: "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
             r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
             r.manager_wait, r.document, r.version, r.created_at, r.modified_at, r.deleted_at, \
             r.in_scope, r.hand, r.hand_at, r.hand_overtaken_at, r.protected, r.queued_at, \
             r.missing, r.fields, r.local_fields, r.in_source, r.suspension_held_at, \
             r.deletion_held_at FROM accounts r \
             WHERE r.instance_id = $1 AND r.deleted_at IS NOT NULL",
    count: "SELECT COUNT(*) AS n FROM accounts r WHERE r.instance_id = $1 \
            AND r.deleted_at IS NOT NULL",
};

impl Record for Account {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        // In the order of the columns, which is how they are found fast.
        Ok(Self {
            id: row.get("id")?,
            connection: row.get("connection_id")?,
            user_name: row.get("user_name")?,
            external_id: row.get("external_id")?,
            display_name: row.get("display_name")?,
            employee_number: row.get("employee_number")?,
            active: row.get("active")?,
            status: row.get("status")?,
            reason: row.get("status_reason")?,
            manager: ManagerLink {
                sent: row.get("manager_ref")?,
                account: row.get("manager_id")?,
                waits: row.get("manager_wait")?,
            },
            document: row.get("document")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            modified_at: row.get("modified_at")?,
            deleted_at: row.get("deleted_at")?,
            in_scope: row.get("in_scope")?,
            hand: hand(row)?,
            protected: row.get("protected")?,
            queued_at: row.get("queued_at")?,
            missing: row.get("missing")?,
            fields: row.get("fields")?,
            local_fields: row.get("local_fields")?,
            in_source: row.get("in_source")?,
            suspension_held_at: row.get("suspension_held_at")?,
            deletion_held_at: row.get("deletion_held_at")?,
        })
    }
}

fn hand(row: &Row<'_>) -> Result<Option<Hand>, StoreError> {
    let Some(word) = row.get("hand")? else { return Ok(None) };
    let at = row.get("hand_at")?;
    Ok(Some(Hand { word, at, overtaken_at: row.get("hand_overtaken_at")? }))
}

/// Keeps new accounts, unless a live one holds the user name of one of them: then that one is not kept and
/// the answer is `false`; those beside it are half kept, for the caller to take back. The transaction stays
/// usable.
pub async fn insert(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[Account],
) -> Result<bool, StoreError> {
    for accounts in accounts.chunks(BATCH_MAX) {
        if !insert_rows(tx, instance, accounts).await? {
            return Ok(false);
        }
    }
    insert_emails(tx, instance, accounts).await?;
    Ok(true)
}

async fn insert_rows(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[Account],
) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, \
         external_id, display_name, display_name_key, employee_number, active, status, \
         status_reason, manager_ref, manager_ref_key, manager_id, document, version, created_at, \
         modified_at, deleted_at, in_scope, hand, hand_at, hand_overtaken_at, protected, queued_at, \
         missing, manager_wait, fields, local_fields, in_source, suspended_at, suspension_held_at, \
         deletion_held_at) VALUES ",
    );
    sql.push_rows(accounts.iter().map(|account| columns(instance, account)));
    sql.push(" ON CONFLICT DO NOTHING");
    Ok(usize::try_from(tx.execute(sql).await?) == Ok(accounts.len()))
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
        Tombstone::ExternalId(connection, id) => {
            sql.push(" AND r.connection_id = ").push_bind(connection);
            sql.push(" AND r.external_id = ").push_bind(id)
        }
    };
    sql.push(" ORDER BY r.deleted_at DESC, r.id LIMIT 1");
    if purpose == Purpose::Change && tx.dialect() == Dialect::Postgres {
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
    /// By its connection's name for it.
    ExternalId(ConnectionId, &'n str),
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
         manager_wait = $28, fields = $29, local_fields = $30, in_source = $31, suspended_at = CASE \
         WHEN CAST($32 AS BIGINT) IS NULL THEN NULL WHEN connection_id IS NOT DISTINCT FROM $3 \
         THEN COALESCE(suspended_at, $32) ELSE $32 END, suspension_held_at = $33, \
         deletion_held_at = $34 WHERE instance_id = $1 AND id = $2 AND version = $35",
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
        insert_emails(tx, instance, std::slice::from_ref(account)).await?;
    }
    Ok(())
}

/// The values of an account's columns, in the order of `insert` and `update`.
fn columns(instance: InstanceId, account: &Account) -> [Bind; 34] {
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
        account.in_source.into(),
        account.suspended_since(account.modified_at).into(),
        account.suspension_held_at.into(),
        account.deletion_held_at.into(),
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
    accounts: &[Account],
) -> Result<(), StoreError> {
    let of = |account: &Account| {
        let (id, keys) = (account.id, email_keys(account));
        (0_i64..).zip(keys).map(move |(position, key)| -> [Bind; 4] {
            [instance.into(), id.into(), position.into(), key.into()]
        })
    };
    let rows: Vec<[Bind; 4]> = accounts.iter().flat_map(of).collect();
    for rows in rows.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO account_emails (instance_id, account_id, position, value_key) VALUES ",
        );
        sql.push_rows(rows.iter().cloned());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// By which column accounts are sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// By the folded user name, whoever owns them.
    UserName,
    /// By the client's own name for them, among those of a connection.
    ExternalId(ConnectionId),
}

/// Has PostgreSQL look at how many people there are, as it does by itself only once a minute: before that,
/// it plans for a table in which no instance has many. SQLite needs none of it.
pub async fn learn(tx: &mut Tx) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Postgres {
        // Who is at it already does it for everybody.
        let learn = "ANALYZE (SKIP_LOCKED) accounts, account_emails, memberships, unique_values";
        tx.execute(Sql::new(learn)).await?;
    }
    Ok(())
}

/// Whether so many rows have come or changed that PostgreSQL plans for tables which are long others; never on
/// SQLite.
pub async fn has_outgrown_plans(tx: &mut Tx) -> Result<bool, StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(false);
    }
    let outgrown = "SELECT COUNT(*) AS n FROM pg_stat_user_tables WHERE schemaname = current_schema() \
         AND relname IN ('accounts', 'account_emails', 'memberships', 'unique_values') \
         AND n_mod_since_analyze > 500 AND n_mod_since_analyze > n_live_tup / 4";
    Ok(tx.fetch_optional::<Count>(Sql::new(outgrown)).await?.is_some_and(|Count(n)| n > 0))
}

/// The live accounts that answer to one of these keys; locked, in the order of their ids, if they are
/// about to change and the database locks rows.
pub async fn by_keys(
    tx: &mut Tx,
    instance: InstanceId,
    sought: Sought,
    keys: &[&str],
    purpose: Purpose,
) -> Result<Vec<Account>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(BATCH_MAX) {
        let mut sql = Sql::new(TABLE.select).bind(instance);
        match sought {
            Sought::UserName => sql.push(" AND r.user_name_key IN "),
            Sought::ExternalId(connection) => {
                sql.push(" AND r.connection_id = ").push_bind(connection);
                sql.push(" AND r.external_id IN ")
            }
        };
        sql.push_list(keys.iter().copied());
        // The order is that of the locks. SQLite, which locks no rows, would read all accounts of the
        // instance for the sake of it.
        if purpose == Purpose::Change && tx.dialect() == Dialect::Postgres {
            let for_update = tx.dialect().for_update();
            sql.push(" ORDER BY r.id").push(for_update);
        }
        found.extend(tx.fetch_all::<Account>(sql).await?);
    }
    Ok(found)
}

/// An account of a connection as a pull compares it with its source.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: AccountId,
    /// Its folded user name.
    pub user_name_key: String,
    /// The source's own name for it.
    pub external_id: Option<String>,
    /// Whether the last complete pull had it.
    pub in_source: bool,
    /// What the rules make of it.
    pub status: Status,
}

impl Listed {
    /// Whether the person can enter, or could with a seat.
    #[must_use]
    pub fn can_enter(&self) -> bool {
        matches!(self.status, Status::Active | Status::Blocked)
    }
}

impl Record for Listed {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            user_name_key: row.get("user_name_key")?,
            external_id: row.get("external_id")?,
            in_source: row.get("in_source")?,
            status: row.get("status")?,
        })
    }
}

/// The next live accounts of a connection in the order of their ids, as a pull compares them.
pub async fn listed(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let sql = Sql::new(
        "SELECT r.id, r.user_name_key, r.external_id, r.in_source, r.status FROM accounts r \
         WHERE r.instance_id = $1 AND r.deleted_at IS NULL AND r.connection_id = $2 AND r.id > $3 \
         ORDER BY r.id LIMIT $4",
    );
    let after = after.unwrap_or(Uuid::nil());
    tx.fetch_all(sql.bind(instance).bind(connection).bind(after).bind(limit)).await
}

/// Keeps the hash of the password that somebody was given with the account.
pub async fn keep_password(
    tx: &mut Tx,
    instance: InstanceId,
    account: AccountId,
    hash: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO account_passwords (instance_id, account_id, hash, set_at) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (instance_id, account_id) \
         DO UPDATE SET hash = excluded.hash, set_at = excluded.set_at",
    );
    tx.execute(sql.bind(instance).bind(account).bind(hash).bind(at)).await.map(drop)
}
