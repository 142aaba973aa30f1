//! Runs, and the changes that start one.

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::args::{RunArg, RunsCommand, ScopeArgs};
use super::output::{Text, or_dash};
use super::pulls::item_table;
use super::session::{Session, plain};
use crate::directory::source::Outcome;
use crate::directory::{GroupId, InstanceId, Scope};
use crate::store::run_items::Item;
use crate::store::runs::Run;

pub(super) async fn run(session: &mut Session<'_>, command: RunsCommand) -> Result<()> {
    match command {
        RunsCommand::List { limit, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let runs = session.provision.runs(instance.id, limit).await.map_err(plain)?;
            session.out.show(&json!({ "runs": runs }), |text| table(text, &runs))?;
            Ok(())
        }
        RunsCommand::Show(wanted) => {
            let (_, run) = find(session, &wanted).await?;
            shown(session, &run)
        }
        RunsCommand::Report { run, outcome, limit } => report(session, &run, outcome, limit).await,
        RunsCommand::Resume(wanted) => {
            let (_, run) = find(session, &wanted).await?;
            if run.ended_at.is_some() {
                return shown(session, &run);
            }
            let run = session.provision.take_up(&run).await.map_err(plain)?;
            finish(session, run).await
        }
    }
}

async fn find(session: &Session<'_>, wanted: &RunArg) -> Result<(InstanceId, Run)> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let found = session.provision.run(instance, wanted.run).await.map_err(plain)?;
    let program = &session.program;
    let run = found.with_context(|| {
        format!("there is no run {}; `{program} runs list` lists them", wanted.run)
    })?;
    Ok((instance, run))
}

/// Works a run off that this command has begun, and says what it came to.
pub(super) async fn finish(session: &mut Session<'_>, run: Run) -> Result<()> {
    let done = work_off(session, run).await?;
    shown(session, &done)
}

/// Works a run off that this command has begun.
pub(super) async fn work_off(session: &Session<'_>, run: Run) -> Result<Run> {
    let id = run.id;
    let done = session.provision.work_off(run, |_| ()).await.map_err(plain);
    done.with_context(|| {
        let program = &session.program;
        format!(
            "run {id} was interrupted: a server goes on with it, or `{program} runs resume {id}`"
        )
    })
}

/// Shows lines of the report of a run.
async fn report(
    session: &mut Session<'_>,
    wanted: &RunArg,
    outcome: Option<Outcome>,
    limit: i64,
) -> Result<()> {
    let (_, run) = find(session, wanted).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut items, mut from): (Vec<Item>, i64) = (Vec::new(), 0);
    while items.len() < limit {
        let page = session.provision.report(&run, from).await.map_err(plain)?;
        if page.is_empty() {
            break;
        }
        from += i64::try_from(page.len()).unwrap_or(i64::MAX);
        let wanted = page.into_iter().filter(|item| outcome.is_none_or(|of| item.outcome == of));
        items.extend(wanted);
    }
    items.truncate(limit);
    session.out.show(&json!({ "report": items }), |text| item_table(text, &items))?;
    Ok(())
}

fn shown(session: &mut Session<'_>, run: &Run) -> Result<()> {
    session.out.show(&json!({ "run": run }), |text| {
        text.line(format!(
            "Run {} ({}) is {}: {} looked at, {} changed.",
            run.id, run.kind, run.state, run.seen, run.changed
        ))
    })?;
    Ok(())
}

fn table(text: &mut Text, runs: &[Run]) -> std::io::Result<()> {
    let rows = runs.iter().map(|run| {
        vec![
            run.kind.to_string(),
            run.state.to_string(),
            run.seen.to_string(),
            run.changed.to_string(),
            run.author.clone(),
            run.started_at.to_string(),
            or_dash(run.ended_at),
            run.id.to_string(),
        ]
    });
    text.table(&["KIND", "STATE", "SEEN", "CHANGED", "BY", "STARTED", "ENDED", "ID"], rows)
}

/// Shows, previews or changes the scope of a connection.
pub(super) async fn scope(session: &mut Session<'_>, wanted: &ScopeArgs) -> Result<()> {
    let instance = session.instance(wanted.connection.at.instance.as_deref()).await?.id;
    let connection = session.connection(instance, &wanted.connection.connection).await?;
    if !wanted.all && wanted.groups.is_empty() {
        if wanted.preview {
            bail!("say which scope to preview: --all, or --group GROUP");
        }
        let ids = session.provision.sync_groups(&connection).await.map_err(plain)?;
        let mut groups = Vec::with_capacity(ids.len());
        for id in ids {
            let group = session.provision.group(instance, &id.to_string(), 0).await;
            let name = group.map_err(plain)?.map(|(group, _)| group.display_name);
            groups.push((id, name.unwrap_or_else(|| "a deleted group".to_owned())));
        }
        let named: Vec<_> =
            groups.iter().map(|(id, name)| json!({ "id": id, "display_name": name })).collect();
        let json = json!({ "scope": connection.settings.scope, "sync_groups": named });
        session.out.show(&json, |text| match connection.settings.scope {
            Scope::All => text.line(format!("{} brings in everyone.", connection.name)),
            Scope::Groups => {
                text.line(format!("{} brings in the members of:", connection.name))?;
                groups.iter().try_for_each(|(id, name)| text.line(format!("  {name} ({id})")))
            }
        })?;
        return Ok(());
    }
    let scope = if wanted.all { Scope::All } else { Scope::Groups };
    let groups = groups(session, instance, &wanted.groups).await?;
    if wanted.preview {
        let preview = session.provision.preview_scope(&connection, scope, &groups).await;
        let preview = preview.map_err(plain)?;
        session.out.show(&json!({ "preview": preview }), |text| {
            text.line(format!(
                "Of {} people, {} would be in scope: {} would be suspended, {} would come back.",
                preview.people, preview.in_scope, preview.leaving, preview.coming
            ))?;
            for name in &preview.who_leaves {
                text.line(format!("- {name}"))?;
            }
            for name in &preview.who_comes {
                text.line(format!("+ {name}"))?;
            }
            Ok(())
        })?;
        return Ok(());
    }
    let author = session.provision.operator();
    let run = session.provision.set_scope(&author, &connection, scope, &groups).await;
    finish(session, run.map_err(plain)?).await
}

async fn groups(
    session: &Session<'_>,
    instance: InstanceId,
    names: &[String],
) -> Result<Vec<GroupId>> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let group = session.provision.group(instance, name, 0).await.map_err(plain)?;
        let program = &session.program;
        let (group, _) = group.with_context(|| {
            format!("there is no group \"{name}\"; `{program} groups list` lists them")
        })?;
        found.push(group.id);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
