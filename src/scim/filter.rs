//! Filters: resolved against the schemas and evaluated exactly (RFC 7644 §3.4.2.2).
//!
//! [`resolve`] turns the parsed text into a [`Condition`] over known attributes; [`Condition::matches`]
//! is the truth about which resource a filter selects. What the database narrows with its indexes
//! may only ever be a superset of it.

use std::cmp::Ordering;

use scim_v2::ScimDateTime;
use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter, ValuePath};
use serde_json::Value;

use super::fold::fold;
use super::grammar::{self, GrammarError};
use super::habits::{Habits, Treatment};
use super::schema::{Attribute, Kind, Place, ResourceType, Target};
use super::{Document, ScimError};

/// A filter whose attributes are resolved and whose values fit their types.
#[derive(Debug, Clone)]
pub enum Condition<'a> {
    /// The attribute has a value.
    Present(Target<'a>),
    /// Some value of the attribute compares so with the operand; `Ne` is the negation of `Eq`.
    Compare(Target<'a>, CompareOp, Operand),
    /// Some element of the multi-valued attribute satisfies the condition, whose targets are the
    /// element's sub-attributes.
    Element(Target<'a>, Box<Condition<'a>>),
    /// The condition does not hold.
    Not(Box<Condition<'a>>),
    /// All conditions hold.
    And(Vec<Condition<'a>>),
    /// At least one condition holds.
    Or(Vec<Condition<'a>>),
}

/// The right side of a comparison, as its attribute's type wants it.
#[derive(Debug, Clone)]
pub enum Operand {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text as it was written, and what it is compared by: folded unless the attribute is
    /// case-exact.
    Text {
        /// As written.
        raw: String,
        /// As compared.
        key: String,
    },
    /// A point in time.
    Time(ScimDateTime),
}

/// Parses the filter of a query, with the liberties that the client may take.
pub fn parse(text: &str, habits: &Habits) -> Result<Filter, ScimError> {
    let filter = grammar::parse_filter(text)
        .map_err(|error: GrammarError| ScimError::invalid_filter(error.to_string()))?;
    if habits.loose_filters == Treatment::Refuse && text.trim().parse::<Filter>().is_err() {
        return Err(ScimError::invalid_filter(
            "the filter takes liberties with the grammar of RFC 7644 §3.4.2.2, for example a value \
             without quotes",
        ));
    }
    Ok(filter)
}

/// Resolves the filter of a query for resources of one type. What only another of the types that are
/// queried together defines has no value in this one.
///
/// Fails with `invalidFilter` when the filter names an attribute that no schema of these types defines,
/// or compares in a way that the attribute's type does not have.
pub fn resolve<'a>(
    kind: &'a ResourceType,
    others: &[&'a ResourceType],
    filter: &Filter,
) -> Result<Condition<'a>, ScimError> {
    Resolver { kind, others }.resolve(filter)
}

/// Resolves the filter inside the brackets of a value path on `attribute`.
pub fn compile_element<'a>(
    attribute: &'a Attribute,
    filter: &ValFilter,
) -> Result<Condition<'a>, ScimError> {
    let each = |filters: &[ValFilter]| {
        filters
            .iter()
            .map(|filter| compile_element(attribute, filter))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match filter {
        ValFilter::Attr(expression) => compile_expression(expression, |path| {
            let unknown = || unknown_attribute(path, &attribute.name);
            if path.uri.is_some() || path.sub_attr.is_some() {
                return Err(unknown());
            }
            let sub = attribute.sub(&path.name).ok_or_else(unknown)?;
            if attribute.is_hidden() || sub.is_hidden() {
                return Err(unknown());
            }
            Ok(Target { extension: None, attribute: sub, sub: None })
        })?,
        ValFilter::Not(inner) => Condition::Not(Box::new(compile_element(attribute, inner)?)),
        ValFilter::And(parts) => Condition::And(each(parts)?),
        ValFilter::Or(parts) => Condition::Or(each(parts)?),
    })
}

impl Condition<'_> {
    /// Whether the condition holds for a resource, or for an element inside a value path.
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        match self {
            Self::Present(target) => target.values(document).iter().any(|value| is_present(value)),
            Self::Compare(target, CompareOp::Ne, operand) => {
                !compare_any(target, &CompareOp::Eq, operand, document)
            }
            Self::Compare(target, op, operand) => compare_any(target, op, operand, document),
            Self::Element(target, inner) => target
                .values(document)
                .iter()
                .any(|element| element.as_object().is_some_and(|element| inner.matches(element))),
            Self::Not(inner) => !inner.matches(document),
            Self::And(parts) => parts.iter().all(|part| part.matches(document)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(document)),
        }
    }

    /// The comparisons that the condition consists of.
    #[must_use]
    pub fn terms(&self) -> usize {
        match self {
            Self::Present(_) | Self::Compare(..) => 1,
            Self::Element(_, inner) | Self::Not(inner) => inner.terms(),
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Condition::terms).sum(),
        }
    }

    /// Whether any part of the condition regards this core attribute.
    #[must_use]
    pub fn regards(&self, name: &str) -> bool {
        match self {
            Self::Present(target) | Self::Compare(target, ..) | Self::Element(target, _) => {
                target.is_core(name)
            }
            Self::Not(inner) => inner.regards(name),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.regards(name)),
        }
    }
}

impl Target<'_> {
    /// The attribute that is compared: the sub-attribute if the path names one.
    #[must_use]
    pub fn leaf(&self) -> &Attribute {
        self.sub.unwrap_or(self.attribute)
    }

    /// Whether no answer ever shows it, or what holds it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.attribute.is_hidden() || self.leaf().is_hidden()
    }

    /// Whether this is the core or common attribute of that name.
    #[must_use]
    pub fn is_core(&self, name: &str) -> bool {
        self.extension.is_none() && self.attribute.name == name
    }

    /// The values at the target, elements of arrays one by one.
    #[must_use]
    pub fn values<'d>(&self, document: &'d Document) -> Vec<&'d Value> {
        let holder = match self.extension {
            None => Some(document),
            Some(urn) => document.get(urn).and_then(Value::as_object),
        };
        let values = elements(holder.and_then(|holder| holder.get(&self.attribute.name)));
        match self.sub {
            None => values,
            Some(sub) => values.iter().flat_map(|value| elements(value.get(&sub.name))).collect(),
        }
    }
}

fn elements(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
    }
}

struct Resolver<'a, 'o> {
    kind: &'a ResourceType,
    others: &'o [&'a ResourceType],
}

impl<'a> Resolver<'a, '_> {
    fn resolve(&self, filter: &Filter) -> Result<Condition<'a>, ScimError> {
        let each = |filters: &[Filter]| {
            filters.iter().map(|filter| self.resolve(filter)).collect::<Result<_, _>>()
        };
        Ok(match filter {
            Filter::Attr(AttrExp::Present(path) | AttrExp::Comparison(path, ..))
            | Filter::ValuePath(ValuePath { attr: path, .. })
                if self.is_elsewhere(path) =>
            {
                without_value(filter)
            }
            Filter::Attr(expression) => compile_expression(expression, |path| self.target(path))?,
            Filter::ValuePath(path) => {
                let target = self.target(&path.attr)?;
                if target.sub.is_some() || target.attribute.kind != Kind::Complex {
                    return Err(ScimError::invalid_filter(format!(
                        "{} has no sub-attributes: a filter in brackets cannot follow it",
                        path.attr
                    )));
                }
                let inner = compile_element(target.attribute, &path.filter)?;
                Condition::Element(target, Box::new(inner))
            }
            Filter::Not(inner) => Condition::Not(Box::new(self.resolve(inner)?)),
            Filter::And(parts) => Condition::And(each(parts)?),
            Filter::Or(parts) => Condition::Or(each(parts)?),
        })
    }

    fn target(&self, path: &AttrPath) -> Result<Target<'a>, ScimError> {
        match self.kind.resolve(path) {
            // What is never returned could be found out letter by letter.
            Place::Known(target) if !target.is_hidden() => Ok(target),
            _ => Err(unknown_attribute(path, self.kind.name)),
        }
    }

    /// Whether only another type that is queried too defines the attribute.
    fn is_elsewhere(&self, path: &AttrPath) -> bool {
        let defines = |kind: &ResourceType| matches!(kind.resolve(path), Place::Known(_));
        !defines(self.kind) && self.others.iter().any(|kind| defines(kind))
    }
}

/// What a condition says of a resource that has no value of its attribute.
fn without_value(filter: &Filter) -> Condition<'static> {
    let holds = match filter {
        Filter::Attr(AttrExp::Comparison(_, op, value)) => {
            (*op == CompareOp::Ne) != matches!(value, CompValue::Null)
                && matches!(op, CompareOp::Eq | CompareOp::Ne)
        }
        _ => false,
    };
    if holds { Condition::And(Vec::new()) } else { Condition::Or(Vec::new()) }
}

fn compile_expression<'a>(
    expression: &AttrExp,
    target: impl Fn(&AttrPath) -> Result<Target<'a>, ScimError>,
) -> Result<Condition<'a>, ScimError> {
    match expression {
        AttrExp::Present(path) => Ok(Condition::Present(target(path)?)),
        AttrExp::Comparison(path, op, value) => {
            let target = with_value(target(path)?, path)?;
            let operand = operand(target.leaf(), path, op, value)?;
            Ok(Condition::Compare(target, op.clone(), operand))
        }
    }
}

/// A complex attribute is compared by its `value` (RFC 7644 §3.4.2.2): `manager eq "x"`.
fn with_value<'a>(target: Target<'a>, path: &AttrPath) -> Result<Target<'a>, ScimError> {
    if target.leaf().kind != Kind::Complex {
        return Ok(target);
    }
    match target.attribute.sub("value") {
        Some(value) if target.sub.is_none() && !value.is_hidden() => {
            Ok(Target { sub: Some(value), ..target })
        }
        _ => Err(ScimError::invalid_filter(format!(
            "{path} is complex: name the sub-attribute to compare"
        ))),
    }
}

fn operand(
    attribute: &Attribute,
    path: &AttrPath,
    op: &CompareOp,
    value: &CompValue,
) -> Result<Operand, ScimError> {
    let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
    let misfit =
        |due: &str| ScimError::invalid_filter(format!("{path} can only be compared {due}"));
    if matches!(value, CompValue::Null) {
        return if equality { Ok(Operand::Null) } else { Err(misfit("with null by eq and ne")) };
    }
    match attribute.kind {
        Kind::String | Kind::Reference | Kind::Binary => {
            if attribute.kind == Kind::Binary && !equality {
                return Err(misfit("by eq, ne and pr"));
            }
            let raw = plain(value);
            let key = if attribute.case_exact { raw.clone() } else { fold(&raw).into_owned() };
            Ok(Operand::Text { raw, key })
        }
        Kind::Boolean => {
            let flag = match value {
                CompValue::True => true,
                CompValue::False => false,
                CompValue::Str(text) if text.eq_ignore_ascii_case("true") => true,
                CompValue::Str(text) if text.eq_ignore_ascii_case("false") => false,
                _ => return Err(misfit("with true and false")),
            };
            if equality { Ok(Operand::Boolean(flag)) } else { Err(misfit("by eq, ne and pr")) }
        }
        Kind::Integer | Kind::Decimal => plain(value)
            .parse()
            .ok()
            .filter(|_| is_ordering(op))
            .map(Operand::Number)
            .ok_or_else(|| misfit("with numbers, by eq, ne, gt, ge, lt and le")),
        Kind::DateTime => plain(value)
            .parse()
            .ok()
            .filter(|_| is_ordering(op))
            .map(Operand::Time)
            .ok_or_else(|| {
                misfit("with a time such as \"2026-01-31T12:00:00Z\", by eq, ne, gt, ge, lt and le")
            }),
        Kind::Complex => Err(misfit("by a sub-attribute")),
    }
}

fn is_ordering(op: &CompareOp) -> bool {
    !matches!(op, CompareOp::Co | CompareOp::Sw | CompareOp::Ew)
}

fn plain(value: &CompValue) -> String {
    match value {
        CompValue::Null => String::new(),
        CompValue::True => "true".to_owned(),
        CompValue::False => "false".to_owned(),
        CompValue::Number(number) => number.to_string(),
        CompValue::Str(text) => text.clone(),
    }
}

fn unknown_attribute(path: &AttrPath, holder: &str) -> ScimError {
    ScimError::invalid_filter(format!("no schema of {holder} defines the attribute {path}"))
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn compare_any(
    target: &Target<'_>,
    op: &CompareOp,
    operand: &Operand,
    document: &Document,
) -> bool {
    let values = target.values(document);
    if matches!(operand, Operand::Null) {
        return !values.iter().any(|value| is_present(value));
    }
    values.iter().any(|value| compare(target.leaf(), op, operand, value))
}

fn compare(attribute: &Attribute, op: &CompareOp, operand: &Operand, value: &Value) -> bool {
    match (operand, value) {
        (Operand::Boolean(wanted), Value::Bool(flag)) => wanted == flag,
        (Operand::Number(wanted), Value::Number(number)) => number
            .as_f64()
            .and_then(|number| number.partial_cmp(wanted))
            .is_some_and(|order| holds(op, order)),
        (Operand::Time(wanted), Value::String(text)) => text
            .parse::<ScimDateTime>()
            .ok()
            .and_then(|time| time.xsd_partial_cmp(wanted))
            .is_some_and(|order| holds(op, order)),
        (Operand::Text { key, .. }, Value::String(text)) if attribute.case_exact => {
            compare_text(op, text, key)
        }
        (Operand::Text { key, .. }, Value::String(text)) => compare_text(op, &fold(text), key),
        _ => false,
    }
}

fn compare_text(op: &CompareOp, text: &str, wanted: &str) -> bool {
    match op {
        CompareOp::Co => text.contains(wanted),
        CompareOp::Sw => text.starts_with(wanted),
        CompareOp::Ew => text.ends_with(wanted),
        _ => holds(op, text.cmp(wanted)),
    }
}

fn holds(op: &CompareOp, order: Ordering) -> bool {
    match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}
