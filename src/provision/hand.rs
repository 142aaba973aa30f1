//! The administrator's hand: one account or many, through the same rules as everything else.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Error, Provision, Result, protection, standing, transact, users};
use crate::directory::hand::{Act, Outcome, act};
use crate::directory::{Account, AccountId, InstanceId, MemberId, Status, StatusReason};
use crate::scim::fold::fold;
use crate::scim::habits::Habits;
use crate::scim::schemas::{DIRECTORY_USER, Schemas};
use crate::scim::sort::Position;
use crate::scim::{Document, ErrorKind, ScimError, filter};
use crate::store::accounts::{self, Tombstone};
use crate::store::audit::Author;
use crate::store::query::{self, Narrow, Page, Purpose, Viewer};
use crate::store::{self, BATCH_MAX, StoreError, Tx, memberships};

/// The accounts that one act can choose by a filter.
pub const CHOSEN_MAX: usize = 100_000;

/// What became of one account.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Done {
    /// The account.
    pub id: AccountId,
    /// Its user name.
    pub user_name: String,
    /// Its status before.
    pub was: Status,
    /// Its status now.
    pub is: Status,
    /// The rule behind it.
    pub reason: Option<StatusReason>,
    /// Whether anything changed.
    pub changed: bool,
    /// Why it was not done, if it was not.
    pub refused: Option<String>,
}

impl Provision {
    /// Does something to one account. What cannot be done is said in the answer, not as an error.
    pub async fn act(
        &self,
        author: &Author,
        instance: InstanceId,
        id: AccountId,
        what: Act,
    ) -> Result<Done> {
        let done = transact!(self.store, Some(instance), |tx| {
            one(&mut tx, author, instance, id, what).await
        });
        match done {
            // What the rules refuse for one of many must not stop the others.
            Err(Error::Refused(refusal)) => {
                let account = self.any_account(instance, &id.to_string()).await?;
                let account = account.ok_or(StoreError::Stale)?;
                Ok(done_to(&account, &account, Some(refusal.detail.clone())))
            }
            done => done,
        }
    }

    /// Says what doing something to an account would come to, as if a seat were free; changes nothing.
    #[must_use]
    pub fn foresee(&self, account: &Account, what: Act) -> Done {
        match act(account, what, self.clock.now()) {
            Outcome::Unchanged => done_to(account, account, None),
            Outcome::Refused(why) => done_to(account, account, Some(why)),
            Outcome::Changed(mut after) => {
                let seated = account.status == Status::Active;
                standing::judge(&mut after);
                after.version += 1;
                if after.status == Status::Active && !seated && account.queued_at.is_some() {
                    (after.status, after.reason) = (account.status, account.reason);
                }
                done_to(account, &after, None)
            }
        }
    }

    /// An account by its id or its user name, also one that was deleted; a live one wins.
    pub async fn any_account(&self, instance: InstanceId, name: &str) -> Result<Option<Account>> {
        let mut tx = self.store.read().await?;
        let viewer = Viewer::Administrator;
        let key = fold(name).into_owned();
        let (narrow, tombstone) = match name.parse::<AccountId>() {
            Ok(id) => (Narrow::Id(id.0), Tombstone::Id(id)),
            Err(_) => (Narrow::UserName(key.clone()), Tombstone::UserName(&key)),
        };
        let live: Option<Account> =
            query::one(&mut tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Look).await?;
        if live.is_some() {
            return Ok(live);
        }
        Ok(accounts::tombstone(&mut tx, instance, tombstone, Purpose::Look).await?)
    }

    /// All accounts that a filter selects, live ones or, for a restoration, deleted ones. Filters are those
    /// of the protocol, over everything that it shows of a User.
    pub async fn choose(
        &self,
        instance: InstanceId,
        text: &str,
        what: Act,
    ) -> Result<Vec<Account>> {
        let schemas = self.current_schemas(instance).await?;
        let parsed = filter::parse(text, &Habits::LENIENT)?;
        let condition = filter::resolve(&schemas.user, &[], &parsed)?;
        let table =
            if what == Act::Restore { &accounts::TOMBSTONE_TABLE } else { &accounts::TABLE };
        let (mut chosen, mut after): (Vec<Account>, Option<Position>) = (Vec::new(), None);
        let mut tx = self.store.read().await?;
        loop {
            let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
            let (page, all) = (Page::by_id(after.as_ref(), limit), Narrow::All(Vec::new()));
            let viewer = Viewer::Administrator;
            let rows: Vec<Account> =
                query::page(&mut tx, table, instance, viewer, &all, page).await?;
            let Some(last) = rows.last() else { return Ok(chosen) };
            after = Some(Position::of(last.id.0));
            let shown = shown(&mut tx, instance, &rows).await?;
            let hits = rows.into_iter().zip(shown).filter(|(_, shown)| condition.matches(shown));
            chosen.extend(hits.map(|(account, _)| account));
            if chosen.len() > CHOSEN_MAX {
                let detail = format!("the filter selects more than {CHOSEN_MAX} accounts");
                return Err(ScimError::new(ErrorKind::TooMany, detail).into());
            }
        }
    }
}

/// What a filter sees of accounts: the document, the groups, and what the rules made of them.
async fn shown(
    tx: &mut Tx,
    instance: InstanceId,
    rows: &[Account],
) -> std::result::Result<Vec<Document>, StoreError> {
    let ids: Vec<MemberId> = rows.iter().map(|account| account.id.into()).collect();
    let groups = memberships::of_members(tx, instance, Viewer::Administrator, &ids).await?;
    let shown = rows.iter().map(|account| {
        let mut document = account.document.clone();
        let member = MemberId::from(account.id);
        let of_account = groups.iter().filter(|group| group.member == member);
        let listed: Vec<Value> = of_account
            .map(|group| json!({ "value": group.group, "display": group.display }))
            .collect();
        document.insert("id".to_owned(), account.id.to_string().into());
        document.insert("groups".to_owned(), listed.into());
        let view = json!({ "status": account.status, "statusReason": account.reason });
        document.insert(DIRECTORY_USER.to_owned(), view);
        document.insert(
            "meta".to_owned(),
            json!({ "created": account.created_at, "lastModified": account.modified_at }),
        );
        document
    });
    Ok(shown.collect())
}

async fn one(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    id: AccountId,
    what: Act,
) -> Result<Done> {
    let before = if what == Act::Restore {
        accounts::tombstone(tx, instance, Tombstone::Id(id), Purpose::Change).await?
    } else {
        let narrow = Narrow::Id(id.0);
        let (table, change) = (&accounts::TABLE, Purpose::Change);
        query::one(tx, table, instance, Viewer::Administrator, &narrow, change).await?
    };
    let Some(before) = before else {
        let detail = match what {
            Act::Restore => "it is not deleted",
            _ => "it is deleted: restore it first",
        };
        return Err(ScimError::new(ErrorKind::NotFound, detail).into());
    };
    match act(&before, what, author.at) {
        Outcome::Unchanged => Ok(done_to(&before, &before, None)),
        Outcome::Refused(why) => Ok(done_to(&before, &before, Some(why))),
        Outcome::Changed(after) => {
            if matches!(what, Act::Hold | Act::Suspend | Act::Delete) {
                protection::require_not_last(tx, instance, &before).await?;
            }
            let schemas = schemas(tx, instance).await?;
            let mut after =
                Account { version: before.version + 1, modified_at: author.at, ..*after };
            standing::judge(&mut after);
            let done = done_word(what);
            let after = users::write(tx, instance, &schemas, author, &before, after, done).await?;
            Ok(done_to(&before, &after, None))
        }
    }
}

async fn schemas(tx: &mut Tx, instance: InstanceId) -> Result<Arc<Schemas>> {
    Ok(Arc::new(store::schemas::of_instance(tx, instance).await?))
}

fn done_word(what: Act) -> &'static str {
    match what {
        Act::Hold => "held",
        Act::Release => "released",
        Act::Suspend => "suspended",
        Act::Reactivate => "reactivated",
        Act::Delete => "deleted",
        Act::Restore => "restored",
        Act::MakeLocal => "made_local",
    }
}

fn done_to(was: &Account, is: &Account, refused: Option<String>) -> Done {
    Done {
        id: is.id,
        user_name: is.user_name.clone(),
        was: was.status,
        is: is.status,
        reason: is.reason,
        changed: was.version != is.version,
        refused,
    }
}
