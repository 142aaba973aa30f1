//! What is kept of an exchange: everything that people look for, and no secret.

use std::sync::Arc;

use bytes::Bytes;
use scim_v2::filter::{AttrExp, CompValue, CompareOp, Filter};
use serde_json::Value;
use uuid::Uuid;

use crate::directory::ids::{ExchangeId, exact};
use crate::directory::{ConnectionId, InstanceId, KeyId, Timestamp};
use crate::provision::{Groups, Resource as _, Users};
use crate::scim::fold::fold;
use crate::scim::grammar::parse_filter;
use crate::scim::mask::{Mask, scrub};
use crate::scim::resource::member;
use crate::scim::schemas::Schemas;
use crate::store::exchanges::{Body, Exchange, Fresh, Whole};

/// The bytes of a body that are kept at most, once its secrets are masked.
pub const EXCHANGE_BODY_BYTES_MAX: usize = 64 * 1024;

/// The characters of a name by which exchanges are found.
const NAME_CHARS_KEPT: usize = 256;

/// What a front door saw of an exchange, as it was. The bodies are shared with whoever sent and answered
/// them; looking into them is left for later.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The instance of the key.
    pub instance: InstanceId,
    /// Its id in the log.
    pub id: ExchangeId,
    /// When the request arrived.
    pub at: Timestamp,
    /// The connection of the key.
    pub connection: ConnectionId,
    /// The key.
    pub key: KeyId,
    /// The program that asked, as it called itself.
    pub client: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path below the base of the protocol.
    pub path: String,
    /// The query, as it came.
    pub query: Option<String>,
    /// The value of `If-Match`.
    pub if_match: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The kind of error, where the protocol has a word for it.
    pub scim_type: Option<&'static str>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The schemas of the instance: they say what is secret.
    pub schemas: Arc<Schemas>,
    /// The body of the request.
    pub request: Bytes,
    /// The body of the answer.
    pub answer: Bytes,
}

impl Seen {
    /// About how many bytes it has in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = self.path.len() + self.query.as_ref().map_or(0, String::len);
        size_of::<Self>() + texts + self.request.len() + self.answer.len()
    }
}

/// How the name of a user or group is kept and looked for.
#[must_use]
pub fn name_key(name: &str) -> String {
    // PostgreSQL has no texts with a zero in them.
    fold(name).chars().filter(|c| !c.is_control()).take(NAME_CHARS_KEPT).collect()
}

/// What is kept of an exchange.
pub(super) fn of(seen: &Seen) -> Fresh {
    let mask = Mask::of(&seen.schemas);
    let (mut sent, mut answered) = (parsed(&seen.request), parsed(&seen.answer));
    let name_key = name(seen, sent.as_ref());
    let (target_kind, target) = target(seen, answered.as_ref());
    let mut secrets = sent.as_mut().map(|body| mask.hide(body)).unwrap_or_default();
    let query = seen.query.as_deref().map(|query| mask.query(query, &mut secrets));
    if let Some(body) = &mut answered {
        mask.hide(body);
        scrub(body, &secrets);
    }
    let exchange = Exchange {
        id: seen.id,
        at: seen.at,
        connection: seen.connection,
        key: seen.key,
        client: seen.client.clone(),
        request_id: seen.request_id.clone(),
        method: seen.method.clone(),
        path: seen.path.clone(),
        query: query.filter(|query| !query.is_empty()),
        if_match: seen.if_match.clone(),
        status: seen.status.into(),
        scim_type: seen.scim_type.map(str::to_owned),
        ms: i64::try_from(seen.ms).unwrap_or(i64::MAX),
        target_kind: target_kind.map(str::to_owned),
        target,
        erased_at: None,
    };
    let (request, answer) = (body(&seen.request, sent), body(&seen.answer, answered));
    Fresh { instance: seen.instance, whole: Whole { exchange, request, answer }, name_key }
}

fn parsed(body: &Bytes) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

fn body(raw: &Bytes, masked: Option<Value>) -> Body {
    let mut text = masked.map(|masked| masked.to_string());
    let mut cut = false;
    if let Some(text) = text.as_mut().filter(|text| text.len() > EXCHANGE_BODY_BYTES_MAX) {
        text.truncate(text.floor_char_boundary(EXCHANGE_BODY_BYTES_MAX));
        cut = true;
    }
    Body { text, bytes: i64::try_from(raw.len()).unwrap_or(i64::MAX), cut }
}

/// What the path names, or what the answer says was created.
fn target(seen: &Seen, answered: Option<&Value>) -> (Option<&'static str>, Option<Uuid>) {
    let mut parts = seen.path.trim_start_matches('/').splitn(3, '/');
    let kind = match parts.next() {
        Some("Users") => Users::NOUN,
        Some("Groups") => Groups::NOUN,
        _ => return (None, None),
    };
    let id = match parts.next() {
        Some(id) => Some(id),
        None if seen.method == "POST" => answered.and_then(|answer| answer.get("id")?.as_str()),
        None => None,
    };
    (Some(kind), id.and_then(exact))
}

/// The name of the user or group that was sent, or that a query asked for alone.
fn name(seen: &Seen, sent: Option<&Value>) -> Option<String> {
    let sent = sent.and_then(Value::as_object);
    let text = |name| member(sent?, name)?.as_str();
    let attribute = if seen.path.starts_with("/Groups") { "displayName" } else { "userName" };
    let said = text(attribute).map(str::to_owned);
    let in_query = || {
        let mut pairs = form_urlencoded::parse(seen.query.as_deref()?.as_bytes());
        let (_, filter) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("filter"))?;
        sought(&filter)
    };
    let found = said.or_else(|| text("filter").and_then(sought)).or_else(in_query)?;
    Some(name_key(&found)).filter(|key| !key.is_empty())
}

/// The name that a filter asks for, if it asks for one and nothing else.
fn sought(filter: &str) -> Option<String> {
    match parse_filter(filter).ok()? {
        Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(name)))
            if path.sub_attr.is_none()
                && ["userName", "displayName"]
                    .iter()
                    .any(|n| path.name.eq_ignore_ascii_case(n)) =>
        {
            Some(name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{name_key, sought};

    #[test]
    fn only_a_name_alone_is_sought() {
        for (filter, name) in [
            ("userName eq \"Ann\"", Some("Ann")),
            ("displayname EQ \"Staff\"", Some("Staff")),
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"ann\"", Some("ann")),
            ("userName sw \"a\"", None),
            ("userName eq \"a\" or userName eq \"b\"", None),
            ("name.displayName eq \"a\"", None),
            ("userName eq", None),
        ] {
            assert_eq!(sought(filter).as_deref(), name, "{filter}");
        }
    }

    #[test]
    fn names_are_folded_and_have_an_end() {
        assert_eq!(name_key("Stra\u{df}e\0\n"), "strasse");
        assert_eq!(name_key(&"x".repeat(1_000)).len(), 256);
    }
}
