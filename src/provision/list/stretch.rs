//! A stretch of the resources of one type that a query selects: from a place on, up to a number.
//!
//! When the indexes tell all of a filter and hold its order, the stretch is read directly. Otherwise the
//! rows are looked at one by one, at most [`SCAN_ROWS_MAX`] of them, and the filter is evaluated exactly on
//! what the client would read.

use super::mark::invalid_cursor;
use super::narrow::{OPEN, column, narrow};
use crate::directory::PickUp;
use crate::provision::resource::Resource;
use crate::provision::{Caller, Query, Related, Result, Sheet, claims};
use crate::scim::filter::{self, Condition};
use crate::scim::project::Projection;
use crate::scim::schema::ResourceType;
use crate::scim::sort::{Key, Position, Sort};
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::query::{self, Column, Narrow, Order, Page};
use crate::store::{BATCH_MAX, Tx};

/// The rows that a filter or an order on attributes without an index is evaluated on.
pub const SCAN_ROWS_MAX: usize = 10_000;

/// The rows that are read at a time for that.
const SCAN_BATCH: i64 = 500;

/// What a query means for one type of resource.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) kind: &'a ResourceType,
    condition: Option<Condition<'a>>,
    narrow: Narrow,
    /// Whether `narrow` says all that `condition` says.
    exact: bool,
    sort: Option<Sort<'a>>,
    /// The order of the database, if an index holds the one that is asked for.
    order: Option<Order>,
    projection: Projection,
}

/// From where on, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) after: Option<&'w Position>,
    pub(super) skip: u64,
    pub(super) limit: u64,
    /// Whether to count all that the query selects.
    pub(super) counted: bool,
}

/// A resource and its place.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) position: Position,
    pub(super) sheet: Sheet,
}

/// A stretch.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) hits: Vec<Hit>,
    /// Whether there are resources behind it.
    pub(super) more: bool,
    /// All that the query selects, if it was to be counted.
    pub(super) total: u64,
}

impl<'a> Plan<'a> {
    /// Resolves a query for one type, among the others that are queried with it.
    pub(super) fn new(
        kind: &'a ResourceType,
        others: &[&'a ResourceType],
        filter: Option<&scim_v2::filter::Filter>,
        sort: Option<Sort<'a>>,
        query: &Query,
    ) -> std::result::Result<Self, ScimError> {
        let condition = filter.map(|filter| filter::resolve(kind, others, filter)).transpose()?;
        let (narrow, exact) =
            condition.as_ref().map_or((OPEN, true), |condition| narrow(kind.name, condition));
        let order = match &sort {
            None => Some(Order::default()),
            Some(Sort { target: Some(target), descending }) if target.is_core("id") => {
                Some(Order { column: None, descending: *descending })
            }
            Some(Sort { target: Some(target), descending }) => {
                column(target).map(|column| Order { column: Some(column), descending: *descending })
            }
            // No resource of this type has a value: they come in the order of creation.
            Some(Sort { target: None, descending }) => {
                Some(Order { column: None, descending: *descending })
            }
        };
        let projection = query.projection(kind);
        Ok(Self { kind, condition, narrow, exact, sort, order, projection })
    }

    /// The plan through the eyes of a connection that waits to pick something up: the indexes know
    /// nothing of what it has said, so each document has the last word.
    pub(super) fn seen_by(mut self, caller: &Caller) -> Self {
        let asks = caller.settings.pick_up == PickUp::WithApproval;
        self.exact &= !asks || self.condition.is_none();
        self
    }

    /// Whether the query has an order of its own.
    pub(super) fn is_sorted(&self) -> bool {
        self.sort.is_some()
    }

    /// Refuses a place that is none in this order: a client may have made it up.
    pub(super) fn require_place(
        &self,
        after: Option<&Position>,
    ) -> std::result::Result<(), ScimError> {
        let Some((column, place)) = self.order.and_then(|order| order.column).zip(after) else {
            return Ok(());
        };
        let fits = match (column, &place.key) {
            (Column::Created | Column::Modified, Some(Key::Integer(_)))
            | (Column::DisplayName | Column::ExternalId, None) => true,
            (
                Column::UserName | Column::DisplayName | Column::ExternalId,
                Some(Key::Text(text)),
            ) => !text.contains('\0'),
            _ => false,
        };
        if fits { Ok(()) } else { Err(invalid_cursor()) }
    }

    /// Whether the query descends.
    pub(super) fn descends(&self) -> bool {
        self.sort.as_ref().is_some_and(|sort| sort.descending)
    }

    fn accepts(&self, document: &Document) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.matches(document))
    }

    /// Whether matching and sorting look at what is made of other rows.
    fn regards(&self, name: &str) -> bool {
        let sorts = |sort: &Sort<'_>| sort.target.is_some_and(|target| target.is_core(name));
        let regards =
            |condition: &Condition<'_>| condition.regards(name) || condition.regards("meta");
        self.condition.as_ref().is_some_and(regards) || self.sort.as_ref().is_some_and(sorts)
    }
}

/// Reads a stretch.
pub(super) async fn stretch<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    plan: &Plan<'_>,
    wanted: Wanted<'_>,
) -> Result<Stretch> {
    let places: Places<R> = match plan.order {
        Some(order) if plan.exact => read(tx, caller, plan, order, wanted).await?,
        Some(order) => walk(tx, caller, plan, order, wanted).await?,
        None => sorted(tx, caller, plan, wanted).await?,
    };
    let related = Related::shown(plan.projection.wants(R::RELATED));
    let (positions, rows): (Vec<_>, Vec<_>) = places.found.into_iter().unzip();
    let sheets = claims::render::<R>(tx, caller, &rows, related).await?;
    let hits = positions.into_iter().zip(sheets).map(|(position, sheet)| Hit {
        position,
        sheet: sheet.projected(plan.kind, &plan.projection),
    });
    Ok(Stretch { hits: hits.collect(), more: places.more, total: places.total })
}

/// A stretch before it is rendered.
struct Places<R: Resource> {
    found: Vec<(Position, R::Row)>,
    more: bool,
    total: u64,
}

fn position<R: Resource>(row: &R::Row, order: Order) -> Position {
    let key = order.column.and_then(|column| R::key(row, column));
    Position { key, id: R::id(row) }
}

fn limit(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads what the database can find and put in order by itself.
async fn read<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    plan: &Plan<'_>,
    order: Order,
    wanted: Wanted<'_>,
) -> Result<Places<R>> {
    let (instance, viewer) = (caller.instance, caller.viewer());
    // One row more than wanted tells whether there are more.
    let page = Page {
        order,
        after: wanted.after,
        offset: limit(wanted.skip),
        limit: limit(wanted.limit.saturating_add(1)),
    };
    let mut rows =
        query::page::<R::Row>(tx, &R::TABLE, instance, viewer, &plan.narrow, page).await?;
    let more = rows.len() as u64 > wanted.limit;
    rows.truncate(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
    let total = match (wanted.counted, more || wanted.skip > 0) {
        (false, _) => 0,
        (true, false) => rows.len() as u64,
        (true, true) => {
            let count = query::count(tx, &R::TABLE, instance, viewer, &plan.narrow).await?;
            count.unsigned_abs()
        }
    };
    let found = rows.into_iter().map(|row| (position::<R>(&row, order), row)).collect();
    Ok(Places { found, more, total })
}

/// Looks at rows in the order of an index until the stretch is full, or at all of them to count.
async fn walk<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    plan: &Plan<'_>,
    order: Order,
    wanted: Wanted<'_>,
) -> Result<Places<R>> {
    let mut places = Places { found: Vec::new(), more: false, total: 0 };
    let mut skip = wanted.skip;
    let mut scan = Scan::<R>::new(caller, plan, order, wanted.after.cloned());
    while let Some(batch) = scan.next(tx).await? {
        for (row, _) in batch {
            places.total += 1;
            if skip > 0 {
                skip -= 1;
            } else if (places.found.len() as u64) < wanted.limit {
                places.found.push((position::<R>(&row, order), row));
            } else {
                places.more = true;
            }
        }
        if places.more && !wanted.counted {
            break;
        }
    }
    Ok(places)
}

/// Sorts all that the filter selects. Only their places are held in memory; the rows of the stretch are
/// read once more.
async fn sorted<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    plan: &Plan<'_>,
    wanted: Wanted<'_>,
) -> Result<Places<R>> {
    let mut positions = Vec::new();
    let mut scan = Scan::<R>::new(caller, plan, Order::default(), None);
    while let Some(batch) = scan.next(tx).await? {
        positions.extend(batch.into_iter().map(|(row, document)| {
            let key = plan.sort.as_ref().and_then(|sort| sort.key(&document));
            Position { key, id: R::id(&row) }
        }));
    }
    let descending = plan.descends();
    positions.sort_by(|left, right| left.order(right, descending));
    let total = positions.len() as u64;
    let behind =
        |place: &Position| wanted.after.is_none_or(|after| place.order(after, descending).is_gt());
    let mut rest = positions
        .into_iter()
        .filter(behind)
        .skip(usize::try_from(wanted.skip).unwrap_or(usize::MAX));
    let places: Vec<Position> =
        rest.by_ref().take(usize::try_from(wanted.limit).unwrap_or(usize::MAX)).collect();
    let found = rows_at::<R>(tx, caller, places).await?;
    Ok(Places { found, more: rest.next().is_some(), total })
}

/// The rows at some places, in the order of the places.
async fn rows_at<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    places: Vec<Position>,
) -> Result<Vec<(Position, R::Row)>> {
    let mut rows = std::collections::HashMap::new();
    for places in places.chunks(BATCH_MAX) {
        let narrow = Narrow::Ids(places.iter().map(|place| place.id).collect());
        let page = Page::by_id(None, limit(u64::MAX));
        let (instance, viewer) = (caller.instance, caller.viewer());
        let read = query::page::<R::Row>(tx, &R::TABLE, instance, viewer, &narrow, page).await?;
        rows.extend(read.into_iter().map(|row| (R::id(&row), row)));
    }
    Ok(places
        .into_iter()
        .filter_map(|place| Some((rows.remove(&place.id)?, place)))
        .map(|(row, place)| (place, row))
        .collect())
}

/// Looks at the rows that the indexes leave, batch by batch.
struct Scan<'s, R: Resource> {
    caller: &'s Caller,
    plan: &'s Plan<'s>,
    order: Order,
    after: Option<Position>,
    scanned: usize,
    resource: std::marker::PhantomData<R>,
}

impl<'s, R: Resource> Scan<'s, R> {
    fn new(caller: &'s Caller, plan: &'s Plan<'s>, order: Order, after: Option<Position>) -> Self {
        Self { caller, plan, order, after, scanned: 0, resource: std::marker::PhantomData }
    }

    /// The rows of the next batch that the filter selects; `None` at the end.
    async fn next(&mut self, tx: &mut Tx) -> Result<Option<Vec<(R::Row, Document)>>> {
        let Self { caller, plan, order, .. } = *self;
        let (instance, viewer) = (caller.instance, caller.viewer());
        let page = Page { order, after: self.after.as_ref(), offset: 0, limit: SCAN_BATCH };
        let rows =
            query::page::<R::Row>(tx, &R::TABLE, instance, viewer, &plan.narrow, page).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = Some(position::<R>(last, order));
        self.scanned += rows.len();
        if self.scanned > SCAN_ROWS_MAX {
            return Err(too_many(plan.kind.name).into());
        }
        let related = Related::regarded(plan.regards(R::RELATED));
        let sheets = claims::render::<R>(tx, caller, &rows, related).await?;
        let documents = sheets.into_iter().map(|sheet| sheet.document);
        let both = rows.into_iter().zip(documents);
        Ok(Some(both.filter(|(_, document)| plan.accepts(document)).collect()))
    }
}

fn too_many(kind: &str) -> ScimError {
    let indexed = match kind {
        "Group" => "id, externalId, displayName, members, meta.lastModified and unique attributes",
        _ => {
            "id, externalId, userName, displayName, active, emails.value, groups, \
             meta.lastModified and unique attributes"
        }
    };
    ScimError::new(
        ErrorKind::TooMany,
        format!(
            "the query would have to look at more than {SCAN_ROWS_MAX} resources: narrow it with \
             \"eq\" on one of {indexed}, or sort it by userName, displayName, externalId or a time"
        ),
    )
}
