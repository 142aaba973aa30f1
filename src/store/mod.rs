//! SQL for SQLite and PostgreSQL, written once.
//!
//! Every statement is text in the dialect that both databases share and goes through one narrow
//! waist, [`Tx`]; only [`waist`] names the two drivers. The other modules are ordinary functions over
//! a `Tx`, one module for each table. Nothing here decides anything.

pub mod accounts;
pub mod aliases;
pub mod audit;
pub mod claims;
pub mod connections;
pub mod dialect;
pub mod documents;
pub mod exchanges;
pub mod feed;
pub mod fields;
pub mod groups;
pub mod guard;
pub mod held;
pub mod instances;
pub mod keys;
pub mod licences;
pub mod lookups;
pub mod managers;
pub mod mappings;
pub mod memberships;
pub mod migration_lines;
mod migrations;
pub mod page_marks;
pub mod purge;
pub mod query;
pub mod row;
pub mod run_items;
pub mod runs;

pub mod schemas;
pub mod scope;
pub mod seats;
pub mod signing;
pub mod sources;
pub mod sql;
pub mod tenants;
pub mod tombstones;
pub mod undo;
pub mod unique;
mod visible;
pub mod waist;

pub use row::Record;
pub use sql::Sql;
pub use waist::{Reached, Store, Tx};

/// The values that one `IN` list or one multi-row `INSERT` holds at most; longer lists are cut.
pub const BATCH_MAX: usize = 500;

/// What a driver said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How a statement can fail.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique index holds the value already.
    #[error("a row with this key exists already")]
    Conflict,
    /// The database could not order this transaction among others; doing it again will help.
    #[error("the transaction must be repeated")]
    Contention(#[source] Cause),
    /// The row is no longer in the version that was read; doing it again will help.
    #[error("the row has changed since it was read")]
    Stale,
    /// Somebody else is giving or freeing a seat; doing it again, with the licence locked first, will
    /// help.
    #[error("the seats of the licence are being counted by somebody else")]
    SeatsBusy,
    /// The database cannot be reached, is read-only or full; nothing was kept.
    #[error("the database is not available")]
    Unavailable(#[source] Cause),
    /// A row holds what no writer of scimd puts there.
    #[error("column {column} holds something unreadable: {reason}")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The database is newer than this program, or was changed by hand.
    #[error("the database schema does not fit this version of scimd")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Anything else: a fault of a statement.
    #[error("a statement failed")]
    Database(#[source] Cause),
}

/// PostgreSQL's words for "cannot keep or serve anything now": connection trouble (class 08),
/// a full disk or no more connections (class 53), shutdown (class 57P), a statement or a transaction
/// that took too long (57014, 25P03), I/O trouble (class 58) and a read-only transaction (25006).
const POSTGRES_UNAVAILABLE: &[&str] = &["08", "53", "57P", "57014", "25P03", "58", "25006"];

/// PostgreSQL's serialization failure, deadlock, and a lock that was not to be had in time.
const POSTGRES_CONTENTION: &[&str] = &["40001", "40P01", "55P03"];

/// SQLite's primary result codes for the same: busy, locked, read-only, I/O error, full, cannot open.
const SQLITE_UNAVAILABLE: &[i32] = &[5, 6, 8, 10, 13, 14];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::Conflict,
            sqlx::Error::Database(cause) => {
                let code = cause.code().unwrap_or_default();
                let starts = |words: &[&str]| words.iter().any(|word| code.starts_with(word));
                // SQLSTATEs have five characters, SQLite's extended result codes at most four.
                if code.len() == 5 {
                    if starts(POSTGRES_CONTENTION) {
                        return Self::Contention(error.into());
                    }
                    if starts(POSTGRES_UNAVAILABLE) {
                        return Self::Unavailable(error.into());
                    }
                } else if code
                    .parse::<i32>()
                    .is_ok_and(|code| SQLITE_UNAVAILABLE.contains(&(code & 0xff)))
                {
                    return Self::Unavailable(error.into());
                }
                Self::Database(error.into())
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.into()),
            _ => Self::Database(error.into()),
        }
    }
}
