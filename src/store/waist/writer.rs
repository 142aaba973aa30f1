//! The one writer of a SQLite database: who wants to write waits for his turn, and those who wait
//! together are made durable together.
//!
//! What a commit costs on SQLite is the wait for the disk, whatever was written. So a writer who has
//! said that what he wrote is to be kept hands the connection on, if somebody waits, and is told that
//! it is kept when the last of the group has committed for all. Each stays atomic: he writes behind a
//! savepoint, to which the group goes back when he gives up. Only small writes join a group: nobody is to
//! wait for the batch of another. A batch that begins one has no savepoint, because SQLite copies each page that is
//! changed behind one: it gives up the transaction.

use std::error::Error as _;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::sqlite::{File, Length, Session};
use crate::store::StoreError;

/// What the connection that writes has of its own: memory for 16 MiB of pages, because what a group of writers changes
/// is not to leave it before their commit.
const PRAGMAS: &str = "PRAGMA cache_size = -16384";

/// The writers that are made durable together at most.
const GROUP_MAX: usize = 256;

/// How long a group lets others join at most: the first of it waits for them.
const GROUP_TIME_MAX: Duration = Duration::from_millis(50);

/// For how many times as long as a commit takes, a group lets others join: the disk is waited for in a small
/// part of the time, and those who have been told are back with their next requests while others write.
const COMMITS_JOINED: u32 = 8;

/// How long nobody writes after [`BUSY_MAX`]: another process, such as the command line, only looks now and
/// then whether it can.
const REST: Duration = Duration::from_millis(2);

/// How long writers go on without a rest.
const BUSY_MAX: Duration = Duration::from_millis(100);

/// The way to the writing connection.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
enum Ask {
    /// For a turn.
    Turn(Wanted),
    /// For the end.
    Close(oneshot::Sender<()>),
}

/// A turn that somebody waits for.
#[derive(Debug)]
struct Wanted {
    give: oneshot::Sender<Result<Turn, StoreError>>,
    length: Length,
}

/// The connection, for as long as somebody writes. Dropped, nothing of what was written is kept.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it was given back.
    held: Option<(Session, oneshot::Sender<Back>)>,
}

/// The connection on its way back.
type Back = (Session, End);

/// How a turn ended.
#[derive(Debug)]
enum End {
    /// What was written is to be kept; tell when it is.
    Keep(oneshot::Sender<Result<(), StoreError>>),
    /// Nothing of it is.
    GiveUp,
}

impl Writer {
    /// Opens the connection. It is closed when the last clone is gone.
    pub(super) async fn open(file: File) -> Result<Self, StoreError> {
        let connection = connect(&file).await?;
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(serve(file, connection, asked));
        Ok(Self { asks })
    }

    /// Waits for a turn, in the order of asking; it begins in a transaction.
    pub(super) async fn turn(
        &self,
        length: Length,
        patience: Duration,
    ) -> Result<Turn, StoreError> {
        let (give, given) = oneshot::channel();
        let wanted = Ask::Turn(Wanted { give, length });
        self.asks.send(wanted).map_err(|_closed| StoreError::from(sqlx::Error::PoolClosed))?;
        let given = tokio::time::timeout(patience, given).await;
        given
            .map_err(|_late| StoreError::from(sqlx::Error::PoolTimedOut))?
            .map_err(|_closed| StoreError::from(sqlx::Error::PoolClosed))?
    }

    /// Waits for those who asked before, and closes the connection.
    pub(super) async fn close(&self) {
        let (tell, closed) = oneshot::channel();
        if self.asks.send(Ask::Close(tell)).is_ok() {
            // Nobody answers only if it is closed already.
            let _closed = closed.await;
        }
    }
}

impl Turn {
    pub(super) fn session(&mut self) -> &mut Session {
        match &mut self.held {
            Some((session, _)) => session,
            None => unreachable!("a turn that has ended is dropped"),
        }
    }

    /// Waits until what was written is durable.
    pub(super) async fn keep(mut self) -> Result<(), StoreError> {
        let (tell, kept) = oneshot::channel();
        self.end(End::Keep(tell));
        kept.await.unwrap_or_else(|_lost| Err(sqlx::Error::WorkerCrashed.into()))
    }

    fn end(&mut self, end: End) {
        if let Some((session, back)) = self.held.take() {
            // Whoever waits for it is there until it comes back.
            let _back = back.send((session, end));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(End::GiveUp);
    }
}

/// Gives turns until nobody can ask any more. A connection whose state is not certain is closed, and
/// another one opened for the next turn.
async fn serve(file: File, connection: Session, asked: mpsc::UnboundedReceiver<Ask>) {
    let mut queue = Queue { asked, left: None, rested: Instant::now() };
    let (mut connection, mut commit) = (Some(connection), GROUP_TIME_MAX / COMMITS_JOINED);
    loop {
        let first = match queue.next().await {
            Some(Ask::Turn(first)) => first,
            Some(Ask::Close(tell)) => {
                close(connection.take()).await;
                let _nobody_waits = tell.send(());
                return;
            }
            None => return close(connection.take()).await,
        };
        let ready = match connection.take() {
            Some(ready) => Ok(ready),
            None => connect(&file).await,
        };
        match ready {
            Ok(ready) => {
                let mut group = Group::new(ready, commit);
                group.run(first, &mut queue).await;
                (connection, commit) = (group.connection, group.commit);
            }
            Err(error) => drop(first.give.send(Err(error))),
        }
    }
}

/// What is asked of the writing connection.
struct Queue {
    asked: mpsc::UnboundedReceiver<Ask>,
    /// What did not fit into a group.
    left: Option<Ask>,
    /// When nobody wrote for a while.
    rested: Instant,
}

impl Queue {
    /// The next in the order of asking, after a rest if one is due. `None` when nobody can ask any more.
    async fn next(&mut self) -> Option<Ask> {
        let is_busy = self.left.is_some() || !self.asked.is_empty();
        if is_busy && self.rested.elapsed() >= BUSY_MAX {
            tokio::time::sleep(REST).await;
            self.rested = Instant::now();
        }
        if let Some(left) = self.left.take() {
            return Some(left);
        }
        let waits = Instant::now();
        let ask = self.asked.recv().await;
        if waits.elapsed() >= REST {
            self.rested = Instant::now();
        }
        ask
    }

    /// The next one who waits already and fits into a group.
    fn next_for(&mut self, group: &Group) -> Option<Wanted> {
        loop {
            match self.asked.try_recv() {
                // Nobody waits for it any more.
                Ok(Ask::Turn(writer)) if writer.give.is_closed() => {}
                Ok(Ask::Turn(writer)) if group.takes(&writer) => return Some(writer),
                other => {
                    self.left = other.ok();
                    return None;
                }
            }
        }
    }
}

async fn connect(file: &File) -> Result<Session, StoreError> {
    Ok(Session::over(file.open(PRAGMAS).await?, Length::Any))
}

async fn close(connection: Option<Session>) {
    if let Some(connection) = connection {
        connection.close().await;
    }
}

/// Writers who are made durable together.
struct Group {
    /// `None` once its state is not certain.
    connection: Option<Session>,
    kept: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Whether there is a savepoint.
    marked: bool,
    begun: Instant,
    /// How long a commit has taken lately.
    commit: Duration,
}

impl Group {
    fn new(connection: Session, commit: Duration) -> Self {
        let connection = Some(connection);
        Self { connection, kept: Vec::new(), marked: false, begun: Instant::now(), commit }
    }

    /// Gives turns to one writer and to those who wait behind him, and commits.
    async fn run(&mut self, first: Wanted, queue: &mut Queue) {
        if let Err(error) = self.begin(first.length).await {
            // Nobody else was told anything yet.
            let _gone = first.give.send(Err(error));
            return;
        }
        let mut wanted = Some(first);
        while let Some(writer) = wanted.take() {
            let mut done = self.turn(writer).await;
            if done.is_ok() && !self.is_spoilt() {
                wanted = queue.next_for(self);
            }
            if wanted.is_some() {
                done = self.mark().await;
            }
            if let Err(error) = done {
                queue.left = wanted.map(Ask::Turn);
                return self.fail(&error);
            }
        }
        let ended = if self.kept.is_empty() {
            // Who gave up alone leaves nothing to commit.
            self.say(&["ROLLBACK"]).await
        } else {
            self.commit().await
        };
        if let Err(error) = ended {
            self.fail(&error);
        }
    }

    async fn begin(&mut self, length: Length) -> Result<(), StoreError> {
        self.marked = length == Length::Small;
        match length {
            Length::Small => self.say(&["BEGIN IMMEDIATE", "SAVEPOINT turn"]).await?,
            Length::Any => self.say(&["BEGIN IMMEDIATE"]).await?,
        }
        self.begun = Instant::now();
        Ok(())
    }

    /// Whether somebody gave up who had no savepoint, so that nobody can write behind him.
    fn is_spoilt(&self) -> bool {
        !self.marked && self.kept.is_empty()
    }

    /// Makes durable what is kept, and tells it.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        self.say(&["COMMIT"]).await?;
        // One that had nothing to write says little.
        self.commit = (self.commit + start.elapsed()) / 2;
        self.kept.drain(..).for_each(|kept| drop(kept.send(Ok(()))));
        Ok(())
    }

    /// Whether a writer may join.
    fn takes(&self, writer: &Wanted) -> bool {
        let is_small = writer.length == Length::Small;
        let time = GROUP_TIME_MAX.min(self.commit * COMMITS_JOINED);
        is_small && self.kept.len() < GROUP_MAX && self.begun.elapsed() < time
    }

    /// Lets one writer write behind what the others have written.
    async fn turn(&mut self, writer: Wanted) -> Result<(), StoreError> {
        let (back, given_back) = oneshot::channel();
        let mut session = self.connection.take().ok_or(sqlx::Error::WorkerCrashed)?;
        session.length = writer.length;
        // Who no longer waits drops the turn, and so gives it back.
        drop(writer.give.send(Ok(Turn { held: Some((session, back)) })));
        let (mut session, end) = given_back.await.map_err(|_lost| sqlx::Error::WorkerCrashed)?;
        session.settle().await?;
        self.connection = Some(session);
        match end {
            End::Keep(tell) => self.kept.push(tell),
            End::GiveUp if self.marked => self.say(&["ROLLBACK TO SAVEPOINT turn"]).await?,
            End::GiveUp => {}
        }
        Ok(())
    }

    /// Puts the savepoint behind what is kept. It fails, as the commit does, where SQLite has ended the
    /// transaction by itself, which it does when the disk is full.
    async fn mark(&mut self) -> Result<(), StoreError> {
        let words: &[&str] = if self.marked {
            &["RELEASE SAVEPOINT turn", "SAVEPOINT turn"]
        } else {
            &["SAVEPOINT turn"]
        };
        self.marked = true;
        let session = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let said = if session.is_in_transaction() {
            session.say_here(words).await
        } else {
            Err(sqlx::Error::Protocol("SQLite has ended the transaction".into()).into())
        };
        self.lose_if(said)
    }

    async fn say(&mut self, words: &'static [&'static str]) -> Result<(), StoreError> {
        let session = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let said = session.say(words).await;
        self.lose_if(said)
    }

    /// Closes a connection that has not understood: that makes the database give up what is open.
    fn lose_if(&mut self, said: Result<(), StoreError>) -> Result<(), StoreError> {
        if said.is_err() {
            self.connection = None;
        }
        said
    }

    /// Tells all that nothing is kept.
    fn fail(&mut self, error: &StoreError) {
        self.connection = None;
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        for kept in self.kept.drain(..) {
            let error = sqlx::Error::Protocol(format!("nothing was committed: {cause}"));
            let _gone = kept.send(Err(error.into()));
        }
    }
}
