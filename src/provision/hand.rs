//! The administrator's hand: one account or many, through the same rules as everything else.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Error, Provision, Result, mapping, protection, required, standing, transact, users};
use crate::directory::hand::{Act, Outcome, act};
use crate::directory::{
    Account, AccountId, Connection, InstanceId, MemberId, Retention, Status, StatusReason,
};
use crate::scim::fold::fold;
use crate::scim::habits::Habits;
use crate::scim::schemas::{DIRECTORY_USER, Schemas};
use crate::scim::sort::Position;
use crate::scim::{Document, ErrorKind, ScimError, filter};
use crate::store::accounts::{self, Tombstone};
use crate::store::audit::Author;
use crate::store::query::{self, Narrow, Page, Purpose, Viewer};
use crate::store::{
    self, BATCH_MAX, StoreError, Tx, connections, instances, licences, memberships,
};

/// The accounts that one act can choose by a filter.
pub const CHOSEN_MAX: usize = 100_000;

/// The accounts for which a preview is exact.
pub const REHEARSED_MAX: usize = 100;

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
            Err(Error::Refused(refusal) | Error::NoSeat(refusal)) => {
                let account = self.account_for(instance, &id.to_string(), Some(what)).await?;
                let Some(account) = account else { return Err(refusal.into()) };
                Ok(done_to(&account, &account, Some(refusal.detail.clone())))
            }
            done => done,
        }
    }

    /// Says what doing something to accounts, one after the other, would come to: does it in a transaction
    /// that is given up. At most [`REHEARSED_MAX`] accounts, because writers wait meanwhile; of others it
    /// says what the rules make of them if seats are free.
    pub async fn rehearse(
        &self,
        author: &Author,
        instance: InstanceId,
        accounts: &[Account],
        what: Act,
    ) -> Result<Vec<Done>> {
        let (first, others) = accounts.split_at(accounts.len().min(REHEARSED_MAX));
        let mut done = Vec::with_capacity(accounts.len());
        let mut tx = self.store.begin().await?;
        licences::wait(&mut tx, instance).await?;
        for account in first {
            match one(&mut tx, author, instance, account.id, what).await {
                Ok(one) => done.push(one),
                Err(Error::Refused(refusal) | Error::NoSeat(refusal)) => {
                    done.push(done_to(account, account, Some(refusal.detail)));
                    // The database may refuse to go on after an error: those before are done again.
                    tx.rollback().await;
                    tx = self.store.begin().await?;
                    licences::wait(&mut tx, instance).await?;
                    for (account, was) in first.iter().zip(&done) {
                        if was.refused.is_none() {
                            one(&mut tx, author, instance, account.id, what).await?;
                        }
                    }
                }
                Err(error) => {
                    tx.rollback().await;
                    return Err(error);
                }
            }
        }
        let kept = instances::retention(&mut tx, instance).await?;
        tx.rollback().await;
        done.extend(others.iter().map(|account| self.foresee(account, what, kept)));
        Ok(done)
    }

    /// What the rules make of an act if a seat is free.
    fn foresee(&self, account: &Account, what: Act, kept: Retention) -> Done {
        match act(account, what, self.clock.now(), kept) {
            Outcome::Unchanged => done_to(account, account, None),
            Outcome::Refused(why) => done_to(account, account, Some(why)),
            Outcome::Changed(mut after) => {
                standing::judge(&mut after);
                after.version += 1;
                done_to(account, &after, None)
            }
        }
    }

    /// An account by its id or its user name, also one that was deleted; a live one wins, except where the
    /// act is a restoration.
    pub async fn account_for(
        &self,
        instance: InstanceId,
        name: &str,
        what: Option<Act>,
    ) -> Result<Option<Account>> {
        let mut tx = self.store.read().await?;
        let viewer = Viewer::Administrator;
        let key = fold(name).into_owned();
        let (narrow, tombstone) = match name.parse::<AccountId>() {
            Ok(id) => (Narrow::Id(id.0), Tombstone::Id(id)),
            Err(_) => (Narrow::UserName(key.clone()), Tombstone::UserName(&key)),
        };
        let live: Option<Account> =
            query::one(&mut tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Look).await?;
        if live.is_some() && what != Some(Act::Restore) {
            return Ok(live);
        }
        let deleted = accounts::tombstone(&mut tx, instance, tombstone, Purpose::Look).await?;
        Ok(deleted.or(live))
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
        let connections = connections::list(&mut tx, instance).await?;
        loop {
            let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
            let (page, all) = (Page::by_id(after.as_ref(), limit), Narrow::All(Vec::new()));
            let viewer = Viewer::Administrator;
            let rows: Vec<Account> =
                query::page(&mut tx, table, instance, viewer, &all, page).await?;
            let Some(last) = rows.last() else { return Ok(chosen) };
            after = Some(Position::of(last.id.0));
            let shown = shown(&mut tx, instance, &rows, &connections).await?;
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
    connections: &[Connection],
) -> std::result::Result<Vec<Document>, StoreError> {
    let ids: Vec<MemberId> = rows.iter().map(|account| account.id.into()).collect();
    let groups = memberships::of_members(tx, instance, Viewer::Administrator, &ids).await?;
    let shown = rows.iter().map(|account| {
        let mut document = account.document.clone();
        let member = MemberId::from(account.id);
        let of_account = groups.iter().filter(|group| group.member == member);
        let listed: Vec<Value> = of_account
            .map(
                |group| json!({ "value": group.group, "display": group.display, "type": "direct" }),
            )
            .collect();
        let owner = connections.iter().find(|one| Some(one.id) == account.connection);
        let mut view = Map::new();
        view.insert("status".to_owned(), account.status.word().into());
        if let Some(reason) = account.reason {
            view.insert("statusReason".to_owned(), reason.word().into());
        }
        if let Some(owner) = owner {
            view.insert("directoryKey".to_owned(), owner.directory_key.clone().into());
        }
        document.insert("id".to_owned(), account.id.to_string().into());
        if !listed.is_empty() {
            document.insert("groups".to_owned(), listed.into());
        }
        document.insert(DIRECTORY_USER.to_owned(), view.into());
        document.insert(
            "meta".to_owned(),
            json!({
                "resourceType": "User",
                "created": account.created_at,
                "lastModified": account.modified_at,
            }),
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
    let kept = match what {
        Act::Restore => instances::retention(tx, instance).await?,
        _ => Retention::default(),
    };
    match act(&before, what, author.at, kept) {
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
            if matches!(what, Act::Restore | Act::MakeLocal) {
                made_anew(tx, author, instance, &schemas, &mut after).await?;
            }
            let done = done_word(what);
            let after = users::write(tx, instance, &schemas, author, &before, after, done).await?;
            Ok(done_to(&before, &after, None))
        }
    }
}

/// Makes anew what follows from the settings of the connection that has the account now: it may have come
/// to the account while nobody asked.
pub(super) async fn made_anew(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    schemas: &Schemas,
    account: &mut Account,
) -> Result<()> {
    let connection = match account.connection {
        Some(id) => connections::find(tx, instance, id).await?,
        None => None,
    };
    let settings = connection.map(|connection| connection.settings);
    let version = settings.as_ref().map_or(0, |settings| settings.mapping_version);
    account.missing = settings
        .map(|settings| required::missing(&settings, schemas, &account.document))
        .unwrap_or_default();
    let owner = account.connection;
    let misses =
        mapping::apply(tx, instance, owner, version, schemas, std::slice::from_mut(account));
    misses.await?.keep(tx, instance, author.at).await
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
