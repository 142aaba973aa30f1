//! What an undo would change, before it does.

use super::apply::put_back;
use super::plan::{Plan, Target, rows};
use super::{Events, next};
use crate::directory::undo::{DELETED, Undo};
use crate::directory::{InstanceId, MemberKind, Status};
use crate::provision::{Provision, Result};
use crate::store::query::Purpose;
use crate::store::{BATCH_MAX, Tx};
use uuid::Uuid;

/// The accounts and groups that a preview names.
pub const UNDO_LISTED_MAX: usize = 1_000;

/// The events that a preview looks at, the newest first; the undo itself takes back all.
pub const UNDO_PREVIEWED_MAX: i64 = 200_000;

/// What an undo would come to.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct UndoPreview {
    /// The events that would be looked at.
    pub events: i64,
    /// Whether these are all.
    pub is_complete: bool,
    /// The accounts that would be changed, those that come back and those that go among them.
    pub accounts: i64,
    /// The accounts that would be restored.
    pub restored: i64,
    /// The accounts that would be deleted.
    pub deleted: i64,
    /// The groups that would be changed.
    pub groups: i64,
    /// The memberships that would be there again.
    pub joining: i64,
    /// The memberships that would be there no longer.
    pub leaving: i64,
    /// The accounts, groups and memberships of which something was changed since, and would stay.
    pub changed_since: i64,
    /// The accounts and groups that were removed for good.
    pub gone: i64,
    /// How many people would go from which status to which, if there are seats; who only belongs to other
    /// groups afterwards is not among them.
    pub statuses: Vec<StatusMove>,
    /// The first of the accounts and groups, the one that was changed last before all others.
    pub lines: Vec<UndoLine>,
}

/// How many people go from one status to another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StatusMove {
    /// The status now.
    pub was: Status,
    /// The status afterwards.
    pub is: Status,
    /// How many people.
    pub people: i64,
}

/// What would become of an account or a group.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UndoLine {
    /// Which of the two.
    pub kind: MemberKind,
    /// Its id.
    pub id: Uuid,
    /// Its name; empty if it was removed for good.
    pub name: String,
    /// What would be put back, by name.
    pub undone: Vec<String>,
    /// What was changed since, and would stay.
    pub changed_since: Vec<String>,
}

impl Provision {
    /// Says what an undo would come to; nothing changes.
    pub async fn preview_undo(&self, instance: InstanceId, undo: &Undo) -> Result<UndoPreview> {
        let mut tx = self.store.read().await?;
        super::require_known(&mut tx, instance, undo).await?;
        let mut preview = UndoPreview::default();
        let (mut plan, mut from) = (Plan::default(), Uuid::max());
        while preview.events < UNDO_PREVIEWED_MAX {
            let Events { events, last } = next(&mut tx, instance, undo, from).await?;
            plan.read(&mut tx, instance, &events, Purpose::Look).await?;
            preview.events += i64::try_from(events.len()).unwrap_or(i64::MAX);
            let Some(last) = last else {
                preview.is_complete = true;
                break;
            };
            from = last;
        }
        preview.count_members(&plan);
        for some in plan.order.chunks(BATCH_MAX) {
            self.count(&mut tx, instance, &plan, some, &mut preview).await?;
        }
        Ok(preview)
    }

    async fn count(
        &self,
        tx: &mut Tx,
        instance: InstanceId,
        plan: &Plan,
        some: &[(MemberKind, Uuid)],
        preview: &mut UndoPreview,
    ) -> Result<()> {
        let of = |wanted: MemberKind| -> Vec<Uuid> {
            let of_kind = some.iter().filter(|(kind, _)| *kind == wanted);
            of_kind.map(|(_, id)| *id).collect()
        };
        let (accounts, groups) = (of(MemberKind::Account), of(MemberKind::Group));
        let found = rows(tx, instance, &accounts, &groups, Purpose::Look).await?;
        for (kind, id) in some {
            let Some(target) = plan.target(*id) else { continue };
            let name = match kind {
                MemberKind::Account => found.accounts.get(id).map(|row| row.user_name.clone()),
                MemberKind::Group => found.groups.get(id).map(|row| row.display_name.clone()),
            };
            if let Some(before) = found.accounts.get(id).filter(|_| !target.wanted.is_empty()) {
                let after = put_back(before, target, self.clock.now())?;
                preview.count_status(before.status, after.status);
            }
            preview.count_target(*kind, *id, name.unwrap_or_default(), target);
        }
        Ok(())
    }
}

impl UndoPreview {
    fn count_members(&mut self, plan: &Plan) {
        for membership in plan.members.values() {
            match membership.wanted() {
                Some(true) => self.joining += 1,
                Some(false) => self.leaving += 1,
                None => {}
            }
            self.changed_since += i64::from(membership.changed_since);
        }
    }

    fn count_status(&mut self, was: Status, is: Status) {
        if was == is {
            return;
        }
        let same = |one: &&mut StatusMove| (one.was, one.is) == (was, is);
        match self.statuses.iter_mut().find(same) {
            Some(one) => one.people += 1,
            None => self.statuses.push(StatusMove { was, is, people: 1 }),
        }
    }

    fn count_target(&mut self, kind: MemberKind, id: Uuid, name: String, target: &Target) {
        let is_changed = !target.wanted.is_empty();
        match kind {
            MemberKind::Account => self.accounts += i64::from(is_changed),
            MemberKind::Group => self.groups += i64::from(is_changed),
        }
        if kind == MemberKind::Account {
            self.restored += i64::from(target.restores());
            self.deleted += i64::from(target.deletes());
        }
        self.changed_since += i64::from(!target.changed_since.is_empty());
        self.gone += i64::from(target.is_gone);
        let says = is_changed || !target.changed_since.is_empty() || target.is_gone;
        if says && self.lines.len() < UNDO_LISTED_MAX {
            let undone = target.wanted.iter().map(|(name, value)| match (name.as_str(), value) {
                (DELETED, None) => "restored".to_owned(),
                _ => name.clone(),
            });
            self.lines.push(UndoLine {
                kind,
                id,
                name,
                undone: undone.collect(),
                changed_since: target.changed_since.iter().cloned().collect(),
            });
        }
    }
}
