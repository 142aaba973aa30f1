//! Removing for good what was deleted: by the server once it can no longer be restored, or by an
//! administrator before.
//!
//! A batch is one transaction with its rows in the audit trail, so it does not matter who is killed in
//! between, and several servers pass over what another one has locked. Only what is deleted is ever
//! removed: whoever restores an account and whoever removes it wait for each other.

use serde_json::{Value, json};
use uuid::Uuid;

use super::hand::CHOSEN_MAX;
use super::{Provision, Result, manager, requests, transact};
use crate::directory::hand::Act;
use crate::directory::{Account, AccountId, InstanceId, Retention};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::purge::{self, Gone, Hanging, Overdue};
use crate::store::{Tx, instances};

/// The accounts, and the groups, that are removed in one transaction.
const BATCH: i64 = 200;

/// The batches of one instance before the next instance has its turn.
const TURN_BATCHES: usize = 50;

/// Whose name the audit trail has for what a server removes.
const JOB: &str = "retention";

/// What was removed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Accounts.
    pub accounts: usize,
    /// Groups.
    pub groups: usize,
}

impl Purged {
    fn is_empty(self) -> bool {
        self.accounts + self.groups == 0
    }

    fn add(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.groups += other.groups;
    }
}

impl Provision {
    /// How long an instance keeps what was deleted.
    pub async fn retention(&self, instance: InstanceId) -> Result<Retention> {
        Ok(instances::retention(&mut self.store.read().await?, instance).await?)
    }

    /// Sets how long an instance keeps what was deleted; how long it was before.
    pub async fn set_retention(
        &self,
        author: &Author,
        instance: InstanceId,
        kept: Retention,
    ) -> Result<Retention> {
        transact!(self.store, |tx| set(&mut tx, author, instance, kept).await)
    }

    /// How much a server would remove at once if an instance kept what was deleted for so long.
    pub async fn overdue(&self, instance: InstanceId, kept: Retention) -> Result<Overdue> {
        let before = kept.cutoff(self.clock.now());
        Ok(purge::count_overdue(&mut self.store.read().await?, instance, before).await?)
    }

    /// Removes what can no longer be restored, on all instances. What fails on one of them keeps nobody
    /// waiting on the others, and is tried again the next time.
    pub async fn purge_overdue(&self) -> Result<Purged> {
        let instances = instances::list(&mut self.store.read().await?).await?;
        let mut purged = Purged::default();
        for instance in instances {
            match self.purge_overdue_of(instance.id).await {
                Ok(done) => purged.add(done),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        instance = %instance.id,
                        "what was deleted could not be removed; it is tried again"
                    );
                }
            }
        }
        Ok(purged)
    }

    async fn purge_overdue_of(&self, instance: InstanceId) -> Result<Purged> {
        let mut purged = Purged::default();
        self.forget_old_losses(instance).await?;
        // Most of the time there is nothing to do: a look does not keep writers waiting.
        if self.overdue(instance, self.retention(instance).await?).await? == Overdue::default() {
            return Ok(purged);
        }
        for _ in 0..TURN_BATCHES {
            let author = Author { name: JOB.to_owned(), rule: Some(JOB), ..self.operator() };
            let done = transact!(self.store, |tx| overdue(&mut tx, &author, instance).await)?;
            if done.is_empty() {
                break;
            }
            purged.add(done);
        }
        Ok(purged)
    }

    /// The deleted account of a name or an id, the last one of that name; a live one if there is none.
    pub async fn deleted_account(
        &self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<Account>> {
        self.account_for(instance, name, Some(Act::Restore)).await
    }

    /// All deleted accounts that a filter selects.
    pub async fn deleted_accounts(
        &self,
        instance: InstanceId,
        filter: &str,
    ) -> Result<Vec<Account>> {
        self.choose(instance, filter, Act::Restore).await
    }

    /// What would go with some deleted accounts.
    pub async fn hanging(&self, instance: InstanceId, ids: &[AccountId]) -> Result<Hanging> {
        Ok(purge::hanging(&mut self.store.read().await?, instance, ids).await?)
    }

    /// Removes deleted accounts for good, whenever they were deleted; which ones they were. Those that are
    /// not deleted, or no longer, stay as they are.
    pub async fn purge(
        &self,
        author: &Author,
        instance: InstanceId,
        ids: &[AccountId],
    ) -> Result<Vec<AccountId>> {
        if ids.len() > CHOSEN_MAX {
            let detail = format!("these are more than {CHOSEN_MAX} accounts");
            return Err(ScimError::new(ErrorKind::TooMany, detail).into());
        }
        let mut purged = Vec::with_capacity(ids.len());
        for ids in ids.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let gone = transact!(self.store, |tx| requested(&mut tx, author, instance, ids).await)?;
            purged.extend(gone.into_iter().map(|gone| AccountId(gone.id)));
        }
        Ok(purged)
    }
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    kept: Retention,
) -> Result<Retention> {
    tx.serialize_on(&[format!("{instance} retention")]).await?;
    let before = instances::retention(tx, instance).await?;
    if before == kept {
        return Ok(before);
    }
    instances::set_retention(tx, instance, kept).await?;
    let event = author.event(Category::Settings, "instance.retention_set", "instance", instance.0);
    let event = audit::Event {
        before: Some(json!({ "retentionDays": before })),
        after: Some(json!({ "retentionDays": kept })),
        ..event
    };
    audit::append(tx, instance, &[event]).await?;
    Ok(before)
}

/// Removes one batch of what can no longer be restored.
async fn overdue(tx: &mut Tx, author: &Author, instance: InstanceId) -> Result<Purged> {
    let before = instances::retention(tx, instance).await?.cutoff(author.at);
    let accounts = purge::overdue_accounts(tx, instance, before, BATCH).await?;
    remove_accounts(tx, author, instance, &accounts).await?;
    let groups = purge::overdue_groups(tx, instance, before, BATCH).await?;
    remove_groups(tx, author, instance, &groups).await?;
    Ok(Purged { accounts: accounts.len(), groups: groups.len() })
}

async fn requested(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    ids: &[AccountId],
) -> Result<Vec<Gone>> {
    let gone = purge::deleted_accounts(tx, instance, ids).await?;
    remove_accounts(tx, author, instance, &gone).await?;
    Ok(gone)
}

pub(super) async fn remove_accounts(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    gone: &[Gone],
) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = gone.iter().map(|gone| gone.id).collect();
    purge::remove_accounts(tx, instance, &ids).await?;
    requests::erase(tx, author, instance, gone, &ids).await?;
    manager::forget(tx, instance, author, &ids).await?;
    let event = |gone: &Gone| {
        let before = json!({ "userName": gone.name, "connection": gone.connection });
        purged(author, "account", gone, before)
    };
    let events: Vec<_> = gone.iter().map(event).collect();
    Ok(audit::append(tx, instance, &events).await?)
}

async fn remove_groups(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    gone: &[Gone],
) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = gone.iter().map(|gone| gone.id).collect();
    let scopes = purge::forget_sync_groups(tx, instance, &ids).await?;
    purge::remove_groups(tx, instance, &ids).await?;
    let group = |gone: &Gone| {
        let before = json!({ "displayName": gone.name, "connection": gone.connection });
        purged(author, "group", gone, before)
    };
    let scope = scopes.iter().map(|(connection, group)| {
        let action = "connection.sync_group_purged";
        let event = author.event(Category::Settings, action, "connection", connection.0);
        let before = Some(json!({ "syncGroup": group }));
        audit::Event { before, ..event }
    });
    let events: Vec<_> = gone.iter().map(group).chain(scope).collect();
    Ok(audit::append(tx, instance, &events).await?)
}

/// What the audit trail keeps of something that is gone for good: who it was, and whose.
fn purged(author: &Author, noun: &str, gone: &Gone, before: Value) -> audit::Event {
    let event = author.change(&format!("{noun}.purged"), noun, gone.id);
    audit::Event { before: Some(before), ..event }
}
