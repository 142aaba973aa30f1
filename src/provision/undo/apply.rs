//! What an undo has planned, kept on the road of every write.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::named;
use super::plan::{Plan, Target, rows};
use crate::directory::entering::Rule;
use crate::directory::rules::{deleted_by_hand, is_deleted_by_hand, outliving};
use crate::directory::source::Outcome;
use crate::directory::undo::{DELETED, LOCAL_FIELD};
use crate::directory::{
    Account, AccountId, ConnectionId, Group, GroupId, Hand, HandWord, LossKind, MemberId,
    MemberKind, Status, Timestamp,
};
use crate::provision::resource::finish;
use crate::provision::{
    Error, Groups, Result, conflict_on, groups, hand, members, protection, scope, standing, users,
};
use crate::scim::extension::reveal;
use crate::scim::schemas::Schemas;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{Author, Event};
use crate::store::query::{Purpose, Viewer};
use crate::store::run_items::{self, Item};
use crate::store::runs::Run;
use crate::store::{Tx, connections, held, instances, memberships, migration_lines, schemas, undo};

/// How often those are tried who were refused: each time, those who are refused again are left out.
const ATTEMPTS_MAX: usize = 8;

/// What happened to a row, as the trail says it.
const UNDONE: &str = "undone";

/// Takes some events back, newest first; how many accounts, groups and memberships changed. What cannot be
/// put back is reported, and hinders nothing else.
pub(super) async fn apply(
    tx: &mut Tx,
    author: &Author,
    run: &Run,
    events: &[Event],
) -> Result<i64> {
    let mut plan = Plan::default();
    let found = plan.read(tx, run.instance, events, Purpose::Change).await?;
    let schemas = Arc::new(schemas::of_instance(tx, run.instance).await?);
    let mut work = Work { author, run, schemas, items: Vec::new(), changed: 0 };
    for (kind, id) in &plan.order {
        let Some(target) = plan.target(*id) else { continue };
        let name = match kind {
            MemberKind::Account => found.accounts.get(id).map(|row| row.user_name.clone()),
            MemberKind::Group => found.groups.get(id).map(|row| row.display_name.clone()),
        };
        work.one(tx, *kind, *id, name.unwrap_or_default(), target).await?;
    }
    work.again(tx, &plan).await?;
    work.members(tx, &plan).await?;
    work.report(tx, &plan).await
}

struct Work<'w> {
    author: &'w Author,
    run: &'w Run,
    schemas: Arc<Schemas>,
    items: Vec<Line>,
    changed: i64,
}

/// What became of an account or a group.
struct Line {
    kind: MemberKind,
    id: Uuid,
    name: String,
    refused: Option<ScimError>,
}

impl Work<'_> {
    async fn one(
        &mut self,
        tx: &mut Tx,
        kind: MemberKind,
        id: Uuid,
        name: String,
        target: &Target,
    ) -> Result<()> {
        let refused = if target.wanted.is_empty() {
            None
        } else {
            self.attempt(tx, kind, id, target).await?
        };
        self.items.push(Line { kind, id, name, refused });
        Ok(())
    }

    /// Tries those once more who were refused. The name that somebody wants back may have been given up by
    /// another one meanwhile, or they have each other's in a circle: then all put theirs aside first. Who is
    /// refused all the same is left out, and the others are tried without him.
    async fn again(&mut self, tx: &mut Tx, plan: &Plan) -> Result<()> {
        let mut lines = std::mem::take(&mut self.items);
        let mut waiting: Vec<&mut Line> =
            lines.iter_mut().filter(|line| line.refused.is_some()).collect();
        for _ in 0..ATTEMPTS_MAX {
            if waiting.is_empty() {
                break;
            }
            tx.mark().await?;
            let before = self.changed;
            for line in &waiting {
                let instance = self.run.instance;
                match line.kind {
                    MemberKind::Account => {
                        migration_lines::put_aside(tx, instance, AccountId(line.id)).await?;
                    }
                    MemberKind::Group => {
                        undo::put_aside(tx, instance, GroupId(line.id)).await?;
                    }
                }
            }
            let count = waiting.len();
            let mut left = Vec::with_capacity(count);
            for line in waiting {
                let Some(target) = plan.target(line.id) else { continue };
                match self.attempt(tx, line.kind, line.id, target).await? {
                    None => left.push(line),
                    refused @ Some(_) => line.refused = refused,
                }
            }
            if left.len() == count {
                tx.forget_mark().await?;
                for line in left {
                    line.refused = None;
                }
                break;
            }
            tx.back_to_mark().await?;
            self.changed = before;
            waiting = left;
        }
        self.items = lines;
        Ok(())
    }

    /// Writes one account or group, or says why not; what was half written is given up.
    async fn attempt(
        &mut self,
        tx: &mut Tx,
        kind: MemberKind,
        id: Uuid,
        target: &Target,
    ) -> Result<Option<ScimError>> {
        tx.mark().await?;
        let done = match kind {
            MemberKind::Account => self.account(tx, id, target).await,
            MemberKind::Group => self.group(tx, id, target).await,
        };
        match done {
            Ok(()) => {
                tx.forget_mark().await?;
                self.changed += 1;
                Ok(None)
            }
            Err(Error::Refused(refusal) | Error::NoSeat(refusal)) => {
                tx.back_to_mark().await?;
                Ok(Some(refusal))
            }
            Err(error) => Err(error),
        }
    }

    async fn account(&self, tx: &mut Tx, id: Uuid, target: &Target) -> Result<()> {
        let (instance, author) = (self.run.instance, self.author);
        // Who was written before may have moved this one: a link, a seat.
        let mut found = rows(tx, instance, &[id], &[], Purpose::Change).await?;
        let Some(before) = found.accounts.remove(&id) else { return Ok(()) };
        if target.restores() {
            let kept = instances::retention(tx, instance).await?;
            if before.deleted_at.is_some_and(|deleted_at| kept.is_over(deleted_at, author.at)) {
                let detail = format!("it was deleted more than {} days ago", kept.days());
                return Err(ScimError::new(ErrorKind::Conflict, detail).into());
            }
        }
        let mut after = put_back(&before, target, author.at)?;
        if !(after.protected && after.status == Status::Active) {
            protection::require_not_last(tx, instance, &before).await?;
        }
        if after.protected && after.connection.is_some() {
            let detail = "it is protected, and would belong to a connection: unprotect it first";
            return Err(ScimError::new(ErrorKind::Conflict, detail).into());
        }
        (after.version, after.modified_at) = (before.version + 1, author.at);
        hand::made_anew(tx, author, instance, &self.schemas, &mut after).await?;
        users::write(tx, instance, &self.schemas, author, &before, after, UNDONE).await?;
        Ok(())
    }

    async fn group(&self, tx: &mut Tx, id: Uuid, target: &Target) -> Result<()> {
        let (instance, author) = (self.run.instance, self.author);
        let mut found = rows(tx, instance, &[], &[id], Purpose::Change).await?;
        let Some(before) = found.groups.remove(&id) else { return Ok(()) };
        let mut after =
            Group { version: before.version + 1, modified_at: author.at, ..before.clone() };
        for (name, value) in &target.wanted {
            match name.as_str() {
                DELETED => after.deleted_at = value.as_ref().map(|_| author.at),
                "connection" => after.connection = id_in(value.as_ref()),
                "held" => after.deletion_held_at = value.as_ref().map(|_| author.at),
                _ => put(&mut after.document, name, value.as_ref()),
            }
        }
        groups::derive(&mut after)?;
        if after.connection != before.connection {
            scope::require_unnamed_by_others(tx, instance, after.connection, &after).await?;
        }
        let owner = match after.connection {
            Some(owner) => connections::find(tx, instance, owner).await?,
            None => None,
        };
        after.entered =
            owner.is_none_or(|owner| Rule::of(&owner.settings).admits(&after.display_name));
        crate::store::groups::update(tx, instance, &before, &after)
            .await
            .map_err(|error| conflict_on(error, "displayName", &after.display_name, "group"))?;
        if target.restores() || target.deletes() {
            let happened = if target.deletes() { "deleted" } else { "restored" };
            scope::group_came_or_went(tx, instance, author, &after, happened).await?;
        }
        finish::<Groups>(tx, instance, &self.schemas, author, Some(&before), &after, UNDONE).await
    }

    /// Lets people belong to groups again, and no longer.
    async fn members(&mut self, tx: &mut Tx, plan: &Plan) -> Result<()> {
        let mut moves: BTreeMap<GroupId, (Vec<MemberId>, Vec<MemberId>)> = BTreeMap::new();
        for ((group, member), membership) in &plan.members {
            match membership.wanted() {
                Some(true) => moves.entry(*group).or_default().0.push(*member),
                Some(false) => moves.entry(*group).or_default().1.push(*member),
                None => {}
            }
        }
        for (group, (joining, leaving)) in moves {
            self.changed += self.regroup(tx, group, &joining, &leaving).await?;
        }
        Ok(())
    }

    async fn regroup(
        &self,
        tx: &mut Tx,
        group: GroupId,
        joining: &[MemberId],
        leaving: &[MemberId],
    ) -> Result<i64> {
        let (instance, author) = (self.run.instance, self.author);
        let mut found = rows(tx, instance, &[], &[group.0], Purpose::Change).await?;
        // What was removed for good has no members any more, and who was is none.
        let Some(before) = found.groups.remove(&group.0) else { return Ok(0) };
        let joining = undo::known(tx, instance, joining).await?;
        let viewer = Viewer::Administrator;
        let removed = memberships::remove(tx, instance, viewer, group, leaving).await?;
        let added = memberships::add(tx, instance, group, &joining).await?;
        if removed.is_empty() && added.is_empty() {
            return Ok(0);
        }
        let held = held::held_members(tx, instance, group, None, 1).await?;
        let after = Group {
            removals_held_at: before.removals_held_at.filter(|_| !held.is_empty()),
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        crate::store::groups::update(tx, instance, &before, &after).await?;
        members::moved(tx, instance, author, &after, &removed, &added).await?;
        Ok(i64::try_from(removed.len() + added.len()).unwrap_or(i64::MAX))
    }

    /// Keeps a line for everybody whom something became of, or who was left as he is.
    async fn report(self, tx: &mut Tx, plan: &Plan) -> Result<i64> {
        let mut items: Vec<Item> = Vec::new();
        for line in &self.items {
            let Some(target) = plan.target(line.id) else { continue };
            items.extend(item(line, target));
        }
        for ((group, member), membership) in &plan.members {
            if membership.changed_since {
                let detail = json!({ "group": group, "changed_since": ["members"] });
                items.push(Item {
                    outcome: Outcome::Skipped,
                    line: None,
                    name: String::new(),
                    account: Some(AccountId(member.0)),
                    detail: Some(detail),
                });
            }
        }
        let position = run_items::next_position(tx, self.run.instance, self.run.id).await?;
        run_items::append(tx, self.run.instance, self.run.id, position, &items).await?;
        Ok(self.changed)
    }
}

/// What the report says of one account or group; nothing if there was nothing to take back.
fn item(line: &Line, target: &Target) -> Option<Item> {
    let mut detail = Map::new();
    if !target.wanted.is_empty() && line.refused.is_none() {
        detail.insert("undone".to_owned(), named(target.wanted.keys()));
    }
    if !target.changed_since.is_empty() {
        detail.insert("changed_since".to_owned(), named(&target.changed_since));
    }
    if let Some(refusal) = &line.refused {
        detail.insert("reason".to_owned(), refusal.detail.clone().into());
    }
    if target.is_gone {
        detail.insert("reason".to_owned(), "it was removed for good".into());
    }
    if target.erased > 0 {
        detail.insert("erased_events".to_owned(), target.erased.into());
    }
    if detail.is_empty() {
        return None;
    }
    let is_done = detail.contains_key("undone");
    if line.kind == MemberKind::Group {
        detail.insert("group".to_owned(), line.id.to_string().into());
    }
    Some(Item {
        outcome: if is_done { Outcome::Updated } else { Outcome::Skipped },
        line: None,
        name: line.name.clone(),
        account: (line.kind == MemberKind::Account).then_some(AccountId(line.id)),
        detail: Some(detail.into()),
    })
}

/// An account with its facts as they were; what follows from them is for the rules to say.
pub(super) fn put_back(before: &Account, target: &Target, at: Timestamp) -> Result<Account> {
    let mut after = before.clone();
    for (name, value) in &target.wanted {
        let said = value.as_ref();
        match name.as_str() {
            DELETED => after.deleted_at = said.map(|_| at),
            "connection" => after.connection = id_in(said),
            "hand" => after.hand = hand_in(said, at),
            "held" => hold(&mut after, said, at),
            "inSource" => after.in_source = said != Some(&Value::Bool(false)),
            "protected" => after.protected = said == Some(&Value::Bool(true)),
            name => match name.strip_prefix(LOCAL_FIELD) {
                Some(field) => put(&mut after.local_fields, field, said),
                None => put(&mut after.document, name, said),
            },
        }
    }
    if target.deletes() && !target.wanted.contains_key("hand") {
        after.hand = Some(deleted_by_hand(after.hand, at));
    } else if after.deleted_at.is_none() && is_deleted_by_hand(&after) {
        after.hand = outliving(after.hand);
    }
    if after.connection.is_none() {
        (after.in_scope, after.in_source) = (true, true);
    }
    if after.connection != before.connection {
        after.forget_holds();
    }
    if after.document == before.document {
        standing::judge(&mut after);
    } else {
        users::derive(&mut after)?;
    }
    Ok(after)
}

/// What the guard holds of an account.
fn hold(account: &mut Account, said: Option<&Value>, at: Timestamp) {
    let kind = said.and_then(Value::as_str).and_then(LossKind::from_word);
    account.suspension_held_at = kind.filter(|kind| *kind == LossKind::Suspension).map(|_| at);
    account.deletion_held_at = kind.filter(|kind| *kind == LossKind::Deletion).map(|_| at);
}

fn id_in(said: Option<&Value>) -> Option<ConnectionId> {
    said.and_then(Value::as_str).and_then(|id| id.parse().ok())
}

fn hand_in(said: Option<&Value>, at: Timestamp) -> Option<Hand> {
    let word = said.and_then(Value::as_str).and_then(HandWord::from_word)?;
    Some(Hand { word, at, overtaken_at: None })
}

fn put(parts: &mut Map<String, Value>, name: &str, said: Option<&Value>) {
    match said.and_then(|said| reveal(said, parts.get(name))) {
        Some(value) => parts.insert(name.to_owned(), value),
        None => parts.shift_remove(name),
    };
}
