//! Why a person may enter or not: each rule, the fact behind it, and who brought that about.

use serde_json::Value;

use super::resource::find;
use super::{Caller, Provision, Result, Users, standing};
use crate::directory::why::{Fact, Rung, explain};
use crate::directory::{
    Account, AccountId, Hand, HandWord, InstanceId, Status, StatusReason, Timestamp,
};
use crate::store::audit::{self, Event};
use crate::store::query::Purpose;

/// The events of one account that are searched for causes, the newest first.
const EVENTS_SEARCHED_MAX: i64 = 2_000;

/// The whole chain of causes behind a status.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Why {
    /// The account.
    pub id: AccountId,
    /// Its user name.
    pub user_name: String,
    /// Its status.
    pub status: Status,
    /// The rule behind it.
    pub reason: Option<StatusReason>,
    /// The rules in the order in which they decide.
    pub rules: Vec<Cause>,
    /// The administrator's last word, also if it no longer counts.
    pub hand: Option<LastWord>,
    /// Since when the person waits for a seat.
    pub queued_at: Option<Timestamp>,
}

/// A rule, and the event that made it apply or not.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cause {
    /// The rule.
    #[serde(flatten)]
    pub rung: Rung,
    /// The last event that changed the fact; none if it is as it was from the beginning, or if that is
    /// too many events ago.
    pub by: Option<By>,
}

/// Who brought a fact about.
#[derive(Debug, Clone, serde::Serialize)]
pub struct By {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// The run that it was a part of.
    pub run: Option<String>,
    /// What else moved: the group that was left, the setting that was changed.
    pub cause: Option<Value>,
}

/// What an administrator said last, and what became of it.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct LastWord {
    /// The word.
    pub word: HandWord,
    /// When.
    pub at: Timestamp,
    /// When the identity provider's next word took its place.
    pub overtaken_at: Option<Timestamp>,
}

impl Provision {
    /// Explains the status of an account that the caller can see.
    pub async fn why_of(&self, caller: &Caller, id: &str) -> Result<Why> {
        let mut tx = self.store.read().await?;
        let account = find::<Users>(&mut tx, caller, id, Purpose::Look).await?;
        drop(tx);
        self.why(caller.instance, &account).await
    }

    /// Explains the status of an account.
    pub async fn why(&self, instance: InstanceId, account: &Account) -> Result<Why> {
        let mut tx = self.store.read().await?;
        let events =
            audit::latest_of_target(&mut tx, instance, account.id.0, EVENTS_SEARCHED_MAX).await?;
        let rules = explain(standing::facts(account)).into_iter().map(|rung| {
            let by = cause(&events, rung.fact, account);
            Cause { rung, by }
        });
        let hand =
            account.hand.map(|Hand { word, at, overtaken_at }| LastWord { word, at, overtaken_at });
        Ok(Why {
            id: account.id,
            user_name: account.user_name.clone(),
            status: account.status,
            reason: account.reason,
            rules: rules.collect(),
            hand,
            queued_at: account.queued_at,
        })
    }
}

/// The last event that changed a fact; the creation counts only for what it said.
fn cause(events: &[Event], fact: Fact, account: &Account) -> Option<By> {
    let changed = |event: &&Event| {
        let said = event.after.as_ref().and_then(|after| after.get(fact.key()));
        match (fact, said) {
            (_, None) => false,
            (Fact::Deleted, Some(status)) => {
                account.deleted_at.is_some() && status == Status::Deleted.word()
            }
            (Fact::Seat, Some(status)) => {
                let decided = matches!(account.status, Status::Blocked | Status::Active);
                decided && (status == account.status.word())
            }
            (Fact::Hand, Some(word)) => event.before.is_some() || !word.is_null(),
            (Fact::Active | Fact::Scope, Some(_)) => true,
        }
    };
    events.iter().find(changed).map(|event| By {
        at: event.at,
        action: event.action.clone(),
        actor: event.actor.clone(),
        request_id: event.request_id.clone(),
        run: event.run.map(|run| run.to_string()),
        cause: event.after.as_ref().and_then(|after| after.get("cause").cloned()),
    })
}
