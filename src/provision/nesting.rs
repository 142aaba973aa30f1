//! Members of members: who belongs to a group through other groups.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::setup::ADMIN_PAGE_MAX;
use super::{Provision, Result};
use crate::directory::{AccountId, Group, GroupId, InstanceId};
use crate::store::memberships::{self, Member, Nesting};
use crate::store::query::Viewer;
use uuid::Uuid;

/// Somebody who belongs to a group, directly or through others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveMember {
    /// The account.
    pub id: AccountId,
    /// The name the person signs in with.
    pub user_name: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// The groups from the one that was asked for to the one that the person directly belongs to: a
    /// shortest way.
    pub path: Vec<String>,
}

/// Those who belong to a group, directly or through others.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Effective {
    /// How many there are altogether.
    pub total: i64,
    /// A page of them, in the order of their creation.
    pub members: Vec<EffectiveMember>,
    /// The id behind which the next page begins.
    pub next: Option<AccountId>,
}

/// Groups by the shortest way to them.
type Ways = BTreeMap<GroupId, Vec<String>>;

impl Provision {
    /// The accounts that belong to a group, directly or through nested groups, each once. Groups that
    /// are nested in a circle change nothing about that.
    pub async fn effective_members(
        &self,
        instance: InstanceId,
        group: &Group,
        after: Option<AccountId>,
        limit: i64,
    ) -> Result<Effective> {
        let mut tx = self.store.read().await?;
        let limit = usize::try_from(limit.clamp(1, ADMIN_PAGE_MAX)).unwrap_or(1);
        let ways = ways(group, &memberships::nested(&mut tx, instance, group.id).await?);
        let total = memberships::effective_count(&mut tx, instance, group.id).await?;
        let (mut members, mut after): (Vec<EffectiveMember>, _) = (Vec::new(), after);
        // Who belongs to several of the groups has several rows.
        let batch = i64::try_from(limit).unwrap_or(ADMIN_PAGE_MAX) + 1;
        while members.len() <= limit {
            let rows = memberships::effective(&mut tx, instance, group.id, after, batch).await?;
            let full = i64::try_from(rows.len()).is_ok_and(|count| count == batch);
            // The last one may have more rows: unless nobody else is left, it is read again.
            let cut = rows.last().map(|row| row.id).filter(|_| full);
            let alone = rows.first().map(|row| row.id) == cut;
            for row in rows {
                if Some(row.id) == cut && !alone {
                    break;
                }
                let path = ways.get(&row.group).cloned().unwrap_or_default();
                match members.last_mut().filter(|last| last.id == row.id) {
                    Some(last) if path.len() < last.path.len() => last.path = path,
                    Some(_) => {}
                    None => members.push(EffectiveMember {
                        id: row.id,
                        user_name: row.user_name,
                        display_name: row.display_name,
                        path,
                    }),
                }
            }
            after = members.last().map(|last| last.id);
            if !full {
                break;
            }
        }
        let more = members.len() > limit;
        members.truncate(limit);
        let next = members.last().map(|last| last.id).filter(|_| more);
        Ok(Effective { total, members, next })
    }

    /// The direct members of a group from behind `after`, and the id behind which the next page begins.
    pub async fn direct_members(
        &self,
        instance: InstanceId,
        group: &Group,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<(Vec<Member>, Option<Uuid>)> {
        let mut tx = self.store.read().await?;
        let limit = limit.clamp(1, ADMIN_PAGE_MAX);
        // One more than is shown tells whether there are more.
        let found = memberships::direct(
            &mut tx,
            instance,
            Viewer::Administrator,
            group.id,
            after,
            limit + 1,
        )
        .await?;
        let shown = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > shown;
        let members: Vec<Member> = found.into_iter().take(shown).collect();
        let next = members.last().map(|member| member.id.0).filter(|_| more);
        Ok((members, next))
    }

    /// The names of the groups on a way from a group back to itself, if it is nested in a circle.
    pub async fn circle_of(
        &self,
        instance: InstanceId,
        group: &Group,
    ) -> Result<Option<Vec<String>>> {
        let mut tx = self.store.read().await?;
        let nestings = memberships::nested(&mut tx, instance, group.id).await?;
        let ways = ways(group, &nestings);
        let back = nestings.iter().filter(|nesting| nesting.member == group.id);
        let way = back.filter_map(|nesting| ways.get(&nesting.group)).min_by_key(|way| way.len());
        Ok(way.map(|way| way.iter().cloned().chain([group.display_name.clone()]).collect()))
    }
}

/// The shortest way from a group to each that is nested in it.
fn ways(root: &Group, nestings: &[Nesting]) -> Ways {
    let mut below: BTreeMap<GroupId, Vec<&Nesting>> = BTreeMap::new();
    for nesting in nestings {
        below.entry(nesting.group).or_default().push(nesting);
    }
    let mut ways = Ways::from([(root.id, vec![root.display_name.clone()])]);
    let mut next = VecDeque::from([root.id]);
    while let Some(group) = next.pop_front() {
        let way = ways.get(&group).cloned().unwrap_or_default();
        for nesting in below.get(&group).into_iter().flatten() {
            if let Entry::Vacant(vacant) = ways.entry(nesting.member) {
                vacant.insert(way.iter().cloned().chain([nesting.display.clone()]).collect());
                next.push_back(nesting.member);
            }
        }
    }
    ways
}
