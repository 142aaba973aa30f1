//! The request log: what connections asked, and what they were answered.

use uuid::Uuid;

use super::row::{Count, Id, Record, Row};
use super::sql::Bind;
use super::{Sql, StoreError, Tx};
use crate::directory::ids::ExchangeId;
use crate::directory::{ConnectionId, InstanceId, KeyId, RequestDays, Timestamp};

/// One exchange: a request of a connection and its answer, without their bodies.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Exchange {
    /// Its id; ids are in the order in which exchanges were finished, as one server saw it.
    pub id: ExchangeId,
    /// When the request arrived.
    pub at: Timestamp,
    /// The connection that asked.
    pub connection: ConnectionId,
    /// The key that it used.
    pub key: KeyId,
    /// The program that asked, as it called itself.
    pub client: Option<String>,
    /// The id of the request, in the answer, the log and the audit trail.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path below `/scim/v2`.
    pub path: String,
    /// The query without secrets, percent-encoded.
    pub query: Option<String>,
    /// The versions in which a write expected its resource: `If-Match`.
    pub if_match: Option<String>,
    /// The status of the answer.
    pub status: i64,
    /// The kind of error, where the protocol has a word for it.
    pub scim_type: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: i64,
    /// What it was about: `account` or `group`.
    pub target_kind: Option<String>,
    /// Which one, if the path or the answer names it.
    pub target: Option<Uuid>,
    /// When what it says of a person was erased.
    pub erased_at: Option<Timestamp>,
}

/// A body as it is kept: JSON without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Body {
    /// The text; `None` if the body was empty, no JSON, or erased.
    pub text: Option<String>,
    /// The bytes of the body as it was on the wire.
    pub bytes: i64,
    /// Whether only the beginning of the text is kept.
    pub cut: bool,
}

/// An exchange with its bodies.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Whole {
    /// The exchange.
    #[serde(flatten)]
    pub exchange: Exchange,
    /// What was sent.
    pub request: Body,
    /// What was answered.
    pub answer: Body,
}

/// An exchange that is to be kept.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The instance.
    pub instance: InstanceId,
    /// The exchange with its bodies.
    pub whole: Whole,
    /// The folded name of the user or group that was sent or sought.
    pub name_key: Option<String>,
}

impl Record for Exchange {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            at: row.get("at")?,
            connection: row.get("connection_id")?,
            key: row.get("key_id")?,
            client: row.get("client")?,
            request_id: row.get("request_id")?,
            method: row.get("method")?,
            path: row.get("path")?,
            query: row.get("query")?,
            if_match: row.get("if_match")?,
            status: row.get("status")?,
            scim_type: row.get("scim_type")?,
            ms: row.get("ms")?,
            target_kind: row.get("target_kind")?,
            target: row.get("target_id")?,
            erased_at: row.get("erased_at")?,
        })
    }
}

impl Record for Whole {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            exchange: Exchange::read(row)?,
            request: Body {
                text: row.get("request_body")?,
                bytes: row.get("request_bytes")?,
                cut: row.get("request_cut")?,
            },
            answer: Body {
                text: row.get("answer_body")?,
                bytes: row.get("answer_bytes")?,
                cut: row.get("answer_cut")?,
            },
        })
    }
}

/// Keeps exchanges; those that are there already stay as they are.
pub async fn append(tx: &mut Tx, exchanges: &[Fresh]) -> Result<(), StoreError> {
    if exchanges.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new(
        "INSERT INTO exchanges (instance_id, id, at, connection_id, key_id, client, request_id, \
         method, path, query, if_match, status, scim_type, ms, target_kind, target_id, name_key, \
         request_body, request_bytes, request_cut, answer_body, answer_bytes, answer_cut) VALUES ",
    );
    sql.push_rows(exchanges.iter().map(columns));
    // A server that was stopped in between does not know whether its last batch was kept.
    sql.push(" ON CONFLICT (instance_id, id) DO NOTHING");
    tx.execute(sql).await.map(drop)
}

fn columns(fresh: &Fresh) -> [Bind; 23] {
    let Whole { exchange, request, answer } = &fresh.whole;
    [
        fresh.instance.into(),
        exchange.id.into(),
        exchange.at.into(),
        exchange.connection.into(),
        exchange.key.into(),
        exchange.client.as_deref().into(),
        exchange.request_id.as_str().into(),
        exchange.method.as_str().into(),
        exchange.path.as_str().into(),
        exchange.query.as_deref().into(),
        exchange.if_match.as_deref().into(),
        exchange.status.into(),
        exchange.scim_type.as_deref().into(),
        exchange.ms.into(),
        exchange.target_kind.as_deref().into(),
        exchange.target.into(),
        fresh.name_key.as_deref().into(),
        request.text.as_deref().into(),
        request.bytes.into(),
        request.cut.into(),
        answer.text.as_deref().into(),
        answer.bytes.into(),
        answer.cut.into(),
    ]
}

/// Notes that exchanges of an instance were not kept.
pub async fn note_missed(
    tx: &mut Tx,
    instance: InstanceId,
    at: Timestamp,
    missed: i64,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO exchanges_missed (instance_id, at, missed) VALUES ($1, $2, $3) \
         ON CONFLICT (instance_id, at) DO UPDATE SET missed = exchanges_missed.missed + $3",
    );
    tx.execute(sql.bind(instance).bind(at).bind(missed)).await.map(drop)
}

/// How many exchanges of an instance were not kept since a time.
pub async fn count_missed(
    tx: &mut Tx,
    instance: InstanceId,
    since: Timestamp,
) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(missed), 0) AS BIGINT) AS n FROM exchanges_missed \
         WHERE instance_id = $1 AND at >= $2",
    );
    let count = tx.fetch_optional::<Count>(sql.bind(instance).bind(since)).await?;
    Ok(count.map_or(0, |count| count.0))
}

/// Which exchanges are wanted: those that fit everything that is said.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those about this person or group.
    pub about: Option<About>,
    /// Those with a status from the one to the other.
    pub status: Option<(i64, i64)>,
    /// Those of this connection.
    pub connection: Option<ConnectionId>,
    /// Those of this request.
    pub request_id: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
}

/// A person or a group, as exchanges name it.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The id: of what was read or written, also as a member that joined or left.
    pub id: Option<Uuid>,
    /// The folded name: what was sent or sought before there was an id, or in vain.
    pub name_key: Option<String>,
}

/// Where a page of exchanges begins, and in which direction it goes.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// The newest first, from before the exchange of this id.
    Before(Uuid),
    /// The oldest first, from behind the exchange of this id.
    After(Uuid),
}

/// One way to find what is about somebody: each is read in the order of its index.
#[derive(Debug, Clone)]
enum Road {
    All,
    Target(Uuid),
    Name(String),
    Changed(Uuid),
    Member(Uuid),
}

/// A page of exchanges.
pub async fn page(
    tx: &mut Tx,
    instance: InstanceId,
    wanted: &Wanted,
    from: From,
    limit: i64,
) -> Result<Vec<Exchange>, StoreError> {
    let mut found: Vec<Exchange> = Vec::new();
    for road in roads(wanted) {
        found.extend(tx.fetch_all::<Exchange>(select(instance, wanted, from, road, limit)).await?);
    }
    found.sort_by_key(|exchange| exchange.id);
    found.dedup_by_key(|exchange| exchange.id);
    if matches!(from, From::Before(_)) {
        found.reverse();
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

fn roads(wanted: &Wanted) -> Vec<Road> {
    let Some(about) = &wanted.about else { return vec![Road::All] };
    let by_id = about.id.map(|id| [Road::Target(id), Road::Changed(id), Road::Member(id)]);
    let by_name = about.name_key.clone().map(Road::Name);
    by_id.into_iter().flatten().chain(by_name).collect()
}

fn select(instance: InstanceId, wanted: &Wanted, from: From, road: Road, limit: i64) -> Sql {
    let mut sql = Sql::new(
        "SELECT id, at, connection_id, key_id, client, request_id, method, path, query, if_match, \
         status, scim_type, ms, target_kind, target_id, erased_at FROM exchanges \
         WHERE instance_id = $1",
    )
    .bind(instance);
    match road {
        Road::All => &mut sql,
        Road::Target(id) => sql.push(" AND target_id = ").push_bind(id),
        Road::Name(key) => sql.push(" AND name_key = ").push_bind(key),
        Road::Changed(id) => sql
            .push(" AND request_id IN (SELECT request_id FROM audit_events WHERE instance_id = $1")
            .push(" AND request_id IS NOT NULL AND target_id = ")
            .push_bind(id)
            .push(")"),
        Road::Member(id) => sql
            .push(" AND request_id IN (SELECT request_id FROM audit_events WHERE instance_id = $1")
            .push(" AND request_id IS NOT NULL AND member_id = ")
            .push_bind(id)
            .push(")"),
    };
    if let Some((least, most)) = wanted.status {
        if least >= 400 {
            // The index of what failed has nothing else.
            sql.push(" AND status >= 400");
        }
        sql.push(" AND status >= ").push_bind(least).push(" AND status <= ").push_bind(most);
    }
    if let Some(connection) = wanted.connection {
        sql.push(" AND connection_id = ").push_bind(connection);
    }
    if let Some(request_id) = &wanted.request_id {
        sql.push(" AND request_id = ").push_bind(request_id.as_str());
    }
    if let Some(at) = wanted.since {
        sql.push(" AND at >= ").push_bind(at);
    }
    match from {
        From::Before(id) => sql.push(" AND id < ").push_bind(id).push(" ORDER BY id DESC"),
        From::After(id) => sql.push(" AND id > ").push_bind(id).push(" ORDER BY id"),
    };
    sql.push(" LIMIT ").push_bind(limit);
    sql
}

/// An exchange with its bodies.
pub async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    id: ExchangeId,
) -> Result<Option<Whole>, StoreError> {
    let sql = Sql::new(
        "SELECT id, at, connection_id, key_id, client, request_id, method, path, query, if_match, \
         status, scim_type, ms, target_kind, target_id, erased_at, request_body, request_bytes, \
         request_cut, answer_body, answer_bytes, answer_cut FROM exchanges \
         WHERE instance_id = $1 AND id = $2",
    );
    tx.fetch_optional(sql.bind(instance).bind(id)).await
}

/// Whether an instance has exchanges, or notes of missed ones, from before a time.
pub async fn any_before(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT instance_id AS id FROM exchanges WHERE instance_id = $1 AND at < $2 \
         UNION ALL SELECT instance_id AS id FROM exchanges_missed \
         WHERE instance_id = $1 AND at < $2 LIMIT 1",
    );
    let found = tx.fetch_optional::<Id<InstanceId>>(sql.bind(instance).bind(before)).await?;
    Ok(found.is_some())
}

/// Removes the first exchanges from before a time, and all notes of missed ones; how many exchanges.
pub async fn purge(
    tx: &mut Tx,
    instance: InstanceId,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let sql = Sql::new("DELETE FROM exchanges_missed WHERE instance_id = $1 AND at < $2");
    tx.execute(sql.bind(instance).bind(before)).await?;
    let sql = Sql::new(
        "DELETE FROM exchanges WHERE instance_id = $1 AND id IN (SELECT id FROM exchanges \
         WHERE instance_id = $1 AND at < $2 ORDER BY at, id LIMIT $3)",
    );
    tx.execute(sql.bind(instance).bind(before).bind(limit)).await
}

struct Name(String);

impl Record for Name {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("name_key").map(Self)
    }
}

/// Erases what exchanges say of people: bodies and queries of all that were about one of them by id, that
/// changed something about one of them, or that were about one of these names and nobody's id; how many
/// exchanges said something. At most [`BATCH_MAX`](super::BATCH_MAX) people.
pub async fn erase(
    tx: &mut Tx,
    instance: InstanceId,
    people: &[Uuid],
    name_keys: Vec<String>,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let mut names = sent_names(tx, instance, people).await?;
    names.extend(name_keys);
    let mut erased = 0;
    for names in names.chunks(super::BATCH_MAX) {
        let mut sql = blank(instance, at);
        sql.push(" AND target_id IS NULL AND name_key IN ");
        sql.push_list(names.iter().map(String::as_str));
        erased += tx.execute(sql).await?;
    }
    for (road, end) in [
        (" AND target_id IN ", ""),
        (
            " AND request_id IN (SELECT request_id FROM audit_events WHERE instance_id = $1 \
             AND request_id IS NOT NULL AND target_id IN ",
            ")",
        ),
        (
            " AND request_id IN (SELECT request_id FROM audit_events WHERE instance_id = $1 \
             AND request_id IS NOT NULL AND member_id IN ",
            ")",
        ),
    ] {
        let mut sql = blank(instance, at);
        sql.push(road).push_list(people.iter().copied()).push(end);
        erased += tx.execute(sql).await?;
    }
    Ok(erased)
}

/// The names under which exchanges about people were sent.
async fn sent_names(
    tx: &mut Tx,
    instance: InstanceId,
    people: &[Uuid],
) -> Result<Vec<String>, StoreError> {
    let mut sql = Sql::new(
        "SELECT DISTINCT name_key FROM exchanges WHERE instance_id = $1 AND name_key IS NOT NULL \
         AND target_id IN ",
    )
    .bind(instance);
    sql.push_list(people.iter().copied());
    let names: Vec<Name> = tx.fetch_all(sql).await?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

fn blank(instance: InstanceId, at: Timestamp) -> Sql {
    Sql::new(
        "UPDATE exchanges SET request_body = NULL, answer_body = NULL, query = NULL, \
         name_key = NULL, erased_at = $2 WHERE instance_id = $1 AND (request_body IS NOT NULL \
         OR answer_body IS NOT NULL OR query IS NOT NULL OR name_key IS NOT NULL)",
    )
    .bind(instance)
    .bind(at)
}

struct Days(RequestDays);

impl Record for Days {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("requests_days").map(Self)
    }
}

/// For how many days an instance keeps its request log.
pub async fn days(tx: &mut Tx, instance: InstanceId) -> Result<RequestDays, StoreError> {
    let sql = Sql::new("SELECT requests_days FROM instances WHERE id = $1").bind(instance);
    let days = tx.fetch_optional::<Days>(sql).await?;
    Ok(days.map(|Days(days)| days).unwrap_or_default())
}

/// Sets for how many days an instance keeps its request log.
pub async fn set_days(
    tx: &mut Tx,
    instance: InstanceId,
    days: RequestDays,
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE instances SET requests_days = $2 WHERE id = $1");
    tx.execute(sql.bind(instance).bind(days.days())).await.map(drop)
}
