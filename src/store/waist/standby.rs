//! A hot standby: a second server that repeats, a moment later, what the first one has committed.
//!
//! It takes work off the primary where the moment does no harm, and is never needed: where it does not answer,
//! or has not come far enough, the primary does.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::postgres::Postgres as PostgresLink;
use super::tx::Link;
use super::{POSTGRES_OPTIONS, Pools, Store, Tx};
use crate::store::row::Row;
use crate::store::{Record, Sql, StoreError};

/// How long a list waits for a connection to the standby before the primary answers it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a standby that did not answer is not asked again.
const AWAY: Duration = Duration::from_secs(5);

/// How far a server has come in the log of what was ever committed, in bytes. It only grows, and means the same on
/// the primary and on each standby.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Reached(pub i64);

impl Record for Reached {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("reached")?))
    }
}

impl Store {
    /// Lets a hot standby at this address answer what [`Store::read_far`] is for; it need not be there yet.
    pub fn with_standby(mut self, url: &str, connections_max: u32) -> Result<Self, StoreError> {
        self.standby = Some(Standby::at(url, connections_max)?);
        Ok(self)
    }

    /// A connection to the standby, if there is one, it answers, and it has come so far; `None` means that the
    /// primary has to do it.
    ///
    /// For the later pages of a walk, never for what a decision rests on, or the next request of whoever reads: what
    /// was committed behind `since` need not be there.
    pub async fn read_far(&self, since: Reached) -> Result<Option<Tx>, StoreError> {
        let (Some(standby), Pools::Postgres(primary)) = (&self.standby, &self.pools) else {
            return Ok(None);
        };
        let Some(far) = standby.acquire(primary).await else { return Ok(None) };
        let mut tx = self.tx(Link::Postgres(PostgresLink::Far(Box::new(far))));
        let comes_so_far = reached(&mut tx).await? >= since;
        Ok((comes_so_far && tx.is_far()).then_some(tx))
    }

    /// How far the server has come that a connection reads from, for whoever goes on with [`Store::read_far`];
    /// `None`, and no statement, where there is no standby.
    pub async fn reached(&self, tx: &mut Tx) -> Result<Option<Reached>, StoreError> {
        match self.standby {
            Some(_) => reached(tx).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Tx {
    /// Whether the standby is asked.
    fn is_far(&self) -> bool {
        matches!(self.link, Link::Postgres(PostgresLink::Far(_)))
    }
}

impl Far {
    /// A connection to the primary, when the standby has failed with this.
    pub(super) async fn failed(
        &self,
        error: &sqlx::Error,
    ) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.standby.presence.went_away(error);
        self.primary.acquire().await
    }
}

/// How far the server of this connection has come; all that it has shown so far is in there.
async fn reached(tx: &mut Tx) -> Result<Reached, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
         ELSE pg_current_wal_insert_lsn() END, '0/0') AS BIGINT) AS reached",
    );
    Ok(tx.fetch_optional(sql).await?.unwrap_or(Reached(0)))
}

/// The connections to a standby, and whether it answers.
#[derive(Debug, Clone)]
pub(super) struct Standby {
    pool: PgPool,
    presence: Presence,
}

/// Whether the standby answers, as far as is known.
#[derive(Debug, Clone, Default)]
struct Presence(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Here,
    /// It did not answer, and is asked again at this time.
    Away(Instant),
}

/// A connection to the standby, and the way back to the primary.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) connection: PoolConnection<Postgres>,
    standby: Standby,
    primary: PgPool,
}

impl Standby {
    /// The standby at an address. It need not be there yet: nobody waits for it.
    fn at(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        // Should somebody name the primary by mistake, nothing is written all the same.
        let reads_only = [("default_transaction_read_only", "on")];
        let options =
            PgConnectOptions::from_str(url)?.options(POSTGRES_OPTIONS).options(reads_only);
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options);
        Ok(Self { pool, presence: Presence::default() })
    }

    /// A connection, unless the standby does not answer.
    async fn acquire(&self, primary: &PgPool) -> Option<Far> {
        if !self.presence.may_be_asked() {
            return None;
        }
        match self.pool.acquire().await {
            Ok(connection) => {
                self.presence.answered();
                Some(Far { connection, standby: self.clone(), primary: primary.clone() })
            }
            Err(error) => {
                self.presence.went_away(&error);
                None
            }
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Presence {
    /// Whether the standby is asked; where it is away, one in a while finds out.
    fn may_be_asked(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Here => true,
            State::Away(until) if until <= Instant::now() => {
                *state = State::Away(Instant::now() + AWAY);
                true
            }
            State::Away(_) => false,
        }
    }

    fn went_away(&self, error: &sqlx::Error) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Here) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "the standby does not answer; the primary does all");
        }
        *state = State::Away(Instant::now() + AWAY);
    }

    fn answered(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Away(_)) {
            tracing::info!("the standby answers again");
            *state = State::Here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_is_away_is_not_asked_at_once_again() {
        let standby = Presence::default();
        assert!(standby.may_be_asked() && standby.may_be_asked());
        standby.went_away(&sqlx::Error::PoolTimedOut);
        assert!(!standby.may_be_asked());
        *standby.0.lock().unwrap() = State::Away(Instant::now());
        assert!(standby.may_be_asked(), "one finds out");
        assert!(!standby.may_be_asked(), "the others do not wait for it");
        standby.answered();
        assert!(standby.may_be_asked() && standby.may_be_asked());
    }
}
