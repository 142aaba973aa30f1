//! Managers: references are kept as sent and linked when they name somebody in scope.
//!
//! Whichever of the two arrives first, the link comes about in the transaction of the second. No
//! account is ever made for a reference.

use std::collections::BTreeSet;

use super::Result;
use crate::directory::rules::{ReferenceKind, Resolution, resolve_manager};
use crate::directory::{Account, AccountId, ConnectionId, InstanceId};
use crate::scim::fold::fold;
use crate::store::accounts::{self, Reference};
use crate::store::audit::{self, Author, Category};
use crate::store::{StoreError, Tx};

/// Links the account to the manager whom its reference names, before it is kept.
///
/// Whoever carries an identifier and whoever refers to it must see each other: concurrent writers of
/// the same identifiers wait for each other first. An account that neither refers to somebody else nor
/// is called by another name than before costs nothing.
pub(super) async fn attach(
    tx: &mut Tx,
    instance: InstanceId,
    before: Option<&Account>,
    after: &mut Account,
) -> Result<()> {
    let same = before.filter(|before| {
        before.manager.sent == after.manager.sent && before.connection == after.connection
    });
    let mut keys = changed_identifiers(before, after);
    if same.is_none() {
        keys.extend(after.manager.sent.as_deref().map(|sent| fold(sent).into_owned()));
    }
    let keys: Vec<String> = keys.into_iter().map(|key| format!("{instance} {key}")).collect();
    tx.serialize_on(&keys).await?;
    after.manager.account = match same {
        Some(before) => before.manager.account,
        None => resolve(tx, instance, after).await?,
    };
    Ok(())
}

/// Whom the account's own reference names now; nobody who is below the account already.
async fn resolve(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<Option<AccountId>> {
    let (Some(connection), Some(sent)) = (account.connection, account.manager.sent.as_deref())
    else {
        return Ok(None);
    };
    let Some(manager) = find(tx, instance, connection, sent).await? else { return Ok(None) };
    let above = accounts::chain_above(tx, instance, manager).await?;
    Ok((!above.contains(&account.id)).then_some(manager))
}

/// Links those who wait for this account, and unlinks those whose reference names it no longer.
///
/// Looks at the identifiers that the account gained or lost. Who was above the account may have waited
/// because a link would have closed a circle; when the account moves, that may be over.
pub(super) async fn settle(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    before: Option<&Account>,
    after: &Account,
) -> Result<()> {
    let keys: Vec<String> = changed_identifiers(before, after).into_iter().collect();
    let mut references = accounts::references(tx, instance, &keys).await?;
    let above = before.and_then(|before| before.manager.account);
    if let Some(above) =
        above.filter(|above| after.manager.account != Some(*above) || !keys.is_empty())
    {
        let chain = accounts::chain_above(tx, instance, above).await?;
        references.extend(accounts::waiting(tx, instance, &chain).await?);
    }
    for reference in references {
        relink(tx, instance, author, &reference).await?;
    }
    Ok(())
}

async fn relink(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    reference: &Reference,
) -> Result<()> {
    let manager = find(tx, instance, reference.connection, &reference.sent).await?;
    let above = match manager {
        Some(manager) => accounts::chain_above(tx, instance, manager).await?,
        None => Vec::new(),
    };
    let changed = accounts::link(tx, instance, reference, manager, &above, author.at).await?;
    let action =
        if manager.is_some() { "account.manager_linked" } else { "account.manager_unlinked" };
    let events: Vec<_> = changed
        .into_iter()
        .map(|id| {
            let event = author.event(Category::UserSync, action, "account", id.0);
            let after =
                Some(serde_json::json!({ "manager": manager, "reference": reference.sent }));
            audit::Event { after, rule: Some("manager".to_owned()), ..event }
        })
        .collect();
    Ok(audit::append(tx, instance, &events).await?)
}

async fn find(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    reference: &str,
) -> std::result::Result<Option<AccountId>, StoreError> {
    let candidates = accounts::manager_candidates(tx, instance, connection, reference).await?;
    Ok(match resolve_manager(&candidates) {
        Resolution::Found(manager) => Some(manager),
        Resolution::Waiting | Resolution::Ambiguous => None,
    })
}

/// The folded identifiers by which others can refer to the account that came or went with a change.
fn changed_identifiers(before: Option<&Account>, after: &Account) -> BTreeSet<String> {
    let was = before.map(identifiers).unwrap_or_default();
    let is = identifiers(after);
    let changed = was.symmetric_difference(&is);
    changed.map(|(_, _, text)| fold(text).into_owned()).collect()
}

/// By what an account can be named, and by whose accounts, as exactly as it is compared; nothing if it is
/// in nobody's scope.
fn identifiers(account: &Account) -> BTreeSet<(ConnectionId, ReferenceKind, String)> {
    let Some(connection) = account.connection.filter(|_| account.deleted_at.is_none()) else {
        return BTreeSet::new();
    };
    let user_name = fold(&account.user_name).into_owned();
    let texts = [
        Some((ReferenceKind::Id, account.id.to_string())),
        Some((ReferenceKind::UserName, user_name)),
        account.external_id.clone().map(|id| (ReferenceKind::ExternalId, id)),
        account.employee_number.clone().map(|number| (ReferenceKind::EmployeeNumber, number)),
    ];
    let emails = accounts::email_keys(account).into_iter().map(|key| (ReferenceKind::Email, key));
    texts.into_iter().flatten().chain(emails).map(|(kind, text)| (connection, kind, text)).collect()
}
