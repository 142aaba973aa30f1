//! What administrators decide about the Local accounts and groups that connections want to pick up.

use serde_json::json;

use super::claims::event;
use super::resource::Resource;
use super::setup::ADMIN_PAGE_MAX;
use super::{Caller, Error, Groups, Provision, Result, Users, transact};
use crate::directory::{
    Approval, ApprovalId, ApprovalState, ConnectionId, InstanceId, MemberKind, PickUp,
};
use crate::scim::fold::fold;
use crate::scim::habits::Treatment;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author};
use crate::store::claims::{self, Wanted};
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::{Tx, connections, schemas};

/// What an administrator says to what a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The connection picks it up, with all that its client has said meanwhile.
    Accept,
    /// It stays Local, and the client is told so from now on.
    Refuse,
    /// The question is open again, about the account or group as it is called now.
    Reopen,
}

impl Provision {
    /// What connections have asked for, in the order of asking, from behind `after`.
    pub async fn approvals(
        &self,
        instance: InstanceId,
        wanted: &Wanted,
        after: Option<ApprovalId>,
        limit: i64,
    ) -> Result<Vec<Approval>> {
        let mut tx = self.store.read().await?;
        let limit = limit.clamp(0, ADMIN_PAGE_MAX);
        Ok(claims::page(&mut tx, instance, wanted, after, limit).await?)
    }

    /// One of them.
    pub async fn approval(&self, instance: InstanceId, id: ApprovalId) -> Result<Approval> {
        find(&mut self.store.read().await?, instance, id).await
    }

    /// How many there are.
    pub async fn approval_count(&self, instance: InstanceId, wanted: &Wanted) -> Result<i64> {
        Ok(claims::count(&mut self.store.read().await?, instance, wanted).await?)
    }

    /// Decides about one of them. A pick-up that is no longer possible is refused with the reason, and
    /// nothing changes.
    pub async fn decide(
        &self,
        author: &Author,
        instance: InstanceId,
        id: ApprovalId,
        decision: Decision,
    ) -> Result<Approval> {
        transact!(self.store, Some(instance), |tx| decide(&mut tx, author, instance, id, decision)
            .await)
    }
}

async fn decide(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    id: ApprovalId,
    decision: Decision,
) -> Result<Approval> {
    match find(tx, instance, id).await?.kind {
        MemberKind::Account => decide_on::<Users>(tx, author, instance, id, decision).await,
        MemberKind::Group => decide_on::<Groups>(tx, author, instance, id, decision).await,
    }
}

async fn find(tx: &mut Tx, instance: InstanceId, id: ApprovalId) -> Result<Approval> {
    let unknown = || {
        Error::from(ScimError::new(
            ErrorKind::NotFound,
            format!("there is no approval with the id \"{id}\""),
        ))
    };
    claims::find(tx, instance, id).await?.ok_or_else(unknown)
}

async fn decide_on<R: Resource>(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    id: ApprovalId,
    decision: Decision,
) -> Result<Approval> {
    // Who decides and who writes meet at the target; what was asked for is read behind its lock.
    let narrow = Narrow::Id(find(tx, instance, id).await?.target);
    let (viewer, purpose) = (Viewer::Administrator, Purpose::Change);
    let row: Option<R::Row> = query::one(tx, &R::TABLE, instance, viewer, &narrow, purpose).await?;
    let asked = find(tx, instance, id).await?;
    let is_due = match decision {
        Decision::Accept | Decision::Refuse => asked.state == ApprovalState::Waiting,
        Decision::Reopen => {
            matches!(asked.state, ApprovalState::Waiting | ApprovalState::Refused)
        }
    };
    if !is_due {
        return Err(conflict(&asked, &format!("it is {} already", asked.state)));
    }
    match decision {
        Decision::Accept => accept::<R>(tx, author, instance, row, asked).await,
        Decision::Refuse => {
            let decided = Approval {
                state: ApprovalState::Refused,
                decided_at: Some(author.at),
                ..asked.clone()
            };
            keep(tx, author, instance, asked, decided, "claim_refused").await
        }
        Decision::Reopen => {
            let row = local::<R>(tx, instance, row, &asked).await?;
            let reopened = Approval {
                state: ApprovalState::Waiting,
                target_name: R::name(&row).to_owned(),
                decided_at: None,
                ..asked.clone()
            };
            keep(tx, author, instance, asked, reopened, "claim_reopened").await
        }
    }
}

async fn keep(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    before: Approval,
    after: Approval,
    done: &str,
) -> Result<Approval> {
    if before == after {
        return Ok(after);
    }
    let after = Approval { version: before.version + 1, modified_at: author.at, ..after };
    claims::keep(tx, instance, &after).await?;
    record(tx, author, instance, &before, &after, done).await?;
    Ok(after)
}

async fn record(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    before: &Approval,
    after: &Approval,
    done: &str,
) -> Result<()> {
    let side = |asked: &Approval| {
        Some(json!({
            "state": asked.state,
            "name": asked.target_name,
            "approval": asked.id,
            "connection": asked.connection,
        }))
    };
    let event =
        audit::Event { before: side(before), after: side(after), ..event(author, after, done) };
    Ok(audit::append(tx, instance, &[event]).await?)
}

/// Picks up, on the road of every pick-up, with what the client has said.
async fn accept<R: Resource>(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    row: Option<R::Row>,
    asked: Approval,
) -> Result<Approval> {
    let row = local::<R>(tx, instance, row, &asked).await?;
    if fold(R::name(&row)) != fold(&asked.target_name) {
        let now = R::name(&row);
        return Err(conflict(
            &asked,
            &format!("it is called \"{now}\" now; reopen the approval to ask about that name"),
        ));
    }
    let caller = caller_of(tx, instance, asked.connection).await?;
    R::accept(tx, &caller, author, row, asked.clone()).await?;
    let accepted = find(tx, instance, asked.id).await?;
    record(tx, author, instance, &asked, &accepted, "claim_accepted").await?;
    Ok(accepted)
}

/// The row that is asked for, if it is still there to be picked up.
async fn local<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    row: Option<R::Row>,
    asked: &Approval,
) -> Result<R::Row> {
    let Some(row) = row else {
        return Err(conflict(asked, "it has been deleted since"));
    };
    if let Some(owner) = R::owner(&row) {
        let owner = connections::find(tx, instance, owner).await?;
        let name = owner.map_or_else(|| "another".to_owned(), |owner| owner.name);
        return Err(conflict(
            asked,
            &format!("it has been picked up by the connection \"{name}\" since"),
        ));
    }
    if R::is_protected(&row) {
        return Err(conflict(asked, "it is protected; unprotect it first"));
    }
    Ok(row)
}

fn conflict(asked: &Approval, reason: &str) -> Error {
    let Approval { kind, target_name, .. } = asked;
    let detail = format!("nothing was changed about the {kind} \"{target_name}\": {reason}");
    ScimError::new(ErrorKind::Conflict, detail).into()
}

/// The connection as the writer of what its client has said. The administrator has agreed to the pick-up;
/// a member that has gone meanwhile is left out.
pub(super) async fn caller_of(
    tx: &mut Tx,
    instance: InstanceId,
    id: ConnectionId,
) -> Result<Caller> {
    let connection = connections::find(tx, instance, id).await?;
    let connection = connection.ok_or_else(|| {
        ScimError::new(ErrorKind::NotFound, format!("there is no connection with the id \"{id}\""))
    })?;
    let mut caller = Caller::of(connection, schemas::of_instance(tx, instance).await?);
    caller.settings.pick_up = PickUp::ByUserName;
    // What an administrator agrees to is not judged.
    caller.settings.guard.on = false;
    caller.habits.unknown_members = Treatment::Take;
    Ok(caller)
}
