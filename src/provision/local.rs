//! People whom the intranet knows before any identity provider does.

use std::sync::Arc;

use serde_json::Value;

use super::resource::finish;
use super::users::derive;
use super::{Provision, Result, Users, mapping, standing, taken, transact};
use crate::directory::{Account, AccountId, InstanceId};
use crate::scim::Document;
use crate::store::audit::Author;
use crate::store::{Tx, accounts, schemas};

impl Provision {
    /// Creates an account that no connection owns: a person whom the intranet knows already.
    pub async fn create_local_account(
        &self,
        instance: InstanceId,
        author: &Author,
        document: Document,
    ) -> Result<Account> {
        let mut account = Account::blank(AccountId(self.ids.fresh()), author.at);
        account.document = document;
        account.document.entry("active").or_insert(Value::Bool(true));
        derive(&mut account)?;
        transact!(self.store, Some(instance), |tx| {
            insert_local(&mut tx, instance, author, account.clone()).await
        })
    }
}

async fn insert_local(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    mut account: Account,
) -> Result<Account> {
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    let one = std::slice::from_mut(&mut account);
    let misses = mapping::apply(tx, instance, None, 0, &schemas, one).await?;
    if !accounts::insert(tx, instance, one).await? {
        return Err(taken("userName", &account.user_name, "account"));
    }
    misses.keep(tx, instance, author.at).await?;
    standing::settle_new(tx, instance, author, one).await?;
    finish::<Users>(tx, instance, &schemas, author, None, &account, "created").await?;
    Ok(account)
}
