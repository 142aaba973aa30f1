//! Groups with so many members that an answer cannot hold them: they are read page by page while it is
//! written.
//!
//! Each page is read for itself, behind the last member of the page before. A snapshot would be one picture of
//! the group, but it would keep a connection, and on SQLite the log of writes, for as long as a client likes
//! to read. So whoever is a member all the while is written once, whoever comes or goes meanwhile may be
//! there or not, and the entity tag is that of the members from before the first page: a client that asks
//! again learns of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::groups::Groups;
use super::resource::Resource;
use super::{Caller, Provision, Result, render};
use crate::directory::{GroupId, InstanceId, MemberId};
use crate::scim::Document;
use crate::scim::project::Projection;
use crate::scim::schema::ResourceType;
use crate::scim::version::Fingerprint;
use crate::store::memberships::{self, Member};
use crate::store::query::Viewer;
use crate::store::{BATCH_MAX, StoreError, Tx};

/// The members that an answer holds at most, of all its groups together; those of groups beyond are read
/// while it is written.
pub const HELD_MEMBERS_MAX: i64 = 5_000;

/// The members that are read at a time.
const PAGE: i64 = 1_000;

/// How the attribute of a resource that is made of other rows is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Related {
    /// Not at all.
    Without,
    /// All of it: somebody looks into it.
    Whole,
    /// As much as an answer can hold; the rest while the answer is written.
    Parted,
}

impl Related {
    /// What an answer needs.
    pub(super) fn shown(wanted: bool) -> Self {
        if wanted { Self::Parted } else { Self::Without }
    }

    /// What a condition needs.
    pub(super) fn regarded(regarded: bool) -> Self {
        if regarded { Self::Whole } else { Self::Without }
    }
}

/// A resource as it is answered.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// What is to be written. Its `members` are an empty list if they are parted.
    pub document: Document,
    /// The members that are read while it is written.
    pub parted: Option<Parted>,
}

/// The members of a group that are still to be read, as a client asked for them.
#[derive(Debug, Clone)]
pub struct Parted {
    caller: Caller,
    projection: Projection,
    group: GroupId,
    after: Option<MemberId>,
    ended: bool,
}

impl Parted {
    /// The instance of the group.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.caller.instance
    }
}

impl From<Document> for Sheet {
    fn from(document: Document) -> Self {
        Self { document, parted: None }
    }
}

impl Sheet {
    /// What a client asked for of it.
    pub(super) fn projected(self, kind: &ResourceType, projection: &Projection) -> Self {
        let mut document = projection.apply(kind, self.document);
        let Some(parted) = self.parted else { return document.into() };
        // One of the members stood for all of them: if nothing is shown of it, neither is of the others.
        let Some(Value::Array(sample)) = document.get_mut("members") else {
            return document.into();
        };
        sample.clear();
        let parted = Parted { projection: projection.clone(), ..parted };
        Self { document, parted: Some(parted) }
    }
}

impl Provision {
    /// The next members of a parted group, as they are shown; none at the end.
    pub async fn next_members(&self, parted: &mut Parted) -> Result<Vec<Value>> {
        if parted.ended {
            return Ok(Vec::new());
        }
        let caller = &parted.caller;
        let mut tx = self.store.read().await?;
        let members = page(&mut tx, caller, parted.group, parted.after).await?;
        drop(tx);
        parted.ended = is_last(&members);
        parted.after = members.last().map(|member| member.id);
        let shown = members.iter().map(|member| render::member(caller, member)).collect();
        let alone = Document::from_iter([("members".to_owned(), Value::Array(shown))]);
        let mut alone = parted.projection.apply(Groups::kind(&caller.schemas), alone);
        match alone.shift_remove("members") {
            Some(Value::Array(members)) => Ok(members),
            _ => Ok(Vec::new()),
        }
    }
}

/// The members of some groups, as far as an answer holds them.
#[derive(Debug, Default)]
pub(super) struct Held {
    members: Vec<Member>,
    /// The groups whose members are not all here, each with one of them and the fingerprint of all.
    parted: BTreeMap<GroupId, (Vec<Member>, Fingerprint)>,
}

impl Held {
    /// Reads all members, or as many as an answer holds.
    pub(super) async fn read(
        tx: &mut Tx,
        caller: &Caller,
        groups: &[GroupId],
        related: Related,
    ) -> std::result::Result<Self, StoreError> {
        let (instance, viewer) = (caller.instance, caller.viewer());
        match related {
            Related::Without => Ok(Self::default()),
            Related::Whole => {
                let members =
                    memberships::of_groups(tx, instance, viewer, groups, i64::MAX).await?;
                Ok(Self { members, parted: BTreeMap::new() })
            }
            Related::Parted => Self::parted(tx, caller, groups).await,
        }
    }

    async fn parted(
        tx: &mut Tx,
        caller: &Caller,
        groups: &[GroupId],
    ) -> std::result::Result<Self, StoreError> {
        let (instance, viewer) = (caller.instance, caller.viewer());
        let groups: Vec<GroupId> = BTreeSet::from_iter(groups).into_iter().copied().collect();
        let mut held = Self::default();
        for groups in groups.chunks(BATCH_MAX) {
            let left = HELD_MEMBERS_MAX - count(&held.members);
            let read = memberships::of_groups(tx, instance, viewer, groups, left + 1).await?;
            let cut = read.last().filter(|_| count(&read) > left).map(|last| last.group);
            let whole = read.into_iter().take_while(|member| Some(member.group) != cut);
            held.members.extend(whole);
            let Some(cut) = cut else { continue };
            for group in groups.iter().filter(|group| **group >= cut) {
                let seen = look_through(tx, caller, *group).await?;
                held.parted.insert(*group, seen);
            }
        }
        Ok(held)
    }

    /// The members of a group that are to be shown, the fingerprint of all of them, and whether there are
    /// others.
    pub(super) fn of(&self, group: GroupId) -> (&[Member], Fingerprint, bool) {
        if let Some((sample, all)) = self.parted.get(&group) {
            return (sample, all.clone(), !sample.is_empty());
        }
        let start = self.members.partition_point(|member| member.group < group);
        let end = self.members.partition_point(|member| member.group <= group);
        let members = self.members.get(start..end).unwrap_or_default();
        (members, Fingerprint::of(members.iter().map(|member| member.id)), false)
    }
}

/// The sheet of a group whose members are parted, in which one member stands for all of them.
pub(super) fn parted(caller: &Caller, group: GroupId, document: Document) -> Sheet {
    let parted = Parted {
        caller: caller.clone(),
        projection: Projection::default(),
        group,
        after: None,
        ended: false,
    };
    Sheet { document, parted: Some(parted) }
}

/// One member of a group, and the fingerprint of all.
async fn look_through(
    tx: &mut Tx,
    caller: &Caller,
    group: GroupId,
) -> std::result::Result<(Vec<Member>, Fingerprint), StoreError> {
    let (mut all, mut sample, mut after) = (Fingerprint::default(), Vec::new(), None);
    loop {
        let members = page(tx, caller, group, after).await?;
        for member in &members {
            all.add(&member.id);
        }
        after = members.last().map(|member| member.id);
        let ended = is_last(&members);
        if sample.is_empty() {
            sample.extend(members.into_iter().next());
        }
        if ended {
            return Ok((sample, all));
        }
    }
}

/// The next members of a group behind one of them.
async fn page(
    tx: &mut Tx,
    caller: &Caller,
    group: GroupId,
    after: Option<MemberId>,
) -> std::result::Result<Vec<Member>, StoreError> {
    let (instance, viewer): (InstanceId, Viewer) = (caller.instance, caller.viewer());
    memberships::direct(tx, instance, viewer, group, after.map(|id| id.0), PAGE).await
}

fn is_last(page: &[Member]) -> bool {
    count(page) < PAGE
}

fn count(members: &[Member]) -> i64 {
    i64::try_from(members.len()).unwrap_or(i64::MAX)
}
