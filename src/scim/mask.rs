//! What may be kept of a message for people to look at: everything but secrets.
//!
//! A value is a secret if its attribute is never returned, and a password always is. Secrets are looked for
//! by the names of attributes wherever a name can stand: as a member, in a path, in a filter. A name that is
//! hidden in one schema is hidden in all, so rather too much is masked than too little.

use serde_json::{Map, Value};

use super::extension::HIDDEN;
use super::schema::{Attribute, Mutability, ResourceType};
use super::schemas::Schemas;

/// The parameters of queries whose values say nothing secret; those of a filter are looked at.
const PARAMETERS: [&str; 8] = [
    "filter",
    "sortBy",
    "sortOrder",
    "startIndex",
    "count",
    "cursor",
    "attributes",
    "excludedAttributes",
];

/// The secrets of a request that are looked for in the words of its answer.
const SECRETS_MAX: usize = 1_000;

/// The characters that make a secret long enough to be told from other words.
const SECRET_CHARS_MIN: usize = 4;

/// Which attributes of an instance are secret.
#[derive(Debug, Clone)]
pub struct Mask(Vec<Secret>);

#[derive(Debug, Clone)]
struct Secret {
    /// The attribute that it is a part of, if it is a sub-attribute.
    parent: Option<String>,
    name: String,
}

impl Mask {
    /// The mask that the schemas of an instance ask for.
    #[must_use]
    pub fn of(schemas: &Schemas) -> Self {
        let mut secrets = vec![Secret { parent: None, name: "password".to_owned() }];
        for (_, attribute) in schemas.types().into_iter().flat_map(ResourceType::attributes) {
            if is_secret(attribute) {
                secrets.push(Secret { parent: None, name: attribute.name.clone() });
            }
            let parts = attribute.sub_attributes.iter().filter(|part| is_secret(part));
            secrets.extend(parts.map(|part| Secret {
                parent: Some(attribute.name.clone()),
                name: part.name.clone(),
            }));
        }
        Self(secrets)
    }

    /// Puts [`HIDDEN`] in the place of all secrets of a message; which ones they were, for
    /// [`scrub`].
    pub fn hide(&self, message: &mut Value) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(message, &[], &mut found);
        found
    }

    /// A query as it came, without secrets: of parameters that the protocol does not know only the name is
    /// kept. Which secrets they were is added to `found`.
    pub fn query(&self, query: &str, found: &mut Vec<String>) -> String {
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(&name));
            let named = words(&value);
            if known && !self.hides(&named, &[]) {
                kept.append_pair(&name, &value);
            } else {
                self.note_words(named, found);
                kept.append_pair(&name, HIDDEN);
            }
        }
        kept.finish()
    }

    /// Notes the words of a filter that could be secrets; the names of attributes are none.
    fn note_words(&self, words: Vec<String>, found: &mut Vec<String>) {
        let is_name = |word: &str| self.0.iter().any(|one| one.name.eq_ignore_ascii_case(word));
        words.into_iter().filter(|word| !is_name(word)).for_each(|word| note_text(word, found));
    }

    fn walk(&self, value: &mut Value, parents: &[String], found: &mut Vec<String>) {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.walk(item, parents, found);
                }
            }
            Value::Object(members) => self.walk_members(members, parents, found),
            // Some clients send JSON as a text.
            Value::String(text)
                if text.trim_start().starts_with(['{', '['])
                    && self.hides(&words(text), parents) =>
            {
                conceal(value, found);
            }
            _ => {}
        }
    }

    fn walk_members(
        &self,
        members: &mut Map<String, Value>,
        parents: &[String],
        found: &mut Vec<String>,
    ) {
        let path = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("path"));
        let path = path.and_then(|(_, path)| path.as_str()).map(words);
        for (name, value) in members.iter_mut() {
            let named = words(name);
            if self.hides(&named, parents) {
                conceal(value, found);
                continue;
            }
            match (name.to_ascii_lowercase().as_str(), &path) {
                ("value", Some(path)) if self.hides(path, parents) => conceal(value, found),
                ("value", Some(path)) => self.walk(value, path, found),
                // Only what stands between brackets is a value.
                ("path", Some(path)) if self.hides(path, parents) && has_values(value) => {
                    conceal(value, found);
                }
                ("filter" | "sortby", _)
                    if value.as_str().is_some_and(|text| self.hides(&words(text), parents)) =>
                {
                    self.note_words(value.as_str().map(words).unwrap_or_default(), found);
                    *value = HIDDEN.into();
                }
                _ => self.walk(value, if named.is_empty() { parents } else { &named }, found),
            }
        }
        if members.keys().any(|name| name.contains('[') && self.hides(&words(name), parents)) {
            let renamed = std::mem::take(members).into_iter().map(|(name, value)| {
                let secret = name.contains('[') && self.hides(&words(&name), parents);
                (if secret { HIDDEN.to_owned() } else { name }, value)
            });
            *members = renamed.collect();
        }
    }

    /// Whether a name made of these words, inside of an attribute of such a name, is a secret's.
    fn hides(&self, name: &[String], parents: &[String]) -> bool {
        let among = |words: &[String], word: &str| {
            words.iter().any(|other| other.eq_ignore_ascii_case(word))
        };
        self.0.iter().any(|secret| {
            among(name, &secret.name)
                && secret
                    .parent
                    .as_deref()
                    .is_none_or(|parent| among(name, parent) || among(parents, parent))
        })
    }
}

/// Takes secrets that were sent out of the words of an answer: an error may repeat what it refuses.
pub fn scrub(answer: &mut Value, secrets: &[String]) {
    match answer {
        Value::Array(items) => {
            for item in items {
                scrub(item, secrets);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "detail" => {
                        for secret in secrets {
                            if text.contains(secret) {
                                *text = text.replace(secret, HIDDEN);
                            }
                        }
                    }
                    other => scrub(other, secrets),
                }
            }
        }
        _ => {}
    }
}

/// What is left of a message without the members and operations that were masked, and the names of those
/// that are gone: what can be sent again of what was kept.
pub fn without_hidden(message: &mut Value) -> Vec<String> {
    let mut gone = Vec::new();
    drop_hidden(message, &mut gone);
    gone.dedup();
    gone
}

fn drop_hidden(value: &mut Value, gone: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.retain(|item| match masked_operation(item) {
                Some(path) => {
                    gone.push(path);
                    false
                }
                None => true,
            });
            for item in items {
                drop_hidden(item, gone);
            }
        }
        Value::Object(members) => {
            members.retain(|name, value| {
                let masked = name == HIDDEN || value.as_str() == Some(HIDDEN);
                if masked {
                    gone.push(name.clone());
                }
                !masked
            });
            for (_, value) in members {
                drop_hidden(value, gone);
            }
        }
        _ => {}
    }
}

/// The path of an operation of a PATCH whose value, or whose path, was masked.
fn masked_operation(item: &Value) -> Option<String> {
    let member = |wanted: &str| {
        let mut members = item.as_object()?.iter();
        members.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?.1.as_str()
    };
    item.get("op").or_else(|| item.get("Op"))?;
    let masked = member("value") == Some(HIDDEN) || member("path") == Some(HIDDEN);
    masked.then(|| member("path").unwrap_or(HIDDEN).to_owned())
}

fn is_secret(attribute: &Attribute) -> bool {
    attribute.is_hidden() || attribute.mutability == Mutability::WriteOnly
}

/// Whether a path compares with something.
fn has_values(path: &Value) -> bool {
    path.as_str().is_some_and(|path| path.contains('['))
}

/// The words of a name, a path or a filter, as attributes are named.
fn words(text: &str) -> Vec<String> {
    let part = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    text.split(part).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn conceal(value: &mut Value, found: &mut Vec<String>) {
    note(value, found);
    *value = HIDDEN.into();
}

fn note(value: &Value, found: &mut Vec<String>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => return items.iter().for_each(|item| note(item, found)),
        Value::Object(members) => return members.values().for_each(|value| note(value, found)),
        Value::Null | Value::Bool(_) => return,
    };
    note_text(text, found);
}

fn note_text(text: String, found: &mut Vec<String>) {
    if found.len() < SECRETS_MAX && text.chars().count() >= SECRET_CHARS_MIN {
        found.push(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Mask, scrub, without_hidden};
    use crate::scim::definition::{Holder, parse};
    use crate::scim::schemas::{Password, Schemas};

    const URN: &str = "urn:example:2.0:User";

    fn mask() -> Mask {
        let schema = parse(&json!({ "id": URN, "attributes": [
            { "name": "pin", "mutability": "writeOnly" },
            { "name": "cards", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" }, { "name": "code", "returned": "never" },
            ] },
        ] }));
        Mask::of(&Schemas::with(1, [(Holder::User, schema.unwrap())], Password::Absent))
    }

    fn hidden(mut message: Value) -> Value {
        mask().hide(&mut message);
        message
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let operation = |operation: Value| json!({ "Operations": [operation] });
        let cases = [
            (json!({ "userName": "ann", "PassWord": "s3cret" }), r#""PassWord":"(hidden)""#),
            (json!({ URN: { "pin": 4711 } }), r#""pin":"(hidden)""#),
            (
                json!({ URN: { "cards": [{ "value": "x", "code": "s3cret" }] } }),
                r#""code":"(hidden)""#,
            ),
            (
                operation(json!({ "op": "add", "path": "password", "value": "s3cret" })),
                r#""path":"password","value":"(hidden)""#,
            ),
            (
                operation(
                    json!({ "op": "Replace", "Path": format!("{URN}:pin"), "Value": "s3cret" }),
                ),
                r#""Value":"(hidden)""#,
            ),
            (
                operation(
                    json!({ "op": "add", "path": format!("{URN}:cards"), "value": { "code": "s3cret" } }),
                ),
                r#""code":"(hidden)""#,
            ),
            (
                operation(
                    json!({ "op": "remove", "path": format!("{URN}:cards[code eq \"s3cret\"]") }),
                ),
                r#""path":"(hidden)""#,
            ),
            (
                operation(
                    json!({ "op": "add", "value": { (format!("{URN}:cards[code eq \"s3cret\"].value")): 1 } }),
                ),
                r#""(hidden)":"#,
            ),
            (
                operation(json!({ "op": "add", "value": { (format!("{URN}:pin")): "s3cret" } })),
                "(hidden)",
            ),
            (operation(json!({ "op": "add", "value": r#"{"password":"s3cret"}"# })), "(hidden)"),
            (
                json!({ "Operations": [{ "data": { "password": { "value": "s3cret" } } }] }),
                "(hidden)",
            ),
            (json!({ "filter": "password eq \"s3cret\"" }), r#""filter":"(hidden)""#),
        ];
        for (message, part) in cases {
            let shown = hidden(message).to_string();
            assert!(!shown.contains("s3cret") && !shown.contains("4711"), "{shown}");
            assert!(shown.contains(part), "{shown} without {part}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for message in [
            json!({ "userName": "ann", "code": "x", "title": "pin and password" }),
            json!({ "Operations": [{ "op": "add", "path": "emails[type eq \"work\"].value", "value": "x" }] }),
            json!({ "Operations": [{ "op": "add", "path": "members", "value": [{ "value": "x" }] }] }),
            json!(["a", 1, null, true]),
        ] {
            assert_eq!(hidden(message.clone()), message);
        }
    }

    #[test]
    fn answers_do_not_repeat_what_was_hidden() {
        let mut sent = json!({ "password": "s3cret", URN: { "pin": "ab" } });
        let secrets = mask().hide(&mut sent);
        let mut answer = json!({ "detail": "\"s3cret\" is about something", "title": "ab" });
        scrub(&mut answer, &secrets);
        assert_eq!(answer, json!({ "detail": "\"(hidden)\" is about something", "title": "ab" }));
    }

    #[test]
    fn queries_keep_what_the_protocol_knows() {
        let decoded = |query: &str| {
            let mut found = Vec::new();
            let kept = mask().query(query, &mut found);
            assert!(
                found.iter().all(|word| word == "s3cret" || word == "example" || word == "User")
            );
            let pairs = form_urlencoded::parse(kept.as_bytes());
            pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        };
        let cases = [
            ("filter=userName+eq+%22ann%22&count=1", "filter=userName eq \"ann\"&count=1"),
            ("filter=password%20sw%20%22s3%22", "filter=(hidden)"),
            ("filter=urn:example:2.0:User:PIN%20eq%201", "filter=(hidden)"),
            ("access_token=s3cret&Count=2", "access_token=(hidden)&Count=2"),
        ];
        for (query, kept) in cases {
            assert_eq!(decoded(query), kept, "{query}");
        }
    }

    #[test]
    fn what_was_hidden_is_left_out_of_what_is_sent_again() {
        let mut message = hidden(json!({ "Operations": [
            { "op": "add", "path": "password", "value": "s3cret" },
            { "op": "add", "value": { "title": "Cook", "password": "s3cret" } },
        ] }));
        let gone = without_hidden(&mut message);
        assert_eq!(gone, ["password"]);
        assert_eq!(
            message,
            json!({ "Operations": [{ "op": "add", "value": { "title": "Cook" } }] })
        );
    }
}
