//! Look-up tables.

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::args::LookupsCommand;
use super::input;
use super::session::{Session, plain};
use crate::directory::InstanceId;
use crate::store::lookups::Entry;

pub(super) async fn run(session: &mut Session<'_>, command: LookupsCommand) -> Result<()> {
    match command {
        LookupsCommand::List { at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let tables = session.provision.lookup_tables(instance.id).await.map_err(plain)?;
            session.out.show(&json!({ "tables": tables }), |text| {
                let rows = tables.iter().map(|one| vec![one.name.clone(), one.entries.to_string()]);
                text.table(&["TABLE", "ENTRIES"], rows)
            })?;
            Ok(())
        }
        LookupsCommand::Show { table, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let found = session.provision.lookup_entries(instance.id, &table).await;
            let entries = found.map_err(plain)?;
            session.out.show(&json!({ "table": table, "entries": entries }), |text| {
                let rows = entries.iter().map(|one| vec![one.value.clone(), one.result.clone()]);
                text.table(&["VALUE", "RESULT"], rows)
            })?;
            Ok(())
        }
        LookupsCommand::Load { table, file, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let entries = read(&file)?;
            load(session, instance.id, &table, entries).await
        }
        LookupsCommand::Set { table, value, result, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            load(session, instance.id, &table, vec![Entry { value, result }]).await
        }
        LookupsCommand::Remove { table, value, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let author = session.provision.operator();
            let removed = session.provision.remove_lookup(&author, instance.id, &table, &value);
            let removed = removed.await.map_err(plain)?;
            session.out.show(&json!({ "table": table, "removed": removed }), |text| {
                text.line(format!("{table} has nothing for \"{}\" any more.", removed.value))
            })?;
            Ok(())
        }
        LookupsCommand::Unmatched { limit, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            unmatched(session, instance.id, limit).await
        }
    }
}

async fn load(
    session: &mut Session<'_>,
    instance: InstanceId,
    table: &str,
    entries: Vec<Entry>,
) -> Result<()> {
    let author = session.provision.operator();
    let loaded = session.provision.load_lookup(&author, instance, table, entries).await;
    let loaded = loaded.map_err(plain)?;
    let program = session.program.clone();
    session.out.show(&json!({ "table": table, "loaded": loaded }), |text| {
        let (added, changed) = (loaded.added, loaded.changed);
        if added + changed == 0 {
            return text.line(format!("{table} has all of this already."));
        }
        text.line(format!(
            "{table}: entries that are new: {added}, that have changed: {changed}."
        ))?;
        text.line(format!("Next, for all accounts: {program} mappings apply CONNECTION"))
    })?;
    Ok(())
}

async fn unmatched(session: &mut Session<'_>, instance: InstanceId, limit: i64) -> Result<()> {
    let unmatched = session.provision.unmatched(instance, limit).await.map_err(plain)?;
    let program = session.program.clone();
    session.out.show(&json!({ "unmatched": unmatched }), |text| {
        if unmatched.is_empty() {
            return text.line("The tables have everything that they were asked for.");
        }
        let rows = unmatched.iter().map(|one| {
            let (accounts, since) = (one.accounts.to_string(), one.since.to_string());
            vec![one.table.clone(), one.value.clone(), accounts, since]
        });
        text.table(&["TABLE", "VALUE", "ACCOUNTS", "SINCE"], rows)?;
        text.line(format!("Next: {program} lookups set TABLE VALUE RESULT"))
    })?;
    Ok(())
}

/// The entries in a CSV file of two columns.
fn read(file: &str) -> Result<Vec<Entry>> {
    let (text, name) = (input::text(file)?, input::name(file));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("{name} is not CSV"))?;
        let line = record.position().map_or(0, csv::Position::line);
        match (record.get(0), record.get(1), record.len()) {
            (Some(value), Some(result), 2) => {
                entries.push(Entry { value: value.to_owned(), result: result.to_owned() });
            }
            (.., columns) => bail!(
                "line {line} of {name} has {columns} columns: write a value, a comma and a result, in \
                 quotes where they hold a comma"
            ),
        }
    }
    Ok(entries)
}
