//! Taking back what happened.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::args::{UndoArgs, UndoCommand};
use super::audit::time;
use super::output::Text;
use super::runs::work_off;
use super::session::{Session, plain};
use crate::directory::undo::Undo;
use crate::directory::{InstanceId, Timestamp};
use crate::provision::undo::{UndoLine, UndoPreview};
use crate::store::run_items::Item;
use crate::store::runs::Run;

/// The accounts and groups that a preview prints; `--json` has more.
const SHOWN_MAX: usize = 20;

pub(super) async fn run(session: &mut Session<'_>, command: UndoCommand) -> Result<()> {
    let (how, undo) = match command {
        UndoCommand::Account { account, since, how } => {
            let (instance, since) =
                (instance(session, &how).await?, moment(session, &since.since)?);
            let found = session.provision.account_for(instance, &account, None).await;
            let found = found.map_err(plain)?;
            let account = found.with_context(|| format!("there is no account \"{account}\""))?.id;
            (how, Undo::Account { account, since })
        }
        UndoCommand::Run { run, how } => (how, Undo::Run { run }),
        UndoCommand::Connection { connection, since, how } => {
            let (instance, since) =
                (instance(session, &how).await?, moment(session, &since.since)?);
            let connection = session.connection(instance, &connection).await?.id;
            (how, Undo::Connection { connection, since })
        }
    };
    let instance = instance(session, &how).await?;
    if how.yes {
        take_back(session, instance, &undo).await
    } else {
        preview(session, instance, &undo).await
    }
}

async fn instance(session: &Session<'_>, how: &UndoArgs) -> Result<InstanceId> {
    Ok(session.instance(how.at.instance.as_deref()).await?.id)
}

fn moment(session: &Session<'_>, since: &str) -> Result<Timestamp> {
    time(since, session.provision.clock.now())
}

async fn preview(session: &mut Session<'_>, instance: InstanceId, undo: &Undo) -> Result<()> {
    let found = session.provision.preview_undo(instance, undo).await.map_err(plain)?;
    session.out.show(&json!({ "preview": true, "undo": undo, "would": found }), |text| {
        told(text, &found)?;
        text.line("Nothing has changed. To take it back, say the same with --yes.")
    })?;
    Ok(())
}

fn told(text: &mut Text, found: &UndoPreview) -> std::io::Result<()> {
    if !found.is_complete {
        text.line(format!("These are the {} latest events; there are more.", found.events))?;
    }
    let mut fields = vec![
        ("events", found.events.to_string()),
        ("accounts", found.accounts.to_string()),
        ("  restored", found.restored.to_string()),
        ("  deleted", found.deleted.to_string()),
        ("groups", found.groups.to_string()),
        ("memberships back", found.joining.to_string()),
        ("memberships gone", found.leaving.to_string()),
        ("changed since, stay", found.changed_since.to_string()),
        ("removed for good", found.gone.to_string()),
    ];
    let moves: Vec<_> = found
        .statuses
        .iter()
        .map(|one| (format!("{} → {}", one.was, one.is), one.people))
        .collect();
    fields.extend(moves.iter().map(|(name, people)| (name.as_str(), people.to_string())));
    text.fields(&fields)?;
    if found.lines.is_empty() {
        return Ok(());
    }
    let rows = found.lines.iter().take(SHOWN_MAX).map(|line| {
        let UndoLine { kind, name, undone, changed_since, .. } = line;
        vec![kind.word().to_owned(), name.clone(), or_nothing(undone), or_nothing(changed_since)]
    });
    text.table(&["KIND", "NAME", "PUT BACK", "CHANGED SINCE"], rows)?;
    let more = found.lines.len().saturating_sub(SHOWN_MAX);
    if more > 0 { text.line(format!("… and {more} more; --json lists them.")) } else { Ok(()) }
}

fn or_nothing(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

async fn take_back(session: &mut Session<'_>, instance: InstanceId, undo: &Undo) -> Result<()> {
    let author = session.provision.operator();
    let run = session.provision.begin_undo(&author, instance, undo).await.map_err(plain)?;
    let done = work_off(session, run).await?;
    let left = left_alone(session, &done).await?;
    let program = &session.program;
    session.out.show(&json!({ "run": done, "left": left }), |text| {
        text.line(format!(
            "Run {} is {}: {} events looked at, {} accounts, groups and memberships put back.",
            done.id, done.state, done.seen, done.changed
        ))?;
        if !left.is_empty() {
            let count = left.len();
            text.line(format!(
                "Of {count} something stays as it is; `{program} runs report {}` says what and why.",
                done.id
            ))?;
        }
        text.line(format!("To take this back: `{program} undo run {}`.", done.id))
    })?;
    Ok(())
}

/// The lines of the report about whom something was left as it is.
async fn left_alone(session: &Session<'_>, run: &Run) -> Result<Vec<Item>> {
    let mut left = Vec::new();
    let mut from = 0;
    loop {
        let page = session.provision.report(run, from).await.map_err(plain)?;
        from += i64::try_from(page.len()).unwrap_or(i64::MAX);
        if page.is_empty() {
            return Ok(left);
        }
        let says = |item: &Item, what: &str| {
            item.detail.as_ref().is_some_and(|detail| detail.get(what).is_some())
        };
        left.extend(
            page.into_iter().filter(|item| says(item, "changed_since") || says(item, "reason")),
        );
    }
}
