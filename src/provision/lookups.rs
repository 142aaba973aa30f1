//! Look-up tables: what stands in the place of which value, and which values nothing stands for.

use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::setup::ADMIN_PAGE_MAX;
use super::{Provision, Result, transact};
use crate::directory::InstanceId;
use crate::directory::mapping::{FIELD_VALUE_CHARS_MAX, MappingError, is_name};
use crate::scim::resource::{require_indexable, require_storable};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::lookups::{Entry, TableSize, Unmatched};
use crate::store::{BATCH_MAX, Tx, lookups, schemas};

/// The entries of a look-up table.
pub const LOOKUP_ENTRIES_MAX: usize = 10_000;

/// The look-up tables of an instance.
pub const LOOKUP_TABLES_MAX: usize = 50;

/// What loading entries did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// The entries that are new.
    pub added: usize,
    /// The entries that say something else now.
    pub changed: usize,
}

/// A change of an entry: its value, what stood for it and what stands for it now.
type EntryChange = (String, Option<String>, Option<String>);

impl Provision {
    /// The look-up tables of an instance, by name.
    pub async fn lookup_tables(&self, instance: InstanceId) -> Result<Vec<TableSize>> {
        Ok(lookups::tables(&mut self.store.read().await?, instance).await?)
    }

    /// The entries of a look-up table, by value.
    pub async fn lookup_entries(&self, instance: InstanceId, table: &str) -> Result<Vec<Entry>> {
        Ok(lookups::entries(&mut self.store.read().await?, instance, table).await?)
    }

    /// The values that tables were asked for in vain, with the number of live accounts that have them.
    pub async fn unmatched(&self, instance: InstanceId, limit: i64) -> Result<Vec<Unmatched>> {
        let limit = limit.clamp(0, ADMIN_PAGE_MAX);
        Ok(lookups::unmatched(&mut self.store.read().await?, instance, limit).await?)
    }

    /// Puts entries into a look-up table, in the place of those with the same value in any case; all or
    /// none. Accounts follow when they are written or evaluated again.
    pub async fn load_lookup(
        &self,
        author: &Author,
        instance: InstanceId,
        table: &str,
        entries: Vec<Entry>,
    ) -> Result<Loaded> {
        let entries = checked(table, entries)?;
        transact!(self.store, |tx| load(&mut tx, author, instance, table, &entries).await)
    }

    /// Removes an entry of a look-up table, by its value in any case.
    pub async fn remove_lookup(
        &self,
        author: &Author,
        instance: InstanceId,
        table: &str,
        value: &str,
    ) -> Result<Entry> {
        transact!(self.store, |tx| remove(&mut tx, author, instance, table, value).await)
    }
}

/// The entries by their keys, if all of them fit.
fn checked(table: &str, entries: Vec<Entry>) -> Result<BTreeMap<String, Entry>> {
    if !is_name(table) {
        let detail = MappingError::TableName(table.to_owned()).to_string();
        return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
    }
    let mut checked = BTreeMap::new();
    for entry in entries {
        let Entry { value, result } = &entry;
        for (what, text) in [("the value", value), ("the result", result)] {
            require_storable(what, text)?;
            if text.trim().is_empty() || text.chars().count() > FIELD_VALUE_CHARS_MAX {
                let detail = format!("must have 1 to {FIELD_VALUE_CHARS_MAX} characters");
                let what = format!("{what} of the entry \"{value}\"");
                return Err(ScimError::invalid_value(&what, &detail).into());
            }
        }
        require_indexable("the value of an entry", value)?;
        if let Some(twin) = checked.insert(entry.key(), entry.clone())
            && twin.result != entry.result
        {
            let detail = format!(
                "the value \"{}\" is there twice, for \"{}\" and \"{}\": leave one out",
                entry.value, twin.result, entry.result
            );
            return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
        }
    }
    Ok(checked)
}

async fn load(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    table: &str,
    entries: &BTreeMap<String, Entry>,
) -> Result<Loaded> {
    schemas::lock(tx, instance).await?;
    let keys: Vec<_> = entries.keys().cloned().collect();
    let old = lookups::find(tx, instance, table, &keys).await?;
    let old: BTreeMap<_, _> = old.into_iter().map(|entry| (entry.key(), entry)).collect();
    let new = entries.iter().filter(|(key, entry)| old.get(*key) != Some(*entry));
    let new: Vec<Entry> = new.map(|(_, entry)| entry.clone()).collect();
    let changed = new.iter().filter(|entry| old.contains_key(&entry.key())).count();
    let loaded = Loaded { added: new.len() - changed, changed };
    if new.is_empty() {
        return Ok(loaded);
    }
    require_room(tx, instance, table, loaded.added).await?;
    lookups::keep(tx, instance, table, &new).await?;
    let pairs: Vec<EntryChange> = new
        .into_iter()
        .map(|entry| {
            let before = old.get(&entry.key()).map(|old| old.result.clone());
            (entry.value, before, Some(entry.result))
        })
        .collect();
    record(tx, author, instance, "lookup.loaded", table, &pairs).await?;
    Ok(loaded)
}

async fn require_room(tx: &mut Tx, instance: InstanceId, table: &str, added: usize) -> Result<()> {
    let tables = lookups::tables(tx, instance).await?;
    let there = tables.iter().find(|one| one.name == table).map(|one| one.entries);
    if there.is_none() && tables.len() >= LOOKUP_TABLES_MAX {
        let detail =
            format!("an instance can have {LOOKUP_TABLES_MAX} look-up tables: empty one first");
        return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
    }
    let there = usize::try_from(there.unwrap_or(0)).unwrap_or(usize::MAX);
    if there.saturating_add(added) > LOOKUP_ENTRIES_MAX {
        let detail = format!(
            "a look-up table can have {LOOKUP_ENTRIES_MAX} entries; {table} has {there}, and {added} \
             would come: remove some first"
        );
        return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
    }
    Ok(())
}

async fn remove(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    table: &str,
    value: &str,
) -> Result<Entry> {
    schemas::lock(tx, instance).await?;
    let wanted = Entry { value: value.to_owned(), result: String::new() };
    let keys = [wanted.key()];
    let Some(old) = lookups::find(tx, instance, table, &keys).await?.into_iter().next() else {
        let detail = format!("the look-up table \"{table}\" has no entry \"{value}\"");
        return Err(ScimError::new(ErrorKind::NotFound, detail).into());
    };
    lookups::remove(tx, instance, table, &keys).await?;
    let change = (old.value.clone(), Some(old.result.clone()), None);
    record(tx, author, instance, "lookup.removed", table, &[change]).await?;
    Ok(old)
}

/// Appends what changed to the audit trail, in as many rows as it takes.
async fn record(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    action: &str,
    table: &str,
    changes: &[EntryChange],
) -> Result<()> {
    let mut events = Vec::new();
    for changes in changes.chunks(BATCH_MAX) {
        let side = |pick: fn(&EntryChange) -> &Option<String>| {
            let entry = |change: &EntryChange| {
                pick(change).as_ref().map(|result| (change.0.clone(), result.clone().into()))
            };
            let entries: serde_json::Map<String, Value> =
                changes.iter().filter_map(entry).collect();
            Some(json!({ "table": table, "entries": entries }))
        };
        let (before, after) = (side(|change| &change.1), side(|change| &change.2));
        let event = author.event(Category::Settings, action, "instance", instance.0);
        events.push(audit::Event { before, after, ..event });
    }
    Ok(audit::append(tx, instance, &events).await?)
}
