//! The attributes that a connection requires of every account.

use serde_json::Value;
use uuid::Uuid;

use super::resource::finish;
use super::runs::Step;
use super::{Caller, Result, Users};
use crate::directory::{Account, ConnectionId, ConnectionSettings, Incomplete, InstanceId};
use crate::scim::fold::fold;
use crate::scim::schema::Place;
use crate::scim::schemas::Schemas;
use crate::scim::sort::Position;
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::audit::Author;
use crate::store::query::{self, Narrow, Page, Viewer};
use crate::store::{Tx, accounts, connections, schemas};
use std::sync::Arc;

/// The attribute that every account needs, whatever the connection says.
const ALWAYS: &str = "userName";

/// The attributes that a connection can require.
const REQUIRED_MAX: usize = 50;

/// The accounts that are looked at in one transaction.
const PAGE: i64 = 500;

/// Notes which required attributes an account has no value of; refuses it if the connection says so.
///
/// Letting people go always works: what disables an account is never refused for what it lacks.
pub(super) fn check(caller: &Caller, before: Option<&Account>, after: &mut Account) -> Result<()> {
    let settings = &caller.settings;
    after.missing = missing(settings, &caller.schemas, &after.document);
    let lets_go = before.is_some() && !after.active;
    if after.missing.is_empty() || settings.incomplete == Incomplete::Keep || lets_go {
        return Ok(());
    }
    let detail = format!(
        "required by the connection \"{}\" and without a value: {}; map the attribute in the identity \
         provider, or change what the connection requires (required, incomplete)",
        caller.connection_name,
        after.missing.join(", ")
    );
    Err(ScimError::new(ErrorKind::InvalidValue, detail).into())
}

/// The required attributes that a document has no value of. A path that no schema has any more asks for
/// nothing.
pub(super) fn missing(
    settings: &ConnectionSettings,
    schemas: &Schemas,
    document: &Document,
) -> Vec<String> {
    let is_missing = |path: &&String| match schemas.user.place(path) {
        Place::Known(target) => target.values(document).into_iter().all(is_blank),
        Place::Extension(_) | Place::Resource | Place::Foreign | Place::Unknown => false,
    };
    settings.required.iter().filter(is_missing).cloned().collect()
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(parts) => parts.values().all(is_blank),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Paths as an administrator gave them, spelled as the schemas do, each once, `userName` first.
pub(super) fn checked(schemas: &Schemas, paths: &[String]) -> Result<Vec<String>> {
    let mut found = vec![ALWAYS.to_owned()];
    for path in paths.iter().map(|path| path.trim()).filter(|path| !path.is_empty()) {
        let refuse = |reason: &str| {
            ScimError::invalid_value("required", &format!("cannot hold \"{path}\": {reason}"))
        };
        let Place::Known(target) = schemas.user.place(path) else {
            return Err(refuse("no schema of Users has this attribute").into());
        };
        if !target.attribute.is_kept() || target.sub.is_some_and(|sub| !sub.is_kept()) {
            return Err(refuse("clients cannot set it").into());
        }
        let urn = target.extension.map(|urn| format!("{urn}:")).unwrap_or_default();
        let sub = target.sub.map(|sub| format!(".{}", sub.name)).unwrap_or_default();
        let path = format!("{urn}{}{sub}", target.attribute.name);
        if !found.iter().any(|other| fold(other) == fold(&path)) {
            found.push(path);
        }
    }
    if found.len() > REQUIRED_MAX {
        let reason = format!("holds {} attributes; at most {REQUIRED_MAX} can be", found.len());
        return Err(ScimError::invalid_value("required", &reason).into());
    }
    Ok(found)
}

/// Looks again at which required attributes the accounts of a connection lack: at most 500 of them,
/// from behind `after`. Only those that differ are written.
pub(super) async fn recheck_page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    author: &Author,
    after: Option<Uuid>,
) -> Result<Step> {
    let Some(connection) = connections::find(tx, instance, connection).await? else {
        return Ok(Step::default());
    };
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    let (narrow, after) = (Narrow::Owner(Some(connection.id)), after.map(Position::of));
    let page = Page::by_id(after.as_ref(), PAGE);
    let viewer = Viewer::Administrator;
    let rows: Vec<Account> =
        query::page(tx, &accounts::TABLE, instance, viewer, &narrow, page).await?;
    let mut step = Step { last: rows.last().map(|row| row.id.0), ..Step::default() };
    for before in rows {
        step.seen += 1;
        let missing = missing(&connection.settings, &schemas, &before.document);
        if missing == before.missing {
            continue;
        }
        step.changed += 1;
        let after = Account {
            missing,
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        accounts::update(tx, instance, &before, &after).await?;
        finish::<Users>(tx, instance, &schemas, author, Some(&before), &after, "rechecked").await?;
    }
    Ok(step)
}
