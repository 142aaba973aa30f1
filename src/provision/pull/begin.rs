//! Beginning pulls, looking at them, and deciding about them.

use serde_json::json;
use uuid::Uuid;

use super::PULL_LEASE;
use crate::directory::{ConnectionId, ConnectionStatus, InstanceId, Pull, RunId, Timestamp};
use crate::provision::runs::{fresh, later};
use crate::provision::{Error, Provision, Result, not_found, transact};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::run_items::{self, Item};
use crate::store::runs::{self, Run, RunKind, RunState};
use crate::store::sources::{self, Source};
use crate::store::{StoreError, Tx, connections};

/// The pulls of a connection that a list shows at most.
pub const PULLS_SHOWN_MAX: i64 = 1_000;

/// The lines of a report that are read at once.
pub const REPORT_PAGE_MAX: i64 = 1_000;

/// The pulls that a server looks for at once.
const FOUND_MAX: i64 = 10;

/// Who works on a pull that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// Whoever began it.
    Here,
    /// The next server that looks for work.
    Anybody,
}

impl Worker {
    /// Who holds a run that begins now, and until when.
    fn lease(self, author: &Author) -> (Option<Uuid>, Timestamp) {
        match self {
            Self::Here => (Some(author.ids.fresh()), later(author.at, PULL_LEASE)),
            Self::Anybody => (None, author.at),
        }
    }
}

impl Provision {
    /// Begins a pull of a connection, or a rehearsal of one; refused if another one has not ended.
    pub async fn begin_pull(
        &self,
        author: &Author,
        instance: InstanceId,
        connection: ConnectionId,
        dry: bool,
        worker: Worker,
    ) -> Result<Run> {
        transact!(self.store, |tx| {
            begin(&mut tx, author, instance, connection, dry, worker).await
        })
    }

    /// Begins the pulls whose time has come, each on one replica only; how many began.
    pub async fn begin_due_pulls(&self) -> Result<usize> {
        let now = self.clock.now();
        let due = sources::due(&mut self.store.read().await?, now, FOUND_MAX).await?;
        let mut count = 0;
        for source in due {
            let author = Author { name: "schedule".to_owned(), ..self.operator() };
            match transact!(self.store, |tx| begin_due(&mut tx, &author, &source).await) {
                Ok(began) => count += usize::from(began),
                // The others must not wait for the one that fails.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(connection = %source.connection, error, "a scheduled run could not begin");
                }
            }
        }
        Ok(count)
    }

    /// The pulls that nobody works on.
    pub async fn pulls_left_alone(&self) -> Result<Vec<Run>> {
        let now = self.clock.now();
        Ok(runs::left_alone(&mut self.store.read().await?, now, true, FOUND_MAX).await?)
    }

    /// The latest pulls of a connection, newest first.
    pub async fn pulls(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        limit: i64,
    ) -> Result<Vec<Run>> {
        let limit = limit.clamp(1, PULLS_SHOWN_MAX);
        Ok(runs::pulls(&mut self.store.read().await?, instance, connection, limit).await?)
    }

    /// Lines of the report of a pull, from the one at `from` on.
    pub async fn report(&self, run: &Run, from: i64) -> Result<Vec<Item>> {
        let mut tx = self.store.read().await?;
        Ok(run_items::page(&mut tx, run.instance, run.id, from, REPORT_PAGE_MAX).await?)
    }

    /// Lets a held pull go on: as many people as it was held for may lose their access, if the file is
    /// still the same.
    pub async fn let_go_on(&self, author: &Author, run: &Run, worker: Worker) -> Result<Run> {
        let (holder, leased_until) = worker.lease(author);
        transact!(self.store, |tx| {
            decide(&mut tx, author, run, "run.let_go_on", |run| {
                let Some(pull) = run.pull.as_mut().filter(|_| run.state == RunState::Held) else {
                    return false;
                };
                (pull.approved, pull.reason) = (Some(pull.leaving.leaving), None);
                (run.state, run.holder, run.leased_until) = (RunState::Open, holder, leased_until);
                true
            })
            .await
        })
    }

    /// Ends a pull that has not ended: what it has applied stays.
    pub async fn cancel_pull(&self, author: &Author, run: &Run) -> Result<Run> {
        transact!(self.store, |tx| {
            decide(&mut tx, author, run, "run.cancelled", |run| {
                if let Some(pull) = &mut run.pull {
                    pull.reason = Some(format!("ended by {}", author.name));
                }
                (run.state, run.holder) = (RunState::Cancelled, None);
                run.ended_at = Some(author.at);
                true
            })
            .await
        })
    }
}

/// Keeps what an administrator decides about a run, if it has not ended and can be decided so.
async fn decide(
    tx: &mut Tx,
    author: &Author,
    run: &Run,
    action: &str,
    change: impl Fn(&mut Run) -> bool,
) -> Result<Run> {
    let found = runs::lock(tx, run.instance, run.id).await?;
    let before = found.filter(|run| run.ended_at.is_none()).ok_or_else(|| ended(run.id))?;
    let mut after = before.clone();
    if !change(&mut after) {
        return Err(ended(run.id).into());
    }
    runs::decide(tx, &after).await?;
    let event = author.event(Category::Settings, action, "run", run.id.0);
    let event = audit::Event {
        before: Some(json!({ "state": before.state })),
        after: Some(json!({ "state": after.state, "connection": after.connection })),
        run: Some(run.id),
        ..event
    };
    audit::append(tx, run.instance, &[event]).await?;
    Ok(after)
}

fn ended(run: RunId) -> ScimError {
    let detail =
        format!("the run {run} has ended, or is not held: look at it with `csv runs` again");
    ScimError::new(ErrorKind::Conflict, detail)
}

async fn begin(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    connection: ConnectionId,
    dry: bool,
    worker: Worker,
) -> Result<Run> {
    let unknown = || not_found("connection", &connection.to_string());
    let found = connections::find(tx, instance, connection).await?.ok_or_else(unknown)?;
    if sources::find(tx, instance, connection).await?.is_none() {
        let detail = format!("the connection \"{}\" is pushed: it has no source", found.name);
        return Err(ScimError::new(ErrorKind::Forbidden, detail).into());
    }
    if found.status != ConnectionStatus::Enabled && !dry {
        let detail = format!(
            "the connection \"{}\" is {}: a dry run is possible, and a run once it is enabled",
            found.name, found.status
        );
        return Err(ScimError::new(ErrorKind::Forbidden, detail).into());
    }
    let kind = if dry { RunKind::Rehearsal } else { RunKind::Pull };
    let (holder, leased_until) = worker.lease(author);
    let pull = Some(Pull { dry, ..Pull::default() });
    let run = Run { leased_until, holder, pull, ..fresh(author, instance, kind, Some(connection)) };
    match runs::insert(tx, &run).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => {
            let other = runs::pull_under_way(tx, instance, connection).await?;
            return Err(under_way(&found.name, other.as_ref()).into());
        }
        Err(error) => return Err(error.into()),
    }
    let event = author.event(Category::Settings, "run.started", "run", run.id.0);
    let after = Some(json!({ "kind": run.kind, "connection": connection, "dry": dry }));
    let event = audit::Event { after, run: Some(run.id), ..event };
    audit::append(tx, instance, &[event]).await?;
    Ok(run)
}

fn under_way(name: &str, other: Option<&Run>) -> ScimError {
    let detail = match other {
        Some(other) if other.state == RunState::Held => format!(
            "the run {} of \"{name}\" is held: let it go on with `csv continue`, or end it with `csv \
             cancel`",
            other.id
        ),
        Some(other) => format!(
            "the run {} of \"{name}\" is under way: wait for its end, or end it with `csv cancel`",
            other.id
        ),
        None => format!("another run of \"{name}\" has just ended: try again"),
    };
    ScimError::new(ErrorKind::Conflict, detail)
}

/// Begins the pull of a source whose time has come, and moves its time on; whether it began. While another
/// one is under way, or the connection is not enabled, only the time moves on.
async fn begin_due(tx: &mut Tx, author: &Author, source: &Source) -> Result<bool> {
    let next = next_run(source, author.at);
    if !sources::move_on(tx, source, next).await? {
        return Ok(false);
    }
    match begin(tx, author, source.instance, source.connection, false, Worker::Anybody).await {
        Ok(_) => Ok(true),
        Err(Error::Refused(refusal)) => {
            tracing::info!(
                connection = %source.connection,
                reason = refusal.detail,
                "a scheduled run was left out"
            );
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// When a source is pulled next; all replicas agree.
pub(in crate::provision) fn next_run(source: &Source, now: Timestamp) -> Option<Timestamp> {
    let (_, seed) = source.connection.0.as_u64_pair();
    source.schedule.as_ref()?.next_after(now, seed)
}
