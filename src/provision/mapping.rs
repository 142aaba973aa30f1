//! The mapping at work: the fields of an account are made from its document by the mapping that is in
//! force for its connection.
//!
//! A write of an account calls `apply` where the account's document has been settled; a change of a
//! mapping reaches everybody else by `remap_page`.

mod versions;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::runs::{self, Step};
use super::{Error, Provision, Result, transact};
use crate::directory::mapping::{Evaluated, evaluate};
use crate::directory::{Account, AccountId, ConnectionId, InstanceId, Mapping, Timestamp};
use crate::scim::definition::is_reserved;
use crate::scim::extension::adopted;
use crate::scim::resource::require_indexable;
use crate::scim::schemas::Schemas;
use crate::scim::values::{Path, Reading};
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::audit::{self, Author};
use crate::store::runs::{Run, RunKind};
use crate::store::{BATCH_MAX, StoreError, Tx, accounts, lookups, mappings, schemas};

pub use versions::{
    FieldChange, MAPPING_NOTE_CHARS_MAX, MappingChange, PREVIEW_COUNT_MAX, Preview, Previewed,
    Saved,
};

/// The mappings that are remembered; when there are more, all are read anew.
const REMEMBERED_MAX: usize = 1000;

/// A version of the mapping of a connection: what it says never changes.
type VersionKey = (InstanceId, ConnectionId, i64);

/// The mappings that were read last. The database has one answer for a version for ever, and ids are
/// unique among all databases, so all parts of the process share them.
static REMEMBERED: LazyLock<Mutex<HashMap<VersionKey, Arc<Plan>>>> = LazyLock::new(Mutex::default);

static DEFAULT: LazyLock<Arc<Plan>> = LazyLock::new(|| Arc::new(Plan::of(Mapping::default())));

/// A mapping and its sources as paths.
#[derive(Debug)]
struct Plan {
    mapping: Mapping,
    paths: HashMap<String, Path>,
    has_tables: bool,
}

/// A mapping and where its sources stand in the documents of an instance. A path that the schemas no
/// longer know has no values.
struct Reader<'p> {
    plan: &'p Plan,
    schemas: &'p Schemas,
    readings: HashMap<&'p str, Reading<'p>>,
    /// Whether a schema of the instance's own is read: its data may have come before it was defined.
    adopts: bool,
}

/// What a table has, by table and key.
type Found = HashMap<(String, String), String>;

/// What the fields of accounts lack because a table does not have it. Whoever keeps the accounts keeps this
/// too.
#[derive(Debug)]
#[must_use]
pub(super) struct Misses(Vec<(AccountId, Vec<(String, String)>)>);

impl Misses {
    /// Notes what was missed, in the place of what was noted of the accounts before.
    pub(super) async fn keep(
        &self,
        tx: &mut Tx,
        instance: InstanceId,
        at: Timestamp,
    ) -> Result<()> {
        Ok(lookups::settle_misses(tx, instance, at, &self.0).await?)
    }
}

impl Plan {
    fn of(mapping: Mapping) -> Self {
        let sources = mapping.rows.iter().flat_map(|row| &row.sources);
        let path = |source: &String| Some((source.clone(), Path::parse(source).ok()?));
        let paths = sources.filter_map(path).collect();
        let has_tables = mapping.tables().next().is_some();
        Self { mapping, paths, has_tables }
    }
}

impl<'p> Reader<'p> {
    fn new(plan: &'p Plan, schemas: &'p Schemas) -> Self {
        let resolve = |(source, path): (&'p String, &'p Path)| {
            Some((source.as_str(), path.resolve(&schemas.user).ok()?))
        };
        let readings: HashMap<_, _> = plan.paths.iter().filter_map(resolve).collect();
        let own = |reading: &Reading<'_>| reading.extension().is_some_and(|urn| !is_reserved(urn));
        let adopts = readings.values().any(own);
        Self { plan, schemas, readings, adopts }
    }

    /// What the mapping makes of documents; one statement for each table that it asks.
    async fn evaluate_all(
        &self,
        tx: &mut Tx,
        instance: InstanceId,
        documents: &[&Document],
    ) -> std::result::Result<Vec<Evaluated>, StoreError> {
        if !self.plan.has_tables {
            return Ok(self.evaluate(documents, |_, _| None));
        }
        // A row asks one table once, so what is asked for does not depend on what was found.
        let asked = RefCell::new(BTreeMap::<String, BTreeSet<String>>::new());
        self.evaluate(documents, |table, value| {
            let mut asked = asked.borrow_mut();
            asked.entry(table.to_owned()).or_default().insert(lookups::key(value));
            None
        });
        let mut found = Found::new();
        for (table, keys) in asked.into_inner() {
            let keys: Vec<String> = keys.into_iter().collect();
            for entry in lookups::find(tx, instance, &table, &keys).await? {
                found.insert((table.clone(), entry.key()), entry.result);
            }
        }
        let mut all = self.evaluate(documents, |table, value| {
            found.get(&(table.to_owned(), lookups::key(value))).cloned()
        });
        for one in &mut all {
            // What is too long for a table is too long for the list of what it lacks.
            one.misses.retain(|(_, value)| require_indexable("", value).is_ok());
        }
        Ok(all)
    }

    fn evaluate(
        &self,
        documents: &[&Document],
        lookup: impl Fn(&str, &str) -> Option<String>,
    ) -> Vec<Evaluated> {
        let one = |document: &&Document| {
            let adopted = self.adopts.then(|| adopted(&self.schemas.user, document));
            let document = adopted.as_ref().unwrap_or(document);
            let source = |source: &str| {
                self.readings.get(source).map(|one| one.texts(document)).unwrap_or_default()
            };
            evaluate(&self.plan.mapping, source, &lookup)
        };
        documents.iter().map(one).collect()
    }
}

/// The mapping of an account, by its connection and the version that is in force for it. Without a
/// connection, and in version 0, it is the default mapping, which no statement is needed for.
async fn plan(
    tx: &mut Tx,
    instance: InstanceId,
    connection: Option<ConnectionId>,
    version: i64,
) -> std::result::Result<Arc<Plan>, StoreError> {
    let Some(connection) = connection.filter(|_| version != 0) else {
        return Ok(DEFAULT.clone());
    };
    let key = (instance, connection, version);
    let remembered = || REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = remembered().get(&key).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let found = mappings::find(tx, instance, connection, version).await?;
    let found = found.ok_or_else(|| StoreError::Corrupt {
        column: "mapping_version",
        reason: format!("there is no version {version}"),
    })?;
    let fresh = Arc::new(Plan::of(found.mapping));
    let mut remembered = remembered();
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
    remembered.insert(key, fresh.clone());
    Ok(fresh)
}

/// Makes the fields of accounts of one connection from their documents; one statement for each table that
/// the mapping asks.
///
/// A Local account has the default mapping, so that the directory shows its name and address like those
/// of everybody else; what an administrator writes into its fields counts for more.
pub(super) async fn apply(
    tx: &mut Tx,
    instance: InstanceId,
    connection: Option<ConnectionId>,
    mapping_version: i64,
    schemas: &Schemas,
    accounts: &mut [Account],
) -> Result<Misses> {
    let plan = plan(tx, instance, connection, mapping_version).await?;
    let documents: Vec<_> = accounts.iter().map(|account| &account.document).collect();
    let all = Reader::new(&plan, schemas).evaluate_all(tx, instance, &documents).await?;
    let mut misses = Vec::new();
    for (account, done) in accounts.iter_mut().zip(all) {
        account.fields = done.fields;
        if plan.has_tables {
            misses.push((account.id, done.misses));
        }
    }
    Ok(Misses(misses))
}

/// Makes the fields of the next accounts of a connection anew, by the mapping that is in force now.
pub(super) async fn remap_page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    author: &Author,
    after: Option<Uuid>,
) -> Result<Step> {
    let schemas = schemas::of_instance(tx, instance).await?;
    let version = require_connection(tx, instance, connection).await?;
    let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
    let accounts = accounts::lock_page(tx, instance, connection, after, limit).await?;
    let plan = plan(tx, instance, Some(connection), version).await?;
    let documents: Vec<_> = accounts.iter().map(|account| &account.document).collect();
    let all = Reader::new(&plan, &schemas).evaluate_all(tx, instance, &documents).await?;
    let (mut events, mut told, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    for (before, done) in accounts.iter().zip(all) {
        missed.push((before.id, done.misses));
        if before.fields == done.fields {
            // Which of the Local fields show follows from the mapping, too.
            if !before.local_fields.is_empty() {
                let event = author.change("account.remapped", "account", before.id.0);
                told.push(event);
            }
            continue;
        }
        let after = Account {
            fields: done.fields,
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        mappings::keep_fields(tx, instance, &after).await?;
        events.push(field_event(author, "account.remapped", &after, &before.fields, &after.fields));
    }
    lookups::settle_misses(tx, instance, author.at, &missed).await?;
    audit::append(tx, instance, &events).await?;
    audit::append(tx, instance, &told).await?;
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    Ok(Step {
        last: accounts.last().map(|account| account.id.0),
        seen: count(accounts.len()),
        changed: count(events.len()),
    })
}

/// The event of a change of fields: only what differs is kept of before and after.
pub(super) fn field_event(
    author: &Author,
    action: &str,
    account: &Account,
    was: &Map<String, Value>,
    is: &Map<String, Value>,
) -> audit::Event {
    let event = author.change(action, "account", account.id.0);
    let (before, after) = (audit::differing(was, is), audit::differing(is, was));
    let side = |fields: Map<String, Value>| Some(json!({ "fields": fields }));
    audit::Event { before: side(before), after: side(after), ..event }
}

/// The version of the mapping of a connection, which must be there.
async fn require_connection(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<i64> {
    let version = mappings::in_force(tx, instance, connection).await?;
    version.ok_or_else(|| {
        let detail = format!("the instance has no connection {connection}");
        Error::from(ScimError::new(ErrorKind::NotFound, detail))
    })
}

/// The mapping that is in force for the connection of an account; for a Local one, the default mapping.
pub(super) async fn mapping_of(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
) -> Result<Mapping> {
    let version = match account.connection {
        Some(connection) => require_connection(tx, instance, connection).await?,
        None => 0,
    };
    Ok(plan(tx, instance, account.connection, version).await?.mapping.clone())
}

impl Provision {
    /// Makes the fields of all accounts of a connection anew. Done again it goes on where it is needed:
    /// who is up to date is not written.
    pub async fn remap(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        author: &Author,
    ) -> Result<Run> {
        let kind = RunKind::Mapping;
        let run = transact!(self.store, |tx| {
            runs::begin(&mut tx, author, instance, kind, connection).await
        })?;
        self.work_off(run, |_| ()).await
    }
}
