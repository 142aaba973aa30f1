//! Finding events.

use uuid::Uuid;

use super::{Category, Event};
use crate::directory::{ConnectionId, InstanceId, RunId, Timestamp};
use crate::store::{Sql, StoreError, Tx};

/// Which events are wanted: those that fit everything that is said.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those about this account, group, connection or key, also as the member that joined or left.
    pub about: Option<Uuid>,
    /// Those of this part of the product.
    pub category: Option<Category>,
    /// What happened, as `account.created`.
    pub action: Option<String>,
    /// Those that this connection caused.
    pub connection: Option<ConnectionId>,
    /// Those of this run.
    pub run: Option<RunId>,
    /// Those of this request.
    pub request_id: Option<String>,
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Where a page of events begins, and in which direction it goes.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// The newest first, from before the event of this id.
    Before(Uuid),
    /// The oldest first, from behind the event of this id.
    After(Uuid),
}

impl From {
    /// From the newest on.
    pub const NEWEST: Self = Self::Before(Uuid::max());
    /// From the oldest on.
    pub const OLDEST: Self = Self::After(Uuid::nil());
}

/// A page of events.
pub async fn page(
    tx: &mut Tx,
    instance: InstanceId,
    wanted: &Wanted,
    from: From,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let Some(about) = wanted.about else {
        return tx.fetch_all(select(instance, wanted, from, None, limit)).await;
    };
    // Each half is read in the order of its index: what the trail holds besides makes no difference.
    let mut found: Vec<Event> = Vec::new();
    for column in [" AND target_id = ", " AND member_id = "] {
        let half = select(instance, wanted, from, Some((column, about)), limit);
        found.extend(tx.fetch_all::<Event>(half).await?);
    }
    found.sort_by_key(|event| event.id);
    found.dedup_by_key(|event| event.id);
    if matches!(from, From::Before(_)) {
        found.reverse();
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

fn select(
    instance: InstanceId,
    wanted: &Wanted,
    from: From,
    about: Option<(&'static str, Uuid)>,
    limit: i64,
) -> Sql {
    let mut sql = Sql::new(
        "SELECT id, at, category, action, actor, client, connection_id, key_id, target_kind, \
         target_id, member_id, before, after, rule, request_id, run_id, erased_at \
         FROM audit_events WHERE instance_id = $1",
    )
    .bind(instance);
    if let Some((column, id)) = about {
        sql.push(column).push_bind(id);
    }
    if let Some(category) = wanted.category {
        if category != Category::UserSync && wanted.about.is_none() {
            // What connections do is most of the trail: the index of categories leaves it out.
            sql.push(" AND category <> 'UserSync'");
        }
        sql.push(" AND category = ").push_bind(category.word());
    }
    if let Some(action) = &wanted.action {
        sql.push(" AND action = ").push_bind(action.as_str());
    }
    if let Some(connection) = wanted.connection {
        sql.push(" AND connection_id = ").push_bind(connection);
    }
    if let Some(run) = wanted.run {
        sql.push(" AND run_id = ").push_bind(run);
    }
    if let Some(request_id) = &wanted.request_id {
        sql.push(" AND request_id = ").push_bind(request_id.as_str());
    }
    if let Some(at) = wanted.from {
        sql.push(" AND at >= ").push_bind(at);
    }
    if let Some(at) = wanted.until {
        sql.push(" AND at < ").push_bind(at);
    }
    match from {
        From::Before(id) => sql.push(" AND id < ").push_bind(id).push(" ORDER BY id DESC"),
        From::After(id) => sql.push(" AND id > ").push_bind(id).push(" ORDER BY id"),
    };
    sql.push(" LIMIT ").push_bind(limit);
    sql
}

/// The events about one target, oldest first.
pub async fn of_target(
    tx: &mut Tx,
    instance: InstanceId,
    target: Uuid,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let half = Some((" AND target_id = ", target));
    let sql = select(instance, &Wanted::default(), From::After(Uuid::nil()), half, limit);
    tx.fetch_all(sql).await
}

/// The events about one target, newest first, from before the one with the id `before`.
pub async fn before_of_target(
    tx: &mut Tx,
    instance: InstanceId,
    target: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let half = Some((" AND target_id = ", target));
    let from = From::Before(before.unwrap_or(Uuid::max()));
    tx.fetch_all(select(instance, &Wanted::default(), from, half, limit)).await
}
