//! `/Users` and `/Groups` (RFC 7644 §3): the same handlers for every kind of resource.

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::App;
use super::answer::{self, Answer};
use super::extract::{Authorized, Body, Id, Parameters};
use crate::provision::Resource;
use crate::scim::message;

/// The routes of one kind of resource, below its endpoint.
pub(super) fn routes<R: Resource>() -> Router<App> {
    let endpoint = R::kind().endpoint;
    let one = get(read::<R>).put(replace::<R>).patch(patch::<R>).delete(delete::<R>);
    Router::new()
        .route(endpoint, get(list::<R>).post(create::<R>))
        .route(&format!("{endpoint}/{{id}}"), one)
}

async fn list<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
) -> Answer {
    let query = parameters.query(R::kind())?;
    let page = app.provision.list::<R>(&caller, &query).await?;
    Ok(answer::page(page, query.start_index))
}

async fn read<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    parameters: Parameters,
) -> Answer {
    let projection = parameters.projection(R::kind());
    let found = app.provision.read::<R>(&caller, &id, &projection).await?;
    Ok(answer::resource(found))
}

async fn create<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let projection = parameters.projection(R::kind());
    let created = app.provision.create::<R>(&caller, R::read_sent(body)?, &projection).await?;
    let endpoint = format!("{}{}", caller.base, R::kind().endpoint);
    Ok(answer::created(created, &endpoint))
}

async fn replace<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let (sent, projection) = (R::read_sent(body)?, parameters.projection(R::kind()));
    let replaced = app.provision.replace::<R>(&caller, &id, sent, &projection).await?;
    Ok(answer::resource(replaced))
}

async fn patch<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    parameters: Parameters,
    Body(body): Body,
) -> Answer {
    let (operations, projection) = (message::read_patch(body)?, parameters.projection(R::kind()));
    let patched = app.provision.patch::<R>(&caller, &id, operations, &projection).await?;
    Ok(answer::patched(patched))
}

async fn delete<R: Resource>(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
) -> Answer {
    app.provision.delete::<R>(&caller, &id).await?;
    Ok(answer::nothing())
}
