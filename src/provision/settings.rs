//! What administrators set about a connection, and what that changes for what it has brought already.

use serde_json::{Map, Value};

use super::{Error, Provision, Result, entering, required, runs, transact};
use crate::directory::{
    Connection, DeleteAfter, Entering, Incomplete, PickUp, Profile, PushGuard, Recreate,
};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::runs::{Run, RunKind};
use crate::store::{Tx, connections, schemas};

/// What an administrator sets; the rest stays as it is.
#[derive(Debug, Clone, Default)]
pub struct SettingsChange {
    /// What happens when the connection writes to something Local.
    pub pick_up: Option<PickUp>,
    /// Which of its groups enter the directory.
    pub entering: Option<Entering>,
    /// The regular expression for their names; alone, it sets [`Entering::Matching`].
    pub pattern: Option<String>,
    /// The attributes that every account needs, besides `userName`.
    pub required: Option<Vec<String>>,
    /// What happens to an account without one of them.
    pub incomplete: Option<Incomplete>,
    /// What happens when the connection creates somebody again whom it has deleted.
    pub recreate: Option<Recreate>,
    /// What becomes of people whom the connection keeps suspended.
    pub delete_after_days: Option<DeleteAfter>,
    /// How many losses come through before an administrator is asked.
    pub guard: Option<PushGuard>,
    /// Whose habits the connection follows.
    pub profile: Option<Profile>,
}

/// What came of a change of settings.
#[derive(Debug, Clone)]
pub struct SettingsChanged {
    /// The connection as it is now.
    pub connection: Connection,
    /// The groups that entered the directory or left it.
    pub groups: i64,
    /// The accounts that became complete or incomplete.
    pub accounts: i64,
}

impl Provision {
    /// Sets what is given, and looks again at the groups and accounts that the connection has where that
    /// makes a difference. To set the same once more looks at them once more.
    pub async fn set_connection_settings(
        &self,
        author: &Author,
        connection: &Connection,
        change: SettingsChange,
    ) -> Result<SettingsChanged> {
        let (connection, runs) =
            transact!(self.store, |tx| set(&mut tx, author, connection, &change).await)?;
        let mut changed = SettingsChanged { connection, groups: 0, accounts: 0 };
        for run in runs {
            let done = self.work_off(run, |_| ()).await?;
            match done.kind {
                RunKind::Groups => changed.groups += done.changed,
                _ => changed.accounts += done.changed,
            }
        }
        Ok(changed)
    }
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    connection: &Connection,
    change: &SettingsChange,
) -> Result<(Connection, Vec<Run>)> {
    let (instance, id) = (connection.instance, connection.id);
    // Settings are kept together: who changes one of them must see what another has changed.
    tx.serialize_on(&[format!("{id} settings")]).await?;
    let before = connections::find(tx, instance, id).await?.ok_or_else(|| {
        let detail = format!("there is no connection with the id \"{id}\"");
        Error::from(ScimError::new(ErrorKind::NotFound, detail))
    })?;
    let mut after = before.clone();
    let settings = &mut after.settings;
    settings.pick_up = change.pick_up.unwrap_or(settings.pick_up);
    settings.incomplete = change.incomplete.unwrap_or(settings.incomplete);
    settings.recreate = change.recreate.unwrap_or(settings.recreate);
    settings.delete_after_days = change.delete_after_days.unwrap_or(settings.delete_after_days);
    settings.guard = change.guard.unwrap_or(settings.guard);
    let limits = settings.guard.checked();
    limits.map_err(|(limit, why)| ScimError::invalid_value(limit, &why))?;
    after.profile = change.profile.unwrap_or(after.profile);
    match (change.entering, &change.pattern) {
        (None, None) => {}
        (Some(Entering::All | Entering::None), Some(_)) => {
            let reason = "goes with \"matching\" only: leave it out, or set entering to matching";
            return Err(ScimError::invalid_value("the pattern", reason).into());
        }
        (Some(entering @ (Entering::All | Entering::None)), None) => {
            settings.entering = entering;
            settings.entering_pattern = None;
        }
        (Some(Entering::Matching) | None, Some(pattern)) => {
            settings.entering = Entering::Matching;
            settings.entering_pattern = Some(pattern.clone());
        }
        (Some(Entering::Matching), None) => settings.entering = Entering::Matching,
    }
    entering::checked(settings.entering, settings.entering_pattern.as_deref())?;
    if let Some(paths) = &change.required {
        settings.required = required::checked(&schemas::of_instance(tx, instance).await?, paths)?;
    }
    let (was, is) = (facets(&before), facets(&after));
    let mut begun = Vec::new();
    if change.entering.is_some() || change.pattern.is_some() {
        begun.push(runs::begin(tx, author, instance, RunKind::Groups, id).await?);
    }
    if change.required.is_some() || change.incomplete.is_some() {
        begun.push(runs::begin(tx, author, instance, RunKind::Required, id).await?);
    }
    if was == is {
        return Ok((after, begun));
    }
    connections::set_settings(tx, instance, id, &after.settings).await?;
    connections::set_profile(tx, instance, id, after.profile).await?;
    let event = author.event(Category::Settings, "connection.settings_set", "connection", id.0);
    let event = audit::Event {
        before: Some(audit::differing(&was, &is).into()),
        after: Some(audit::differing(&is, &was).into()),
        ..event
    };
    audit::append(tx, instance, &[event]).await?;
    Ok((after, begun))
}

/// All that can be set, for comparison.
fn facets(connection: &Connection) -> Map<String, Value> {
    let mut facets = match serde_json::to_value(&connection.settings) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    facets.insert("profile".to_owned(), connection.profile.word().into());
    facets
}
