//! The server on its socket, from start to a clean end.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::ServiceExt;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{App, service};
use crate::provision::Purged;

/// How often the uses of keys are kept.
const KEEP_USES_EVERY: Duration = Duration::from_secs(10);

/// How often a server looks for runs that were left unfinished.
const FINISH_RUNS_EVERY: Duration = Duration::from_secs(10);

/// How often events that were committed get their links in the chain of the audit trail.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// How often exchanges that wait for the request log are kept: together, because on SQLite each transaction
/// keeps requests waiting.
const KEEP_REQUESTS_EVERY: Duration = Duration::from_secs(1);

/// How long a server that has ended takes at least to keep the exchanges that wait.
const KEEP_REQUESTS_TIME_MIN: Duration = Duration::from_secs(2);

/// How often a server looks whether the database has to count again.
const LEARN_EVERY: Duration = Duration::from_secs(5);

/// How often a server looks for what was deleted and can no longer be restored, and for people who were
/// suspended for long.
const PURGE_EVERY: Duration = Duration::from_mins(1);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything in flight was finished.
    Clean,
    /// The grace period was over before everything was finished.
    Cut,
}

/// How a server that is asked to stop takes its leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Farewell {
    /// How long it goes on serving while it says that it is not ready, so that whoever distributes requests
    /// among several servers sends it no more of them before it takes no more connections.
    pub drain: Duration,
    /// How long requests in flight may take to end behind that.
    pub grace: Duration,
}

/// Whether the server was asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Whether it was: it still serves, but wants no more connections and nobody to keep one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves until `stop` completes; then goes on for the time of its farewell, takes no more connections,
/// finishes what is in flight, keeps the exchanges that wait for the request log and the last uses of keys,
/// and closes the database.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    farewell: Farewell,
) -> std::io::Result<Stopped> {
    let (tell, stopping) = watch::channel(());
    let end = Arc::new(OnceLock::new());
    let (known, leaving) = (Arc::clone(&end), app.leaving.clone());
    let Farewell { drain, grace } = farewell;
    let stopped = async move {
        stop.await;
        leaving.set();
        tokio::time::sleep(drain).await;
        // It is asked to stop once.
        let _first = known.set(Instant::now() + grace);
        drop(tell);
    };
    let mut jobs = jobs(&app, &stopping);
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(
        service(app.clone()),
    );
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped);
    let ended = tokio::select! {
        ended = server.into_future() => ended.map(|()| Stopped::Clean),
        () = after_stop(stopping, grace) => Ok(Stopped::Cut),
    };
    // What they are at is a transaction; another process goes on from the last one.
    jobs.shutdown().await;
    keep_last_requests(&app, end.get().copied()).await;
    keep_uses(app.clone()).await;
    app.provision.store.close().await;
    ended
}

async fn after_stop(mut stopping: watch::Receiver<()>, grace: Duration) {
    while stopping.changed().await.is_ok() {}
    tokio::time::sleep(grace).await;
}

/// What a server does by itself.
fn jobs(app: &App, stopping: &watch::Receiver<()>) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    jobs.spawn(every(KEEP_USES_EVERY, app.clone(), stopping.clone(), keep_uses));
    jobs.spawn(every(KEEP_REQUESTS_EVERY, app.clone(), stopping.clone(), keep_requests));
    jobs.spawn(every(FINISH_RUNS_EVERY, app.clone(), stopping.clone(), finish_runs));
    jobs.spawn(every(SEAL_EVERY, app.clone(), stopping.clone(), seal));
    jobs.spawn(every(LEARN_EVERY, app.clone(), stopping.clone(), learn));
    jobs.spawn(every(PURGE_EVERY, app.clone(), stopping.clone(), purge));
    jobs
}

/// Does something over and over until the server stops.
async fn every<F: Future<Output = ()>>(
    span: Duration,
    app: App,
    mut stopping: watch::Receiver<()>,
    job: impl Fn(App) -> F,
) {
    let mut ticks = tokio::time::interval(span);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => job(app.clone()).await,
            _ = stopping.changed() => return,
        }
    }
}

async fn keep_requests(app: App) {
    app.requests.settle(&app.provision).await;
}

/// Keeps what waits for the request log when no more requests come.
async fn keep_last_requests(app: &App, end: Option<Instant>) {
    let left = end.map(|end| end.saturating_duration_since(Instant::now())).unwrap_or_default();
    let left = left.max(KEEP_REQUESTS_TIME_MIN);
    if tokio::time::timeout(left, app.requests.settle(&app.provision)).await.is_err() {
        tracing::warn!("there was no time to write all of the request log");
    }
}

async fn keep_uses(app: App) {
    if let Err(error) = app.keyring.keep_uses(&app.provision.store).await {
        // The next requests of the same keys will tell again.
        tracing::warn!(error = &error as &dyn Error, "key uses were not kept");
    }
}

async fn finish_runs(app: App) {
    match app.provision.finish_runs().await {
        Ok(0) => {}
        Ok(finished) => tracing::info!(finished, "runs that were left are finished"),
        Err(error) => {
            let error = &error as &dyn Error;
            tracing::warn!(error, "a run could not be finished; it is tried again");
        }
    }
}

async fn seal(app: App) {
    if let Err(error) = app.provision.seal().await {
        let error = &error as &dyn Error;
        tracing::warn!(error, "the audit trail could not be sealed; it is tried again");
    }
}

async fn learn(app: App) {
    match app.provision.learn().await {
        Ok(false) => {}
        Ok(true) => tracing::debug!("the database counts again: much has come"),
        Err(error) => {
            let error = &error as &dyn Error;
            tracing::warn!(error, "the database has not counted; it is told again");
        }
    }
}

/// Deletes who was suspended for long, and removes what was deleted or asked long ago.
async fn purge(app: App) {
    match app.provision.age_out().await {
        Ok(0) => {}
        Ok(deleted) => tracing::info!(deleted, "people who were suspended for long are deleted"),
        Err(error) => {
            let error = &error as &dyn Error;
            tracing::warn!(
                error,
                "whoever was suspended for long is not deleted; it is tried again"
            );
        }
    }
    match app.provision.purge_overdue().await {
        Ok(purged) if purged == Purged::default() => {}
        Ok(Purged { accounts, groups }) => {
            tracing::info!(accounts, groups, "what was deleted is removed for good");
        }
        Err(error) => {
            let error = &error as &dyn Error;
            tracing::warn!(error, "what was deleted could not be removed; it is tried again");
        }
    }
    if let Err(error) = app.provision.purge_exchanges().await {
        let error = &error as &dyn Error;
        tracing::warn!(error, "the request log could not be shortened; it is tried again");
    }
}
