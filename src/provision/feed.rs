//! The changes of the directory, for a reader who keeps a copy of it.
//!
//! The trail gives them their order: each event has a position that follows from when it was sealed behind
//! its commit, without gaps, so a reader who was at a position misses nobody who commits late. What is
//! delivered is not the event but what its target is now. Whoever reads on to the end has the directory as
//! it is, however far behind it began and whatever changes meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::reader::{ShownAccount, ShownGroup, show, show_groups};
use super::{Provision, Result};
use crate::directory::chain::{Hash, origin};
use crate::directory::ids::AuditId;
use crate::directory::{AccountId, GroupId, InstanceId, MemberId, MemberKind};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::chain;
use crate::store::feed::{self, About, Step};
use crate::store::{Tx, accounts};

/// The bytes of a hash that a cursor carries: enough to notice that a place is that of another history.
const HASH_BYTES_CARRIED: usize = 8;

/// The bytes of a cursor: the instance, the position, and the start of the hash.
const CURSOR_BYTES: usize = 16 + 8 + HASH_BYTES_CARRIED;

/// A part of the feed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Changes {
    /// What has changed, as it is now, each once.
    pub changes: Vec<Change>,
    /// Where the next part begins.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
}

/// Something that has changed, as it is now.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Change {
    /// An account.
    Account {
        /// Which one.
        id: AccountId,
        /// Whether it is there.
        state: State,
        /// The account, if it is live.
        account: Option<Box<ShownAccount>>,
    },
    /// A group.
    Group {
        /// Which one.
        id: GroupId,
        /// Whether it is there. A group that does not enter the directory is delivered as deleted.
        state: State,
        /// The group, if it is live.
        group: Option<ShownGroup>,
    },
    /// A membership, whatever has become of its ends.
    Membership {
        /// The group.
        group: GroupId,
        /// The account or the group that belongs to it, or did.
        member: MemberId,
        /// Which of the two; `None` if it is not there.
        member_kind: Option<MemberKind>,
        /// Whether it is there.
        present: bool,
    },
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Live,
    /// It is not there now, and can come back with the same memberships.
    Deleted,
    /// It is gone for good, with all memberships that name it.
    Purged,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Account(Uuid),
    Group(Uuid),
    Membership(GroupId, MemberId),
}

impl Provision {
    /// What the next `limit` events behind a place in the feed are about, as it is now; from the beginning
    /// without a place.
    ///
    /// Refused with `invalidCursor` where the place is none of this instance; with 410 where the trail is
    /// another one than that in which the place was.
    pub async fn changes(
        &self,
        instance: InstanceId,
        since: Option<&str>,
        limit: i64,
    ) -> Result<Changes> {
        let start = match since {
            Some(text) => Place::read(instance, text)?,
            None => Place::beginning(instance),
        };
        let mut tx = self.store.read().await?;
        // The link of the place itself, and one that tells whether there is more.
        let mut steps = feed::steps(&mut tx, instance, start.position, limit + 2).await?;
        if start.position > 0 {
            if !steps.first().is_some_and(|step| start.is_at(step)) {
                return Err(gone().into());
            }
            steps.remove(0);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = steps.len() > limit;
        steps.truncate(limit);
        let last = steps.last().map(|step| Place::at(step.position, &step.hash));
        let named = named(&mut tx, instance, &steps).await?;
        let changes = current(&mut tx, instance, &named).await?;
        Ok(Changes { changes, next: last.unwrap_or(start).cursor(instance), more })
    }
}

/// The place behind all that is sealed now.
pub(super) async fn cursor_now(tx: &mut Tx, instance: InstanceId) -> Result<String> {
    let head = chain::head(tx, instance).await?;
    let place = head
        .filter(|head| head.position > 0)
        .map_or_else(|| Place::beginning(instance), |head| Place::at(head.position, &head.hash));
    Ok(place.cursor(instance))
}

/// A place in the trail of an instance, behind a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    position: i64,
    hash: [u8; HASH_BYTES_CARRIED],
}

impl Place {
    fn beginning(instance: InstanceId) -> Self {
        let hash: Hash = origin(instance);
        Self::at(0, &hash)
    }

    fn at(position: i64, hash: &[u8]) -> Self {
        let mut carried = [0; HASH_BYTES_CARRIED];
        for (place, byte) in carried.iter_mut().zip(hash) {
            *place = *byte;
        }
        Self { position, hash: carried }
    }

    fn is_at(self, step: &Step) -> bool {
        Self::at(step.position, &step.hash) == self
    }

    /// The place as a reader carries it. Nothing in it is secret.
    fn cursor(self, instance: InstanceId) -> String {
        let position = self.position.to_be_bytes();
        let bytes = [instance.0.as_bytes().as_slice(), &position, &self.hash].concat();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(instance: InstanceId, text: &str) -> std::result::Result<Self, ScimError> {
        let wrong = || {
            ScimError::new(
                ErrorKind::InvalidCursor,
                "since is no cursor of this directory's changes: send the \"next\" of the last answer \
                 as it is, or leave it out to begin from the beginning",
            )
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| wrong())?;
        let (of, place) = bytes.split_at(16);
        let (position, hash) = place.split_at(8);
        let position = position.try_into().map(i64::from_be_bytes).map_err(|_| wrong())?;
        let place = Self::at(position, hash);
        let begins = position == 0 && place == Self::beginning(instance);
        if of != instance.0.as_bytes() || !(begins || position > 0) {
            return Err(wrong());
        }
        Ok(place)
    }
}

fn gone() -> ScimError {
    ScimError::new(
        ErrorKind::Gone,
        "the history that this cursor belongs to is not there any more, as when the database was \
         restored from a backup: read everything again, without since",
    )
}

/// What the events of some links are about, each once, in the order in which it comes first. A membership
/// comes behind its group, which changes with it.
async fn named(tx: &mut Tx, instance: InstanceId, steps: &[Step]) -> Result<Vec<Named>> {
    let events: Vec<AuditId> = steps.iter().map(|step| step.event).collect();
    let found = feed::about(tx, instance, &events).await?.into_iter();
    let found: BTreeMap<AuditId, About> = found.map(|about| (about.event, about)).collect();
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for about in events.iter().filter_map(|event| found.get(event)) {
        let membership = |member| Named::Membership(GroupId(about.target), member);
        let (one, other) = match about.target_kind.as_str() {
            "account" => (Named::Account(about.target), None),
            "group" => (Named::Group(about.target), about.member.map(membership)),
            _ => continue,
        };
        all.extend([Some(one), other].into_iter().flatten().filter(|named| seen.insert(*named)));
    }
    Ok(all)
}

/// What is there now of what was named.
async fn current(tx: &mut Tx, instance: InstanceId, named: &[Named]) -> Result<Vec<Change>> {
    let (mut people, mut teams, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for one in named {
        match *one {
            Named::Account(id) => people.push(id),
            Named::Group(id) => teams.push(id),
            Named::Membership(group, member) => pairs.push((group, member)),
        }
    }
    let mut people = current_accounts(tx, instance, &people).await?;
    let mut teams = current_groups(tx, instance, &teams).await?;
    let pairs = feed::memberships(tx, instance, &pairs).await?.into_iter();
    let pairs: BTreeMap<_, _> = pairs.map(|one| ((one.group, one.member), one.kind)).collect();
    let change = |one: &Named| match *one {
        Named::Account(id) => {
            let (state, account) = people.remove(&id).unwrap_or((State::Purged, None));
            Change::Account { id: AccountId(id), state, account: account.map(Box::new) }
        }
        Named::Group(id) => {
            let (state, group) = teams.remove(&id).unwrap_or((State::Purged, None));
            Change::Group { id: GroupId(id), state, group }
        }
        Named::Membership(group, member) => {
            let member_kind = pairs.get(&(group, member)).copied();
            Change::Membership { group, member, member_kind, present: member_kind.is_some() }
        }
    };
    Ok(named.iter().map(change).collect())
}

/// Things by their ids, as they are now; what is not there has no row any more.
type Current<T> = BTreeMap<Uuid, (State, Option<T>)>;

async fn current_accounts(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Current<ShownAccount>> {
    let wanted: Vec<AccountId> = ids.iter().copied().map(AccountId).collect();
    let live = accounts::some(tx, instance, &wanted).await?;
    let live = show(tx, instance, &live).await?.into_iter();
    let mut found: Current<ShownAccount> =
        live.map(|account| (account.id.0, (State::Live, Some(account)))).collect();
    let rest: Vec<Uuid> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    let kept = feed::kept_accounts(tx, instance, &rest).await?;
    found.extend(kept.into_iter().map(|id| (id, (State::Deleted, None))));
    Ok(found)
}

async fn current_groups(
    tx: &mut Tx,
    instance: InstanceId,
    ids: &[Uuid],
) -> Result<Current<ShownGroup>> {
    let live = feed::entered_groups(tx, instance, ids).await?;
    let live = show_groups(tx, instance, &live).await?.into_iter();
    let mut found: Current<ShownGroup> =
        live.map(|group| (group.id.0, (State::Live, Some(group)))).collect();
    let rest: Vec<Uuid> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    let kept = feed::kept_groups(tx, instance, &rest).await?;
    found.extend(kept.into_iter().map(|id| (id, (State::Deleted, None))));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_in_its_instance_alone() {
        for place in
            [Place::beginning(instance(1)), Place::at(1, &[7; 32]), Place::at(i64::MAX, &[])]
        {
            let cursor = place.cursor(instance(1));
            assert_eq!(Place::read(instance(1), &cursor).ok(), Some(place));
            assert!(Place::read(instance(2), &cursor).is_err());
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let strange = Place::at(0, &[1; 32]).cursor(instance(1));
        let negative = Place::at(-1, &[1; 32]).cursor(instance(1));
        let cut = Place::at(1, &[1; 32]).cursor(instance(1));
        for text in ["", "x", "ä", &strange, &negative, cut.get(1..).unwrap_or_default()] {
            let kind = Place::read(instance(1), text).map_err(|error| error.kind);
            assert_eq!(kind, Err(ErrorKind::InvalidCursor), "{text}");
        }
    }
}
