//! Reading accounts and groups: one road for both tables.
//!
//! A query names an instance and whose eyes it looks through, narrows by indexed columns, and reads a
//! page in the order of creation (ids are `UUIDv7`) or of a column that an index holds in order.

use uuid::Uuid;

use super::row::{Count, Record};
use super::unique::Held;
use super::visible::{Seen, UNPROTECTED, push_member_visible, push_visible};
use super::{Sql, StoreError, Tx};
use crate::directory::{ConnectionId, InstanceId, Timestamp};
use crate::scim::sort::Position;

/// Whose eyes a query looks through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// A connection sees what is its own and what is Local, never what another connection owns.
    Connection(ConnectionId),
    /// The same, and what it has said of what is Local while an administrator has not decided: queries
    /// for such words find more than the words select.
    Asking(ConnectionId),
    /// A connection that picks up nothing sees what is its own.
    Own(ConnectionId),
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
    /// The value of an attribute that is unique in the instance.
    Unique(Held),
    /// The identity provider's `active` of an account.
    Active(bool),
    /// A column of texts that begin so, folded as the column is.
    Begins(Column, String),
    /// A time that is not before.
    Since(Column, Timestamp),
    /// A time that is not after.
    Until(Column, Timestamp),
    /// One of these ids, at most [`super::BATCH_MAX`].
    Ids(Vec<Uuid>),
    /// The connection that owns it; none owns what is Local.
    Owner(Option<ConnectionId>),
    /// A group that enters the directory.
    Entered,
    /// An account without some of the attributes that its connection requires.
    Incomplete,
    /// An account that is out of reach of every connection.
    Protected,
    /// All of these; nothing in the list is no restriction.
    All(Vec<Narrow>),
    /// One of these; nothing in the list selects nothing.
    Any(Vec<Narrow>),
}

/// A column that an index holds in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The folded userName of an account.
    UserName,
    /// The folded displayName.
    DisplayName,
    /// The externalId.
    ExternalId,
    /// When the row was created.
    Created,
    /// When the row last changed.
    Modified,
}

impl Column {
    fn sql(self) -> &'static str {
        match self {
            Self::UserName => "r.user_name_key",
            Self::DisplayName => "r.display_name_key",
            Self::ExternalId => "r.external_id",
            Self::Created => "r.created_at",
            Self::Modified => "r.modified_at",
        }
    }

    fn is_nullable(self) -> bool {
        matches!(self, Self::DisplayName | Self::ExternalId)
    }
}

/// The order of a query: among equals, and without a column, by id. Rows without a value come last, in
/// a descending order first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// The column.
    pub column: Option<Column>,
    /// Whether the order is turned round.
    pub descending: bool,
}

/// A part of the rows.
#[derive(Debug, Clone)]
pub struct Page<'p> {
    /// In this order.
    pub order: Order,
    /// Begin behind this place.
    pub after: Option<&'p Position>,
    /// Then leave out this many.
    pub offset: i64,
    /// Then read this many at most.
    pub limit: i64,
}

/// The rows that one statement reads of a page: an index holds those with a value in order, and leaves
/// out those without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    WithValue,
    WithoutValue,
}

impl<'p> Page<'p> {
    /// In the order of creation.
    #[must_use]
    pub fn by_id(after: Option<&'p Position>, limit: i64) -> Self {
        Self { order: Order::default(), after, offset: 0, limit }
    }

    fn parts(&self) -> &'static [Part] {
        let placed = self.after.map(|after| after.key.is_some());
        match (self.order.column.filter(|column| column.is_nullable()), self.order.descending) {
            (None, _) => &[Part::All],
            _ if self.offset > 0 => &[Part::All],
            (Some(_), false) if placed == Some(false) => &[Part::WithoutValue],
            (Some(_), false) => &[Part::WithValue, Part::WithoutValue],
            (Some(_), true) if placed == Some(true) => &[Part::WithValue],
            (Some(_), true) => &[Part::WithoutValue, Part::WithValue],
        }
    }
}

/// A table of resources: the start of its statements. `r` is the row.
pub struct Table {
    /// Selects the columns of a record.
    pub select: &'static str,
    /// Counts rows.
    pub count: &'static str,
}

/// Reads a page.
pub async fn page<T: Record>(
    tx: &mut Tx,
    table: &Table,
    instance: InstanceId,
    viewer: Viewer,
    narrow: &Narrow,
    page: Page<'_>,
) -> Result<Vec<T>, StoreError> {
    let (mut rows, mut after) = (Vec::new(), page.after);
    for part in page.parts() {
        let limit = page.limit - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if limit <= 0 {
            break;
        }
        let mut sql = Sql::new(table.select).bind(instance);
        restrict(&mut sql, viewer, narrow);
        push_part(&mut sql, *part, page.order, after.take());
        sql.push(" LIMIT ").push_bind(limit).push(" OFFSET ").push_bind(page.offset);
        rows.extend(tx.fetch_all::<T>(sql).await?);
    }
    Ok(rows)
}

/// Restricts a statement to a part of a page, and puts it in order.
fn push_part(sql: &mut Sql, part: Part, order: Order, after: Option<&Position>) {
    let column = order.column.map(Column::sql).filter(|_| part != Part::WithoutValue);
    if let Some(column) = order.column.map(Column::sql) {
        match part {
            Part::All => {}
            Part::WithValue => {
                sql.push(" AND ").push(column).push(" IS NOT NULL");
            }
            Part::WithoutValue => {
                sql.push(" AND ").push(column).push(" IS NULL");
            }
        }
    }
    let behind = if order.descending { " < " } else { " > " };
    match (column, after) {
        (_, None) => {}
        (Some(column), Some(Position { key: Some(key), id })) => {
            sql.push(" AND (").push(column).push(", r.id)").push(behind).push("(");
            sql.push_bind(key).push(", ").push_bind(*id).push(")");
        }
        (_, Some(Position { id, .. })) => {
            sql.push(" AND r.id").push(behind).push_bind(*id);
        }
    }
    let turned = if order.descending { " DESC" } else { "" };
    sql.push(" ORDER BY ");
    if let Some(column) = column {
        // Only where the statement skips rows do those without a value stand among the others.
        let nulls = match (part, order.column.is_some_and(Column::is_nullable), order.descending) {
            (Part::All, true, false) => " NULLS LAST",
            (Part::All, true, true) => " NULLS FIRST",
            _ => "",
        };
        sql.push(column).push(turned).push(nulls).push(", ");
    }
    sql.push("r.id").push(turned);
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
    push_visible(sql, viewer, Seen::R);
    sql.push(" AND ");
    push_narrow(sql, viewer, narrow);
}

impl Viewer {
    /// Whether protected people are kept out of groups and groups from them.
    pub(super) fn is_connection(self) -> bool {
        self != Self::Administrator
    }
}

/// Restricts rows as told, or to what the connection waits to pick up: what it has said of those may be
/// what is sought.
fn push_narrow(sql: &mut Sql, viewer: Viewer, narrow: &Narrow) {
    let Viewer::Asking(connection) = viewer else {
        return push_stored(sql, viewer, narrow);
    };
    match narrow {
        Narrow::UserName(key) => {
            sql.push("r.id IN (SELECT a.id FROM accounts a WHERE a.instance_id = $1 ")
                .push("AND a.deleted_at IS NULL AND a.user_name_key = ")
                .push_bind(key.as_str());
            push_asked(sql, connection, " UNION SELECT c.target_id");
            sql.push(" AND c.name_key = ").push_bind(key.as_str()).push(")");
        }
        Narrow::ExternalId(text) => {
            sql.push("r.id IN (SELECT a.id FROM accounts a WHERE a.instance_id = $1 ")
                .push("AND a.external_id = ")
                .push_bind(text.as_str())
                .push(" UNION SELECT g.id FROM groups g WHERE g.instance_id = $1 ")
                .push("AND g.external_id = ")
                .push_bind(text.as_str());
            push_asked(sql, connection, " UNION SELECT c.target_id");
            sql.push(" AND c.external_id = ").push_bind(text.as_str()).push(")");
        }
        Narrow::DisplayName(key) => {
            sql.push("r.id IN (SELECT a.id FROM accounts a WHERE a.instance_id = $1 ")
                .push("AND a.display_name_key = ")
                .push_bind(key.as_str())
                .push(" UNION SELECT g.id FROM groups g WHERE g.instance_id = $1 ")
                .push("AND g.display_name_key = ")
                .push_bind(key.as_str());
            push_asked(sql, connection, " UNION SELECT c.target_id");
            // The name that the client has for an account is not its display name.
            sql.push(" AND (c.name_key = ").push_bind(key.as_str());
            sql.push(" OR c.target_kind = 'account'))");
        }
        Narrow::Email(_) | Narrow::HasMember(_) | Narrow::Unique(_) => {
            push_related(sql, viewer, narrow);
            push_asked(sql, connection, " UNION SELECT c.target_id");
            sql.push(")");
        }
        Narrow::Active(_) | Narrow::Begins(..) | Narrow::Since(..) | Narrow::Until(..) => {
            sql.push("(");
            push_stored(sql, viewer, narrow);
            push_asked(sql, connection, " OR r.id IN (SELECT c.target_id");
            sql.push("))");
        }
        Narrow::Id(_)
        | Narrow::MemberOf(_)
        | Narrow::Ids(_)
        | Narrow::Owner(_)
        | Narrow::Entered
        | Narrow::Incomplete
        | Narrow::Protected
        | Narrow::All(_)
        | Narrow::Any(_) => push_stored(sql, viewer, narrow),
    }
}

/// Adds the ids of what the connection waits to pick up.
fn push_asked(sql: &mut Sql, connection: ConnectionId, glue: &'static str) {
    sql.push(glue)
        .push(" FROM claims c WHERE c.instance_id = $1 AND c.connection_id = ")
        .push_bind(connection)
        .push(" AND c.state = 'waiting'");
}

fn push_stored(sql: &mut Sql, viewer: Viewer, narrow: &Narrow) {
    match narrow {
        Narrow::Id(id) => sql.push("r.id = ").push_bind(*id),
        Narrow::UserName(key) => sql.push("r.user_name_key = ").push_bind(key.as_str()),
        Narrow::DisplayName(key) => sql.push("r.display_name_key = ").push_bind(key.as_str()),
        Narrow::ExternalId(text) => sql.push("r.external_id = ").push_bind(text.as_str()),
        Narrow::Email(_) | Narrow::HasMember(_) | Narrow::Unique(_) => {
            push_related(sql, viewer, narrow);
            sql.push(")")
        }
        Narrow::MemberOf(group) => {
            sql.push(
                "r.id IN (SELECT m.member_id FROM memberships m JOIN groups g \
                 ON g.instance_id = m.instance_id AND g.id = m.group_id AND g.deleted_at IS NULL \
                 WHERE m.instance_id = $1 AND m.group_id = ",
            )
            .push_bind(*group);
            push_visible(sql, viewer, Seen::G);
            if viewer.is_connection() {
                sql.push(UNPROTECTED);
            }
            sql.push(")")
        }
        Narrow::Active(flag) => sql.push("r.active = ").push_bind(*flag),
        Narrow::Begins(column, start) => {
            sql.push(column.sql()).push(" >= ").push_bind(start.as_str());
            match behind_all(start) {
                Some(end) => sql.push(" AND ").push(column.sql()).push(" < ").push_bind(end),
                None => sql,
            }
        }
        Narrow::Since(column, time) => sql.push(column.sql()).push(" >= ").push_bind(*time),
        Narrow::Until(column, time) => sql.push(column.sql()).push(" <= ").push_bind(*time),
        Narrow::Ids(ids) => sql.push("r.id IN ").push_list(ids.iter().copied()),
        Narrow::Owner(Some(id)) => sql.push("r.connection_id = ").push_bind(*id),
        Narrow::Owner(None) => sql.push("r.connection_id IS NULL"),
        Narrow::Entered => sql.push("r.entered"),
        Narrow::Incomplete => sql.push("r.missing IS NOT NULL"),
        Narrow::Protected => sql.push("r.protected"),
        Narrow::All(parts) => push_joined(sql, viewer, parts, " AND ", "TRUE"),
        Narrow::Any(parts) => push_joined(sql, viewer, parts, " OR ", "FALSE"),
    };
}

/// Begins a restriction by rows of another table; its bracket stays open for more of the same.
fn push_related(sql: &mut Sql, viewer: Viewer, narrow: &Narrow) {
    match narrow {
        Narrow::Email(key) => {
            sql.push(
                "r.id IN (SELECT e.account_id FROM account_emails e \
                 WHERE e.instance_id = $1 AND e.value_key = ",
            )
            .push_bind(key.as_str());
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
        }
        Narrow::Unique(held) => {
            sql.push(
                "r.id IN (SELECT u.resource_id FROM unique_values u \
                 WHERE u.instance_id = $1 AND u.attribute = ",
            )
            .push_bind(held.attribute.as_str())
            .push(" AND u.value_key = ")
            .push_bind(held.key.as_str());
        }
        other => unreachable!("{other:?} is told by the row itself"),
    }
}

/// The first text, in the order of code points, behind all that begin with `start`.
fn behind_all(start: &str) -> Option<String> {
    let mut characters: Vec<char> = start.chars().collect();
    while let Some(last) = characters.pop() {
        let mut above = (u32::from(last) + 1)..=u32::from(char::MAX);
        if let Some(next) = above.find_map(char::from_u32) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
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
