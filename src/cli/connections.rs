//! Connections of an instance.

use std::io;

use anyhow::Result;
use serde_json::json;

use super::args::{ConnectionArg, ConnectionsCommand};
use super::output::Text;
use super::policies;
use super::scope::is_live;
use super::session::{Session, plain, quoted};
use crate::directory::{Connection, ConnectionStatus};
use crate::provision::setup::NewConnection;

pub(super) async fn run(session: &mut Session<'_>, command: ConnectionsCommand) -> Result<()> {
    match command {
        ConnectionsCommand::Create { name, kind, profile, enable, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let status = if enable { ConnectionStatus::Enabled } else { ConnectionStatus::Draft };
            let new = NewConnection { kind, name, profile, status };
            let author = session.provision.operator();
            let created = session.provision.create_connection(&author, instance.id, new);
            created_is(session, &created.await.map_err(plain)?)
        }
        ConnectionsCommand::List { at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let connections = session.provision.connections(instance.id).await;
            let connections = connections.map_err(plain)?;
            session
                .out
                .show(&json!({ "connections": connections }), |text| table(text, &connections))?;
            Ok(())
        }
        ConnectionsCommand::Scope(wanted) => super::runs::scope(session, &wanted).await,
        ConnectionsCommand::Show(wanted) => show(session, &wanted).await,
        ConnectionsCommand::Enable(wanted) => {
            set_status(session, &wanted, ConnectionStatus::Enabled).await
        }
        ConnectionsCommand::Pause(wanted) => {
            set_status(session, &wanted, ConnectionStatus::Paused).await
        }
        ConnectionsCommand::Set(args) => policies::set(session, args).await,
        ConnectionsCommand::PickUpReport(args) => policies::report(session, args).await,
        ConnectionsCommand::GroupsPreview(args) => policies::preview(session, args).await,
    }
}

/// A table of connections.
pub(super) fn table(text: &mut Text, connections: &[Connection]) -> io::Result<()> {
    let rows = connections.iter().map(|connection| {
        vec![
            connection.name.clone(),
            connection.kind.to_string(),
            connection.status.to_string(),
            connection.profile.to_string(),
            connection.directory_key.clone(),
            connection.id.to_string(),
        ]
    });
    let header = ["NAME", "KIND", "STATUS", "PROFILE", "DIRECTORY KEY", "ID"];
    text.table(&header, rows)
}

fn created_is(session: &mut Session<'_>, connection: &Connection) -> Result<()> {
    let program = &session.program;
    let name = quoted(&connection.name);
    session.out.show(&json!({ "connection": connection }), |text| {
        text.line(format!(
            "Connection {} was created ({}); its directory key is {}.",
            connection.name, connection.id, connection.directory_key
        ))?;
        text.line(format!("Next: {program} keys issue {name}"))?;
        if connection.status == ConnectionStatus::Draft {
            text.line(format!(
                "It is a draft: it can be tested, and takes changes after `{program} connections \
                 enable {name}`."
            ))?;
        }
        Ok(())
    })?;
    Ok(())
}

async fn show(session: &mut Session<'_>, wanted: &ConnectionArg) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let connection = session.connection(instance.id, &wanted.connection).await?;
    let now = session.provision.clock.now();
    let mut keys = session.keys(instance.id).await?;
    keys.retain(|key| key.connection == Some(connection.id));
    let live = keys.iter().filter(|key| is_live(key, now)).count();
    let base_url = super::base_url(&session.settings, session.settings.listen);
    let json = json!({ "connection": connection, "base_url": base_url, "keys": keys });
    let waiting = policies::waiting(session, &connection).await?;
    session.out.show(&json, |text| {
        let settings = &connection.settings;
        text.fields(&[
            ("name", connection.name.clone()),
            ("instance", super::scope::full_name(&instance)),
            ("kind", connection.kind.to_string()),
            ("status", connection.status.to_string()),
            ("profile", connection.profile.to_string()),
            ("directory key", connection.directory_key.clone()),
            ("base URL", base_url.clone()),
            ("live keys", live.to_string()),
            ("picks up", settings.pick_up.to_string()),
            ("waiting approvals", waiting.to_string()),
            ("groups entering", policies::entering(settings)),
            ("required", settings.required.join(", ")),
            ("incomplete", settings.incomplete.to_string()),
            ("created again", settings.recreate.to_string()),
            ("delete after", settings.delete_after_days.to_string()),
            ("guard", super::guard::limits(&settings.guard)),
            ("id", connection.id.to_string()),
            ("created", connection.created_at.to_string()),
        ])
    })?;
    Ok(())
}

async fn set_status(
    session: &mut Session<'_>,
    wanted: &ConnectionArg,
    status: ConnectionStatus,
) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let mut connection = session.connection(instance.id, &wanted.connection).await?;
    let before = connection.status;
    if before != status {
        let author = session.provision.operator();
        let set = session.provision.set_connection_status(&author, &connection, status);
        set.await.map_err(plain)?;
    }
    connection.status = status;
    session.out.show(&json!({ "connection": connection }), |text| {
        let name = &connection.name;
        if before == status {
            text.line(format!("Connection {name} was {status} already."))
        } else {
            text.line(format!("Connection {name} is {status}; it was {before}."))
        }
    })?;
    Ok(())
}
