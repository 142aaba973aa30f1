//! Who reports to whom, as far as it is linked.

use super::resource::find;
use super::{Caller, Listed, Provision, Related, Result, Users, claims};
use crate::directory::{Account, AccountId, InstanceId};
use crate::scim::{ErrorKind, ScimError};
use crate::store::query::Purpose;
use crate::store::{Tx, accounts, managers};

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
        Ok(managers::reports(&mut tx, instance, manager, after, REPORTS_PAGE_MAX).await?)
    }

    /// The managers of a person, the nearest first.
    pub async fn managers(&self, instance: InstanceId, of: AccountId) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        let chain = managers::read_chain(&mut tx, instance, of).await?;
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
        Ok(managers::unlinked(&mut tx, instance, after, REPORTS_PAGE_MAX).await?)
    }

    /// The direct reports of a person whom the caller can see, as Users; a cursor is the id of the last
    /// one of the page before.
    pub async fn reports_of(
        &self,
        caller: &Caller,
        id: &str,
        cursor: Option<&str>,
    ) -> Result<Listed> {
        let after = cursor.filter(|cursor| !cursor.is_empty()).map(str::parse::<AccountId>);
        let after = after.transpose().map_err(|_| {
            ScimError::new(ErrorKind::InvalidCursor, "the cursor is not one of this list")
        })?;
        let mut tx = self.store.read().await?;
        let manager = person(&mut tx, caller, id).await?;
        let total = managers::count_reports(&mut tx, caller.instance, manager.id).await?;
        let page = managers::reports(&mut tx, caller.instance, manager.id, after, REPORTS_PAGE_MAX)
            .await?;
        let full = i64::try_from(page.len()).is_ok_and(|length| length == REPORTS_PAGE_MAX);
        let next = page.last().filter(|_| full).map(|last| last.id.to_string());
        let total = u64::try_from(total).unwrap_or(0);
        listed(&mut tx, caller, page, total, next).await
    }

    /// The managers of a person whom the caller can see, as Users, the nearest first.
    pub async fn managers_of(&self, caller: &Caller, id: &str) -> Result<Listed> {
        let mut tx = self.store.read().await?;
        let account = person(&mut tx, caller, id).await?;
        drop(tx);
        let above = self.managers(caller.instance, account.id).await?;
        let total = above.len() as u64;
        listed(&mut self.store.read().await?, caller, above, total, None).await
    }
}

async fn person(tx: &mut Tx, caller: &Caller, id: &str) -> Result<Account> {
    find::<Users>(tx, caller, id, Purpose::Look).await
}

/// People as the caller reads them. Links join people of one connection, so all are the caller's own.
async fn listed(
    tx: &mut Tx,
    caller: &Caller,
    mut people: Vec<Account>,
    total: u64,
    next_cursor: Option<String>,
) -> Result<Listed> {
    people.retain(|account| account.connection.is_none_or(|owner| owner == caller.connection));
    let resources = claims::render::<Users>(tx, caller, &people, Related::Without).await?;
    Ok(Listed { total, start_index: None, next_cursor, resources })
}
