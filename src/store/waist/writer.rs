//! The one writer of a SQLite database: who wants to write waits for his turn, and those who wait
//! together are made durable together.
//!
//! What a commit costs on SQLite is the wait for the disk, whatever was written. So a writer who has
//! said that what he wrote is to be kept hands the connection on, if somebody waits, and is told that
//! it is kept when the last of the group has committed for all. Each stays atomic: he writes behind a
//! savepoint, to which the group goes back when he gives up.

use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

/// The writers that are made durable together at most.
const GROUP_MAX: usize = 256;

/// How long a group lets others join: the first of it waits for them.
const GROUP_TIME_MAX: Duration = Duration::from_millis(50);

/// The way to the writing connection.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
enum Ask {
    /// For a turn.
    Turn(oneshot::Sender<Result<Turn, sqlx::Error>>),
    /// For the end.
    Close(oneshot::Sender<()>),
}

/// The connection, for as long as somebody writes. Dropped, nothing of what was written is kept.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it was given back.
    held: Option<(SqliteConnection, oneshot::Sender<Back>)>,
}

/// The connection on its way back.
type Back = (SqliteConnection, End);

/// How a turn ended.
#[derive(Debug)]
enum End {
    /// What was written is to be kept; tell when it is.
    Keep(oneshot::Sender<Result<(), sqlx::Error>>),
    /// Nothing of it is.
    GiveUp,
}

impl Writer {
    /// Opens the connection. It is closed when the last clone is gone.
    pub(super) async fn open(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let connection = options.connect().await?;
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(serve(options, connection, asked));
        Ok(Self { asks })
    }

    /// Waits for a turn, in the order of asking; it begins in a transaction.
    pub(super) async fn turn(&self, patience: Duration) -> Result<Turn, sqlx::Error> {
        let (give, given) = oneshot::channel();
        self.asks.send(Ask::Turn(give)).map_err(|_closed| sqlx::Error::PoolClosed)?;
        let given = tokio::time::timeout(patience, given).await;
        given
            .map_err(|_late| sqlx::Error::PoolTimedOut)?
            .map_err(|_closed| sqlx::Error::PoolClosed)?
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
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        match &mut self.held {
            Some((connection, _)) => connection,
            None => unreachable!("a turn that has ended is dropped"),
        }
    }

    /// Waits until what was written is durable.
    pub(super) async fn keep(mut self) -> Result<(), sqlx::Error> {
        let (tell, kept) = oneshot::channel();
        self.end(End::Keep(tell));
        kept.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    fn end(&mut self, end: End) {
        if let Some((connection, back)) = self.held.take() {
            // Whoever waits for it is there until it comes back.
            let _back = back.send((connection, end));
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
async fn serve(
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    mut asked: mpsc::UnboundedReceiver<Ask>,
) {
    let (mut connection, mut next) = (Some(connection), None);
    loop {
        let ask = match next.take() {
            Some(ask) => Some(ask),
            None => asked.recv().await,
        };
        let first = match ask {
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
            None => options.connect().await,
        };
        match ready {
            Ok(ready) => (connection, next) = Group::new(ready).run(first, &mut asked).await,
            Err(error) => drop(first.send(Err(error))),
        }
    }
}

async fn close(connection: Option<SqliteConnection>) {
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "SQLite was not closed well");
    }
}

/// Writers who are made durable together.
struct Group {
    /// `None` once its state is not certain.
    connection: Option<SqliteConnection>,
    kept: Vec<oneshot::Sender<Result<(), sqlx::Error>>>,
    begun: Instant,
    /// Whether there is a savepoint behind what is kept, as there is from the beginning.
    marked: bool,
}

impl Group {
    fn new(connection: SqliteConnection) -> Self {
        let connection = Some(connection);
        Self { connection, kept: Vec::new(), begun: Instant::now(), marked: true }
    }

    /// Gives turns to one writer and to those who wait behind him, and commits. The connection, if it can
    /// be used again, and what was asked of it meanwhile and not done.
    async fn run(
        mut self,
        first: oneshot::Sender<Result<Turn, sqlx::Error>>,
        asked: &mut mpsc::UnboundedReceiver<Ask>,
    ) -> (Option<SqliteConnection>, Option<Ask>) {
        if let Err(error) = self.say("BEGIN IMMEDIATE; SAVEPOINT turn").await {
            // Nobody else was told anything yet.
            let _gone = first.send(Err(error));
            return (None, None);
        }
        self.begun = Instant::now();
        let (mut wanted, mut left) = (Some(first), None);
        while let Some(writer) = wanted.take() {
            if let Err(error) = self.turn(writer).await {
                self.fail(&error);
                return (None, left);
            }
            if self.is_open() {
                match asked.try_recv() {
                    Ok(Ask::Turn(writer)) => wanted = Some(writer),
                    Ok(close) => left = Some(close),
                    Err(_) => {}
                }
            }
        }
        // Who gave up alone leaves nothing to commit.
        let word = if self.kept.is_empty() { "ROLLBACK" } else { "COMMIT" };
        match self.say(word).await {
            Ok(()) => self.kept.drain(..).for_each(|kept| drop(kept.send(Ok(())))),
            Err(error) => self.fail(&error),
        }
        (self.connection, left)
    }

    fn is_open(&self) -> bool {
        self.kept.len() < GROUP_MAX && self.begun.elapsed() < GROUP_TIME_MAX
    }

    /// Lets one writer write behind what the others have written.
    async fn turn(
        &mut self,
        writer: oneshot::Sender<Result<Turn, sqlx::Error>>,
    ) -> Result<(), sqlx::Error> {
        if !self.marked {
            self.say("SAVEPOINT turn").await?;
            self.marked = true;
        }
        let (back, given_back) = oneshot::channel();
        let Some(connection) = self.connection.take() else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        // Who no longer waits drops the turn, and so gives it back.
        drop(writer.send(Ok(Turn { held: Some((connection, back)) })));
        let (connection, end) = given_back.await.map_err(|_lost| sqlx::Error::WorkerCrashed)?;
        self.connection = Some(connection);
        match end {
            // Both fail where SQLite has ended the transaction by itself, as it does when the disk is full.
            End::Keep(tell) => {
                self.kept.push(tell);
                self.say("RELEASE SAVEPOINT turn").await?;
                self.marked = false;
            }
            End::GiveUp => self.say("ROLLBACK TO SAVEPOINT turn").await?,
        }
        Ok(())
    }

    async fn say(&mut self, words: &'static str) -> Result<(), sqlx::Error> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::WorkerCrashed) };
        let said = sqlx::raw_sql(words).execute(connection).await;
        if said.is_err() {
            // Closing it makes the database give up what is open.
            self.connection = None;
        }
        said.map(drop)
    }

    /// Tells all that nothing is kept.
    fn fail(&mut self, error: &sqlx::Error) {
        self.connection = None;
        for kept in self.kept.drain(..) {
            let error = sqlx::Error::Protocol(format!("nothing was committed: {error}"));
            let _gone = kept.send(Err(error));
        }
    }
}
