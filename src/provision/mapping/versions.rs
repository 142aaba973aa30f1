//! The versions of a connection's mapping: shown, saved, compared, taken back, tried out.

use serde_json::{Value, json};

use super::{Plan, Reader, plan, require_connection};
use crate::directory::mapping::{MappingError, Row};
use crate::directory::{Account, AccountId, ConnectionId, InstanceId, Mapping};
use crate::provision::setup::ADMIN_PAGE_MAX;
use crate::provision::{Error, Provision, Result, transact};
use crate::scim::fold::fold;
use crate::scim::schemas::Schemas;
use crate::scim::values::Path;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::mappings::MappingVersion;
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::{Tx, accounts, fields, mappings, schemas};

/// The characters of the note of a version.
pub const MAPPING_NOTE_CHARS_MAX: usize = 200;

/// The accounts that a mapping is tried out on at once.
pub const PREVIEW_COUNT_MAX: i64 = 500;

/// How a mapping is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingChange {
    /// A row, in the place of that of its field.
    Row(Row),
    /// No row for a field.
    Without(String),
    /// These rows, and the read-only ones.
    All(Vec<Row>),
    /// The default mapping.
    Default,
    /// The rows of a version.
    Version(i64),
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Saved {
    /// The version that is in force now.
    pub version: i64,
    /// What is different, one sentence for each row; nothing, and no new version, if nothing is.
    pub changes: Vec<String>,
}

/// What a mapping would make of some accounts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Preview {
    /// The accounts, those without a change too.
    pub accounts: Vec<Previewed>,
    /// What would be looked up in vain: the table and the value, each once.
    pub unmatched: Vec<(String, String)>,
}

/// What a mapping would make of an account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Previewed {
    /// Its id.
    pub id: AccountId,
    /// Its user name.
    pub user_name: String,
    /// The fields that would change.
    pub changes: Vec<FieldChange>,
}

/// A field that would change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Its value now.
    pub before: Option<String>,
    /// Its value then.
    pub after: Option<String>,
}

impl Provision {
    /// A version of a connection's mapping, by default the one in force, and its number. Version 0 is
    /// the default mapping.
    pub async fn mapping(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        version: Option<i64>,
    ) -> Result<(i64, Mapping)> {
        let mut tx = self.store.read().await?;
        let in_force = require_connection(&mut tx, instance, connection).await?;
        let version = version.unwrap_or(in_force);
        Ok((version, load(&mut tx, instance, connection, version).await?))
    }

    /// The newest versions of a connection's mapping, newest first.
    pub async fn mapping_history(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        limit: i64,
    ) -> Result<Vec<MappingVersion>> {
        let mut tx = self.store.read().await?;
        let limit = limit.clamp(0, ADMIN_PAGE_MAX);
        Ok(mappings::list(&mut tx, instance, connection, limit).await?)
    }

    /// What is different between two versions, one sentence for each row.
    pub async fn mapping_differences(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        from: i64,
        to: i64,
    ) -> Result<Vec<String>> {
        let mut tx = self.store.read().await?;
        let from = load(&mut tx, instance, connection, from).await?;
        let to = load(&mut tx, instance, connection, to).await?;
        Ok(from.differences(&to))
    }

    /// Changes the mapping of a connection: the next version, in force for all writes from now on. The
    /// accounts that are there stay as they are until they are written, or until [`Self::remap`] has
    /// been at them.
    pub async fn save_mapping(
        &self,
        author: &Author,
        instance: InstanceId,
        connection: ConnectionId,
        change: MappingChange,
        note: Option<&str>,
    ) -> Result<Saved> {
        let note = note.map(checked_note).transpose()?;
        transact!(self.store, |tx| {
            save(&mut tx, author, instance, connection, &change, note.as_deref()).await
        })
    }

    /// What a mapping would make of accounts of a connection, by default what the one in force would:
    /// of one, by id or user name, or of the first ones. Nothing is written.
    pub async fn preview_mapping(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        candidate: Option<Vec<Row>>,
        account: Option<&str>,
        limit: i64,
    ) -> Result<Preview> {
        let mut tx = self.store.read().await?;
        let tx = &mut tx;
        let version = require_connection(tx, instance, connection).await?;
        let schemas = schemas::of_instance(tx, instance).await?;
        let plan = match candidate {
            None => plan(tx, instance, Some(connection), version).await?,
            Some(rows) => {
                let before = load(tx, instance, connection, version).await?;
                let mapping = checked(tx, instance, &schemas, &before, rows).await?;
                Plan::of(mapping).into()
            }
        };
        let accounts = if let Some(name) = account {
            vec![account_of(tx, instance, connection, name).await?]
        } else {
            let limit = limit.clamp(0, PREVIEW_COUNT_MAX);
            accounts::page_of(tx, instance, connection, None, limit).await?
        };
        let documents: Vec<_> = accounts.iter().map(|account| &account.document).collect();
        let all = Reader::new(&plan, &schemas).evaluate_all(tx, instance, &documents).await?;
        let mut preview = Preview { accounts: Vec::new(), unmatched: Vec::new() };
        for (account, done) in accounts.iter().zip(all) {
            preview.unmatched.extend(done.misses);
            preview.accounts.push(Previewed {
                id: account.id,
                user_name: account.user_name.clone(),
                changes: field_changes(&account.fields, &done.fields),
            });
        }
        preview.unmatched.sort_unstable();
        preview.unmatched.dedup();
        Ok(preview)
    }
}

fn field_changes(
    was: &serde_json::Map<String, Value>,
    is: &serde_json::Map<String, Value>,
) -> Vec<FieldChange> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let gone = was.keys().filter(|field| !is.contains_key(*field));
    let changed = is.keys().filter(|field| was.get(*field) != is.get(*field));
    let change = |field: &String| FieldChange {
        field: field.clone(),
        before: text(was.get(field)),
        after: text(is.get(field)),
    };
    changed.chain(gone).map(change).collect()
}

async fn account_of(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    name: &str,
) -> Result<Account> {
    let narrow = match name.parse() {
        Ok(id) => Narrow::Id(id),
        Err(_) => Narrow::UserName(fold(name).into_owned()),
    };
    let viewer = Viewer::Connection(connection);
    let found: Option<Account> =
        query::one(tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Look).await?;
    found.filter(|account| account.connection == Some(connection)).ok_or_else(|| {
        let detail = format!("the connection has no account \"{name}\"");
        ScimError::new(ErrorKind::NotFound, detail).into()
    })
}

async fn load(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    version: i64,
) -> Result<Mapping> {
    if version == 0 {
        return Ok(Mapping::default());
    }
    if let Some(found) = mappings::find(tx, instance, connection, version).await? {
        return Ok(found.mapping);
    }
    let newest = mappings::newest(tx, instance, connection).await?;
    let detail = format!(
        "the mapping has no version {version}; there are 0, the default mapping, to {newest}"
    );
    Err(ScimError::new(ErrorKind::NotFound, detail).into())
}

async fn save(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    connection: ConnectionId,
    change: &MappingChange,
    note: Option<&str>,
) -> Result<Saved> {
    // One change of what an instance has of schemas, fields and mappings at a time.
    schemas::lock(tx, instance).await?;
    let in_force = require_connection(tx, instance, connection).await?;
    let before = load(tx, instance, connection, in_force).await?;
    let rows = match change {
        MappingChange::Row(row) => before.with(row.clone()),
        MappingChange::Without(field) => {
            require_removable(&before, field)?;
            before.without(field)
        }
        MappingChange::All(rows) => rows.clone(),
        MappingChange::Default => Mapping::default().rows,
        MappingChange::Version(version) => load(tx, instance, connection, *version).await?.rows,
    };
    let schemas = schemas::of_instance(tx, instance).await?;
    let mapping = checked(tx, instance, &schemas, &before, rows).await?;
    let changes = before.differences(&mapping);
    if changes.is_empty() {
        return Ok(Saved { version: in_force, changes });
    }
    let version = mappings::newest(tx, instance, connection).await? + 1;
    let note = note.map_or_else(|| said(change), str::to_owned);
    let kept = MappingVersion {
        version,
        mapping,
        author: author.name.clone(),
        note,
        created_at: author.at,
    };
    mappings::keep(tx, instance, connection, &kept).await?;
    record(tx, author, instance, connection, (in_force, &before), &kept).await?;
    Ok(Saved { version, changes })
}

/// The note of a version whose author gave none.
fn said(change: &MappingChange) -> String {
    match change {
        MappingChange::Row(row) => format!("set {}", row.field),
        MappingChange::Without(field) => format!("removed {field}"),
        MappingChange::All(_) => "loaded".to_owned(),
        MappingChange::Default => "restored the default mapping".to_owned(),
        MappingChange::Version(version) => format!("rolled back to version {version}"),
    }
}

async fn record(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    connection: ConnectionId,
    (version, before): (i64, &Mapping),
    after: &MappingVersion,
) -> Result<()> {
    let side = |version: i64, one: &Mapping, other: &Mapping| {
        let differing = one.rows.iter().filter(|row| other.row(&row.field) != Some(*row));
        let rows: Vec<_> = differing.collect();
        Some(json!({ "version": version, "rows": rows }))
    };
    let event = author.event(Category::Settings, "mapping.saved", "connection", connection.0);
    let event = audit::Event {
        before: side(version, before, &after.mapping),
        after: side(after.version, &after.mapping, before),
        ..event
    };
    Ok(audit::append(tx, instance, &[event]).await?)
}

/// The mapping of rows, if the instance has the fields and knows the paths. What was there before is not
/// looked at again: a schema that has gone must not be in the way of every other change.
async fn checked(
    tx: &mut Tx,
    instance: InstanceId,
    schemas: &Schemas,
    before: &Mapping,
    rows: Vec<Row>,
) -> Result<Mapping> {
    let own: Vec<_> = fields::list(tx, instance).await?.into_iter().map(|one| one.name).collect();
    let mapping = Mapping::checked(rows, &own).map_err(|error| unfit(&error))?;
    for row in mapping.rows.iter().filter(|row| before.row(&row.field) != Some(*row)) {
        for source in &row.sources {
            Path::parse(source)?.resolve(&schemas.user).map_err(|error| {
                ScimError::new(error.kind, format!("the field {}: {}", row.field, error.detail))
            })?;
        }
    }
    Ok(mapping)
}

fn require_removable(before: &Mapping, field: &str) -> Result<()> {
    match before.row(field) {
        Some(row) if row.read_only => Err(unfit(&MappingError::ReadOnly(row.clone()))),
        Some(_) => Ok(()),
        None => {
            let filled: Vec<_> = before.rows.iter().map(|row| row.field.as_str()).collect();
            let filled = filled.join(", ");
            let detail = format!("the mapping does not fill \"{field}\"; it fills {filled}");
            Err(ScimError::new(ErrorKind::NotFound, detail).into())
        }
    }
}

fn unfit(error: &MappingError) -> Error {
    ScimError::new(ErrorKind::InvalidValue, error.to_string()).into()
}

fn checked_note(note: &str) -> Result<String> {
    let note = note.trim();
    if note.chars().count() > MAPPING_NOTE_CHARS_MAX || note.chars().any(char::is_control) {
        return Err(ScimError::invalid_value(
            "the note",
            &format!("must have at most {MAPPING_NOTE_CHARS_MAX} characters in one line"),
        )
        .into());
    }
    Ok(note.to_owned())
}
