//! What the indexes of the database can tell of a filter.

use scim_v2::ScimDateTime;
use scim_v2::filter::CompareOp;
use uuid::Uuid;

use crate::directory::{Timestamp, ids};
use crate::scim::extension::{unique_key_of, unique_name};
use crate::scim::filter::{Condition, Operand};
use crate::scim::schema::Target;
use crate::store::query::{Column, Narrow};
use crate::store::unique::Held;

/// No restriction.
pub(super) const OPEN: Narrow = Narrow::All(Vec::new());

/// Nothing at all.
const NOTHING: Narrow = Narrow::Any(Vec::new());

/// What the indexes can tell of a condition on resources of a type, and whether that is all of it.
pub(super) fn narrow(kind: &str, condition: &Condition<'_>) -> (Narrow, bool) {
    let each = |parts: &[Condition<'_>]| -> (Vec<Narrow>, bool) {
        let (parts, exact): (Vec<_>, Vec<_>) = parts.iter().map(|part| narrow(kind, part)).unzip();
        (parts, exact.into_iter().all(|exact| exact))
    };
    match condition {
        Condition::Compare(target, op, Operand::Time(time)) => {
            within(target, op, time).map_or((OPEN, false), |narrow| (narrow, true))
        }
        Condition::Compare(target, CompareOp::Eq, Operand::Text { key, .. })
            if is_at(target, "meta", Some("resourceType")) =>
        {
            (if key == kind { OPEN } else { NOTHING }, true)
        }
        Condition::Compare(target, CompareOp::Eq, operand) => indexed(target, operand),
        Condition::Compare(target, CompareOp::Sw, Operand::Text { key, .. }) => {
            let begins = |column| (Narrow::Begins(column, key.clone()), true);
            text_column(target).map_or((OPEN, false), begins)
        }
        Condition::Element(target, inner) => inside(target, inner),
        // Every resource has these.
        Condition::Present(target) if is_at(target, "id", None) => (OPEN, true),
        Condition::Present(target) if is_at(target, "userName", None) => (OPEN, true),
        Condition::Present(target) if kind == "Group" && is_at(target, "displayName", None) => {
            (OPEN, true)
        }
        Condition::And(parts) => {
            let (parts, exact) = each(parts);
            (Narrow::All(parts), exact)
        }
        Condition::Or(parts) => {
            let (parts, exact) = each(parts);
            (Narrow::Any(parts), exact)
        }
        Condition::Present(_) | Condition::Compare(..) | Condition::Not(_) => (OPEN, false),
    }
}

/// The column that an index holds in the order of an attribute.
pub(super) fn column(target: &Target<'_>) -> Option<Column> {
    time_column(target).or_else(|| text_column(target))
}

fn text_column(target: &Target<'_>) -> Option<Column> {
    let columns = [
        ("userName", Column::UserName),
        ("displayName", Column::DisplayName),
        ("externalId", Column::ExternalId),
    ];
    columns.into_iter().find(|(name, _)| is_at(target, name, None)).map(|(_, column)| column)
}

fn time_column(target: &Target<'_>) -> Option<Column> {
    let columns = [("created", Column::Created), ("lastModified", Column::Modified)];
    let found = columns.into_iter().find(|(name, _)| is_at(target, "meta", Some(name)));
    found.map(|(_, column)| column)
}

fn is_at(target: &Target<'_>, name: &str, sub: Option<&str>) -> bool {
    target.is_core(name) && target.sub.map(|sub| sub.name.as_str()) == sub
}

/// A comparison with a point in time, as the milliseconds that it leaves; `None` if the time has no
/// zone or is beyond the calendar.
fn within(target: &Target<'_>, op: &CompareOp, time: &ScimDateTime) -> Option<Narrow> {
    const NS_IN_MS: i128 = 1_000_000;
    let column = time_column(target)?;
    let time: jiff::Timestamp = time.as_str().parse().ok()?;
    let time_ns = time.as_nanosecond();
    let floor = i64::try_from(time_ns.div_euclid(NS_IN_MS)).ok()?;
    let ceiling = i64::try_from((time_ns + NS_IN_MS - 1).div_euclid(NS_IN_MS)).ok()?;
    let since = |ms| Narrow::Since(column, Timestamp(ms));
    let until = |ms| Narrow::Until(column, Timestamp(ms));
    match op {
        CompareOp::Gt => Some(since(floor + 1)),
        CompareOp::Ge => Some(since(ceiling)),
        CompareOp::Lt => Some(until(ceiling - 1)),
        CompareOp::Le => Some(until(floor)),
        CompareOp::Eq => Some(Narrow::All(vec![since(ceiling), until(floor)])),
        CompareOp::Ne | CompareOp::Co | CompareOp::Sw | CompareOp::Ew => None,
    }
}

fn indexed(target: &Target<'_>, operand: &Operand) -> (Narrow, bool) {
    if let Some(urn) = target.extension {
        return unique_key_of(target.leaf(), operand).map_or((OPEN, false), |key| {
            let attribute = unique_name(urn, target.attribute);
            (Narrow::Unique(Held { attribute, key }), false)
        });
    }
    let sub = target.sub.map(|sub| sub.name.as_str());
    match (target.attribute.name.as_str(), sub, operand) {
        ("active", None, Operand::Boolean(flag)) => (Narrow::Active(*flag), true),
        (name, sub, Operand::Text { raw, key }) => {
            let by_id = |narrow: fn(Uuid) -> Narrow| ids::exact(raw).map_or(NOTHING, narrow);
            match (name, sub) {
                ("id", None) => (by_id(Narrow::Id), true),
                ("userName", None) => (Narrow::UserName(key.clone()), true),
                ("displayName", None) => (Narrow::DisplayName(key.clone()), true),
                ("externalId", None) => (Narrow::ExternalId(raw.clone()), true),
                ("emails", Some("value")) => (Narrow::Email(key.clone()), true),
                ("groups", Some("value")) => (by_id(Narrow::MemberOf), true),
                ("members", Some("value")) => (by_id(Narrow::HasMember), true),
                _ => (OPEN, false),
            }
        }
        _ => (OPEN, false),
    }
}

/// `emails[type eq "work" and value eq "x"]`: a value that some element must have; that is all of it only
/// if nothing else is asked of the element.
fn inside(target: &Target<'_>, inner: &Condition<'_>) -> (Narrow, bool) {
    match inner {
        Condition::Compare(part, CompareOp::Eq, operand) => {
            indexed(&Target { sub: Some(part.attribute), ..*target }, operand)
        }
        Condition::And(parts) => {
            let parts = parts.iter().map(|part| inside(target, part).0).collect();
            (Narrow::All(parts), false)
        }
        _ => (OPEN, false),
    }
}
