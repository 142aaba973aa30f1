//! Connections to SQLite, and by which thread their statements run.
//!
//! SQLite works in the thread that calls it. It finds a row by an index, or writes one, in a few microseconds, and
//! to hand that to another thread and back takes several times as long. So the thread that wants to read does it, but
//! gives up what turns out to be long, which a thread for blocking work then does from the beginning. Writes of
//! [`Length::Small`] run in the thread that wants them too, unless they have a long list or answer with rows. Others do
//! not, nor does what waits for another process, or for the disk to keep something.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, Rows, ToSql, ffi};
use tokio::sync::oneshot;

use super::readers::Reader;
use super::writer::Turn;
use crate::store::row::{Record, Row, SqliteRow};
use crate::store::sql::{Bind, Sql};
use crate::store::{SQLITE_UNAVAILABLE, StoreError};

/// The statements that each connection keeps prepared.
const PREPARED_MAX: usize = 100;

/// How long a connection waits for another process.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How every connection runs: what is committed is on the disk before anybody is told. The log of writes is carried
/// over into the database once it has so many pages of 4 KiB: whoever commits does that, so not after each few commits.
const PRAGMAS: &str =
    "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000";

/// The steps of SQLite's machine after which it asks whether to go on.
const STEPS: i32 = 1000;

/// How often it may ask while the thread that wants to read waits for it: some tenths of a millisecond, where the pages
/// are in memory.
const SHORT_STEPS_MAX: i64 = 20;

/// The rows that such a thread reads at most.
const SHORT_ROWS_MAX: usize = 128;

/// As often as it likes.
const ENDLESS: i64 = i64::MAX;

/// A statement that takes longer is in the log.
const SLOW: Duration = Duration::from_secs(1);

/// How long what a transaction writes takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// As long as the write of one request.
    Small,
    /// Nobody knows: who has written before is not to wait for its end.
    Any,
}

/// A database in a file.
#[derive(Debug, Clone)]
pub(super) struct File(Arc<Path>);

/// A connection, and what ends its statements.
#[derive(Debug)]
pub(super) struct Handle {
    connection: Connection,
    /// How often SQLite may still say that it has done [`STEPS`] of a statement; then the statement ends.
    patience: Arc<AtomicI64>,
}

/// What speaks to SQLite.
#[derive(Debug)]
pub(super) enum Sqlite {
    /// A connection that reads, in a transaction or not.
    Read(Reader),
    /// A transaction.
    Write(Turn),
}

/// A connection that somebody uses, and how long what he writes takes.
#[derive(Debug)]
pub(super) struct Session {
    /// Not there while another thread has it.
    handle: Option<Handle>,
    /// What that thread gives it back by.
    coming: Option<oneshot::Receiver<Handle>>,
    /// That of the connection.
    patience: Arc<AtomicI64>,
    pub(super) length: Length,
}

impl Sqlite {
    pub(super) fn session(&mut self) -> &mut Session {
        match self {
            Self::Read(reader) => &mut reader.session,
            Self::Write(turn) => turn.session(),
        }
    }

    /// Waits until what was written is durable.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            // A transaction that reads ends when the connection is given back.
            Self::Read(_) => Ok(()),
            Self::Write(turn) => turn.keep().await,
        }
    }
}

impl File {
    /// The database in this file, which is there.
    pub(super) fn at(file: &Path) -> Self {
        Self(file.into())
    }

    /// Opens a connection, with more to say to it.
    pub(super) async fn open(&self, pragmas: &'static str) -> Result<Handle, StoreError> {
        let file = self.clone();
        let opened = tokio::task::spawn_blocking(move || Handle::open(&file.0, pragmas)).await;
        Ok(opened.map_err(|_cut_off| sqlx::Error::WorkerCrashed)??)
    }
}

impl Handle {
    fn open(file: &Path, pragmas: &str) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(pragmas)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        let patience = Arc::new(AtomicI64::new(ENDLESS));
        let left = Arc::clone(&patience);
        let progress = move || left.fetch_sub(1, Ordering::Relaxed) <= 0;
        connection.progress_handler(STEPS, Some(progress))?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self { connection, patience })
    }

    /// Does work that may take long or has to wait, in a thread for blocking work.
    fn work<R>(&self, work: impl FnOnce(&Self) -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        let done = work(self);
        self.connection.busy_timeout(Duration::ZERO)?;
        done
    }

    fn say(&self, words: &[&str]) -> Result<(), StoreError> {
        for word in words {
            self.connection.prepare_cached(word)?.execute(())?;
        }
        Ok(())
    }

    fn execute(&self, statement: &Statement) -> Result<u64, StoreError> {
        statement.run(&self.connection, |prepared| {
            let mut rows = prepared.raw_query();
            while rows.next()?.is_some() {}
            Ok(self.connection.changes())
        })
    }

    /// Reads the rows of a statement, at most that many.
    fn fetch<T: Record>(&self, statement: &Statement, most: usize) -> Result<Vec<T>, StoreError> {
        statement.run(&self.connection, |prepared| {
            let (mut found, mut rows) = (Vec::new(), prepared.raw_query());
            while found.len() < most
                && let Some(row) = rows.next()?
            {
                found.push(T::read(&Row::Sqlite(SqliteRow::new(row)))?);
            }
            Ok(found)
        })
    }

    /// The same where that is short and nothing is written; else `None`, and nothing was done.
    fn fetch_short<T: Record>(
        &self,
        statement: &Statement,
        most: usize,
    ) -> Result<Option<Vec<T>>, StoreError> {
        statement.run(&self.connection, |prepared| {
            if !prepared.readonly() {
                return Ok(None);
            }
            let _hurry = Hurry::of(&self.patience);
            read_short(prepared.raw_query(), most)
        })
    }
}

/// While it is there, a statement has little time. It ends also where something panics: who uses the connection next
/// has all the time again.
struct Hurry<'p>(&'p AtomicI64);

impl<'p> Hurry<'p> {
    fn of(patience: &'p AtomicI64) -> Self {
        patience.store(SHORT_STEPS_MAX, Ordering::Relaxed);
        Self(patience)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.store(ENDLESS, Ordering::Relaxed);
    }
}

/// Reads rows unless it takes too long. A statement that only reads can be given up at any place: what was written
/// before it in a transaction stays.
fn read_short<T: Record>(mut rows: Rows<'_>, most: usize) -> Result<Option<Vec<T>>, StoreError> {
    let mut found = Vec::new();
    while found.len() < most {
        match rows.next() {
            Ok(None) => break,
            Ok(Some(_)) if found.len() == SHORT_ROWS_MAX => return Ok(None),
            Ok(Some(row)) => found.push(T::read(&Row::Sqlite(SqliteRow::new(row)))?),
            Err(error) if is_too_long(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(found))
}

/// Whether a statement was given up because it took too many steps, or would have had to wait for another process.
fn is_too_long(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy))
}

impl Session {
    /// A session on a connection, for writes that take so long.
    pub(super) fn over(handle: Handle, length: Length) -> Self {
        let patience = Arc::clone(&handle.patience);
        Self { handle: Some(handle), coming: None, patience, length }
    }

    /// Runs a statement; the number of rows it changed. One with a long list takes a while, whoever runs it.
    pub(super) async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        let statement = Statement::of(sql);
        if self.length == Length::Small && statement.recurs {
            let handle = self.here().await?;
            return statement.timed(|statement| handle.execute(statement));
        }
        self.away(move |handle| statement.timed(|statement| handle.execute(statement))).await
    }

    /// Runs a statement; its rows, at most that many.
    pub(super) async fn fetch<T: Record>(
        &mut self,
        sql: Sql,
        most: usize,
    ) -> Result<Vec<T>, StoreError> {
        let statement = Statement::of(sql);
        if statement.recurs {
            let handle = self.here().await?;
            if let Some(found) = statement.timed(|it| handle.fetch_short(it, most))? {
                return Ok(found);
            }
        }
        self.away(move |handle| statement.timed(|statement| handle.fetch(statement, most))).await
    }

    /// Says where a transaction begins or ends, which can take a while.
    pub(super) async fn say(&mut self, words: &'static [&'static str]) -> Result<(), StoreError> {
        self.away(move |handle| handle.say(words)).await
    }

    /// Says where a part of a transaction begins or ends, which cannot.
    pub(super) async fn say_here(&mut self, words: &[&str]) -> Result<(), StoreError> {
        self.here().await?.say(words)
    }

    /// Whether the connection is here, and in a transaction.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.handle.as_ref().is_some_and(|handle| !handle.connection.is_autocommit())
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), StoreError> {
        let look = "PRAGMA schema_version";
        self.away(move |handle| Ok(handle.connection.prepare_cached(look)?.exists(()).map(drop)?))
            .await
    }

    /// Closes the connection. The last one carries over the log of writes, which takes a while.
    pub(super) async fn close(mut self) {
        let Ok(()) = self.settle().await else { return };
        let Some(handle) = self.handle.take() else { return };
        let close = move || handle.connection.close().map_err(|(_, error)| error);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(close).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "SQLite was not closed well");
        }
    }

    /// The connection, outside of any transaction, for who uses it next. `None` where another thread still has it, and
    /// then what that does ends soon.
    pub(super) fn end(&mut self) -> Option<Handle> {
        let come = || self.coming.as_mut()?.try_recv().ok();
        let Some(handle) = self.handle.take().or_else(come) else {
            self.patience.store(0, Ordering::Relaxed);
            return None;
        };
        let is_over = handle.connection.is_autocommit() || handle.say(&["ROLLBACK"]).is_ok();
        is_over.then_some(handle)
    }

    /// Waits for the connection, where somebody has not waited for the end of a statement.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(coming) = &mut self.coming {
            let come = coming.await;
            self.coming = None;
            self.handle = Some(come.map_err(|_cut_off| sqlx::Error::WorkerCrashed)?);
        }
        Ok(())
    }

    /// The connection, for the thread that asks.
    async fn here(&mut self) -> Result<&Handle, StoreError> {
        // Who runs many statements lets others have the thread now and then.
        tokio::task::coop::consume_budget().await;
        self.settle().await?;
        Ok(self.handle.as_ref().ok_or(sqlx::Error::WorkerCrashed)?)
    }

    /// Has a thread for blocking work do something with the connection.
    async fn away<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Handle) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.settle().await?;
        let handle = self.handle.take().ok_or(sqlx::Error::WorkerCrashed)?;
        let (give, coming) = oneshot::channel();
        self.coming = Some(coming);
        let worked = tokio::task::spawn_blocking(move || {
            if give.is_closed() {
                // Nobody waits for it any more.
                return Err(sqlx::Error::WorkerCrashed.into());
            }
            let done = handle.work(work);
            let _nobody_waits = give.send(handle);
            done
        });
        let done = worked.await.map_err(|_cut_off| sqlx::Error::WorkerCrashed)?;
        self.settle().await?;
        done
    }
}

/// A statement as SQLite takes it.
struct Statement {
    text: Cow<'static, str>,
    values: Vec<Bind>,
    recurs: bool,
}

impl Statement {
    fn of(sql: Sql) -> Self {
        let recurs = sql.recurs();
        let (text, values) = sql.into_unnamed_parts();
        Self { text, values, recurs }
    }

    /// Has it prepared, with its values bound, and runs it.
    fn run<R>(
        &self,
        connection: &Connection,
        run: impl FnOnce(&mut CachedStatement<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let mut prepared = connection.prepare_cached(&self.text)?;
        bind(&mut prepared, &self.values)?;
        let done = run(&mut prepared);
        if !self.recurs {
            prepared.discard();
        }
        done
    }

    /// Runs it and says in the log if that took long.
    fn timed<R>(&self, run: impl FnOnce(&Self) -> R) -> R {
        let started = Instant::now();
        let done = run(self);
        let took = started.elapsed();
        if took >= SLOW {
            tracing::warn!(sql = &*self.text, ms = took.as_millis(), "a statement took long");
        }
        done
    }
}

/// Binds the value of each placeholder: `$2` has the second one, wherever it stands.
fn bind(statement: &mut CachedStatement<'_>, values: &[Bind]) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok());
        let place: usize = number.unwrap_or(index);
        if let Some(value) = place.checked_sub(1).and_then(|place| values.get(place)) {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

impl ToSql for Bind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Uuid(Some(id)) => ValueRef::Blob(id.as_bytes()),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Integer(Some(number)) => ValueRef::Integer(*number),
            Self::Boolean(flag) => ValueRef::Integer(i64::from(*flag)),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Uuid(None) | Self::Text(None) | Self::Integer(None) | Self::Bytes(None) => {
                ValueRef::Null
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error().map(|cause| cause.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Self::Conflict
            }
            Some(code) if SQLITE_UNAVAILABLE.contains(&(code & 0xff)) => {
                Self::Unavailable(error.into())
            }
            _ => Self::Database(error.into()),
        }
    }
}
