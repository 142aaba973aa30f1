//! The narrow waist: the only place that knows there are two drivers.

mod locks;
mod postgres;
mod readers;
mod sqlite;
mod standby;
mod trace;
mod tx;
mod writer;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

pub use self::locks::{Nesting, StillTable};
use self::postgres::Postgres;
use self::readers::Readers;
use self::sqlite::{BUSY_TIMEOUT, File, Length, Sqlite};
pub use self::standby::Reached;
use self::standby::Standby;
use self::tx::Link;
pub use self::tx::Tx;
use self::writer::Writer;
pub use super::dialect::Dialect;
use super::{StoreError, migrations};

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection to PostgreSQL may have been idle and is trusted to be alive.
const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(1);

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
        read: Readers,
        write: Writer,
    },
    Postgres(PgPool),
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
            migrations::postgres().run(&pool).await.map_err(StoreError::Migration)?;
            Pools::Postgres(pool)
        };
        Ok(Self { pools, standby: None, shared })
    }

    async fn open_sqlite(url: &str, connections_max: u32) -> Result<Pools, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut connection = options.connect().await?;
        migrations::sqlite().run(&mut connection).await.map_err(StoreError::Migration)?;
        let file = File::at(options.get_filename());
        let write = Writer::open(file.clone()).await?;
        connection.close().await?;
        Ok(Pools::Sqlite { read: Readers::of(file, connections_max), write })
    }

    /// A connection for statements that change nothing.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { read, .. } => {
                Link::Sqlite(Sqlite::Read(read.take(ACQUIRE_TIMEOUT).await?))
            }
            Pools::Postgres(pool) => Link::Postgres(Postgres::Read(pool.acquire().await?)),
        };
        Ok(self.tx(link))
    }

    /// A transaction for reading that sees everything as it is now, whatever is written meanwhile. Not for
    /// long: neither database can clear away what it still sees.
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { read, .. } => {
                let mut reader = read.take(ACQUIRE_TIMEOUT).await?;
                reader.begin().await?;
                Link::Sqlite(Sqlite::Read(reader))
            }
            Pools::Postgres(pool) => {
                let words = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let pool = pool.clone();
                let begun = whole(async move { pool.begin_with(words).await }).await?;
                Link::Postgres(Postgres::Write(begun))
            }
        };
        Ok(self.tx(link))
    }

    /// A transaction for writing. On SQLite it waits for its turn and takes the write lock at once: a
    /// transaction that first reads and then writes would fail when another one wrote in between.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_for(Length::Any).await
    }

    /// The same for who writes as little as one request does: on SQLite he shares a commit with others who wait,
    /// they wait for each other, and the thread that asks writes.
    pub async fn begin_small(&self) -> Result<Tx, StoreError> {
        self.begin_for(Length::Small).await
    }

    async fn begin_for(&self, length: Length) -> Result<Tx, StoreError> {
        let link = match &self.pools {
            Pools::Sqlite { write, .. } => {
                let patience = match length {
                    Length::Small => ACQUIRE_TIMEOUT,
                    Length::Any => BUSY_TIMEOUT,
                };
                Link::Sqlite(Sqlite::Write(write.turn(length, patience).await?))
            }
            Pools::Postgres(pool) => {
                let pool = pool.clone();
                let begun = whole(async move { pool.begin().await }).await;
                Link::Postgres(Postgres::Write(self.shared.seen(begun)?))
            }
        };
        Ok(self.tx(link))
    }

    fn tx(&self, link: Link) -> Tx {
        Tx::over(link, self.shared.clone())
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
