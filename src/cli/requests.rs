//! The request log: finding in it, following it, trying a request again.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::args::{ExchangeArg, ExchangeArgs, RequestDaysArgs, RequestsCommand};
use super::audit::time;
use super::output::{Text, or_dash};
use super::scope::full_name;
use super::session::{Session, plain};
use crate::directory::ids::ExchangeId;
use crate::directory::{Connection, InstanceId, RequestDays, Timestamp};
use crate::provision::requests::replay::Replayed;
use crate::provision::requests::{Shown, from_time, name_key};
use crate::store::audit::Event;
use crate::store::exchanges::{About, Body, Exchange, From, Wanted};

/// How often `tail` looks for more.
const TAIL_EVERY: Duration = Duration::from_millis(500);

/// The requests that `tail` reads at once.
const TAIL_PAGE: i64 = 500;

/// How far back `tail` looks each time: several servers keep what they saw at different times.
const TAIL_OVERLAP_MS: i64 = 30_000;

/// The characters of a path and its query that a list shows.
const PATH_CHARS_SHOWN: usize = 80;

pub(super) async fn run(session: &mut Session<'_>, command: RequestsCommand) -> Result<()> {
    match command {
        RequestsCommand::List { wanted, limit } => list(session, &wanted, limit).await,
        RequestsCommand::Tail { wanted, count, span } => {
            let span = span.and_then(|span| u64::try_from(span.ms).ok()).map(Duration::from_millis);
            tail(session, &wanted, count, span).await
        }
        RequestsCommand::Show(wanted) => {
            let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
            let shown = find(session, instance, &wanted).await?;
            let connections = session.provision.connections(instance).await.map_err(plain)?;
            let json = json!({ "request": shown });
            session.out.show(&json, |text| show(text, &shown, &connections))?;
            Ok(())
        }
        RequestsCommand::Replay { exchange, dry_run } => replay(session, &exchange, dry_run).await,
    }
}

async fn list(session: &mut Session<'_>, wanted: &ExchangeArgs, limit: i64) -> Result<()> {
    let (instance, wanted) = read(session, wanted).await?;
    let newest = From::Before(uuid::Uuid::max());
    let found = session.provision.exchanges(instance, &wanted, newest, limit).await;
    let found = found.map_err(plain)?;
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let missed = session.provision.missed_exchanges(instance).await.map_err(plain)?;
    let days = session.provision.request_days(instance).await.map_err(plain)?;
    let json = json!({ "requests": found, "missed": missed, "requests_days": days });
    session.out.show(&json, |text| {
        let rows = found.iter().map(|exchange| row(exchange, &connections));
        text.table(&["AT", "CONNECTION", "METHOD", "PATH", "STATUS", "MS", "ID"], rows)?;
        if missed > 0 {
            text.line(format!(
                "{missed} requests are missing here: there was no room for them when they came, or the \
                 database could not be written."
            ))?;
        }
        if days.is_off() {
            text.line("The instance keeps no request log.")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// What is wanted, with names looked up.
async fn read(session: &Session<'_>, args: &ExchangeArgs) -> Result<(InstanceId, Wanted)> {
    let instance = session.instance(args.at.instance.as_deref()).await?.id;
    let about = match (&args.account, &args.group) {
        (Some(name), _) => {
            let found = session.provision.account_for(instance, name, None).await.map_err(plain)?;
            let known = found.as_ref().map(|account| account.user_name.as_str());
            Some(about(name, known, found.as_ref().map(|account| account.id.0)))
        }
        (_, Some(name)) => {
            let found = session.provision.group(instance, name, 0).await.map_err(plain)?;
            let group = found.map(|(group, _)| group);
            let known = group.as_ref().map(|group| group.display_name.as_str());
            Some(about(name, known, group.as_ref().map(|group| group.id.0)))
        }
        (None, None) => None,
    };
    let connection = match &args.connection {
        Some(name) => Some(session.connection(instance, name).await?.id),
        None => None,
    };
    let now = session.provision.clock.now();
    let wanted = Wanted {
        about,
        status: args.status.map(|range| (range.least, range.most)),
        connection,
        request_id: args.request_id.clone(),
        since: args.since.as_deref().map(|text| time(text, now)).transpose()?,
    };
    Ok((instance, wanted))
}

/// A person or group that may not be there: what was sent in vain is found by the name.
fn about(said: &str, known: Option<&str>, id: Option<uuid::Uuid>) -> About {
    let said_id = said.parse().ok();
    let name = known.or(if said_id.is_some() { None } else { Some(said) });
    About { id: id.or(said_id), name_key: name.map(name_key) }
}

/// Prints what comes, in the order in which it was finished.
async fn tail(
    session: &mut Session<'_>,
    wanted: &ExchangeArgs,
    count: Option<u64>,
    span: Option<Duration>,
) -> Result<()> {
    let (instance, wanted) = read(session, wanted).await?;
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let begun = wanted.since.unwrap_or_else(|| session.provision.clock.now());
    let wanted = Wanted { since: Some(begun), ..wanted };
    let end = span.map(|span| Instant::now() + span);
    let (mut seen, mut left) = (BTreeSet::new(), count);
    let mut from = from_time(begun);
    loop {
        let page = session.provision.exchanges(instance, &wanted, from, TAIL_PAGE).await;
        let page = page.map_err(plain)?;
        for exchange in page.iter().filter(|exchange| !seen.contains(&exchange.id)) {
            session
                .out
                .show(&json!(exchange), |text| text.line(row(exchange, &connections).join("  ")))?;
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                return Ok(());
            }
        }
        seen.extend(page.iter().map(|exchange| exchange.id));
        let full = i64::try_from(page.len()).is_ok_and(|length| length >= TAIL_PAGE);
        if let Some(last) = page.last().filter(|_| full) {
            from = From::After(last.id.0);
            continue;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(());
        }
        tokio::time::sleep(TAIL_EVERY).await;
        let now = session.provision.clock.now();
        let back = Timestamp(begun.0.max(now.plus_ms(-TAIL_OVERLAP_MS).0));
        from = from_time(back);
        let From::After(oldest) = from else { continue };
        // What is behind the place from which it looks on is never read again.
        seen = seen.split_off(&ExchangeId(oldest));
    }
}

async fn find(session: &Session<'_>, instance: InstanceId, wanted: &ExchangeArg) -> Result<Shown> {
    if let Ok(id) = wanted.id.parse::<ExchangeId>() {
        let found = session.provision.exchange(instance, id).await.map_err(plain)?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let by_request = Wanted { request_id: Some(wanted.id.clone()), ..Wanted::default() };
    let newest = From::Before(uuid::Uuid::max());
    let found = session.provision.exchanges(instance, &by_request, newest, 1).await;
    let found = found.map_err(plain)?;
    let found = match found.first() {
        Some(exchange) => session.provision.exchange(instance, exchange.id).await.map_err(plain)?,
        None => None,
    };
    found.with_context(|| {
        format!(
            "there is no request \"{}\" in the log: `requests list` has the ids; what is older than the \
             days of `instances requests` is gone",
            wanted.id
        )
    })
}

async fn replay(session: &mut Session<'_>, wanted: &ExchangeArg, dry_run: bool) -> Result<()> {
    if !dry_run {
        bail!(
            "requests are only replayed dry: say --dry-run to see what it would do. To have it done, let the \
             identity provider send it again"
        );
    }
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let found = find(session, instance, wanted).await?;
    let exchange = found.whole.exchange;
    let base = super::base_url(&session.settings, session.settings.listen);
    let replayed = session.provision.replay(instance, exchange.id, &base).await.map_err(plain)?;
    let json = json!({ "dry_run": true, "request": exchange, "replayed": replayed });
    session.out.show(&json, |text| would_be(text, &exchange, &replayed))?;
    Ok(())
}

fn would_be(text: &mut Text, exchange: &Exchange, replayed: &Replayed) -> io::Result<()> {
    let (method, path, at) = (&exchange.method, &exchange.path, exchange.at);
    text.line(format!("{method} {path} of {at}, tried again; nothing has changed."))?;
    if !replayed.left_out.is_empty() {
        let left_out = replayed.left_out.join(", ");
        text.line(format!("Left out, because the log has no secrets: {left_out}."))?;
    }
    text.line(format!(
        "It would be answered {}; it was answered {}.",
        replayed.status,
        status(exchange)
    ))?;
    if let Some(answer) = &replayed.answer {
        text.json(answer)?;
    }
    caused(text, "It would leave in the audit trail:", &replayed.events)
}

fn show(text: &mut Text, shown: &Shown, connections: &[Connection]) -> io::Result<()> {
    let exchange = &shown.whole.exchange;
    let target = exchange.target.map(|id| match &exchange.target_kind {
        Some(kind) => format!("{kind} {id}"),
        None => id.to_string(),
    });
    text.fields(&[
        ("id", exchange.id.to_string()),
        ("at", exchange.at.to_string()),
        ("connection", connection(exchange, connections)),
        ("key", exchange.key.to_string()),
        ("client", or_dash(exchange.client.as_ref())),
        ("request id", exchange.request_id.clone()),
        ("request", format!("{} {}", exchange.method, place(exchange))),
        ("if-match", or_dash(exchange.if_match.as_ref())),
        ("status", status(exchange)),
        ("ms", exchange.ms.to_string()),
        ("about", or_dash(target)),
    ])?;
    if let Some(at) = exchange.erased_at {
        text.line(format!("What it said of a person was erased at {at}."))?;
    }
    body(text, "Sent", &shown.whole.request)?;
    body(text, "Answered", &shown.whole.answer)?;
    caused(text, "In the audit trail:", &shown.events)
}

fn body(text: &mut Text, said: &str, body: &Body) -> io::Result<()> {
    let Body { text: kept, bytes, cut } = body;
    let Some(kept) = kept else {
        return text.line(match bytes {
            0 => format!("{said}: no body."),
            _ => format!("{said}: {bytes} bytes, which are not kept."),
        });
    };
    if *cut {
        text.line(format!("{said}, {bytes} bytes, of which the beginning is kept:"))?;
        return text.line(kept);
    }
    text.line(format!("{said}:"))?;
    match serde_json::from_str::<Value>(kept) {
        Ok(json) => text.json(&json),
        Err(_) => text.line(kept),
    }
}

fn caused(text: &mut Text, said: &str, events: &[Event]) -> io::Result<()> {
    if events.is_empty() {
        return text.line(format!("{said} nothing."));
    }
    text.line(said)?;
    let rows = events.iter().map(|event| {
        let member = or_dash(event.member);
        let (target, rule) = (event.target.to_string(), or_dash(event.rule.as_ref()));
        vec![event.action.clone(), event.target_kind.clone(), target, member, rule]
    });
    text.table(&["ACTION", "KIND", "TARGET", "MEMBER", "RULE"], rows)
}

fn row(exchange: &Exchange, connections: &[Connection]) -> Vec<String> {
    let place = place(exchange);
    let mut shown: String = place.chars().take(PATH_CHARS_SHOWN).collect();
    if shown.len() < place.len() {
        shown.push('\u{2026}');
    }
    vec![
        exchange.at.to_string(),
        connection(exchange, connections),
        exchange.method.clone(),
        shown,
        status(exchange),
        exchange.ms.to_string(),
        exchange.id.to_string(),
    ]
}

fn connection(exchange: &Exchange, connections: &[Connection]) -> String {
    let found = connections.iter().find(|connection| connection.id == exchange.connection);
    found.map_or_else(|| exchange.connection.to_string(), |connection| connection.name.clone())
}

/// The path and the query, as people read them.
fn place(exchange: &Exchange) -> String {
    let mut place = exchange.path.clone();
    let query = exchange.query.as_deref().unwrap_or_default();
    for (number, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        place.push(if number == 0 { '?' } else { '&' });
        for part in [&name, "=", &value] {
            place.push_str(part);
        }
    }
    place
}

fn status(exchange: &Exchange) -> String {
    match &exchange.scim_type {
        Some(kind) => format!("{} {kind}", exchange.status),
        None => exchange.status.to_string(),
    }
}

/// Shows or sets for how many days an instance keeps its request log.
pub(super) async fn days(session: &mut Session<'_>, wanted: &RequestDaysArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let name = full_name(&instance);
    let Some(days) = wanted.days else {
        let kept = session.provision.request_days(instance.id).await.map_err(plain)?;
        session.out.show(&json!({ "requests_days": kept }), |text| {
            text.line(format!("Instance {name} keeps {}.", days_of(kept)))
        })?;
        return Ok(());
    };
    let kept = RequestDays::parse(days).context("the days are out of bounds")?;
    let author = session.provision.operator();
    let before = session.provision.set_request_days(&author, instance.id, kept).await;
    let before = before.map_err(plain)?;
    session.out.show(&json!({ "requests_days": kept, "was": before }), |text| {
        text.line(format!(
            "Instance {name} keeps {}; before, it kept {}.",
            days_of(kept),
            days_of(before)
        ))?;
        if kept.days() >= before.days() {
            return Ok(());
        }
        text.line("What is older is removed by a server within a minute.")
    })?;
    Ok(())
}

/// The days in words.
pub(super) fn days_of(kept: RequestDays) -> String {
    match kept.days() {
        0 => "no request log".to_owned(),
        1 => "its request log for 1 day".to_owned(),
        days => format!("its request log for {days} days"),
    }
}
