//! The use cases that Users and Groups share: find, show, create, replace, change, delete.
//!
//! A [`Resource`] brings what differs (its table, its document, its own rules); the order of things
//! is the same for both: refuse who may not write, lock, decide, keep with an audit row, show.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::claims::{self, meet, reach, standing};
use super::parted::{Related, Sheet};
use super::schemas::newest;
use super::{Caller, Provision, Result, Shown, Sought, guard, not_found, taken, transact};
use crate::clock::Ids;
use crate::directory::rules::Claim;
use crate::directory::{Approval, ConnectionId, InstanceId, Losses, MemberKind, Timestamp, ids};
use crate::scim::extension::{UniqueValue, hide, unique_values};
use crate::scim::habits::Habits;
use crate::scim::message::Operation;
use crate::scim::patch::{self, Change};
use crate::scim::project::Projection;
use crate::scim::resource::require_indexable;
use crate::scim::schema::ResourceType;
use crate::scim::schemas::Schemas;
use crate::scim::sort::Key;
use crate::scim::version::Expected;
use crate::scim::{Document, ScimError};
use crate::store::audit::{self, Author};
use crate::store::query::{self, Column, Narrow, Purpose, Table, Viewer};
use crate::store::unique::{self, Held};
use crate::store::waist::StillTable;
use crate::store::{Record, StoreError, Tx, connections};

/// A kind of resource that clients provision: [`Users`](super::Users) or [`Groups`](super::Groups).
pub trait Resource: 'static {
    /// A row of its table.
    type Row: Record + Clone + Sync;
    /// What a client sends to create or replace one.
    type Sent: Clone + Send + Sync;
    /// What a query for it seeks.
    const SOUGHT: Sought;
    /// What the protocol calls it.
    const NAME: &'static str;
    /// What the directory calls it, in the audit trail.
    const NOUN: &'static str;
    /// What it is as a member of groups.
    const MEMBER_KIND: MemberKind;
    /// The attribute that names it, uniquely in the instance.
    const NAME_ATTRIBUTE: &'static str;
    /// Its table.
    const TABLE: Table;
    /// The same, for who lets nobody write to it.
    const STILL: StillTable;
    /// The attribute that is made of other rows: the groups of a user, the members of a group.
    const RELATED: &'static str;
    /// Whether nothing else is lost with one that is deleted.
    const IS_DELETED_ALONE: bool;

    /// Its schemas.
    fn kind(schemas: &Schemas) -> &ResourceType;
    /// Reads the body of a POST or PUT.
    fn read_sent(
        schemas: &Schemas,
        habits: &Habits,
        body: Value,
    ) -> std::result::Result<Self::Sent, ScimError>;
    /// The id of a row.
    fn id(row: &Self::Row) -> Uuid;
    /// The connection that owns a row.
    fn owner(row: &Self::Row) -> Option<ConnectionId>;
    /// Its name in the directory.
    fn name(row: &Self::Row) -> &str;
    /// Whether it is out of reach of every connection.
    fn is_protected(_row: &Self::Row) -> bool {
        false
    }
    /// Since when the guard holds that its client has deleted it.
    fn deletion_held_at(row: &Self::Row) -> Option<Timestamp>;
    /// Whether the guard holds that some of its members have left.
    fn holds_members(_row: &Self::Row) -> bool {
        false
    }
    /// A row as the client sees it that has said this of it; what the directory keeps in columns stays.
    fn laid_over(row: Self::Row, document: Document) -> Self::Row;
    /// The value of a row in a column that queries are sorted by.
    fn key(row: &Self::Row, column: Column) -> Option<Key>;
    /// Whether nothing can be there yet of what [`Self::RELATED`] shows of a row that somebody made just now.
    fn is_unrelated(_row: &Self::Row, _now: Timestamp) -> bool {
        false
    }
    /// How often a row has changed.
    fn version(row: &Self::Row) -> i64;
    /// The document of a live row; a tombstone holds no value that others could not have.
    fn live_document(row: &Self::Row) -> Option<&Document>;
    /// A row as the audit trail compares it: its document and what the server made of it.
    fn facets(row: &Self::Row) -> Map<String, Value>;
    /// The rule behind the state of a row, where one fired.
    fn rule(_row: &Self::Row) -> Option<&'static str> {
        None
    }

    /// What clients read of some rows; `related` says how much of [`Self::RELATED`].
    fn render(
        tx: &mut Tx,
        caller: &Caller,
        rows: &[Self::Row],
        related: Related,
    ) -> impl Future<Output = std::result::Result<Vec<Sheet>, StoreError>> + Send;
    /// What clients read of a row that a PATCH has changed.
    fn render_changed(
        tx: &mut Tx,
        caller: &Caller,
        row: Self::Row,
        projection: &Projection,
    ) -> impl Future<Output = Result<Shown>> + Send;

    /// Keeps a new row, or picks up the Local one of the same name.
    fn create(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        ids: Ids,
        sent: Self::Sent,
    ) -> impl Future<Output = Result<Self::Row>> + Send;
    /// Replaces a row by what was sent.
    fn replace(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Self::Row,
        sent: Self::Sent,
    ) -> impl Future<Output = Result<Self::Row>> + Send;
    /// Makes the changes of a PATCH, all of them or none.
    fn change(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Self::Row,
        changes: Vec<Change<'_>>,
    ) -> impl Future<Output = Result<Self::Row>> + Send;
    /// Picks up a Local row with what the client has said of it so far.
    fn accept(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Self::Row,
        asked: Approval,
    ) -> impl Future<Output = Result<Self::Row>> + Send;
    /// Turns a row into a tombstone; what is lost by that.
    fn delete(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Self::Row,
    ) -> impl Future<Output = Result<Losses>> + Send;
    /// Keeps that its client has deleted a row, until an administrator decides.
    fn hold_deletion(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Self::Row,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl Provision {
    /// Reads one resource.
    pub async fn read<R: Resource>(
        &self,
        caller: &Caller,
        id: &str,
        projection: &Projection,
    ) -> Result<Shown> {
        let mut tx = self.store.read().await?;
        let row = find::<R>(&mut tx, caller, id, Purpose::Look).await?;
        show::<R>(&mut tx, caller, row, projection).await
    }

    /// Creates a resource, or picks up the Local one of its name. A name that any other resource of
    /// the instance holds is refused with `uniqueness`.
    pub async fn create<R: Resource>(
        &self,
        caller: &Caller,
        sent: R::Sent,
        projection: &Projection,
    ) -> Result<Shown> {
        caller.require_pushing()?;
        let author = caller.author(self.clock.now(), self.ids);
        transact!(begin_small, self.store, Some(caller.instance), |tx| {
            create::<R>(&mut tx, caller, &author, self.ids, sent.clone(), projection).await
        })
    }

    /// Replaces a resource by what the client sent, if it is in the version that the client expects.
    pub async fn replace<R: Resource>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Expected,
        sent: R::Sent,
        projection: &Projection,
    ) -> Result<Shown> {
        caller.require_pushing()?;
        let author = caller.author(self.clock.now(), self.ids);
        transact!(begin_small, self.store, Some(caller.instance), |tx| {
            let sent = sent.clone();
            replace::<R>(&mut tx, caller, &author, id, expected, sent, projection).await
        })
    }

    /// Changes a resource by the operations of a PATCH, all of them or none.
    pub async fn patch<R: Resource>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Expected,
        operations: Vec<Operation>,
        projection: &Projection,
    ) -> Result<Shown> {
        caller.require_pushing()?;
        let author = caller.author(self.clock.now(), self.ids);
        let changes = patch::changes(R::kind(&caller.schemas), &caller.habits, operations)?;
        transact!(begin_small, self.store, Some(caller.instance), |tx| {
            let changes = changes.clone();
            change::<R>(&mut tx, caller, &author, id, expected, changes, projection).await
        })
    }

    /// Deletes a resource: from now on it is a 404 and its name is free.
    ///
    /// A Local one is refused: a connection deletes what it has provisioned, nothing else.
    pub async fn delete<R: Resource>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Expected,
    ) -> Result<()> {
        caller.require_pushing()?;
        let author = caller.author(self.clock.now(), self.ids);
        transact!(begin_small, self.store, Some(caller.instance), |tx| delete::<R>(
            &mut tx, caller, &author, id, expected
        )
        .await)
    }
}

/// The row that holds a name, whoever owns it; locked, so that it can be picked up.
pub(super) async fn holder<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    name: Narrow,
) -> Result<Option<R::Row>> {
    let viewer = Viewer::Administrator;
    Ok(query::one(tx, &R::TABLE, caller.instance, viewer, &name, Purpose::Change).await?)
}

/// What every write of a row ends with: its unique values, and its row in the audit trail.
pub(super) async fn finish<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    schemas: &Arc<Schemas>,
    author: &Author,
    before: Option<&R::Row>,
    after: &R::Row,
    done: &str,
) -> Result<()> {
    finish_all::<R>(tx, instance, schemas, author, &[(before, after)], done).await
}

/// The same for several rows, each as it was and as it is: as many statements as for one.
pub(super) async fn finish_all<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    schemas: &Arc<Schemas>,
    author: &Author,
    rows: &[(Option<&R::Row>, &R::Row)],
    done: &str,
) -> Result<()> {
    let live = |(before, after): &(Option<&R::Row>, &R::Row)| {
        before.and_then(R::live_document) != R::live_document(after)
    };
    let mut schemas = schemas.clone();
    if rows.iter().any(live) {
        // Somebody may have defined a unique attribute since the request came.
        schemas = newest(tx, instance, &schemas).await?;
        keep_unique::<R>(tx, instance, R::kind(&schemas), rows).await?;
    }
    let kind = R::kind(&schemas);
    let event = |(before, after): &(Option<&R::Row>, &R::Row)| {
        event::<R>(kind, author, *before, after, done)
    };
    let events: Vec<_> = rows.iter().map(event).collect();
    Ok(audit::append(tx, instance, &events).await?)
}

/// Frees the unique values that resources no longer have and takes those that they have now, or refuses.
async fn keep_unique<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    kind: &ResourceType,
    rows: &[(Option<&R::Row>, &R::Row)],
) -> Result<()> {
    let held =
        |value: &UniqueValue| Held { attribute: value.attribute.clone(), key: value.key.clone() };
    let values = |document: Option<&Document>| {
        document.map(|document| unique_values(kind, document)).unwrap_or_default()
    };
    let same = |one: &UniqueValue, other: &UniqueValue| {
        (&one.attribute, &one.key) == (&other.attribute, &other.key)
    };
    let (mut wanted, mut names) = (Vec::new(), Vec::new());
    for (before, after) in rows {
        let id = R::id(after);
        let was = values(before.and_then(R::live_document));
        let is = values(R::live_document(after));
        for gone in was.iter().filter(|gone| !is.iter().any(|other| same(gone, other))) {
            unique::free(tx, instance, &held(gone), id).await?;
        }
        for new in is.into_iter().filter(|new| !was.iter().any(|other| same(new, other))) {
            require_indexable(&new.name, &new.text)?;
            wanted.push((held(&new), id));
            names.push((new.name, new.text));
        }
    }
    let Some(missed) = unique::hold_all(tx, instance, &wanted).await? else { return Ok(()) };
    let place = wanted.iter().position(|wanted| *wanted == missed);
    let (name, text) = place.and_then(|place| names.into_iter().nth(place)).unwrap_or_default();
    Err(taken(&name, &text, R::NOUN))
}

/// What the audit trail says of what was done to a row: `done` is `created`, `changed`, `deleted` or
/// `picked_up`, and only what differs is kept of before and after.
fn event<R: Resource>(
    kind: &ResourceType,
    author: &Author,
    before: Option<&R::Row>,
    after: &R::Row,
    done: &str,
) -> audit::Event {
    let action = format!("{}.{done}", R::NOUN);
    let event = author.change(&action, R::NOUN, R::id(after));
    let (was, is) = (before.map(R::facets).unwrap_or_default(), R::facets(after));
    let side = |one: &Map<String, Value>, other: &Map<String, Value>| {
        let mut differing = audit::differing(one, other);
        hide(kind, &mut differing);
        Value::Object(differing)
    };
    audit::Event {
        before: before.map(|_| side(&was, &is)),
        after: Some(side(&is, &was)),
        // A rule has fired only if it was not the reason before.
        rule: R::rule(after)
            .filter(|rule| before.and_then(R::rule) != Some(rule))
            .filter(|_| author.rule.is_none())
            .map(str::to_owned)
            .or(event.rule),
        ..event
    }
}

/// The row in full, as the client asked for it.
pub(super) async fn show<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    row: R::Row,
    projection: &Projection,
) -> Result<Shown> {
    show_with::<R>(tx, caller, row, projection, projection.wants(R::RELATED)).await
}

async fn show_with<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    row: R::Row,
    projection: &Projection,
    related: bool,
) -> Result<Shown> {
    let rows = [row];
    let rendered = claims::render::<R>(tx, caller, &rows, Related::shown(related)).await?;
    let rendered = rendered.into_iter().next().unwrap_or_else(|| Document::new().into());
    let [row] = rows;
    Ok(shown::<R>(caller, &row, rendered, projection))
}

/// A rendered row as its client asked for it.
pub(super) fn shown<R: Resource>(
    caller: &Caller,
    row: &R::Row,
    rendered: Sheet,
    projection: &Projection,
) -> Shown {
    let tag = rendered.document.get("meta").and_then(|meta| meta.get("version")?.as_str());
    Shown {
        id: R::id(row),
        tag: tag.unwrap_or_default().to_owned(),
        sheet: Some(rendered.projected(R::kind(&caller.schemas), projection)),
    }
}

/// The row of an id, if the caller can see it, in the version that the caller expects.
pub(super) async fn find<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    id: &str,
    purpose: Purpose,
) -> Result<R::Row> {
    let unknown = || not_found(R::NAME, id);
    let narrow = Narrow::Id(ids::exact(id).ok_or_else(unknown)?);
    let (instance, viewer) = (caller.instance, caller.viewer());
    let found = query::one(tx, &R::TABLE, instance, viewer, &narrow, purpose).await?;
    found.ok_or_else(unknown)
}

/// The caller with the settings that its connection has now: an administrator may have changed them, or
/// paused it, since the request came.
pub(super) async fn renewed(tx: &mut Tx, caller: &Caller) -> Result<Caller> {
    let connection = connections::find(tx, caller.instance, caller.connection).await?;
    let connection = connection.ok_or(StoreError::Stale)?;
    let caller =
        Caller { status: connection.status, settings: connection.settings, ..caller.clone() };
    caller.require_enabled()?;
    Ok(caller)
}

pub(super) async fn create<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    ids: Ids,
    sent: R::Sent,
    projection: &Projection,
) -> Result<Shown> {
    let caller = &renewed(tx, caller).await?;
    let row = R::create(tx, caller, author, ids, sent).await?;
    let related = projection.wants(R::RELATED) && !R::is_unrelated(&row, author.at);
    show_with::<R>(tx, caller, row, projection, related).await
}

pub(super) async fn replace<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    id: &str,
    expected: &Expected,
    sent: R::Sent,
    projection: &Projection,
) -> Result<Shown> {
    let caller = &renewed(tx, caller).await?;
    let before = find::<R>(tx, caller, id, Purpose::Change).await?;
    let before = meet::<R>(tx, caller, author, before, expected).await?;
    let row = R::replace(tx, caller, author, before, sent).await?;
    show::<R>(tx, caller, row, projection).await
}

pub(super) async fn change<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    id: &str,
    expected: &Expected,
    changes: Vec<Change<'_>>,
    projection: &Projection,
) -> Result<Shown> {
    let caller = &renewed(tx, caller).await?;
    let before = find::<R>(tx, caller, id, Purpose::Change).await?;
    let before = meet::<R>(tx, caller, author, before, expected).await?;
    let row = R::change(tx, caller, author, before, changes).await?;
    if standing::<R>(&row, caller) == Claim::Ask {
        return show::<R>(tx, caller, row, projection).await;
    }
    R::render_changed(tx, caller, row, projection).await
}

pub(super) async fn delete<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    id: &str,
    expected: &Expected,
) -> Result<()> {
    let caller = &renewed(tx, caller).await?;
    let before = find::<R>(tx, caller, id, Purpose::Change).await?;
    if reach::<R>(&before, caller)? != Claim::Own {
        return claims::withdraw::<R>(tx, caller, author, before, expected).await;
    }
    expected.require(R::version(&before))?;
    guard::delete::<R>(tx, caller, author, before).await
}
