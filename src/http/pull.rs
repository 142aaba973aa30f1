//! `/pull/v1`: the system that makes a file delivers it here and follows what becomes of it.
//!
//! A key opens the connection that it belongs to, which must be one that is pulled, and nothing else:
//! other connections' runs are not there. What a source must not decide by itself, such as to let a held
//! run go on, has no place here.

mod document;
mod report;
mod run;

use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest as _, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::App;
use super::answer::{self, Answer, Failure};
use super::extract::{Authorized, Body, Id};
use crate::directory::source::Place;
use crate::directory::{ConnectionKind, RunId};
use crate::provision::Caller;
use crate::provision::pull::{PULLS_SHOWN_MAX, Worker};
use crate::scim::discovery::SCIM_PATH;
use crate::scim::{ErrorKind, ScimError};
use crate::store::runs::Run;
use crate::store::sources;

/// The path of all this below the public address of the server.
pub(super) const PULL_PATH: &str = "/pull/v1";

/// How long the upload of a document may take in all: the largest one at 150 kB/s.
const UPLOAD_TIME_MAX: Duration = Duration::from_mins(30);

/// The runs that a list shows when the client names no `limit`.
const RUNS_SHOWN_DEFAULT: i64 = 20;

/// The routes, below [`PULL_PATH`].
pub(super) fn routes() -> Router<App> {
    let document = put(document::put).layer(Extension(document::Uploads::default()));
    Router::new()
        .route("/document", document)
        .route("/runs", get(list).post(begin))
        .route("/runs/{id}", get(read))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/report", get(report))
}

/// How long requests to a route may take, where that is not what it is everywhere.
pub(super) fn time_max(route: &str) -> Option<Duration> {
    (route.strip_prefix(PULL_PATH) == Some("/document")).then_some(UPLOAD_TIME_MAX)
}

/// A connection that is pulled, by one of its keys.
struct Pulled(Caller);

impl FromRequestParts<App> for Pulled {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Authorized(caller) = Authorized::from_request_parts(parts, app).await?;
        if caller.kind == ConnectionKind::Csv {
            return Ok(Self(caller));
        }
        let detail = format!(
            "the connection \"{}\" is pushed ({}): its client writes to {SCIM_PATH}; {PULL_PATH} takes \
             the keys of connections of kind csv",
            caller.connection_name, caller.kind
        );
        Err(ScimError::new(ErrorKind::Forbidden, detail).into())
    }
}

async fn begin(State(app): State<App>, Pulled(caller): Pulled, request: Request) -> Answer {
    let dry = if request.body().is_end_stream() {
        false
    } else {
        let Body(asked) = Body::from_request(request, &app).await?;
        wants_dry(asked)?
    };
    place(&app, &caller).await?;
    let provision = &app.provision;
    let author = caller.author(provision.clock.now(), provision.ids);
    let (instance, connection) = (caller.instance, caller.connection);
    let begun = provision.begin_pull(&author, instance, connection, dry, Worker::Anybody).await?;
    let mut response =
        answer::json(StatusCode::ACCEPTED, &run::shown(&begun, provision.clock.now()));
    let base = caller.base.strip_suffix(SCIM_PATH).unwrap_or_default();
    let location = format!("{base}{PULL_PATH}/runs/{}", begun.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// What a run is asked to be. A word that is not known is refused: a rehearsal that is misspelled must
/// not become a run.
fn wants_dry(asked: Value) -> Result<bool, ScimError> {
    let Value::Object(members) = asked else {
        return Err(ScimError::invalid_syntax("the body must be a JSON object, or be left out"));
    };
    let mut dry = false;
    for (name, value) in members {
        dry = match (name.as_str(), value) {
            ("dry", Value::Bool(dry)) => dry,
            ("dry", _) => return Err(ScimError::invalid_value("dry", "must be true or false")),
            _ => {
                let detail = "the body can have the member \"dry\" and no other; nothing was begun";
                return Err(ScimError::invalid_syntax(detail));
            }
        };
    }
    Ok(dry)
}

/// Where the file of a connection is.
async fn place(app: &App, caller: &Caller) -> Result<Place, Failure> {
    let mut tx = app.provision.store.read().await?;
    let source = sources::find(&mut tx, caller.instance, caller.connection).await?;
    let source = source.ok_or_else(|| {
        let detail = format!(
            "the connection \"{}\" has no source yet: ask an administrator to set one",
            caller.connection_name
        );
        ScimError::new(ErrorKind::Conflict, detail)
    })?;
    Ok(source.settings.place)
}

async fn list(State(app): State<App>, Pulled(caller): Pulled, uri: Uri) -> Answer {
    let limit = number(&uri, "limit", 1..=PULLS_SHOWN_MAX)?.unwrap_or(RUNS_SHOWN_DEFAULT);
    let runs = app.provision.pulls(caller.instance, caller.connection, limit).await?;
    let now = app.provision.clock.now();
    let runs: Vec<Value> = runs.iter().map(|found| run::shown(found, now)).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "runs": runs })))
}

async fn read(State(app): State<App>, Pulled(caller): Pulled, Id(id): Id) -> Answer {
    let found = find(&app, &caller, &id).await?;
    Ok(answer::json(StatusCode::OK, &run::shown(&found, app.provision.clock.now())))
}

async fn cancel(State(app): State<App>, Pulled(caller): Pulled, Id(id): Id) -> Answer {
    let found = find(&app, &caller, &id).await?;
    if found.ended_at.is_some() {
        let detail = format!("the run {} has ended already: it is {}", found.id, found.state);
        return Err(ScimError::new(ErrorKind::Conflict, detail).into());
    }
    let author = caller.author(app.provision.clock.now(), app.provision.ids);
    let cancelled = app.provision.cancel_pull(&author, &found).await?;
    Ok(answer::json(StatusCode::OK, &run::shown(&cancelled, app.provision.clock.now())))
}

async fn report(State(app): State<App>, Pulled(caller): Pulled, Id(id): Id, uri: Uri) -> Answer {
    let from = number(&uri, "from", 0..=i64::MAX)?.unwrap_or(0);
    let format = parameter(&uri, "format");
    let found = find(&app, &caller, &id).await?;
    match format.as_deref() {
        None | Some("json") => report::page(&app.provision, &found, from).await,
        Some("csv") => Ok(report::file(app, found, from)),
        Some(_) => Err(ScimError::invalid_value("format", "must be json or csv").into()),
    }
}

/// A run of the connection itself; one of any other is a 404 like one that never was.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Run, Failure> {
    let found = match id.parse() {
        Ok(id) => app.provision.run(caller.instance, RunId(id)).await?,
        Err(_) => None,
    };
    let of_caller = |run: &Run| run.connection == Some(caller.connection) && run.pull.is_some();
    let own = found.filter(of_caller);
    own.ok_or_else(|| {
        let detail = format!("there is no such run: GET {PULL_PATH}/runs lists those that are");
        ScimError::new(ErrorKind::NotFound, detail).into()
    })
}

/// A parameter of a query; one that is empty counts as none.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut all = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    all.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
}

/// A whole number in a query; one that is out of range is refused.
pub(super) fn number(
    uri: &Uri,
    name: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, ScimError> {
    let Some(text) = parameter(uri, name) else { return Ok(None) };
    let number = text.trim().parse().ok().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        let (least, most) = range.into_inner();
        ScimError::invalid_value(name, &format!("must be a whole number from {least} to {most}"))
    })
}
