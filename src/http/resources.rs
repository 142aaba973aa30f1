//! `/Users` and `/Groups` (RFC 7644 §3): the same handlers for every kind of resource.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};

use super::answer::{self, Answer};
use super::extract::{Authorized, Body, Id, IfMatch, IfNoneMatch, Parameters};
use super::{App, sheet};
use crate::provision::{Resource, Sought};
use crate::scim::message;
use crate::scim::schemas::Schemas;

/// The routes of one kind of resource, below its endpoint.
pub(super) fn routes<R: Resource>() -> Router<App> {
    let endpoint = R::kind(Schemas::standard()).endpoint;
    let one = get(read::<R>).put(replace::<R>).patch(patch::<R>).delete(delete::<R>);
    Router::new()
        .route(endpoint, get(list::<R>).post(create::<R>))
        .route(&format!("{endpoint}/.search"), post(search::<R>))
        .route(&format!("{endpoint}/{{id}}"), one)
}

async fn list<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
) -> Answer {
    Ok(sheet::page(&app, app.provision.query(&caller, &[R::SOUGHT], &parameters.query()?).await?))
}

/// A query whose parameters are in the body, where no log sees them (RFC 7644 §3.4.3).
async fn search<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Body(body): Body,
) -> Answer {
    let query = Parameters::read_search(body)?.query()?;
    Ok(sheet::page(&app, app.provision.query(&caller, &[R::SOUGHT], &query).await?))
}

/// A query for all types of resources (RFC 7644 §3.4.2.1).
pub(super) async fn list_all(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
) -> Answer {
    Ok(sheet::page(&app, app.provision.query(&caller, Sought::ALL, &parameters.query()?).await?))
}

/// The same with its parameters in the body (RFC 7644 §3.4.3).
pub(super) async fn search_all(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Body(body): Body,
) -> Answer {
    let query = Parameters::read_search(body)?.query()?;
    Ok(sheet::page(&app, app.provision.query(&caller, Sought::ALL, &query).await?))
}

async fn read<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    IfNoneMatch(known): IfNoneMatch,
    parameters: Parameters,
) -> Answer {
    let projection = parameters.projection(R::kind(&caller.schemas));
    let found = app.provision.read::<R>(&caller, &id, &projection).await?;
    Ok(answer::read(&app, found, known.as_deref()))
}

async fn create<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let kind = R::kind(&caller.schemas);
    let sent = R::read_sent(&caller.schemas, &caller.habits, body)?;
    let created = app.provision.create::<R>(&caller, sent, &parameters.projection(kind)).await?;
    let endpoint = format!("{}{}", caller.base, kind.endpoint);
    Ok(answer::created(&app, created, &endpoint))
}

async fn replace<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let sent = R::read_sent(&caller.schemas, &caller.habits, body)?;
    let projection = parameters.projection(R::kind(&caller.schemas));
    let replaced = app.provision.replace::<R>(&caller, &id, &expected, sent, &projection).await?;
    Ok(answer::resource(&app, StatusCode::OK, replaced))
}

async fn patch<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let operations = message::read_patch(&caller.habits, body)?;
    let projection = parameters.projection(R::kind(&caller.schemas));
    let patched =
        app.provision.patch::<R>(&caller, &id, &expected, operations, &projection).await?;
    Ok(answer::resource(&app, StatusCode::OK, patched))
}

async fn delete<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    IfMatch(expected): IfMatch,
) -> Answer {
    app.provision.delete::<R>(&caller, &id, &expected).await?;
    Ok(answer::nothing())
}
