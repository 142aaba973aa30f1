//! Statements on a connection or in a transaction, whichever driver runs them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Sqlite, Transaction};

use super::standby::Far;
use super::trace::Trace;
use super::writer::Turn;
use super::{Dialect, Shared};
use crate::store::StoreError;
use crate::store::row::{Record, Row};
use crate::store::sql::{Bind, Sql};

/// A connection for reading, or a transaction for writing. Dropped without [`Tx::commit`], nothing
/// that was written is kept.
#[derive(Debug)]
pub struct Tx {
    pub(super) link: Link,
    shared: Arc<Shared>,
    changes_settings: bool,
    /// What is run together with the next statement.
    unsent: Vec<Sql>,
}

/// What a transaction speaks by.
#[derive(Debug)]
pub(super) enum Link {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteSnapshot(Transaction<'static, Sqlite>),
    SqliteWrite(Turn),
    PostgresRead(PoolConnection<Postgres>),
    PostgresFar(Box<Far>),
    PostgresWrite(Transaction<'static, Postgres>),
}

enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Says that settings have changed when it goes, also if nobody waits for the end of the commit.
struct Change(Arc<Shared>);

impl Drop for Change {
    fn drop(&mut self) {
        self.0.settings_changes.fetch_add(1, Ordering::Release);
    }
}

macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Bind::Uuid(id) => query.bind(id),
                Bind::Text(text) => query.bind(text),
                Bind::Integer(number) => query.bind(number),
                Bind::Boolean(flag) => query.bind(flag),
                Bind::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}

/// Runs one sqlx call on either driver, with the values bound.
macro_rules! run {
    ($tx:expr, $sql:expr, $method:ident) => {{
        let unsent = std::mem::take(&mut $tx.unsent);
        let keep = $sql.recurs() && unsent.iter().all(Sql::recurs);
        match $tx.connection() {
            Connection::Sqlite(connection) => {
                let (text, values) = Sql::together(unsent, $sql);
                let text = AssertSqlSafe(text.into_owned());
                let query = sqlx::query(text).persistent(keep);
                bind_all!(query, values).$method(connection).await.map(|done| done.into_either())
            }
            Connection::Postgres(connection) => {
                let (text, values) = $sql.into_parts();
                let text = AssertSqlSafe(text.into_owned());
                let query = sqlx::query(text).persistent(keep);
                bind_all!(query, values).$method(connection).await.map(|done| done.into_either())
            }
        }
    }};
}

/// Runs a call that reads; where the standby fails, the primary does it. That is rare, and boxed: the futures of
/// all who read would be larger by it.
macro_rules! read {
    ($tx:expr, $sql:expr, $method:ident) => {{
        let spare = $tx.is_far().then(|| Box::new($sql.clone()));
        match (run!($tx, $sql, $method), spare) {
            (Err(error), Some(again)) => {
                let near = async {
                    $tx.come_near(&error).await?;
                    run!($tx, (*again), $method)
                };
                Box::pin(near).await
            }
            (done, _) => done,
        }
    }};
}

impl Tx {
    pub(super) fn over(link: Link, shared: Arc<Shared>) -> Self {
        Self { link, shared, changes_settings: false, unsent: Vec::new() }
    }

    /// Runs a statement; the number of rows it changed.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        self.send().await?;
        let trace = Trace::of(&sql);
        let changed = run!(self, sql, execute);
        let changed: u64 = self.shared.seen(changed)?;
        trace.done(changed);
        Ok(changed)
    }

    /// Runs a statement whose outcome nobody asks for, before the next one or at the commit, which fail if it
    /// does.
    ///
    /// SQLite runs it together with that one: each statement that is run for itself costs two changes of
    /// thread, which is more than most cost the database. PostgreSQL runs it at once, and so does SQLite where
    /// it is long: what waits is in memory.
    pub async fn execute_soon(&mut self, sql: Sql) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres || !sql.recurs() {
            return self.execute(sql).await.map(drop);
        }
        Trace::of(&sql).done(0);
        self.unsent.push(sql);
        Ok(())
    }

    /// Runs what was not run yet.
    async fn send(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.unsent.pop() else { return Ok(()) };
        // Boxed, because the futures of all who write would be larger by it.
        let sent: Result<u64, _> = Box::pin(async { run!(self, last, execute) }).await;
        self.shared.seen(sent).map(drop)
    }

    /// Runs a statement that changes what requests are judged by: the row of a connection, of its keys or of
    /// its instance. See [`Store::settings_changes`](super::Store::settings_changes).
    pub async fn change_settings(&mut self, sql: Sql) -> Result<(), StoreError> {
        self.changes_settings = true;
        self.execute(sql).await.map(drop)
    }

    /// Runs a statement; its first row, if it has one.
    pub async fn fetch_optional<T: Record>(&mut self, sql: Sql) -> Result<Option<T>, StoreError> {
        let trace = Trace::of(&sql);
        let row = read!(self, sql, fetch_optional);
        let row: Option<Row> = self.shared.seen(row)?;
        trace.done(u64::from(row.is_some()));
        row.as_ref().map(T::read).transpose()
    }

    /// Runs a statement; all of its rows.
    pub async fn fetch_all<T: Record>(&mut self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let trace = Trace::of(&sql);
        let rows = read!(self, sql, fetch_all);
        let rows: Vec<Row> = self.shared.seen(rows)?;
        trace.done(rows.len() as u64);
        // Each row goes when it is read: a page of them is as large as what is made of it.
        rows.into_iter().map(|row| T::read(&row)).collect()
    }

    /// Marks a place in the transaction that [`Tx::back_to_mark`] goes back to. Marks nest.
    pub async fn mark(&mut self) -> Result<(), StoreError> {
        self.execute(Sql::new("SAVEPOINT scimd")).await.map(drop)
    }

    /// Gives up what was written since the last mark, and the mark with it.
    pub async fn back_to_mark(&mut self) -> Result<(), StoreError> {
        self.execute(Sql::new("ROLLBACK TO SAVEPOINT scimd")).await?;
        self.forget_mark().await
    }

    /// Forgets the last mark; what was written since belongs to the transaction.
    pub async fn forget_mark(&mut self) -> Result<(), StoreError> {
        self.execute(Sql::new("RELEASE SAVEPOINT scimd")).await.map(drop)
    }

    /// Keeps what was written. Only when this returns `Ok` may anybody be told so.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.send().await?;
        let _change = self.changes_settings.then(|| Change(self.shared.clone()));
        match self.link {
            Link::SqliteWrite(turn) => turn.keep().await?,
            Link::SqliteSnapshot(transaction) => transaction.commit().await?,
            Link::PostgresWrite(transaction) => transaction.commit().await?,
            Link::SqliteRead(_) | Link::PostgresRead(_) | Link::PostgresFar(_) => {}
        }
        Ok(())
    }

    /// Gives up what was written. Dropping does the same, on PostgreSQL when the connection is next used.
    pub async fn rollback(self) {
        let ended = match self.link {
            Link::SqliteWrite(turn) => {
                drop(turn);
                Ok(())
            }
            Link::SqliteSnapshot(transaction) => transaction.rollback().await,
            Link::PostgresWrite(transaction) => transaction.rollback().await,
            Link::SqliteRead(_) | Link::PostgresRead(_) | Link::PostgresFar(_) => Ok(()),
        };
        if let Err(error) = ended {
            // The database gives the transaction up by itself when the connection goes.
            tracing::debug!(error = &error as &dyn std::error::Error, "no rollback");
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&mut self) -> Result<(), StoreError> {
        match self.connection() {
            Connection::Sqlite(connection) => connection.ping().await?,
            Connection::Postgres(connection) => connection.ping().await?,
        }
        Ok(())
    }

    /// Which of the two databases this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.link {
            Link::SqliteRead(_) | Link::SqliteSnapshot(_) | Link::SqliteWrite(_) => Dialect::Sqlite,
            Link::PostgresRead(_) | Link::PostgresFar(_) | Link::PostgresWrite(_) => {
                Dialect::Postgres
            }
        }
    }

    fn connection(&mut self) -> Connection<'_> {
        match &mut self.link {
            Link::SqliteRead(connection) => Connection::Sqlite(connection),
            Link::SqliteSnapshot(transaction) => Connection::Sqlite(transaction),
            Link::SqliteWrite(turn) => Connection::Sqlite(turn.connection()),
            Link::PostgresRead(connection) => Connection::Postgres(connection),
            Link::PostgresFar(far) => Connection::Postgres(&mut far.connection),
            Link::PostgresWrite(transaction) => Connection::Postgres(transaction),
        }
    }
}

/// What a driver answers, without the driver.
trait IntoEither<T> {
    fn into_either(self) -> T;
}

impl IntoEither<u64> for sqlx::sqlite::SqliteQueryResult {
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither<u64> for sqlx::postgres::PgQueryResult {
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither<Option<Row>> for Option<sqlx::sqlite::SqliteRow> {
    fn into_either(self) -> Option<Row> {
        self.map(Row::Sqlite)
    }
}

impl IntoEither<Option<Row>> for Option<sqlx::postgres::PgRow> {
    fn into_either(self) -> Option<Row> {
        self.map(Row::Postgres)
    }
}

impl IntoEither<Vec<Row>> for Vec<sqlx::sqlite::SqliteRow> {
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Sqlite).collect()
    }
}

impl IntoEither<Vec<Row>> for Vec<sqlx::postgres::PgRow> {
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Postgres).collect()
    }
}
