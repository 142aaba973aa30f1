//! The server on its socket, from start to a clean end.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{App, service};

/// How often the uses of keys are kept.
const KEEP_USES_EVERY: Duration = Duration::from_secs(10);

/// How often a server looks for runs that were left unfinished.
const FINISH_RUNS_EVERY: Duration = Duration::from_secs(10);

/// How often events that were committed get their links in the chain of the audit trail.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything in flight was finished.
    Clean,
    /// The grace period was over before everything was finished.
    Cut,
}

/// Serves until `stop` completes; then takes no more connections, finishes what is in flight within
/// `grace`, keeps the last uses of keys and closes the database.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> std::io::Result<Stopped> {
    let (tell, stopping) = watch::channel(());
    let stopped = async move {
        stop.await;
        drop(tell);
    };
    let keeper = tokio::spawn(keep_uses(app.clone(), stopping.clone()));
    let finisher = tokio::spawn(finish_runs(app.clone(), stopping.clone()));
    let sealer = tokio::spawn(seal(app.clone(), stopping.clone()));
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(
        service(app.clone()),
    );
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped);
    let ended = tokio::select! {
        ended = server.into_future() => ended.map(|()| Stopped::Clean),
        () = after_stop(stopping, grace) => Ok(Stopped::Cut),
    };
    keeper.abort();
    // What it is at is a transaction; another process goes on from the last one.
    finisher.abort();
    sealer.abort();
    keep_uses_now(&app).await;
    app.provision.store.close().await;
    ended
}

async fn after_stop(mut stopping: watch::Receiver<()>, grace: Duration) {
    while stopping.changed().await.is_ok() {}
    tokio::time::sleep(grace).await;
}

async fn keep_uses(app: App, mut stopping: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(KEEP_USES_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => keep_uses_now(&app).await,
            _ = stopping.changed() => return,
        }
    }
}

async fn finish_runs(app: App, mut stopping: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(FINISH_RUNS_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => match app.provision.finish_runs().await {
                Ok(0) => {}
                Ok(finished) => tracing::info!(finished, "runs that were left are finished"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a run could not be finished; it is tried again");
                }
            },
            _ = stopping.changed() => return,
        }
    }
}

async fn seal(app: App, mut stopping: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(SEAL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => if let Err(error) = app.provision.seal().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the audit trail could not be sealed; it is tried again");
            },
            _ = stopping.changed() => return,
        }
    }
}

async fn keep_uses_now(app: &App) {
    if let Err(error) = app.keyring.keep_uses(&app.provision.store).await {
        // The next requests of the same keys will tell again.
        tracing::warn!(error = &error as &dyn std::error::Error, "key uses were not kept");
    }
}
