//! How transactions wait for each other where rows alone do not make them. SQLite has one writer, so there
//! nothing need be done.

use super::{Dialect, Tx};
use crate::directory::InstanceId;
use crate::store::sql::Sql;
use crate::store::{BATCH_MAX, StoreError};

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

impl Tx {
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
}
