//! The directory as an intranet reads it: who is here, in which groups, who reports to whom.
//!
//! A reader sees all of an instance and changes nothing. Documents of clients stay inside: what is shown
//! of a person are the fields of the directory, and what the rules made of the facts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::mapping::mapping_of;
use super::{Provision, Result, not_found};
use crate::directory::mapping::{Mapping, effective};
use crate::directory::{
    Account, AccountId, ConnectionId, Group, GroupId, InstanceId, MemberId, MemberKind, Status,
    StatusReason, Timestamp, ids,
};
use crate::scim::fold::fold;
use crate::scim::sort::Position;
use crate::store::feed::{self, Belongs};
use crate::store::query::{self, Narrow, Page, Purpose, Viewer};
use crate::store::{Reached, Tx, accounts, connections, groups, managers};

/// The rows on a page of a reader who names no number.
pub const READER_PAGE_DEFAULT: i64 = 100;

/// The rows on a page of a reader at most.
pub const READER_PAGE_MAX: i64 = 1_000;

/// A person as the directory shows her.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownAccount {
    /// The account.
    pub id: AccountId,
    /// The name that the person signs in with.
    pub user_name: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// Whether the person may enter.
    pub status: Status,
    /// Why not.
    pub status_reason: Option<StatusReason>,
    /// The key of the directory that the account comes from; `None` if it is Local.
    pub directory: Option<String>,
    /// The name that this directory has for the account.
    pub external_id: Option<String>,
    /// The fields of the directory that have a value, by name.
    pub fields: BTreeMap<String, String>,
    /// The manager.
    pub manager: Option<AccountId>,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub modified_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// A group as the directory shows it; its members are asked for by themselves.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownGroup {
    /// The group.
    pub id: GroupId,
    /// Its name.
    pub display_name: String,
    /// The key of the directory that it comes from; `None` if it is Local.
    pub directory: Option<String>,
    /// The name that this directory has for it.
    pub external_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it or its membership last changed.
    pub modified_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownMember {
    /// The account or the group.
    pub id: MemberId,
    /// Which of the two.
    pub kind: MemberKind,
    /// Its name.
    pub display_name: String,
}

/// A membership by its two ends, which need not be there any more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownMembership {
    /// The group.
    pub group: GroupId,
    /// The account or the group that belongs to it.
    pub member: MemberId,
    /// Which of the two.
    pub member_kind: MemberKind,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After<C = Uuid> {
    /// Behind what.
    pub key: C,
    /// How far the database was when the page before was read: where a standby has not come so far, a copy would
    /// miss what has changed in between.
    pub reached: Option<Reached>,
}

/// A page of what a reader asked for.
#[derive(Debug, Clone)]
pub struct Batch<T, C = Uuid> {
    /// What is on it.
    pub items: Vec<T>,
    /// Behind what the next page begins, if there is one.
    pub next: Option<C>,
    /// How far the database was when this page was read, where a standby may be asked for the next one.
    pub reached: Option<Reached>,
    /// The place in the feed of changes from which on nothing is missed; on the first page.
    pub changes_from: Option<String>,
}

/// Which accounts a reader wants.
#[derive(Debug, Clone, Default)]
pub struct AccountsAsked {
    /// The one with this user name, in any case.
    pub user_name: Option<String>,
    /// Those with this status.
    pub status: Option<Status>,
    /// Those from the directory of this key.
    pub directory: Option<String>,
}

impl Provision {
    /// Accounts in the order of their ids, from behind `after`. Those with another status than the one that
    /// is asked for are left out of a page, which can be shorter for it.
    pub async fn read_accounts(
        &self,
        instance: InstanceId,
        asked: &AccountsAsked,
        after: Option<After>,
        limit: i64,
    ) -> Result<Batch<ShownAccount>> {
        let mut tx = self.page_tx(after).await?;
        let after = after.map(|after| after.key);
        let changes_from = begin(&mut tx, instance, after).await?;
        let mut narrow = Vec::new();
        if let Some(name) = &asked.user_name {
            narrow.push(Narrow::UserName(fold(name).into_owned()));
        }
        if let Some(key) = &asked.directory {
            match connection_of(&mut tx, instance, key).await? {
                Some(connection) => narrow.push(Narrow::Owner(Some(connection))),
                None => narrow.push(Narrow::Any(Vec::new())),
            }
        }
        let narrow = Narrow::All(narrow);
        let found = rows(&mut tx, &accounts::TABLE, instance, &narrow, after, limit).await?;
        let Batch { mut items, next, .. } = cut(found, limit, |account: &Account| account.id.0);
        items.retain(|account| asked.status.is_none_or(|status| account.status == status));
        let items = show(&mut tx, instance, &items).await?;
        let reached = self.page_reached(&mut tx, next).await?;
        Ok(Batch { items, next, reached, changes_from })
    }

    /// One account.
    pub async fn read_account(&self, instance: InstanceId, id: &str) -> Result<ShownAccount> {
        let mut tx = self.store.read().await?;
        let account = account(&mut tx, instance, id).await?;
        let shown = show(&mut tx, instance, std::slice::from_ref(&account)).await?;
        shown.into_iter().next().ok_or_else(|| not_found("account", id))
    }

    /// The managers of a person, the nearest first.
    pub async fn read_managers(&self, instance: InstanceId, id: &str) -> Result<Vec<ShownAccount>> {
        let mut tx = self.store.read().await?;
        let of = account(&mut tx, instance, id).await?.id;
        drop(tx);
        let above = self.managers(instance, of).await?;
        show(&mut self.store.read().await?, instance, &above).await
    }

    /// The direct reports of a person in the order of their ids, from behind `after`.
    pub async fn read_reports(
        &self,
        instance: InstanceId,
        id: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Batch<ShownAccount>> {
        let mut tx = self.store.read().await?;
        let manager = account(&mut tx, instance, id).await?.id;
        let after = after.map(AccountId);
        let found = managers::reports(&mut tx, instance, manager, after, limit + 1).await?;
        let Batch { items, next, reached, changes_from } =
            cut(found, limit, |account| account.id.0);
        Ok(Batch { items: show(&mut tx, instance, &items).await?, next, reached, changes_from })
    }

    /// The groups that an account directly belongs to, in the order of their ids, from behind `after`.
    pub async fn read_groups_of(
        &self,
        instance: InstanceId,
        id: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Batch<ShownGroup>> {
        let mut tx = self.store.read().await?;
        let member = account(&mut tx, instance, id).await?.id.into();
        let found = feed::groups_of(&mut tx, instance, member, after, limit + 1).await?;
        let Batch { items, next, reached, changes_from } = cut(found, limit, |group| group.id.0);
        let items = show_groups(&mut tx, instance, &items).await?;
        Ok(Batch { items, next, reached, changes_from })
    }

    /// The groups that enter the directory, or the one with this name in any case, in the order of their
    /// ids, from behind `after`.
    pub async fn read_groups(
        &self,
        instance: InstanceId,
        name: Option<&str>,
        after: Option<After>,
        limit: i64,
    ) -> Result<Batch<ShownGroup>> {
        let mut tx = self.page_tx(after).await?;
        let after = after.map(|after| after.key);
        let changes_from = begin(&mut tx, instance, after).await?;
        let name = name.map(|name| Narrow::DisplayName(fold(name).into_owned()));
        let narrow = Narrow::All(name.into_iter().chain([Narrow::Entered]).collect());
        let found = rows(&mut tx, &groups::TABLE, instance, &narrow, after, limit).await?;
        let Batch { items, next, .. } = cut(found, limit, |group: &Group| group.id.0);
        let items = show_groups(&mut tx, instance, &items).await?;
        let reached = self.page_reached(&mut tx, next).await?;
        Ok(Batch { items, next, reached, changes_from })
    }

    /// One group that enters the directory.
    pub async fn read_group(&self, instance: InstanceId, id: &str) -> Result<ShownGroup> {
        let mut tx = self.store.read().await?;
        let group = group(&mut tx, instance, id).await?;
        let shown = show_groups(&mut tx, instance, &[group]).await?;
        shown.into_iter().next().ok_or_else(|| not_found("group", id))
    }

    /// The direct members of a group in the order of their ids, from behind `after`.
    pub async fn read_members(
        &self,
        instance: InstanceId,
        id: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Batch<ShownMember>> {
        let mut tx = self.store.read().await?;
        let group = group(&mut tx, instance, id).await?.id;
        let found = feed::members_page(&mut tx, instance, group, after, limit + 1).await?;
        let Batch { items, next, reached, changes_from } = cut(found, limit, |member| member.id.0);
        let shown = |one: feed::Listed| ShownMember {
            id: one.id,
            kind: one.kind,
            display_name: one.display,
        };
        let items = items.into_iter().map(shown).collect();
        Ok(Batch { items, next, reached, changes_from })
    }

    /// All memberships in the order of groups and members, from behind `after`: as their rows are, whatever
    /// has become of their ends.
    pub async fn read_memberships(
        &self,
        instance: InstanceId,
        after: Option<After<(GroupId, MemberId)>>,
        limit: i64,
    ) -> Result<Batch<ShownMembership, (GroupId, MemberId)>> {
        let mut tx = self.page_tx(after).await?;
        let after = after.map(|after| after.key);
        let changes_from = begin(&mut tx, instance, after).await?;
        let found = feed::memberships_page(&mut tx, instance, after, limit + 1).await?;
        let Batch { items, next, .. } = cut(found, limit, |one| (one.group, one.member));
        let items = items.into_iter().map(ShownMembership::from).collect();
        let reached = self.page_reached(&mut tx, next).await?;
        Ok(Batch { items, next, reached, changes_from })
    }

    /// Where a page of a list is read: a later one from the standby, if that has come as far as the page before was.
    /// The first one says where the feed of changes stood, and is of the primary.
    async fn page_tx<C>(&self, after: Option<After<C>>) -> Result<Tx> {
        let far = match after.and_then(|after| after.reached) {
            Some(reached) => self.store.read_far(reached).await?,
            None => None,
        };
        match far {
            Some(far) => Ok(far),
            None => Ok(self.store.read().await?),
        }
    }

    /// How far the database was, if there is another page.
    async fn page_reached<C>(&self, tx: &mut Tx, next: Option<C>) -> Result<Option<Reached>> {
        match next {
            Some(_) => Ok(self.store.reached(tx).await?),
            None => Ok(None),
        }
    }
}

impl From<Belongs> for ShownMembership {
    fn from(row: Belongs) -> Self {
        Self { group: row.group, member: row.member, member_kind: row.kind }
    }
}

/// Where the feed of changes stands before the first row of a list is read.
async fn begin<C>(tx: &mut Tx, instance: InstanceId, after: Option<C>) -> Result<Option<String>> {
    match after {
        None => Ok(Some(super::feed::cursor_now(tx, instance).await?)),
        Some(_) => Ok(None),
    }
}

/// One row more than a page has, to know whether there is another page.
async fn rows<T: crate::store::Record>(
    tx: &mut Tx,
    table: &query::Table,
    instance: InstanceId,
    narrow: &Narrow,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<T>> {
    let after = after.map(Position::of);
    let page = Page::by_id(after.as_ref(), limit + 1);
    Ok(query::page(tx, table, instance, Viewer::Administrator, narrow, page).await?)
}

/// Makes a page of one row more than it has.
fn cut<T, C>(mut found: Vec<T>, limit: i64, key: impl Fn(&T) -> C) -> Batch<T, C> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(key);
    Batch { items: found, next, reached: None, changes_from: None }
}

/// A live account; an id of another instance is one that there is not.
async fn account(tx: &mut Tx, instance: InstanceId, id: &str) -> Result<Account> {
    let unknown = || not_found("account", id);
    let narrow = Narrow::Id(ids::exact(id).ok_or_else(unknown)?);
    let (viewer, look) = (Viewer::Administrator, Purpose::Look);
    let found = query::one(tx, &accounts::TABLE, instance, viewer, &narrow, look).await?;
    found.ok_or_else(unknown)
}

/// A live group that enters the directory.
async fn group(tx: &mut Tx, instance: InstanceId, id: &str) -> Result<Group> {
    let unknown = || not_found("group", id);
    let found = feed::entered_groups(tx, instance, &[ids::exact(id).ok_or_else(unknown)?]).await?;
    found.into_iter().next().ok_or_else(unknown)
}

async fn connection_of(
    tx: &mut Tx,
    instance: InstanceId,
    key: &str,
) -> Result<Option<ConnectionId>> {
    let all = connections::list(tx, instance).await?;
    Ok(all.into_iter().find(|one| one.directory_key == key).map(|one| one.id))
}

/// The keys of the directories that these connections own; no statement if there is none.
async fn directories(
    tx: &mut Tx,
    instance: InstanceId,
    owners: impl Iterator<Item = Option<ConnectionId>>,
) -> Result<BTreeMap<ConnectionId, String>> {
    let owners: BTreeSet<ConnectionId> = owners.flatten().collect();
    if owners.is_empty() {
        return Ok(BTreeMap::new());
    }
    let all = connections::list(tx, instance).await?;
    Ok(all.into_iter().map(|one| (one.id, one.directory_key)).collect())
}

/// Accounts as the directory shows them: as many statements as for one, besides those for the mappings of
/// connections some of whose people have Local fields.
pub(super) async fn show(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[Account],
) -> Result<Vec<ShownAccount>> {
    let owners = accounts.iter().map(|account| account.connection);
    let keys = directories(tx, instance, owners).await?;
    let mut mappings: BTreeMap<Option<ConnectionId>, Mapping> = BTreeMap::new();
    let mut shown = Vec::with_capacity(accounts.len());
    for account in accounts {
        let owner = account.connection;
        if !account.local_fields.is_empty() && !mappings.contains_key(&owner) {
            mappings.insert(owner, mapping_of(tx, instance, account).await?);
        }
        shown.push(ShownAccount {
            id: account.id,
            user_name: account.user_name.clone(),
            display_name: account.display_name.clone(),
            status: account.status,
            status_reason: account.reason,
            directory: owner.and_then(|owner| keys.get(&owner).cloned()),
            external_id: account.external_id.clone(),
            fields: fields(account, mappings.get(&owner)),
            manager: account.manager.account,
            created_at: account.created_at,
            modified_at: account.modified_at,
            version: account.version,
        });
    }
    Ok(shown)
}

/// The fields of an account that have a value. Which of them are Local follows from the mapping, and
/// matters only where there are Local ones.
fn fields(account: &Account, mapping: Option<&Mapping>) -> BTreeMap<String, String> {
    let names = |from: &Map<String, Value>| from.keys().cloned().collect::<BTreeSet<String>>();
    let Some(mapping) = mapping.filter(|_| !account.local_fields.is_empty()) else {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.into()));
        return account.fields.iter().filter_map(text).collect();
    };
    let all: BTreeSet<_> = &names(&account.fields) | &names(&account.local_fields);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let shown = effective(account, mapping, &all).into_iter();
    shown.filter_map(|one| Some((one.field, one.value?))).collect()
}

/// Groups as the directory shows them.
pub(super) async fn show_groups(
    tx: &mut Tx,
    instance: InstanceId,
    groups: &[Group],
) -> Result<Vec<ShownGroup>> {
    let keys = directories(tx, instance, groups.iter().map(|group| group.connection)).await?;
    let shown = |group: &Group| ShownGroup {
        id: group.id,
        display_name: group.display_name.clone(),
        directory: group.connection.and_then(|owner| keys.get(&owner).cloned()),
        external_id: group.external_id.clone(),
        created_at: group.created_at,
        modified_at: group.modified_at,
        version: group.version,
    };
    Ok(groups.iter().map(shown).collect())
}
