//! What is done to every request: an id, a time limit, a line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tracing::Instrument as _;

use super::answer::{Failed, Failure, add_request_id};
use super::requests::{Slot, Watched};
use super::{App, origin, pull};
use crate::scim::{ErrorKind, ScimError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The characters of a request id that a proxy may choose.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// How long a client waits after a request took too long.
pub(super) const TIMEOUT_RETRY_AFTER_S: u32 = 30;

/// What is known of a request before it is looked into.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// Its id, in the answer, the log and the audit trail.
    pub(super) id: String,
    /// The absolute address of `/scim/v2` as the client knows it.
    pub(super) base: String,
    /// Where it comes from.
    pub(super) from: Option<IpAddr>,
    /// When it arrived.
    pub(super) started: Option<Instant>,
    /// What the extractors find out about it.
    pub(super) slot: Arc<Slot>,
}

/// Watches over a request from its arrival to its answer.
pub(super) async fn watch(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = Context {
        id: request_id(&request).unwrap_or_else(|| app.provision.ids.fresh().to_string()),
        started: Some(started),
        ..origin::of(&app.settings, &request)
    };
    let id = context.id.clone();
    let slot = Arc::clone(&context.slot);
    let watched = Watched::of(&app, &request, &id, &context.slot);
    let method = request.method().clone();
    // The template, not the path: a client may put anything into an id.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    request.extensions_mut().insert(context);
    let span = tracing::info_span!("request", id);
    let limit = route.as_deref().and_then(pull::time_max);
    let limit =
        limit.map_or(app.settings.request_timeout, |max| max.max(app.settings.request_timeout));
    let handled = tokio::time::timeout(limit, next.run(request));
    let response = handled.instrument(span.clone()).await.unwrap_or_else(|_| timed_out());
    // What is left to do is for the client alone.
    let _place = slot.leave();
    let mut response = with_request_id(response, &id).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if app.leaving.is_set() {
        // Clients and proxies that keep a connection would come again by it, when nobody is there any more.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(watched) = watched {
        response = watched.answered(response).await;
    }
    let failed = response.extensions().get::<Failed>().and_then(|failed| failed.0.scim_type());
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::info!(%method, route = route.as_deref().unwrap_or("-"), status, scim_type = failed, ms);
    });
    response
}

/// The id that a proxy gave the request, if it is one.
fn request_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits.then(|| id.to_owned())
}

/// A server's fault tells its request id in the detail too.
async fn with_request_id(response: Response, id: &str) -> Response {
    let ours = response.extensions().get::<Failed>().is_some_and(|failed| failed.0.status() >= 500);
    if !ours {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(Value::String(detail)) = message.get_mut("detail") {
        add_request_id(detail, id);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(message.to_string()))
}

fn timed_out() -> Response {
    let kind = ErrorKind::Unavailable { retry_after_s: TIMEOUT_RETRY_AFTER_S };
    Failure::from(ScimError::new(kind, "the request took too long; nothing was acknowledged"))
        .into_response()
}
