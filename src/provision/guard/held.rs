//! What the guard holds for a connection, for administrators to look at.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::super::{Provision, Result};
use crate::directory::push_guard::{LossKind, Losses, PushGuard};
use crate::directory::{Account, Connection, Group, Status, Timestamp};
use crate::store::Tx;
use crate::store::guard::{self, Holding, People};
use crate::store::held::{self as rows, Locked, Wanted};

/// What is held that one page of a list has at most, and one transaction of a decision.
pub const GUARD_PAGE: i64 = 200;

/// The guard of a connection as it stands.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct GuardState {
    /// Its limits.
    pub limits: PushGuard,
    /// The losses in the window that came through.
    pub lost: Losses,
    /// What it holds.
    pub holding: Holding,
    /// The people of the connection.
    pub people: People,
}

/// Something that a client has said and the guard holds.
#[derive(Debug, Clone, serde::Serialize)]
pub struct HeldChange {
    /// What would be lost.
    pub kind: LossKind,
    /// Whether it is an `account` or a `group`, or a `member` of one.
    pub of: &'static str,
    /// The account or group that is suspended, deleted or leaves.
    pub id: Uuid,
    /// Its user name, or its name.
    pub name: String,
    /// The status of the account now.
    pub status: Option<Status>,
    /// The group that it leaves.
    pub group: Option<String>,
    /// The id of that group.
    pub group_id: Option<Uuid>,
    /// When the client said so.
    pub said_at: Option<Timestamp>,
    /// Where a list goes on behind it.
    pub mark: HeldMark,
}

/// The lists of what is held, in the order in which they are shown and decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Suspensions,
    Deletions,
    Removals,
    GroupDeletions,
}

impl Stage {
    pub(super) const ALL: [Self; 4] =
        [Self::Suspensions, Self::Deletions, Self::Removals, Self::GroupDeletions];

    fn word(self) -> &'static str {
        match self {
            Self::Suspensions => "suspension",
            Self::Deletions => "deletion",
            Self::Removals => "removal",
            Self::GroupDeletions => "group",
        }
    }

    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|stage| *stage != self).nth(1)
    }
}

/// A place in the list of what is held: written as `suspension/ID`, `removal/GROUP/MEMBER` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldMark {
    stage: Stage,
    id: Uuid,
    member: Option<Uuid>,
}

impl fmt::Display for HeldMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stage.word(), self.id)?;
        self.member.map_or(Ok(()), |member| write!(f, "/{member}"))
    }
}

impl FromStr for HeldMark {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "is no place in this list: take it from the end of a page".to_owned();
        let mut parts = text.split('/');
        let word = parts.next().unwrap_or_default();
        let stage = Stage::ALL.into_iter().find(|stage| stage.word() == word).ok_or_else(wrong)?;
        let id = parts.next().and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        let member = match parts.next() {
            None => None,
            Some(member) => Some(member.parse().map_err(|_| wrong())?),
        };
        Ok(Self { stage, id, member })
    }
}

impl serde::Serialize for HeldMark {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Provision {
    /// The limits of a connection, how far they are used up, and how much is held.
    pub async fn guard_state(&self, connection: &Connection) -> Result<GuardState> {
        let mut tx = self.store.read().await?;
        state(&mut tx, connection, self.clock.now()).await
    }

    /// What the guard holds for a connection, a page of it from behind a place.
    pub async fn held_changes(
        &self,
        connection: &Connection,
        after: Option<HeldMark>,
        limit: i64,
    ) -> Result<Vec<HeldChange>> {
        let mut tx = self.store.read().await?;
        let (mut found, mut stage) = (Vec::new(), after.map(|after| after.stage));
        let mut after = after;
        stage = stage.or(Some(Stage::Suspensions));
        while let Some(now) = stage {
            let left = limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
            if left <= 0 {
                break;
            }
            found.extend(list(&mut tx, connection, now, after.take(), left).await?);
            stage = now.next();
        }
        Ok(found)
    }
}

pub(super) async fn state(
    tx: &mut Tx,
    connection: &Connection,
    now: Timestamp,
) -> Result<GuardState> {
    let (instance, id, limits) = (connection.instance, connection.id, connection.settings.guard);
    let mut lost = [0; 3];
    for (lost, &kind) in lost.iter_mut().zip(LossKind::ALL) {
        *lost = guard::lost(tx, instance, id, kind, limits.since(now)).await?;
    }
    let [suspensions, deletions, removals] = lost;
    Ok(GuardState {
        limits,
        lost: Losses { suspensions, deletions, removals },
        holding: guard::holding(tx, instance, id).await?,
        people: guard::people(tx, instance, id).await?,
    })
}

async fn list(
    tx: &mut Tx,
    connection: &Connection,
    stage: Stage,
    after: Option<HeldMark>,
    limit: i64,
) -> Result<Vec<HeldChange>> {
    let (instance, id) = (connection.instance, connection.id);
    let place = after.map(|after| after.id);
    let wanted = Wanted { instance, connection: id, only: None, after: place, limit };
    Ok(match stage {
        Stage::Suspensions => {
            let accounts = rows::suspended(tx, wanted, Locked::No).await?;
            accounts.iter().map(|account| of_account(stage, account)).collect()
        }
        Stage::Deletions => {
            let accounts = rows::deleted(tx, wanted, Locked::No).await?;
            accounts.iter().map(|account| of_account(stage, account)).collect()
        }
        Stage::GroupDeletions => {
            let groups = rows::deleted_groups(tx, wanted, Locked::No).await?;
            groups.iter().map(of_group).collect()
        }
        Stage::Removals => removals(tx, wanted, after).await?,
    })
}

fn of_account(stage: Stage, account: &Account) -> HeldChange {
    let (kind, said_at) = match stage {
        Stage::Suspensions => (LossKind::Suspension, account.suspension_held_at),
        _ => (LossKind::Deletion, account.deletion_held_at),
    };
    HeldChange {
        kind,
        of: "account",
        id: account.id.0,
        name: account.user_name.clone(),
        status: Some(account.status),
        group: None,
        group_id: None,
        said_at,
        mark: HeldMark { stage, id: account.id.0, member: None },
    }
}

fn of_group(group: &Group) -> HeldChange {
    HeldChange {
        kind: LossKind::Deletion,
        of: "group",
        id: group.id.0,
        name: group.display_name.clone(),
        status: None,
        group: None,
        group_id: None,
        said_at: group.deletion_held_at,
        mark: HeldMark { stage: Stage::GroupDeletions, id: group.id.0, member: None },
    }
}

/// Members who leave groups: group by group, from behind a member of the first one.
async fn removals(tx: &mut Tx, wanted: Wanted, after: Option<HeldMark>) -> Result<Vec<HeldChange>> {
    let mut found = Vec::new();
    let within = after.and_then(|after| Some((after.id, after.member?)));
    if let Some((group, member)) = within {
        let only = Wanted { only: Some(group), after: None, ..wanted };
        for group in rows::left_groups(tx, only, Locked::No).await? {
            members(tx, wanted, &group, Some(member), &mut found).await?;
        }
    }
    for group in rows::left_groups(tx, wanted, Locked::No).await? {
        members(tx, wanted, &group, None, &mut found).await?;
    }
    Ok(found)
}

async fn members(
    tx: &mut Tx,
    wanted: Wanted,
    group: &Group,
    after: Option<Uuid>,
    found: &mut Vec<HeldChange>,
) -> Result<()> {
    let left = wanted.limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
    if left <= 0 {
        return Ok(());
    }
    let held = rows::held_members(tx, wanted.instance, group.id, after, left).await?;
    found.extend(held.into_iter().map(|member| HeldChange {
        kind: LossKind::Removal,
        of: "member",
        id: member.id.0,
        name: member.name.unwrap_or_default(),
        status: None,
        group: Some(group.display_name.clone()),
        group_id: Some(group.id.0),
        said_at: Some(member.held_at),
        mark: HeldMark { stage: Stage::Removals, id: group.id.0, member: Some(member.id.0) },
    }));
    Ok(())
}
