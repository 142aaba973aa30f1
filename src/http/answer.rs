//! Answers: SCIM JSON, whatever happened.

use std::any::Any;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{App, sheet};
use crate::keys::KeyError;
use crate::provision::{self, Shown};
use crate::scim::{ErrorKind, ScimError, version};
use crate::store::StoreError;

/// The media type of every answer (RFC 7644 §8.1).
pub(super) const SCIM_JSON: HeaderValue = HeaderValue::from_static("application/scim+json");

/// How long a client waits when the database is away.
const UNAVAILABLE_RETRY_AFTER_S: u32 = 15;

/// How long a client waits when the database could not order its request among others.
const CONTENTION_RETRY_AFTER_S: u32 = 1;

/// A request that failed, on its way to the client.
#[derive(Debug)]
pub(super) struct Failure {
    error: ScimError,
    challenge: Option<&'static str>,
}

/// What handlers return.
pub(super) type Answer = Result<Response, Failure>;

/// What the log says of a failed request: never the detail, which may hold personal data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed(pub(super) ErrorKind);

/// A JSON body with a status.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, SCIM_JSON);
    response
}

/// A resource with its entity tag (RFC 7644 §3.14); 204 if it is not to be shown.
pub(super) fn resource(app: &App, status: StatusCode, shown: Shown) -> Response {
    let mut response = match shown.sheet {
        Some(sheet) => sheet::one(app, status, sheet),
        None => nothing(),
    };
    insert(&mut response, header::ETAG, &shown.tag);
    response
}

/// A resource, unless the reader has it already: then 304.
pub(super) fn read(app: &App, shown: Shown, known: Option<&str>) -> Response {
    if !known.is_some_and(|tags| version::names(tags, &shown.tag)) {
        return resource(app, StatusCode::OK, shown);
    }
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    insert(&mut response, header::ETAG, &shown.tag);
    response
}

/// A created resource, with its address (RFC 7644 §3.3).
pub(super) fn created(app: &App, shown: Shown, endpoint: &str) -> Response {
    let location = format!("{endpoint}/{}", shown.id);
    let mut response = resource(app, StatusCode::CREATED, shown);
    insert(&mut response, header::LOCATION, &location);
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An answer without a body.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 404 for a path that is no endpoint.
pub(super) async fn no_such_endpoint() -> Failure {
    ScimError::new(ErrorKind::NotFound, "there is no such endpoint: the SCIM base is /scim/v2")
        .into()
}

/// 405; the router adds `Allow`.
pub(super) async fn no_such_method(method: Method) -> Failure {
    let detail = format!("the endpoint does not take {method}: see the Allow header");
    ScimError::new(ErrorKind::MethodNotAllowed, detail).into()
}

/// 500 for a bug. The panic itself is in the log, by way of the panic hook.
pub(super) fn panicked(_cause: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Failure::from(internal()).into_response()
}

/// The one description of a server's fault; the request id is added to it on the way out.
pub(super) fn internal() -> ScimError {
    ScimError::new(ErrorKind::Internal, "the server failed; nothing was acknowledged")
}

/// Tells the id of the request in a detail: it is all that Okta and Entra show.
pub(super) fn add_request_id(detail: &mut String, id: &str) {
    detail.push_str(" (request ");
    detail.push_str(id);
    detail.push(')');
}

impl From<ScimError> for Failure {
    fn from(error: ScimError) -> Self {
        Self { error, challenge: None }
    }
}

impl From<provision::Error> for Failure {
    fn from(error: provision::Error) -> Self {
        match error {
            provision::Error::Refused(error) | provision::Error::NoSeat(error) => error.into(),
            provision::Error::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let unavailable = |retry_after_s, detail| {
            ScimError::new(ErrorKind::Unavailable { retry_after_s }, detail).into()
        };
        match &error {
            StoreError::Conflict => {
                ScimError::new(ErrorKind::Uniqueness, "another request took the same name").into()
            }
            StoreError::Contention(_) | StoreError::Stale | StoreError::SeatsBusy => unavailable(
                CONTENTION_RETRY_AFTER_S,
                "too many requests changed this at once; nothing was kept",
            ),
            StoreError::Unavailable(_) => {
                tracing::error!(error = chain(&error), "the database is away");
                unavailable(
                    UNAVAILABLE_RETRY_AFTER_S,
                    "the database cannot be reached or is full; nothing was acknowledged: send it again later",
                )
            }
            StoreError::Corrupt { .. } | StoreError::Migration(_) | StoreError::Database(_) => {
                tracing::error!(error = chain(&error), "the store failed");
                internal().into()
            }
        }
    }
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let detail = match error {
            KeyError::Invalid => {
                "the API key is not valid: issue one for the connection and paste it whole"
            }
            KeyError::Expired => "the API key has expired: issue a new one for the connection",
            KeyError::Revoked => "the API key was revoked: issue a new one for the connection",
            KeyError::Store(error) => return error.into(),
        };
        Self {
            error: ScimError::new(ErrorKind::Unauthorized, detail),
            challenge: Some(r#"Bearer realm="scimd", error="invalid_token""#),
        }
    }
}

impl Failure {
    /// What an operation of a bulk request is told: a server's fault comes with the id of the request.
    pub(super) fn told(self, request_id: Option<&str>) -> ScimError {
        let mut error = self.error;
        if let (500.., Some(id)) = (error.kind.status(), request_id) {
            add_request_id(&mut error.detail, id);
        }
        error
    }

    /// 401 for a request without a key.
    pub(super) fn no_key() -> Self {
        let detail = "the request has no API key: send it as \"Authorization: Bearer <key>\"";
        Self {
            error: ScimError::new(ErrorKind::Unauthorized, detail),
            challenge: Some(r#"Bearer realm="scimd""#),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let kind = self.error.kind;
        let status =
            StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &self.error.body());
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = kind.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Failed(kind));
        response
    }
}
