//! Groups of an instance.

use anyhow::{Context as _, Result};
use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::accounts::{ALL, more, owner};
use super::args::{GroupsCommand, PageArgs};
use super::output::{or_dash, with};
use super::policies::entering;
use super::policy_args::MembersArgs;
use super::session::{Session, plain};
use crate::directory::{AccountId, Connection, Group, InstanceId};
use crate::provision::{Groups, Resource as _};
use crate::scim::extension::hide;
use crate::scim::habits::Habits;
use crate::store::query::Narrow;

pub(super) async fn run(session: &mut Session<'_>, command: GroupsCommand) -> Result<()> {
    match command {
        GroupsCommand::List { all, page, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let narrow = if all { ALL } else { Narrow::Entered };
            list(session, instance.id, &narrow, &page).await
        }
        GroupsCommand::Members(args) => members(session, &args).await,
        GroupsCommand::Show { group, members, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            show(session, instance.id, &group, members).await
        }
        GroupsCommand::Create { display_name, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let body = json!({ "schemas": [schema_urns::GROUP], "displayName": display_name });
            let schemas = session.provision.current_schemas(instance.id).await.map_err(plain)?;
            let sent = Groups::read_sent(&schemas, &Habits::LENIENT, body);
            let document = sent.map_err(|error| plain(error.into()))?.document;
            let author = session.provision.operator();
            let created = session.provision.create_local_group(instance.id, &author, document);
            let group = created.await.map_err(plain)?;
            session.out.show(&json!({ "group": group_json(&group, &[]) }), |text| {
                let name = &group.display_name;
                text.line(format!("Local group {name} was created ({}).", group.id))
            })?;
            Ok(())
        }
    }
}

async fn list(
    session: &mut Session<'_>,
    instance: InstanceId,
    narrow: &Narrow,
    page: &PageArgs,
) -> Result<()> {
    let provision = &session.provision;
    let groups = provision.groups(instance, narrow, page.after, page.limit).await;
    let groups = groups.map_err(plain)?;
    let connections = provision.connections(instance).await.map_err(plain)?;
    let last = groups.last().map(|group| group.id.0);
    let behind = provision.groups(instance, narrow, last, 1).await.map_err(plain)?;
    let next = last.filter(|_| !behind.is_empty());
    let json: Vec<_> = groups.iter().map(|group| group_json(group, &connections)).collect();
    session.out.show(&json!({ "groups": json, "next": next }), |text| {
        let rows = groups.iter().map(|group| {
            vec![
                group.display_name.clone(),
                owner(group.connection, &connections),
                directory(group, &connections),
                group.modified_at.to_string(),
                group.id.to_string(),
            ]
        });
        text.table(&["NAME", "CONNECTION", "IN DIRECTORY", "MODIFIED", "ID"], rows)?;
        next.map_or(Ok(()), |next| text.line(more(next)))
    })?;
    Ok(())
}

async fn show(
    session: &mut Session<'_>,
    instance: InstanceId,
    wanted: &str,
    members_max: i64,
) -> Result<()> {
    let program = &session.program;
    let provision = &session.provision;
    // One more than is shown tells whether there are more.
    let found = provision.group(instance, wanted, members_max + 1).await.map_err(plain)?;
    let (mut group, mut members) = found.with_context(|| {
        format!("there is no group \"{wanted}\"; `{program} groups list` lists them")
    })?;
    let schemas = provision.current_schemas(instance).await.map_err(plain)?;
    hide(&schemas.group, &mut group.document);
    let shown = usize::try_from(members_max).unwrap_or(usize::MAX);
    let more = members.len() > shown;
    members.truncate(shown);
    let connections = provision.connections(instance).await.map_err(plain)?;
    let circle = provision.circle_of(instance, &group).await.map_err(plain)?;
    let belong = members.iter().map(
        |member| json!({ "id": member.id, "kind": member.kind, "display_name": member.display }),
    );
    let json = with(
        group_json(&group, &connections),
        [
            ("members", belong.collect()),
            ("more_members", more.into()),
            ("circle", json!(circle)),
            ("document", group.document.clone().into()),
        ],
    );
    session.out.show(&json!({ "group": json }), |text| {
        text.fields(&[
            ("name", group.display_name.clone()),
            ("connection", owner(group.connection, &connections)),
            ("in directory", directory(&group, &connections)),
            ("external id", or_dash(group.external_id.as_ref())),
            ("id", group.id.to_string()),
            ("version", group.version.to_string()),
            ("created", group.created_at.to_string()),
            ("modified", group.modified_at.to_string()),
        ])?;
        if let Some(circle) = &circle {
            text.line(format!("It is nested in itself: {}.", circle.join(" > ")))?;
        }
        text.line("")?;
        let rows = members.iter().map(|member| {
            vec![member.display.clone(), member.kind.to_string(), member.id.to_string()]
        });
        text.table(&["MEMBER", "KIND", "ID"], rows)?;
        if more {
            text.line(format!("There are more than {shown}: see more with --members COUNT"))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Whether a group is part of the directory, and why not.
fn directory(group: &Group, connections: &[Connection]) -> String {
    if group.entered {
        return "yes".to_owned();
    }
    let owns = |connection: &&Connection| Some(connection.id) == group.connection;
    let rule = connections.iter().find(owns).map(|connection| entering(&connection.settings));
    format!("no (groups entering: {})", or_dash(rule))
}

async fn members(session: &mut Session<'_>, args: &MembersArgs) -> Result<()> {
    let instance = session.instance(args.at.instance.as_deref()).await?;
    let (program, wanted) = (&session.program, &args.group);
    let provision = &session.provision;
    let found = provision.group(instance.id, wanted, 0).await.map_err(plain)?;
    let (group, _) = found.with_context(|| {
        format!("there is no group \"{wanted}\"; `{program} groups list` lists them")
    })?;
    let PageArgs { limit, after } = args.page;
    if !args.effective {
        let listed = provision.direct_members(instance.id, &group, after, limit);
        let (listed, next) = listed.await.map_err(plain)?;
        let json = listed.iter().map(|member| {
            json!({ "id": member.id, "kind": member.kind, "display_name": member.display })
        });
        let json = json!({ "members": json.collect::<Vec<_>>(), "next": next });
        session.out.show(&json, |text| {
            let rows = listed.iter().map(|member| {
                vec![member.display.clone(), member.kind.to_string(), member.id.to_string()]
            });
            text.table(&["MEMBER", "KIND", "ID"], rows)?;
            next.map_or(Ok(()), |next| text.line(more(next)))
        })?;
        return Ok(());
    }
    let effective = provision.effective_members(instance.id, &group, after.map(AccountId), limit);
    let effective = effective.await.map_err(plain)?;
    session.out.show(&json!(effective), |text| {
        text.line(format!("{} people belong to {}.", effective.total, group.display_name))?;
        let rows = effective.members.iter().map(|member| {
            vec![
                member.user_name.clone(),
                or_dash(member.display_name.as_ref()),
                member.path.join(" > "),
                member.id.to_string(),
            ]
        });
        text.table(&["USER NAME", "DISPLAY NAME", "THROUGH", "ID"], rows)?;
        effective.next.map_or(Ok(()), |next| text.line(more(next.0)))
    })?;
    Ok(())
}

fn group_json(group: &Group, connections: &[Connection]) -> Value {
    json!({
        "id": group.id,
        "display_name": group.display_name,
        "external_id": group.external_id,
        "in_directory": group.entered,
        "connection": group.connection.map(|id| owner(Some(id), connections)),
        "connection_id": group.connection,
        "version": group.version,
        "created_at": group.created_at,
        "modified_at": group.modified_at,
    })
}
