//! A statement: static text and typed values.

use std::borrow::Cow;

use uuid::Uuid;

use crate::directory::{
    AccountId, ApprovalId, ConnectionId, GroupId, InstanceId, KeyId, MemberId, RunId, TenantId,
    Timestamp,
    ids::{AuditId, ExchangeId},
};
use crate::scim::sort::Key;

/// A statement and the values of its placeholders.
///
/// Text can only come from the program (`&'static str`); what a client sent can only be bound, so an
/// injection does not type-check. A complete statement is given to [`Sql::new`], which may be
/// extended; its placeholders are `$1`, `$2`, … in both databases.
#[derive(Debug, Clone)]
pub struct Sql {
    text: Cow<'static, str>,
    values: Vec<Bind>,
    varies: bool,
}

/// A value of a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// An id.
    Uuid(Option<Uuid>),
    /// A text.
    Text(Option<String>),
    /// A number or a time.
    Integer(Option<i64>),
    /// A flag.
    Boolean(bool),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl Sql {
    /// A statement that is complete by itself.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), values: Vec::new(), varies: false }
    }

    /// Binds the next placeholder of the text so far.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds text.
    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds a placeholder and its value.
    pub fn push_bind(&mut self, value: impl Into<Bind>) -> &mut Self {
        self.values.push(value.into());
        let text = self.text.to_mut();
        text.push('$');
        text.push_str(&self.values.len().to_string());
        self
    }

    /// Adds `(…)` with a placeholder for each value.
    pub fn push_list<T: Into<Bind>>(&mut self, values: impl IntoIterator<Item = T>) -> &mut Self {
        let length = self.push_values(values);
        self.varies |= length > RECURRING_MAX;
        self
    }

    fn push_values<T: Into<Bind>>(&mut self, values: impl IntoIterator<Item = T>) -> usize {
        let before = self.values.len();
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.push_bind(value);
        }
        self.push(")");
        self.values.len() - before
    }

    /// Adds `(…), (…)` for the rows of a multi-row `INSERT`.
    pub fn push_rows<R: IntoIterator<Item = Bind>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> &mut Self {
        let mut length = 0;
        for row in rows {
            if length > 0 {
                self.push(", ");
            }
            self.push_values(row);
            length += 1;
        }
        self.varies |= length > RECURRING_MAX;
        self
    }

    /// Says that this text will hardly come again, so that its preparation is not worth keeping.
    pub fn once(&mut self) -> &mut Self {
        self.varies = true;
        self
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the same text will come again, so that a prepared statement is worth keeping: not if
    /// it holds a long list, whose length varies.
    pub(super) fn recurs(&self) -> bool {
        !self.varies
    }

    /// The text and the values. A missing value would be read as NULL by SQLite without a word.
    pub(super) fn into_parts(self) -> (Cow<'static, str>, Vec<Bind>) {
        debug_assert_eq!(placeholder_count(&self.text), self.values.len(), "{}", self.text);
        (self.text, self.values)
    }

    /// The same as SQLite takes it best: with a sign before limits, and, where there are many placeholders, with a
    /// `?` for each in the order of the text.
    ///
    /// A limit that is nothing but a placeholder has SQLite prepare the statement anew each time that one is
    /// bound, because it plans by the number. And it looks for a placeholder with a name in the list of all names, each time that it reads one
    /// and each time that one is bound: thousands of them would cost more than the statement.
    pub(super) fn into_unnamed_parts(self) -> (Cow<'static, str>, Vec<Bind>) {
        let (text, values) = self.into_parts();
        let text = if text.contains(BOUND_LIMIT) {
            Cow::Owned(text.replace(BOUND_LIMIT, SIGNED_LIMIT))
        } else {
            text
        };
        if values.len() < NAMED_MAX {
            return (text, values);
        }
        let (text, values) = unnamed(&text, values);
        (Cow::Owned(text), values)
    }
}

/// A text with a `?` for each placeholder, and a value for each in the order of the text.
fn unnamed(text: &str, values: Vec<Bind>) -> (String, Vec<Bind>) {
    let mut parts = text.split('$');
    let mut unnamed = parts.next().unwrap_or_default().to_owned();
    let mut places = Vec::with_capacity(values.len());
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        places.push(number.parse::<usize>().unwrap_or(0));
        unnamed.push('?');
        unnamed.push_str(rest);
    }
    // A text without names has its values in their order.
    if places.is_empty() || places.iter().copied().eq(1..=values.len()) {
        return (unnamed, values);
    }
    let value = |place: usize| values.get(place.checked_sub(1)?).cloned();
    let bound = places.into_iter().filter_map(value).collect();
    (unnamed, bound)
}

/// The longest list, or the most rows, with which a text is expected to come again.
const RECURRING_MAX: usize = 8;

/// A limit that is a placeholder, up to its number.
const BOUND_LIMIT: &str = "LIMIT $";

/// The same limit as an expression.
const SIGNED_LIMIT: &str = "LIMIT +$";

/// The placeholders that keep their numbers on SQLite: fewer are found at once.
const NAMED_MAX: usize = 64;

/// The greatest placeholder number in a statement.
#[must_use]
pub fn placeholder_count(text: &str) -> usize {
    text.split('$')
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..digits)?.parse().ok()
        })
        .max()
        .unwrap_or(0)
}

macro_rules! bind_ids {
    ($($id:ty),*) => {$(
        impl From<$id> for Bind {
            fn from(id: $id) -> Self {
                Self::Uuid(Some(id.0))
            }
        }

        impl From<Option<$id>> for Bind {
            fn from(id: Option<$id>) -> Self {
                Self::Uuid(id.map(|id| id.0))
            }
        }
    )*};
}

bind_ids!(
    AccountId,
    ApprovalId,
    AuditId,
    ConnectionId,
    ExchangeId,
    GroupId,
    InstanceId,
    KeyId,
    MemberId,
    RunId,
    TenantId
);

impl From<Uuid> for Bind {
    fn from(id: Uuid) -> Self {
        Self::Uuid(Some(id))
    }
}

impl From<Option<Uuid>> for Bind {
    fn from(id: Option<Uuid>) -> Self {
        Self::Uuid(id)
    }
}

impl From<Timestamp> for Bind {
    fn from(time: Timestamp) -> Self {
        Self::Integer(Some(time.0))
    }
}

impl From<Option<Timestamp>> for Bind {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Integer(time.map(|time| time.0))
    }
}

impl From<i64> for Bind {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Bind {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<&Key> for Bind {
    fn from(key: &Key) -> Self {
        match key {
            Key::Integer(number) => Self::Integer(Some(*number)),
            Key::Text(text) => Self::Text(Some(text.clone())),
            // No column of numbers is sorted by; a place behind all of them ends the walk.
            Key::Number(_) => Self::Integer(Some(i64::MAX)),
        }
    }
}

impl From<Vec<u8>> for Bind {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl From<bool> for Bind {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<String> for Bind {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Bind {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&str>> for Bind {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::{Bind, Sql, placeholder_count};

    #[test]
    fn placeholders_are_numbered_on_from_the_text() {
        let mut sql = Sql::new("SELECT id FROM t WHERE a = $1").bind(1);
        sql.push(" AND b IN ").push_list(["x", "y"]).push(" AND c = ").push_bind(true);
        assert_eq!(sql.text(), "SELECT id FROM t WHERE a = $1 AND b IN ($2, $3) AND c = $4");
        let (text, values) = sql.into_parts();
        assert_eq!(placeholder_count(&text), values.len());
    }

    #[test]
    fn many_placeholders_lose_their_numbers_and_keep_their_order() {
        let mut sql = Sql::new("SELECT id FROM t WHERE a = $1 AND b IN ").bind(-1);
        sql.push_list(0..100).push(" AND c = $1");
        let (text, values) = sql.into_unnamed_parts();
        assert!(text.starts_with("SELECT id FROM t WHERE a = ? AND b IN (?, ?, "), "{text}");
        assert!(text.ends_with("?) AND c = ?"), "{text}");
        let expected: Vec<Bind> = (-1..100).chain([-1]).map(Bind::from).collect();
        assert_eq!(values, expected);
        let few = Sql::new("SELECT id FROM t WHERE b = $2 AND a = $1").bind(1).bind(2);
        assert_eq!(few.into_unnamed_parts().0, "SELECT id FROM t WHERE b = $2 AND a = $1");
    }

    #[test]
    fn a_bound_limit_becomes_an_expression_on_sqlite() {
        let sql = Sql::new("SELECT id FROM t WHERE a = $1 LIMIT $2").bind(1).bind(2);
        let (text, values) = sql.into_unnamed_parts();
        assert_eq!(text, "SELECT id FROM t WHERE a = $1 LIMIT +$2");
        assert_eq!(values, [Bind::from(1), Bind::from(2)]);
    }

    #[test]
    fn only_a_short_list_comes_again() {
        let list = |length: i64| {
            let mut sql = Sql::new("SELECT id FROM t WHERE a IN ");
            sql.push_list(0..length).recurs()
        };
        assert_eq!([list(1), list(8), list(9)], [true, true, false]);
        let rows = |length: i64| {
            let mut sql = Sql::new("INSERT INTO t (a, b) VALUES ");
            sql.push_rows((0..length).map(|n| [Bind::from(n), Bind::from(n)])).recurs()
        };
        assert_eq!([rows(8), rows(9)], [true, false]);
    }

    #[test]
    fn rows_become_one_insert() {
        let mut sql = Sql::new("INSERT INTO t (a, b) VALUES ");
        sql.push_rows([[Bind::from(1), Bind::from("x")], [Bind::from(2), Bind::from("y")]]);
        assert_eq!(sql.text(), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
    }

    #[test]
    #[should_panic(expected = "SELECT $1")]
    fn a_missing_value_is_a_bug() {
        let _ = Sql::new("SELECT $1, $2").bind(1).into_parts();
    }
}
