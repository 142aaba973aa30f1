//! Discovery (RFC 7644 §4), the description for tools, and the parts of the protocol that are not
//! offered.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;

use super::App;
use super::answer::{self, Answer, Failure};
use super::extract::{Authorized, Id, Parameters};
use crate::directory::Profile;
use crate::scim::{ErrorKind, ScimError, discovery, message, openapi};

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

pub(super) async fn service_provider_config(
    State(app): State<App>,
    Authorized(caller): Authorized,
    parameters: Parameters,
) -> Answer {
    refuse_filter(&parameters)?;
    let conforms = caller.profile == Profile::Interop;
    let bulk_bytes_max = app.settings.bulk_bytes_max();
    Ok(answer::json(
        StatusCode::OK,
        &discovery::service_provider_config(&caller.base, conforms, bulk_bytes_max),
    ))
}

pub(super) async fn resource_types(
    Authorized(caller): Authorized,
    parameters: Parameters,
) -> Answer {
    refuse_filter(&parameters)?;
    let kinds = caller.schemas.types().into_iter();
    Ok(all(kinds.map(|kind| discovery::resource_type(kind, &caller.base)).collect::<Vec<_>>()))
}

pub(super) async fn resource_type(Authorized(caller): Authorized, Id(name): Id) -> Answer {
    let mut kinds = caller.schemas.types().into_iter();
    let kind = kinds.find(|kind| kind.name.eq_ignore_ascii_case(&name));
    one(kind.map(|kind| discovery::resource_type(kind, &caller.base)), "resource type")
}

pub(super) async fn schemas(Authorized(caller): Authorized, parameters: Parameters) -> Answer {
    refuse_filter(&parameters)?;
    Ok(all(caller
        .schemas
        .all()
        .map(|schema| discovery::schema(schema, &caller.base))
        .collect::<Vec<_>>()))
}

pub(super) async fn schema(Authorized(caller): Authorized, Id(urn): Id) -> Answer {
    let schema = caller.schemas.all().find(|schema| schema.id.eq_ignore_ascii_case(&urn));
    one(schema.map(|schema| discovery::schema(schema, &caller.base)), "schema")
}

/// The description of the protocol's surface for tools. It needs no key: it is the same for all.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION.as_str())
}

/// 501 for what the server does not have: `/Me`, because keys belong to connections, not to people.
pub(super) async fn not_offered(_caller: Authorized, method: Method) -> Failure {
    let detail = format!("{method} is not offered here: see /ServiceProviderConfig");
    ScimError::new(ErrorKind::NotImplemented, detail).into()
}

/// RFC 7644 §4: a filter on a discovery endpoint is forbidden, lest a client believe that it worked.
fn refuse_filter(parameters: &Parameters) -> Result<(), ScimError> {
    match parameters.filter {
        None => Ok(()),
        Some(_) => Err(ScimError::new(ErrorKind::Forbidden, "discovery cannot be filtered")),
    }
}

fn all(resources: Vec<Value>) -> axum::response::Response {
    let total = resources.len() as u64;
    answer::json(StatusCode::OK, &message::list_response(total, Some(1), None, resources))
}

fn one(found: Option<Value>, what: &str) -> Answer {
    let found = found.ok_or_else(|| {
        ScimError::new(ErrorKind::NotFound, format!("there is no {what} of this name"))
    })?;
    Ok(answer::json(StatusCode::OK, &found))
}
