//! One run of a source, from the first byte to the last line of the report.
//!
//! First everything is fetched and read without a change: what is wrong with the file as a whole stops
//! the run here, and the guard counts who would lose her access. Then the lines are applied in batches, and
//! who is missing is suspended last. A run that is taken up again fetches again: if the file is the same it
//! goes on from its last batch, otherwise it begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::source::{Fetched, People, Source, Stop};
use super::survey::Survey;
use crate::directory::source::{Mode, Passwords, Stage};
use crate::directory::{LastPull, Pull, guard::Leaving};
use crate::provision::pull::{Entry, Line, PULL_LEASE, Puller};
use crate::provision::{self, Error};
use crate::store::StoreError;
use crate::store::runs::{Run, RunState};

/// The lines that are applied in one transaction.
pub const BATCH_LINES: usize = 250;

/// The groups that they name together, before fewer lines are taken.
const BATCH_GROUPS: usize = 1_000;

/// The people whose presence is looked up at once.
const LISTED_AT_ONCE: i64 = 500;

/// How often a run says that it is still worked on.
const RENEW_EVERY: Duration = Duration::from_secs(PULL_LEASE.as_secs() / 4);

/// The new people after whom the database is told that it has grown; then at twice as many, and so on.
const GROWN: i64 = 1_000;

/// The batches that are read ahead.
const READ_AHEAD: usize = 4;

/// How a run goes no further.
enum Halt {
    /// What is wrong with the source, or the connection.
    Stop(String),
    /// The guard wants an administrator to decide.
    Hold(String),
    /// The database failed, or somebody else has the run.
    Store(StoreError),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop.reason)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) | Error::NoSeat(refusal) => Self::Stop(refusal.detail),
            Error::Store(error) => Self::Store(error),
        }
    }
}

/// A run at work.
struct Work<'w> {
    puller: &'w Puller,
    run: Run,
    watch: &'w mut (dyn FnMut(&Run) + Send),
    renewed: Instant,
    hash: PasswordHash,
}

/// Makes the hash that is kept of a password; it takes its time.
pub type PasswordHash = fn(&str) -> Option<String>;

/// Works on a run that the caller has taken, until it ends, is held, or is lost to somebody else; `watch`
/// is told how far it is. The run as it is then.
///
/// Fails if the database does; the run stays open, and is gone on with later.
pub async fn run<S: Source>(
    puller: &Puller,
    source: &S,
    run: Run,
    default_password: Option<&str>,
    hash: PasswordHash,
    watch: &mut (dyn FnMut(&Run) + Send),
) -> provision::Result<Run> {
    let mut work = Work { puller, run, watch, renewed: Instant::now(), hash };
    let (state, reason) = match work.all(source, default_password).await {
        Ok(()) => return Ok(work.run),
        Err(Halt::Stop(reason)) => (RunState::Failed, reason),
        Err(Halt::Hold(reason)) => (RunState::Held, reason),
        Err(Halt::Store(error)) => return Err(error.into()),
    };
    puller.stop(&work.run, state, reason).await
}

impl Work<'_> {
    async fn all<S: Source>(
        &mut self,
        source: &S,
        default_password: Option<&str>,
    ) -> Result<(), Halt> {
        let Some(people) = self.fetch(source).await? else {
            self.run = self.puller.finish(&self.run, None).await?;
            return Ok(());
        };
        let people = Arc::new(people);
        let survey = self.check(&people).await?;
        self.apply(&people, &survey, default_password).await?;
        if self.run.state == RunState::Open {
            self.suspend(&survey).await?;
        }
        if self.run.state == RunState::Open {
            let counts = self.run.pulled().counts;
            // What was left out may be possible the next time, with the same file.
            let is_settled = counts.skipped == 0 && counts.asked == 0;
            let last = LastPull { is_settled, ..people.seen() };
            let last = (!self.run.pulled().dry).then_some(last);
            self.run = self.puller.finish(&self.run, last).await?;
        }
        Ok(())
    }

    fn told(&mut self, run: Run) {
        (self.run, self.renewed) = (run, Instant::now());
        (self.watch)(&self.run);
    }

    async fn stage(&mut self, change: impl FnOnce(&mut Pull)) -> Result<(), Halt> {
        let mut pull = self.run.pulled();
        change(&mut pull);
        let run = self.puller.advance(&self.run, pull).await?;
        self.told(run);
        Ok(())
    }

    /// Says that the run is still worked on, if it has not for a while.
    async fn renew(&mut self) -> Result<(), Halt> {
        if self.renewed.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        self.stage(|_| ()).await
    }

    /// Waits for something that takes long and is no change, and says meanwhile that somebody does.
    async fn while_leased<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Ok(done),
                () = tokio::time::sleep(RENEW_EVERY) => self.stage(|_| ()).await?,
            }
        }
    }

    /// Fetches what the source has; nothing if it is what the last complete run had.
    async fn fetch<S: Source>(&mut self, source: &S) -> Result<Option<S::People>, Halt> {
        let begun = self.run.pulled().checksum;
        self.stage(|pull| pull.stage = Stage::Fetching).await?;
        let last = self.puller.source.last.clone();
        // A run that has begun, a rehearsal and changed settings look at everything.
        let revision = self.puller.source.revision;
        let fresh = begun.is_none() && !self.run.pulled().dry;
        let last = last.filter(|last| fresh && last.revision == revision && last.is_settled);
        let people = match self.while_leased(source.fetch(last.as_ref())).await?? {
            Fetched::Unchanged => return self.unchanged().await,
            Fetched::People(people) => people,
        };
        let seen = people.seen();
        if last.is_some_and(|last| last.checksum == seen.checksum) {
            return self.unchanged().await;
        }
        let (bytes, notes) = (people.bytes(), people.notes());
        // An agreement, and a place in a file, count for one reading of it.
        let was = self.run.pulled();
        if begun.as_ref() == Some(&seen.checksum) && was.revision == revision {
            return Ok(Some(people));
        }
        let checksum = Some(seen.checksum);
        let mut pull = Pull { checksum, revision, bytes, notes, ..Pull::default() };
        if begun.is_some() {
            let note = "the file, or how it is read, was another when the run was gone on with: it began \
                        anew";
            pull.notes.push(note.to_owned());
        }
        let run = self.puller.start_over(&self.run, pull).await?;
        self.told(run);
        Ok(Some(people))
    }

    async fn unchanged<P>(&mut self) -> Result<Option<P>, Halt> {
        let note = "the file is the one of the last complete run: nothing was done".to_owned();
        self.stage(|pull| pull.notes.push(note)).await?;
        Ok(None)
    }

    /// Reads everything without a change, and asks the guard.
    async fn check<P: People>(&mut self, people: &Arc<P>) -> Result<Survey, Halt> {
        let was = self.run.pulled();
        let begun = was.done > 0 || self.run.checkpoint.is_some();
        let mut survey = Survey::new(self.puller.source.settings.match_by);
        let mut lines = read(people);
        let mut found = Leaving::default();
        while let Some(batch) = lines.batches.recv().await {
            let leaving = self.puller.count_leaving(&batch).await?;
            found.leaving += leaving.leaving;
            found.present += leaving.present;
            for line in &batch {
                survey.note(line);
            }
            self.renew().await?;
        }
        lines.ended().await?;
        survey.close()?;
        self.count(&survey, &mut found).await?;
        // Who has left since the run began is no more among those who are counted now.
        let judged = if begun {
            Leaving {
                leaving: was.left + found.leaving,
                present: was.leaving.present.max(found.present),
            }
        } else {
            found
        };
        let admitted = if begun { was.leaving.leaving } else { 0 };
        let admitted = admitted.max(was.approved.unwrap_or(0));
        self.stage(|pull| {
            (pull.stage, pull.rows, pull.leaving) = (Stage::Checking, survey.rows(), judged);
            for note in survey.notes() {
                pull.notes.extend(new_note(&pull.notes, note));
            }
        })
        .await?;
        match self.puller.source.settings.guard.admit(judged) {
            Err(reason) if !was.dry && judged.leaving > admitted => Err(Halt::Hold(reason)),
            Err(reason) => {
                let note = format!("the guard: {reason}");
                self.stage(|pull| pull.notes.extend(new_note(&pull.notes, note))).await?;
                Ok(survey)
            }
            Ok(()) => Ok(survey),
        }
    }

    /// Counts who can enter now, and who is missing.
    async fn count(&mut self, survey: &Survey, found: &mut Leaving) -> Result<(), Halt> {
        let missing = self.puller.source.settings.mode == Mode::Snapshot && survey.is_complete();
        let mut after = None;
        loop {
            let page = self.puller.listed(after, LISTED_AT_ONCE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.id.0);
            for (listed, key) in page.iter().filter(|(listed, _)| listed.can_enter()) {
                found.present += 1;
                let gone = missing && listed.in_source && !survey.has(listed, key.as_deref());
                found.leaving += i64::from(gone);
            }
            self.renew().await?;
        }
    }

    /// Applies what says something new, batch by batch, from where the run has got to.
    async fn apply<P: People>(
        &mut self,
        people: &Arc<P>,
        survey: &Survey,
        default_password: Option<&str>,
    ) -> Result<(), Halt> {
        if self.run.checkpoint.is_some() {
            return Ok(());
        }
        self.stage(|pull| pull.stage = Stage::Applying).await?;
        let mut behind = self.run.pulled().done;
        let mut lines = read(people);
        let (mut unchanged, mut grown) = (0, GROWN);
        while let Some(batch) = lines.batches.recv().await {
            let size = count(batch.len());
            if behind >= size {
                behind -= size;
                continue;
            }
            let batch: Vec<Line> = batch
                .into_iter()
                .skip(usize::try_from(behind).unwrap_or(0))
                .map(|line| survey.checked(line))
                .collect();
            behind = 0;
            let changing = self.puller.changing(&batch).await?;
            unchanged += count(batch.len() - changing.len());
            let chosen = self.chosen(batch, &changing, default_password).await?;
            if chosen.is_empty() && self.renewed.elapsed() < RENEW_EVERY {
                continue;
            }
            let run = self.puller.apply(&self.run, &chosen, unchanged).await?;
            unchanged = 0;
            self.told(run);
            if self.run.state != RunState::Open {
                return Ok(());
            }
            if self.run.pulled().counts.created >= grown {
                grown = self.run.pulled().counts.created * 2;
                self.puller.learn().await;
            }
        }
        lines.ended().await?;
        let run = self.puller.apply(&self.run, &[], unchanged).await?;
        self.told(run);
        Ok(())
    }

    /// The lines that change something, with the passwords of new people hashed.
    async fn chosen(
        &mut self,
        batch: Vec<Line>,
        changing: &[(usize, bool)],
        default_password: Option<&str>,
    ) -> Result<Vec<Line>, Halt> {
        let needed = self.puller.source.settings.passwords == Passwords::Required;
        let mut places = changing.iter().peekable();
        let mut chosen = Vec::with_capacity(changing.len());
        for (place, mut line) in batch.into_iter().enumerate() {
            let Some((_, is_new)) = places.next_if(|(at, _)| *at == place) else { continue };
            if let Line::Entry(entry) = &mut line {
                let own = entry.password.take();
                let password = own.or_else(|| default_password.map(str::to_owned));
                if password.is_none() && *is_new && needed {
                    chosen.push(without_password(entry));
                    continue;
                }
                if let Some(password) = password.filter(|_| *is_new) {
                    let hash = self.hash;
                    let hashed = spawn_blocking(move || hash(&password)).await;
                    entry.password = hashed.ok().flatten();
                    if entry.password.is_none() {
                        return Err(Halt::Stop("a password could not be hashed".to_owned()));
                    }
                }
            }
            chosen.push(line);
        }
        Ok(chosen)
    }

    /// Suspends who is missing, as far as the file says who is not.
    async fn suspend(&mut self, survey: &Survey) -> Result<(), Halt> {
        let snapshot = self.puller.source.settings.mode == Mode::Snapshot;
        if !snapshot || !survey.is_complete() {
            return Ok(());
        }
        self.stage(|pull| pull.stage = Stage::Suspending).await?;
        let (mut after, mut looked_at) = (self.run.checkpoint, 0);
        loop {
            let page = self.puller.listed(after, LISTED_AT_ONCE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            let last = last.id.0;
            (after, looked_at) = (Some(last), looked_at + count(page.len()));
            let missing: Vec<_> = page
                .iter()
                .filter(|(listed, _)| listed.in_source)
                .filter(|(listed, key)| !survey.has(listed, key.as_deref()))
                .map(|(listed, _)| listed.id)
                .collect();
            if missing.is_empty() && self.renewed.elapsed() < RENEW_EVERY {
                continue;
            }
            let run = self.puller.suspend(&self.run, &missing, last, looked_at).await?;
            looked_at = 0;
            self.told(run);
            if self.run.state != RunState::Open {
                return Ok(());
            }
        }
    }
}

/// A row about somebody new who would have no password where everybody needs one.
fn without_password(entry: &Entry) -> Line {
    Line::Refused {
        line: entry.line,
        name: entry.name.clone(),
        key: Some(entry.key.clone()),
        reason:
            "the instance needs a password for everybody new, and the row has none: fill in the \
                 column of passwords, or set a default one with `csv set --account-password-stdin`"
                .to_owned(),
    }
}

fn new_note(notes: &[String], note: String) -> Option<String> {
    (!notes.contains(&note)).then_some(note)
}

/// Lines that are being read on a thread of their own.
struct Reading {
    batches: mpsc::Receiver<Vec<Line>>,
    thread: tokio::task::JoinHandle<Result<(), Stop>>,
}

impl Reading {
    /// Whether all has been read.
    async fn ended(self) -> Result<(), Halt> {
        drop(self.batches);
        match self.thread.await {
            Ok(read) => Ok(read?),
            Err(error) => {
                Err(Halt::Stop(format!("the file could not be read to its end: {error}")))
            }
        }
    }
}

fn read<P: People>(people: &Arc<P>) -> Reading {
    let (sender, batches) = mpsc::channel(READ_AHEAD);
    let people = people.clone();
    let thread = spawn_blocking(move || {
        let (mut batch, mut groups) = (Vec::with_capacity(BATCH_LINES), 0);
        people.read(&mut |line| {
            if let Line::Entry(entry) = &line {
                groups += entry.groups.as_ref().map_or(0, Vec::len);
            }
            batch.push(line);
            if batch.len() < BATCH_LINES && groups < BATCH_GROUPS {
                return true;
            }
            groups = 0;
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_LINES));
            sender.blocking_send(full).is_ok()
        })?;
        if !batch.is_empty() {
            // Whoever does not listen any more has stopped for a reason of its own.
            let _gone = sender.blocking_send(batch);
        }
        Ok(())
    });
    Reading { batches, thread }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
