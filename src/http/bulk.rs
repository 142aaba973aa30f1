//! `/Bulk` (RFC 7644 §3.7): each operation does what a request of its own would do, in a
//! transaction of its own. All of them carry the id of the one request in the audit trail.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::answer::{self, Answer, Failure};
use super::extract::{Authorized, BulkBody};
use super::request::TIMEOUT_RETRY_AFTER_S;
use crate::directory::Losses;
use crate::provision::{Caller, Groups, Resource, Shown, Users};
use crate::scim::bulk::{Done, Plan, Request, Step, Work};
use crate::scim::project::Projection;
use crate::scim::{ErrorKind, ScimError, message};

pub(super) async fn bulk(
    State(app): State<App>,
    Authorized(mut caller): Authorized,
    BulkBody { body, until }: BulkBody,
) -> Answer {
    let request = Request::read(&caller.schemas, body)?;
    // The guard judges the request as a whole, not by how much of it has come through.
    let mut ahead = request.said();
    let mut plan = Plan::new(request);
    while let Some(Step { index, endpoint, work }) = plan.next_step() {
        if Instant::now() > until {
            plan.stop(&out_of_time());
            break;
        }
        caller.ahead =
            Losses { suspensions: ahead.disables, deletions: ahead.deletes, removals: 0 };
        let said = work.said();
        ahead.disables -= said.disables;
        ahead.deletes -= said.deletes;
        let outcome = if endpoint == Users::kind(&caller.schemas).endpoint {
            perform::<Users>(&app, &caller, work).await
        } else if endpoint == Groups::kind(&caller.schemas).endpoint {
            perform::<Groups>(&app, &caller, work).await
        } else {
            let detail = format!("{endpoint} takes no bulk operations");
            Err(ScimError::new(ErrorKind::NotFound, detail).into())
        };
        plan.settle(index, outcome.map_err(|failure| failure.told(caller.request_id.as_deref())));
    }
    Ok(answer::json(StatusCode::OK, &plan.response(&caller.base)))
}

/// What the operations are told for which there was no time: a client that heard nothing of the
/// others would send all of them again.
fn out_of_time() -> ScimError {
    let kind = ErrorKind::Unavailable { retry_after_s: TIMEOUT_RETRY_AFTER_S };
    ScimError::new(kind, "the bulk request took too long before it came to this: send it again")
}

/// Does one piece of work.
async fn perform<R: Resource>(app: &App, caller: &Caller, work: Work) -> Result<Done, Failure> {
    let (provision, habits) = (&app.provision, &caller.habits);
    let read = |body| R::read_sent(&caller.schemas, habits, body);
    // The resource is not shown, and a group can have many members; no entity tag depends on them.
    let unshown = Projection::read(R::kind(&caller.schemas), None, Some("members"));
    let shown = match work {
        Work::Create(body) => provision.create::<R>(caller, read(body)?, &unshown).await?,
        Work::Replace(id, expected, body) => {
            provision.replace::<R>(caller, &id, &expected, read(body)?, &unshown).await?
        }
        Work::Patch(id, expected, body) => {
            let operations = message::read_patch(habits, body)?;
            provision.patch::<R>(caller, &id, &expected, operations, &unshown).await?
        }
        Work::Delete(id, expected) => {
            provision.delete::<R>(caller, &id, &expected).await?;
            return Ok(Done { id, tag: None });
        }
    };
    let Shown { id, tag, .. } = shown;
    Ok(Done { id: id.to_string(), tag: Some(tag) })
}
