//! Statements on a connection or in a transaction, whichever database it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::trace::Trace;
use super::{Dialect, Shared};
use crate::store::StoreError;
use crate::store::row::{Record, Row};
use crate::store::sql::Sql;

/// A connection for reading, or a transaction for writing. Dropped without [`Tx::commit`], nothing
/// that was written is kept.
#[derive(Debug)]
pub struct Tx {
    pub(super) link: Link,
    shared: Arc<Shared>,
    changes_settings: bool,
}

/// What a transaction speaks by.
#[derive(Debug)]
pub(super) enum Link {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Says that settings have changed when it goes, also if nobody waits for the end of the commit.
struct Change(Arc<Shared>);

impl Drop for Change {
    fn drop(&mut self) {
        self.0.settings_changes.fetch_add(1, Ordering::Release);
    }
}

impl Tx {
    pub(super) fn over(link: Link, shared: Arc<Shared>) -> Self {
        Self { link, shared, changes_settings: false }
    }

    /// Runs a statement; the number of rows it changed.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        let trace = Trace::of(&sql);
        let changed = match &mut self.link {
            Link::Sqlite(link) => link.session().execute(sql).await?,
            Link::Postgres(link) => self.shared.seen(link.execute(sql).await)?,
        };
        trace.done(changed);
        Ok(changed)
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
        let found = match &mut self.link {
            Link::Sqlite(link) => link.session().fetch(sql, 1).await?.pop(),
            Link::Postgres(link) => {
                let row = self.shared.seen(link.fetch_optional(sql).await)?;
                row.map(|row| T::read(&Row::Postgres(&row))).transpose()?
            }
        };
        trace.done(u64::from(found.is_some()));
        Ok(found)
    }

    /// Runs a statement; all of its rows.
    pub async fn fetch_all<T: Record>(&mut self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let trace = Trace::of(&sql);
        let found: Vec<T> = match &mut self.link {
            Link::Sqlite(link) => link.session().fetch(sql, usize::MAX).await?,
            Link::Postgres(link) => {
                let rows = self.shared.seen(link.fetch_all(sql).await)?;
                // Each row goes when it is read: a page of them is as large as what is made of it.
                let read = rows.into_iter().map(|row| T::read(&Row::Postgres(&row)));
                read.collect::<Result<_, _>>()?
            }
        };
        trace.done(found.len() as u64);
        Ok(found)
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
    pub async fn commit(self) -> Result<(), StoreError> {
        let _change = self.changes_settings.then(|| Change(self.shared.clone()));
        match self.link {
            Link::Sqlite(link) => link.commit().await,
            Link::Postgres(link) => Ok(link.commit().await?),
        }
    }

    /// Gives up what was written. Dropping does the same, on PostgreSQL when the connection is next used.
    pub async fn rollback(self) {
        if let Link::Postgres(link) = self.link
            && let Err(error) = link.rollback().await
        {
            // The database gives the transaction up by itself when the connection goes.
            tracing::debug!(error = &error as &dyn std::error::Error, "no rollback");
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&mut self) -> Result<(), StoreError> {
        match &mut self.link {
            Link::Sqlite(link) => link.session().ping().await,
            Link::Postgres(link) => Ok(link.ping().await?),
        }
    }

    /// Which of the two databases this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.link {
            Link::Sqlite(_) => Dialect::Sqlite,
            Link::Postgres(_) => Dialect::Postgres,
        }
    }
}
