//! The worker: begins runs whose time has come, and works on those that nobody works on.

use std::time::Duration;

use tokio::task::JoinSet;

use super::Pulls;
use crate::provision::{self, Error};
use crate::store::runs::Run;

/// How often a server looks for work.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The runs that a server works on at once.
pub const RUNS_AT_ONCE_MAX: usize = 2;

/// Works until it is dropped: what it is at then is a transaction, and another server goes on from the
/// last one.
pub async fn work(pulls: Pulls) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut runs = JoinSet::new();
    loop {
        ticks.tick().await;
        while runs.try_join_next().is_some() {}
        if let Err(error) = look(&pulls, &mut runs).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the pull worker could not look for work; it looks again");
        }
    }
}

async fn look(pulls: &Pulls, runs: &mut JoinSet<()>) -> provision::Result<()> {
    pulls.provision.begin_due_pulls().await?;
    for run in pulls.provision.pulls_left_alone().await? {
        if runs.len() >= RUNS_AT_ONCE_MAX {
            return Ok(());
        }
        match pulls.provision.take_up(&run).await {
            Ok(run) => drop(runs.spawn(work_off(pulls.clone(), run))),
            // Another server was faster.
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn work_off(pulls: Pulls, run: Run) {
    let id = run.id;
    let connection = run.connection.map(tracing::field::display);
    tracing::info!(run = %id, connection, "a pull is worked on");
    match pulls.work_off(run, &mut |_| ()).await {
        Ok(run) => {
            let pull = run.pulled();
            tracing::info!(
                run = %id,
                state = %run.state,
                rows = pull.rows,
                changed = pull.counts.changed(),
                skipped = pull.counts.skipped,
                "a pull has got so far"
            );
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(run = %id, error, "a pull was interrupted; it is taken up again");
        }
    }
}
