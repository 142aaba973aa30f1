//! Why a person may enter or not: each rule, the fact behind it, and who brought that about.

use serde_json::Value;

use super::resource::find;
use super::{Caller, Provision, Result, Users, standing};
use crate::directory::why::{Fact, Rung, explain};
use crate::directory::{
    Account, AccountId, ConnectionId, Hand, HandWord, InstanceId, Status, StatusReason, Timestamp,
};
use crate::store::audit::{self, Event};
use crate::store::query::Purpose;

/// The events of one account that are searched for causes, the newest first.
const EVENTS_SEARCHED_MAX: usize = 2_000;

/// The events that are in memory at once: each may hold a document.
const EVENTS_AT_ONCE: i64 = 20;

/// What is so while the guard holds a suspension.
const HELD: &str = "the identity provider says that the person is not active; the guard holds that \
                    until an administrator decides";

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
    /// The connection that did it.
    #[serde(skip)]
    pub connection: Option<ConnectionId>,
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
    /// Explains the status of an account that the caller can see. Of what others did it says that it was
    /// done, not by whom.
    pub async fn why_of(&self, caller: &Caller, id: &str) -> Result<Why> {
        let mut tx = self.store.read().await?;
        let account = find::<Users>(&mut tx, caller, id, Purpose::Look).await?;
        drop(tx);
        let mut why = self.why(caller.instance, &account).await?;
        for by in why.rules.iter_mut().filter_map(|rule| rule.by.as_mut()) {
            if by.connection != Some(caller.connection) {
                by.actor = match by.connection {
                    None => "an administrator".to_owned(),
                    Some(_) => "another connection".to_owned(),
                };
                (by.request_id, by.run, by.cause) = (None, None, None);
            }
        }
        Ok(why)
    }

    /// Explains the status of an account.
    pub async fn why(&self, instance: InstanceId, account: &Account) -> Result<Why> {
        let mut tx = self.store.read().await?;
        let mut rules: Vec<Cause> = explain(standing::facts(account))
            .into_iter()
            .map(|rung| Cause { rung, by: None })
            .collect();
        if account.suspension_held_at.is_some() {
            let active = rules.iter_mut().filter(|rule| rule.rung.fact == Fact::Active);
            active.for_each(|rule| rule.rung.says = HELD);
        }
        let (mut searched, mut before) = (0, None);
        while searched < EVENTS_SEARCHED_MAX && rules.iter().any(|rule| rule.by.is_none()) {
            let page = audit::search::before_of_target(
                &mut tx,
                instance,
                account.id.0,
                before,
                EVENTS_AT_ONCE,
            );
            let page = page.await?;
            let Some(last) = page.last() else { break };
            (searched, before) = (searched + page.len(), Some(last.id.0));
            for rule in rules.iter_mut().filter(|rule| rule.by.is_none()) {
                rule.by = cause(&page, rule.rung.fact, account);
            }
        }
        let hand =
            account.hand.map(|Hand { word, at, overtaken_at }| LastWord { word, at, overtaken_at });
        Ok(Why {
            id: account.id,
            user_name: account.user_name.clone(),
            status: account.status,
            reason: account.reason,
            rules,
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
            (Fact::Active | Fact::Scope | Fact::Source, Some(_)) => true,
        }
    };
    events.iter().find(changed).map(|event| By {
        at: event.at,
        action: event.action.clone(),
        actor: event.actor.clone(),
        connection: event.connection,
        request_id: event.request_id.clone(),
        run: event.run.map(|run| run.to_string()),
        cause: event.after.as_ref().and_then(|after| after.get("cause").cloned()),
    })
}
