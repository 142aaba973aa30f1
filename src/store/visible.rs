//! What a viewer sees of accounts, groups and memberships, as restrictions of statements.

use super::Sql;
use super::query::Viewer;

/// The name that a statement has for the rows of accounts or groups which a viewer can see or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// `r`, the row that is sought.
    R,
    /// `a`, an account.
    A,
    /// `g`, a group.
    G,
    /// `p`, a person.
    P,
}

impl Seen {
    fn connection(self) -> &'static str {
        match self {
            Self::R => "r.connection_id",
            Self::A => "a.connection_id",
            Self::G => "g.connection_id",
            Self::P => "p.connection_id",
        }
    }

    fn is_not_deleted(self) -> &'static str {
        match self {
            Self::R => " AND r.deletion_held_at IS NULL",
            Self::A => " AND a.deletion_held_at IS NULL",
            Self::G => " AND g.deletion_held_at IS NULL",
            Self::P => " AND p.deletion_held_at IS NULL",
        }
    }
}

/// Restricts rows to those that the viewer can see. What a connection has deleted it sees no more, also
/// while the guard holds the deletion.
pub(super) fn push_visible(sql: &mut Sql, viewer: Viewer, seen: Seen) {
    let column = seen.connection();
    if viewer.is_connection() {
        sql.push(seen.is_not_deleted());
    }
    match viewer {
        Viewer::Administrator => {}
        Viewer::Connection(id) | Viewer::Asking(id) => {
            sql.push(" AND (").push(column).push(" IS NULL OR ").push(column).push(" = ");
            sql.push_bind(id).push(")");
        }
        Viewer::Own(id) => {
            sql.push(" AND ").push(column).push(" = ").push_bind(id);
        }
    }
}

/// Restricts memberships `m` to those of members who are not protected and, to the client, have not left.
pub(super) const UNPROTECTED: &str = " AND m.removal_held_at IS NULL AND NOT EXISTS (SELECT 1 FROM accounts p \
    WHERE p.instance_id = $1 AND p.id = m.member_id AND p.protected)";

/// Restricts joined members to live ones that the viewer can see: `m` is the membership, `a` the account,
/// `g` the group. As members, protected people are none of any connection's business.
pub(super) fn push_member_visible(sql: &mut Sql, viewer: Viewer) {
    if viewer.is_connection() {
        sql.push(" AND m.removal_held_at IS NULL");
    }
    sql.push(" AND ((a.id IS NOT NULL");
    if viewer.is_connection() {
        sql.push(" AND NOT a.protected");
    }
    push_visible(sql, viewer, Seen::A);
    sql.push(") OR (g.id IS NOT NULL");
    push_visible(sql, viewer, Seen::G);
    sql.push("))");
}
