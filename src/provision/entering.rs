//! Which groups of a connection are part of the directory: judged when a group is kept, and again for
//! all of them when the setting changes.

use std::sync::Arc;

use uuid::Uuid;

use super::resource::finish;
use super::runs::Step;
use super::{Groups, Provision, Result};
use crate::directory::entering::Rule;
use crate::directory::{Connection, ConnectionId, Entering, Group, InstanceId};
use crate::scim::ScimError;
use crate::scim::sort::Position;
use crate::store::audit::Author;
use crate::store::query::{self, Narrow, Page, Viewer};
use crate::store::{Tx, connections, groups, schemas};

/// The groups that are looked at in one transaction.
const PAGE: i64 = 500;

/// The groups that a preview names.
const PREVIEWED_MAX: usize = 200;

/// What a setting would make of the groups that a connection has.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Preview {
    /// The groups of the connection.
    pub groups: i64,
    /// Those that would enter the directory.
    pub entering: i64,
    /// Those that are in it now and would leave.
    pub leaving: i64,
    /// Those that are not in it now and would come.
    pub coming: i64,
    /// The first of them, in the order of creation.
    pub named: Vec<Previewed>,
}

/// What a setting would make of one group.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Previewed {
    /// Its name.
    pub display_name: String,
    /// Whether it would enter the directory.
    pub enters: bool,
    /// Whether it is in the directory now.
    pub entered: bool,
}

impl Provision {
    /// Says what a setting would make of the groups that a connection has, without changing anything.
    pub async fn preview_entering(
        &self,
        connection: &Connection,
        entering: Entering,
        pattern: Option<&str>,
    ) -> Result<Preview> {
        let rule = checked(entering, pattern)?;
        let mut tx = self.store.read().await?;
        let (mut preview, mut after) = (Preview::default(), None);
        loop {
            let rows = page(&mut tx, connection.instance, connection.id, after).await?;
            let Some(last) = rows.last() else { return Ok(preview) };
            after = Some(last.id.0);
            for row in rows {
                let (enters, entered) = (rule.admits(&row.display_name), row.entered);
                preview.groups += 1;
                preview.entering += i64::from(enters);
                preview.leaving += i64::from(entered && !enters);
                preview.coming += i64::from(enters && !entered);
                if preview.named.len() < PREVIEWED_MAX {
                    let display_name = row.display_name;
                    preview.named.push(Previewed { display_name, enters, entered });
                }
            }
        }
    }
}

/// The rule that a setting makes, or the reason why it makes none.
pub(super) fn checked(entering: Entering, pattern: Option<&str>) -> Result<Rule> {
    let rule = Rule::new(entering, pattern);
    Ok(rule.map_err(|reason| ScimError::invalid_value("the pattern", &reason))?)
}

async fn page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    after: Option<Uuid>,
) -> Result<Vec<Group>> {
    let (narrow, after) = (Narrow::Owner(Some(connection)), after.map(Position::of));
    let page = Page::by_id(after.as_ref(), PAGE);
    Ok(query::page(tx, &groups::TABLE, instance, Viewer::Administrator, &narrow, page).await?)
}

/// Judges the groups of a connection again: at most 500 of them, from behind `after`. Only those that
/// differ are written.
pub(super) async fn reenter_page(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    author: &Author,
    after: Option<Uuid>,
) -> Result<Step> {
    let Some(connection) = connections::find(tx, instance, connection).await? else {
        return Ok(Step::default());
    };
    let rule = Rule::of(&connection.settings);
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    let rows = page(tx, instance, connection.id, after).await?;
    let mut step = Step { last: rows.last().map(|row| row.id.0), ..Step::default() };
    for before in rows {
        step.seen += 1;
        let entered = rule.admits(&before.display_name);
        if entered == before.entered {
            continue;
        }
        step.changed += 1;
        let after = Group {
            entered,
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        groups::update(tx, instance, &before, &after).await?;
        let done = if entered { "entered" } else { "left_out" };
        finish::<Groups>(tx, instance, &schemas, author, Some(&before), &after, done).await?;
    }
    Ok(step)
}
