//! The audit trail: append-only, one row for each change, in the transaction of the change.

pub mod chain;
pub mod search;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::row::{Record, Row};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::clock::Ids;
use crate::directory::connection::words;
use crate::directory::{ConnectionId, InstanceId, KeyId, MemberId, RunId, Timestamp, ids::AuditId};

words! {
    /// Which part of the product an event belongs to.
    Category {
        /// What a connection did to accounts and groups.
        UserSync = "UserSync",
        /// What an administrator did to accounts.
        Users = "Users",
        /// What an administrator did to groups.
        Groups = "Groups",
        /// API keys.
        Keys = "Keys",
        /// Instances, connections and what they go by.
        Settings = "Settings",
        /// What the server did by itself.
        System = "System",
    }
}

/// The event that says that what the trail knew of a person was erased.
pub const ERASED: &str = "account.erased";

/// Who does something, when and in which request: what all events of one unit of work share.
#[derive(Debug, Clone)]
pub struct Author {
    /// In words: the connection's name, or `cli`.
    pub name: String,
    /// The program that the connection spoke through, as it calls itself.
    pub client: Option<String>,
    /// The connection, if one acts.
    pub connection: Option<ConnectionId>,
    /// The key that was used.
    pub key: Option<KeyId>,
    /// The request.
    pub request_id: Option<String>,
    /// The run.
    pub run: Option<RunId>,
    /// The rule by which it acts, if it is a job that follows one.
    pub rule: Option<&'static str>,
    /// When.
    pub at: Timestamp,
    /// Where the ids of the events come from.
    pub ids: Ids,
}

impl Author {
    /// A change of an account or a group; the caller adds what differs.
    #[must_use]
    pub fn change(&self, action: &str, target_kind: &str, target: Uuid) -> Event {
        let category = match (self.connection, target_kind) {
            (Some(_), _) => Category::UserSync,
            (None, _) if self.rule.is_some() => Category::System,
            (None, "group") => Category::Groups,
            (None, _) => Category::Users,
        };
        self.event(category, action, target_kind, target)
    }

    /// An event of this author; the caller adds what it is about.
    #[must_use]
    pub fn event(
        &self,
        category: Category,
        action: &str,
        target_kind: &str,
        target: Uuid,
    ) -> Event {
        Event {
            id: AuditId(self.ids.fresh()),
            at: self.at,
            category,
            action: action.to_owned(),
            actor: self.name.clone(),
            client: self.client.clone(),
            connection: self.connection,
            key: self.key,
            target_kind: target_kind.to_owned(),
            target,
            member: None,
            before: None,
            after: None,
            rule: self.rule.map(str::to_owned),
            request_id: self.request_id.clone(),
            run: self.run,
            erased_at: None,
        }
    }
}

/// One change, or one thing that was refused or left out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Event {
    /// Its id; ids are in the order of time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Which part of the product.
    pub category: Category,
    /// What happened, as `account.created`.
    pub action: String,
    /// Who did it, in words: the connection's name or `cli`.
    pub actor: String,
    /// The program that the connection spoke through, as it called itself.
    pub client: Option<String>,
    /// The connection that did it.
    pub connection: Option<ConnectionId>,
    /// The key that was used.
    pub key: Option<KeyId>,
    /// What was changed: `account`, `group`, `connection`, …
    pub target_kind: String,
    /// Which one.
    pub target: Uuid,
    /// The member that joined or left, when the target is a group.
    pub member: Option<MemberId>,
    /// What it was.
    pub before: Option<Value>,
    /// What it is now.
    pub after: Option<Value>,
    /// The rule that fired.
    pub rule: Option<String>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// The run that it is a part of.
    pub run: Option<RunId>,
    /// When what it says of a person was erased: before and after are gone.
    pub erased_at: Option<Timestamp>,
}

impl Record for Event {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let json = |column| -> Result<Option<Value>, StoreError> {
            let text: Option<String> = row.get(column)?;
            text.map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| StoreError::Corrupt { column, reason: error.to_string() })
        };
        Ok(Self {
            id: row.get("id")?,
            at: row.get("at")?,
            category: row.get("category")?,
            action: row.get("action")?,
            actor: row.get("actor")?,
            client: row.get("client")?,
            connection: row.get("connection_id")?,
            key: row.get("key_id")?,
            target_kind: row.get("target_kind")?,
            target: row.get("target_id")?,
            member: row.get("member_id")?,
            before: json("before")?,
            after: json("after")?,
            rule: row.get("rule")?,
            request_id: row.get("request_id")?,
            run: row.get("run_id")?,
            erased_at: row.get("erased_at")?,
        })
    }
}

/// What of `one` is not the same in `other`: the side of a change that the trail keeps.
#[must_use]
pub fn differing(one: &Map<String, Value>, other: &Map<String, Value>) -> Map<String, Value> {
    let differs = |(key, value): &(&String, &Value)| other.get(*key) != Some(*value);
    one.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Appends events, each to be linked into the chain once it is committed.
pub async fn append(tx: &mut Tx, instance: InstanceId, events: &[Event]) -> Result<(), StoreError> {
    for events in events.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "INSERT INTO audit_events (instance_id, id, at, category, action, actor, \
             connection_id, key_id, target_kind, target_id, member_id, before, after, rule, \
             request_id, run_id, client) VALUES ",
        );
        sql.push_rows(events.iter().map(|event| columns(instance, event)));
        tx.execute(sql).await?;
        chain::await_links(tx, instance, events.iter().map(|event| event.id)).await?;
    }
    Ok(())
}

fn columns(instance: InstanceId, event: &Event) -> [Bind; 17] {
    [
        instance.into(),
        event.id.into(),
        event.at.into(),
        event.category.word().into(),
        event.action.as_str().into(),
        event.actor.as_str().into(),
        event.connection.into(),
        event.key.into(),
        event.target_kind.as_str().into(),
        event.target.into(),
        event.member.into(),
        event.before.as_ref().map(Value::to_string).into(),
        event.after.as_ref().map(Value::to_string).into(),
        event.rule.as_deref().into(),
        event.request_id.as_deref().into(),
        event.run.into(),
        event.client.as_deref().into(),
    ]
}
