//! Claims: what connections wait to pick up. Their words stay out of the directory until an
//! administrator accepts them.

use serde_json::Value;
use uuid::Uuid;

use super::row::{Count, Record, Row};
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{Approval, ApprovalId, ApprovalState, ConnectionId, InstanceId, MemberKind};
use crate::scim::fold::fold;

impl Record for Approval {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            connection: row.get("connection_id")?,
            target: row.get("target_id")?,
            kind: row.get("target_kind")?,
            target_name: row.get("target_name")?,
            document: row.get("document")?,
            members: row.get("members")?,
            state: row.get("state")?,
            version: row.get("version")?,
            asked_at: row.get("asked_at")?,
            modified_at: row.get("modified_at")?,
            decided_at: row.get("decided_at")?,
        })
    }
}

/// Selects the columns of an approval; restrictions follow.
fn select(instance: InstanceId) -> Sql {
    Sql::new(
        "SELECT id, connection_id, target_id, target_kind, target_name, document, members, state, \
         version, asked_at, modified_at, decided_at FROM claims WHERE instance_id = $1",
    )
    .bind(instance)
}

/// Keeps an approval, new or changed. Who keeps one holds the lock of its target.
pub async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    approval: &Approval,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO claims (instance_id, id, connection_id, target_id, target_kind, target_name, \
         name_key, external_id, document, members, state, version, asked_at, modified_at, \
         decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (instance_id, connection_id, target_id) DO UPDATE SET \
         target_name = excluded.target_name, name_key = excluded.name_key, \
         external_id = excluded.external_id, document = excluded.document, \
         members = excluded.members, state = excluded.state, version = excluded.version, \
         asked_at = excluded.asked_at, modified_at = excluded.modified_at, \
         decided_at = excluded.decided_at",
    )
    .bind(instance)
    .bind(approval.id)
    .bind(approval.connection)
    .bind(approval.target)
    .bind(approval.kind.word())
    .bind(approval.target_name.as_str())
    .bind(fold(approval.name()).into_owned())
    .bind(approval.external_id())
    .bind(Value::from(approval.document.clone()).to_string())
    .bind(approval.members.as_deref())
    .bind(approval.state.word())
    .bind(approval.version)
    .bind(approval.asked_at)
    .bind(approval.modified_at)
    .bind(approval.decided_at);
    tx.execute(sql).await.map(drop)
}

/// The approval that a connection has asked for on a target.
pub async fn of_target(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    target: Uuid,
) -> Result<Option<Approval>, StoreError> {
    let mut sql = select(instance);
    sql.push(" AND connection_id = ").push_bind(connection);
    sql.push(" AND target_id = ").push_bind(target);
    tx.fetch_optional(sql).await
}

/// The approvals that a connection waits for on some targets.
pub async fn waiting_on(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    targets: &[Uuid],
) -> Result<Vec<Approval>, StoreError> {
    let mut found = Vec::new();
    for targets in targets.chunks(BATCH_MAX) {
        let mut sql = select(instance);
        sql.push(" AND connection_id = ").push_bind(connection);
        sql.push(" AND state = 'waiting' AND target_id IN ").push_list(targets.iter().copied());
        found.extend(tx.fetch_all::<Approval>(sql).await?);
    }
    Ok(found)
}

/// One approval.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    id: ApprovalId,
) -> Result<Option<Approval>, StoreError> {
    let mut sql = select(instance);
    sql.push(" AND id = ").push_bind(id);
    tx.fetch_optional(sql).await
}

/// Which approvals a list shows.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those of this connection.
    pub connection: Option<ConnectionId>,
    /// Those in this state.
    pub state: Option<ApprovalState>,
    /// Those for accounts, or for groups.
    pub kind: Option<MemberKind>,
    /// Those for what the client calls so, folded.
    pub name_key: Option<String>,
}

fn restrict(sql: &mut Sql, wanted: &Wanted) {
    if let Some(connection) = wanted.connection {
        sql.push(" AND connection_id = ").push_bind(connection);
    }
    if let Some(state) = wanted.state {
        sql.push(" AND state = ").push_bind(state.word());
    }
    if let Some(kind) = wanted.kind {
        sql.push(" AND target_kind = ").push_bind(kind.word());
    }
    if let Some(key) = &wanted.name_key {
        sql.push(" AND name_key = ").push_bind(key.as_str());
    }
}

/// Approvals in the order in which they were asked for first, from behind `after`.
pub async fn page(
    tx: &mut Tx,
    instance: InstanceId,
    wanted: &Wanted,
    after: Option<ApprovalId>,
    limit: i64,
) -> Result<Vec<Approval>, StoreError> {
    let mut sql = select(instance);
    restrict(&mut sql, wanted);
    if let Some(after) = after {
        sql.push(" AND id > ").push_bind(after);
    }
    sql.push(" ORDER BY id LIMIT ").push_bind(limit);
    tx.fetch_all(sql).await
}

/// How many approvals a list would show altogether.
pub async fn count(tx: &mut Tx, instance: InstanceId, wanted: &Wanted) -> Result<i64, StoreError> {
    let mut sql =
        Sql::new("SELECT COUNT(*) AS n FROM claims WHERE instance_id = $1").bind(instance);
    restrict(&mut sql, wanted);
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}
