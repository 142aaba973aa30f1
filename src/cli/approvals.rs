//! What connections may pick up, where they have to ask.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::accounts::{more, owner};
use super::args::PageArgs;
use super::output::or_dash;
use super::policy_args::{ApprovalsCommand, WhichArgs};
use super::session::{Session, plain, quoted};
use crate::directory::{Approval, ApprovalId, ApprovalState, Connection, InstanceId, MemberKind};
use crate::provision::Decision;
use crate::scim::extension::hide;
use crate::store::claims::Wanted;

/// The approvals that are decided about at a time.
const PAGE: i64 = 500;

pub(super) async fn run(session: &mut Session<'_>, command: ApprovalsCommand) -> Result<()> {
    match command {
        ApprovalsCommand::List { connection, state, page, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let connection = match connection {
                Some(name) => Some(session.connection(instance.id, &name).await?.id),
                None => None,
            };
            let wanted = Wanted { connection, state: Some(state), ..Wanted::default() };
            list(session, instance.id, &wanted, &page).await
        }
        ApprovalsCommand::Show { approval, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            show(session, instance.id, approval).await
        }
        ApprovalsCommand::Accept(which) => decide(session, &which, Decision::Accept).await,
        ApprovalsCommand::Refuse(which) => decide(session, &which, Decision::Refuse).await,
        ApprovalsCommand::Reopen(which) => decide(session, &which, Decision::Reopen).await,
    }
}

async fn list(
    session: &mut Session<'_>,
    instance: InstanceId,
    wanted: &Wanted,
    page: &PageArgs,
) -> Result<()> {
    let provision = &session.provision;
    let after = page.after.map(ApprovalId);
    let listed = provision.approvals(instance, wanted, after, page.limit).await.map_err(plain)?;
    let total = provision.approval_count(instance, wanted).await.map_err(plain)?;
    let connections = provision.connections(instance).await.map_err(plain)?;
    let last = listed.last().map(|asked| asked.id);
    let behind = provision.approvals(instance, wanted, last, 1).await.map_err(plain)?;
    let next = last.filter(|_| !behind.is_empty());
    let json: Vec<Value> = listed.iter().map(|asked| approval_json(asked, &connections)).collect();
    session.out.show(&json!({ "approvals": json, "total": total, "next": next }), |text| {
        let rows = listed.iter().map(|asked| {
            vec![
                asked.target_name.clone(),
                asked.kind.to_string(),
                owner(Some(asked.connection), &connections),
                asked.asked_at.to_string(),
                asked.id.to_string(),
            ]
        });
        text.line(format!("{total} altogether"))?;
        text.table(&["NAME", "KIND", "CONNECTION", "ASKED", "ID"], rows)?;
        next.map_or(Ok(()), |next| text.line(more(next.0)))
    })?;
    Ok(())
}

async fn show(session: &mut Session<'_>, instance: InstanceId, id: ApprovalId) -> Result<()> {
    let provision = &session.provision;
    let mut asked = provision.approval(instance, id).await.map_err(plain)?;
    let schemas = provision.current_schemas(instance).await.map_err(plain)?;
    let kind = match asked.kind {
        MemberKind::Account => &schemas.user,
        MemberKind::Group => &schemas.group,
    };
    hide(kind, &mut asked.document);
    let connections = provision.connections(instance).await.map_err(plain)?;
    let mut json = approval_json(&asked, &connections);
    let members: Option<Value> =
        asked.members.as_deref().and_then(|members| serde_json::from_str(members).ok());
    if let Value::Object(parts) = &mut json {
        parts.insert("document".to_owned(), asked.document.clone().into());
        parts.insert("members".to_owned(), members.clone().unwrap_or_default());
    }
    session.out.show(&json!({ "approval": json }), |text| {
        text.fields(&[
            ("name", asked.target_name.clone()),
            ("kind", asked.kind.to_string()),
            ("connection", owner(Some(asked.connection), &connections)),
            ("state", asked.state.to_string()),
            ("asked", asked.asked_at.to_string()),
            ("changed", asked.modified_at.to_string()),
            ("decided", or_dash(asked.decided_at)),
            ("id", asked.id.to_string()),
            ("account or group", asked.target.to_string()),
        ])?;
        text.line("")?;
        text.line("What the client has said:")?;
        text.json(&Value::Object(asked.document.clone()))?;
        if let Some(members) = &members {
            text.line("Members:")?;
            text.json(members)?;
        }
        Ok(())
    })?;
    Ok(())
}

async fn decide(session: &mut Session<'_>, which: &WhichArgs, decision: Decision) -> Result<()> {
    let instance = session.instance(which.at.instance.as_deref()).await?.id;
    if let Some(name) = &which.all {
        let connection = session.connection(instance, name).await?;
        return decide_all(session, &connection, which.yes, decision).await;
    }
    let author = session.provision.operator();
    let (mut decided, mut refused) = (Vec::new(), Vec::new());
    for id in &which.approvals {
        match session.provision.decide(&author, instance, *id, decision).await {
            Ok(asked) => decided.push(asked),
            Err(error) => refused.push(plain(error).to_string()),
        }
    }
    report(session, instance, &decided, &refused).await
}

/// Decides about all that a connection has asked for, or says how many there are.
async fn decide_all(
    session: &mut Session<'_>,
    connection: &Connection,
    yes: bool,
    decision: Decision,
) -> Result<()> {
    let instance = connection.instance;
    let (state, verb) = match decision {
        Decision::Accept => (ApprovalState::Waiting, "accept"),
        Decision::Refuse => (ApprovalState::Waiting, "refuse"),
        Decision::Reopen => (ApprovalState::Refused, "reopen"),
    };
    let wanted =
        Wanted { connection: Some(connection.id), state: Some(state), ..Wanted::default() };
    if !yes {
        let count = session.provision.approval_count(instance, &wanted).await.map_err(plain)?;
        let (program, name) = (&session.program, quoted(&connection.name));
        session.out.show(&json!({ "would_decide": count }), |text| {
            text.line(format!(
                "That would {verb} {count} approvals of {}: `{program} approvals {verb} --all {name} \
                 --yes` does it.",
                connection.name
            ))
        })?;
        return Ok(());
    }
    let author = session.provision.operator();
    let (mut after, mut decided, mut refused) = (None, Vec::new(), Vec::new());
    loop {
        let page = session.provision.approvals(instance, &wanted, after, PAGE).await;
        let page = page.map_err(plain)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for asked in page {
            match session.provision.decide(&author, instance, asked.id, decision).await {
                Ok(asked) => decided.push(asked),
                Err(error) => refused.push(plain(error).to_string()),
            }
        }
    }
    report(session, instance, &decided, &refused).await
}

async fn report(
    session: &mut Session<'_>,
    instance: InstanceId,
    decided: &[Approval],
    refused: &[String],
) -> Result<()> {
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let json: Vec<Value> = decided.iter().map(|asked| approval_json(asked, &connections)).collect();
    session.out.show(&json!({ "approvals": json, "failed": refused }), |text| {
        for asked in decided {
            let Approval { kind, target_name, state, .. } = asked;
            let connection = owner(Some(asked.connection), &connections);
            text.line(format!("The {kind} {target_name} is {state} for {connection}."))?;
        }
        Ok(())
    })?;
    if !refused.is_empty() {
        bail!("{}", refused.join("\n"));
    }
    Ok(())
}

fn approval_json(asked: &Approval, connections: &[Connection]) -> Value {
    json!({
        "id": asked.id,
        "connection": owner(Some(asked.connection), connections),
        "connection_id": asked.connection,
        "kind": asked.kind,
        "target": asked.target,
        "name": asked.target_name,
        "wanted_name": asked.name(),
        "state": asked.state,
        "asked_at": asked.asked_at,
        "modified_at": asked.modified_at,
        "decided_at": asked.decided_at,
    })
}
