//! What the writes of a connection mean for what is Local: picked up, asked for, or refused.
//!
//! Under the policy `with_approval` the client sees a plain success, and what it said is kept beside the
//! directory as an [`Approval`]. Its own reads show those words laid over the Local row; nobody else, and
//! nothing in the directory, knows of them before an administrator accepts.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::members::MemberChange;
use super::resource::Resource;
use super::{Caller, Related, Result, Sheet, Sought, not_found, render, taken};
use crate::directory::rules::{Claim, claim};
use crate::directory::{Approval, ApprovalId, ApprovalState, GroupId, PickUp, Timestamp};
use crate::scim::extension::hide;
use crate::scim::version::{Expected, tag};
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::audit::{self, Author};
use crate::store::memberships::{self, Member};
use crate::store::{StoreError, Tx, claims};

/// What a write by the caller means for the ownership of a row.
pub(super) fn standing<R: Resource>(row: &R::Row, caller: &Caller) -> Claim {
    claim(R::owner(row), caller.connection, caller.settings.pick_up, R::is_protected(row))
}

/// The same, where the caller may write at all: [`Claim::Own`], [`Claim::PickUp`] or [`Claim::Ask`].
pub(super) fn reach<R: Resource>(row: &R::Row, caller: &Caller) -> Result<Claim> {
    match standing::<R>(row, caller) {
        reached @ (Claim::Own | Claim::PickUp | Claim::Ask) => Ok(reached),
        Claim::Protected => {
            let detail = format!(
                "the {} \"{}\" is protected: no connection can change it; an administrator of the \
                 directory manages it by hand",
                R::NAME,
                R::name(row)
            );
            Err(ScimError::new(ErrorKind::Forbidden, detail).into())
        }
        // The caller cannot see such a row; code that forgets this must not write it either.
        Claim::Foreign | Claim::Refused => Err(not_found(R::NAME, &R::id(row).to_string())),
    }
}

/// The row that a write finds: laid over with what the client has said of it before, if an administrator
/// has not decided yet. A refusal stays in force until the administrator reopens it.
pub(super) async fn meet<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    row: R::Row,
    expected: &Expected,
) -> Result<R::Row> {
    let reached = reach::<R>(&row, caller)?;
    if reached == Claim::Own {
        expected.require(R::version(&row))?;
        return Ok(row);
    }
    let asked = claims::of_target(tx, caller.instance, caller.connection, R::id(&row)).await?;
    let Some(asked) = waiting(asked, |asked| refused::<R>(asked, ErrorKind::Forbidden))? else {
        expected.require(R::version(&row))?;
        return Ok(row);
    };
    if reached == Claim::Ask {
        expected.require(R::version(&row) + asked.version)?;
        return Ok(R::laid_over(row, asked.document));
    }
    // The policy has changed since: what was asked for is picked up now.
    expected.require(R::version(&row))?;
    R::accept(tx, caller, author, row, asked).await
}

/// The Local row of a name that the caller wants to create, if a POST may take it.
pub(super) async fn take_up<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    row: R::Row,
) -> Result<R::Row> {
    let (attribute, name) = (R::NAME_ATTRIBUTE, R::name(&row));
    let refuse = |detail: String| Err(ScimError::new(ErrorKind::Uniqueness, detail).into());
    match standing::<R>(&row, caller) {
        Claim::PickUp | Claim::Ask => {}
        Claim::Own | Claim::Foreign => return Err(taken(attribute, name, R::NOUN)),
        Claim::Protected => {
            return refuse(format!(
                "{attribute} \"{name}\" belongs to a protected {} that no connection can pick up: \
                 take it out of the scope of the identity provider",
                R::NOUN
            ));
        }
        Claim::Refused => {
            return refuse(format!(
                "{attribute} \"{name}\" belongs to a Local {} and the connection \"{}\" picks up none \
                 (its policy is \"never\"): rename or delete the Local one, or set the policy to \
                 by_user_name or with_approval",
                R::NOUN,
                caller.connection_name
            ));
        }
    }
    let asked = claims::of_target(tx, caller.instance, caller.connection, R::id(&row)).await?;
    match waiting(asked, |asked| refused::<R>(asked, ErrorKind::Uniqueness))? {
        // To the client it has been its own since it asked.
        Some(_) if standing::<R>(&row, caller) == Claim::Ask => {
            Err(taken(attribute, name, R::NOUN))
        }
        _ => Ok(row),
    }
}

/// The approval if it waits; an error if it was refused.
fn waiting(
    asked: Option<Approval>,
    refused: impl FnOnce(&Approval) -> ScimError,
) -> Result<Option<Approval>> {
    match asked {
        Some(asked) => match asked.state {
            ApprovalState::Waiting => Ok(Some(asked)),
            ApprovalState::Refused => Err(refused(&asked).into()),
            ApprovalState::Accepted | ApprovalState::Withdrawn => Ok(None),
        },
        None => Ok(None),
    }
}

fn refused<R: Resource>(asked: &Approval, kind: ErrorKind) -> ScimError {
    let detail = format!(
        "an administrator of the directory refused that this connection picks up the Local {} \
         \"{}\": take it out of the scope of the identity provider, or ask the administrator to \
         reopen the approval {}",
        R::NOUN,
        asked.target_name,
        asked.id
    );
    ScimError::new(kind, detail)
}

/// Keeps what the client said of a Local row for an administrator to decide, and answers as if it had
/// happened. The directory stays as it is.
pub(super) async fn ask<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: R::Row,
    document: Document,
    members: Option<MemberChange>,
) -> Result<R::Row> {
    let (instance, target) = (caller.instance, R::id(&before));
    let old = claims::of_target(tx, instance, caller.connection, target).await?;
    let waiting = old.as_ref().filter(|old| old.state == ApprovalState::Waiting);
    let said = waiting.and_then(|old| MemberChange::stored(old.members.as_deref()));
    let members = match (said, members) {
        (Some(said), Some(members)) => Some(said.then(members)),
        (said, members) => said.or(members),
    };
    let members = members.as_ref().and_then(MemberChange::store);
    if waiting.is_some_and(|old| old.document == document && old.members == members) {
        return Ok(R::laid_over(before, document));
    }
    let asked = Approval {
        id: old.as_ref().map_or_else(|| ApprovalId(author.ids.fresh()), |old| old.id),
        connection: caller.connection,
        target,
        kind: R::MEMBER_KIND,
        target_name: waiting
            .map_or_else(|| R::name(&before).to_owned(), |old| old.target_name.clone()),
        document,
        members,
        state: ApprovalState::Waiting,
        version: old.as_ref().map_or(1, |old| old.version + 1),
        asked_at: waiting.map_or(author.at, |old| old.asked_at),
        modified_at: author.at,
        decided_at: None,
    };
    claims::keep(tx, instance, &asked).await?;
    let done = if waiting.is_some() { "claim_changed" } else { "claim_asked" };
    let empty = Document::new();
    let was = R::live_document(&before).unwrap_or(&empty);
    let event = event(author, &asked, done);
    let side = |one: &Document, other: &Document| {
        let mut differing = audit::differing(one, other);
        hide(R::kind(&caller.schemas), &mut differing);
        differing
    };
    let mut after = side(&asked.document, was);
    after.insert("connection".to_owned(), caller.connection.to_string().into());
    if waiting.map(|old| &old.members) != Some(&asked.members) {
        after.insert("members".to_owned(), json!({ "changed": asked.members.is_some() }));
    }
    let event = audit::Event {
        before: Some(side(was, &asked.document).into()),
        after: Some(after.into()),
        rule: Some(caller.settings.pick_up.word().to_owned()),
        ..event
    };
    audit::append(tx, instance, &[event]).await?;
    Ok(R::laid_over(before, asked.document))
}

/// An event about what a connection asks for: `account.claim_asked` and the like.
pub(super) fn event(author: &Author, asked: &Approval, done: &str) -> audit::Event {
    let noun = asked.kind.word();
    author.change(&format!("{noun}.{done}"), noun, asked.target)
}

/// What becomes of a DELETE of something Local: the client takes back what it has asked for. Where it has
/// asked for nothing, it is refused: a connection deletes what it has provisioned, nothing else.
pub(super) async fn withdraw<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    row: R::Row,
    expected: &Expected,
) -> Result<()> {
    let asked = claims::of_target(tx, caller.instance, caller.connection, R::id(&row)).await?;
    let Some(asked) = waiting(asked, |asked| refused::<R>(asked, ErrorKind::Forbidden))? else {
        expected.require(R::version(&row))?;
        let detail = format!(
            "the {} is Local: it belongs to no connection, so an administrator has to delete it",
            R::NAME
        );
        return Err(ScimError::new(ErrorKind::Forbidden, detail).into());
    };
    expected.require(R::version(&row) + asked.version)?;
    let asked = Approval {
        state: ApprovalState::Withdrawn,
        version: asked.version + 1,
        modified_at: author.at,
        ..asked
    };
    claims::keep(tx, caller.instance, &asked).await?;
    let after = Some(json!({ "connection": caller.connection }));
    let event = audit::Event { after, ..event(author, &asked, "claim_withdrawn") };
    Ok(audit::append(tx, caller.instance, &[event]).await?)
}

/// Closes what the caller has asked for on something that it has just picked up.
pub(super) async fn settle(
    tx: &mut Tx,
    caller: &Caller,
    at: Timestamp,
    target: Uuid,
) -> Result<()> {
    let asked = claims::of_target(tx, caller.instance, caller.connection, target).await?;
    let Some(asked) = asked.filter(|asked| asked.state == ApprovalState::Waiting) else {
        return Ok(());
    };
    let asked = Approval {
        state: ApprovalState::Accepted,
        version: asked.version + 1,
        modified_at: at,
        decided_at: Some(at),
        ..asked
    };
    Ok(claims::keep(tx, caller.instance, &asked).await?)
}

/// What the caller reads of some rows: under the policy `with_approval`, its own words are laid over
/// what it waits to pick up. That costs one statement more, and only where something is Local.
pub(super) async fn render<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    rows: &[R::Row],
    related: Related,
) -> std::result::Result<Vec<Sheet>, StoreError> {
    let asks = |row: &&R::Row| standing::<R>(row, caller) == Claim::Ask;
    let targets: Vec<Uuid> = match caller.settings.pick_up {
        PickUp::WithApproval => rows.iter().filter(asks).map(R::id).collect(),
        PickUp::ByUserName | PickUp::Never => Vec::new(),
    };
    if targets.is_empty() {
        return R::render(tx, caller, rows, related).await;
    }
    let asked = claims::waiting_on(tx, caller.instance, caller.connection, &targets).await?;
    if asked.is_empty() {
        return R::render(tx, caller, rows, related).await;
    }
    let asked: HashMap<Uuid, Approval> =
        asked.into_iter().map(|asked| (asked.target, asked)).collect();
    let laid = |row: &R::Row| match asked.get(&R::id(row)) {
        Some(asked) => R::laid_over(row.clone(), asked.document.clone()),
        None => row.clone(),
    };
    let laid: Vec<R::Row> = rows.iter().map(laid).collect();
    // Words about members are laid over all of them, so they are here together.
    let related = if related == Related::Parted { Related::Whole } else { related };
    let mut sheets = R::render(tx, caller, &laid, related).await?;
    for (row, sheet) in rows.iter().zip(&mut sheets) {
        let document = &mut sheet.document;
        let Some(asked) = asked.get(&R::id(row)) else { continue };
        if related != Related::Without && R::SOUGHT == Sought::Groups {
            lay_members(tx, caller, asked, document).await?;
        }
        mark(document, R::version(row), asked);
    }
    Ok(sheets)
}

/// Lays what the client wants of the members over those that are there.
async fn lay_members(
    tx: &mut Tx,
    caller: &Caller,
    asked: &Approval,
    document: &mut Document,
) -> std::result::Result<(), StoreError> {
    let Some(change) = MemberChange::stored(asked.members.as_deref()) else { return Ok(()) };
    let group = GroupId(asked.target);
    let Some(Value::Array(members)) = document.get_mut("members") else { return Ok(()) };
    members.retain(|member| {
        let id = member.get("value").and_then(Value::as_str);
        id.is_some_and(|id| change.retains(id))
    });
    let present: HashSet<String> = members
        .iter()
        .filter_map(|member| member.get("value")?.as_str().map(str::to_owned))
        .collect();
    let joining = change.joining_ids();
    for (id, kind) in memberships::known(tx, caller.instance, caller.viewer(), &joining).await? {
        if id.0 != group.0 && !present.contains(&id.0.to_string()) {
            let member = Member { group, id, kind, display: String::new() };
            members.push(render::member(caller, &member));
        }
    }
    Ok(())
}

/// Puts a tag and a time on a document that tell it from the Local one and from what was asked before.
fn mark(document: &mut Document, version: i64, asked: &Approval) {
    let Some(Value::Object(meta)) = document.get_mut("meta") else { return };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown = [text(meta.get("version")), asked.version.to_string()];
    meta.insert("version".to_owned(), tag(version + asked.version, &shown).into());
    let modified = json!(asked.modified_at);
    if text(meta.get("lastModified")) < text(Some(&modified)) {
        meta.insert("lastModified".to_owned(), modified);
    }
}
