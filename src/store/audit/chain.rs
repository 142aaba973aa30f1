//! The chain of the trail: events in the order in which they were sealed, each bound to all before it.
//!
//! A writer only notes that its event waits. Who seals takes the head of the instance, so that there is one
//! order, without a gap, whoever commits first: no writer waits for another.

use super::ERASED;
use crate::directory::chain::{HASH_BYTES, Hash, SALT_BYTES};
use crate::directory::{InstanceId, Timestamp, ids::AuditId};
use crate::store::row::{Count, Id, Record, Row};
use crate::store::sql::Bind;
use crate::store::{BATCH_MAX, Sql, StoreError, Tx};
use uuid::Uuid;

/// The last link of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its position; 0 if nothing was sealed yet.
    pub position: i64,
    /// Its hash.
    pub hash: Hash,
}

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its position, from 1 without gaps.
    pub position: i64,
    /// The event.
    pub event: AuditId,
    /// What was digested with what the event says, so that nobody can guess it once it is erased; erased
    /// with it.
    pub salt: Option<[u8; SALT_BYTES]>,
    /// The digest of what the event says.
    pub said: Hash,
    /// The hash of this link and, through the one before, of all before it.
    pub hash: Hash,
}

/// An event as its row has it, column by column: what is digested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub id: AuditId,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
    /// What it is about.
    pub target: Uuid,
    /// What happened.
    pub action: String,
    /// The columns that are never erased, in a fixed order.
    pub columns: Vec<Option<Vec<u8>>>,
    /// What it was and what it is, which can be erased.
    pub said: Vec<Option<Vec<u8>>>,
}

impl Record for Head {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { position: row.get("position")?, hash: exact(row, "hash")? })
    }
}

impl Record for Link {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let salt: Option<Vec<u8>> = row.get("salt")?;
        Ok(Self {
            position: row.get("position")?,
            event: row.get("event_id")?,
            salt: salt.map(|salt| sized("salt", salt)).transpose()?,
            said: exact(row, "said")?,
            hash: exact(row, "hash")?,
        })
    }
}

impl Written {
    /// An event whose row is gone.
    fn lost(id: AuditId) -> Self {
        let (target, action) = (Uuid::nil(), String::new());
        Self { id, erased_at: None, target, action, columns: Vec::new(), said: Vec::new() }
    }
}

impl Record for Written {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let text = |column| -> Result<Option<Vec<u8>>, StoreError> {
            Ok(row.get::<Option<String>>(column)?.map(String::into_bytes))
        };
        let id = |column| -> Result<Option<Vec<u8>>, StoreError> {
            Ok(row.get::<Option<Uuid>>(column)?.map(|id| id.as_bytes().to_vec()))
        };
        let at: i64 = row.get("at")?;
        Ok(Self {
            id: row.get("id")?,
            erased_at: row.get("erased_at")?,
            target: row.get("target_id")?,
            action: row.get("action")?,
            columns: vec![
                id("id")?,
                Some(at.to_be_bytes().to_vec()),
                text("category")?,
                text("action")?,
                text("actor")?,
                text("client")?,
                id("connection_id")?,
                id("key_id")?,
                text("target_kind")?,
                id("target_id")?,
                id("member_id")?,
                text("rule")?,
                text("request_id")?,
                id("run_id")?,
            ],
            said: vec![text("before")?, text("after")?],
        })
    }
}

fn exact(row: &Row<'_>, column: &'static str) -> Result<[u8; HASH_BYTES], StoreError> {
    sized(column, row.get::<Vec<u8>>(column)?)
}

fn sized<const N: usize>(column: &'static str, bytes: Vec<u8>) -> Result<[u8; N], StoreError> {
    let length = bytes.len();
    let wrong = |_| StoreError::Corrupt { column, reason: format!("{length} bytes, not {N}") };
    bytes.try_into().map_err(wrong)
}

/// Notes that events wait for their links.
pub(super) async fn await_links(
    tx: &mut Tx,
    instance: InstanceId,
    events: impl Iterator<Item = AuditId>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO audit_unsealed (instance_id, event_id) VALUES ");
    sql.push_rows(events.map(|event| [Bind::from(instance), event.into()]));
    tx.execute(sql).await.map(drop)
}

/// The next instance behind `after` that has events without links.
pub async fn next_waiting(
    tx: &mut Tx,
    after: Option<InstanceId>,
) -> Result<Option<InstanceId>, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id AS id FROM audit_unsealed WHERE instance_id > $1 \
         ORDER BY instance_id LIMIT 1",
    );
    let after = after.map_or(Uuid::nil(), |after| after.0);
    Ok(tx.fetch_optional::<Id<InstanceId>>(sql.bind(after)).await?.map(|Id(id)| id))
}

/// What somebody does who wants to seal while another one seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Leaves it to him.
    Impatient,
    /// Waits, because the events must be sealed before anything else happens.
    Patient,
}

/// The head of an instance, for who seals; `None` if somebody else seals just now, and one does not wait.
pub async fn take_head(
    tx: &mut Tx,
    instance: InstanceId,
    origin: &Hash,
    waiting: Waiting,
) -> Result<Option<Head>, StoreError> {
    let begin = Sql::new(
        "INSERT INTO audit_heads (instance_id, position, hash) VALUES ($1, 0, $2) \
         ON CONFLICT DO NOTHING",
    );
    tx.execute(begin.bind(instance).bind(origin.to_vec())).await?;
    let mut sql = Sql::new("SELECT position, hash FROM audit_heads WHERE instance_id = $1");
    let lock = match waiting {
        Waiting::Impatient => tx.dialect().for_update_unless_locked(),
        Waiting::Patient => tx.dialect().for_update(),
    };
    sql.push(lock);
    tx.fetch_optional(sql.bind(instance)).await
}

/// The last link of an instance; `None` if nothing was sealed yet.
pub async fn head(tx: &mut Tx, instance: InstanceId) -> Result<Option<Head>, StoreError> {
    let sql = Sql::new("SELECT position, hash FROM audit_heads WHERE instance_id = $1");
    tx.fetch_optional(sql.bind(instance)).await
}

/// The next events without links, in the order of their ids; at most so many, and never more than [`BATCH_MAX`].
/// One that was taken out of the trail before it was sealed is there with its id alone: its link will tell.
pub async fn unsealed(
    tx: &mut Tx,
    instance: InstanceId,
    most: usize,
) -> Result<Vec<Written>, StoreError> {
    let sql = Sql::new(
        "SELECT event_id AS id FROM audit_unsealed WHERE instance_id = $1 ORDER BY event_id LIMIT $2",
    );
    let limit = i64::try_from(most.min(BATCH_MAX)).unwrap_or(i64::MAX);
    let ids: Vec<Id<AuditId>> = tx.fetch_all(sql.bind(instance).bind(limit)).await?;
    let ids: Vec<AuditId> = ids.into_iter().map(|Id(id)| id).collect();
    let mut events = written(tx, instance, &ids).await?.into_iter().peekable();
    let event =
        |id: AuditId| events.next_if(|event| event.id == id).unwrap_or_else(|| Written::lost(id));
    Ok(ids.into_iter().map(event).collect())
}

/// Some events as they are written, in the order of their ids; at most [`BATCH_MAX`].
pub async fn written(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[AuditId],
) -> Result<Vec<Written>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new(
        "SELECT id, at, category, action, actor, client, connection_id, key_id, target_kind, \
         target_id, member_id, before, after, rule, request_id, run_id, erased_at \
         FROM audit_events WHERE instance_id = $1",
    )
    .bind(instance);
    sql.push(" AND id IN ").push_list(ids.iter().copied());
    let mut found: Vec<Written> = tx.fetch_all(sql).await?;
    found.sort_by_key(|event| event.id);
    Ok(found)
}

/// Appends links behind the head that was taken; at most [`BATCH_MAX`].
pub async fn append(tx: &mut Tx, instance: InstanceId, links: &[Link]) -> Result<(), StoreError> {
    let Some(last) = links.last() else { return Ok(()) };
    let mut sql = Sql::new(
        "INSERT INTO audit_links (instance_id, position, event_id, salt, said, hash) VALUES ",
    );
    sql.push_rows(links.iter().map(|link| {
        [
            Bind::from(instance),
            link.position.into(),
            link.event.into(),
            Bind::Bytes(link.salt.map(Vec::from)),
            link.said.to_vec().into(),
            link.hash.to_vec().into(),
        ]
    }));
    tx.execute(sql).await?;
    let mut sql = Sql::new("DELETE FROM audit_unsealed WHERE instance_id = $1").bind(instance);
    sql.push(" AND event_id IN ").push_list(links.iter().map(|link| link.event));
    tx.execute(sql).await?;
    let sql = Sql::new("UPDATE audit_heads SET position = $2, hash = $3 WHERE instance_id = $1");
    let sql = sql.bind(instance).bind(last.position).bind(last.hash.to_vec());
    tx.execute(sql).await.map(drop)
}

/// The links behind a position, in order.
pub async fn links(
    tx: &mut Tx,
    instance: InstanceId,
    after: i64,
    limit: i64,
) -> Result<Vec<Link>, StoreError> {
    let sql = Sql::new(
        "SELECT position, event_id, salt, said, hash FROM audit_links \
         WHERE instance_id = $1 AND position > $2 ORDER BY position LIMIT $3",
    );
    tx.fetch_all(sql.bind(instance).bind(after).bind(limit)).await
}

/// The links of some events, at most [`BATCH_MAX`].
pub async fn links_of(
    tx: &mut Tx,
    instance: InstanceId,
    events: &[AuditId],
) -> Result<Vec<Link>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new(
        "SELECT position, event_id, salt, said, hash FROM audit_links WHERE instance_id = $1",
    )
    .bind(instance);
    sql.push(" AND event_id IN ").push_list(events.iter().copied());
    tx.fetch_all(sql).await
}

/// How many events wait for their links.
pub async fn count_unsealed(tx: &mut Tx, instance: InstanceId) -> Result<i64, StoreError> {
    let sql = Sql::new("SELECT COUNT(*) AS n FROM audit_unsealed WHERE instance_id = $1");
    Ok(tx.fetch_optional::<Count>(sql.bind(instance)).await?.map_or(0, |count| count.0))
}

/// How many events neither have a link nor wait for one; there must be none.
pub async fn count_strays(tx: &mut Tx, instance: InstanceId) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM audit_events e WHERE e.instance_id = $1 \
         AND NOT EXISTS (SELECT 1 FROM audit_links l WHERE l.instance_id = $1 AND l.event_id = e.id) \
         AND NOT EXISTS (SELECT 1 FROM audit_unsealed u WHERE u.instance_id = $1 \
         AND u.event_id = e.id)",
    );
    Ok(tx.fetch_optional::<Count>(sql.bind(instance)).await?.map_or(0, |count| count.0))
}

/// Erases what the events about a person say, with the salts of their links; how many events.
pub async fn erase(
    tx: &mut Tx,
    instance: InstanceId,
    target: Uuid,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let sql = Sql::new(
        "UPDATE audit_links SET salt = NULL WHERE instance_id = $1 AND event_id IN (SELECT e.id \
         FROM audit_events e WHERE e.instance_id = $1 AND e.target_id = $2 \
         AND e.target_kind = 'account' AND e.erased_at IS NULL AND e.action <> $3)",
    );
    tx.execute(sql.bind(instance).bind(target).bind(ERASED)).await?;
    let sql = Sql::new(
        "UPDATE audit_events SET before = NULL, after = NULL, erased_at = $4 \
         WHERE instance_id = $1 AND target_id = $2 AND target_kind = 'account' \
         AND erased_at IS NULL AND action <> $3",
    );
    tx.execute(sql.bind(instance).bind(target).bind(ERASED).bind(at)).await
}
