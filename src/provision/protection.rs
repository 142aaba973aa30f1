//! Protected accounts: out of reach of every connection, so that somebody can always get in.

use super::{Error, Provision, Result, standing, transact, users};
use crate::directory::{Account, AccountId, InstanceId, Status};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::Author;
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::{Tx, accounts, schemas, seats};
use std::sync::Arc;

impl Provision {
    /// Protects a Local account, or ends its protection.
    pub async fn set_protected(
        &self,
        author: &Author,
        instance: InstanceId,
        id: AccountId,
        protected: bool,
    ) -> Result<Account> {
        transact!(self.store, Some(instance), |tx| {
            set_protected(&mut tx, author, instance, id, protected).await
        })
    }
}

async fn set_protected(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    id: AccountId,
    protected: bool,
) -> Result<Account> {
    let (viewer, narrow) = (Viewer::Administrator, Narrow::Id(id.0));
    let found =
        query::one(tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Change).await?;
    let before: Account = found.ok_or_else(|| {
        Error::from(ScimError::new(
            ErrorKind::NotFound,
            format!("there is no account with the id \"{id}\""),
        ))
    })?;
    if before.protected == protected {
        return Ok(before);
    }
    if protected && before.connection.is_some() {
        let detail = format!(
            "the account \"{}\" belongs to a connection: only a Local account can be protected; make \
             it Local first",
            before.user_name
        );
        return Err(ScimError::new(ErrorKind::Conflict, detail).into());
    }
    if !protected {
        require_not_last(tx, instance, &before).await?;
    }
    let mut after = Account {
        protected,
        version: before.version + 1,
        modified_at: author.at,
        ..before.clone()
    };
    standing::judge(&mut after);
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    let done = if protected { "protected" } else { "unprotected" };
    users::write(tx, instance, &schemas, author, &before, after, done).await
}

/// Refuses to lose the last protected account that can sign in: it is how administrators get in when a
/// connection has locked everybody else out. Whoever unprotects, suspends or deletes an account asks
/// here first, in the same transaction.
pub(super) async fn require_not_last(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<()> {
    if !account.protected || account.status != Status::Active {
        return Ok(());
    }
    // Two who lose one of the last two each must see each other.
    tx.serialize_on(&[format!("{instance} protected accounts")]).await?;
    if seats::protected_besides(tx, instance, account.id).await? > 0 {
        return Ok(());
    }
    let detail = format!(
        "the account \"{}\" is the last protected one that is active: protect another account first, so \
         that an administrator can always get in",
        account.user_name
    );
    Err(ScimError::new(ErrorKind::Conflict, detail).into())
}
