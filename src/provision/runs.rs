//! Runs: a change of the rules asks everybody again, page by page, and survives whoever works on it.
//!
//! A page is one transaction: what it changes, the audit rows and the place that the run has got to. The
//! command that starts a run works it off; if it is killed, a server finds the run when its lease is
//! over, and goes on from the last page.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Error, Provision, Result, entering, mapping, migration, not_found, required, scope, transact,
    undo,
};
use crate::directory::{ConnectionId, InstanceId, RunId, Timestamp};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::Author;
use crate::store::runs::{self, Run, RunKind, RunState};
use crate::store::{StoreError, Tx, connections};

/// How long a run belongs to who works on it; each page renews it.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// The unfinished runs that a server takes up at once.
const TAKEN_UP_MAX: i64 = 10;

/// What one page of a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// The last one that was looked at; `None` if there was nobody left.
    pub last: Option<Uuid>,
    /// How many were looked at.
    pub seen: i64,
    /// How many of them were changed.
    pub changed: i64,
}

/// Begins a run, in the transaction that changes what the run goes by. Who started it works it off.
pub(super) async fn begin(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    kind: RunKind,
    connection: ConnectionId,
) -> Result<Run> {
    if connections::find(tx, instance, connection).await?.is_none() {
        return Err(not_found("connection", &connection.to_string()));
    }
    let run = fresh(author, instance, kind, Some(connection));
    runs::insert(tx, &run).await?;
    Ok(run)
}

/// A run that begins now; who starts it works on it.
pub(super) fn fresh(
    author: &Author,
    instance: InstanceId,
    kind: RunKind,
    connection: Option<ConnectionId>,
) -> Run {
    Run {
        id: RunId(author.ids.fresh()),
        instance,
        kind,
        connection,
        state: RunState::Open,
        author: author.name.clone(),
        checkpoint: None,
        seen: 0,
        changed: 0,
        leased_until: later(author.at, LEASE),
        holder: Some(author.ids.fresh()),
        pull: None,
        task: None,
        started_at: author.at,
        ended_at: None,
    }
}

pub(super) fn later(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

impl Provision {
    /// The latest runs of an instance, newest first.
    pub async fn runs(&self, instance: InstanceId, limit: i64) -> Result<Vec<Run>> {
        Ok(runs::list(&mut self.store.read().await?, instance, limit).await?)
    }

    /// One run.
    pub async fn run(&self, instance: InstanceId, id: RunId) -> Result<Option<Run>> {
        Ok(runs::find(&mut self.store.read().await?, instance, id).await?)
    }

    /// Does the next page of a run that the caller has leased.
    pub async fn step(&self, run: &Run) -> Result<Run> {
        let now = self.clock.now();
        let author =
            Author { name: run.author.clone(), run: Some(run.id), at: now, ..self.operator() };
        transact!(self.store, Some(run.instance), |tx| page(&mut tx, &author, run).await)
    }

    /// Works a run off that the caller has leased; `seen` is told after each page.
    pub async fn work_off(&self, run: Run, mut seen: impl FnMut(&Run)) -> Result<Run> {
        let mut run = run;
        while run.state == RunState::Open {
            run = self.step(&run).await?;
            seen(&run);
        }
        Ok(run)
    }

    /// Takes up an unfinished run that nobody works on.
    pub async fn take_up(&self, run: &Run) -> Result<Run> {
        let now = self.clock.now();
        let until = later(now, LEASE);
        let holder = self.ids.fresh();
        transact!(self.store, |tx| {
            // What the one before was at may have been kept after the run was read: it is read again
            // behind the lock that the lease waits for.
            match runs::lease(&mut tx, run, holder, now, until).await {
                Ok(true) => runs::find(&mut tx, run.instance, run.id).await.map_err(Error::from),
                Ok(false) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?
        .ok_or_else(|| taken_over().into())
    }

    /// Finishes what others have left unfinished, on any instance; how many runs that were.
    pub async fn finish_runs(&self) -> Result<usize> {
        let now = self.clock.now();
        let left =
            runs::left_alone(&mut self.store.read().await?, now, false, TAKEN_UP_MAX).await?;
        let mut finished = 0;
        for run in left {
            match self.take_up(&run).await {
                Ok(run) => match self.work_off(run, |_| ()).await {
                    Ok(_) => finished += 1,
                    // The others must not wait for the one that fails.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "a run could not be finished; it is tried again");
                    }
                },
                // Another server was faster.
                Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(finished)
    }
}

pub(super) fn taken_over() -> ScimError {
    let detail =
        "somebody else is working on this run, or it has ended: look again in half a minute";
    ScimError::new(ErrorKind::Forbidden, detail)
}

fn is_pull() -> ScimError {
    let detail = "this run is a pull, which fetches its source again: a server takes it up within a \
                  minute, or take it up here with `csv resume`";
    ScimError::new(ErrorKind::Forbidden, detail)
}

async fn page(tx: &mut Tx, author: &Author, run: &Run) -> Result<Run> {
    let stored = runs::lock(tx, run.instance, run.id).await?.ok_or(StoreError::Stale)?;
    if (stored.seen, stored.holder) != (run.seen, run.holder) {
        return Err(taken_over().into());
    }
    let (instance, own, after) = (run.instance, || run.own_connection(), run.checkpoint);
    let step = match run.kind {
        RunKind::Scope => scope::look_again_page(tx, instance, own()?, author, after).await?,
        RunKind::Mapping => mapping::remap_page(tx, instance, own()?, author, after).await?,
        RunKind::Groups => entering::reenter_page(tx, instance, own()?, author, after).await?,
        RunKind::Required => required::recheck_page(tx, instance, own()?, author, after).await?,
        RunKind::Undo => undo::page(tx, author, run).await?,
        RunKind::Migration => return migration::page(tx, author, run).await,
        RunKind::Pull | RunKind::Rehearsal => return Err(is_pull().into()),
    };
    advance(tx, author, run, step).await
}

/// Keeps how far a run has got with a page; it is done where nobody was left.
pub(super) async fn advance(tx: &mut Tx, author: &Author, run: &Run, step: Step) -> Result<Run> {
    let mut next = Run {
        checkpoint: step.last.or(run.checkpoint),
        seen: run.seen + step.seen,
        changed: run.changed + step.changed,
        leased_until: later(author.at, LEASE),
        ..run.clone()
    };
    if step.last.is_none() {
        (next.state, next.ended_at) = (RunState::Done, Some(author.at));
    }
    runs::advance(tx, run, &next).await?;
    Ok(next)
}
