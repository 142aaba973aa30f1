//! Managers: references are kept as sent and linked when they name somebody in scope.
//!
//! Whichever of the two arrives first, the link comes about in the transaction of the second. No
//! account is ever made for a reference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use uuid::Uuid;

use super::Result;
use crate::directory::rules::{ReferenceKind, Resolution, resolve_manager};
use crate::directory::{
    Account, AccountId, ConnectionId, InstanceId, ManagerLink, Scope, Waiting, ids,
};
use crate::scim::fold::fold;
use crate::store::audit::{self, Author};
use crate::store::managers::{self, Reference};
use crate::store::{BATCH_MAX, StoreError, Tx, accounts};

/// The rule behind every link and every unlinking.
const RULE: &str = "manager";

/// Links the account to the manager whom its reference names, before it is kept.
///
/// Whoever carries an identifier and whoever refers to it must see each other: concurrent writers of
/// the same identifiers wait for each other first. An account that neither refers to somebody else nor
/// is called by another name than before costs nothing.
pub(super) async fn attach(
    tx: &mut Tx,
    instance: InstanceId,
    before: &Account,
    after: &mut Account,
) -> Result<()> {
    let same = before.manager.sent == after.manager.sent
        && before.connection == after.connection
        && before.deleted_at.is_none();
    let mut keys = changed_identifiers(Some(before), after);
    if !same {
        keys.extend(reference_key(after));
    }
    serialize(tx, instance, keys).await?;
    after.manager =
        if same { before.manager.clone() } else { resolve(tx, instance, after).await? };
    Ok(())
}

/// Links people who are new to the managers whom their references name, before they are kept: each sees
/// those before her, if who is new is in `scope` at once.
///
/// Nobody reports to somebody new, so no link of hers closes a circle; who already refers to her is looked
/// at by [`settle`].
pub(super) async fn attach_new(
    tx: &mut Tx,
    instance: InstanceId,
    scope: Scope,
    new: &mut [Account],
) -> Result<()> {
    let mut keys: BTreeSet<String> =
        new.iter().flat_map(|account| changed_identifiers(None, account)).collect();
    keys.extend(new.iter().filter_map(reference_key));
    serialize(tx, instance, keys).await?;
    let references: BTreeSet<Reference> = new.iter().filter_map(reference).collect();
    let references: Vec<Reference> = references.into_iter().collect();
    let mut names = names(tx, instance, &references).await?;
    for account in new {
        let resolution = reference(account).map(|reference| names.resolve(&reference));
        let (manager, waits) = match resolution {
            Some(Resolution::Found(manager)) => (Some(manager), None),
            Some(Resolution::Ambiguous) => (None, Some(Waiting::Ambiguous)),
            Some(Resolution::Waiting) => (None, Some(Waiting::Nobody)),
            None => (None, account.manager.sent.as_ref().map(|_| Waiting::Nobody)),
        };
        account.manager =
            ManagerLink { sent: account.manager.sent.take(), account: manager, waits };
        if scope == Scope::All {
            names.extend(identifiers(account), account.id);
        }
    }
    Ok(())
}

/// The accounts that references could name, by their names.
#[derive(Default)]
struct Names(BTreeMap<Name, Vec<AccountId>>);

/// What an account can be named, and by whose accounts, as exactly as it is compared.
type Name = (ConnectionId, ReferenceKind, String);

impl Names {
    fn extend(&mut self, names: impl IntoIterator<Item = Name>, account: AccountId) {
        for name in names {
            self.0.entry(name).or_default().push(account);
        }
    }

    /// Whom a reference names.
    fn resolve(&self, reference: &Reference) -> Resolution {
        let (sent, key) = (&reference.sent, fold(&reference.sent).into_owned());
        let names = [
            (ReferenceKind::Id, ids::exact(sent).map(|id| id.to_string())),
            (ReferenceKind::ExternalId, Some(sent.clone())),
            (ReferenceKind::UserName, Some(key.clone())),
            (ReferenceKind::Email, Some(key)),
            (ReferenceKind::EmployeeNumber, Some(sent.clone())),
        ];
        let answering = |(kind, name): (ReferenceKind, Option<String>)| {
            let found = name.and_then(|name| self.0.get(&(reference.connection, kind, name)));
            found.into_iter().flatten().map(move |id| (kind, *id))
        };
        resolve_manager(&names.into_iter().flat_map(answering).collect::<Vec<_>>())
    }
}

fn reference(account: &Account) -> Option<Reference> {
    Some(Reference { connection: account.connection?, sent: account.manager.sent.clone()? })
}

fn reference_key(account: &Account) -> Option<String> {
    account.manager.sent.as_deref().map(|sent| fold(sent).into_owned())
}

async fn serialize(
    tx: &mut Tx,
    instance: InstanceId,
    keys: BTreeSet<String>,
) -> std::result::Result<(), StoreError> {
    let keys: Vec<String> = keys.into_iter().map(|key| format!("{instance} {key}")).collect();
    tx.serialize_on(&keys).await
}

/// Whom the account's own reference names now; nobody who is below the account already.
async fn resolve(tx: &mut Tx, instance: InstanceId, account: &Account) -> Result<ManagerLink> {
    let Some(sent) = account.manager.sent.clone() else { return Ok(ManagerLink::default()) };
    let link = |account, waits| ManagerLink { sent: Some(sent.clone()), account, waits };
    let Some(reference) = reference(account) else {
        return Ok(link(None, Some(Waiting::Nobody)));
    };
    let names = names(tx, instance, std::slice::from_ref(&reference)).await?;
    let manager = match names.resolve(&reference) {
        Resolution::Found(manager) => manager,
        Resolution::Ambiguous => return Ok(link(None, Some(Waiting::Ambiguous))),
        Resolution::Waiting => return Ok(link(None, Some(Waiting::Nobody))),
    };
    let above = managers::chain_above(tx, instance, manager).await?;
    if above.contains(&account.id) {
        return Ok(link(None, Some(Waiting::Circle)));
    }
    Ok(link(Some(manager), None))
}

/// Links those who wait for these accounts, and unlinks those whose reference names them no longer:
/// each account as it was and as it is.
///
/// Looks at the identifiers that accounts gained or lost, in the order of the accounts: which link of a
/// circle is refused is the same as if one had come after the other. Where a link went away, those that
/// would have closed a circle with it get their chance.
pub(super) async fn settle(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    changed: &[(Option<&Account>, &Account)],
) -> Result<()> {
    let mut places = BTreeMap::new();
    for (place, (before, after)) in changed.iter().enumerate() {
        let keys = changed_identifiers(*before, after);
        places.extend(keys.into_iter().map(|key| (key, place)));
    }
    let keys: Vec<String> = places.keys().cloned().collect();
    let mut references = managers::references(tx, instance, &keys).await?;
    references.sort_by_cached_key(|one| (places.get(&*fold(&one.sent)).copied(), one.clone()));
    relink(tx, instance, author, &references).await?;
    // Below whom a link went away: the manager who was left, and who is nobody's manager any more.
    let left = |(before, after): &(Option<&Account>, &Account)| -> Vec<AccountId> {
        let was = before.and_then(|before| before.manager.account);
        let parted = was.filter(|was| after.manager.account != Some(*was));
        let gone = before.is_some() && !changed_identifiers(*before, after).is_empty();
        parted.into_iter().chain(gone.then_some(after.id)).collect()
    };
    let left: Vec<AccountId> = changed.iter().flat_map(left).collect();
    if left.is_empty() {
        return Ok(());
    }
    let waiting = managers::circles_above(tx, instance, &left).await?;
    relink(tx, instance, author, &waiting).await
}

/// Brings the links of all accounts that hold one of these references in line with whom it names.
async fn relink(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    references: &[Reference],
) -> Result<()> {
    let (mut nobody, mut ambiguous, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let names = names(tx, instance, references).await?;
    for reference in references {
        match names.resolve(reference) {
            Resolution::Waiting => nobody.push(reference.clone()),
            Resolution::Ambiguous => ambiguous.push(reference.clone()),
            Resolution::Found(manager) => found.push((reference, manager)),
        }
    }
    let at = author.at;
    for (references, waits) in [(&nobody, Waiting::Nobody), (&ambiguous, Waiting::Ambiguous)] {
        let changed = managers::unlink(tx, instance, references, waits, at).await?;
        record(tx, instance, author, changed, None, Some(waits)).await?;
    }
    for (reference, manager) in &found {
        let above = managers::chain_above(tx, instance, *manager).await?;
        let linked = managers::link(tx, instance, reference, *manager, &above, at).await?;
        record(tx, instance, author, linked, Some(*manager), None).await?;
        let refused = managers::refuse_circle(tx, instance, reference, &above, at).await?;
        record(tx, instance, author, refused, None, Some(Waiting::Circle)).await?;
    }
    Ok(())
}

/// Unlinks whoever is linked to one of these accounts, which are removed for good.
pub(super) async fn forget(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    managers: &[Uuid],
) -> Result<()> {
    let changed = managers::forget(tx, instance, managers, author.at).await?;
    record(tx, instance, author, changed, None, Some(Waiting::Nobody)).await
}

/// Says in the audit trail of each report what became of its reference.
async fn record(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    reports: Vec<AccountId>,
    manager: Option<AccountId>,
    waits: Option<Waiting>,
) -> Result<()> {
    let action =
        if manager.is_some() { "account.manager_linked" } else { "account.manager_unlinked" };
    let events: Vec<_> = reports
        .into_iter()
        .map(|id| {
            let event = author.change(action, "account", id.0);
            let after = Some(json!({ "manager": manager, "managerWaits": waits }));
            audit::Event { after, rule: Some(RULE.to_owned()), ..event }
        })
        .collect();
    Ok(audit::append(tx, instance, &events).await?)
}

/// The accounts in scope that these references could name now.
///
/// They are locked for sharing before the decision counts, also those that are not in scope: who moves
/// one of them in or out sees the reference, or is seen.
async fn names(
    tx: &mut Tx,
    instance: InstanceId,
    references: &[Reference],
) -> std::result::Result<Names, StoreError> {
    let mut names = Names::default();
    for references in references.chunks(BATCH_MAX) {
        let mut found = managers::named(tx, instance, references).await?;
        let ids: BTreeSet<AccountId> = found.iter().map(|one| one.account).collect();
        if managers::share(tx, instance, &ids).await? {
            found = managers::named(tx, instance, references).await?;
        }
        for one in found.into_iter().filter(|one| one.in_scope) {
            names.extend([(one.connection, one.kind, one.name)], one.account);
        }
    }
    Ok(names)
}

/// The folded identifiers by which others can refer to the account that came or went with a change.
fn changed_identifiers(before: Option<&Account>, after: &Account) -> BTreeSet<String> {
    let was = before.map(identifiers).unwrap_or_default();
    let is = identifiers(after);
    let changed = was.symmetric_difference(&is);
    changed.map(|(_, _, text)| fold(text).into_owned()).collect()
}

/// What an account can be named; nothing if it is in nobody's scope.
fn identifiers(account: &Account) -> BTreeSet<Name> {
    let Some(connection) =
        account.connection.filter(|_| account.deleted_at.is_none() && account.in_scope)
    else {
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
