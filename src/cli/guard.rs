//! The guard for pushes: what it holds, and what administrators decide about it.

use std::io;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::args::{ConnectionArg, DecideArgs, GuardCommand, LimitArgs, ShowGuardArgs};
use super::output::{Text, or_dash, private_file};
use super::session::{Session, plain, quoted};
use crate::directory::{Connection, LossKind, Losses, PushGuard};
use crate::provision::guard::{
    Decided, Deciding, GUARD_PAGE, GuardState, HeldChange, HeldDecision, HeldMark,
};
use crate::provision::settings::SettingsChange;
use crate::store::guard::{Holding, People};

pub(super) async fn run(session: &mut Session<'_>, command: GuardCommand) -> Result<()> {
    match command {
        GuardCommand::List { at } => list(session, at.instance.as_deref()).await,
        GuardCommand::Show(wanted) => match &wanted.csv {
            Some(path) => export(session, &wanted.connection, path).await,
            None => show(session, &wanted).await,
        },
        GuardCommand::Apply(wanted) => decide(session, &wanted, HeldDecision::Apply).await,
        GuardCommand::Discard(wanted) => decide(session, &wanted, HeldDecision::Discard).await,
        GuardCommand::Set(wanted) => set(session, wanted).await,
    }
}

async fn connection(session: &mut Session<'_>, wanted: &ConnectionArg) -> Result<Connection> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    session.connection(instance.id, &wanted.connection).await
}

async fn list(session: &mut Session<'_>, instance: Option<&str>) -> Result<()> {
    let instance = session.instance(instance).await?;
    let connections = session.provision.connections(instance.id).await.map_err(plain)?;
    let mut states = Vec::with_capacity(connections.len());
    for connection in connections {
        let state = session.provision.guard_state(&connection).await.map_err(plain)?;
        states.push((connection, state));
    }
    let json: Vec<Value> = states
        .iter()
        .map(|(connection, state)| json!({ "connection": connection.name, "guard": state }))
        .collect();
    session.out.show(&json!({ "connections": json }), |text| {
        let header = ["CONNECTION", "HELD", "SINCE", "CAME THROUGH", "LIMITS"];
        let rows = states.iter().map(|(connection, state)| {
            vec![
                connection.name.clone(),
                held(state.holding),
                or_dash(state.holding.since),
                lost(state.lost),
                limits(&state.limits),
            ]
        });
        text.table(&header, rows)
    })?;
    Ok(())
}

/// What is held, in words.
fn held(holding: Holding) -> String {
    let kinds = [
        (holding.suspensions, "suspensions"),
        (holding.deletions, "deletions"),
        (holding.group_deletions, "group deletions"),
        (holding.removals, "removals"),
    ];
    listed(&kinds, "nothing")
}

/// What came through, in words.
fn lost(lost: Losses) -> String {
    let kinds = LossKind::ALL.iter().map(|kind| (lost.of(*kind), kind.plural()));
    listed(&kinds.collect::<Vec<_>>(), "nothing")
}

fn listed(kinds: &[(i64, &str)], none: &str) -> String {
    let some = kinds.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = some
        .map(|(count, kind)| match count {
            1 => format!("1 {}", kind.trim_end_matches('s')),
            count => format!("{count} {kind}"),
        })
        .collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

/// The limits, in words.
pub(super) fn limits(guard: &PushGuard) -> String {
    if !guard.on {
        return "off".to_owned();
    }
    let PushGuard { suspensions_max, deletions_max, removals_max, percent_max, .. } = guard;
    let share = match percent_max {
        100 => "any share".to_owned(),
        percent => format!("{percent} percent"),
    };
    format!(
        "{suspensions_max} suspensions, {deletions_max} deletions, {removals_max} removals, {share} in {}",
        window(guard.window_minutes)
    )
}

fn window(minutes: i64) -> String {
    let day = 24 * 60;
    match minutes {
        minutes if minutes % day == 0 => format!("{}d", minutes / day),
        minutes if minutes % 60 == 0 => format!("{}h", minutes / 60),
        minutes => format!("{minutes}m"),
    }
}

async fn show(session: &mut Session<'_>, wanted: &ShowGuardArgs) -> Result<()> {
    let connection = connection(session, &wanted.connection).await?;
    let (after, provision) = (wanted.after, &session.provision);
    let state = provision.guard_state(&connection).await.map_err(plain)?;
    let changes = provision.held_changes(&connection, after, wanted.limit).await.map_err(plain)?;
    let last = changes.last().map(|change| change.mark);
    let behind = provision.held_changes(&connection, last, 1).await.map_err(plain)?;
    let next = last.filter(|_| !behind.is_empty());
    let json = json!({
        "connection": connection.name, "guard": state, "changes": changes, "next": next,
    });
    session.out.show(&json, |text| {
        fields(text, &connection, &state)?;
        if changes.is_empty() {
            return Ok(());
        }
        text.line("")?;
        let rows = changes.iter().map(|change| row(change).to_vec());
        text.table(&["WHO", "WOULD BE", "IS NOW", "SAID", "ID"], rows)?;
        next.map_or(Ok(()), |next| {
            text.line(format!("There are more: add --after {next} for the next page."))
        })
    })?;
    Ok(())
}

fn fields(text: &mut Text, connection: &Connection, state: &GuardState) -> io::Result<()> {
    text.fields(&[
        ("connection", connection.name.clone()),
        ("held", held(state.holding)),
        ("since", or_dash(state.holding.since)),
        ("came through", lost(state.lost)),
        ("limits", limits(&state.limits)),
        ("people", people(state.people)),
    ])
}

fn people(people: People) -> String {
    let People { may_enter, suspended, deleted } = people;
    format!("{may_enter} may enter, {suspended} suspended, {deleted} deleted")
}

fn row(change: &HeldChange) -> [String; 5] {
    let would_be = match (change.kind, &change.group) {
        (LossKind::Suspension, _) => "suspended".to_owned(),
        (LossKind::Deletion, _) if change.of == "group" => "deleted (a group)".to_owned(),
        (LossKind::Deletion, _) => "deleted".to_owned(),
        (LossKind::Removal, group) => format!("out of {}", group.as_deref().unwrap_or_default()),
    };
    [
        change.name.clone(),
        would_be,
        or_dash(change.status),
        or_dash(change.said_at),
        change.id.to_string(),
    ]
}

/// Writes everything that is held to a file.
async fn export(
    session: &mut Session<'_>,
    wanted: &ConnectionArg,
    path: &std::path::Path,
) -> Result<()> {
    let connection = connection(session, wanted).await?;
    let mut file = csv::Writer::from_writer(private_file(path)?);
    file.write_record(["name", "would_be", "is_now", "said_at", "id", "group_id"])?;
    let (mut after, mut count): (Option<HeldMark>, usize) = (None, 0);
    loop {
        let page = session.provision.held_changes(&connection, after, GUARD_PAGE).await;
        let page = page.map_err(plain)?;
        let Some(last) = page.last() else { break };
        after = Some(last.mark);
        for change in &page {
            let group = change.group_id.map(|id| id.to_string()).unwrap_or_default();
            file.write_record(row(change).iter().chain([&group]))?;
        }
        count += page.len();
    }
    file.flush().with_context(|| format!("{} cannot be written", path.display()))?;
    session.out.show(&json!({ "file": path, "changes": count }), |text| {
        text.line(format!("{count} changes were written to {}.", path.display()))
    })?;
    Ok(())
}

async fn decide(
    session: &mut Session<'_>,
    wanted: &DecideArgs,
    decision: HeldDecision,
) -> Result<()> {
    let connection = connection(session, &wanted.connection).await?;
    let author = session.provision.operator();
    if !wanted.yes {
        return foresee(session, &connection, wanted, decision).await;
    }
    let before = session.provision.guard_state(&connection).await.map_err(plain)?;
    let (mut at, mut decided) = (Deciding::begin(decision, wanted.id), Decided::default());
    while !at.is_done() {
        let step = session.provision.decide_held_step(&author, &connection, &mut at).await;
        decided.add(step.map_err(plain)?);
    }
    let after = session.provision.guard_state(&connection).await.map_err(plain)?;
    let json = json!({ "decided": decided, "before": before.people, "after": after.people });
    let done = match decision {
        HeldDecision::Apply => "Applied",
        HeldDecision::Discard => "Discarded",
    };
    session.out.show(&json, |text| {
        text.line(format!("{done}: {}.", sum(&decided)))?;
        text.fields(&[
            ("before", people(before.people)),
            ("after", people(after.people)),
            ("still held", held(after.holding)),
        ])
    })?;
    if !decided.refused.is_empty() {
        bail!("{}", decided.refused.join("\n"));
    }
    Ok(())
}

fn sum(decided: &Decided) -> String {
    let kinds = [
        (decided.suspensions, "suspensions"),
        (decided.deletions, "deletions"),
        (decided.group_deletions, "group deletions"),
        (decided.removals, "removals"),
    ];
    listed(&kinds, "nothing")
}

/// Says what a decision would come to.
async fn foresee(
    session: &mut Session<'_>,
    connection: &Connection,
    wanted: &DecideArgs,
    decision: HeldDecision,
) -> Result<()> {
    let author = session.provision.operator();
    let (state, after, exact) = match decision {
        HeldDecision::Apply => {
            session.provision.foresee_held(&author, connection).await.map_err(plain)?
        }
        HeldDecision::Discard => {
            let state = session.provision.guard_state(connection).await.map_err(plain)?;
            (state, state.people, true)
        }
    };
    let verb = match decision {
        HeldDecision::Apply => "apply",
        HeldDecision::Discard => "discard",
    };
    let json = json!({
        "preview": true, "guard": state, "before": state.people, "after": after, "exact": exact,
    });
    let (program, name) = (&session.program, quoted(&connection.name));
    session.out.show(&json, |text| {
        text.fields(&[
            ("held", held(state.holding)),
            ("before", people(state.people)),
            ("after", people(after)),
        ])?;
        if !exact {
            text.line(
                "Who would leave the scope with a group is not counted: these are too many.",
            )?;
        }
        if wanted.id.is_some() {
            text.line("The numbers are of all that is held.")?;
        }
        let id = wanted.id.map(|id| format!(" --id {id}")).unwrap_or_default();
        text.line(format!(
            "Nothing has changed. Who they are says `{program} guard show {name}`; to do it, \
             `{program} guard {verb} {name}{id} --yes`."
        ))
    })?;
    Ok(())
}

async fn set(session: &mut Session<'_>, wanted: LimitArgs) -> Result<()> {
    let connection = connection(session, &wanted.connection).await?;
    let old = connection.settings.guard;
    let window = match wanted.window {
        None => old.window_minutes,
        Some(span) if span.ms % 60_000 == 0 => span.ms / 60_000,
        Some(_) => {
            bail!("the window must be a number of whole minutes: write it as 30m, 24h or 7d")
        }
    };
    let guard = PushGuard {
        on: wanted.on || (old.on && !wanted.off),
        suspensions_max: wanted.suspensions.unwrap_or(old.suspensions_max),
        deletions_max: wanted.deletions.unwrap_or(old.deletions_max),
        removals_max: wanted.removals.unwrap_or(old.removals_max),
        percent_max: wanted.percent.unwrap_or(old.percent_max),
        window_minutes: window,
    };
    let change = SettingsChange { guard: Some(guard), ..SettingsChange::default() };
    let author = session.provision.operator();
    let set = session.provision.set_connection_settings(&author, &connection, change).await;
    let connection = set.map_err(plain)?.connection;
    let state = session.provision.guard_state(&connection).await.map_err(plain)?;
    session.out.show(&json!({ "connection": connection.name, "guard": state }), |text| {
        fields(text, &connection, &state)
    })?;
    Ok(())
}
