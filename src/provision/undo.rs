//! Undo: what happened to one person, in one run or by one connection is taken back by what the audit
//! trail says of it, the newest first.
//!
//! Facts are put back: attributes, the connection, the administrator's word, memberships, life and death,
//! each with the same id. What follows from them the rules decide as ever. What was changed again since
//! stays, and is reported. An undo is a run, and its own events can be taken back like those of any other.

mod apply;
mod plan;
mod preview;

use serde_json::{Value, json};
use uuid::Uuid;

use super::runs::{Step, fresh};
use super::{Error, Provision, Result, not_found, transact};
use crate::directory::undo::Undo;
use crate::directory::{InstanceId, Timestamp};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::search::{self, From, Wanted};
use crate::store::audit::{self, Author, Category, Event};
use crate::store::runs::{self, Run, RunKind};
use crate::store::{StoreError, Tx, connections};

pub use preview::{UNDO_LISTED_MAX, UNDO_PREVIEWED_MAX, UndoLine, UndoPreview};

/// The events that one step of an undo takes back.
const PAGE: i64 = 200;

/// The events that one step takes back at most where people were renamed.
const RENAMED_MAX: usize = 2_000;

/// How far the time of an event can be before that of one with a lesser id: a transaction is dated by its
/// beginning.
const SLACK_MS: i64 = 60 * 60 * 1000;

/// What a run of an undo was told.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Task {
    /// What is taken back.
    undo: Undo,
    /// Events with this id and greater ones came after the undo began.
    before: Uuid,
}

/// Some events that an undo takes back, newest first, and where to go on.
struct Events {
    events: Vec<Event>,
    /// The last event that was looked at; `None` if there is none left.
    last: Option<Uuid>,
}

impl Provision {
    /// Begins to take something back. Who begins it works it off; a server goes on if he cannot.
    pub async fn begin_undo(
        &self,
        author: &Author,
        instance: InstanceId,
        undo: &Undo,
    ) -> Result<Run> {
        transact!(self.store, |tx| begin(&mut tx, author, instance, undo).await)
    }
}

async fn begin(tx: &mut Tx, author: &Author, instance: InstanceId, undo: &Undo) -> Result<Run> {
    require_known(tx, instance, undo).await?;
    let connection = match undo {
        Undo::Connection { connection, .. } => Some(*connection),
        Undo::Account { .. } | Undo::Run { .. } => None,
    };
    let task = Task { undo: undo.clone(), before: author.ids.fresh() };
    let task = serde_json::to_value(task).unwrap_or_default();
    let run = Run { task: Some(task), ..fresh(author, instance, RunKind::Undo, connection) };
    runs::insert(tx, &run).await?;
    let event = author.event(Category::Settings, "run.started", "run", run.id.0);
    let after = Some(json!({ "kind": run.kind, "undo": undo }));
    audit::append(tx, instance, &[audit::Event { after, ..event }]).await?;
    Ok(run)
}

/// Refuses to take back what is none, or not yet all of what it will be.
async fn require_known(tx: &mut Tx, instance: InstanceId, undo: &Undo) -> Result<()> {
    match undo {
        Undo::Account { .. } => Ok(()),
        Undo::Connection { connection, .. } => {
            let found = connections::find(tx, instance, *connection).await?;
            found.map(drop).ok_or_else(|| not_found("connection", &connection.to_string()))
        }
        Undo::Run { run } => {
            let found = runs::find(tx, instance, *run).await?;
            let found = found.ok_or_else(|| not_found("run", &run.to_string()))?;
            if found.ended_at.is_some() {
                return Ok(());
            }
            let detail =
                format!("the run {run} has not ended: wait for its end, or cancel it first");
            Err(Error::from(ScimError::new(ErrorKind::Conflict, detail)))
        }
    }
}

/// Takes back the next events of an undo.
pub(super) async fn page(tx: &mut Tx, author: &Author, run: &Run) -> Result<Step> {
    let (instance, task) = (run.instance, run.told::<Task>()?);
    let from = run.checkpoint.unwrap_or(task.before);
    let Events { events, last } = next(tx, instance, &task.undo, from).await?;
    let changed = apply::apply(tx, author, run, &events).await?;
    let seen = i64::try_from(events.len()).unwrap_or(i64::MAX);
    Ok(Step { last, seen, changed })
}

/// The next events that an undo is about.
async fn next(
    tx: &mut Tx,
    instance: InstanceId,
    undo: &Undo,
    from: Uuid,
) -> std::result::Result<Events, StoreError> {
    let wanted = match undo {
        Undo::Account { account, .. } => Wanted { about: Some(account.0), ..Wanted::default() },
        Undo::Run { run } => Wanted { run: Some(*run), ..Wanted::default() },
        // All that happened since is looked at: the trail has no index of connections.
        Undo::Connection { .. } => Wanted::default(),
    };
    let mut events = search::page(tx, instance, &wanted, From::Before(from), PAGE).await?;
    // Who took names from each other in one transaction gives them back in one.
    while let Some(last) = events.last().filter(|last| renames(last)) {
        let (at, from) = (last.at, From::Before(last.id.0));
        let more = search::page(tx, instance, &wanted, from, PAGE).await?;
        let count = more.len();
        let before = events.len();
        events.extend(more.into_iter().take_while(|event| event.at == at && renames(event)));
        if events.len() < before + count || count == 0 || events.len() >= RENAMED_MAX {
            break;
        }
    }
    let since = undo.since().unwrap_or(Timestamp(i64::MIN));
    let is_older = |event: &Event| event.at < since.plus_ms(-SLACK_MS);
    let last = events.last().filter(|last| !is_older(last)).map(|last| last.id.0);
    events.retain(|event| event.at >= since && is_of(event, undo));
    Ok(Events { events, last })
}

/// Whether somebody was renamed.
fn renames(event: &Event) -> bool {
    let named =
        |side: &Option<Value>| side.as_ref().is_some_and(|side| side.get("userName").is_some());
    named(&event.before) && named(&event.after)
}

/// Whether an event is one of those that are taken back.
fn is_of(event: &Event, undo: &Undo) -> bool {
    match undo {
        Undo::Account { account, .. } => {
            event.target == account.0 || event.member.is_some_and(|member| member.0 == account.0)
        }
        Undo::Run { run } => event.run == Some(*run),
        Undo::Connection { connection, .. } => event.connection == Some(*connection),
    }
}

/// What the trail and a report say of what is put back: the names, not the values.
fn named<'n>(names: impl IntoIterator<Item = &'n String>) -> Value {
    names.into_iter().cloned().collect::<Vec<_>>().into()
}
