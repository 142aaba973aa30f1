//! Doing what a migration has planned, page by page.

use std::sync::Arc;

use serde_json::Value;

use super::Task;
use crate::directory::migration::{Step as Wanted, Target};
use crate::directory::{Account, AccountId, Connection, ConnectionId};
use crate::provision::pull::report::{item, skipped};
use crate::provision::runs::{Step, advance};
use crate::provision::{Caller, Error, Result, claims, hand, standing, users};
use crate::scim::fold::fold;
use crate::scim::resource::require_fitting;
use crate::scim::schemas::Schemas;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::Author;
use crate::store::migration_lines::{self, Placed};
use crate::store::run_items::{self, Item};
use crate::store::runs::{self, Run};
use crate::store::{StoreError, Tx, accounts, connections, schemas};

/// The accounts that change in one transaction; a circle of names is never parted.
const PAGE: i64 = 100;

/// What a page rests on.
struct Page<'p> {
    run: &'p Run,
    author: &'p Author,
    schemas: Arc<Schemas>,
    connections: Vec<Connection>,
}

/// Does the next page of a migration. A line that can no longer be done is left out with the reason.
pub(in crate::provision) async fn page(tx: &mut Tx, author: &Author, run: &Run) -> Result<Run> {
    // Who has lost the run to another does nothing more for it.
    let found = runs::lock(tx, run.instance, run.id).await?;
    let mine =
        |found: &Run| (found.ended_at, found.seen, found.holder) == (None, run.seen, run.holder);
    found.filter(mine).ok_or(StoreError::Stale)?;
    let placed = migration_lines::next(tx, run.instance, run.id, PAGE).await?;
    let Some(Placed { position: last, step }) = placed.last() else {
        return advance(tx, author, run, Step::default()).await;
    };
    let page = Page {
        run,
        author,
        schemas: Arc::new(schemas::of_instance(tx, run.instance).await?),
        connections: connections::list(tx, run.instance).await?,
    };
    let items = page.all(tx, &placed).await?;
    let mut task: Task = run.told()?;
    let position = task.counts.items();
    let before = task.counts.changed();
    for item in &items {
        task.counts.add(item.outcome);
    }
    let changed = task.counts.changed() - before;
    run_items::append(tx, run.instance, run.id, position, &items).await?;
    migration_lines::remove(tx, run.instance, run.id, *last).await?;
    let seen = i64::try_from(placed.len()).unwrap_or(i64::MAX);
    let step = Step { last: Some(step.account.0), seen, changed };
    let task = serde_json::to_value(task).ok();
    advance(tx, author, &Run { task, ..run.clone() }, step).await
}

impl Page<'_> {
    /// Does all steps. Where one is refused, everything is taken back and each is done by itself, a circle as
    /// one: where nothing is refused nothing is done twice.
    async fn all(&self, tx: &mut Tx, placed: &[Placed]) -> Result<Vec<Item>> {
        let ids: Vec<AccountId> = placed.iter().map(|placed| placed.step.account).collect();
        accounts::lock(tx, self.run.instance, &ids).await?;
        let alike = |one: &Placed, other: &Placed| {
            one.step.circle.is_some() && one.step.circle == other.step.circle
        };
        let units: Vec<&[Placed]> = placed.chunk_by(alike).collect();
        if let Ok(items) = self.tried(tx, &units).await? {
            return Ok(items);
        }
        let mut items = Vec::with_capacity(placed.len());
        for unit in units {
            match self.tried(tx, &[unit]).await? {
                Ok(done) => items.extend(done),
                Err(why) => items.extend(unit.iter().map(|placed| {
                    let why = if unit.len() > 1 {
                        format!("it is part of a circle of names that cannot be handed on: {why}")
                    } else {
                        why.clone()
                    };
                    let Wanted { line, account, name, .. } = &placed.step;
                    Item { account: Some(*account), ..skipped(*line, name, &why) }
                })),
            }
        }
        Ok(items)
    }

    /// Does some units, or none of them and says why.
    async fn tried(
        &self,
        tx: &mut Tx,
        units: &[&[Placed]],
    ) -> Result<std::result::Result<Vec<Item>, String>> {
        tx.mark().await?;
        match self.units(tx, units).await {
            Ok(items) => {
                tx.forget_mark().await?;
                Ok(Ok(items))
            }
            Err(Error::Refused(refusal) | Error::NoSeat(refusal)) => {
                tx.back_to_mark().await?;
                Ok(Err(refusal.detail))
            }
            Err(error) => Err(error),
        }
    }

    async fn units(&self, tx: &mut Tx, units: &[&[Placed]]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for unit in units {
            if let Some(last) = unit.last().filter(|last| last.step.circle.is_some()) {
                migration_lines::put_aside(tx, self.run.instance, last.step.account).await?;
            }
            for placed in *unit {
                items.extend(self.one(tx, &placed.step).await?);
            }
        }
        Ok(items)
    }

    /// Changes one account, by the road of every write.
    async fn one(&self, tx: &mut Tx, wanted: &Wanted) -> Result<Option<Item>> {
        let instance = self.run.instance;
        // Those before may have linked the account to its manager: it is read as it is now.
        let before = accounts::some(tx, instance, &[wanted.account]).await?.pop();
        let before =
            before.ok_or_else(|| refusal("the account was deleted meanwhile".to_owned()))?;
        self.require_as_planned(&before, wanted)?;
        let connection = wanted.target.of(before.connection);
        let moved = connection != before.connection;
        let mut after = Account {
            connection,
            in_source: before.in_source || moved,
            version: before.version + 1,
            modified_at: self.author.at,
            ..before.clone()
        };
        if let Some(new) = &wanted.new_name {
            after.user_name.clone_from(new);
            after.document.insert("userName".to_owned(), Value::from(new.as_str()));
            require_fitting(&after.document)?;
        }
        if (&after.user_name, after.connection) == (&before.user_name, before.connection) {
            return Ok(None);
        }
        if moved {
            after.forget_holds();
        }
        standing::judge(&mut after);
        let schemas = &self.schemas;
        hand::made_anew(tx, self.author, instance, schemas, &mut after).await?;
        let picked_up = before.connection.is_none() && moved;
        if let Some(target) = after.connection.filter(|_| picked_up) {
            self.settle_claims(tx, target, &after).await?;
        }
        let after =
            users::write(tx, instance, schemas, self.author, &before, after, "migrated").await?;
        Ok(item(&schemas.user, Some(&before), &after, picked_up, Some(wanted.line)))
    }

    /// Refuses to change an account that is no longer as it was when the file was looked at.
    fn require_as_planned(&self, before: &Account, wanted: &Wanted) -> Result<()> {
        if fold(&before.user_name) != fold(&wanted.name) {
            let name = &before.user_name;
            return Err(refusal(format!("the account was renamed meanwhile: it is \"{name}\"")));
        }
        if before.protected {
            return Err(refusal("the account was protected meanwhile".to_owned()));
        }
        match wanted.target {
            Target::Connection(id) if self.connection(id).is_none() => {
                Err(refusal("the target directory is gone".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.iter().find(|one| one.id == id)
    }

    /// What the connection has asked for on a Local account that it gets now is granted with it.
    async fn settle_claims(
        &self,
        tx: &mut Tx,
        target: ConnectionId,
        after: &Account,
    ) -> Result<()> {
        let Some(connection) = self.connection(target) else { return Ok(()) };
        let caller = Caller::of(connection.clone(), Schemas::clone(&self.schemas));
        claims::settle(tx, &caller, self.author.at, after.id.0).await
    }
}

fn refusal(why: String) -> Error {
    ScimError::new(ErrorKind::Conflict, why).into()
}
