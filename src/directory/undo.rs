//! Taking back: what a change left behind is put back as it was, where nobody has changed it since.
//!
//! The audit trail keeps of each change what differed before and after. A change is taken back facet by
//! facet: an attribute, the connection, the administrator's word. What follows from the facts, such as the
//! status, is for the rules to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccountId, ConnectionId, RunId, Timestamp};

/// The facet that says that an account or a group is deleted; it is there only if so.
pub const DELETED: &str = "deleted";

/// What the facets of fields begin with that administrators wrote.
pub const LOCAL_FIELD: &str = "fields.";

/// What the trail says of accounts and groups that follows from the facts, or is said of the change.
const DERIVED: [&str; 9] = [
    "status",
    "statusReason",
    "inScope",
    "manager",
    "managerWaits",
    "missing",
    "cause",
    "entered",
    "fields",
];

/// The changes that can be taken back.
const ACTIONS: [&str; 25] = [
    "account.created",
    "account.changed",
    "account.picked_up",
    "account.deleted",
    "account.recreated",
    "account.restored",
    "account.held",
    "account.released",
    "account.suspended",
    "account.reactivated",
    "account.made_local",
    "account.protected",
    "account.unprotected",
    "account.fields_set",
    "account.migrated",
    "account.undone",
    "account.held_change",
    "account.held_change_discarded",
    "group.created",
    "group.changed",
    "group.picked_up",
    "group.deleted",
    "group.undone",
    "group.held_change",
    "group.held_change_discarded",
];

/// What is known of an account or a group by names; what is absent has no entry.
pub type Facets = BTreeMap<String, Value>;

/// What an administrator takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// What happened to one person since a time: the account, and the groups it joined and left.
    Account {
        /// The person.
        account: AccountId,
        /// Since when.
        since: Timestamp,
    },
    /// What one run did.
    Run {
        /// The run.
        run: RunId,
    },
    /// What one connection did since a time, by pushes and by runs.
    Connection {
        /// The connection.
        connection: ConnectionId,
        /// Since when.
        since: Timestamp,
    },
}

impl Undo {
    /// Since when events count; `None` if the time makes no difference.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Account { since, .. } | Self::Connection { since, .. } => Some(*since),
            Self::Run { .. } => None,
        }
    }
}

/// A change of an account or a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What differed before.
    pub before: Facets,
    /// What differed afterwards.
    pub after: Facets,
    /// Whether there was nothing before, so that `after` is all there was.
    pub is_creation: bool,
}

impl Change {
    /// The change that an event of the trail tells of; `None` if it tells of none that can be taken back.
    #[must_use]
    pub fn read(action: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Self> {
        if !ACTIONS.contains(&action) {
            return None;
        }
        let side = |side: Option<&Value>| side.and_then(Value::as_object).map(facets);
        let (after, is_creation) = (side(after)?, before.is_none());
        let before = side(before).unwrap_or_else(|| {
            // Before it was created it was nothing; taken back, it is a tombstone that says the same.
            let mut before = after.clone();
            before.insert(DELETED.to_owned(), true.into());
            before
        });
        Some(Self { before, after, is_creation })
    }
}

/// What the trail says of an account or a group, as facets: without what follows from others.
#[must_use]
pub fn facets(said: &Map<String, Value>) -> Facets {
    let is_fact = |(name, value): &(&String, &Value)| {
        !value.is_null() && !DERIVED.contains(&name.as_str()) && *name != DELETED
    };
    let mut facets: Facets =
        said.iter().filter(is_fact).map(|(name, value)| (name.clone(), value.clone())).collect();
    let fields = said.get("fields").and_then(Value::as_object).into_iter().flatten();
    facets.extend(fields.map(|(name, value)| (format!("{LOCAL_FIELD}{name}"), value.clone())));
    let is_deleted = said.get("status").and_then(Value::as_str) == Some("deleted")
        || said.get(DELETED) == Some(&Value::Bool(true));
    if is_deleted {
        facets.insert(DELETED.to_owned(), true.into());
    }
    facets
}

/// What becomes of the facets of an account or a group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TakenBack {
    /// What each facet is to be again; `None` if there was none.
    pub facets: BTreeMap<String, Option<Value>>,
    /// The facets that were changed since, and stay as they are.
    pub changed_since: BTreeSet<String>,
}

/// Takes a change back from what is there now.
///
/// What was deleted since is not edited, and what was edited since is not deleted: both wait for who takes
/// back the later change first.
#[must_use]
pub fn take_back(now: &Facets, change: &Change) -> TakenBack {
    let mut names: BTreeSet<&String> = change.before.keys().chain(change.after.keys()).collect();
    if change.is_creation {
        // What was added since was not there.
        names.extend(now.keys());
    }
    let is_same = |name: &&String| now.get(*name) == change.after.get(*name);
    let (same, changed): (Vec<&String>, Vec<&String>) = names.iter().copied().partition(is_same);
    let owned = |names: &[&String]| names.iter().map(|name| (*name).clone()).collect();
    let comes_or_goes = names.contains(&DELETED.to_owned());
    let refuse = |why: BTreeSet<String>| TakenBack { changed_since: why, ..TakenBack::default() };
    if now.contains_key(DELETED) != change.after.contains_key(DELETED) {
        return refuse(BTreeSet::from([DELETED.to_owned()]));
    }
    if comes_or_goes && change.before.contains_key(DELETED) && !changed.is_empty() {
        return refuse(owned(&changed));
    }
    let was = |name: &&String| ((*name).clone(), change.before.get(*name).cloned());
    let differs = |name: &&&String| change.before.get(**name) != change.after.get(**name);
    let facets = same.iter().filter(differs).map(was).collect();
    TakenBack { facets, changed_since: owned(&changed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn change(action: &str, before: Option<&Value>, after: &Value) -> Change {
        Change::read(action, before, Some(after)).unwrap()
    }

    fn now(said: &Value) -> Facets {
        facets(said.as_object().unwrap())
    }

    #[test]
    fn only_what_is_still_so_is_put_back() {
        let renamed = change(
            "account.changed",
            Some(&json!({ "userName": "a", "title": "x", "status": "active" })),
            &json!({ "userName": "b", "active": false, "status": "suspended", "cause": {} }),
        );
        let taken = take_back(&now(&json!({ "userName": "c", "active": false })), &renamed);
        let expected =
            BTreeMap::from([("active".to_owned(), None), ("title".to_owned(), Some(json!("x")))]);
        assert_eq!(taken.facets, expected);
        assert_eq!(taken.changed_since, BTreeSet::from(["userName".to_owned()]));
    }

    #[test]
    fn who_was_created_is_deleted_only_if_nothing_happened_since() {
        let created =
            change("account.created", None, &json!({ "userName": "a", "status": "active" }));
        let gone = BTreeMap::from([(DELETED.to_owned(), Some(json!(true)))]);
        assert_eq!(take_back(&now(&json!({ "userName": "a" })), &created).facets, gone);
        assert!(take_back(&now(&json!({ "userName": "b" })), &created).facets.is_empty());
        let held = now(&json!({ "userName": "a", "hand": "held" }));
        assert!(take_back(&held, &created).facets.is_empty());
        let deleted = now(&json!({ "userName": "a", "status": "deleted" }));
        let since = take_back(&deleted, &created).changed_since;
        assert_eq!(since, BTreeSet::from([DELETED.to_owned()]));
    }

    #[test]
    fn who_was_deleted_comes_back_and_is_not_edited_before() {
        let deleted = change(
            "account.deleted",
            Some(&json!({ "status": "active" })),
            &json!({ "status": "deleted", "statusReason": "…", "hand": "deleted" }),
        );
        let tombstone = now(&json!({ "userName": "a", "status": "deleted", "hand": "deleted" }));
        let back = BTreeMap::from([(DELETED.to_owned(), None), ("hand".to_owned(), None)]);
        assert_eq!(take_back(&tombstone, &deleted).facets, back);
        let edited = change("account.changed", Some(&json!({})), &json!({ "userName": "a" }));
        assert!(take_back(&tombstone, &edited).facets.is_empty());
    }

    #[test]
    fn what_tells_of_no_change_is_no_change() {
        for action in
            ["account.claim_asked", "account.manager_linked", "account.purged", "key.issued"]
        {
            assert_eq!(Change::read(action, None, Some(&json!({ "userName": "a" }))), None);
        }
        // What was erased says nothing any more.
        assert_eq!(Change::read("account.changed", None, None), None);
    }

    fn some() -> impl Strategy<Value = Facets> {
        let name = prop_oneof![Just("a"), Just("b"), Just("c")];
        proptest::collection::btree_map(
            name.prop_map(str::to_owned),
            (0..3).prop_map(Value::from),
            0..3,
        )
    }

    fn applied(now: &Facets, taken: &TakenBack) -> Facets {
        let mut now = now.clone();
        for (name, value) in &taken.facets {
            match value {
                Some(value) => now.insert(name.clone(), value.clone()),
                None => now.remove(name),
            };
        }
        now
    }

    proptest! {
        /// A history that is taken back from its end leads to its beginning.
        #[test]
        fn a_history_leads_back_to_its_beginning(states in proptest::collection::vec(some(), 1..6)) {
            let differing = |one: &Facets, other: &Facets| -> Facets {
                let differs = |(name, value): &(&String, &Value)| other.get(*name) != Some(*value);
                one.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect()
            };
            let mut now = states.last().cloned().unwrap_or_default();
            for pair in states.windows(2).rev() {
                let [was, is] = pair else { continue };
                let (before, after) = (differing(was, is), differing(is, was));
                let change = Change { before, after, is_creation: false };
                let taken = take_back(&now, &change);
                prop_assert!(taken.changed_since.is_empty());
                now = applied(&now, &taken);
            }
            prop_assert_eq!(Some(&now), states.first());
        }

        /// What somebody has changed since is never overwritten, and taking back the undo leads back.
        #[test]
        fn an_undo_is_undone(was in some(), is in some(), now in some()) {
            let change = Change { before: was, after: is, is_creation: false };
            let taken = take_back(&now, &change);
            let after = applied(&now, &taken);
            for name in &taken.changed_since {
                prop_assert_eq!(after.get(name), now.get(name));
            }
            let undone = Change { before: now.clone(), after: after.clone(), is_creation: false };
            prop_assert_eq!(applied(&after, &take_back(&after, &undone)), now);
        }
    }
}
