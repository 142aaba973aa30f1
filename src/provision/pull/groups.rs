//! The groups that the rows of a source name: they come into being, and people join and leave them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::directory::{AccountId, Group, GroupId, MemberId};
use crate::provision::groups::keep;
use crate::provision::members::MemberChange;
use crate::provision::resource::Resource;
use crate::provision::{Caller, Error, Groups, Result, SentGroup};
use crate::scim::Document;
use crate::scim::fold::fold;
use crate::store::audit::Author;
use crate::store::query::{Narrow, Purpose, Viewer};
use crate::store::{Tx, groups, memberships, query};

use super::Puller;

/// The groups of a connection that some people are in, by folded names.
pub(super) struct Belonging(HashMap<AccountId, BTreeSet<String>>);

impl Belonging {
    /// Whether somebody is in exactly the groups of these names.
    pub(super) fn same(&self, account: AccountId, names: &[String]) -> bool {
        let wanted = keys(names);
        self.0.get(&account).map_or(wanted.is_empty(), |is| *is == wanted)
    }
}

fn keys(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| fold(name).into_owned()).collect()
}

/// The groups that some people are in now.
pub(super) async fn of(tx: &mut Tx, puller: &Puller, ids: &[AccountId]) -> Result<Belonging> {
    let mut found: HashMap<AccountId, BTreeSet<String>> = HashMap::new();
    for one in present(tx, puller.caller(), ids).await? {
        found.entry(AccountId(one.member.0)).or_default().insert(fold(&one.display).into_owned());
    }
    Ok(Belonging(found))
}

async fn present(
    tx: &mut Tx,
    caller: &Caller,
    ids: &[AccountId],
) -> Result<Vec<memberships::Belonging>> {
    let members: Vec<MemberId> = ids.iter().map(|id| (*id).into()).collect();
    let viewer = Viewer::Own(caller.connection);
    Ok(memberships::of_members(tx, caller.instance, viewer, &members).await?)
}

/// Brings people into the groups that are named for each of them, and out of the connection's others.
/// Groups that are not there yet come into being. The names of those that cannot be the connection's.
pub(super) async fn settle(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    said: &[(AccountId, &[String])],
) -> Result<Vec<String>> {
    if said.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<AccountId> = said.iter().map(|(id, _)| *id).collect();
    let mut named: BTreeMap<String, &str> = BTreeMap::new();
    for name in said.iter().flat_map(|(_, names)| names.iter()) {
        named.entry(fold(name).into_owned()).or_insert(name);
    }
    let mut by_key: HashMap<String, Group> = HashMap::new();
    let mut refused = Vec::new();
    for (key, name) in named {
        match group(tx, caller, author, &key, name).await? {
            Some(group) => drop(by_key.insert(key, group)),
            None => refused.push(name.to_owned()),
        }
    }
    let mut changes: BTreeMap<GroupId, (Vec<String>, Vec<String>)> = BTreeMap::new();
    let is: BTreeSet<(AccountId, GroupId)> = present(tx, caller, &ids)
        .await?
        .into_iter()
        .map(|one| (AccountId(one.member.0), one.group))
        .collect();
    let wanted: BTreeSet<(AccountId, GroupId)> = said
        .iter()
        .flat_map(|(id, names)| {
            let groups = keys(names).into_iter().filter_map(|key| by_key.get(&key));
            groups.map(|group| (*id, group.id)).collect::<Vec<_>>()
        })
        .collect();
    for (account, group) in wanted.difference(&is) {
        changes.entry(*group).or_default().0.push(account.to_string());
    }
    for (account, group) in is.difference(&wanted) {
        changes.entry(*group).or_default().1.push(account.to_string());
    }
    for (id, (joining, leaving)) in changes {
        let Some(group) = owned(tx, caller, &Narrow::Id(id.0)).await? else { continue };
        let change = MemberChange::of(joining, leaving);
        let document = group.document.clone();
        keep(tx, caller, author, group, document, change).await?;
    }
    Ok(refused)
}

async fn owned(tx: &mut Tx, caller: &Caller, narrow: &Narrow) -> Result<Option<Group>> {
    let viewer = Viewer::Own(caller.connection);
    let found =
        query::one(tx, &groups::TABLE, caller.instance, viewer, narrow, Purpose::Change).await?;
    Ok(found)
}

/// The connection's group of a name, new or picked up where it has none.
async fn group(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    key: &str,
    name: &str,
) -> Result<Option<Group>> {
    if let Some(group) = owned(tx, caller, &Narrow::DisplayName(key.to_owned())).await? {
        return Ok(Some(group));
    }
    let mut document = Document::new();
    document.insert("displayName".to_owned(), name.into());
    let sent = SentGroup { document, members: None };
    // Nothing has been written when a name is refused.
    match Groups::create(tx, caller, author, author.ids, sent).await {
        Ok(group) => Ok(Some(group).filter(|group| group.connection == Some(caller.connection))),
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
