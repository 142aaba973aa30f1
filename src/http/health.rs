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

/// The process can serve: its database answers, and nobody has asked it to stop.
pub(super) async fn ready(State(app): State<App>) -> Answer {
    if app.leaving.is_set() {
        let stopping = json!({ "status": "stopping" });
        return Ok(answer::json(StatusCode::SERVICE_UNAVAILABLE, &stopping));
    }
    app.provision.store.read().await?.ping().await?;
    Ok(answer::json(StatusCode::OK, &json!({ "status": "ready" })))
}
