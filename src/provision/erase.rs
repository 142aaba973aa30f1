//! Erasing one person's data: what the trail, the reports and the request log know of somebody who is gone.
//!
//! The events stay, with their digests in the chain: who did something when, by which rule, to which id.
//! What they say of the person is gone, and the salts with which it was digested are, too.

use serde_json::json;

use super::{Provision, Result, not_found, requests, retention, trail, transact};
use crate::directory::{Account, AccountId, InstanceId};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::chain::{self, Waiting};
use crate::store::audit::{self, Author, ERASED};
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::{BATCH_MAX, Tx, accounts, purge, run_items};

/// What was erased of a person, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Erased {
    /// Whether the deleted account was still there.
    pub account: bool,
    /// The events of the audit trail.
    pub events: u64,
    /// The lines in the reports of runs.
    pub lines: u64,
    /// The exchanges of the request log.
    pub exchanges: u64,
}

impl Provision {
    /// Removes a deleted account for good, if it is still there, and erases what the audit trail, the
    /// reports of runs and the request log say of the person. The chain of the trail still holds.
    ///
    /// Refused for who is not deleted, and for an id that the trail does not know.
    pub async fn erase(
        &self,
        author: &Author,
        instance: InstanceId,
        person: AccountId,
    ) -> Result<Erased> {
        // What is left to seal behind the lock is little.
        self.seal_instance(instance).await?;
        transact!(self.store, |tx| erase(&mut tx, author, instance, person).await)
    }

    /// What erasing a person would come to; nothing changes.
    pub async fn foresee_erasure(
        &self,
        author: &Author,
        instance: InstanceId,
        person: AccountId,
    ) -> Result<Erased> {
        let mut tx = self.store.begin().await?;
        let erased = erase(&mut tx, author, instance, person).await;
        tx.rollback().await;
        erased
    }
}

async fn erase(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    person: AccountId,
) -> Result<Erased> {
    let (narrow, viewer) = (Narrow::Id(person.0), Viewer::Administrator);
    let live =
        query::one::<Account>(tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Change);
    if live.await?.is_some() {
        let detail = "it is not deleted, and only who is deleted can be erased: delete it first";
        return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
    }
    let gone = purge::deleted_accounts(tx, instance, &[person]).await?;
    let exchanges = requests::erase(tx, author, instance, &gone, &[person.0]).await?;
    retention::remove_accounts(tx, author, instance, &gone).await?;
    // What is erased must be in the chain: an erased event could not be digested any more.
    let patient = Waiting::Patient;
    while trail::seal_some(tx, instance, author.ids, patient, BATCH_MAX).await? == BATCH_MAX {}
    let erased = Erased {
        account: !gone.is_empty(),
        events: chain::erase(tx, instance, person.0, author.at).await?,
        lines: run_items::erase(tx, instance, person).await?,
        exchanges,
    };
    if erased.events == 0 && !erased.account {
        return Err(not_found("account", &person.to_string()));
    }
    let event = author.change(ERASED, "account", person.0);
    let after = Some(json!({ "events": erased.events, "reportLines": erased.lines,
        "exchanges": erased.exchanges }));
    audit::append(tx, instance, &[audit::Event { after, ..event }]).await?;
    // Nobody sees what is erased without seeing why.
    trail::seal_some(tx, instance, author.ids, patient, BATCH_MAX).await?;
    Ok(erased)
}
