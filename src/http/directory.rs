//! `/directory/v1`: an intranet reads the directory here, and follows its changes.
//!
//! A reader's key opens all of its instance, to be read; keys of connections open nothing here. Every
//! answer is plain JSON; what is refused is refused as on `/scim/v2`.

pub(super) mod openapi;

use std::str::FromStr;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::App;
use super::answer::{self, Answer};
use super::extract::{Id, Reader};
use super::pull::{number, parameter};
use crate::directory::{GroupId, MemberId, Status};
use crate::provision::reader::{AccountsAsked, After, Batch, READER_PAGE_DEFAULT, READER_PAGE_MAX};
use crate::scim::ScimError;
use crate::store::Reached;

/// The path of all this below the public address of the server.
pub(super) const DIRECTORY_PATH: &str = "/directory/v1";

/// The media type of every answer that is no refusal.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What stands in the `next` of a page before how far the database was.
const REACHED: char = '~';

/// The parameters of every list.
const PAGE: &[&str] = &["after", "limit"];

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

/// The routes, below [`DIRECTORY_PATH`].
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/accounts", get(accounts))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/groups", get(groups_of))
        .route("/accounts/{id}/manager-chain", get(manager_chain))
        .route("/accounts/{id}/reports", get(reports))
        .route("/groups", get(groups))
        .route("/groups/{id}", get(group))
        .route("/groups/{id}/members", get(members))
        .route("/memberships", get(memberships))
        .route("/changes", get(changes))
        .route("/openapi.json", get(description))
}

async fn accounts(State(app): State<App>, Reader(instance): Reader, uri: Uri) -> Answer {
    require_known(&uri, &["after", "limit", "userName", "status", "directory"])?;
    let status = parameter(&uri, "status").map(|word| status(&word)).transpose()?;
    let (user_name, directory) = (parameter(&uri, "userName"), parameter(&uri, "directory"));
    let asked = AccountsAsked { user_name, status, directory };
    let (after, limit) = (place::<Uuid>(&uri)?, limit(&uri)?);
    let found = app.provision.read_accounts(instance, &asked, after, limit).await?;
    Ok(page("accounts", found, |id| id.to_string()))
}

async fn account(State(app): State<App>, Reader(instance): Reader, Id(id): Id, uri: Uri) -> Answer {
    require_known(&uri, &[])?;
    Ok(plain(&app.provision.read_account(instance, &id).await?))
}

async fn groups_of(
    State(app): State<App>,
    Reader(instance): Reader,
    Id(id): Id,
    uri: Uri,
) -> Answer {
    require_known(&uri, PAGE)?;
    let (after, limit) = (after(&uri)?, limit(&uri)?);
    let found = app.provision.read_groups_of(instance, &id, after, limit).await?;
    Ok(page("groups", found, |id| id.to_string()))
}

async fn manager_chain(
    State(app): State<App>,
    Reader(instance): Reader,
    Id(id): Id,
    uri: Uri,
) -> Answer {
    require_known(&uri, &[])?;
    let above = app.provision.read_managers(instance, &id).await?;
    Ok(plain(&object([("accounts", value(&above))])))
}

async fn reports(State(app): State<App>, Reader(instance): Reader, Id(id): Id, uri: Uri) -> Answer {
    require_known(&uri, PAGE)?;
    let (after, limit) = (after(&uri)?, limit(&uri)?);
    let found = app.provision.read_reports(instance, &id, after, limit).await?;
    Ok(page("accounts", found, |id| id.to_string()))
}

async fn groups(State(app): State<App>, Reader(instance): Reader, uri: Uri) -> Answer {
    require_known(&uri, &["after", "limit", "displayName"])?;
    let (after, limit, name) = (place(&uri)?, limit(&uri)?, parameter(&uri, "displayName"));
    let found = app.provision.read_groups(instance, name.as_deref(), after, limit).await?;
    Ok(page("groups", found, |id| id.to_string()))
}

async fn group(State(app): State<App>, Reader(instance): Reader, Id(id): Id, uri: Uri) -> Answer {
    require_known(&uri, &[])?;
    Ok(plain(&app.provision.read_group(instance, &id).await?))
}

async fn members(State(app): State<App>, Reader(instance): Reader, Id(id): Id, uri: Uri) -> Answer {
    require_known(&uri, PAGE)?;
    let (after, limit) = (after(&uri)?, limit(&uri)?);
    let found = app.provision.read_members(instance, &id, after, limit).await?;
    Ok(page("members", found, |id| id.to_string()))
}

async fn memberships(State(app): State<App>, Reader(instance): Reader, uri: Uri) -> Answer {
    require_known(&uri, PAGE)?;
    let after = place::<Pair>(&uri)?;
    let after = after
        .map(|After { key: Pair(group, member), reached }| After { key: (group, member), reached });
    let found = app.provision.read_memberships(instance, after, limit(&uri)?).await?;
    Ok(page("memberships", found, |(group, member)| format!("{group}.{}", member.0)))
}

async fn changes(State(app): State<App>, Reader(instance): Reader, uri: Uri) -> Answer {
    require_known(&uri, &["since", "limit"])?;
    let since = parameter(&uri, "since");
    Ok(plain(&app.provision.changes(instance, since.as_deref(), limit(&uri)?).await?))
}

/// The description of all this for tools. It needs no key: it is the same for all.
async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], DESCRIPTION.as_str())
}

/// A place in the list of memberships, as `GROUP.MEMBER`.
struct Pair(GroupId, MemberId);

impl FromStr for Pair {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (group, member) = text.split_once('.').ok_or(())?;
        Ok(Self(group.parse().map_err(drop)?, member.parse().map_err(drop)?))
    }
}

/// Refuses parameters that the endpoint does not have: a filter that is misspelled must not select everybody.
fn require_known(uri: &Uri, known: &[&str]) -> Result<(), ScimError> {
    let mut all = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let Some((name, _)) = all.find(|(name, _)| !known.contains(&name.as_ref())) else {
        return Ok(());
    };
    let name: String = name.chars().take(64).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let reason = format!("is no parameter of this endpoint, which has {known}");
    Err(ScimError::invalid_value(&format!("\"{name}\""), &reason))
}

fn limit(uri: &Uri) -> Result<i64, ScimError> {
    Ok(number(uri, "limit", 1..=READER_PAGE_MAX)?.unwrap_or(READER_PAGE_DEFAULT))
}

fn after<T: FromStr>(uri: &Uri) -> Result<Option<T>, ScimError> {
    let Some(text) = parameter(uri, "after") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| no_place())
}

/// The place where a page of a list begins, as [`page`] writes it.
fn place<T: FromStr>(uri: &Uri) -> Result<Option<After<T>>, ScimError> {
    let Some(text) = parameter(uri, "after") else { return Ok(None) };
    let (key, reached) = match text.split_once(REACHED) {
        Some((key, reached)) => (key, Some(i64::from_str_radix(reached, 16))),
        None => (text.as_ref(), None),
    };
    let key = key.parse().map_err(|_| no_place())?;
    let reached = reached.transpose().map_err(|_| no_place())?;
    Ok(Some(After { key, reached: reached.map(Reached) }))
}

fn no_place() -> ScimError {
    ScimError::invalid_value("after", "must be the \"next\" of the page before, as it is")
}

fn status(word: &str) -> Result<Status, ScimError> {
    let live = [Status::Active, Status::Blocked, Status::Suspended];
    let found = live.into_iter().find(|status| status.word() == word);
    let words = live.map(Status::word).join(", ");
    found.ok_or_else(|| ScimError::invalid_value("status", &format!("must be one of {words}")))
}

/// A page under the name of what is on it. Only a first page tells where the feed stood before it.
fn page<T: Serialize, C>(name: &str, found: Batch<T, C>, next: impl Fn(C) -> String) -> Response {
    let reached = found.reached.map(|Reached(at)| format!("{REACHED}{at:x}")).unwrap_or_default();
    let next = found.next.map(|key| next(key) + &reached);
    let mut shown = object([(name, value(&found.items)), ("next", next.into())]);
    if let Some(cursor) = found.changes_from {
        shown.insert("changesFrom".to_owned(), cursor.into());
    }
    plain(&shown)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn value(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).unwrap_or_default()
}

fn plain(shown: &impl Serialize) -> Response {
    let mut response = answer::json(StatusCode::OK, &value(shown));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
