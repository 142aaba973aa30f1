//! Users: accounts as a client of the protocol handles them.

use std::sync::Arc;

use scim_v2::schema_urns;
use serde_json::{Map, Value};

use super::claims::{self, reach, take_up};
use super::resource::{Resource, finish, finish_all, holder, show};
use super::{
    Caller, Related, Result, Sheet, Shown, Sought, aliases, conflict_on, guard, manager, mapping,
    recreate, render, required, standing, taken,
};
use crate::clock::Ids;
use crate::directory::rules::{Claim, overtaken};
use crate::directory::{
    Account, AccountId, Approval, ConnectionId, InstanceId, Losses, ManagerLink, MemberId,
    MemberKind, Scope, StatusReason, Timestamp,
};
use crate::scim::extension::adopted;
use crate::scim::fold::fold;
use crate::scim::habits::{Habits, Omitted};
use crate::scim::patch::{self, Change};
use crate::scim::project::Projection;
use crate::scim::resource::{
    self, LeftOut, is_urn, keep_immutable, require_attributes, require_fitting, require_indexable,
};
use crate::scim::schema::ResourceType;
use crate::scim::schemas::Schemas;
use crate::scim::sort::Key;
use crate::scim::{Document, ScimError};
use crate::store::audit::Author;
use crate::store::query::{Column, Narrow, Table};
use crate::store::waist::StillTable;
use crate::store::{StoreError, Tx, accounts, licences, memberships};
use uuid::Uuid;

/// How often a creation looks again when the holder of its name vanishes in between.
const CREATE_ATTEMPTS: usize = 3;

/// Users of the protocol: accounts of the directory.
#[derive(Debug)]
pub struct Users;

impl Resource for Users {
    type Row = Account;
    type Sent = Document;
    const SOUGHT: Sought = Sought::Users;
    const NAME: &'static str = "User";
    const NOUN: &'static str = "account";
    const MEMBER_KIND: MemberKind = MemberKind::Account;
    const NAME_ATTRIBUTE: &'static str = "userName";
    const TABLE: Table = accounts::TABLE;
    const STILL: StillTable = StillTable::Accounts;
    const RELATED: &'static str = "groups";
    const IS_DELETED_ALONE: bool = true;

    fn kind(schemas: &Schemas) -> &ResourceType {
        &schemas.user
    }

    fn read_sent(
        schemas: &Schemas,
        habits: &Habits,
        body: Value,
    ) -> std::result::Result<Document, ScimError> {
        let document = resource::read(&schemas.user, habits, body)?;
        require_attributes(&schemas.user, &document)?;
        Ok(document)
    }

    fn id(row: &Account) -> Uuid {
        row.id.0
    }

    fn owner(row: &Account) -> Option<ConnectionId> {
        row.connection
    }

    fn name(row: &Account) -> &str {
        &row.user_name
    }

    fn is_protected(row: &Account) -> bool {
        row.protected
    }

    fn laid_over(row: Account, document: Document) -> Account {
        let active = document.get("active") != Some(&Value::Bool(false));
        Account { document, active, ..row }
    }

    fn key(row: &Account, column: Column) -> Option<Key> {
        let folded = |text: &str| Key::Text(fold(text).into_owned());
        match column {
            Column::UserName => Some(folded(&row.user_name)),
            Column::DisplayName => row.display_name.as_deref().map(folded),
            Column::ExternalId => row.external_id.clone().map(Key::Text),
            Column::Created => Some(Key::Integer(row.created_at.0)),
            Column::Modified => Some(Key::Integer(row.modified_at.0)),
        }
    }

    fn is_unrelated(row: &Account, now: Timestamp) -> bool {
        row.version == 1 && row.created_at == now
    }

    fn version(row: &Account) -> i64 {
        row.version
    }

    fn deletion_held_at(row: &Account) -> Option<Timestamp> {
        row.deletion_held_at
    }

    fn rule(row: &Account) -> Option<&'static str> {
        row.reason.map(StatusReason::word)
    }

    fn live_document(row: &Account) -> Option<&Document> {
        row.deleted_at.is_none().then_some(&row.document)
    }

    fn facets(row: &Account) -> Map<String, Value> {
        let mut facets = row.document.clone();
        facets.extend(standing::said(row));
        facets.insert("connection".to_owned(), row.connection.map(|id| id.to_string()).into());
        facets.insert("manager".to_owned(), row.manager.account.map(|id| id.to_string()).into());
        if !row.missing.is_empty() {
            facets.insert("missing".to_owned(), row.missing.clone().into());
        }
        facets
    }

    async fn render(
        tx: &mut Tx,
        caller: &Caller,
        rows: &[Account],
        related: Related,
    ) -> std::result::Result<Vec<Sheet>, StoreError> {
        let ids: Vec<MemberId> = rows.iter().map(|account| account.id.into()).collect();
        let groups = if related == Related::Without {
            Vec::new()
        } else {
            memberships::of_members(tx, caller.instance, caller.viewer(), &ids).await?
        };
        let groups_of = |id: MemberId| {
            let start = groups.partition_point(|group| group.member < id);
            let end = groups.partition_point(|group| group.member <= id);
            groups.get(start..end).unwrap_or_default()
        };
        let user = |row: &Account| render::user(caller, row, groups_of(row.id.into())).into();
        Ok(rows.iter().map(user).collect())
    }

    async fn render_changed(
        tx: &mut Tx,
        caller: &Caller,
        row: Account,
        projection: &Projection,
    ) -> Result<Shown> {
        show::<Self>(tx, caller, row, projection).await
    }

    async fn create(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        ids: Ids,
        sent: Document,
    ) -> Result<Account> {
        enter(tx, caller, author, newcomer(caller, author, ids, sent)?).await
    }

    /// A missing `active` stays as it is: nobody who was shut out is let in by silence. So does a
    /// missing `externalId` for clients that leave out what they do not manage, and a PUT that disables
    /// keeps the extensions that it does not name.
    async fn replace(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Account,
        sent: Document,
    ) -> Result<Account> {
        let mut document = replaced(&caller.habits, &before, sent);
        let was = adopted(&caller.schemas.user, &before.document);
        keep_immutable(&caller.schemas.user, &was, &mut document, LeftOut::Kept)?;
        keep(tx, caller, author, before, document, author.at).await
    }

    async fn change(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Account,
        changes: Vec<Change<'_>>,
    ) -> Result<Account> {
        let was = adopted(&caller.schemas.user, &before.document);
        let mut document = was.clone();
        for change in changes {
            patch::apply(&mut document, change)?;
        }
        // Whether the person may enter is always said: who takes `active` away changes nothing.
        if let (None, Some(active)) = (document.get("active"), before.document.get("active")) {
            document.insert("active".to_owned(), active.clone());
        }
        keep_immutable(&caller.schemas.user, &was, &mut document, LeftOut::Removed)?;
        if document == was {
            document.clone_from(&before.document);
        } else {
            require_attributes(&caller.schemas.user, &document)?;
        }
        keep(tx, caller, author, before, document, author.at).await
    }

    async fn accept(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Account,
        asked: Approval,
    ) -> Result<Account> {
        keep(tx, caller, author, before, asked.document, asked.modified_at).await
    }

    async fn delete(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Account,
    ) -> Result<Losses> {
        let mut after = Account {
            deleted_at: Some(author.at),
            suspension_held_at: None,
            deletion_held_at: None,
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        standing::judge(&mut after);
        write(tx, caller.instance, &caller.schemas, author, &before, after, "deleted").await?;
        Ok(Losses { deletions: 1, ..Losses::default() })
    }

    async fn hold_deletion(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Account,
    ) -> Result<()> {
        let mut after = Account {
            deletion_held_at: Some(author.at),
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        standing::judge(&mut after);
        write(tx, caller.instance, &caller.schemas, author, &before, after, "held_change").await?;
        Ok(())
    }
}

impl Users {
    /// Keeps several new rows, with about as many statements as one takes; nothing if somebody holds the
    /// name of one of them: the caller takes back what was written, and creates each by itself.
    pub(super) async fn create_all(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        sent: impl Iterator<Item = Document>,
    ) -> Result<Option<Vec<Account>>> {
        let new = sent.map(|sent| newcomer(caller, author, author.ids, sent));
        let mut new: Vec<Account> = new.collect::<Result<_>>()?;
        let places = recreate::expected(tx, caller, &new).await?.into_iter().rev();
        let returning: Vec<_> = places.map(|place| (place, new.remove(place))).collect();
        if !new.is_empty() && !admit(tx, caller, author, &mut new).await? {
            return Ok(None);
        }
        for (place, account) in returning.into_iter().rev() {
            new.insert(place, enter(tx, caller, author, account).await?);
        }
        Ok(Some(new))
    }
}

/// An account that is about to be created.
fn newcomer(caller: &Caller, author: &Author, ids: Ids, sent: Document) -> Result<Account> {
    let id = AccountId(ids.fresh());
    let mut account =
        Account { connection: Some(caller.connection), ..Account::blank(id, author.at) };
    account.document = sent;
    account.document.entry("active").or_insert(Value::Bool(true));
    derive(&mut account)?;
    required::check(caller, None, &mut account)?;
    Ok(account)
}

/// Keeps somebody who is new: comes back, is admitted, or picks up the Local account of the name.
async fn enter(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    mut account: Account,
) -> Result<Account> {
    let key = fold(&account.user_name).into_owned();
    for _ in 0..CREATE_ATTEMPTS {
        if let Some(gone) = recreate::predecessor(tx, caller, author.at, &account).await? {
            return recreate::revive(tx, caller, author, &gone, account).await;
        }
        if admit(tx, caller, author, std::slice::from_mut(&mut account)).await? {
            return Ok(account);
        }
        // Somebody holds the name. Who locks that row sees whether it can be picked up.
        let holder = holder::<Users>(tx, caller, Narrow::UserName(key.clone())).await?;
        match holder {
            None => {}
            Some(holder) if holder.connection.is_none() => {
                let holder = take_up::<Users>(tx, caller, holder).await?;
                return Users::replace(tx, caller, author, holder, account.document).await;
            }
            Some(holder) if guard::is_gone_to::<Users>(&holder, caller) => {
                return keep(tx, caller, author, holder, account.document, author.at).await;
            }
            Some(_) => break,
        }
    }
    Err(taken("userName", &account.user_name, "account"))
}

/// Keeps people who are new, with their seats, their links and their rows in the audit trail; `false` if
/// somebody holds the name of one of them.
async fn admit(tx: &mut Tx, caller: &Caller, author: &Author, new: &mut [Account]) -> Result<bool> {
    let instance = caller.instance;
    let (connection, version) = (Some(caller.connection), caller.settings.mapping_version);
    let misses = mapping::apply(tx, instance, connection, version, &caller.schemas, new).await?;
    recreate::outlive(tx, instance, new).await?;
    // Several see each other only if they are in scope at once.
    let scope = match new {
        [_, _, ..] => licences::terms(tx, instance, connection).await?.scope,
        _ => Scope::All,
    };
    manager::attach_new(tx, instance, scope, new).await?;
    if !accounts::insert(tx, instance, new).await? {
        return Ok(false);
    }
    misses.keep(tx, instance, author.at).await?;
    if standing::settle_new(tx, instance, author, new).await? != scope && new.len() > 1 {
        return Err(StoreError::Stale.into());
    }
    let rows: Vec<(Option<&Account>, &Account)> =
        new.iter().map(|account| (None, account)).collect();
    finish_all::<Users>(tx, instance, &caller.schemas, author, &rows, "created").await?;
    manager::settle(tx, instance, author, &rows).await?;
    Ok(true)
}

/// Keeps a new document of an account; writes nothing if nothing is new.
async fn keep(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: Account,
    document: Document,
    said_at: Timestamp,
) -> Result<Account> {
    let reached = reach::<Users>(&before, caller)?;
    let picked_up = reached == Claim::PickUp;
    // The identity provider has spoken, also if it repeats itself.
    let hand = overtaken(before.hand, said_at);
    if reached == Claim::Own
        && before.document == document
        && before.hand == hand
        && before.in_source
        && before.deletion_held_at.is_none()
    {
        return Ok(before);
    }
    let mut after = Account {
        connection: Some(caller.connection),
        in_source: true,
        deletion_held_at: None,
        hand,
        version: before.version + 1,
        modified_at: author.at,
        document,
        ..before.clone()
    };
    derive(&mut after)?;
    required::check(caller, Some(&before), &mut after)?;
    if reached == Claim::Ask {
        return claims::ask::<Users>(tx, caller, author, before, after.document, None).await;
    }
    let (connection, version) = (Some(caller.connection), caller.settings.mapping_version);
    let (schemas, one) = (&caller.schemas, std::slice::from_mut(&mut after));
    let misses = mapping::apply(tx, caller.instance, connection, version, schemas, one).await?;
    misses.keep(tx, caller.instance, author.at).await?;
    if picked_up {
        claims::settle(tx, caller, author.at, after.id.0).await?;
    }
    if guard::meet_suspension(tx, caller, author, &before, &mut after).await? {
        let author = &guard::holder_of(author);
        return write(tx, caller.instance, schemas, author, &before, after, "held_change").await;
    }
    let action = if picked_up { "picked_up" } else { "changed" };
    write(tx, caller.instance, &caller.schemas, author, &before, after, action).await
}

/// Keeps a changed account, with its seat, its links and its row in the audit trail; `done` is what
/// happened to it. Whoever changes an account, a connection or an administrator, ends here.
pub(super) async fn write(
    tx: &mut Tx,
    instance: InstanceId,
    schemas: &Arc<Schemas>,
    author: &Author,
    before: &Account,
    mut after: Account,
    done: &str,
) -> Result<Account> {
    manager::attach(tx, instance, before, &mut after).await?;
    accounts::update(tx, instance, before, &after)
        .await
        .map_err(|error| conflict_on(error, "userName", &after.user_name, "account"))?;
    aliases::keep(tx, instance, author.at, before, &after).await?;
    standing::settle(tx, instance, author, before, &mut after).await?;
    manager::settle(tx, instance, author, &[(Some(before), &after)]).await?;
    finish::<Users>(tx, instance, schemas, author, Some(before), &after, done).await?;
    Ok(after)
}

pub(super) fn replaced(habits: &Habits, before: &Account, mut document: Document) -> Document {
    let kept: &[&str] = match habits.omitted_external_id {
        Omitted::Kept => &["externalId", "active"],
        Omitted::Cleared => &["active"],
    };
    for &kept in kept {
        if let (None, Some(value)) = (document.get(kept), before.document.get(kept)) {
            document.insert(kept.to_owned(), value.clone());
        }
    }
    let disables = before.active && document.get("active") == Some(&Value::Bool(false));
    if disables {
        for (key, value) in &before.document {
            if is_urn(key) && !document.contains_key(key) {
                document.insert(key.clone(), value.clone());
            }
        }
    }
    document
}

/// Reads out of the document what the directory keeps in columns of its own, and applies the rules.
pub(super) fn derive(account: &mut Account) -> Result<()> {
    require_fitting(&account.document)?;
    let enterprise = account.document.get(schema_urns::ENTERPRISE_USER);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let manager = enterprise.and_then(|parts| parts.get("manager")?.get("value"));
    let employee_number = text(enterprise.and_then(|parts| parts.get("employeeNumber")));
    let sent = text(manager);
    account.user_name = text(account.document.get("userName")).unwrap_or_default();
    account.external_id = text(account.document.get("externalId"));
    account.display_name = text(account.document.get("displayName"));
    account.employee_number = employee_number;
    account.manager = ManagerLink { sent, account: None, waits: None };
    account.active = account.document.get("active") != Some(&Value::Bool(false));
    standing::judge(account);
    for (path, text) in [
        ("userName", Some(&account.user_name)),
        ("externalId", account.external_id.as_ref()),
        ("displayName", account.display_name.as_ref()),
        ("employeeNumber", account.employee_number.as_ref()),
        ("manager.value", account.manager.sent.as_ref()),
    ] {
        text.map_or(Ok(()), |text| require_indexable(path, text))?;
    }
    let emails = account.document.get("emails").and_then(Value::as_array);
    for email in emails.into_iter().flatten().filter_map(|email| email.get("value")?.as_str()) {
        require_indexable("emails.value", email)?;
    }
    Ok(())
}
