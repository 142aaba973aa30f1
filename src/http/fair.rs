//! A fair share of the server for each instance, so that one that asks for much does not slow the others.
//!
//! Nobody has to guess a rate: a place in the work is taken by each request of an instance and given back
//! when its answer is made, and [`Shares`] says who comes next. What waits costs a line in a queue; a body
//! is read only by who has a place.

mod shares;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::shares::{Entered, Limits, Shares, Ticket};
use crate::directory::InstanceId;
use crate::scim::{ErrorKind, ScimError};

/// The requests of instances that a process works on at once where nobody sets it: one for each connection
/// to the database.
pub const REQUESTS_RUNNING_DEFAULT: usize = 20;

/// The requests of one instance that wait for their turn where nobody sets it.
pub const REQUESTS_WAITING_DEFAULT: usize = 1_000;

/// How long a client waits whose instance has too many requests waiting: about as long as a full queue of
/// small requests takes.
const BUSY_RETRY_AFTER_S: u32 = 5;

/// How often the log says that requests of instances are refused.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The places of a process, shared among instances.
#[derive(Debug, Clone)]
pub struct Fair {
    shares: Arc<Mutex<Shares<Call>>>,
    warned: Arc<Mutex<Option<Instant>>>,
    waiting_max: usize,
}

/// How a request that waits is told that its turn has come.
type Call = oneshot::Sender<()>;

impl Fair {
    /// So many places, and so many requests of each instance that wait for one.
    #[must_use]
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        let limits = Limits { running_max, waiting_max };
        Self {
            shares: Arc::new(Mutex::new(Shares::new(limits))),
            warned: Arc::default(),
            waiting_max,
        }
    }

    /// Takes a place for a request of an instance, and waits for its turn if need be. Fails with 429 when
    /// too many requests of the instance wait already.
    pub async fn enter(&self, instance: InstanceId) -> Result<Place, ScimError> {
        let (call, called) = oneshot::channel();
        let entered = self.shares().enter(instance, call);
        match entered {
            Entered::Now => Ok(Place { fair: self.clone(), instance }),
            Entered::Later(ticket) => Ok(self.wait(instance, ticket, called).await),
            Entered::Refused => {
                self.warn(instance);
                Err(busy(self.waiting_max))
            }
        }
    }

    /// Takes a place for a request that has had one before and gave it back to wait for its client. It is
    /// under way, so it is not refused.
    pub(super) async fn enter_again(&self, instance: InstanceId) -> Place {
        let (call, called) = oneshot::channel();
        let ticket = self.shares().enter_again(instance, call);
        match ticket {
            None => Place { fair: self.clone(), instance },
            Some(ticket) => self.wait(instance, ticket, called).await,
        }
    }

    async fn wait(
        &self,
        instance: InstanceId,
        ticket: Ticket,
        called: oneshot::Receiver<()>,
    ) -> Place {
        let mut waiting = Waiting { fair: self, instance, ticket, called: false };
        // The sender is kept until then.
        let _turn = called.await;
        waiting.called = true;
        Place { fair: self.clone(), instance }
    }

    /// Gives a place back and calls whose turn it is.
    fn leave(&self, instance: InstanceId) {
        let called = self.shares().leave(instance);
        call(called);
    }

    /// Says in the log that an instance is refused; the next ones within a while go without saying.
    fn warn(&self, instance: InstanceId) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            let waiting = self.waiting_max;
            tracing::warn!(%instance, waiting, "requests are refused: too many of the instance wait");
        }
    }

    fn shares(&self) -> MutexGuard<'_, Shares<Call>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls requests whose turn has come. Who has gone meanwhile gives the place back by itself.
fn call(called: Vec<Call>) {
    for call in called {
        let _gone = call.send(());
    }
}

fn busy(waiting_max: usize) -> ScimError {
    let kind = ErrorKind::TooManyRequests { retry_after_s: BUSY_RETRY_AFTER_S };
    let detail = format!(
        "{waiting_max} requests of this instance wait for their turn already, which is the limit \
         (requests_waiting_max): send this one again in {BUSY_RETRY_AFTER_S} seconds, and fewer at once"
    );
    ScimError::new(kind, detail)
}

/// A place in the work, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    fair: Fair,
    instance: InstanceId,
}

impl Place {
    /// Whose place it is.
    pub(super) fn instance(&self) -> InstanceId {
        self.instance
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.fair.leave(self.instance);
    }
}

/// A request that waits for its turn. If its client goes away, it leaves the queue, or gives back the place
/// that it was called to just then.
struct Waiting<'f> {
    fair: &'f Fair,
    instance: InstanceId,
    ticket: Ticket,
    called: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.called {
            let called = self.fair.shares().give_up(self.instance, self.ticket);
            call(called);
        }
    }
}
