//! People from CSV files: sources, documents and what is set about them. Runs are in [`super::pulls`].

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use tokio::sync::mpsc;

use super::args::{ConnectionArg, CsvCommand, InstanceArg, SourceArgs};
use super::output::{Text, or_dash, private_file, with};
use super::pulls;
use super::session::{Session, plain, quoted};
use crate::directory::source::{Column, Place};
use crate::directory::{
    Connection, ConnectionKind, ConnectionStatus, Guard, InstanceId, Schedule, SourceSettings,
    Window,
};
use crate::keys::vault::{Purpose, Secret};
use crate::provision::documents::{DOCUMENT_BYTES_MAX, DOCUMENT_PART_BYTES, Part};
use crate::provision::setup::NewConnection;
use crate::provision::sources::SourceChange;
use crate::pull::columns::{Meaning, check_meaning};
use crate::pull::export::Exporter;
use crate::pull::remote::Remote;
use crate::store::sources::Source;

/// The people that are read at once for an export.
const EXPORT_PAGE: i64 = 500;

/// The bytes that are read of the standard input: as many as a document has.
const SPOOL_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX.unsigned_abs();

/// The bytes of a password that are read.
const PASSWORD_BYTES_MAX: u64 = 4_096;

pub(super) async fn run(session: &mut Session<'_>, command: CsvCommand) -> Result<()> {
    match command {
        CsvCommand::Create { name, enable, at, source } => {
            create(session, name, enable, &at, &source).await
        }
        CsvCommand::Set { connection, source } => {
            let connection = found(session, &connection).await?;
            let source = set(session, &connection, &source).await?;
            show_source(session, &connection, &source).await
        }
        CsvCommand::Show(wanted) => {
            let (connection, source) = with_source(session, &wanted).await?;
            show_source(session, &connection, &source).await
        }
        CsvCommand::Upload { file, name, at } => upload(session, file, name, &at).await,
        CsvCommand::Documents { at } => documents(session, &at).await,
        CsvCommand::Remove { document, at } => {
            let instance = session.instance(at.instance.as_deref()).await?.id;
            let author = session.provision.operator();
            session.provision.remove_document(&author, instance, &document).await.map_err(plain)?;
            session.out.show(&json!({ "removed": document }), |text| {
                text.line(format!("The document {document} was removed."))
            })?;
            Ok(())
        }
        CsvCommand::Test(wanted) => test(session, &wanted).await,
        CsvCommand::Columns(wanted) => columns(session, &wanted).await,
        CsvCommand::Reset(wanted) => {
            let connection = found(session, &wanted).await?;
            let author = session.provision.operator();
            session.provision.forget_last_pull(&author, &connection).await.map_err(plain)?;
            session.out.show(&json!({ "reset": connection.id }), |text| {
                text.line(format!("The next run of {} looks at every row.", connection.name))
            })?;
            Ok(())
        }
        CsvCommand::Schedule { connection, when, zone, jitter, window, off: _ } => {
            let connection = found(session, &connection).await?;
            let schedule = when.map(|when| schedule(&when, zone, jitter, window)).transpose()?;
            let change = SourceChange { schedule: Some(schedule), ..SourceChange::default() };
            let author = session.provision.operator();
            let source = session.provision.set_source(&author, &connection, change).await;
            show_schedule(session, &connection, &source.map_err(plain)?)
        }
        CsvCommand::Export { connection, to, at } => {
            let instance = session.instance(at.instance.as_deref()).await?.id;
            let into: Box<dyn Write + Send> = match &to {
                Some(file) => Box::new(private_file(file)?),
                None => Box::new(io::stdout()),
            };
            export(session, instance, connection.as_deref(), into).await
        }
        CsvCommand::DryRun { .. }
        | CsvCommand::Run { .. }
        | CsvCommand::Runs { .. }
        | CsvCommand::Status(_)
        | CsvCommand::Report { .. }
        | CsvCommand::Continue(_)
        | CsvCommand::Resume(_)
        | CsvCommand::Cancel(_) => pulls::run(session, command).await,
    }
}

/// The connection that was named.
pub(super) async fn found(session: &Session<'_>, wanted: &ConnectionArg) -> Result<Connection> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    session.connection(instance, &wanted.connection).await
}

/// The connection that was named, and its source.
pub(super) async fn with_source(
    session: &Session<'_>,
    wanted: &ConnectionArg,
) -> Result<(Connection, Source)> {
    let connection = found(session, wanted).await?;
    let source = session.provision.source(&connection).await.map_err(plain)?;
    let program = &session.program;
    let source = source.with_context(|| {
        format!(
            "the connection {} has no source: set one with `{program} csv set {} --document NAME`",
            connection.name,
            quoted(&connection.name)
        )
    })?;
    Ok((connection, source))
}

async fn create(
    session: &mut Session<'_>,
    name: String,
    enable: bool,
    at: &InstanceArg,
    args: &SourceArgs,
) -> Result<()> {
    if place(args).is_none() {
        bail!("say where the file is: --document NAME, --file PATH, or --url URL");
    }
    // What cannot be set must not leave a connection behind.
    let instance = session.instance(at.instance.as_deref()).await?.id;
    check(session, instance, args, &mut changed(None, args)?).await?;
    let secret = secret(args)?;
    let status = if enable { ConnectionStatus::Enabled } else { ConnectionStatus::Draft };
    let new = NewConnection { kind: ConnectionKind::Csv, name, profile: None, status };
    let author = session.provision.operator();
    let created = session.provision.create_connection(&author, instance, new).await;
    let connection = created.map_err(plain)?;
    let source = set_with(session, &connection, args, secret).await?;
    show_source(session, &connection, &source).await
}

async fn set(
    session: &mut Session<'_>,
    connection: &Connection,
    args: &SourceArgs,
) -> Result<Source> {
    let secret = secret(args)?;
    set_with(session, connection, args, secret).await
}

/// The password that the standard input has, if it has to have one.
fn secret(args: &SourceArgs) -> Result<Option<Secret>> {
    if args.password_stdin || args.account_password_stdin { password().map(Some) } else { Ok(None) }
}

async fn set_with(
    session: &mut Session<'_>,
    connection: &Connection,
    args: &SourceArgs,
    secret: Option<Secret>,
) -> Result<Source> {
    let before = session.provision.source(connection).await.map_err(plain)?;
    let mut settings = changed(before.as_ref().map(|source| &source.settings), args)?;
    check(session, connection.instance, args, &mut settings).await?;
    let mut change = SourceChange { settings: Some(settings), ..SourceChange::default() };
    let seal = |purpose| -> Result<Option<String>> {
        let Some(secret) = &secret else { return Ok(None) };
        let vault = session.vault()?;
        Ok(Some(vault.seal(connection.instance, connection.id, purpose, secret)?))
    };
    if args.password_stdin {
        change.password = Some(seal(Purpose::Source)?);
    } else if args.no_password {
        change.password = Some(None);
    }
    if args.account_password_stdin {
        change.account_password = Some(seal(Purpose::Account)?);
    } else if args.no_account_password {
        change.account_password = Some(None);
    }
    let author = session.provision.operator();
    session.provision.set_source(&author, connection, change).await.map_err(plain)
}

/// Refuses an address that could never be fetched from, and columns that can mean nothing; an address is
/// written as it will be asked.
async fn check(
    session: &Session<'_>,
    instance: InstanceId,
    args: &SourceArgs,
    settings: &mut SourceSettings,
) -> Result<()> {
    let schemas = session.provision.current_schemas(instance).await.map_err(plain)?;
    for column in &settings.columns {
        check_meaning(&column.name, &Meaning::read(&column.meaning), &schemas)?;
    }
    if let Place::Remote { url, user } = &mut settings.place {
        let remote = Remote::parse(url, user.clone(), None)?;
        remote.url().clone_into(url);
        if args.password_stdin && user.is_none() {
            bail!("a password needs a user: --user NAME");
        }
    }
    Ok(())
}

fn password() -> Result<Secret> {
    let mut text = String::new();
    io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .context("the password cannot be read from the standard input")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("the standard input has no password");
    }
    Ok(Secret::new(text.to_owned()))
}

fn place(args: &SourceArgs) -> Option<Place> {
    let SourceArgs { url, file, document, user, .. } = args;
    let remote = url.clone().map(|url| Place::Remote { url, user: user.clone() });
    let file = file.clone().map(|path| Place::Folder { path });
    let document = document.clone().map(|name| Place::Document { name });
    remote.or(file).or(document)
}

/// The settings with what the arguments say.
fn changed(before: Option<&SourceSettings>, args: &SourceArgs) -> Result<SourceSettings> {
    let mut settings = match (before, place(args)) {
        (Some(before), None) => before.clone(),
        (Some(before), Some(place)) => {
            SourceSettings { place: as_before(place, &before.place), ..before.clone() }
        }
        (None, Some(place)) => SourceSettings::of(place),
        (None, None) => bail!("say where the file is: --document NAME, --file PATH, or --url URL"),
    };
    if let (Place::Remote { user, .. }, Some(said)) = (&mut settings.place, &args.user) {
        *user = Some(said.clone());
    }
    let or_guess = |said: &Option<String>, was: Option<String>| match said.as_deref() {
        None => was,
        Some("guess") => None,
        Some(said) => Some(said.to_owned()),
    };
    settings.encoding = or_guess(&args.encoding, settings.encoding);
    settings.separator = or_guess(&args.separator, settings.separator);
    settings.match_by = args.match_by.unwrap_or(settings.match_by);
    settings.mode = args.mode.unwrap_or(settings.mode);
    settings.passwords = args.passwords.unwrap_or(settings.passwords);
    settings.guard.count_max = args.guard_count.unwrap_or(settings.guard.count_max);
    settings.guard.percent_max = args.guard_percent.unwrap_or(settings.guard.percent_max);
    if let Some(separator) = &args.group_separator {
        settings.group_separator.clone_from(separator);
    }
    for said in &args.column {
        let Some((name, meaning)) = said.rsplit_once('=').filter(|(_, said)| !said.contains('"'))
        else {
            set_column(&mut settings.columns, said)?;
            continue;
        };
        put(&mut settings.columns, name, meaning);
    }
    Ok(settings)
}

/// A meaning can hold an equals sign in quotes only; then the first one separates.
fn set_column(columns: &mut Vec<Column>, said: &str) -> Result<()> {
    let (name, meaning) = said
        .split_once('=')
        .ok_or_else(|| anyhow!("--column {said}: write NAME=MEANING, such as \"E-Mail=email\""))?;
    put(columns, name, meaning);
    Ok(())
}

fn put(columns: &mut Vec<Column>, name: &str, meaning: &str) {
    let (name, meaning) = (name.trim().to_owned(), meaning.trim().to_owned());
    columns.retain(|column| !column.name.eq_ignore_ascii_case(&name));
    if !meaning.is_empty() {
        columns.push(Column { name, meaning });
    }
}

/// A place at the host of another one, for the same user if nobody names one.
fn as_before(place: Place, before: &Place) -> Place {
    match (place, before) {
        (Place::Remote { url, user: None }, Place::Remote { url: was, user })
            if url.split('/').nth(2) == was.split('/').nth(2) =>
        {
            Place::Remote { url, user: user.clone() }
        }
        (place, _) => place,
    }
}

fn schedule(when: &str, zone: String, jitter_s: u32, window: Option<String>) -> Result<Schedule> {
    let window = window.map(|window| Window::parse(&window)).transpose()?;
    let schedule = Schedule { zone, jitter_s, window, ..Schedule::parse(when)? };
    Ok(schedule.checked()?)
}

fn show_schedule(
    session: &mut Session<'_>,
    connection: &Connection,
    source: &Source,
) -> Result<()> {
    let json = json!({ "schedule": source.schedule, "next_run_at": source.next_run_at });
    session.out.show(&json, |text| match &source.schedule {
        None => text.line(format!("{} is pulled only when somebody says so.", connection.name)),
        Some(schedule) => {
            text.line(format!("{} is pulled {}.", connection.name, schedule.describe()))?;
            text.line(format!("Next: {}", or_dash(source.next_run_at)))
        }
    })?;
    Ok(())
}

async fn show_source(
    session: &mut Session<'_>,
    connection: &Connection,
    source: &Source,
) -> Result<()> {
    let runs = session.provision.pulls(connection.instance, connection.id, 5).await;
    let runs = runs.map_err(plain)?;
    let settings = &source.settings;
    // The query of an address may hold a token.
    let shown = with(json!(settings), [("place", settings.place.to_string().into())]);
    let json = json!({
        "connection": connection,
        "settings": shown,
        "has_password": source.password.is_some(),
        "has_account_password": source.account_password.is_some(),
        "schedule": source.schedule,
        "next_run_at": source.next_run_at,
        "last": source.last,
        "runs": runs,
    });
    let yes = |there: bool| if there { "kept, sealed" } else { "none" }.to_owned();
    let guess = |said: &Option<String>| said.clone().unwrap_or_else(|| "guessed".to_owned());
    let columns: Vec<String> = settings
        .columns
        .iter()
        .map(|column| format!("{}={}", column.name, column.meaning))
        .collect();
    let Guard { count_max, percent_max } = settings.guard;
    session.out.show(&json, |text| {
        text.fields(&[
            ("name", connection.name.clone()),
            ("status", connection.status.to_string()),
            ("place", settings.place.to_string()),
            ("password", yes(source.password.is_some())),
            ("encoding", guess(&settings.encoding)),
            ("separator", guess(&settings.separator)),
            ("columns set", if columns.is_empty() { "none".into() } else { columns.join(", ") }),
            ("matched by", settings.match_by.to_string()),
            ("groups separated by", settings.group_separator.clone()),
            ("mode", settings.mode.to_string()),
            ("passwords", settings.passwords.to_string()),
            ("default password", yes(source.account_password.is_some())),
            ("guard", format!("at most {count_max} people and {percent_max} percent in one run")),
            ("required", connection.settings.required.join(", ")),
            ("schedule", or_dash(source.schedule.as_ref().map(Schedule::describe))),
            ("next run", or_dash(source.next_run_at)),
            ("id", connection.id.to_string()),
        ])?;
        if runs.is_empty() { Ok(()) } else { pulls::table(text, &runs) }
    })?;
    Ok(())
}

async fn upload(
    session: &mut Session<'_>,
    file: String,
    name: Option<String>,
    at: &InstanceArg,
) -> Result<()> {
    let instance = session.instance(at.instance.as_deref()).await?.id;
    let own_name = || {
        let name = std::path::Path::new(&file).file_name().and_then(|name| name.to_str());
        name.map(str::to_owned).filter(|_| file != "-")
    };
    let name = name.or_else(own_name).context("say what to call the document: --name NAME")?;
    let from: Box<dyn Read + Send> = if file == "-" {
        // While it comes, nobody must wait for the database.
        let mut spool = tempfile::tempfile().context("a temporary file cannot be made")?;
        io::copy(&mut io::stdin().take(1 + SPOOL_BYTES_MAX), &mut spool)
            .context("the standard input cannot be read")?;
        spool.seek(SeekFrom::Start(0)).context("the temporary file cannot be read")?;
        Box::new(spool)
    } else {
        Box::new(File::open(&file).with_context(|| format!("{file} cannot be read"))?)
    };
    let author = session.provision.operator();
    let uploaded = session.provision.upload(&author, instance, &name, parts(from)).await;
    let document = uploaded.map_err(plain)?;
    session.out.show(&json!({ "document": document }), |text| {
        text.line(format!(
            "The document {} is version {}: {} bytes, SHA-256 {}.",
            document.name, document.version, document.bytes, document.checksum
        ))
    })?;
    Ok(())
}

/// The bytes of a file in parts, read on a thread of their own.
fn parts(mut from: Box<dyn Read + Send>) -> mpsc::Receiver<Part> {
    let (sender, parts) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut part = Vec::with_capacity(DOCUMENT_PART_BYTES);
            let limit = DOCUMENT_PART_BYTES as u64;
            let part = match from.by_ref().take(limit).read_to_end(&mut part) {
                Ok(0) => return,
                Ok(_) => Ok(part),
                Err(error) => Err(error),
            };
            let last = part.is_err();
            if sender.blocking_send(part).is_err() || last {
                return;
            }
        }
    });
    parts
}

async fn documents(session: &mut Session<'_>, at: &InstanceArg) -> Result<()> {
    let instance = session.instance(at.instance.as_deref()).await?.id;
    let documents = session.provision.documents(instance).await.map_err(plain)?;
    session.out.show(&json!({ "documents": documents }), |text| {
        let rows = documents.iter().map(|document| {
            vec![
                document.name.clone(),
                document.version.to_string(),
                document.bytes.to_string(),
                document.checksum.get(..16).unwrap_or_default().to_owned(),
                document.author.clone(),
                document.created_at.to_string(),
            ]
        });
        text.table(&["NAME", "VERSION", "BYTES", "SHA-256", "BY", "UPLOADED"], rows)
    })?;
    Ok(())
}

async fn test(session: &mut Session<'_>, wanted: &ConnectionArg) -> Result<()> {
    let (connection, _) = with_source(session, wanted).await?;
    let steps = session.pulls()?.test(&connection).await.map_err(plain)?;
    let failed = steps.iter().find(|step| !step.ok).map(|step| step.name);
    session.out.show(&json!({ "steps": steps }), |text| {
        for step in &steps {
            let word = if step.ok { "ok" } else { "failed" };
            text.line(format!(
                "{:8} {word:6} {:5} ms  {}",
                step.name, step.duration_ms, step.says
            ))?;
            if let Some(hint) = step.hint {
                text.line(format!("{:25}{hint}", ""))?;
            }
        }
        Ok(())
    })?;
    match failed {
        Some(step) => bail!("the test of {} failed at the step \"{step}\"", connection.name),
        None => Ok(()),
    }
}

async fn columns(session: &mut Session<'_>, wanted: &ConnectionArg) -> Result<()> {
    let (connection, _) = with_source(session, wanted).await?;
    let look = session.pulls()?.look(&connection).await.map_err(plain)?;
    let look = look.map_err(|stop| anyhow!(stop.reason))?;
    session.out.show(&json!(look), |text| {
        let guess = |guessed: bool| if guessed { " (guessed)" } else { "" };
        text.fields(&[
            ("encoding", format!("{}{}", look.form.encoding, guess(look.form.guessed.encoding))),
            ("separator", format!("{}{}", look.form.separator, guess(look.form.guessed.separator))),
            ("bytes", look.bytes.to_string()),
        ])?;
        let rows = look.columns.iter().enumerate().map(|(place, column)| {
            let meaning = column.meaning.as_ref().map(Meaning::text);
            let said = match (&column.meaning, column.guessed) {
                (None, _) => "nothing",
                (Some(_), true) => "guessed",
                (Some(_), false) => "set",
            };
            let cells = look.sample.iter().filter_map(|row| row.get(place));
            let cells: Vec<&str> = cells.take(3).map(String::as_str).collect();
            vec![column.name.clone(), or_dash(meaning), said.to_owned(), cells.join(" | ")]
        });
        text.table(&["COLUMN", "MEANS", "BY", "FIRST ROWS"], rows)
    })?;
    Ok(())
}

async fn export(
    session: &mut Session<'_>,
    instance: InstanceId,
    connection: Option<&str>,
    into: Box<dyn Write + Send>,
) -> Result<()> {
    let connection = match connection {
        Some(name) => Some(session.connection(instance, name).await?),
        None => None,
    };
    let source = match &connection {
        Some(connection) => session.provision.source(connection).await.map_err(plain)?,
        None => None,
    };
    let schemas = session.provision.current_schemas(instance).await.map_err(plain)?;
    let mut exporter = Exporter::begin(BufWriter::new(into), schemas, source.as_ref())
        .map_err(|stop| anyhow!(stop.reason))?;
    let mut after = None;
    loop {
        let page = session
            .provision
            .people(instance, connection.as_ref().map(|one| one.id), after, EXPORT_PAGE)
            .await
            .map_err(plain)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.id.0);
        // Who is missing from a file would be let in again by being in the next one.
        for (account, groups) in page.iter().filter(|(account, _)| account.in_source) {
            exporter.write(account, groups).map_err(|stop| anyhow!(stop.reason))?;
        }
    }
    exporter.end().map_err(|stop| anyhow!(stop.reason))
}

/// A line for each note about a file.
pub(super) fn notes(text: &mut Text, notes: &[String]) -> io::Result<()> {
    notes.iter().try_for_each(|note| text.line(format!("  {note}")))
}
