//! The narrow waist: the only place that knows there are two drivers.

mod standby;
mod trace;
mod writer;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Sqlite, Transaction};
use trace::Trace;
use writer::{Turn, Writer};

pub use self::standby::Reached;
use self::standby::{Far, Standby};
pub use super::dialect::Dialect;
use super::row::{Record, Row};
use super::sql::{Bind, Sql};
use super::{BATCH_MAX, StoreError, migrations};
use crate::directory::InstanceId;

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pages of 4 KiB after which SQLite carries the log of its writes over into the database: whoever
/// commits does that, so not after each few commits.
const WAL_PAGES: &str = "4000";

/// The memory of the connection that writes, in negative KiB: what a group of writers changes is not to
/// leave it before their commit.
const WRITER_CACHE: &str = "-16384";

/// How long a connection to PostgreSQL may have been idle and is trusted to be alive.
const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(1);

/// How long a SQLite writer waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How every PostgreSQL session runs: commits are on disk before they are acknowledged; nobody waits
/// for a lock, or holds one while doing nothing, longer than a client would wait for its answer.
const POSTGRES_OPTIONS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// A database.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Pools,
    standby: Option<Standby>,
    shared: Arc<Shared>,
}

/// What a store and its transactions know together.
#[derive(Debug, Default)]
struct Shared {
    settings_changes: AtomicU64,
    /// When a connection was last found to be lost.
    lost_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
enum Pools {
    /// SQLite has one writer at a time; one connection for writing makes the queue fair.
    Sqlite {
        read: SqlitePool,
        write: Writer,
    },
    Postgres(PgPool),
}

/// A table that a transaction can keep as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillTable {
    /// The accounts.
    Accounts,
    /// The groups.
    Groups,
    /// Who belongs to which group.
    Memberships,
}

/// What a transaction does with groups that are members of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// It decides by where they are.
    Counts,
    /// It adds, removes or deletes them.
    Moves,
}

/// A connection for reading, or a transaction for writing. Dropped without [`Tx::commit`], nothing
/// that was written is kept.
#[derive(Debug)]
pub struct Tx {
    link: Link,
    shared: Arc<Shared>,
    changes_settings: bool,
}

#[derive(Debug)]
enum Link {
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

impl Store {
    /// Opens the database that `url` names, creates it if it is SQLite and missing, and brings its
    /// schema up to date. `connections_max` bounds the pool.
    ///
    /// Acknowledged means durable: SQLite runs in WAL mode with `synchronous=FULL`; PostgreSQL with
    /// `synchronous_commit=on`, whatever its own configuration says.
    pub async fn open(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        let shared = Arc::<Shared>::default();
        let pools = if url.starts_with("sqlite:") {
            Self::open_sqlite(url, connections_max).await?
        } else {
            let options = PgConnectOptions::from_str(url)?.options(POSTGRES_OPTIONS);
            // A pool would try until its time is up and say only that; this says what is wrong.
            PgConnection::connect_with(&options).await?.close().await?;
            let pool = PgPoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // One that was used a moment ago needs no sign of life, which would cost a round trip.
                .test_before_acquire(false)
                .before_acquire({
                    let shared = shared.clone();
                    move |connection, known| {
                        let doubtful = shared.doubts(known.idle_for);
                        Box::pin(async move {
                            if doubtful {
                                connection.ping().await?;
                            }
                            Ok(true)
                        })
                    }
                })
                .connect_with(options)
                .await?;
            Pools::Postgres(pool)
        };
        let store = Self { pools, standby: None, shared };
        match &store.pools {
            Pools::Sqlite { read, .. } => migrations::sqlite().run(read).await,
            Pools::Postgres(pool) => migrations::postgres().run(pool).await,
        }
        .map_err(StoreError::Migration)?;
        Ok(store)
    }

    async fn open_sqlite(url: &str, connections_max: u32) -> Result<Pools, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", WAL_PAGES);
        let write = Writer::open(options.clone().pragma("cache_size", WRITER_CACHE)).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // It is a file of this machine: what would a ping find out?
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        Ok(Pools::Sqlite { read, write })
    }

    /// A connection for statements that change nothing.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { read, .. } => Link::SqliteRead(read.acquire().await?),
            Pools::Postgres(pool) => Link::PostgresRead(pool.acquire().await?),
        };
        Ok(self.tx(link))
    }

    /// A transaction for reading that sees everything as it is now, whatever is written meanwhile. Not for
    /// long: neither database can clear away what it still sees.
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { read, .. } => Link::SqliteSnapshot(read.begin().await?),
            Pools::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let pool = pool.clone();
                Link::PostgresWrite(whole(async move { pool.begin_with(begin).await }).await?)
            }
        };
        Ok(self.tx(link))
    }

    /// A transaction for writing. On SQLite it waits for its turn and takes the write lock at once: a
    /// transaction that first reads and then writes would fail when another one wrote in between.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { write, .. } => Link::SqliteWrite(write.turn(ACQUIRE_TIMEOUT).await?),
            Pools::Postgres(pool) => {
                let pool = pool.clone();
                let begun = whole(async move { pool.begin().await }).await;
                Link::PostgresWrite(self.shared.seen(begun)?)
            }
        };
        Ok(self.tx(link))
    }

    fn tx(&self, link: Link) -> Tx {
        Tx { link, shared: self.shared.clone(), changes_settings: false }
    }

    /// How often this process has changed settings of connections, keys or instances: who remembers some
    /// asks again when the number is another. What other processes change is not counted.
    #[must_use]
    pub fn settings_changes(&self) -> u64 {
        self.shared.settings_changes.load(Ordering::Acquire)
    }

    /// Which of the two databases this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Waits for what is in flight and closes all connections.
    pub async fn close(&self) {
        if let Some(standby) = &self.standby {
            standby.close().await;
        }
        match &self.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Shared {
    /// Whether a connection that was idle for so long may be lost: for long, or since another one was.
    fn doubts(&self, idle_for: Duration) -> bool {
        let lost_at = *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner);
        idle_for >= IDLE_UNTESTED_MAX || lost_at.is_some_and(|at| at.elapsed() <= idle_for)
    }

    /// Remembers that a connection is lost, if that is what happened.
    fn seen<T>(&self, done: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let is_lost = match &done {
            Err(sqlx::Error::Io(_)) => true,
            // The server says that it goes, or that the connection does.
            Err(sqlx::Error::Database(cause)) => {
                cause.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
            }
            _ => false,
        };
        if is_lost {
            *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(done?)
    }
}

/// Begins a transaction to the end, whoever waits for it. The driver does not know of one that was given up on
/// its way: the connection would come back to the pool inside of it.
async fn whole<T: Send + 'static>(
    begin: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    tokio::spawn(begin).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
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
        let keep = $sql.recurs();
        match $tx.connection() {
            Connection::Sqlite(connection) => {
                let (text, values) = $sql.into_unnamed_parts();
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
    /// Runs a statement; the number of rows it changed.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        let trace = Trace::of(&sql);
        let changed = run!(self, sql, execute);
        let changed: u64 = self.shared.seen(changed)?;
        trace.done(changed);
        Ok(changed)
    }

    /// Runs a statement that changes what requests are judged by: the row of a connection, of its keys or of
    /// its instance. See [`Store::settings_changes`].
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
        rows.iter().map(T::read).collect()
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

    /// Makes concurrent writers who name one of these keys wait for each other until the
    /// transaction ends.
    ///
    /// A person who names a manager and that manager, arriving at once, must not both miss each
    /// other. SQLite has one writer, so nothing need be done; PostgreSQL takes transaction-level
    /// advisory locks, in one order for all.
    pub async fn serialize_on(&mut self, keys: &[String]) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Sqlite || keys.is_empty() {
            return Ok(());
        }
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        for keys in keys.chunks(BATCH_MAX) {
            let mut sql = Sql::new("SELECT 1");
            for key in keys {
                sql.push(", pg_advisory_xact_lock(hashtextextended(");
                sql.push_bind(key.as_str()).push(", 0))").once();
            }
            self.execute(sql).await?;
        }
        Ok(())
    }

    /// Makes a transaction that moves groups about wait for those that count on where groups are, and
    /// the other way round, until it ends. SQLite has one writer, so nothing need be done.
    pub async fn hold_nesting(
        &mut self,
        instance: InstanceId,
        hold: Nesting,
    ) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let sql = match hold {
            Nesting::Counts => {
                Sql::new("SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))")
            }
            Nesting::Moves => Sql::new("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"),
        };
        self.execute(sql.bind(format!("scimd nesting {instance}"))).await.map(drop)
    }

    /// Lets nobody write to a table, or lock rows of it, in any instance until the transaction ends, and
    /// waits for those who have. Who holds several takes groups, memberships, accounts, in this order.
    /// SQLite has one writer, so nothing need be done.
    pub async fn hold_still(&mut self, table: StillTable) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let sql = match table {
            StillTable::Accounts => Sql::new("LOCK TABLE accounts IN EXCLUSIVE MODE"),
            StillTable::Groups => Sql::new("LOCK TABLE groups IN EXCLUSIVE MODE"),
            StillTable::Memberships => Sql::new("LOCK TABLE memberships IN EXCLUSIVE MODE"),
        };
        self.execute(sql).await.map(drop)
    }

    /// Keeps what was written. Only when this returns `Ok` may anybody be told so.
    pub async fn commit(self) -> Result<(), StoreError> {
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
