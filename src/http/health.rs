//! Signs of life for whoever runs the server.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use super::App;
use super::answer::{self, Answer};

/// The process runs.
pub(super) async fn alive() -> Answer {
    Ok(answer::json(StatusCode::OK, &json!({ "status": "alive" })))
}

/// The process can serve: its database answers.
pub(super) async fn ready(State(app): State<App>) -> Answer {
    app.provision.store.read().await?.ping().await?;
    Ok(answer::json(StatusCode::OK, &json!({ "status": "ready" })))
}
