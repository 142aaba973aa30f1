//! Pulls: what a source says of people goes through the same rules as what a client pushes.
//!
//! Whoever fetches and reads a source hands its rows over in batches. A batch is one transaction: the
//! accounts, the groups, the lines of the report, and how far the run has got; so a run that is killed is
//! gone on with from its last batch, on any replica, and ends as if nothing had happened.

mod apply;
mod begin;
mod groups;
pub(super) mod report;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::resource::renewed;
use super::runs::{later, taken_over};
use super::{Caller, Error, Provision, Result, not_found, standing, transact};
use crate::directory::guard::Leaving;
use crate::directory::source::{MatchBy, Stage};
use crate::directory::{
    Account, AccountId, Connection, ConnectionId, InstanceId, LastPull, Pull, Scope, Status,
    Timestamp,
};
use crate::scim::Document;
use crate::scim::schemas::Schemas;
use crate::store::accounts::{self, Listed, Sought};
use crate::store::audit::Author;
use crate::store::run_items::{self, Item};
use crate::store::runs::{self, Run, RunState};
use crate::store::sources::{self, Source};
use crate::store::{StoreError, Tx, connections, licences, schemas};

pub(super) use begin::next_run;
pub use begin::{PULLS_SHOWN_MAX, REPORT_PAGE_MAX, Worker};

/// How long a pull belongs to who works on it; whoever does says so more often.
pub const PULL_LEASE: Duration = super::runs::LEASE;

/// The notes about a run.
pub const NOTES_MAX: usize = 50;

/// A row of a source, or what was wrong with one.
#[derive(Debug, Clone)]
pub enum Line {
    /// A person.
    Entry(Box<Entry>),
    /// A row that cannot be used.
    Refused {
        /// The line of the file on which the row begins, from 1.
        line: i64,
        /// The user name, as far as there is one.
        name: String,
        /// By what the person is matched, as far as it is known whom the row is about.
        key: Option<String>,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// A person as a source has her.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line of the file on which the row begins, from 1.
    pub line: i64,
    /// The user name, for the report.
    pub name: String,
    /// By what the person is matched: the folded user name, or the external id.
    pub key: String,
    /// What the source wants.
    pub action: Action,
    /// All that the source says of the person.
    pub document: Document,
    /// The names of the groups the person is in; `None` if the source does not speak of groups.
    pub groups: Option<Vec<String>>,
    /// The hash of the password that a new account gets.
    pub password: Option<String>,
}

/// What a source wants done with a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The person is as the row says.
    Keep,
    /// The person may not enter.
    Suspend,
    /// The person is gone.
    Delete,
}

impl Entry {
    /// Whether the person loses her access by it.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.action != Action::Keep || self.document.get("active") == Some(&Value::Bool(false))
    }
}

/// A pull at work: the connection as the writer of what its source says.
#[derive(Debug, Clone)]
pub struct Puller {
    provision: Provision,
    caller: Caller,
    /// The connection.
    pub connection: Connection,
    /// Its source.
    pub source: Source,
    /// Whether everything is taken back.
    dry: bool,
}

/// What a batch came to.
#[derive(Debug, Default, Clone)]
struct Batch {
    items: Vec<Item>,
    unchanged: i64,
    /// Why the run cannot go on behind it.
    stopped: Option<String>,
    /// The seats that it took, less those that it freed.
    seats: i64,
    /// The people who lost their access.
    left: i64,
    /// What an administrator should know.
    notes: Vec<String>,
}

impl Provision {
    /// Makes ready to work on a pull that the caller has taken.
    pub async fn puller(&self, run: &Run) -> Result<Puller> {
        let puller = self.puller_of(run.instance, run.own_connection()?).await?;
        Ok(Puller { dry: run.pull.as_ref().is_some_and(|pull| pull.dry), ..puller })
    }

    /// The same, for who only looks at the source: nothing that it does stays.
    pub async fn puller_of(&self, instance: InstanceId, id: ConnectionId) -> Result<Puller> {
        let mut tx = self.store.read().await?;
        let unknown = || not_found("connection", &id.to_string());
        let connection = connections::find(&mut tx, instance, id).await?.ok_or_else(unknown)?;
        let source = sources::find(&mut tx, instance, id).await?.ok_or_else(unknown)?;
        let schemas = schemas::of_instance(&mut tx, instance).await?;
        let caller = Caller::of(connection.clone(), schemas);
        Ok(Puller { provision: self.clone(), caller, connection, source, dry: true })
    }
}

impl Puller {
    /// The time, as the use cases have it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.provision.clock.now()
    }

    /// The schemas of the instance, for who makes documents of rows.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller with the settings that the connection has now, as long as it may write; a rehearsal
    /// writes nothing that stays.
    async fn current(&self, tx: &mut Tx, schemas: Arc<Schemas>) -> Result<Caller> {
        let caller = Caller { schemas, ..self.caller.clone() };
        if self.dry {
            return Ok(caller);
        }
        renewed(tx, &caller).await
    }

    fn author(&self, run: &Run) -> Author {
        Author {
            name: self.connection.name.clone(),
            client: None,
            connection: Some(self.connection.id),
            key: None,
            request_id: None,
            run: Some(run.id),
            rule: None,
            at: self.now(),
            ids: self.provision.ids,
        }
    }

    fn sought(&self) -> Sought {
        match self.source.settings.match_by {
            MatchBy::UserName => Sought::UserName,
            MatchBy::ExternalId => Sought::ExternalId(self.connection.id),
        }
    }

    fn key_of<'a>(&self, listed: &'a Listed) -> Option<&'a str> {
        match self.source.settings.match_by {
            MatchBy::UserName => Some(&listed.user_name_key),
            MatchBy::ExternalId => listed.external_id.as_deref(),
        }
    }

    /// Keeps how far the run is: its stage and what was found out. Its lease begins anew.
    pub async fn advance(&self, run: &Run, pull: Pull) -> Result<Run> {
        let begins = pull.stage == Stage::Applying && !self.dry;
        let next = self.renewed(&Run { pull: Some(pull), ..run.clone() });
        transact!(self.provision.store, |tx| {
            match runs::advance(&mut tx, run, &next).await {
                Ok(()) if begins => self.leave_last(&mut tx).await,
                done => done,
            }
            .map_err(Error::from)
        })?;
        Ok(next)
    }

    /// Makes the next run look at every row, whatever becomes of this one: from its first change on the
    /// directory is no longer what the last complete run has made of it.
    async fn leave_last(&self, tx: &mut Tx) -> std::result::Result<(), StoreError> {
        let Some(last) = &self.source.last else { return Ok(()) };
        let left =
            LastPull { etag: None, last_modified: None, checksum: String::new(), ..last.clone() };
        sources::set_last(tx, &self.source, &left).await
    }

    fn renewed(&self, run: &Run) -> Run {
        Run { leased_until: later(self.now(), PULL_LEASE), ..run.clone() }
    }

    /// The next people of the connection, each with the key that a source would have for her.
    pub async fn listed(
        &self,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<(Listed, Option<String>)>> {
        let mut tx = self.provision.store.read().await?;
        let (instance, id) = (self.connection.instance, self.connection.id);
        let page = accounts::listed(&mut tx, instance, id, after, limit).await?;
        let keyed = page.into_iter().map(|listed| {
            let key = self.key_of(&listed).map(str::to_owned);
            (listed, key)
        });
        Ok(keyed.collect())
    }

    /// How many people would lose their access by some lines: whom they disable or delete, and who is in no
    /// sync group any more by the groups that they name. Local people who would be picked up for it are among
    /// those who have it now, too.
    pub async fn count_leaving(&self, lines: &[Line]) -> Result<Leaving> {
        let scoped = self.connection.settings.scope == Scope::Groups;
        let counts = |entry: &&Entry| entry.leaves() || (scoped && entry.groups.is_some());
        let entries: Vec<&Entry> = apply::entries(lines).filter(counts).collect();
        if entries.is_empty() {
            return Ok(Leaving::default());
        }
        let mut tx = self.provision.store.read().await?;
        apply::count_leaving(&mut tx, self, &entries).await
    }

    /// Those lines that would change something or are refused, by their places, and whether each is about
    /// somebody new.
    ///
    /// What is compared is not locked: whoever applies the lines looks again.
    pub async fn changing(&self, lines: &[Line]) -> Result<Vec<(usize, bool)>> {
        let mut tx = self.provision.store.read().await?;
        apply::changing(&mut tx, self, lines).await
    }

    /// Applies a batch of lines, behind `unchanged` others that said nothing new, in one transaction
    /// with the report and the place of the run.
    ///
    /// Where a single row cannot be, it is left out with the reason and nothing of it is kept. The
    /// run fails, with what was applied before kept, where no seat is free and the policy of the licence
    /// is to stop.
    pub async fn apply(&self, run: &Run, lines: &[Line], unchanged: i64) -> Result<Run> {
        self.work(run, Work::Lines { lines, unchanged }).await
    }

    /// Tells the database that there are many more people than before. That is advice: without it the next
    /// batches are slower.
    pub async fn learn(&self) {
        let learnt = async { accounts::learn(&mut self.provision.store.read().await?).await };
        if let Err(error) = learnt.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database has not counted"
            );
        }
    }

    /// Suspends some people whom the source no longer has, in one transaction with the report and the
    /// place of the run; `last` is the last person that was looked at, and `seen` how many were.
    pub async fn suspend(
        &self,
        run: &Run,
        missing: &[AccountId],
        last: Uuid,
        seen: i64,
    ) -> Result<Run> {
        self.work(run, Work::Missing { missing, last, seen }).await
    }

    async fn work(&self, run: &Run, work: Work<'_>) -> Result<Run> {
        let author = self.author(run);
        let (store, instance) = (&self.provision.store, self.connection.instance);
        if !self.dry {
            return transact!(store, Some(instance), |tx| {
                self.worked(&mut tx, &author, run, work).await
            });
        }
        let batch = if work.is_empty() {
            Batch::default()
        } else {
            self.rehearse(&author, run.pulled().seats, work).await?
        };
        transact!(store, |tx| self.keep(&mut tx, run, work, batch.clone()).await)
    }

    /// Does a batch and keeps it, unless more people lose their access by it than the guard allows: then
    /// nothing of it is kept, and the run is held.
    async fn worked(&self, tx: &mut Tx, author: &Author, run: &Run, work: Work<'_>) -> Result<Run> {
        // Whoever has lost the run, because it was cancelled or taken on, does nothing more for it.
        let found = runs::lock(tx, run.instance, run.id).await?;
        let mine = |found: &Run| {
            (found.ended_at, found.holder, found.seen) == (None, run.holder, run.seen)
        };
        found.filter(mine).ok_or_else(taken_over)?;
        tx.mark().await?;
        let batch = self.batch(tx, author, work).await?;
        let Some(held) = self.held(run, &batch) else {
            tx.forget_mark().await?;
            return self.keep(tx, run, work, batch).await;
        };
        tx.back_to_mark().await?;
        runs::advance(tx, run, &held).await?;
        Ok(held)
    }

    /// The run, held, if more people would have lost their access with a batch than were counted before the
    /// first change and than the guard or an administrator allows: those who leave a sync group are only
    /// known then.
    fn held(&self, run: &Run, batch: &Batch) -> Option<Run> {
        let mut pull = run.pulled();
        let leaving = pull.left + batch.left;
        let counted = pull.leaving.leaving.max(pull.approved.unwrap_or(0));
        let found = Leaving { leaving, ..pull.leaving };
        if leaving <= counted {
            return None;
        }
        pull.reason = Some(self.source.settings.guard.admit(found).err()?);
        pull.leaving = found;
        Some(self.renewed(&Run { state: RunState::Held, pull: Some(pull), ..run.clone() }))
    }

    async fn batch(&self, tx: &mut Tx, author: &Author, work: Work<'_>) -> Result<Batch> {
        match work {
            _ if work.is_empty() => Ok(Batch::default()),
            Work::Lines { lines, .. } => apply::all(tx, self, author, lines).await,
            Work::Missing { missing, .. } => {
                self.current(tx, self.caller.schemas.clone()).await?;
                self.miss(tx, author, missing).await
            }
        }
    }

    /// Does a batch and takes it back. Batches before it have been taken back too: the seats that they
    /// took are taken for the while, so that the licence is counted as it would be.
    async fn rehearse(&self, author: &Author, carried: i64, work: Work<'_>) -> Result<Batch> {
        let instance = self.connection.instance;
        let mut attempt = 1;
        loop {
            let mut tx = self.provision.store.begin().await?;
            let done = self.rehearsed(&mut tx, author, carried, work).await;
            tx.rollback().await;
            match done {
                Err(Error::Store(StoreError::Contention(_) | StoreError::Stale))
                    if attempt < super::ATTEMPTS_MAX =>
                {
                    tracing::debug!(%instance, attempt, "a rehearsal is done again");
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn rehearsed(
        &self,
        tx: &mut Tx,
        author: &Author,
        carried: i64,
        work: Work<'_>,
    ) -> Result<Batch> {
        let instance = self.connection.instance;
        let Some(mut licence) = licences::wait(tx, instance).await? else {
            return self.batch(tx, author, work).await;
        };
        licence.seats_taken += carried;
        licences::set(tx, instance, licence).await?;
        let mut batch = self.batch(tx, author, work).await?;
        let after = licences::find(tx, instance).await?;
        batch.seats = after.map_or(0, |after| after.seats_taken - licence.seats_taken);
        Ok(batch)
    }

    /// Keeps what a batch came to with the run, and how far the run is behind it.
    async fn keep(&self, tx: &mut Tx, run: &Run, work: Work<'_>, batch: Batch) -> Result<Run> {
        let mut pull = run.pulled();
        let position = pull.counts.items();
        for item in &batch.items {
            pull.counts.add(item.outcome);
        }
        let mut next = self.renewed(run);
        next.changed = pull.counts.changed();
        pull.seats += batch.seats;
        pull.left += batch.left;
        for note in batch.notes {
            if pull.notes.len() < NOTES_MAX && !pull.notes.contains(&note) {
                pull.notes.push(note);
            }
        }
        match work {
            Work::Lines { lines, unchanged } => {
                let done = unchanged + count(lines.len());
                pull.counts.unchanged += unchanged + batch.unchanged;
                pull.done += done;
                next.seen += done;
            }
            Work::Missing { last, seen, .. } => {
                next.checkpoint = Some(last);
                next.seen += seen;
            }
        }
        if let Some(reason) = batch.stopped {
            (next.state, next.ended_at) = (RunState::Failed, Some(self.now()));
            pull.reason = Some(reason);
        }
        next.pull = Some(pull);
        run_items::append(tx, run.instance, run.id, position, &batch.items).await?;
        runs::advance(tx, run, &next).await?;
        Ok(next)
    }

    /// Suspends people whom the source no longer has.
    async fn miss(&self, tx: &mut Tx, author: &Author, missing: &[AccountId]) -> Result<Batch> {
        let instance = self.connection.instance;
        let locked = accounts::lock(tx, instance, missing).await?;
        let moving: Vec<(&Account, Account)> = locked
            .iter()
            .filter(|account| account.connection == Some(self.connection.id) && account.in_source)
            .map(|was| (was, Account { in_source: false, ..was.clone() }))
            .collect();
        let cause = |_: &Account| json!({ "source": "the person is not in it" });
        let moved = standing::move_many(tx, instance, author, moving, cause).await?;
        let after = accounts::some(tx, instance, &moved).await?;
        let kind = &self.caller.schemas.user;
        let before = |id| locked.iter().find(|account| account.id == id);
        let items = after.iter().filter_map(|after| {
            let before = before(after.id)?;
            report::item(kind, Some(before), after, false, None)
        });
        let left = after
            .iter()
            .filter(|after| before(after.id).is_some_and(|was| leaves(was, Some(after))));
        let left = count(left.count());
        Ok(Batch { items: items.collect(), left, ..Batch::default() })
    }

    /// Ends the run: everything is done, and `last` is what the next one is compared with.
    pub async fn finish(&self, run: &Run, last: Option<LastPull>) -> Result<Run> {
        let mut next = self.renewed(run);
        (next.state, next.ended_at) = (RunState::Done, Some(self.now()));
        transact!(self.provision.store, |tx| {
            match (runs::advance(&mut tx, run, &next).await, &last) {
                (Ok(()), Some(last)) => sources::set_last(&mut tx, &self.source, last).await,
                (done, _) => done,
            }
            .map_err(Error::from)
        })?;
        Ok(next)
    }

    /// Ends the run because it cannot go on, or holds it for an administrator to decide.
    pub async fn stop(&self, run: &Run, state: RunState, reason: String) -> Result<Run> {
        let pull = Pull { reason: Some(reason), ..run.pulled() };
        let mut next = self.renewed(&Run { state, pull: Some(pull), ..run.clone() });
        next.ended_at = (state != RunState::Held).then(|| self.now());
        transact!(self.provision.store, |tx| runs::advance(&mut tx, run, &next)
            .await
            .map_err(Error::from))?;
        Ok(next)
    }

    /// Begins at the beginning of a file: of the first one, or of another one than when the run was last
    /// worked on. What has been done, and the report of it, stays.
    pub async fn start_over(&self, run: &Run, file: Pull) -> Result<Run> {
        let was = run.pulled();
        let pull = Pull {
            dry: was.dry,
            stage: Stage::Checking,
            counts: was.counts,
            seats: was.seats,
            ..file
        };
        self.advance(&Run { checkpoint: None, ..run.clone() }, pull).await
    }
}

/// What a batch does.
#[derive(Debug, Clone, Copy)]
enum Work<'w> {
    /// Lines that change something, behind some that do not.
    Lines { lines: &'w [Line], unchanged: i64 },
    /// People whom the source no longer has, among those up to the last one.
    Missing { missing: &'w [AccountId], last: Uuid, seen: i64 },
}

impl Work<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Lines { lines, .. } => lines.is_empty(),
            Self::Missing { missing, .. } => missing.is_empty(),
        }
    }
}

/// Whether somebody of this status can enter, or could with a seat.
fn enters(status: Status) -> bool {
    matches!(status, Status::Active | Status::Blocked)
}

/// Whether somebody who could enter no longer can.
fn leaves(before: &Account, after: Option<&Account>) -> bool {
    enters(before.status) && !after.is_some_and(|after| enters(after.status))
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
