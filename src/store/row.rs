//! Reading rows by column name, the same way from both databases.

use std::cell::Cell;

use rusqlite::types::FromSql;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::StoreError;
use super::audit::Category;
use super::runs::{RunKind, RunState};
use crate::directory::source::Outcome;
use crate::directory::{
    AccountId, ApprovalId, ApprovalState, ConnectionId, ConnectionKind, ConnectionStatus,
    DeleteAfter, Entering, GroupId, HandWord, Incomplete, InstanceId, KeyId, MemberId, MemberKind,
    PickUp, Profile, Recreate, RequestDays, Retention, RunId, Scope, SeatPolicy, Status,
    StatusReason, TenantId, Timestamp, Waiting,
    ids::{AuditId, ExchangeId},
};
use crate::scim::definition::Holder;
use crate::scim::schemas::Password;

/// A row of either database.
#[derive(Debug)]
pub enum Row<'r> {
    /// Of SQLite.
    Sqlite(SqliteRow<'r>),
    /// Of PostgreSQL.
    Postgres(&'r PgRow),
}

/// A row of SQLite, whose columns are found by comparing names. Who reads them in their order finds each at once.
#[derive(Debug)]
pub struct SqliteRow<'r> {
    row: &'r rusqlite::Row<'r>,
    next: Cell<usize>,
}

impl<'r> SqliteRow<'r> {
    /// A row of which nothing was read yet.
    #[must_use]
    pub fn new(row: &'r rusqlite::Row<'r>) -> Self {
        Self { row, next: Cell::new(0) }
    }

    fn get<T: FromSql>(&self, column: &'static str) -> rusqlite::Result<T> {
        let statement = self.row.as_ref();
        let (next, count) = (self.next.get(), statement.column_count());
        let place = (next..count)
            .chain(0..next)
            .find(|place| statement.column_name(*place).is_ok_and(|name| name == column))
            .ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))?;
        debug_assert!(
            (0..count).all(|other| other == place || statement.column_name(other) != Ok(column)),
            "two columns are called {column}"
        );
        self.next.set(place + 1);
        self.row.get(place)
    }
}

/// What can be read from a row.
pub trait Record: Sized + Send + 'static {
    /// Reads the columns that the record needs.
    fn read(row: &Row<'_>) -> Result<Self, StoreError>;
}

/// What can be read from a column.
pub trait Column: Sized {
    /// Reads the column of this name.
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError>;
}

impl Row<'_> {
    /// The value of a column.
    pub fn get<T: Column>(&self, column: &'static str) -> Result<T, StoreError> {
        T::read(self, column)
    }
}

macro_rules! native {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
                match row {
                    Row::Sqlite(row) => row.get(column).map_err(|error| corrupt(column, error)),
                    Row::Postgres(row) => row.try_get(column).map_err(|error| corrupt(column, error)),
                }
            }
        }
    )*};
}

native!(
    Uuid,
    Option<Uuid>,
    String,
    Option<String>,
    i64,
    Option<i64>,
    bool,
    Vec<u8>,
    Option<Vec<u8>>
);

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl Column for $id {
            fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
                row.get(column).map($id)
            }
        }

        impl Column for Option<$id> {
            fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
                Ok(row.get::<Option<Uuid>>(column)?.map($id))
            }
        }
    )*};
}

ids!(
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

macro_rules! words {
    ($($name:ident),*) => {$(
        impl Column for $name {
            fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
                known(column, &row.get::<String>(column)?, $name::from_word)
            }
        }

        impl Column for Option<$name> {
            fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
                row.get::<Option<String>>(column)?.map(|word| known(column, &word, $name::from_word)).transpose()
            }
        }
    )*};
}

/// What a word stands for.
fn known<T>(
    column: &'static str,
    word: &str,
    from_word: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    from_word(word).ok_or_else(|| corrupt(column, format!("the word {word}")))
}

words!(
    ApprovalState,
    Category,
    ConnectionKind,
    ConnectionStatus,
    Entering,
    HandWord,
    Holder,
    Incomplete,
    MemberKind,
    Outcome,
    Password,
    PickUp,
    Profile,
    Recreate,
    RunKind,
    RunState,
    Scope,
    SeatPolicy,
    Status,
    StatusReason,
    Waiting
);

impl Column for Timestamp {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        row.get(column).map(Timestamp)
    }
}

impl Column for Option<Timestamp> {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp))
    }
}

impl Column for Retention {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let days: i64 = row.get(column)?;
        Self::parse(days).ok_or_else(|| corrupt(column, format!("{days} days")))
    }
}

impl Column for RequestDays {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let days: i64 = row.get(column)?;
        Self::parse(days).ok_or_else(|| corrupt(column, format!("{days} days")))
    }
}

impl Column for DeleteAfter {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let days: Option<i64> = row.get(column)?;
        Self::of_days(days).ok_or_else(|| corrupt(column, format!("{days:?} days")))
    }
}

impl Column for Map<String, Value> {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let text: String = row.get(column)?;
        serde_json::from_str(&text).map_err(|error| corrupt(column, error))
    }
}

/// A JSON array of texts; no value is an empty one.
impl Column for Vec<String> {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        match row.get::<Option<String>>(column)? {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str(&text).map_err(|error| corrupt(column, error)),
        }
    }
}

impl<T: serde::de::DeserializeOwned> Column for Stored<T> {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let text: String = row.get(column)?;
        serde_json::from_str(&text).map(Self).map_err(|error| corrupt(column, error))
    }
}

impl<T: serde::de::DeserializeOwned> Column for Option<Stored<T>> {
    fn read(row: &Row<'_>, column: &'static str) -> Result<Self, StoreError> {
        let text = row.get::<Option<String>>(column)?;
        let read = |text: String| serde_json::from_str(&text).map(Stored);
        text.map(read).transpose().map_err(|error| corrupt(column, error))
    }
}

fn corrupt(column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { column, reason: reason.to_string() }
}

/// A value that is kept as JSON.
#[derive(Debug)]
pub struct Stored<T>(pub T);

/// A row of one column, `n`: a count.
#[derive(Debug)]
pub struct Count(pub i64);

impl Record for Count {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("n").map(Self)
    }
}

/// A row of one column, `id`.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: Column + Send + 'static> Record for Id<T> {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        row.get("id").map(Self)
    }
}
