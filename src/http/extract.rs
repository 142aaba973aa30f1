//! Reading requests. What is wrong with one is said as a SCIM error, never in plain text.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use scim_v2::schema_urns;
use serde_json::Value;

use super::answer::Failure;
use super::directory::DIRECTORY_PATH;
use super::request::Context;
use super::{App, context};
use crate::directory::InstanceId;
use crate::keys::Holder;
use crate::provision::{Caller, Query, Window, habits};
use crate::scim::discovery::{PAGE_COUNT_DEFAULT, PAGE_COUNT_MAX};
use crate::scim::project::Projection;
use crate::scim::resource::require_schema;
use crate::scim::schema::ResourceType;
use crate::scim::version::Expected;
use crate::scim::{ErrorKind, ScimError};

/// The characters of an id in a path that are looked at; real ones have 36.
const ID_CHARS_MAX: usize = 256;

/// The characters of a client's name for itself that the audit trail keeps.
const CLIENT_CHARS_KEPT: usize = 200;

/// How long a request keeps its place in the work while its body is on its way: whoever sends slowly must not
/// keep others waiting.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// The part of a request's time in which the operations of a bulk request are begun.
const BULK_TIME_SHARE: f32 = 0.8;

/// Who sent a request with a good key: without a key there is no instance, and without an instance no
/// query.
pub(super) struct Authorized(pub(super) Caller);

impl FromRequestParts<App> for Authorized {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let context = context(&parts.extensions);
        let holder = holder(parts, app, &context).await?;
        let Holder::Connection(found) = holder.as_ref() else { return Err(reads_only()) };
        let Some(connection) = found.key.connection else { return Err(reads_only()) };
        let instance = found.key.instance;
        let version = found.schemas_version;
        let schemas = app.provision.schemas(instance, version).await?;
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let mut caller = Caller {
            instance,
            connection,
            connection_name: found.connection_name.clone(),
            directory_key: found.directory_key.clone(),
            kind: found.kind,
            status: found.status,
            profile: found.profile,
            settings: found.settings.clone(),
            habits: habits(found.profile),
            schemas,
            key: found.key.id,
            client: agent.map(shortened),
            request_id: Some(context.id.clone()),
            ahead: crate::directory::Losses::default(),
            base: context.base.clone(),
        };
        caller.recognise_agent(agent.unwrap_or_default());
        context.slot.note_caller(&caller);
        Ok(Self(caller))
    }
}

/// Whose key came with a request. The request has a place in the work from then on: before the database is
/// asked, and after noise was sent away.
async fn holder(parts: &Parts, app: &App, context: &Context) -> Result<Arc<Holder>, Failure> {
    let (token, store) = (token(parts).ok_or_else(Failure::no_key)?, &app.provision.store);
    let instance = app.keyring.read(store, token)?.instance();
    context.slot.hold(app.fair.enter(instance).await?);
    // Who had to wait is looked at anew.
    let presented = app.keyring.read(store, token)?;
    Ok(app.keyring.verify(store, presented, context.from).await?)
}

/// 403 for a reader's key where connections come in.
fn reads_only() -> Failure {
    let detail = format!(
        "this key reads the directory at {DIRECTORY_PATH} and does nothing else: issue a key of a \
         connection for this endpoint"
    );
    ScimError::new(ErrorKind::Forbidden, detail).into()
}

/// Who reads the directory of an instance, by a key that does nothing else.
pub(super) struct Reader(pub(super) InstanceId);

impl FromRequestParts<App> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let context = context(&parts.extensions);
        match holder(parts, app, &context).await?.as_ref() {
            Holder::Reader(key) => Ok(Self(key.instance)),
            Holder::Connection(found) => {
                let detail = format!(
                    "this key belongs to the connection \"{}\": {DIRECTORY_PATH} takes the keys of \
                     readers, which `scimd keys issue --reader` issues",
                    found.connection_name
                );
                Err(ScimError::new(ErrorKind::Forbidden, detail).into())
            }
        }
    }
}

/// As much of what a client calls itself as the audit trail keeps.
fn shortened(agent: &str) -> String {
    agent.chars().take(CLIENT_CHARS_KEPT).collect()
}

/// The token of a request: after the word Bearer, or bare, as Okta's header mode sends it.
fn token(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => return None,
        None => value,
    };
    (!token.is_empty()).then_some(token)
}

/// The body of a request as JSON.
pub(super) struct Body(pub(super) Value);

impl FromRequest<App> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        read_json(app, request, app.settings.body_bytes_max).await.map(Self)
    }
}

/// The body of a bulk request as JSON, and how long the work on it may take.
pub(super) struct BulkBody {
    pub(super) body: Value,
    /// When no other operation is begun, so that there is time to answer for those that were.
    pub(super) until: Instant,
}

impl FromRequest<App> for BulkBody {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let started = context(request.extensions()).started.unwrap_or_else(Instant::now);
        let until = started + app.settings.request_timeout.mul_f32(BULK_TIME_SHARE);
        let body = read_json(app, request, app.settings.bulk_bytes_max()).await?;
        Ok(Self { body, until })
    }
}

/// Reads a body of at most `limit` bytes; what is beyond them is never in memory.
async fn read_json(app: &App, request: Request, limit: usize) -> Result<Value, Failure> {
    require_json(&request)?;
    let too_large = || {
        let detail = format!("the body is over the limit of {limit} bytes: send it in parts");
        Failure::from(ScimError::new(ErrorKind::TooLarge, detail))
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let slot = context(request.extensions()).slot;
    let mut arriving = pin!(to_bytes(request.into_body(), limit));
    let arrived = match tokio::time::timeout(BODY_PATIENCE, arriving.as_mut()).await {
        Ok(arrived) => arrived,
        Err(_) => slot.aside(app, arriving).await,
    };
    let bytes = match arrived {
        Ok(bytes) => bytes,
        Err(error) if is_length_limit(&error) => return Err(too_large()),
        Err(_) => {
            return Err(ScimError::invalid_syntax("the body did not arrive whole").into());
        }
    };
    slot.note_body(&bytes);
    serde_json::from_slice(&bytes).map_err(|error| {
        // The position helps; the text of the body does not belong into an answer.
        let (line, column) = (error.line(), error.column());
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "ends too early",
            _ if error.to_string().contains("recursion") => "is nested too deeply (128 levels)",
            _ => "is not valid JSON",
        };
        ScimError::invalid_syntax(format!("the body {problem} at line {line}, column {column}"))
            .into()
    })
}

/// 415 only for what is plainly not JSON; a missing type is taken as JSON.
fn require_json(request: &Request) -> Result<(), Failure> {
    let Some(media_type) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let media_type = media_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json") {
        return Ok(());
    }
    let detail = "the body must be JSON: send it as application/scim+json";
    Err(ScimError::new(ErrorKind::UnsupportedMediaType, detail).into())
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The one parameter of a path: an id, a name or a URN.
pub(super) struct Id(pub(super) String);

impl FromRequestParts<App> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let id = RawPathParams::from_request_parts(parts, app).await.ok().and_then(|parameters| {
            parameters.iter().next().map(|(_, id)| id.chars().take(ID_CHARS_MAX).collect())
        });
        id.map(Self).ok_or_else(|| {
            ScimError::new(ErrorKind::NotFound, "the id in the path is not valid text").into()
        })
    }
}

/// The version in which a write expects its resource: `If-Match`.
pub(super) struct IfMatch(pub(super) Expected);

impl FromRequestParts<App> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Failure> {
        Ok(Self(
            header_list(parts, &header::IF_MATCH).map_or(Expected::ANY, |t| Expected::read(&t)),
        ))
    }
}

/// The versions that a reader has already: `If-None-Match`.
pub(super) struct IfNoneMatch(pub(super) Option<String>);

impl FromRequestParts<App> for IfNoneMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Failure> {
        Ok(Self(header_list(parts, &header::IF_NONE_MATCH)))
    }
}

/// All values of a header that may come several times; text that is none counts as nothing.
fn header_list(parts: &Parts, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> =
        parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("")).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The query parameters that the protocol knows; all others are ignored.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) filter: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    start_index: Option<String>,
    pub(super) cursor: Option<String>,
    count: Option<String>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

impl FromRequestParts<App> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Failure> {
        let mut parameters = Self::default();
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(slot) = parameters.slot(&name) {
                *slot = Some(value.into_owned());
            }
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// What of each resource the client wants.
    pub(super) fn projection(&self, kind: &ResourceType) -> Projection {
        Projection::read(kind, self.attributes.as_deref(), self.excluded_attributes.as_deref())
    }

    /// Reads the body of a search (RFC 7644 §3.4.3): the same parameters by the same names.
    pub(super) fn read_search(body: Value) -> Result<Self, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax(
                "the body must be a JSON object: a SearchRequest",
            ));
        };
        require_schema(&body, schema_urns::SEARCH_REQUEST)?;
        let mut parameters = Self::default();
        for (name, value) in body {
            let Some(slot) = parameters.slot(&name) else { continue };
            *slot = match value {
                Value::Null => None,
                Value::String(text) => Some(text),
                Value::Number(number) => Some(number.to_string()),
                Value::Array(names) if names.iter().all(Value::is_string) => {
                    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                    Some(names.join(","))
                }
                _ => return Err(ScimError::invalid_value(&name, "has a value of the wrong type")),
            };
        }
        Ok(parameters)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name.to_ascii_lowercase().as_str() {
            "filter" => &mut self.filter,
            "sortby" => &mut self.sort_by,
            "sortorder" => &mut self.sort_order,
            "startindex" => &mut self.start_index,
            "cursor" => &mut self.cursor,
            "count" => &mut self.count,
            "attributes" => &mut self.attributes,
            "excludedattributes" => &mut self.excluded_attributes,
            _ => return None,
        })
    }

    /// The query for a page.
    pub(super) fn query(self) -> Result<Query, ScimError> {
        let window = self.window()?;
        let descending = match self.sort_order.as_deref().map(str::trim) {
            None | Some("") => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => {
                let reason = "must be \"ascending\" or \"descending\"";
                return Err(ScimError::invalid_value("sortOrder", reason));
            }
        };
        let said = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let sort_by = said(self.sort_by);
        Ok(Query {
            filter: said(self.filter),
            descending: descending && sort_by.is_some(),
            sort_by,
            window,
            attributes: self.attributes,
            excluded_attributes: self.excluded_attributes,
        })
    }

    /// Which page: by index, where a `startIndex` below 1 is 1 and a `count` below 0 is 0 (RFC 7644
    /// §3.4.2.4), or by cursor as soon as there is one, even an empty one (RFC 9865 §2).
    fn window(&self) -> Result<Window, ScimError> {
        let in_page = |count: u64| count.min(PAGE_COUNT_MAX);
        let Some(cursor) = &self.cursor else {
            let start = number("startIndex", self.start_index.as_deref())?;
            let count = number("count", self.count.as_deref())?;
            let natural = |number: i64| u64::try_from(number).unwrap_or(0);
            return Ok(Window::Index {
                start: start.map_or(1, |start| natural(start).max(1)),
                count: count.map_or(PAGE_COUNT_DEFAULT, |count| in_page(natural(count))),
            });
        };
        if self.start_index.is_some() {
            return Err(ScimError::invalid_value("startIndex", "cannot stand beside a cursor"));
        }
        let invalid = || {
            ScimError::new(
                ErrorKind::InvalidCount,
                "count must be a whole number that is not below 0",
            )
        };
        let count = match self.count.as_deref().map(str::trim) {
            None | Some("") => PAGE_COUNT_DEFAULT,
            Some(count) => in_page(count.parse().map_err(|_| invalid())?),
        };
        Ok(Window::Cursor { cursor: cursor.trim().to_owned(), count })
    }
}

fn number(name: &str, text: Option<&str>) -> Result<Option<i64>, ScimError> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| ScimError::invalid_value(name, "must be a whole number")),
    }
}
