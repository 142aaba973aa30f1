//! Runs of CSV files: begun, watched, decided about and reported.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::args::{ConnectionArg, CsvCommand, RunArg};
use super::csv::{found, notes};
use super::output::{Text, or_dash, private_file};
use super::session::{Session, plain};
use crate::directory::{Connection, Pull};
use crate::provision::pull::Worker;
use crate::pull::report::{HEADER, in_words, push};
use crate::store::run_items::Item;
use crate::store::runs::{Pace, Run, RunState};

pub(super) async fn run(session: &mut Session<'_>, command: CsvCommand) -> Result<()> {
    match command {
        CsvCommand::DryRun { connection, export } => {
            let run = begin(session, &connection, true, Worker::Here).await?;
            let run = watched(session, run).await?;
            finished(session, &run, export.as_deref(), Lines::Shown).await
        }
        CsvCommand::Run { connection, detach: true } => {
            let run = begin(session, &connection, false, Worker::Anybody).await?;
            shown(session, &run)
        }
        CsvCommand::Run { connection, detach: false } => {
            let run = begin(session, &connection, false, Worker::Here).await?;
            let run = watched(session, run).await?;
            finished(session, &run, None, Lines::Counted).await
        }
        CsvCommand::Runs { connection, limit } => {
            let connection = found(session, &connection).await?;
            let runs = session.provision.pulls(connection.instance, connection.id, limit).await;
            let runs = runs.map_err(plain)?;
            session.out.show(&json!({ "runs": runs }), |text| table(text, &runs))?;
            Ok(())
        }
        CsvCommand::Status(wanted) => {
            let run = of(session, &wanted).await?;
            shown(session, &run)
        }
        CsvCommand::Report { run, export } => {
            let run = of(session, &run).await?;
            finished(session, &run, export.as_deref(), Lines::Shown).await
        }
        CsvCommand::Continue(wanted) => {
            let run = of(session, &wanted).await?;
            let author = session.provision.operator();
            let run = session.provision.let_go_on(&author, &run, Worker::Here).await;
            let run = watched(session, run.map_err(plain)?).await?;
            finished(session, &run, None, Lines::Counted).await
        }
        CsvCommand::Resume(wanted) => {
            let run = of(session, &wanted).await?;
            if run.state == RunState::Held {
                let program = &session.program;
                bail!("the run is held: let it go on with `{program} csv continue {}`", run.id);
            }
            let run = session.provision.take_up(&run).await.map_err(plain)?;
            let run = watched(session, run).await?;
            finished(session, &run, None, Lines::Counted).await
        }
        CsvCommand::Cancel(wanted) => {
            let run = of(session, &wanted).await?;
            let author = session.provision.operator();
            let run = session.provision.cancel_pull(&author, &run).await.map_err(plain)?;
            shown(session, &run)
        }
        _ => unreachable!("the commands that are no runs are done elsewhere"),
    }
}

async fn begin(
    session: &Session<'_>,
    wanted: &ConnectionArg,
    dry: bool,
    worker: Worker,
) -> Result<Run> {
    let Connection { instance, id, .. } = found(session, wanted).await?;
    let author = session.provision.operator();
    session.provision.begin_pull(&author, instance, id, dry, worker).await.map_err(plain)
}

async fn of(session: &Session<'_>, wanted: &RunArg) -> Result<Run> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let found = session.provision.run(instance, wanted.run).await.map_err(plain)?;
    let program = &session.program;
    found.filter(|run| run.pull.is_some()).with_context(|| {
        format!(
            "there is no run {} of a file; `{program} csv runs CONNECTION` lists them",
            wanted.run
        )
    })
}

/// Works on a run and shows how far it is: on a terminal as a bar, otherwise not at all.
async fn watched(session: &Session<'_>, run: Run) -> Result<Run> {
    let id = run.id;
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = "{spinner} {msg} [{bar:30}] {pos}/{len} rows, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).context("the progress bar")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut watch = |run: &Run| {
        let pull = run.pulled();
        bar.set_message(format!("{} ({} changed)", pull.stage, pull.counts.changed()));
        bar.set_length(u64::try_from(pull.rows).unwrap_or(0));
        bar.set_position(u64::try_from(pull.done).unwrap_or(0));
    };
    let done = session.pulls()?.work_off(run, &mut watch).await.map_err(plain);
    bar.finish_and_clear();
    let program = &session.program;
    done.with_context(|| {
        format!(
            "the run {id} was interrupted: a server goes on with it, or `{program} csv resume {id}`"
        )
    })
}

/// Whether the lines of a report are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    Shown,
    Counted,
}

/// Says what a run came to. A run that failed or is held makes the command fail.
async fn finished(
    session: &mut Session<'_>,
    run: &Run,
    export: Option<&Path>,
    lines: Lines,
) -> Result<()> {
    let mut items = Vec::new();
    match export {
        Some(file) => export_report(session, run, file).await?,
        None if lines == Lines::Shown => items = report(session, run).await?,
        None => {}
    }
    session.out.show(&json!({ "run": run, "report": items }), |text| {
        summary(text, run)?;
        if items.is_empty() { Ok(()) } else { item_table(text, &items) }
    })?;
    let program = &session.program;
    let reason = run.pull.as_ref().and_then(|pull| pull.reason.clone()).unwrap_or_default();
    let id = run.id;
    match run.state {
        RunState::Done | RunState::Cancelled => Ok(()),
        // Whoever only asks for a report is told how far it is.
        RunState::Open if lines == Lines::Shown && export.is_none() => Ok(()),
        RunState::Open => bail!(
            "the run is not at its end: somebody else goes on with it, or `{program} csv resume {id}`"
        ),
        RunState::Failed => bail!("the run stopped: {reason}"),
        RunState::Held => bail!(
            "the run is held, nothing more was changed: {reason}; who that is says `{program} csv \
             dry-run CONNECTION`; then let it go on with `{program} csv continue {id}`, or end it with `{program} \
             csv cancel {id}`"
        ),
    }
}

fn shown(session: &mut Session<'_>, run: &Run) -> Result<()> {
    let pace = run.pace(session.provision.clock.now());
    session.out.show(&json!({ "run": run, "pace": pace }), |text| {
        summary(text, run)?;
        let Some(Pace { rows_per_s, remaining_s }) = pace else { return Ok(()) };
        text.line(format!("{rows_per_s} rows in a second; {remaining_s} seconds are left."))
    })?;
    Ok(())
}

fn summary(text: &mut Text, run: &Run) -> io::Result<()> {
    let pull = run.pulled();
    let dry = if pull.dry { " (dry: everything was taken back)" } else { "" };
    text.line(format!("Run {} is {}{dry}.", run.id, run.state))?;
    let Pull { counts, leaving, .. } = &pull;
    let mut fields = vec![
        ("rows", format!("{} of {}", pull.done, pull.rows)),
        ("created", counts.created.to_string()),
        ("updated", counts.updated.to_string()),
        ("picked up", counts.picked_up.to_string()),
        ("waiting for approval", counts.asked.to_string()),
        ("suspended", counts.suspended.to_string()),
        ("reactivated", counts.reactivated.to_string()),
        ("blocked, no seat", counts.blocked.to_string()),
        ("deleted", counts.deleted.to_string()),
        ("skipped", counts.skipped.to_string()),
        ("unchanged", counts.unchanged.to_string()),
        ("lose access", format!("{} of {}", leaving.leaving, leaving.present)),
        ("bytes", pull.bytes.to_string()),
        ("SHA-256", or_dash(pull.checksum.as_ref())),
        ("started", run.started_at.to_string()),
        ("ended", or_dash(run.ended_at)),
    ];
    if run.state == RunState::Open {
        fields.insert(0, ("stage", pull.stage.to_string()));
    }
    if let Some(ended) = run.ended_at {
        let seconds = ended.0.saturating_sub(run.started_at.0) / 1000;
        fields.push(("seconds", seconds.to_string()));
    }
    if let Some(reason) = &pull.reason {
        fields.push(("reason", reason.clone()));
    }
    text.fields(&fields)?;
    notes(text, &pull.notes)
}

async fn report(session: &Session<'_>, run: &Run) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    loop {
        let from = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let page = session.provision.report(run, from).await.map_err(plain)?;
        if page.is_empty() {
            return Ok(items);
        }
        items.extend(page);
    }
}

pub(super) fn item_table(text: &mut Text, items: &[Item]) -> io::Result<()> {
    let rows = items.iter().map(|item| {
        let detail = item.detail.as_ref().map(in_words).unwrap_or_default();
        vec![item.outcome.to_string(), or_dash(item.line), item.name.clone(), detail]
    });
    text.table(&["OUTCOME", "LINE", "NAME", "DETAIL"], rows)
}

async fn export_report(session: &Session<'_>, run: &Run, file: &Path) -> Result<()> {
    let name = file.display();
    let mut into = BufWriter::new(private_file(file)?);
    let (mut text, mut from) = (HEADER.to_owned(), 0);
    loop {
        let page = session.provision.report(run, from).await.map_err(plain)?;
        for item in &page {
            push(&mut text, item);
        }
        into.write_all(text.as_bytes()).with_context(|| format!("{name} cannot be written"))?;
        if page.is_empty() {
            break;
        }
        text.clear();
        from += i64::try_from(page.len()).unwrap_or(0);
    }
    into.flush().with_context(|| format!("{name} cannot be written"))
}

/// A table of runs.
pub(super) fn table(text: &mut Text, runs: &[Run]) -> io::Result<()> {
    let rows = runs.iter().map(|run| {
        let pull = run.pulled();
        let state = if pull.dry { format!("{} (dry)", run.state) } else { run.state.to_string() };
        vec![
            state,
            pull.done.to_string(),
            pull.counts.changed().to_string(),
            pull.counts.skipped.to_string(),
            run.author.clone(),
            run.started_at.to_string(),
            or_dash(run.ended_at),
            run.id.to_string(),
        ]
    });
    text.table(&["STATE", "ROWS", "CHANGED", "SKIPPED", "BY", "STARTED", "ENDED", "ID"], rows)
}
