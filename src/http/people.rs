//! Questions about a person that the protocol has no words for: why, and who reports to whom.
//!
//! They stand below the User, begin with a point as `.search` does (RFC 7644 §3.4.3), and show a
//! connection what it can see anyway.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::answer::{self, Answer};
use super::extract::{Authorized, Id, Parameters};
use super::{App, sheet};

/// The routes, below the path of the protocol.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/Users/{id}/.why", get(why))
        .route("/Users/{id}/.reports", get(reports))
        .route("/Users/{id}/.managers", get(managers))
}

async fn why(State(app): State<App>, Authorized(caller): Authorized, Id(id): Id) -> Answer {
    let why = app.provision.why_of(&caller, &id).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::to_value(why).unwrap_or_default()))
}

async fn reports(
    State(app): State<App>,
    Authorized(caller): Authorized,
    Id(id): Id,
    parameters: Parameters,
) -> Answer {
    let cursor = parameters.cursor.as_deref();
    Ok(sheet::page(&app, app.provision.reports_of(&caller, &id, cursor).await?))
}

async fn managers(State(app): State<App>, Authorized(caller): Authorized, Id(id): Id) -> Answer {
    Ok(sheet::page(&app, app.provision.managers_of(&caller, &id).await?))
}
