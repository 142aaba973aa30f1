//! The request log on its way: what is seen of each exchange waits here until a job keeps it.
//!
//! On the road of a request nothing is read, copied or waited for: bodies are shared, and what does not fit
//! any more is counted and forgotten. The log may have gaps; pushes have none.

mod budget;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;

use self::budget::Budget;
use super::App;
use super::answer::Failed;
use super::fair::Place;
use super::sheet::Streamed;
use crate::directory::ids::ExchangeId;
use crate::directory::{ConnectionId, InstanceId, KeyId, Timestamp};
use crate::provision::requests::{Missed, Seen};
use crate::provision::{Caller, Provision};
use crate::scim::discovery::SCIM_PATH;
use crate::scim::schemas::Schemas;

pub use self::budget::{REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX, REQUESTS_KEPT_PER_SECOND_MAX};

/// The exchanges that wait to be kept at most.
pub const REQUESTS_QUEUE_MAX: usize = 10_000;

/// The bytes of exchanges that wait to be kept at most.
pub const REQUESTS_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The exchanges that are kept in one transaction: on SQLite, requests wait for it.
const BATCH: usize = 100;

/// The bytes of exchanges that are kept in one transaction, if they are several.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// How often the log says that it has no room.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The status of an exchange whose client hung up before it was answered, as proxies log it.
const HUNG_UP: u16 = 499;

/// What waits to be kept.
#[derive(Debug, Clone)]
pub struct Waiting {
    queue: Arc<Mutex<Queue>>,
    /// Held by who writes: two at once would write the same.
    writing: Arc<tokio::sync::Mutex<()>>,
    exchanges_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    exchanges: VecDeque<Seen>,
    bytes: usize,
    /// What may be taken until the log is written.
    budget: Budget,
    missed: Missed,
    warned: Option<Instant>,
}

impl Waiting {
    /// A queue of at most so many exchanges and bytes.
    #[must_use]
    pub fn new(exchanges_max: usize, bytes_max: usize) -> Self {
        Self { queue: Arc::default(), writing: Arc::default(), exchanges_max, bytes_max }
    }

    /// Takes an exchange, or counts it if there is no room.
    fn push(&self, seen: Seen) {
        let mut queue = self.queue();
        let bytes = seen.bytes();
        if seen.status < 400 && !queue.budget.takes(seen.instance) {
            *queue.missed.entry(seen.instance).or_default() += 1;
            return;
        }
        if queue.exchanges.len() < self.exchanges_max
            && queue.bytes.saturating_add(bytes) <= self.bytes_max
        {
            queue.bytes += bytes;
            queue.exchanges.push_back(seen);
            return;
        }
        queue.miss(seen.instance);
    }

    /// Keeps what waits, also what comes meanwhile, until nothing waits. What cannot be written is lost to
    /// the log, and counted; it is not tried again.
    pub async fn settle(&self, provision: &Provision) {
        let _writing = self.writing.lock().await;
        self.queue().budget = Budget::default();
        loop {
            let (batch, missed) = self.next();
            if batch.is_empty() && missed.is_empty() {
                return;
            }
            let length = batch.len();
            let instances: Vec<InstanceId> = batch.iter().map(|seen| seen.instance).collect();
            // What is being written stays in the queue: who is stopped here leaves it to the next.
            match provision.keep_exchanges(batch, &missed).await {
                Ok(_) => self.queue().done(length, &missed),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, exchanges = length, "the request log was not written");
                    let mut queue = self.queue();
                    queue.done(length, &Missed::new());
                    for instance in instances {
                        queue.miss(instance);
                    }
                    return;
                }
            }
        }
    }

    /// The exchanges that are to be written next, and how many were missed so far.
    fn next(&self) -> (Vec<Seen>, Missed) {
        let queue = self.queue();
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        for seen in queue.exchanges.iter().take(BATCH) {
            bytes = bytes.saturating_add(seen.bytes());
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.push(seen.clone());
        }
        (batch, queue.missed.clone())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn miss(&mut self, instance: InstanceId) {
        *self.missed.entry(instance).or_default() += 1;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(%instance, "exchanges are missing from the request log: it has no room");
        }
    }

    /// Forgets what was written.
    fn done(&mut self, exchanges: usize, missed: &Missed) {
        let length = self.exchanges.len().min(exchanges);
        let bytes: usize = self.exchanges.drain(..length).map(|seen| seen.bytes()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        let left = |(instance, count): (&InstanceId, &u64)| {
            let left = count.saturating_sub(missed.get(instance).copied().unwrap_or(0));
            (left > 0).then_some((*instance, left))
        };
        let left: BTreeMap<InstanceId, u64> = self.missed.iter().filter_map(left).collect();
        self.missed = left;
    }
}

/// What the extractors find out about a request: who asks, and with what.
#[derive(Debug, Default)]
pub(super) struct Slot {
    speaker: OnceLock<Speaker>,
    body: OnceLock<Bytes>,
    place: Mutex<Option<Place>>,
}

/// Who asks: no exchange without a good key is kept, because nobody knows whose it would be.
#[derive(Debug)]
struct Speaker {
    instance: InstanceId,
    connection: ConnectionId,
    key: KeyId,
    client: Option<String>,
    schemas: Arc<Schemas>,
}

impl Slot {
    /// Notes whose key it was.
    pub(super) fn note_caller(&self, caller: &Caller) {
        // A request has one key.
        let _known = self.speaker.set(Speaker {
            instance: caller.instance,
            connection: caller.connection,
            key: caller.key,
            client: caller.client.clone(),
            schemas: caller.schemas.clone(),
        });
    }

    /// Notes the body; it is shared, not copied.
    pub(super) fn note_body(&self, body: &Bytes) {
        let _known = self.body.set(body.clone());
    }

    /// Holds the place in the work that the request has.
    pub(super) fn hold(&self, place: Place) {
        *self.place() = Some(place);
    }

    /// Gives the place in the work back; whose it was.
    pub(super) fn leave(&self) -> Option<InstanceId> {
        self.place().take().map(|place| place.instance())
    }

    /// Waits for the client without a place in the work, and takes one again afterwards.
    pub(super) async fn aside<T>(&self, app: &App, client: impl Future<Output = T>) -> T {
        let instance = self.leave();
        let done = client.await;
        if let Some(instance) = instance {
            self.hold(app.fair.enter_again(instance).await);
        }
        done
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange of the protocol from the arrival of the request to the end of its answer. If it ends without
/// an answer, the client has hung up.
pub(super) struct Watched {
    app: App,
    slot: Arc<Slot>,
    at: Timestamp,
    started: Instant,
    request_id: String,
    method: String,
    path: String,
    query: Option<String>,
    if_match: Option<String>,
    ended: bool,
}

impl Watched {
    /// Begins to watch a request of the protocol; others are not watched.
    pub(super) fn of(
        app: &App,
        request: &Request,
        request_id: &str,
        slot: &Arc<Slot>,
    ) -> Option<Self> {
        let path = request.uri().path().strip_prefix(SCIM_PATH)?;
        if !(path.is_empty() || path.starts_with('/')) {
            return None;
        }
        let if_match = request.headers().get(header::IF_MATCH);
        Some(Self {
            app: app.clone(),
            slot: Arc::clone(slot),
            at: app.provision.clock.now(),
            started: Instant::now(),
            request_id: request_id.to_owned(),
            method: request.method().to_string(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query: request.uri().query().map(str::to_owned),
            if_match: if_match.and_then(|tags| tags.to_str().ok()).map(str::to_owned),
            ended: false,
        })
    }

    /// Notes the answer, which goes on to the client as it is.
    pub(super) async fn answered(mut self, response: Response) -> Response {
        if self.slot.speaker.get().is_none() {
            self.ended = true;
            return response;
        }
        if let Some(Streamed { noted }) = response.extensions().get() {
            // It is not in memory, and too large for the log anyway.
            let noted = noted.clone();
            self.end(response.status().as_u16(), None, noted);
            return response;
        }
        // Other answers are in memory as one piece already, which is handed on.
        let (parts, body) = response.into_parts();
        let answer = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let failed = parts.extensions.get::<Failed>().and_then(|failed| failed.0.scim_type());
        self.end(parts.status.as_u16(), failed, answer.clone());
        Response::from_parts(parts, Body::from(answer))
    }

    fn end(&mut self, status: u16, scim_type: Option<&'static str>, answer: Bytes) {
        self.ended = true;
        let Some(speaker) = self.slot.speaker.get() else { return };
        self.app.requests.push(Seen {
            instance: speaker.instance,
            id: ExchangeId(self.app.provision.ids.fresh()),
            at: self.at,
            connection: speaker.connection,
            key: speaker.key,
            client: speaker.client.clone(),
            request_id: std::mem::take(&mut self.request_id),
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            query: self.query.take(),
            if_match: self.if_match.take(),
            status,
            scim_type,
            ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            schemas: speaker.schemas.clone(),
            request: self.slot.body.get().cloned().unwrap_or_default(),
            answer,
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.end(HUNG_UP, None, Bytes::new());
        }
    }
}
