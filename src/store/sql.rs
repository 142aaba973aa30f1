//! A statement: static text and typed values.

use std::borrow::Cow;

use uuid::Uuid;

use crate::directory::{
    AccountId, ApprovalId, ConnectionId, GroupId, InstanceId, KeyId, MemberId, RunId, TenantId,
    Timestamp, ids::AuditId,
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
    Bytes(Vec<u8>),
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
        self.varies = true;
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.push_bind(value);
        }
        self.push(")")
    }

    /// Adds `(…), (…)` for the rows of a multi-row `INSERT`.
    pub fn push_rows<R: IntoIterator<Item = Bind>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> &mut Self {
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.push_list(row);
        }
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
    /// it holds a list, whose length varies.
    pub(super) fn recurs(&self) -> bool {
        !self.varies
    }

    /// The text and the values. A missing value would be read as NULL by SQLite without a word.
    pub(super) fn into_parts(self) -> (Cow<'static, str>, Vec<Bind>) {
        debug_assert_eq!(placeholder_count(&self.text), self.values.len(), "{}", self.text);
        (self.text, self.values)
    }
}

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
        Self::Bytes(bytes)
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
