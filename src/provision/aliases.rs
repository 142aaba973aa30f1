//! Old names: whoever changes the name of an account, by whatever door, leaves the old one behind as an
//! alias, so that the person is still found by it.

use super::{Provision, Result};
use crate::directory::{ALIASES_MAX, Account, AccountId, Alias, InstanceId, Timestamp};
use crate::scim::fold::fold;
use crate::store::{Tx, accounts, aliases};

/// Keeps the name that an account had if it has another one now. A name that differs in case alone is the
/// same name to whoever looks for it; nothing is kept of it, and nothing is asked.
///
/// The audit row of the rename stands for it.
pub(super) async fn keep(
    tx: &mut Tx,
    instance: InstanceId,
    at: Timestamp,
    before: &Account,
    after: &Account,
) -> Result<()> {
    let key = fold(&before.user_name);
    if before.user_name == after.user_name || key == fold(&after.user_name) {
        return Ok(());
    }
    let since_at = aliases::last_until(tx, instance, after.id).await?;
    let alias = Alias {
        account: after.id,
        name: before.user_name.clone(),
        since_at: since_at.unwrap_or(before.created_at),
        until_at: at,
    };
    aliases::keep(tx, instance, &key, &alias).await?;
    Ok(aliases::forget_beyond(tx, instance, after.id, ALIASES_MAX).await?)
}

impl Provision {
    /// The names that an account had before, the latest first.
    pub async fn aliases(&self, instance: InstanceId, account: AccountId) -> Result<Vec<Alias>> {
        Ok(aliases::of_account(&mut self.store.read().await?, instance, account).await?)
    }

    /// The live account that had a name before, the last of several; whoever has the name now is not asked
    /// for. For who signs somebody in by an old name, or looks for her.
    pub async fn account_formerly(
        &self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<Account>> {
        let mut tx = self.store.read().await?;
        let found = aliases::holders(&mut tx, instance, &[&fold(name)]).await?;
        let Some(former) = found.first() else { return Ok(None) };
        Ok(accounts::some(&mut tx, instance, &[former.account]).await?.pop())
    }
}
