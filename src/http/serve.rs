//! The server on its socket, from start to a clean end.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{App, service};
use crate::provision::{self, Purged};

/// How often the uses of keys are kept.
const KEEP_USES_EVERY: Duration = Duration::from_secs(10);

/// How often a server looks for runs that were left unfinished.
const FINISH_RUNS_EVERY: Duration = Duration::from_secs(10);

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
    let purger = tokio::spawn(purge(app.clone(), stopping.clone()));
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(
        service(app.clone()),
    );
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped);
    let ended = tokio::select! {
        ended = server.into_future() => ended.map(|()| Stopped::Clean),
        () = after_stop(stopping, grace) => Ok(Stopped::Cut),
    };
    keeper.abort();
    // What they are at is a transaction; another process goes on from the last one.
    finisher.abort();
    purger.abort();
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

async fn purge(app: App, mut stopping: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(PURGE_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => match house_kept(&app).await {
                Ok(purged) if purged == Purged::default() => {}
                Ok(Purged { accounts, groups }) => {
                    tracing::info!(accounts, groups, "what was deleted is removed for good");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what was deleted could not be removed; it is tried again");
                }
            },
            _ = stopping.changed() => return,
        }
    }
}

/// Deletes who was suspended for long, and removes what was deleted long ago.
async fn house_kept(app: &App) -> Result<Purged, provision::Error> {
    let deleted = app.provision.age_out().await?;
    if deleted > 0 {
        tracing::info!(deleted, "people who were suspended for long are deleted");
    }
    app.provision.purge_overdue().await
}

async fn keep_uses_now(app: &App) {
    if let Err(error) = app.keyring.keep_uses(&app.provision.store).await {
        // The next requests of the same keys will tell again.
        tracing::warn!(error = &error as &dyn std::error::Error, "key uses were not kept");
    }
}
