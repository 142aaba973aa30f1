//! Who reports to whom, as far as it is linked.

use super::{Provision, Result};
use crate::directory::{Account, AccountId, InstanceId};
use crate::store::accounts;

/// The reports of one person that are read at once.
pub const REPORTS_PAGE_MAX: i64 = 1_000;

impl Provision {
    /// The direct reports of a person in the order of their ids, from behind `after`.
    pub async fn reports(
        &self,
        instance: InstanceId,
        manager: AccountId,
        after: Option<AccountId>,
    ) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        Ok(accounts::reports(&mut tx, instance, manager, after, REPORTS_PAGE_MAX).await?)
    }

    /// The managers of a person, the nearest first.
    pub async fn managers(&self, instance: InstanceId, of: AccountId) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        let chain = accounts::read_chain(&mut tx, instance, of).await?;
        let above: Vec<AccountId> = chain.into_iter().filter(|id| *id != of).collect();
        let mut found = accounts::some(&mut tx, instance, &above).await?;
        found.sort_by_key(|account| above.iter().position(|id| *id == account.id));
        Ok(found)
    }

    /// The accounts whose reference to a manager waits, in the order of their ids, from behind `after`.
    pub async fn unlinked(
        &self,
        instance: InstanceId,
        after: Option<AccountId>,
    ) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        Ok(accounts::unlinked(&mut tx, instance, after, REPORTS_PAGE_MAX).await?)
    }
}
