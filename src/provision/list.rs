//! Queries for resources: a page by index or by cursor, of one type or of all.
//!
//! A page continues from the place where the page before it ended, never from a number of resources that
//! are skipped, wherever that place is known: so a walk neither misses a resource that lives all the while
//! nor repeats one, and its last page costs what its first one costs.

mod mark;
mod narrow;
mod stretch;

use std::time::Duration;

use self::mark::Mark;
use self::stretch::{Hit, Plan, Stretch, Wanted, stretch};
use super::resource::Resource;
use super::{Caller, Listed, Provision, Query, Result, Window};
use crate::directory::Timestamp;
use crate::provision::{Groups, Users};
use crate::scim::schema::ResourceType;
use crate::scim::sort::{self, Position, Sort};
use crate::scim::{ErrorKind, ScimError, filter};
use crate::store::page_marks::{self, PageId};
use crate::store::{StoreError, Tx};

pub use stretch::SCAN_ROWS_MAX;

/// How long a page waits for its mark to be kept.
const MARK_PATIENCE: Duration = Duration::from_millis(250);

/// A type of resource that is queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sought {
    /// Users.
    Users,
    /// Groups.
    Groups,
}

impl Sought {
    /// All types, in the order in which a query for all of them lists them.
    pub const ALL: &[Self] = &[Self::Users, Self::Groups];

    fn kind(self, caller: &Caller) -> &ResourceType {
        match self {
            Self::Users => Users::kind(&caller.schemas),
            Self::Groups => Groups::kind(&caller.schemas),
        }
    }

    async fn stretch(
        self,
        tx: &mut Tx,
        caller: &Caller,
        plan: &Plan<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Stretch> {
        match self {
            Self::Users => stretch::<Users>(tx, caller, plan, wanted).await,
            Self::Groups => stretch::<Groups>(tx, caller, plan, wanted).await,
        }
    }
}

/// A query for some types: what it means for each of them.
struct Plans<'a> {
    caller: &'a Caller,
    sought: &'a [Sought],
    each: Vec<Plan<'a>>,
    /// Whether the query selects everybody. What a filter finds, somebody may be about to create or to change, so only
    /// walks through everybody are read from a standby.
    everybody: bool,
}

/// A page, and where the next one begins if there is one.
struct Turned {
    listed: Listed,
    next: Option<Mark>,
}

impl Provision {
    /// Answers a query for resources of one type, or of several.
    pub async fn query(&self, caller: &Caller, sought: &[Sought], query: &Query) -> Result<Listed> {
        let plans = Plans::new(caller, sought, query)?;
        let fingerprint = mark::fingerprint(caller, sought, query);
        match &query.window {
            Window::Index { start, count } => {
                self.by_index(&plans, &fingerprint, *start, *count).await
            }
            Window::Cursor { cursor, count } => {
                let now = self.clock.now();
                let mark = match cursor.as_str() {
                    "" => None,
                    text => Some(mark::read_cursor(text, &fingerprint, sought.len(), now)?),
                };
                let mut tx = match self.far(&plans, mark.as_ref()).await? {
                    Some(far) => far,
                    None => self.store.read().await?,
                };
                let Turned { mut listed, mut next } =
                    plans.page(&mut tx, mark.as_ref(), 0, *count).await?;
                self.note_reached(&plans, next.as_mut(), &mut tx).await?;
                listed.start_index = None;
                listed.next_cursor = next.map(|next| mark::cursor(&fingerprint, &next, now));
                Ok(listed)
            }
        }
    }

    /// A connection to the standby for a later page of a walk. The first page is read from the primary and says how
    /// far that was; so a walk meets everybody who is there when it begins, and never goes back in time.
    async fn far(&self, plans: &Plans<'_>, mark: Option<&Mark>) -> Result<Option<Tx>> {
        match mark.and_then(|mark| mark.reached).filter(|_| plans.everybody) {
            Some(reached) => Ok(self.store.read_far(reached).await?),
            None => Ok(None),
        }
    }

    /// Notes in the mark of the next page how far the database was when this one was read.
    async fn note_reached(
        &self,
        plans: &Plans<'_>,
        next: Option<&mut Mark>,
        tx: &mut Tx,
    ) -> Result<()> {
        if let Some(next) = next.filter(|_| plans.everybody) {
            next.reached = self.store.reached(tx).await?;
        }
        Ok(())
    }

    async fn by_index(
        &self,
        plans: &Plans<'_>,
        fingerprint: &str,
        start: u64,
        count: u64,
    ) -> Result<Listed> {
        let (caller, now) = (plans.caller, self.clock.now());
        let page = |start: u64| PageId {
            instance: caller.instance,
            key: caller.key,
            query: fingerprint,
            start_index: i64::try_from(start).unwrap_or(i64::MAX),
        };
        let mark = if start == 1 {
            None
        } else {
            let mut tx = self.store.read().await?;
            page_marks::find(&mut tx, page(start), mark::since(now)).await?
        };
        let mark: Option<Mark> = mark.and_then(|mark| serde_json::from_str(&mark).ok());
        let skip = if mark.is_some() { 0 } else { start - 1 };
        // Whoever waits for the standby keeps no connection of the primary meanwhile.
        let mut tx = match self.far(plans, mark.as_ref()).await? {
            Some(far) => far,
            None => self.store.read().await?,
        };
        let Turned { listed, mut next } = plans.page(&mut tx, mark.as_ref(), skip, count).await?;
        self.note_reached(plans, next.as_mut(), &mut tx).await?;
        drop(tx);
        if next.is_some() || mark.is_some() {
            // Whoever only reads must not wait for those who write.
            let kept = self.keep_mark(&page, next.as_ref(), start, now);
            match tokio::time::timeout(MARK_PATIENCE, kept).await {
                Ok(Ok(())) => {}
                // The next page is found by its number then, which is right while nothing is deleted.
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a page mark was not kept");
                }
                Err(_) => tracing::debug!("a page mark was not kept: the writers are busy"),
            }
        }
        Ok(listed)
    }

    /// Keeps the place where the next page begins; behind the last page there is none.
    async fn keep_mark<'p>(
        &self,
        page: &(impl Fn(u64) -> PageId<'p> + Sync),
        next: Option<&Mark>,
        start: u64,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        let current = page(start);
        let mut tx = self.store.begin_small().await?;
        match next {
            None => page_marks::forget(&mut tx, current).await?,
            Some(next) => {
                let mark = serde_json::to_string(next).unwrap_or_default();
                let times = (now, mark::since(now));
                let next = page(next.consumed.saturating_add(1));
                page_marks::keep(&mut tx, next, &mark, current.start_index, times).await?;
            }
        }
        tx.commit().await
    }
}

impl<'a> Plans<'a> {
    fn new(caller: &'a Caller, sought: &'a [Sought], query: &Query) -> Result<Self> {
        let kinds: Vec<&ResourceType> = sought.iter().map(|sought| sought.kind(caller)).collect();
        let parsed = query.filter.as_deref().map(|text| filter::parse(text, &caller.habits));
        let filter = parsed.transpose()?;
        let sorts: Vec<Option<Sort<'_>>> = match query.sort_by.as_deref() {
            None => kinds.iter().map(|_| None).collect(),
            Some(by) => {
                sort::resolve(&kinds, by, query.descending)?.into_iter().map(Some).collect()
            }
        };
        let plan = |(kind, sort)| {
            let plan = Plan::new(kind, &kinds, filter.as_ref(), sort, query);
            plan.map(|plan| plan.seen_by(caller))
        };
        let plans =
            kinds.iter().copied().zip(sorts).map(plan).collect::<std::result::Result<_, _>>()?;
        Ok(Self { caller, sought, each: plans, everybody: query.filter.is_none() })
    }

    /// Reads the page behind a mark, or that many resources behind the beginning.
    async fn page(
        &self,
        tx: &mut Tx,
        mark: Option<&Mark>,
        skip: u64,
        count: u64,
    ) -> Result<Turned> {
        let mut merged = Merged {
            descending: self.each.first().is_some_and(Plan::descends),
            ..Merged::default()
        };
        let single = self.sought.len() == 1;
        if !single && skip > SCAN_ROWS_MAX as u64 {
            return Err(far(skip).into());
        }
        let (offset, dropped) = if single { (skip, 0) } else { (0, skip) };
        for (place, (sought, plan)) in self.sought.iter().zip(&self.each).enumerate() {
            let after = mark.and_then(|mark| mark.after.get(place)?.as_ref());
            plan.require_place(after)?;
            let limit = count.saturating_add(dropped);
            let wanted = Wanted { after, skip: offset, limit, counted: mark.is_none() };
            merged.add(place, sought.stretch(tx, self.caller, plan, wanted).await?);
        }
        let sorted = self.each.first().is_some_and(Plan::is_sorted);
        Ok(merged.turn(sorted, mark, (skip, dropped), count, self.sought.len()))
    }
}

/// What was read of all types, before it is put into one order.
#[derive(Default)]
struct Merged {
    descending: bool,
    hits: Vec<(usize, Hit)>,
    more: bool,
    total: u64,
}

impl Merged {
    fn add(&mut self, place: usize, stretch: Stretch) {
        self.hits.extend(stretch.hits.into_iter().map(|hit| (place, hit)));
        self.more |= stretch.more;
        self.total += stretch.total;
    }

    /// Cuts the page out of what was read.
    fn turn(
        mut self,
        sorted: bool,
        mark: Option<&Mark>,
        (skip, dropped): (u64, u64),
        count: u64,
        types: usize,
    ) -> Turned {
        if sorted {
            let descending = self.descending;
            self.hits
                .sort_by(|(_, left), (_, right)| left.position.order(&right.position, descending));
        }
        let mut after: Vec<Option<Position>> =
            mark.map_or_else(|| vec![None; types], |mark| mark.after.clone());
        let dropped = usize::try_from(dropped).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let end = dropped.saturating_add(count).min(self.hits.len());
        let more = self.more || end < self.hits.len();
        self.hits.truncate(end);
        let mut resources = Vec::with_capacity(end.saturating_sub(dropped));
        for (index, (place, hit)) in self.hits.into_iter().enumerate() {
            if let Some(slot) = after.get_mut(place) {
                *slot = Some(hit.position);
            }
            if index >= dropped {
                resources.push(hit.sheet);
            }
        }
        let before = mark.map_or(skip, |mark| mark.consumed);
        // A cursor may have been made up: its numbers can be anything.
        let consumed = before.saturating_add(resources.len() as u64);
        // The walk tells its end by itself: what was deleted since it began is not waited for.
        let total = match (mark, more) {
            (None, _) => self.total,
            (Some(mark), true) => mark.total.max(consumed.saturating_add(1)),
            (Some(_), false) => consumed,
        };
        let next = (more && count > 0).then_some(Mark { after, consumed, total, reached: None });
        let listed = Listed {
            total,
            start_index: Some(before.saturating_add(1)),
            next_cursor: None,
            resources,
        };
        Turned { listed, next }
    }
}

fn far(skip: u64) -> ScimError {
    ScimError::new(
        ErrorKind::TooMany,
        format!(
            "startIndex {} is too far into several types of resources together: go there page by \
             page, or query one type",
            skip + 1
        ),
    )
}
