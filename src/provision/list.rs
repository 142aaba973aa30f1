//! Queries for resources, the same for Users and Groups.
//!
//! The filter is evaluated exactly on what the client would read; the database narrows with its
//! indexes first. When the narrowing says all that the filter says, the page is read directly.

use scim_v2::filter::CompareOp;

use super::resource::Resource;
use super::{Caller, Listed, Query, Result};
use crate::directory::ids;
use crate::scim::filter::{self, Condition, Operand};
use crate::scim::fold::fold;
use crate::scim::schema::Target;
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::Tx;
use crate::store::query::{self, Narrow, Page};
use uuid::Uuid;

/// The rows that a filter on attributes without an index is evaluated on.
pub const SCAN_ROWS_MAX: usize = 10_000;

/// The rows that are read at a time for that.
const SCAN_BATCH: i64 = 500;

/// Answers a query.
pub(super) async fn list<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    query: &Query,
) -> Result<Listed> {
    let kind = R::kind(&caller.schemas);
    let filter = query.filter.as_deref().map(|text| filter::parse(text, &caller.habits));
    let condition =
        filter.transpose()?.map(|filter| filter::resolve(kind, &[], &filter)).transpose()?;
    let (narrow, exact) = condition.as_ref().map_or((Narrow::All(Vec::new()), true), narrow);
    let (total, documents) = match condition {
        Some(condition) if !exact => scan::<R>(tx, caller, query, &condition, &narrow).await?,
        _ => read::<R>(tx, caller, query, &narrow).await?,
    };
    let project = |document| query.projection.apply(kind, document);
    Ok(Listed { total, resources: documents.into_iter().map(project).collect() })
}

async fn read<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    query: &Query,
    narrow: &Narrow,
) -> Result<(u64, Vec<Document>)> {
    let (instance, viewer) = (caller.instance, caller.viewer());
    let total = query::count(tx, &R::TABLE, instance, viewer, narrow).await?;
    let offset = i64::try_from(query.start_index - 1).unwrap_or(i64::MAX);
    let limit = i64::try_from(query.count).unwrap_or(i64::MAX);
    if limit == 0 || offset >= total {
        return Ok((total.unsigned_abs(), Vec::new()));
    }
    let page = Page { after: None, offset, limit };
    let rows = query::page::<R::Row>(tx, &R::TABLE, instance, viewer, narrow, page).await?;
    let related = query.projection.wants(R::RELATED);
    Ok((total.unsigned_abs(), R::render(tx, caller, &rows, related).await?))
}

/// Looks at the rows one by one. What is made of other rows is read for matching only if the filter
/// regards it, and otherwise for the page alone.
async fn scan<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    query: &Query,
    condition: &Condition<'_>,
    narrow: &Narrow,
) -> Result<(u64, Vec<Document>)> {
    let regarded = condition.regards(R::RELATED);
    let (instance, viewer) = (caller.instance, caller.viewer());
    let (mut total, mut page) = (0, Vec::new());
    let (mut after, mut scanned) = (None, 0);
    loop {
        let next = Page { after, offset: 0, limit: SCAN_BATCH };
        let rows = query::page::<R::Row>(tx, &R::TABLE, instance, viewer, narrow, next).await?;
        let Some(last) = rows.last() else { break };
        after = Some(R::id(last));
        scanned += rows.len();
        if scanned > SCAN_ROWS_MAX {
            return Err(too_many(R::NAME).into());
        }
        let documents = R::render(tx, caller, &rows, regarded).await?;
        for (row, document) in rows.into_iter().zip(documents) {
            if condition.matches(&document) {
                total += 1;
                if total >= query.start_index && (page.len() as u64) < query.count {
                    page.push(row);
                }
            }
        }
    }
    let related = query.projection.wants(R::RELATED);
    Ok((total, R::render(tx, caller, &page, related).await?))
}

fn too_many(kind: &str) -> ScimError {
    let indexed = match kind {
        "Group" => "id, externalId, displayName and members",
        _ => "id, externalId, userName, displayName, active, emails.value and groups",
    };
    ScimError::new(
        ErrorKind::TooMany,
        format!(
            "the filter would have to look at more than {SCAN_ROWS_MAX} resources: narrow it with \
             \"eq\" on one of {indexed}"
        ),
    )
}

/// What the indexes can tell of a condition, and whether that is all of it.
fn narrow(condition: &Condition<'_>) -> (Narrow, bool) {
    match condition {
        Condition::Compare(target, CompareOp::Eq, operand) => indexed(target, operand),
        Condition::Element(target, inner) if target.is_core("emails") => {
            let sole = matches!(**inner, Condition::Compare(..));
            (email_inside(inner), sole && !is_open(&email_inside(inner)))
        }
        Condition::And(parts) => {
            let (parts, exact): (Vec<_>, Vec<_>) = parts.iter().map(narrow).unzip();
            (Narrow::All(parts), exact.into_iter().all(|exact| exact))
        }
        Condition::Or(parts) => {
            let (parts, exact): (Vec<_>, Vec<_>) = parts.iter().map(narrow).unzip();
            (Narrow::Any(parts), exact.into_iter().all(|exact| exact))
        }
        Condition::Present(_)
        | Condition::Compare(..)
        | Condition::Element(..)
        | Condition::Not(_) => (Narrow::All(Vec::new()), false),
    }
}

fn indexed(target: &Target<'_>, operand: &Operand) -> (Narrow, bool) {
    let open = (Narrow::All(Vec::new()), false);
    if target.extension.is_some() {
        return open;
    }
    let sub = target.sub.map(|sub| sub.name.as_str());
    match (target.attribute.name.as_str(), sub, operand) {
        ("active", None, Operand::Boolean(flag)) => (Narrow::Active(*flag), true),
        (name, sub, Operand::Text { raw, key }) => {
            let by_id = |narrow: fn(Uuid) -> Narrow| {
                ids::exact(raw).map_or_else(|| Narrow::Any(Vec::new()), narrow)
            };
            match (name, sub) {
                ("id", None) => (by_id(Narrow::Id), true),
                ("userName", None) => (Narrow::UserName(key.clone()), true),
                ("displayName", None) => (Narrow::DisplayName(key.clone()), true),
                ("externalId", None) => (Narrow::ExternalId(raw.clone()), true),
                ("emails", Some("value")) => (Narrow::Email(key.clone()), true),
                ("groups", Some("value")) => (by_id(Narrow::MemberOf), true),
                ("members", Some("value")) => (by_id(Narrow::HasMember), true),
                _ => open,
            }
        }
        _ => open,
    }
}

/// `emails[type eq "work" and value eq "x"]`: an address that must be there.
fn email_inside(inner: &Condition<'_>) -> Narrow {
    match inner {
        Condition::Compare(target, CompareOp::Eq, Operand::Text { raw, .. })
            if target.attribute.name == "value" =>
        {
            Narrow::Email(fold(raw).into_owned())
        }
        Condition::And(parts) => Narrow::All(parts.iter().map(email_inside).collect()),
        _ => Narrow::All(Vec::new()),
    }
}

fn is_open(narrow: &Narrow) -> bool {
    matches!(narrow, Narrow::All(parts) if parts.is_empty())
}
