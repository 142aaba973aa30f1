//! The lines of a report: what became of a person, and what differs.

use serde_json::{Value, json};

use super::enters;
use crate::directory::source::Outcome;
use crate::directory::{Account, Status};
use crate::provision::Users;
use crate::provision::resource::Resource;
use crate::scim::extension::hide;
use crate::scim::schema::ResourceType;
use crate::store::audit;
use crate::store::run_items::Item;

/// A row that was left out, and why.
pub(in crate::provision) fn skipped(line: i64, name: &str, reason: &str) -> Item {
    Item {
        outcome: Outcome::Skipped,
        line: Some(line),
        name: name.to_owned(),
        account: None,
        detail: Some(json!({ "reason": reason })),
    }
}

/// What became of an account, which was Local before if it was `picked_up`; nothing if it is as it was.
pub(in crate::provision) fn item(
    kind: &ResourceType,
    before: Option<&Account>,
    after: &Account,
    picked_up: bool,
    line: Option<i64>,
) -> Option<Item> {
    if before.is_some_and(|before| before.version == after.version) {
        return None;
    }
    Some(Item {
        outcome: outcome(before, after, picked_up),
        line,
        name: after.user_name.clone(),
        account: Some(after.id),
        detail: before.map(|before| difference(kind, before, after)),
    })
}

/// The same, with the groups that the person was in and is in.
pub(super) fn with(mut item: Item, groups: &(Vec<String>, Vec<String>)) -> Item {
    let (was, is) = groups;
    let mut detail = item.detail.take().unwrap_or_else(|| json!({ "before": {}, "after": {} }));
    for (side, names) in [("before", was), ("after", is)] {
        if let Some(Value::Object(side)) = detail.get_mut(side) {
            side.insert("groups".to_owned(), json!(names));
        }
    }
    Item { detail: Some(detail), ..item }
}

/// The one word that matters most: what it means for the person's access, then where the account comes
/// from.
fn outcome(before: Option<&Account>, after: &Account, picked_up: bool) -> Outcome {
    let was = before.map(|before| before.status);
    match (was, after.status) {
        (was, Status::Blocked) if was != Some(Status::Blocked) => Outcome::Blocked,
        (None, _) if !picked_up => Outcome::Created,
        (Some(was), Status::Suspended) if enters(was) => Outcome::Suspended,
        _ if picked_up => Outcome::PickedUp,
        (Some(Status::Suspended), Status::Active) => Outcome::Reactivated,
        _ => Outcome::Updated,
    }
}

fn difference(kind: &ResourceType, before: &Account, after: &Account) -> Value {
    let (was, is) = (Users::facets(before), Users::facets(after));
    let side = |one, other| {
        let mut differing = audit::differing(one, other);
        hide(kind, &mut differing);
        differing
    };
    json!({ "before": side(&was, &is), "after": side(&is, &was) })
}
