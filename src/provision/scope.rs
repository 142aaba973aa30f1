//! The scope of a connection: everyone whom it pushes, or the members of its sync groups.
//!
//! When members come or go, only those people are looked at who are below what moved, and only those
//! are written whose scope is another than before.

use serde_json::{Value, json};
use uuid::Uuid;

use super::runs::{self, Step};
use super::{Caller, Provision, Result, standing, transact};
use crate::directory::{
    Account, Connection, ConnectionId, Group, GroupId, InstanceId, MemberId, MemberKind, Scope,
};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::runs::{Run, RunKind};
use crate::store::waist::{Nesting, StillTable};
use crate::store::{
    BATCH_MAX, StoreError, Tx, accounts, connections, groups, licences, memberships, scope,
};

/// The groups that the scope of a connection can name.
pub const SYNC_GROUPS_MAX: usize = 1_000;

/// The people that one step of a run looks at.
const PAGE: i64 = 500;

type Members = [(MemberId, MemberKind)];

/// Looks again at the people who left or joined a group, directly or with a group; how many of them could
/// enter and leave the scope.
pub(super) async fn reconsider(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    left: &Members,
    joined: &Members,
) -> Result<i64> {
    if (left.is_empty() && joined.is_empty()) || !scope::is_used(tx, instance).await? {
        return Ok(0);
    }
    let all = || left.iter().chain(joined).copied();
    let of = |wanted| -> Vec<MemberId> {
        all().filter(|(_, kind)| *kind == wanted).map(|(id, _)| id).collect()
    };
    let (people, groups) = (of(MemberKind::Account), of(MemberKind::Group));
    let hold = if groups.is_empty() { Nesting::Counts } else { Nesting::Moves };
    tx.hold_nesting(instance, hold).await?;
    let mut affected = people;
    affected.extend(memberships::people_below(tx, instance, &groups).await?);
    let causes = [cause("left", group), cause("joined", group)];
    look_again(tx, instance, author, affected, &causes).await
}

/// Looks again at the people below a group that was deleted just now, or restored: what `happened`; how many
/// of them could enter and left the scope.
pub(super) async fn group_came_or_went(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    happened: &str,
) -> Result<i64> {
    if !scope::is_used(tx, instance).await? {
        return Ok(0);
    }
    tx.hold_nesting(instance, Nesting::Moves).await?;
    let affected = memberships::people_below(tx, instance, &[group.id.into()]).await?;
    let causes = [cause(happened, group), cause(happened, group)];
    look_again(tx, instance, author, affected, &causes).await
}

/// Refuses that a connection takes a Local group over that decides who is in the scope of another.
pub(super) async fn require_unnamed(tx: &mut Tx, caller: &Caller, group: &Group) -> Result<()> {
    require_unnamed_by_others(tx, caller.instance, Some(caller.connection), group).await
}

/// The same for whom a group is to belong to, by whoever's hand.
pub(super) async fn require_unnamed_by_others(
    tx: &mut Tx,
    instance: InstanceId,
    owner: Option<ConnectionId>,
    group: &Group,
) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let named = scope::named_by(tx, instance, group.id).await?;
    let Some(other) = named.into_iter().find(|other| *other != owner) else {
        return Ok(());
    };
    let name = connections::find(tx, instance, other).await?.map(|other| other.name);
    let detail = format!(
        "the group \"{}\" decides who is in the scope of the connection \"{}\": no other connection \
         can take it over; an administrator has to change that scope first",
        group.display_name,
        name.unwrap_or_default()
    );
    Err(ScimError::new(ErrorKind::Forbidden, detail).into())
}

fn cause(happened: &str, group: &Group) -> Value {
    json!({ "group": group.id, "name": group.display_name, "happened": happened })
}

/// Asks the rules again about people, batch by batch, so that memory stays bounded; the causes are those
/// of who leaves the scope and of who comes into it.
///
/// Whether a connection with sync groups has somebody counts once nobody else can change that: she may be
/// picked up, made Local or restored just now.
async fn look_again(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    mut affected: Vec<MemberId>,
    causes: &[Value; 2],
) -> Result<i64> {
    let mut lost = 0;
    affected.sort_unstable();
    affected.dedup();
    for ids in affected.chunks(BATCH_MAX) {
        accounts::hold(tx, instance, ids).await?;
        let ids = scope::accounts_among(tx, instance, ids).await?;
        let locked = accounts::lock(tx, instance, &ids).await?;
        let within = scope::in_scope(tx, instance, &locked).await?;
        let holds = |account: &Account| within.contains(&account.id);
        let moving = standing::rescoped(&locked, holds);
        let is_lost = |(was, is): &&(&Account, Account)| was.status.may_enter() && !is.in_scope;
        lost += i64::try_from(moving.iter().filter(is_lost).count()).unwrap_or(i64::MAX);
        standing::move_many(tx, instance, author, moving, of_move(causes)).await?;
    }
    Ok(lost)
}

/// The cause of a move, of leaving and of coming.
fn of_move([leaving, coming]: &[Value; 2]) -> impl Fn(&Account) -> Value + Sync {
    move |account| if account.in_scope { coming.clone() } else { leaving.clone() }
}

/// Looks again at the next page of people of a connection, in the order of their ids.
pub(super) async fn look_again_page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    author: &Author,
    after: Option<Uuid>,
) -> Result<Step> {
    tx.hold_nesting(instance, Nesting::Counts).await?;
    let page = accounts::lock_page(tx, instance, connection, after, PAGE).await?;
    let terms = licences::terms(tx, instance, Some(connection)).await?;
    let within = match terms.scope {
        Scope::All => None,
        Scope::Groups => Some(scope::in_scope(tx, instance, &page).await?),
    };
    let holds =
        |account: &Account| within.as_ref().is_none_or(|within| within.contains(&account.id));
    let cause = json!({ "setting": "scope" });
    let causes = [cause.clone(), cause];
    let moving = standing::rescoped(&page, holds);
    let moved = standing::move_many(tx, instance, author, moving, of_move(&causes)).await?;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok(Step {
        last: page.last().map(|account| account.id.0),
        seen: count(page.len()),
        changed: count(moved.len()),
    })
}

/// What a change of scope would do.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ScopePreview {
    /// How many people the connection has.
    pub people: u64,
    /// How many of them would be in scope.
    pub in_scope: u64,
    /// How many would be suspended who are active or blocked now.
    pub leaving: u64,
    /// How many would come back who are out of scope now.
    pub coming: u64,
    /// The first of those who would leave, by user name.
    pub who_leaves: Vec<String>,
    /// The first of those who would come back.
    pub who_comes: Vec<String>,
}

/// The people whom a preview names of each kind.
const NAMED_MAX: usize = 100;

impl Provision {
    /// Says whom a change of scope would suspend and whom it would let in, and changes nothing.
    pub async fn preview_scope(
        &self,
        connection: &Connection,
        wanted: Scope,
        groups: &[GroupId],
    ) -> Result<ScopePreview> {
        let (instance, mut after) = (connection.instance, None);
        let mut tx = self.store.read().await?;
        check_groups(&mut tx, connection, wanted, groups).await?;
        let mut preview = ScopePreview {
            people: 0,
            in_scope: 0,
            leaving: 0,
            coming: 0,
            who_leaves: Vec::new(),
            who_comes: Vec::new(),
        };
        loop {
            let page = accounts::page_of(&mut tx, instance, connection.id, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(preview) };
            after = Some(last.id.0);
            let ids: Vec<_> = page.iter().map(|account| account.id).collect();
            let within = match wanted {
                Scope::All => ids.iter().copied().collect(),
                Scope::Groups => scope::below_any(&mut tx, instance, &ids, groups).await?,
            };
            for account in &page {
                preview.count(account, within.contains(&account.id));
            }
        }
    }

    /// Changes the scope of a connection, and begins the run that asks everybody again.
    pub async fn set_scope(
        &self,
        author: &Author,
        connection: &Connection,
        wanted: Scope,
        groups: &[GroupId],
    ) -> Result<Run> {
        transact!(self.store, |tx| set(&mut tx, author, connection, wanted, groups).await)
    }

    /// The sync groups of a connection.
    pub async fn sync_groups(&self, connection: &Connection) -> Result<Vec<GroupId>> {
        let mut tx = self.store.read().await?;
        Ok(scope::groups(&mut tx, connection.instance, connection.id).await?)
    }
}

impl ScopePreview {
    fn count(&mut self, account: &Account, within: bool) {
        self.people += 1;
        self.in_scope += u64::from(within);
        let mut after = Account { in_scope: within, ..account.clone() };
        standing::judge(&mut after);
        let (was, is) = (account.status.may_enter(), after.status.may_enter());
        if was && !is {
            self.leaving += 1;
            name(&mut self.who_leaves, account);
        } else if !was && is {
            self.coming += 1;
            name(&mut self.who_comes, account);
        }
    }
}

fn name(named: &mut Vec<String>, account: &Account) {
    if named.len() < NAMED_MAX {
        named.push(account.user_name.clone());
    }
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    connection: &Connection,
    wanted: Scope,
    groups: &[GroupId],
) -> Result<Run> {
    let (instance, id) = (connection.instance, connection.id);
    // Whoever writes after this knows the new scope; whoever wrote before is seen by the run.
    tx.hold_still(StillTable::Groups).await?;
    tx.hold_still(StillTable::Memberships).await?;
    tx.hold_still(StillTable::Accounts).await?;
    check_groups(tx, connection, wanted, groups).await?;
    let current = connections::find(tx, instance, id).await?.ok_or(StoreError::Stale)?;
    let before = json!({
        "scope": current.settings.scope,
        "syncGroups": scope::groups(tx, instance, id).await?,
    });
    let kept = if wanted == Scope::Groups { groups } else { &[] };
    connections::set_scope(tx, instance, id, wanted).await?;
    scope::set_groups(tx, instance, id, kept).await?;
    let run = runs::begin(tx, author, instance, RunKind::Scope, id).await?;
    let event = author.event(Category::Settings, "connection.scope_set", "connection", id.0);
    let after = json!({ "scope": wanted, "syncGroups": kept, "run": run.id });
    let event = audit::Event { before: Some(before), after: Some(after), ..event };
    audit::append(tx, instance, &[event]).await?;
    Ok(run)
}

/// Refuses groups that the connection cannot see, and a scope of no groups.
async fn check_groups(
    tx: &mut Tx,
    connection: &Connection,
    wanted: Scope,
    groups: &[GroupId],
) -> Result<()> {
    if wanted == Scope::All {
        return Ok(());
    }
    let refuse = |why: &str| Err(ScimError::invalid_value("the sync groups", why).into());
    if groups.is_empty() {
        return refuse("must be at least one: without one, everybody would be suspended");
    }
    if groups.len() > SYNC_GROUPS_MAX {
        return refuse(&format!("are {SYNC_GROUPS_MAX} at most: put them into one group"));
    }
    let viewer = Viewer::Connection(connection.id);
    for group in groups {
        let narrow = Narrow::Id(group.0);
        let (instance, look) = (connection.instance, Purpose::Look);
        let found: Option<Group> =
            query::one(tx, &groups::TABLE, instance, viewer, &narrow, look).await?;
        if found.is_none() {
            return refuse(&format!("are its own or Local: {group} is neither"));
        }
    }
    Ok(())
}
