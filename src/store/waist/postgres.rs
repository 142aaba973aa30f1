//! Connections to PostgreSQL, and transactions on them.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Transaction};

use super::standby::Far;
use crate::store::sql::{Bind, Sql};

/// What speaks to PostgreSQL.
#[derive(Debug)]
pub(super) enum Postgres {
    /// A connection that reads.
    Read(PoolConnection<sqlx::Postgres>),
    /// One that reads from the standby.
    Far(Box<Far>),
    /// A transaction.
    Write(Transaction<'static, sqlx::Postgres>),
}

impl Postgres {
    /// Runs a statement; the number of rows it changed.
    pub(super) async fn execute(&mut self, sql: Sql) -> Result<u64, sqlx::Error> {
        Ok(query(sql).execute(self.connection()).await?.rows_affected())
    }

    /// Runs a statement; its first row. Where the standby fails to read it, the primary does it.
    pub(super) async fn fetch_optional(&mut self, sql: Sql) -> Result<Option<PgRow>, sqlx::Error> {
        let spare = self.spare(&sql);
        match (query(sql).fetch_optional(self.connection()).await, spare) {
            // That is rare, and boxed: the futures of all who read would be larger by it.
            (Err(error), Some(again)) => {
                Box::pin(async { query(*again).fetch_optional(self.near(&error).await?).await })
                    .await
            }
            (done, _) => done,
        }
    }

    /// Runs a statement; all of its rows. Where the standby fails to read them, the primary does it.
    pub(super) async fn fetch_all(&mut self, sql: Sql) -> Result<Vec<PgRow>, sqlx::Error> {
        let spare = self.spare(&sql);
        match (query(sql).fetch_all(self.connection()).await, spare) {
            (Err(error), Some(again)) => {
                Box::pin(async { query(*again).fetch_all(self.near(&error).await?).await }).await
            }
            (done, _) => done,
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Write(transaction) => transaction.commit().await,
            Self::Read(_) | Self::Far(_) => Ok(()),
        }
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Write(transaction) => transaction.rollback().await,
            Self::Read(_) | Self::Far(_) => Ok(()),
        }
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.connection().ping().await
    }

    /// What is asked of the primary if the standby fails.
    fn spare(&self, sql: &Sql) -> Option<Box<Sql>> {
        matches!(self, Self::Far(_)).then(|| Box::new(sql.clone()))
    }

    /// A connection to the primary, where the standby has failed. It shows no older state than the standby has shown.
    async fn near(&mut self, error: &sqlx::Error) -> Result<&mut PgConnection, sqlx::Error> {
        if let Self::Far(far) = self {
            *self = Self::Read(far.failed(error).await?);
        }
        Ok(self.connection())
    }

    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Read(connection) => connection,
            Self::Far(far) => &mut far.connection,
            Self::Write(transaction) => transaction,
        }
    }
}

/// A statement with its values, as the driver takes it.
fn query(sql: Sql) -> Query<'static, sqlx::Postgres, PgArguments> {
    let keep = sql.recurs();
    let (text, values) = sql.into_parts();
    let query = sqlx::query(AssertSqlSafe(text.into_owned())).persistent(keep);
    values.into_iter().fold(query, |query, value| match value {
        Bind::Uuid(id) => query.bind(id),
        Bind::Text(text) => query.bind(text),
        Bind::Integer(number) => query.bind(number),
        Bind::Boolean(flag) => query.bind(flag),
        Bind::Bytes(bytes) => query.bind(bytes),
    })
}
