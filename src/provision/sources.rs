//! Where connections are pulled from, as administrators set it.

use serde_json::{Map, Value, json};

use super::pull::next_run;
use super::{Error, Provision, Result, not_found, transact};
use crate::directory::guard::GUARD_COUNT_MAX;
use crate::directory::schedule::Schedule;
use crate::directory::source::Place;
use crate::directory::{Connection, ConnectionKind, Guard, SourceSettings};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::sources::{self, Source};
use crate::store::{Tx, connections};

/// The characters that the path of a file, an address or the name of a user may have.
pub const PLACE_CHARS_MAX: usize = 2_000;

/// The columns whose meaning can be set.
pub const COLUMNS_SET_MAX: usize = 500;

/// What an administrator sets; the rest stays as it is. What is secret is sealed already.
#[derive(Debug, Clone, Default)]
pub struct SourceChange {
    /// Where the file is, and how it is read.
    pub settings: Option<SourceSettings>,
    /// The password for the source; `Some(None)` takes it away.
    pub password: Option<Option<String>>,
    /// The password that people get who have none in the file; `Some(None)` takes it away.
    pub account_password: Option<Option<String>>,
    /// When it is pulled; `Some(None)` ends the schedule.
    pub schedule: Option<Option<Schedule>>,
}

impl Provision {
    /// The source of a connection.
    pub async fn source(&self, connection: &Connection) -> Result<Option<Source>> {
        let mut tx = self.store.read().await?;
        Ok(sources::find(&mut tx, connection.instance, connection.id).await?)
    }

    /// Sets what is given about the source of a connection; the settings are needed the first time.
    pub async fn set_source(
        &self,
        author: &Author,
        connection: &Connection,
        change: SourceChange,
    ) -> Result<Source> {
        transact!(self.store, |tx| set(&mut tx, author, connection, &change).await)
    }

    /// Makes the next run look at everything again, as if there had been none.
    pub async fn forget_last_pull(&self, author: &Author, connection: &Connection) -> Result<()> {
        transact!(self.store, |tx| forget(&mut tx, author, connection).await)
    }
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    connection: &Connection,
    change: &SourceChange,
) -> Result<Source> {
    let (instance, id) = (connection.instance, connection.id);
    tx.serialize_on(&[format!("{id} settings")]).await?;
    if connections::find(tx, instance, id).await?.is_none() {
        return Err(not_found("connection", &id.to_string()));
    }
    if connection.kind != ConnectionKind::Csv {
        let detail = format!("the connection \"{}\" is pushed: it has no source", connection.name);
        return Err(ScimError::new(ErrorKind::Forbidden, detail).into());
    }
    let before = sources::find(tx, instance, id).await?;
    let settings = change.settings.clone().or(before.as_ref().map(|was| was.settings.clone()));
    let settings = settings.ok_or_else(|| no_source(connection))?;
    check(&settings)?;
    let was = before.as_ref();
    let secret = |set: &Option<Option<String>>, was: Option<&String>| match set {
        Some(set) => set.clone(),
        None => was.cloned(),
    };
    let mut after = Source {
        instance,
        connection: id,
        settings,
        password: secret(&change.password, was.and_then(|was| was.password.as_ref())),
        account_password: secret(
            &change.account_password,
            was.and_then(|was| was.account_password.as_ref()),
        ),
        schedule: match &change.schedule {
            Some(schedule) => schedule.clone(),
            None => was.and_then(|was| was.schedule.clone()),
        },
        next_run_at: was.and_then(|was| was.next_run_at),
        last: was.and_then(|was| was.last.clone()),
        revision: was.map_or(1, |was| was.revision),
    };
    // When it is pulled, and with which password, is nothing that its rows are read by.
    let as_before = |was: &Source| {
        was.settings == after.settings && was.account_password == after.account_password
    };
    if let Some(was) = was.filter(|was| !as_before(was)) {
        after.revision = was.revision + 1;
    }
    if moved(was, &after) {
        // A password for one host is nothing that another one should be told.
        after.password = change.password.clone().flatten();
    }
    if change.schedule.is_some() {
        after.next_run_at = next_run(&after, author.at);
    }
    sources::keep(tx, &after).await?;
    let (was, is) = (before.as_ref().map(facets).unwrap_or_default(), facets(&after));
    let event = author.event(Category::Settings, "connection.source_set", "connection", id.0);
    let event = audit::Event {
        before: Some(audit::differing(&was, &is).into()),
        after: Some(audit::differing(&is, &was).into()),
        ..event
    };
    audit::append(tx, instance, &[event]).await?;
    Ok(after)
}

fn no_source(connection: &Connection) -> Error {
    let detail = format!(
        "the connection \"{}\" has no source yet: say where the file is with --url, --file or \
         --document",
        connection.name
    );
    ScimError::invalid_value("the source", &detail).into()
}

/// Whether a source is at another host than before.
fn moved(before: Option<&Source>, after: &Source) -> bool {
    let host = |source: &Source| match &source.settings.place {
        Place::Remote { url, .. } => url.split('/').nth(2).map(str::to_owned),
        Place::Folder { .. } | Place::Document { .. } => None,
    };
    before.is_some_and(|before| host(before) != host(after))
}

fn check(settings: &SourceSettings) -> Result<()> {
    let refuse = |what: &str, reason: String| Err(ScimError::invalid_value(what, &reason).into());
    let Guard { count_max, percent_max } = settings.guard;
    if !(0..=GUARD_COUNT_MAX).contains(&count_max) {
        return refuse("the guard's count", format!("must be from 0 to {GUARD_COUNT_MAX}"));
    }
    if !(0..=100).contains(&percent_max) {
        return refuse("the guard's percentage", "must be from 0 to 100".to_owned());
    }
    if settings.columns.len() > COLUMNS_SET_MAX {
        return refuse("the columns", format!("at most {COLUMNS_SET_MAX} can be set"));
    }
    let separator = &settings.group_separator;
    if separator.is_empty() || separator.chars().count() > 3 {
        return refuse("the separator of groups", "must have 1 to 3 characters".to_owned());
    }
    let texts: Vec<&str> = match &settings.place {
        Place::Remote { url, user } => {
            [Some(url), user.as_ref()].into_iter().flatten().map(String::as_str).collect()
        }
        Place::Folder { path } => vec![path],
        Place::Document { name } => vec![name],
    };
    let rest = match &settings.place {
        Place::Remote { url, .. } => url.strip_prefix("https://"),
        Place::Folder { .. } | Place::Document { .. } => Some("file"),
    };
    if rest.is_none_or(|rest| rest.starts_with('/')) {
        return refuse("the address", "must begin with https:// and the name of a host".to_owned());
    }
    let fits = |text: &str| !text.is_empty() && text.chars().count() <= PLACE_CHARS_MAX;
    if texts.iter().any(|text| !fits(text) || text.chars().any(char::is_control)) {
        let reason = format!("must have 1 to {PLACE_CHARS_MAX} characters, no control characters");
        return refuse("the place of the file", reason);
    }
    Ok(())
}

/// What the audit trail compares: nothing secret, only whether there is something.
fn facets(source: &Source) -> Map<String, Value> {
    let mut facets = match serde_json::to_value(&source.settings) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    // The query of an address may hold a token.
    facets.insert("place".to_owned(), source.settings.place.to_string().into());
    facets.insert("schedule".to_owned(), json!(source.schedule));
    facets.insert("hasPassword".to_owned(), source.password.is_some().into());
    facets.insert("hasAccountPassword".to_owned(), source.account_password.is_some().into());
    facets
}

async fn forget(tx: &mut Tx, author: &Author, connection: &Connection) -> Result<()> {
    let (instance, id) = (connection.instance, connection.id);
    if sources::find(tx, instance, id).await?.is_none() {
        return Err(no_source(connection));
    }
    sources::forget_last(tx, instance, id).await?;
    let event = author.event(Category::Settings, "connection.source_reset", "connection", id.0);
    Ok(audit::append(tx, instance, &[event]).await?)
}
