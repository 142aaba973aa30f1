//! Members of groups: rows that come and go, never a list that is read, changed and written back.
//!
//! The operations of a request are folded into one [`MemberChange`], which becomes set-based
//! statements. Adding or removing commutes with everybody else's adding and removing, and what it
//! costs follows the change, not the group.

use std::collections::{BTreeSet, HashSet};

use scim_v2::filter::CompareOp;
use serde_json::{Value, json};

use super::guard::{self, Made};
use super::{Caller, Result, render, scope};
use crate::directory::{Group, GroupId, InstanceId, Losses, MemberId, MemberKind, Timestamp, ids};
use crate::scim::filter::{Condition, Operand};
use crate::scim::habits::Treatment;
use crate::scim::message::{Verb, placed};
use crate::scim::patch::{Change, Spot};
use crate::scim::resource::member;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author};
use crate::store::{Tx, memberships};

/// The members that the answer to a change shows at most; a larger group is answered without a body.
pub const ANSWERED_MEMBERS_MAX: i64 = 100;

/// The unknown ids that the audit trail names of one request.
const UNKNOWN_SHOWN_MAX: usize = 100;

/// What a request does to the membership of a group, all operations together.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct MemberChange {
    /// Whether everybody leaves who is not in `joining`.
    clears: bool,
    /// Who is a member afterwards. Texts, because a client may send an id that is none.
    joining: BTreeSet<String>,
    /// Who is none afterwards.
    leaving: BTreeSet<String>,
    /// The members before the request as they are shown, if a filter had to look at them.
    #[serde(skip)]
    before: Option<Vec<Value>>,
}

impl MemberChange {
    /// Some join, and some leave.
    pub(super) fn of(joining: Vec<String>, leaving: Vec<String>) -> Self {
        let mut change = Self::default();
        change.join(joining);
        change.leave(leaving);
        change
    }

    /// Nothing but these.
    pub(super) fn replace_by(members: Vec<String>) -> Self {
        let mut change = Self::default();
        change.clear();
        change.join(members);
        change
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.clears && self.joining.is_empty() && self.leaving.is_empty()
    }

    /// A change as it was stored; `None` if nothing was.
    pub(super) fn stored(text: Option<&str>) -> Option<Self> {
        text.and_then(|text| serde_json::from_str(text).ok())
    }

    /// The change as it is stored; `None` if it changes nothing.
    pub(super) fn store(&self) -> Option<String> {
        if self.is_empty() { None } else { serde_json::to_string(self).ok() }
    }

    /// This change and then another, as one.
    pub(super) fn then(mut self, later: Self) -> Self {
        if later.clears {
            self.clear();
        }
        self.join(later.joining.into_iter().collect());
        self.leave(later.leaving.into_iter().collect());
        self.before = later.before;
        self
    }

    /// Whether a member of before is one afterwards.
    pub(super) fn retains(&self, id: &str) -> bool {
        self.joining.contains(id) || !(self.clears || self.leaving.contains(id))
    }

    /// Who is a member afterwards, as far as the texts can be ids.
    pub(super) fn joining_ids(&self) -> Vec<MemberId> {
        parse(&self.joining).0
    }

    fn join(&mut self, ids: Vec<String>) {
        for id in ids {
            self.leaving.remove(&id);
            self.joining.insert(id);
        }
    }

    fn leave(&mut self, ids: Vec<String>) {
        for id in ids {
            self.joining.remove(&id);
            if !self.clears {
                self.leaving.insert(id);
            }
        }
    }

    fn clear(&mut self) {
        self.clears = true;
        self.joining.clear();
        self.leaving.clear();
    }

    /// Adds one operation on `members`. A filter other than on the id is evaluated on the members as
    /// they were before the request.
    pub(super) async fn fold(
        &mut self,
        tx: &mut Tx,
        caller: &Caller,
        group: GroupId,
        change: Change<'_>,
    ) -> Result<()> {
        let Change { verb, spot, value, operation, .. } = change;
        let refuse =
            |kind, detail: &str| Err(placed(ScimError::new(kind, detail), operation).into());
        match spot {
            Spot::Attribute(target) if target.sub.is_none() => {
                let no_value = value.is_null();
                let ids = listed(&value).map_err(|error| placed(error, operation))?;
                match verb {
                    Verb::Add => self.join(ids),
                    Verb::Replace => {
                        self.clear();
                        self.join(ids);
                    }
                    // Entra names whom to remove in `value`; only without it everybody goes.
                    Verb::Remove if no_value => self.clear(),
                    Verb::Remove => self.leave(ids),
                }
                Ok(())
            }
            Spot::Elements(target, condition) if target.sub.is_none() && verb == Verb::Remove => {
                let ids = match ids_named(&condition) {
                    Some(ids) => ids,
                    None => self.ids_matching(tx, caller, group, &condition).await?,
                };
                self.leave(ids);
                Ok(())
            }
            _ => refuse(
                ErrorKind::Mutability,
                "a member cannot be changed: remove it and add another",
            ),
        }
    }

    /// The members that a filter selects among those before the request, who are read once.
    async fn ids_matching(
        &mut self,
        tx: &mut Tx,
        caller: &Caller,
        group: GroupId,
        condition: &Condition<'_>,
    ) -> Result<Vec<String>> {
        if self.before.is_none() {
            let (instance, viewer) = (caller.instance, caller.viewer());
            let all = memberships::of_groups(tx, instance, viewer, &[group], i64::MAX).await?;
            let shown = all.iter().map(|member| render::member(caller, member)).collect();
            self.before = Some(shown);
        }
        let matches =
            |member: &&Value| member.as_object().is_some_and(|parts| condition.matches(parts));
        let id = |member: &Value| member.get("value")?.as_str().map(str::to_owned);
        Ok(self.before.iter().flatten().filter(matches).filter_map(id).collect())
    }

    /// Makes the change, unless the guard holds that members leave: then others join, and they stay.
    ///
    /// Ids that the caller cannot see are left out with a note in the audit trail, or refused with
    /// `invalidValue`, as the profile says.
    pub(super) async fn apply(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        group: &Group,
    ) -> Result<Moved> {
        let (instance, id) = (caller.instance, group.id);
        if self.is_empty() {
            let removals_held_at = group.removals_held_at;
            return Ok(Moved { is_different: false, removals_held_at });
        }
        let mut joining = self.check(tx, caller, author, group).await?;
        let leaving = if self.clears {
            self.leaving_by_replacement(tx, caller, id, &mut joining).await?
        } else {
            parse(&self.leaving).0
        };
        let members: Vec<_> = joining.iter().map(|(id, _)| *id).collect();
        let kept = guard::keep_members(tx, instance, author, group, &members).await?;
        let (is_kept, removals_held_at) = kept;
        if leaving.is_empty() || !guard::watches(caller) {
            let done = swap(tx, caller, author, group, &leaving, &joining).await?;
            return Ok(Moved { is_different: is_kept || done.is_different, removals_held_at });
        }
        tx.mark().await?;
        let done = swap(tx, caller, author, group, &leaving, &joining).await?;
        let over = guard::judge(tx, caller, author, done.losses(), Made::Already).await?;
        let Some(over) = over else {
            tx.forget_mark().await?;
            return Ok(Moved { is_different: is_kept || done.is_different, removals_held_at });
        };
        tx.back_to_mark().await?;
        guard::trip(tx, caller, author, &over).await?;
        guard::hold_removals(tx, instance, author, group, &done.removed).await?;
        swap(tx, caller, author, group, &[], &joining).await?;
        let removals_held_at = removals_held_at.or(Some(author.at));
        Ok(Moved { is_different: true, removals_held_at })
    }

    /// Who can join: whom the caller can see, and not the group itself. Who else was named is left out
    /// with a note, or refused.
    pub(super) async fn check(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        group: &Group,
    ) -> Result<Vec<(MemberId, MemberKind)>> {
        let (asked, strange) = parse(&self.joining);
        let mut joining = memberships::known(tx, caller.instance, caller.viewer(), &asked).await?;
        let itself = MemberId::from(group.id);
        if joining.iter().any(|(id, _)| *id == itself) {
            caller.habits.unknown_members.check(ErrorKind::InvalidValue, || {
                format!(
                    "members.value names the group itself, \"{itself}\": a group cannot be a member \
                     of itself",
                    itself = itself.0
                )
            })?;
            joining.retain(|(id, _)| *id != itself);
        }
        note_unknown(tx, caller, author, group.id, strange, &asked, &joining).await?;
        Ok(joining)
    }

    /// Whom a complete list makes leave; `joining` is cut to who is not a member yet.
    async fn leaving_by_replacement(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        group: GroupId,
        joining: &mut Vec<(MemberId, MemberKind)>,
    ) -> Result<Vec<MemberId>> {
        let present = memberships::ids(tx, caller.instance, caller.viewer(), group).await?;
        let listed: HashSet<MemberId> = joining.iter().map(|(id, _)| *id).collect();
        let here: HashSet<MemberId> = present.iter().copied().collect();
        joining.retain(|(id, _)| !here.contains(id));
        Ok(present.into_iter().filter(|id| !listed.contains(id)).collect())
    }
}

/// What became of the members of a group.
pub(super) struct Moved {
    /// Whether anything is different now.
    pub(super) is_different: bool,
    /// Since when the guard holds that some of them have left.
    pub(super) removals_held_at: Option<Timestamp>,
}

/// Who left, and what else came of that.
struct Swapped {
    is_different: bool,
    removed: Vec<MemberId>,
    suspensions: i64,
}

impl Swapped {
    fn losses(&self) -> Losses {
        let removals = i64::try_from(self.removed.len()).unwrap_or(i64::MAX);
        Losses { suspensions: self.suspensions, deletions: 0, removals }
    }
}

/// Lets some leave and others join.
async fn swap(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    group: &Group,
    leaving: &[MemberId],
    joining: &[(MemberId, MemberKind)],
) -> Result<Swapped> {
    let (instance, id) = (caller.instance, group.id);
    let removed = memberships::remove(tx, instance, caller.viewer(), id, leaving).await?;
    let added = memberships::add(tx, instance, id, joining).await?;
    let suspensions = moved(tx, instance, author, group, &removed, &added).await?;
    let is_different = !(removed.is_empty() && added.is_empty());
    let removed = removed.into_iter().map(|(id, _)| id).collect();
    Ok(Swapped { is_different, removed, suspensions })
}

/// What follows from some members who were taken out of a group and others who were put into it: their rows
/// in the audit trail, and who is in which scope now; how many people who could enter left it.
pub(super) async fn moved(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
    removed: &[(MemberId, MemberKind)],
    added: &[(MemberId, MemberKind)],
) -> Result<i64> {
    let events: Vec<_> = [("group.member_removed", removed), ("group.member_added", added)]
        .into_iter()
        .flat_map(|(action, members)| members.iter().map(move |member| (action, *member)))
        .map(|(action, (member, _))| {
            let event = author.change(action, "group", group.id.0);
            audit::Event { member: Some(member), ..event }
        })
        .collect();
    audit::append(tx, instance, &events).await?;
    scope::reconsider(tx, instance, author, group, removed, added).await
}

/// The ids in a value of `members`: objects with a `value`, or bare texts, one or many.
///
/// An element that names nobody is refused: passed over, it would make a replacement empty a group.
pub(super) fn listed(members: &Value) -> std::result::Result<Vec<String>, ScimError> {
    let nobody = || {
        ScimError::invalid_value(
            "members",
            "must be an array of objects with the id of a member in \"value\"",
        )
    };
    let id = |element: &Value| match element {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        Value::Object(parts) => match member(parts, "value")? {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        },
        _ => None,
    };
    let elements = match members {
        Value::Null => return Ok(Vec::new()),
        Value::Array(elements) => elements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let ids = elements.iter().map(|element| id(element).filter(|id| !id.is_empty()));
    ids.map(|id| id.ok_or_else(nobody)).collect()
}

/// The ids that a filter of equalities names: `members[value eq "…"]`, also several with `or`.
fn ids_named(condition: &Condition<'_>) -> Option<Vec<String>> {
    match condition {
        Condition::Compare(target, CompareOp::Eq, Operand::Text { raw, .. })
            if target.attribute.name == "value" =>
        {
            Some(vec![raw.clone()])
        }
        Condition::Or(parts) => {
            let ids: Option<Vec<_>> = parts.iter().map(ids_named).collect();
            Some(ids?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// Ids that can be ids, and texts that cannot.
fn parse(texts: &BTreeSet<String>) -> (Vec<MemberId>, Vec<String>) {
    let (mut found, mut strange) = (Vec::with_capacity(texts.len()), Vec::new());
    for text in texts {
        match ids::exact(text) {
            Some(id) => found.push(MemberId(id)),
            None => strange.push(text.clone()),
        }
    }
    (found, strange)
}

async fn note_unknown(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    group: GroupId,
    strange: Vec<String>,
    asked: &[MemberId],
    known: &[(MemberId, MemberKind)],
) -> Result<()> {
    if strange.is_empty() && asked.len() == known.len() {
        return Ok(());
    }
    let known: HashSet<MemberId> = known.iter().map(|(id, _)| *id).collect();
    let missing = asked.iter().filter(|id| !known.contains(id)).map(|id| id.0.to_string());
    let unknown: Vec<String> = strange.into_iter().chain(missing).collect();
    let shown: Vec<String> =
        unknown.iter().take(UNKNOWN_SHOWN_MAX).map(|id| id.chars().take(64).collect()).collect();
    match caller.habits.unknown_members {
        Treatment::Refuse => Err(ScimError::invalid_value(
            "members.value",
            &format!("names nobody in this directory: \"{}\"", shown.join("\", \"")),
        )
        .into()),
        Treatment::Take => {
            let event = author.change("group.members_unknown", "group", group.0);
            let after = Some(json!({ "count": unknown.len(), "members": shown }));
            let rule = Some("unknown members are left out".to_owned());
            Ok(audit::append(tx, caller.instance, &[audit::Event { after, rule, ..event }]).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemberChange;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Debug, Clone)]
    enum Step {
        Join(Vec<u8>),
        Leave(Vec<u8>),
        Replace(Vec<u8>),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let ids = || proptest::collection::vec(0u8..8, 0..4);
        prop_oneof![
            ids().prop_map(Step::Join),
            ids().prop_map(Step::Leave),
            ids().prop_map(Step::Replace),
            Just(Step::Clear),
        ]
    }

    proptest! {
        /// Two changes folded into one do what they do one after the other, also when they were stored.
        #[test]
        fn a_change_after_a_change_is_one_change(
            before in proptest::collection::btree_set(0u8..8, 0..8),
            first in proptest::collection::vec(step(), 0..4),
            second in proptest::collection::vec(step(), 0..4),
        ) {
            let texts = |ids: &[u8]| ids.iter().map(u8::to_string).collect::<Vec<_>>();
            let fold = |steps: &[Step]| {
                let mut change = MemberChange::default();
                for step in steps {
                    match step {
                        Step::Join(ids) => change.join(texts(ids)),
                        Step::Leave(ids) => change.leave(texts(ids)),
                        Step::Replace(ids) => { change.clear(); change.join(texts(ids)); }
                        Step::Clear => change.clear(),
                    }
                }
                change
            };
            let after = |change: &MemberChange, before: &BTreeSet<String>| {
                let mut after = before.clone();
                after.retain(|id| change.retains(id));
                after.extend(change.joining.clone());
                after
            };
            let before: BTreeSet<String> = before.iter().map(u8::to_string).collect();
            let (first, second) = (fold(&first), fold(&second));
            let one_by_one = after(&second, &after(&first, &before));
            let stored = MemberChange::stored(first.store().as_deref()).unwrap_or_default();
            prop_assert_eq!(after(&stored.then(second), &before), one_by_one);
        }

        /// Folding the operations into one change gives what doing them one by one gives.
        #[test]
        fn one_change_is_worth_its_operations(
            before in proptest::collection::btree_set(0u8..8, 0..8),
            steps in proptest::collection::vec(step(), 0..8),
        ) {
            let texts = |ids: &[u8]| ids.iter().map(u8::to_string).collect::<Vec<_>>();
            let (mut change, mut model) = (MemberChange::default(), before.clone());
            for step in &steps {
                match step {
                    Step::Join(ids) => { change.join(texts(ids)); model.extend(ids); }
                    Step::Leave(ids) => { change.leave(texts(ids)); model.retain(|id| !ids.contains(id)); }
                    Step::Replace(ids) => {
                        change.clear();
                        change.join(texts(ids));
                        model = ids.iter().copied().collect();
                    }
                    Step::Clear => { change.clear(); model.clear(); }
                }
            }
            let mut after: BTreeSet<String> = if change.clears {
                BTreeSet::new()
            } else {
                before.iter().map(u8::to_string).collect()
            };
            after.retain(|id| !change.leaving.contains(id));
            after.extend(change.joining.clone());
            prop_assert_eq!(after, model.iter().map(u8::to_string).collect::<BTreeSet<_>>());
            prop_assert!(change.joining.is_disjoint(&change.leaving));
        }
    }
}
