//! The audit trail: finding in it, exporting it, proving it.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, Result, bail};
use jiff::{SpanRelativeTo, civil, tz::TimeZone};
use serde_json::{Value, json};

use super::args::{AuditCommand, TrailForm, WantedArgs};
use super::output::{Text, or_dash, private_file};
use super::session::{Session, plain};
use crate::directory::{AccountId, InstanceId, Timestamp};
use crate::provision::trail::{Entry, Noted, Verified};
use crate::pull::report::{harmless, push_row};
use crate::store::audit::search::{From, Wanted};

/// The events that an export has in memory at once.
const EXPORT_PAGE: i64 = 500;

/// The columns of an export for spreadsheets.
const COLUMNS: [&str; 19] = [
    "position",
    "id",
    "at",
    "category",
    "action",
    "actor",
    "client",
    "connection",
    "key",
    "target_kind",
    "target",
    "member",
    "before",
    "after",
    "rule",
    "request_id",
    "run",
    "erased_at",
    "hash",
];

pub(super) async fn run(session: &mut Session<'_>, command: AuditCommand) -> Result<()> {
    match command {
        AuditCommand::List { wanted, limit } => {
            let (instance, wanted) = read(session, &wanted).await?;
            let found = session.provision.trail(instance, &wanted, From::NEWEST, limit).await;
            let found = found.map_err(plain)?;
            session.out.show(&json!({ "events": found }), |text| table(text, &found))?;
            Ok(())
        }
        AuditCommand::Export { wanted, form, output } => {
            let (instance, wanted) = read(session, &wanted).await?;
            match &output {
                None => export(session, instance, &wanted, form, io::stdout()).await,
                Some(file) => {
                    let into = private_file(file)?;
                    let done = export(session, instance, &wanted, form, into).await;
                    done.with_context(|| format!("{} is not complete", file.display()))
                }
            }
        }
        AuditCommand::Verify { noted, at } => {
            let instance = session.instance(at.instance.as_deref()).await?.id;
            verify(session, instance, noted.as_ref()).await
        }
    }
}

async fn verify(
    session: &mut Session<'_>,
    instance: InstanceId,
    noted: Option<&Noted>,
) -> Result<()> {
    session.provision.seal_instance(instance).await.map_err(plain)?;
    let found = session.provision.verify_trail(instance, noted).await.map_err(plain)?;
    session.out.show(&json!({ "verified": found }), |text| verified(text, &found))?;
    if found.broken.is_some() {
        bail!("the audit trail does not hold: somebody has changed it outside of scimd");
    }
    Ok(())
}

fn verified(text: &mut Text, found: &Verified) -> io::Result<()> {
    if let Some(broken) = &found.broken {
        return text.line(format!("Broken at position {}: {}.", broken.position, broken.reason));
    }
    let Some(hash) = &found.hash else { return text.line("The audit trail is empty.") };
    text.line(format!("{} events hold, {} of them erased.", found.links, found.erased))?;
    if found.unsealed > 0 {
        text.line(format!("{} more wait to be sealed, and are not proved yet.", found.unsealed))?;
    }
    text.line(format!("The last one: {}:{hash}", found.links))
}

/// What is wanted, with names looked up.
async fn read(session: &Session<'_>, args: &WantedArgs) -> Result<(InstanceId, Wanted)> {
    let instance = session.instance(args.at.instance.as_deref()).await?.id;
    let about = match (&args.person, &args.group) {
        (Some(name), _) => Some(person(session, instance, name).await?.0),
        (_, Some(name)) => {
            let found = session.provision.group(instance, name, 0).await.map_err(plain)?;
            let group = found.map(|(group, _)| group.id.0).or_else(|| name.parse().ok());
            Some(group.with_context(|| {
                format!("there is no group \"{name}\"; its id finds one that is gone")
            })?)
        }
        (None, None) => None,
    };
    let connection = match &args.connection {
        Some(name) => Some(session.connection(instance, name).await?.id),
        None => None,
    };
    let now = session.provision.clock.now();
    let time = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
    let wanted = Wanted {
        about,
        category: args.category,
        action: args.action.clone(),
        connection,
        run: args.run,
        request_id: args.request.clone(),
        from: time(&args.since)?,
        until: time(&args.until)?,
    };
    Ok((instance, wanted))
}

async fn person(session: &Session<'_>, instance: InstanceId, name: &str) -> Result<AccountId> {
    let found = session.provision.account_for(instance, name, None).await.map_err(plain)?;
    let id = found.map(|account| account.id).or_else(|| name.parse().ok());
    id.with_context(|| format!("there is no account \"{name}\"; who was purged is found by the id"))
}

/// A point in time, or how long ago it was.
pub(super) fn time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let ms = |time: jiff::Timestamp| Timestamp(time.as_millisecond());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(ms(time));
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        return Ok(ms(day.to_zoned(TimeZone::UTC)?.timestamp()));
    }
    let ago = text.parse::<jiff::Span>().ok();
    let ago = ago.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let ago = ago.and_then(|ago| i64::try_from(ago.as_millis()).ok()).map(|ago| now.plus_ms(-ago));
    ago.with_context(|| {
        format!(
            "\"{text}\" is no time: say 2026-01-31, 2026-01-31T12:00:00Z, or 2h for two hours ago"
        )
    })
}

fn table(text: &mut Text, found: &[Entry]) -> io::Result<()> {
    let rows = found.iter().map(|Entry { event, .. }| {
        vec![
            event.at.to_string(),
            event.category.to_string(),
            event.action.clone(),
            event.target.to_string(),
            event.actor.clone(),
            or_dash(event.rule.as_ref()),
            or_dash(event.run.map(|run| run.to_string()).or_else(|| event.request_id.clone())),
        ]
    });
    text.table(&["AT", "CATEGORY", "ACTION", "TARGET", "BY", "RULE", "RUN OR REQUEST"], rows)
}

async fn export(
    session: &Session<'_>,
    instance: InstanceId,
    wanted: &Wanted,
    form: TrailForm,
    into: impl Write,
) -> Result<()> {
    session.provision.seal_instance(instance).await.map_err(plain)?;
    let (mut into, mut from) = (BufWriter::new(into), From::OLDEST);
    if form == TrailForm::Csv {
        let mut header = String::new();
        push_row(&mut header, COLUMNS);
        into.write_all(header.as_bytes())?;
    }
    loop {
        let page = session.provision.trail(instance, wanted, from, EXPORT_PAGE).await;
        let page = page.map_err(plain)?;
        let Some(last) = page.last() else { break };
        from = From::After(last.event.id.0);
        for entry in &page {
            let line = match form {
                TrailForm::Csv => row(entry)?,
                TrailForm::JsonLines => serde_json::to_string(entry)? + "\n",
            };
            into.write_all(line.as_bytes())?;
        }
    }
    Ok(into.flush()?)
}

fn row(entry: &Entry) -> Result<String> {
    let entry = serde_json::to_value(entry)?;
    let cell = |column: &str| match entry.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(other) => harmless(&other.to_string()),
    };
    let mut text = String::new();
    push_row(&mut text, COLUMNS.map(cell));
    Ok(text)
}
