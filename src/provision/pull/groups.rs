//! The groups that the rows of a source name: they come into being, and people join and leave them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::directory::{AccountId, Group, GroupId, MemberId};
use crate::provision::groups::keep;
use crate::provision::members::MemberChange;
use crate::provision::resource::Resource;
use crate::provision::{Caller, Error, Groups, Result, SentGroup};
use crate::scim::Document;
use crate::scim::fold::fold;
use crate::store::audit::Author;
use crate::store::query::{Narrow, Purpose, Viewer};
use crate::store::scope::{self, Move};
use crate::store::{Tx, groups, memberships, query};

use super::Puller;

/// The groups of a connection that some people are in, by folded names.
pub(super) struct Belonging(HashMap<AccountId, BTreeSet<String>>);

/// What became of people and their groups.
#[derive(Default)]
pub(super) struct Moved {
    /// The names of the groups that somebody was in and is in, if they differ.
    pub(super) of: HashMap<AccountId, (Vec<String>, Vec<String>)>,
    /// Which groups cannot be the connection's, and why.
    pub(super) refused: Vec<String>,
}

/// The characters of a name that a note quotes.
const QUOTED_CHARS_MAX: usize = 100;

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
) -> Result<Moved> {
    let mut moved = Moved::default();
    if said.is_empty() {
        return Ok(moved);
    }
    let ids: Vec<AccountId> = said.iter().map(|(id, _)| *id).collect();
    let mut named: BTreeMap<String, &str> = BTreeMap::new();
    for name in said.iter().flat_map(|(_, names)| names.iter()) {
        named.entry(fold(name).into_owned()).or_insert(name);
    }
    let mut by_key: HashMap<String, Group> = HashMap::new();
    for (key, name) in named {
        match group(tx, caller, author, &key, name).await? {
            Ok(group) => drop(by_key.insert(key, group)),
            Err(reason) => moved.refused.push(refusal(name, &reason)),
        }
    }
    let mut changes: BTreeMap<GroupId, (Vec<String>, Vec<String>)> = BTreeMap::new();
    let present = present(tx, caller, &ids).await?;
    let mut titles: HashMap<GroupId, String> =
        by_key.values().map(|group| (group.id, group.display_name.clone())).collect();
    titles.extend(present.iter().map(|one| (one.group, one.display.clone())));
    let is: BTreeSet<(AccountId, GroupId)> =
        present.iter().map(|one| (AccountId(one.member.0), one.group)).collect();
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
    for (account, _) in is.symmetric_difference(&wanted) {
        let named = |all: &BTreeSet<(AccountId, GroupId)>| {
            let of = all.iter().filter(|(one, _)| one == account);
            let mut of: Vec<String> = of.filter_map(|(_, id)| titles.get(id).cloned()).collect();
            of.sort_unstable();
            of
        };
        if !moved.of.contains_key(account) {
            moved.of.insert(*account, (named(&is), named(&wanted)));
        }
    }
    for (id, (joining, leaving)) in changes {
        let Some(group) = owned(tx, caller, &Narrow::Id(id.0), Purpose::Change).await? else {
            continue;
        };
        let change = MemberChange::of(joining, leaving);
        let document = group.document.clone();
        keep(tx, caller, author, group, document, change).await?;
    }
    Ok(moved)
}

/// How many people of a connection would be in no sync group of it, were they in these groups of its own.
pub(super) async fn leaving_scope(
    tx: &mut Tx,
    caller: &Caller,
    said: &[(AccountId, &[String])],
) -> Result<i64> {
    let ids: Vec<AccountId> = said.iter().map(|(id, _)| *id).collect();
    let mut is: HashMap<AccountId, HashMap<String, GroupId>> = HashMap::new();
    for one in present(tx, caller, &ids).await? {
        let key = fold(&one.display).into_owned();
        is.entry(AccountId(one.member.0)).or_default().insert(key, one.group);
    }
    let mut known: HashMap<String, Option<GroupId>> = HashMap::new();
    let mut moves = Vec::new();
    for (account, names) in said {
        let (wanted, is) = (keys(names), is.remove(account).unwrap_or_default());
        let left = is.iter().filter(|(key, _)| !wanted.contains(*key));
        let leaving: HashSet<GroupId> = left.map(|(_, group)| *group).collect();
        if leaving.is_empty() {
            continue;
        }
        let mut joining = Vec::new();
        for key in wanted.into_iter().filter(|key| !is.contains_key(key)) {
            if !known.contains_key(&key) {
                let named = Narrow::DisplayName(key.clone());
                let found = owned(tx, caller, &named, Purpose::Look).await?;
                known.insert(key.clone(), found.map(|group| group.id));
            }
            joining.extend(known.get(&key).copied().flatten());
        }
        moves.push(Move { account: *account, leaving, joining });
    }
    let (instance, connection) = (caller.instance, caller.connection);
    let staying = scope::in_scope_after(tx, instance, connection, &moves).await?;
    Ok(super::count(moves.len() - staying.len()))
}

fn refusal(name: &str, reason: &str) -> String {
    let quoted: String = name.chars().take(QUOTED_CHARS_MAX).collect();
    format!("nobody is brought into the group \"{quoted}\": {reason}")
}

async fn owned(
    tx: &mut Tx,
    caller: &Caller,
    narrow: &Narrow,
    purpose: Purpose,
) -> Result<Option<Group>> {
    let viewer = Viewer::Own(caller.connection);
    let found = query::one(tx, &groups::TABLE, caller.instance, viewer, narrow, purpose).await?;
    Ok(found)
}

/// The connection's group of a name, new or picked up where it has none; or why there can be none.
async fn group(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    key: &str,
    name: &str,
) -> Result<std::result::Result<Group, String>> {
    if let Some(group) =
        owned(tx, caller, &Narrow::DisplayName(key.to_owned()), Purpose::Change).await?
    {
        return Ok(Ok(group));
    }
    let mut document = Document::new();
    document.insert("displayName".to_owned(), name.into());
    let sent = SentGroup { document, members: None };
    // Nothing has been written when a name is refused.
    match Groups::create(tx, caller, author, author.ids, sent).await {
        Ok(group) if group.connection == Some(caller.connection) => Ok(Ok(group)),
        Ok(_) => Ok(Err("it is Local, and an administrator has to agree first".to_owned())),
        Err(Error::Refused(refusal)) => Ok(Err(refusal.detail)),
        Err(error) => Err(error),
    }
}
