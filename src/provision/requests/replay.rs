//! What a request of the log would do now: it goes the road of the request again, in a transaction that is
//! given up.

use serde_json::Value;

use crate::directory::InstanceId;
use crate::directory::ids::ExchangeId;
use crate::provision::{
    Caller, Error, Groups, Provision, Resource, Result, Shown, Users, not_found, resource,
};
use crate::scim::mask::without_hidden;
use crate::scim::patch;
use crate::scim::project::Projection;
use crate::scim::version::Expected;
use crate::scim::{ErrorKind, ScimError, message};
use crate::store::audit::search::{self, From, Wanted};
use crate::store::audit::{Author, Event};
use crate::store::exchanges::{self, Whole};
use crate::store::{StoreError, Tx, connections, licences};

use super::EVENTS_SHOWN;

/// How often it is tried when the database could not order it among others.
const ATTEMPTS_MAX: usize = 8;

/// What a request would come to.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replayed {
    /// The status of the answer.
    pub status: u16,
    /// The answer.
    pub answer: Option<Value>,
    /// What would be recorded in the audit trail, oldest first.
    pub events: Vec<Event>,
    /// What of the request was masked, and so was not sent again.
    pub left_out: Vec<String>,
}

/// A request that can be done again.
struct Again {
    method: Method,
    id: String,
    body: Value,
    expected: Expected,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Create,
    Read,
    Replace,
    Patch,
    Delete,
}

impl Provision {
    /// Says what a request of the log would do if it came again now, by the same connection as it is set now.
    /// Nothing changes. `base` is the address of the protocol for links in the answer.
    ///
    /// Refused for what is not about one user or group, and for what is not there whole: secrets are left
    /// out and named, but a body that was cut, was no JSON or was erased cannot come again.
    pub async fn replay(
        &self,
        instance: InstanceId,
        id: ExchangeId,
        base: &str,
    ) -> Result<Replayed> {
        let mut tx = self.store.read().await?;
        let whole = exchanges::find(&mut tx, instance, id).await?;
        let whole = whole.ok_or_else(|| not_found("exchange", &id.to_string()))?;
        let connection = connections::find(&mut tx, instance, whole.exchange.connection).await?;
        let connection = connection.ok_or_else(|| refusal("its connection is gone"))?;
        drop(tx);
        let schemas = self.current_schemas(instance).await?;
        let mut caller = Caller {
            key: whole.exchange.key,
            client: whole.exchange.client.clone(),
            request_id: Some(self.ids.fresh().to_string()),
            base: base.to_owned(),
            ..Caller::of(connection, schemas)
        };
        caller.recognise_agent(whole.exchange.client.as_deref().unwrap_or_default());
        let endpoint = whole.exchange.path.trim_start_matches('/').split('/').next();
        let (again, left_out) = read(&whole)?;
        let replayed = match endpoint {
            Some("Users") => self.again::<Users>(&caller, &again).await?,
            Some("Groups") => self.again::<Groups>(&caller, &again).await?,
            _ => return Err(unrepeatable()),
        };
        Ok(Replayed { left_out, ..replayed })
    }

    async fn again<R: Resource>(&self, caller: &Caller, again: &Again) -> Result<Replayed> {
        let mut attempt = 1;
        let mut seats_first = false;
        loop {
            let author = caller.author(self.clock.now(), self.ids);
            let mut tx = self.store.begin().await?;
            if seats_first {
                licences::wait(&mut tx, caller.instance).await?;
            }
            let done = rehearse::<R>(&mut tx, caller, &author, self, again).await;
            let events = match &done {
                Ok(_) => caused(&mut tx, caller).await,
                Err(_) => Ok(Vec::new()),
            };
            // Whatever came of it, nothing is kept.
            tx.rollback().await;
            match done {
                Err(Error::Store(StoreError::SeatsBusy)) if attempt < ATTEMPTS_MAX => {
                    seats_first = true;
                }
                Err(Error::Store(StoreError::Contention(_) | StoreError::Stale))
                    if attempt < ATTEMPTS_MAX => {}
                Err(Error::Store(error)) => return Err(error.into()),
                Err(Error::Refused(error) | Error::NoSeat(error)) => {
                    return Ok(replayed(error.kind.status(), Some(error.body()), Vec::new()));
                }
                Ok((status, answer)) => return Ok(replayed(status, answer, events?)),
            }
            attempt += 1;
        }
    }
}

fn replayed(status: u16, answer: Option<Value>, events: Vec<Event>) -> Replayed {
    Replayed { status, answer, events, left_out: Vec::new() }
}

async fn caused(tx: &mut Tx, caller: &Caller) -> Result<Vec<Event>> {
    let wanted = Wanted { request_id: caller.request_id.clone(), ..Wanted::default() };
    Ok(search::page(tx, caller.instance, &wanted, From::OLDEST, EVENTS_SHOWN).await?)
}

/// Does it in a transaction that the caller gives up; the status and the answer.
async fn rehearse<R: Resource>(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    provision: &Provision,
    again: &Again,
) -> Result<(u16, Option<Value>)> {
    let kind = R::kind(&caller.schemas);
    let (attributes, excluded) = (&again.attributes, &again.excluded_attributes);
    let projection = Projection::read(kind, attributes.as_deref(), excluded.as_deref());
    let (id, expected) = (again.id.as_str(), &again.expected);
    let sent = || R::read_sent(&caller.schemas, &caller.habits, again.body.clone());
    let shown = |status: u16, shown: Shown| match shown.sheet {
        Some(mut sheet) => {
            if sheet.parted.is_some() {
                // They are more than is held at once, and not shown here; none would be a lie.
                sheet.document.shift_remove(R::RELATED);
            }
            (status, Some(Value::Object(sheet.document)))
        }
        None => (204, None),
    };
    match again.method {
        Method::Read => {
            let row =
                resource::find::<R>(tx, caller, id, crate::store::query::Purpose::Look).await?;
            Ok(shown(200, resource::show::<R>(tx, caller, row, &projection).await?))
        }
        Method::Create => {
            let sent = sent()?;
            caller.require_pushing()?;
            let ids = provision.ids;
            let created = resource::create::<R>(tx, caller, author, ids, sent, &projection).await?;
            Ok(shown(201, created))
        }
        Method::Replace => {
            let sent = sent()?;
            caller.require_pushing()?;
            let replaced =
                resource::replace::<R>(tx, caller, author, id, expected, sent, &projection).await?;
            Ok(shown(200, replaced))
        }
        Method::Patch => {
            let operations = message::read_patch(&caller.habits, again.body.clone())?;
            caller.require_pushing()?;
            let changes = patch::changes(kind, &caller.habits, operations)?;
            let done =
                resource::change::<R>(tx, caller, author, id, expected, changes, &projection);
            Ok(shown(200, done.await?))
        }
        Method::Delete => {
            caller.require_pushing()?;
            resource::delete::<R>(tx, caller, author, id, expected).await?;
            Ok((204, None))
        }
    }
}

/// What is to be done again, and what of it was masked.
fn read(whole: &Whole) -> Result<(Again, Vec<String>)> {
    let exchange = &whole.exchange;
    let mut parts = exchange.path.trim_start_matches('/').split('/');
    let (_endpoint, id, more) = (parts.next(), parts.next(), parts.next());
    let method = match (exchange.method.as_str(), id, more) {
        ("POST", None, None) => Method::Create,
        ("GET", Some(_), None) => Method::Read,
        ("PUT", Some(_), None) => Method::Replace,
        ("PATCH", Some(_), None) => Method::Patch,
        ("DELETE", Some(_), None) => Method::Delete,
        _ => return Err(unrepeatable()),
    };
    let mut body = Value::Null;
    let mut left_out = Vec::new();
    if matches!(method, Method::Create | Method::Replace | Method::Patch) {
        body = sent(whole)?;
        left_out = without_hidden(&mut body);
        let operations = body.get("Operations").and_then(Value::as_array);
        if operations.is_some_and(Vec::is_empty) && !left_out.is_empty() {
            return Err(refusal("everything that it sent was masked, so there is nothing to do"));
        }
    }
    let mut again = Again {
        method,
        id: id.unwrap_or_default().to_owned(),
        body,
        expected: exchange.if_match.as_deref().map_or(Expected::ANY, Expected::read),
        attributes: None,
        excluded_attributes: None,
    };
    let query = exchange.query.as_deref().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.to_ascii_lowercase().as_str() {
            "attributes" => again.attributes = Some(value.into_owned()),
            "excludedattributes" => again.excluded_attributes = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok((again, left_out))
}

fn sent(whole: &Whole) -> Result<Value> {
    let (body, erased) = (&whole.request, whole.exchange.erased_at.is_some());
    match &body.text {
        _ if body.cut => Err(refusal(
            "its body was too long to be kept whole: see the limits of docs/requests.md",
        )),
        Some(text) => serde_json::from_str(text).map_err(|_| refusal("its body is not readable")),
        None if erased => Err(refusal("what it said of a person was erased")),
        None => Err(refusal("its body was empty or no JSON, of which only the length is kept")),
    }
}

fn unrepeatable() -> Error {
    refusal(
        "only requests about one user or group can be replayed: POST, GET, PUT, PATCH and DELETE on \
         /Users and /Groups, not queries, discovery or Bulk",
    )
}

fn refusal(reason: &str) -> Error {
    let detail = format!("the request cannot be replayed: {reason}");
    ScimError::new(ErrorKind::InvalidValue, detail).into()
}
