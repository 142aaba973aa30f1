//! Reading accounts and groups: one road for both tables.
//!
//! A query names an instance and whose eyes it looks through, narrows by indexed columns, and reads a
//! page in the order of creation (ids are `UUIDv7`).

use uuid::Uuid;

use super::row::{Count, Record};
use super::{Sql, StoreError, Tx};
use crate::directory::{ConnectionId, InstanceId};

/// Whose eyes a query looks through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// A connection sees what is its own and what is Local, never what another connection owns.
    Connection(ConnectionId),
    /// An administrator sees all of the instance.
    Administrator,
}

/// Whether the rows that are read will be changed in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only look.
    Look,
    /// Lock, so that nobody changes them in between.
    Change,
}

/// What an index can tell of a row. A filter is narrowed to this; every row that the filter selects
/// must satisfy it.
#[derive(Debug, Clone, PartialEq)]
pub enum Narrow {
    /// The id.
    Id(Uuid),
    /// The folded userName of an account.
    UserName(String),
    /// The folded displayName.
    DisplayName(String),
    /// The externalId.
    ExternalId(String),
    /// The folded value of some e-mail address of an account.
    Email(String),
    /// The direct membership of an account in a group.
    MemberOf(Uuid),
    /// The direct membership of somebody, who is not deleted, in a group.
    HasMember(Uuid),
    /// The identity provider's `active` of an account.
    Active(bool),
    /// All of these; nothing in the list is no restriction.
    All(Vec<Narrow>),
    /// One of these; nothing in the list selects nothing.
    Any(Vec<Narrow>),
}

/// A part of the rows.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Begin behind the row of this id.
    pub after: Option<Uuid>,
    /// Then leave out this many.
    pub offset: i64,
    /// Then read this many at most.
    pub limit: i64,
}

/// A table of resources: the start of its statements. `r` is the row.
pub struct Table {
    /// Selects the columns of a record.
    pub select: &'static str,
    /// Counts rows.
    pub count: &'static str,
}

/// Reads a page in the order of creation.
pub async fn page<T: Record>(
    tx: &mut Tx,
    table: &Table,
    instance: InstanceId,
    viewer: Viewer,
    narrow: &Narrow,
    page: Page,
) -> Result<Vec<T>, StoreError> {
    let mut sql = Sql::new(table.select).bind(instance);
    restrict(&mut sql, viewer, narrow);
    if let Some(after) = page.after {
        sql.push(" AND r.id > ").push_bind(after);
    }
    sql.push(" ORDER BY r.id LIMIT ").push_bind(page.limit);
    sql.push(" OFFSET ").push_bind(page.offset);
    tx.fetch_all(sql).await
}

/// Counts the rows that a query would read.
pub async fn count(
    tx: &mut Tx,
    table: &Table,
    instance: InstanceId,
    viewer: Viewer,
    narrow: &Narrow,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new(table.count).bind(instance);
    restrict(&mut sql, viewer, narrow);
    Ok(tx.fetch_optional::<Count>(sql).await?.map_or(0, |count| count.0))
}

/// Reads the one row that a narrowing by a unique column selects.
pub async fn one<T: Record>(
    tx: &mut Tx,
    table: &Table,
    instance: InstanceId,
    viewer: Viewer,
    narrow: &Narrow,
    purpose: Purpose,
) -> Result<Option<T>, StoreError> {
    let mut sql = Sql::new(table.select).bind(instance);
    restrict(&mut sql, viewer, narrow);
    if purpose == Purpose::Change {
        let for_update = tx.dialect().for_update();
        sql.push(for_update);
    }
    tx.fetch_optional(sql).await
}

fn restrict(sql: &mut Sql, viewer: Viewer, narrow: &Narrow) {
    push_visible(sql, viewer, " AND (r.connection_id IS NULL OR r.connection_id = ");
    sql.push(" AND ");
    push_narrow(sql, viewer, narrow);
}

/// Restricts rows to those that the viewer can see; `condition` ends where the connection follows.
pub(super) fn push_visible(sql: &mut Sql, viewer: Viewer, condition: &'static str) {
    if let Viewer::Connection(id) = viewer {
        sql.push(condition).push_bind(id).push(")");
    }
}

/// Restricts joined members to live ones that the viewer can see: `a` is the account, `g` the group.
pub(super) fn push_member_visible(sql: &mut Sql, viewer: Viewer) {
    sql.push(" AND ((a.id IS NOT NULL");
    push_visible(sql, viewer, " AND (a.connection_id IS NULL OR a.connection_id = ");
    sql.push(") OR (g.id IS NOT NULL");
    push_visible(sql, viewer, " AND (g.connection_id IS NULL OR g.connection_id = ");
    sql.push("))");
}

fn push_narrow(sql: &mut Sql, viewer: Viewer, narrow: &Narrow) {
    match narrow {
        Narrow::Id(id) => sql.push("r.id = ").push_bind(*id),
        Narrow::UserName(key) => sql.push("r.user_name_key = ").push_bind(key.as_str()),
        Narrow::DisplayName(key) => sql.push("r.display_name_key = ").push_bind(key.as_str()),
        Narrow::ExternalId(text) => sql.push("r.external_id = ").push_bind(text.as_str()),
        Narrow::Email(key) => sql
            .push(
                "r.id IN (SELECT e.account_id FROM account_emails e \
                 WHERE e.instance_id = $1 AND e.value_key = ",
            )
            .push_bind(key.as_str())
            .push(")"),
        Narrow::MemberOf(group) => {
            sql.push(
                "r.id IN (SELECT m.member_id FROM memberships m JOIN groups g \
                 ON g.instance_id = m.instance_id AND g.id = m.group_id AND g.deleted_at IS NULL \
                 WHERE m.instance_id = $1 AND m.group_id = ",
            )
            .push_bind(*group);
            push_visible(sql, viewer, " AND (g.connection_id IS NULL OR g.connection_id = ");
            sql.push(")")
        }
        Narrow::HasMember(member) => {
            sql.push(
                "r.id IN (SELECT m.group_id FROM memberships m \
                 LEFT JOIN accounts a ON a.instance_id = m.instance_id AND a.id = m.member_id \
                 AND a.deleted_at IS NULL \
                 LEFT JOIN groups g ON g.instance_id = m.instance_id AND g.id = m.member_id \
                 AND g.deleted_at IS NULL WHERE m.instance_id = $1 AND m.member_id = ",
            )
            .push_bind(*member);
            push_member_visible(sql, viewer);
            sql.push(")")
        }
        Narrow::Active(flag) => sql.push("r.active = ").push_bind(*flag),
        Narrow::All(parts) => push_joined(sql, viewer, parts, " AND ", "TRUE"),
        Narrow::Any(parts) => push_joined(sql, viewer, parts, " OR ", "FALSE"),
    };
}

fn push_joined<'s>(
    sql: &'s mut Sql,
    viewer: Viewer,
    parts: &[Narrow],
    glue: &'static str,
    none: &'static str,
) -> &'s mut Sql {
    if parts.is_empty() {
        return sql.push(none);
    }
    sql.once().push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(glue);
        }
        push_narrow(sql, viewer, part);
    }
    sql.push(")")
}
