//! What an undo comes to: found out event by event, the newest first, before anything is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use crate::directory::undo::{Change, DELETED, Facets, LOCAL_FIELD, TakenBack, facets, take_back};
use crate::directory::{Account, Group, GroupId, InstanceId, MemberId, MemberKind};
use crate::provision::resource::Resource;
use crate::provision::{Groups, Result, Users};
use crate::scim::extension::hide;
use crate::scim::schemas::Schemas;
use crate::store::audit::Event;
use crate::store::query::Purpose;
use crate::store::{Tx, accounts, groups, schemas, undo};

/// What becomes of an account or a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// What its facets are to be again, where that is not what they are; `None` if there was none.
    pub(super) wanted: BTreeMap<String, Option<Value>>,
    /// The facets that were changed since.
    pub(super) changed_since: BTreeSet<String>,
    /// Whether it was removed for good.
    pub(super) is_gone: bool,
    /// The events that were erased, and say nothing any more.
    pub(super) erased: i64,
}

impl Target {
    pub(super) fn restores(&self) -> bool {
        self.wanted.get(DELETED) == Some(&None)
    }

    pub(super) fn deletes(&self) -> bool {
        self.wanted.get(DELETED).is_some_and(Option::is_some)
    }
}

/// What becomes of a membership.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    was: bool,
    is: bool,
    /// Whether somebody has changed it since.
    pub(super) changed_since: bool,
}

impl Membership {
    /// Whether somebody belongs to the group again, or no longer; `None` if it stays as it is.
    pub(super) fn wanted(self) -> Option<bool> {
        (self.was != self.is).then_some(self.is)
    }
}

/// Accounts and groups, deleted ones too, by their ids.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) accounts: HashMap<Uuid, Account>,
    pub(super) groups: HashMap<Uuid, Group>,
}

/// What becomes of everybody whom an undo is about. Kept over all pages, it is a preview; of one page, it is
/// what that page does.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they were met: what happened last is taken back first.
    pub(super) order: Vec<(MemberKind, Uuid)>,
    targets: HashMap<Uuid, Target>,
    pub(super) members: BTreeMap<(GroupId, MemberId), Membership>,
}

impl Plan {
    pub(super) fn target(&self, id: Uuid) -> Option<&Target> {
        self.targets.get(&id)
    }

    /// Reads what some events are about, and plans to take them back.
    pub(super) async fn read(
        &mut self,
        tx: &mut Tx,
        instance: InstanceId,
        events: &[Event],
        purpose: Purpose,
    ) -> Result<Rows> {
        let rows = read(tx, instance, events, purpose).await?;
        let schemas = schemas::of_instance(tx, instance).await?;
        self.read_members(tx, instance, events).await?;
        for event in events {
            if let Some((pair, joined)) = moved(event) {
                self.take_back_move(pair, joined);
            } else {
                self.take_back(&schemas, &rows, event);
            }
        }
        Ok(rows)
    }

    async fn read_members(
        &mut self,
        tx: &mut Tx,
        instance: InstanceId,
        events: &[Event],
    ) -> Result<()> {
        let mut fresh: BTreeMap<GroupId, Vec<MemberId>> = BTreeMap::new();
        for ((group, member), _) in events.iter().filter_map(moved) {
            if !self.members.contains_key(&(group, member)) {
                fresh.entry(group).or_default().push(member);
            }
        }
        for (group, members) in fresh {
            let present = undo::present(tx, instance, group, &members).await?;
            let present: BTreeSet<MemberId> = present.into_iter().collect();
            for member in members {
                let is = present.contains(&member);
                let stays = Membership { was: is, is, changed_since: false };
                self.members.insert((group, member), stays);
            }
        }
        Ok(())
    }

    fn take_back_move(&mut self, pair: (GroupId, MemberId), joined: bool) {
        if let Some(membership) = self.members.get_mut(&pair) {
            if membership.is == joined {
                membership.is = !joined;
            } else {
                membership.changed_since = true;
            }
        }
    }

    fn take_back(&mut self, schemas: &Schemas, rows: &Rows, event: &Event) {
        let change = Change::read(&event.action, event.before.as_ref(), event.after.as_ref());
        let kind = match event.target_kind.as_str() {
            "account" => MemberKind::Account,
            "group" => MemberKind::Group,
            _ => return,
        };
        if change.is_none() && event.erased_at.is_none() {
            return;
        }
        let id = event.target;
        let target = self.targets.entry(id).or_insert_with(|| {
            self.order.push((kind, id));
            Target::default()
        });
        let Some(change) = change else {
            target.erased += 1;
            return;
        };
        let found = match kind {
            MemberKind::Account => rows.accounts.get(&id).map(|row| of_account(schemas, row)),
            MemberKind::Group => rows.groups.get(&id).map(|row| of_group(schemas, row)),
        };
        match found {
            None => target.is_gone = true,
            Some(found) => target.take_back(&found, &change),
        }
    }
}

impl Target {
    /// Takes a change back from what a row is, and from what is taken back of it already.
    fn take_back(&mut self, row: &Facets, change: &Change) {
        let mut now = row.clone();
        for (name, wanted) in &self.wanted {
            match wanted {
                Some(value) => now.insert(name.clone(), value.clone()),
                None => now.remove(name),
            };
        }
        let TakenBack { facets, changed_since } = take_back(&now, change);
        for (name, value) in facets {
            if row.get(&name) == value.as_ref() {
                self.wanted.remove(&name);
            } else {
                self.wanted.insert(name, value);
            }
        }
        self.changed_since.extend(changed_since);
    }
}

/// Who joined or left which group, if that is what an event says; `true` if he joined.
fn moved(event: &Event) -> Option<((GroupId, MemberId), bool)> {
    let joined = match event.action.as_str() {
        "group.member_added" => true,
        "group.member_removed" => false,
        _ => return None,
    };
    Some(((GroupId(event.target), event.member?), joined))
}

/// The rows that some events are about.
async fn read(
    tx: &mut Tx,
    instance: InstanceId,
    events: &[Event],
    purpose: Purpose,
) -> Result<Rows> {
    let of = |kind: &str| -> Vec<Uuid> {
        let wanted = events.iter().filter(|event| event.target_kind == kind);
        let ids: BTreeSet<Uuid> = wanted.map(|event| event.target).collect();
        ids.into_iter().collect()
    };
    rows(tx, instance, &of("account"), &of("group"), purpose).await
}

/// Some accounts and groups, deleted ones too.
pub(super) async fn rows(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[Uuid],
    groups: &[Uuid],
    purpose: Purpose,
) -> Result<Rows> {
    let tables = [&accounts::TABLE, &accounts::TOMBSTONE_TABLE];
    let accounts: Vec<Account> = undo::rows(tx, instance, tables, accounts, purpose).await?;
    let tables = [&groups::TABLE, &groups::TOMBSTONE_TABLE];
    let groups: Vec<Group> = undo::rows(tx, instance, tables, groups, purpose).await?;
    Ok(Rows {
        accounts: accounts.into_iter().map(|row| (row.id.0, row)).collect(),
        groups: groups.into_iter().map(|row| (row.id.0, row)).collect(),
    })
}

/// An account as the trail says it.
fn of_account(schemas: &Schemas, account: &Account) -> Facets {
    let mut said = Users::facets(account);
    hide(&schemas.user, &mut said);
    let mut found = facets(&said);
    let fields = account.local_fields.iter();
    found.extend(fields.map(|(name, value)| (format!("{LOCAL_FIELD}{name}"), value.clone())));
    found
}

/// A group as the trail says it.
fn of_group(schemas: &Schemas, group: &Group) -> Facets {
    let mut said = Groups::facets(group);
    hide(&schemas.group, &mut said);
    facets(&said)
}
