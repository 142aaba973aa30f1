//! What fills the fields of a connection's accounts.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::args::{ConnectionArg, MappingsCommand, SetArgs};
use super::input;
use super::output::{Text, or_dash};
use super::session::{Session, plain, quoted};
use crate::directory::Connection;
use crate::directory::mapping::Row;
use crate::provision::mapping::{MappingChange, Preview};

pub(super) async fn run(session: &mut Session<'_>, command: MappingsCommand) -> Result<()> {
    use MappingsCommand as C;
    match command {
        C::Show { connection, version } => {
            let connection = find(session, &connection).await?;
            show(session, &connection, version).await
        }
        C::Set(args) => {
            let row = row(&args);
            save(session, &args.connection, MappingChange::Row(row), args.note.note).await
        }
        C::Unset { connection, field, note } => {
            save(session, &connection, MappingChange::Without(field), note.note).await
        }
        C::Load { connection, file, note } => {
            save(session, &connection, MappingChange::All(rows(&file)?), note.note).await
        }
        C::Restore { connection, note } => {
            save(session, &connection, MappingChange::Default, note.note).await
        }
        C::Rollback { connection, version, note } => {
            save(session, &connection, MappingChange::Version(version), note.note).await
        }
        C::History { connection, limit } => {
            let connection = find(session, &connection).await?;
            history(session, &connection, limit).await
        }
        C::Diff { connection, from, to } => {
            let connection = find(session, &connection).await?;
            diff(session, &connection, from, to).await
        }
        C::Preview { connection, file, account, limit } => {
            let connection = find(session, &connection).await?;
            let candidate = file.as_deref().map(rows).transpose()?;
            preview(session, &connection, candidate, account.as_deref(), limit).await
        }
        C::Apply(connection) => {
            let connection = find(session, &connection).await?;
            apply(session, &connection).await
        }
    }
}

async fn find(session: &Session<'_>, wanted: &ConnectionArg) -> Result<Connection> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    session.connection(instance.id, &wanted.connection).await
}

fn row(args: &SetArgs) -> Row {
    Row {
        field: args.field.clone(),
        sources: args.from.clone(),
        transforms: args.transforms(),
        read_only: false,
    }
}

/// The rows in a file: an array of them, or an object that has them.
fn rows(file: &str) -> Result<Vec<Row>> {
    let due = "write the rows as `mappings show --json` prints them";
    let mut json = input::json(file, due)?;
    let rows = match json.get_mut("rows") {
        Some(rows) => rows.take(),
        None => json,
    };
    serde_json::from_value(rows)
        .with_context(|| format!("{} holds no mapping: {due}", input::name(file)))
}

async fn show(
    session: &mut Session<'_>,
    connection: &Connection,
    version: Option<i64>,
) -> Result<()> {
    let found = session.provision.mapping(connection.instance, connection.id, version).await;
    let (version, mapping) = found.map_err(plain)?;
    let json = json!({ "connection": connection.name, "version": version, "rows": mapping });
    session.out.show(&json, |text| {
        let rows = mapping.rows.iter().map(|row| {
            let fixed = if row.read_only { "always" } else { "" };
            vec![row.field.clone(), row.to_string(), fixed.to_owned()]
        });
        text.table(&["FIELD", "IS FILLED", ""], rows)?;
        text.line("")?;
        let of = match version {
            0 => "the default mapping".to_owned(),
            _ => format!("version {version} of the mapping"),
        };
        text.line(format!("This is {of} of {}.", connection.name))
    })?;
    Ok(())
}

async fn save(
    session: &mut Session<'_>,
    wanted: &ConnectionArg,
    change: MappingChange,
    note: Option<String>,
) -> Result<()> {
    let connection = find(session, wanted).await?;
    let author = session.provision.operator();
    let (instance, id) = (connection.instance, connection.id);
    let saved = session.provision.save_mapping(&author, instance, id, change, note.as_deref());
    let saved = saved.await.map_err(plain)?;
    let json = json!({ "connection": connection.name, "saved": saved });
    let program = session.program.clone();
    session.out.show(&json, |text| {
        let name = &connection.name;
        if saved.changes.is_empty() {
            return text.line(format!("The mapping of {name} is like this already."));
        }
        text.line(format!("Version {} of the mapping of {name} is in force:", saved.version))?;
        sentences(text, &saved.changes)?;
        text.line("Accounts follow when their source writes them next.")?;
        text.line(format!("Next, for all at once: {program} mappings apply {}", quoted(name)))
    })?;
    Ok(())
}

fn sentences(text: &mut Text, changes: &[String]) -> std::io::Result<()> {
    changes.iter().try_for_each(|change| text.line(format!("  {change}")))
}

async fn history(session: &mut Session<'_>, connection: &Connection, limit: i64) -> Result<()> {
    let (instance, id) = (connection.instance, connection.id);
    let versions = session.provision.mapping_history(instance, id, limit).await;
    let versions = versions.map_err(plain)?;
    let (in_force, _) = session.provision.mapping(instance, id, None).await.map_err(plain)?;
    let json = json!({
        "connection": connection.name, "version": in_force, "versions": versions,
    });
    session.out.show(&json, |text| {
        if versions.is_empty() {
            return text.line(format!("{} has the default mapping, as ever.", connection.name));
        }
        let rows = versions.iter().map(|one| {
            let number = one.version.to_string();
            vec![number, one.created_at.to_string(), one.author.clone(), one.note.clone()]
        });
        text.table(&["VERSION", "SAVED", "BY", "NOTE"], rows)
    })?;
    Ok(())
}

async fn diff(
    session: &mut Session<'_>,
    connection: &Connection,
    from: i64,
    to: i64,
) -> Result<()> {
    let (instance, id) = (connection.instance, connection.id);
    let changes = session.provision.mapping_differences(instance, id, from, to).await;
    let changes = changes.map_err(plain)?;
    let json = json!({ "connection": connection.name, "from": from, "to": to, "changes": changes });
    session.out.show(&json, |text| {
        if changes.is_empty() {
            return text.line(format!("Versions {from} and {to} are the same."));
        }
        changes.iter().try_for_each(|change| text.line(change))
    })?;
    Ok(())
}

async fn preview(
    session: &mut Session<'_>,
    connection: &Connection,
    candidate: Option<Vec<Row>>,
    account: Option<&str>,
    limit: i64,
) -> Result<()> {
    let (instance, id) = (connection.instance, connection.id);
    let preview = session.provision.preview_mapping(instance, id, candidate, account, limit).await;
    let preview = preview.map_err(plain)?;
    let unmatched: Vec<Value> = preview
        .unmatched
        .iter()
        .map(|(table, value)| json!({ "table": table, "value": value }))
        .collect();
    let json = json!({
        "connection": connection.name, "accounts": preview.accounts, "unmatched": unmatched,
    });
    session.out.show(&json, |text| shown(text, &preview))?;
    Ok(())
}

fn shown(text: &mut Text, preview: &Preview) -> std::io::Result<()> {
    let changed = preview.accounts.iter().filter(|account| !account.changes.is_empty()).count();
    let rows = preview.accounts.iter().flat_map(|account| {
        account.changes.iter().map(|change| {
            let (before, after) = (or_dash(change.before.as_ref()), or_dash(change.after.as_ref()));
            vec![account.user_name.clone(), change.field.clone(), before, after]
        })
    });
    if changed > 0 {
        text.table(&["ACCOUNT", "FIELD", "NOW", "THEN"], rows)?;
        text.line("")?;
    }
    if !preview.unmatched.is_empty() {
        let rows =
            preview.unmatched.iter().map(|(table, value)| vec![table.clone(), value.clone()]);
        text.table(&["TABLE", "HAS NOTHING FOR"], rows)?;
        text.line("")?;
    }
    let seen = preview.accounts.len();
    text.line(format!("{changed} of {seen} accounts would change. Nothing was written."))
}

async fn apply(session: &mut Session<'_>, connection: &Connection) -> Result<()> {
    let author = session.provision.operator();
    let done = session.provision.remap(connection.instance, connection.id, &author).await;
    let done = done.map_err(plain)?;
    let json = json!({ "connection": connection.name, "seen": done.seen, "changed": done.changed });
    session.out.show(&json, |text| {
        let name = &connection.name;
        text.line(format!("{} of {} accounts of {name} have changed.", done.changed, done.seen))
    })?;
    Ok(())
}
