//! Connections by which floors run statements, by the drivers that scimd has.

use std::hint::black_box;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rusqlite::types::Value;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::statements::{Bind, Statement};

/// How long SQLite waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What scimd says to each connection to SQLite too; the memory is that of the one that writes.
const PRAGMAS: &str = "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; \
    PRAGMA cache_size = -16384";

/// A connection.
pub(super) enum Link {
    /// To SQLite, which works in the thread that calls it.
    Sqlite(rusqlite::Connection),
    /// To PostgreSQL.
    Postgres(PgConnection),
}

impl Link {
    /// Opens so many connections, before anything is measured.
    pub(super) async fn open_all(url: &str, count: usize) -> Result<Vec<Self>> {
        let mut links = Vec::new();
        for _ in 0..count {
            links.push(Self::open(url).await?);
        }
        Ok(links)
    }

    /// Opens a connection as scimd does: what is acknowledged is on disk.
    async fn open(url: &str) -> Result<Self> {
        if let Some(file) = url.strip_prefix("sqlite://") {
            let link = rusqlite::Connection::open(file).context("SQLite")?;
            link.busy_timeout(BUSY_TIMEOUT)?;
            link.execute_batch(PRAGMAS)?;
            return Ok(Self::Sqlite(link));
        }
        let options = PgConnectOptions::from_str(url)?.options([("synchronous_commit", "on")]);
        Ok(Self::Postgres(PgConnection::connect_with(&options).await.context("PostgreSQL")?))
    }

    /// Starts work that uses this connection, beside that of others: in a thread of its own where it is to SQLite.
    pub(super) fn start<T: Send + 'static, F>(
        self,
        running: &mut JoinSet<T>,
        work: impl FnOnce(Self) -> F,
    ) where
        F: Future<Output = T> + Send + 'static,
    {
        let here = matches!(self, Self::Sqlite(_)).then(Handle::current);
        let work = work(self);
        match here {
            Some(here) => running.spawn_blocking(move || here.block_on(work)),
            None => running.spawn(work),
        };
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        let begin = if matches!(self, Self::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.run(Statement { sql: begin, binds: vec![], writes: false }).await
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        self.run(Statement { sql: "COMMIT", binds: vec![], writes: false }).await
    }

    /// Runs a statement and reads its rows.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<()> {
        let text = statement.sql;
        match self {
            Self::Sqlite(link) => on_sqlite(link, statement).context(text),
            Self::Postgres(link) => on_postgres(link, statement).await.context(text),
        }
    }
}

fn on_sqlite(link: &rusqlite::Connection, statement: Statement) -> rusqlite::Result<()> {
    let mut prepared = link.prepare_cached(statement.sql)?;
    for (number, bind) in (1..).zip(statement.binds) {
        let index = prepared.parameter_index(&format!("${number}"))?.unwrap_or(number);
        let value = match bind {
            Bind::Id(id) => Value::Blob(id.as_bytes().to_vec()),
            Bind::Text(text) => Value::Text(text),
            Bind::Integer(number) => Value::Integer(number),
            Bind::Flag(flag) => Value::Integer(flag.into()),
        };
        prepared.raw_bind_parameter(index, value)?;
    }
    let columns = prepared.column_count();
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            black_box(row.get::<_, Value>(column)?);
        }
    }
    Ok(())
}

async fn on_postgres(link: &mut PgConnection, statement: Statement) -> sqlx::Result<()> {
    let query =
        statement.binds.into_iter().fold(sqlx::query(statement.sql), |query, bind| match bind {
            Bind::Id(id) => query.bind(id),
            Bind::Text(text) => query.bind(text),
            Bind::Integer(number) => query.bind(number),
            Bind::Flag(flag) => query.bind(flag),
        });
    query.fetch_all(link).await.map(drop)
}
