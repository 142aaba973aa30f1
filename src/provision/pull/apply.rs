//! Applying the lines of a batch: those that say something new, each by the rules of a push.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::groups::{self, Moved};
use super::{Action, Batch, Entry, Line, Puller, enters, leaves, report};
use crate::directory::guard::Leaving;
use crate::directory::rules::{Claim, claim, overtaken};
use crate::directory::source::Outcome;
use crate::directory::{Account, AccountId, Recreate, Timestamp};
use crate::provision::resource::Resource;
use crate::provision::{Caller, Error, Result, Users, claims, users};
use crate::scim::ScimError;
use crate::scim::fold::fold;
use crate::scim::schemas::Schemas;
use crate::scim::version::Expected;
use crate::store::accounts::{self, Sought};
use crate::store::audit::Author;
use crate::store::query::Purpose;
use crate::store::run_items::Item;
use crate::store::{StoreError, Tx, schemas};

/// People by what they are matched with.
type Found = HashMap<String, Account>;

/// What became of one line that was applied.
struct Applied<'l> {
    entry: &'l Entry,
    before: Option<Account>,
    id: AccountId,
    /// Whether the account was Local before.
    picked_up: bool,
    /// Whether an administrator has to agree first.
    asked: bool,
}

/// The live accounts that answer to some keys.
pub(super) async fn find(
    tx: &mut Tx,
    puller: &Puller,
    keys: &[&str],
    purpose: Purpose,
) -> Result<Vec<Account>> {
    let instance = puller.connection.instance;
    Ok(accounts::by_keys(tx, instance, puller.sought(), keys, purpose).await?)
}

async fn found(
    tx: &mut Tx,
    puller: &Puller,
    entries: impl Iterator<Item = &Entry> + Send,
    purpose: Purpose,
) -> Result<Found> {
    let entries: Vec<&Entry> = entries.collect();
    let mut keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    keys.sort_unstable();
    let all = find(tx, puller, &keys, purpose).await?;
    let by_name = puller.sought() == Sought::UserName;
    let keyed = all.into_iter().map(|account| {
        let key = if by_name {
            fold(&account.user_name).into_owned()
        } else {
            account.external_id.clone().unwrap_or_default()
        };
        (key, account)
    });
    let mut found: Found = keyed.collect();
    if !by_name {
        add_local(tx, puller, entries, purpose, &mut found).await?;
    }
    Ok(found)
}

/// Adds the Local accounts whose names are those of people whom the connection does not have yet: they
/// are known by nothing else before they are picked up.
async fn add_local(
    tx: &mut Tx,
    puller: &Puller,
    entries: Vec<&Entry>,
    purpose: Purpose,
    found: &mut Found,
) -> Result<()> {
    let fresh = entries.into_iter().filter(|entry| !found.contains_key(&entry.key));
    let by_name: HashMap<String, String> =
        fresh.map(|entry| (fold(&entry.name).into_owned(), entry.key.clone())).collect();
    let mut names: Vec<&str> = by_name.keys().map(String::as_str).collect();
    names.sort_unstable();
    let instance = puller.connection.instance;
    let local = accounts::by_keys(tx, instance, Sought::UserName, &names, purpose).await?;
    for account in local.into_iter().filter(|account| account.connection.is_none()) {
        if let Some(key) = by_name.get(fold(&account.user_name).as_ref()) {
            found.insert(key.clone(), account);
        }
    }
    Ok(())
}

pub(super) fn entries(lines: &[Line]) -> impl Iterator<Item = &Entry> {
    lines.iter().filter_map(|line| match line {
        Line::Entry(entry) => Some(entry.as_ref()),
        Line::Refused { .. } => None,
    })
}

/// How many people would lose their access by some entries.
pub(super) async fn count_leaving(
    tx: &mut Tx,
    puller: &Puller,
    entries: &[&Entry],
) -> Result<Leaving> {
    let found = found(tx, puller, entries.iter().copied(), Purpose::Look).await?;
    let caller = puller.caller();
    let mut count = Leaving::default();
    let mut staying = Vec::new();
    for entry in entries {
        let Some(account) = found.get(&entry.key).filter(|account| enters(account.status)) else {
            continue;
        };
        let owner = claim(
            account.connection,
            caller.connection,
            caller.settings.pick_up,
            account.protected,
        );
        match (owner, entry.leaves()) {
            (Claim::Own, true) => count.leaving += 1,
            (Claim::PickUp, true) => {
                count.leaving += 1;
                count.present += 1;
            }
            (Claim::Own, false) if account.in_scope => {
                staying.extend(entry.groups.as_deref().map(|names| (account.id, names)));
            }
            _ => {}
        }
    }
    count.leaving += groups::leaving_scope(tx, caller, &staying).await?;
    Ok(count)
}

/// The places of those lines that say something new or are refused, and whether each is about somebody new.
pub(super) async fn changing(
    tx: &mut Tx,
    puller: &Puller,
    lines: &[Line],
) -> Result<Vec<(usize, bool)>> {
    let found = found(tx, puller, entries(lines), Purpose::Look).await?;
    let speaking = entries(lines).filter(|entry| entry.groups.is_some());
    let ids: Vec<AccountId> =
        speaking.filter_map(|entry| found.get(&entry.key).map(|account| account.id)).collect();
    let belonging = groups::of(tx, puller, &ids).await?;
    let at = puller.now();
    let changes = |line: &Line| match line {
        Line::Refused { .. } => true,
        Line::Entry(entry) => {
            let account = found.get(&entry.key);
            let same_groups = || match (account, &entry.groups) {
                (Some(account), Some(names)) => belonging.same(account.id, names),
                _ => true,
            };
            !(says_nothing_new(puller, entry, account, at) && same_groups())
        }
    };
    let is_new = |line: &Line| match line {
        Line::Refused { .. } => false,
        Line::Entry(entry) => !found.contains_key(&entry.key),
    };
    let changing = (0..).zip(lines).filter(|(_, line)| changes(line));
    Ok(changing.map(|(place, line)| (place, is_new(line))).collect())
}

/// Whether an account is already as a row says.
fn says_nothing_new(
    puller: &Puller,
    entry: &Entry,
    account: Option<&Account>,
    at: Timestamp,
) -> bool {
    let Some(account) = account else { return entry.action == Action::Delete };
    if account.connection != Some(puller.connection.id) {
        return false;
    }
    let same = account.in_source && overtaken(account.hand, at) == account.hand;
    match entry.action {
        Action::Delete => false,
        Action::Suspend => same && !account.active,
        Action::Keep => {
            let replaced = users::replaced(&puller.caller.habits, account, entry.document.clone());
            same && replaced == account.document
        }
    }
}

/// Applies lines; the accounts are locked first, in one order.
pub(super) async fn all(
    tx: &mut Tx,
    puller: &Puller,
    author: &Author,
    lines: &[Line],
) -> Result<Batch> {
    let instance = puller.connection.instance;
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    let caller = &puller.current(tx, schemas.clone()).await?;
    let mut batch = Batch::default();
    let mut chosen = Vec::new();
    for line in lines {
        match line {
            Line::Entry(entry) => chosen.push(entry.as_ref()),
            Line::Refused { line, name, reason, .. } => {
                batch.items.push(report::skipped(*line, name, reason));
            }
        }
    }
    let mut work = Applying { caller, author, batch, applied: Vec::new() };
    let found = found(tx, puller, chosen.iter().copied(), Purpose::Change).await?;
    work.entries(tx, &chosen, &found).await?;
    let moved = work.groups(tx).await?;
    work.report(tx, &schemas, &moved).await
}

struct Applying<'w> {
    caller: &'w Caller,
    author: &'w Author,
    batch: Batch,
    applied: Vec<Applied<'w>>,
}

impl<'w> Applying<'w> {
    /// Applies entries. A refusal takes the whole of a range back, which is then tried in halves: what is
    /// left out in the end are single rows, and where nothing is refused nothing is done twice.
    async fn entries(&mut self, tx: &mut Tx, chosen: &[&'w Entry], found: &Found) -> Result<()> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        ranges.push(0..chosen.len());
        while let Some(range) = ranges.pop() {
            let Some(part) = chosen.get(range.clone()).filter(|part| !part.is_empty()) else {
                continue;
            };
            if self.batch.stopped.is_some() {
                return Ok(());
            }
            let kept = self.applied.len();
            tx.mark().await?;
            match self.range(tx, part, found).await {
                Ok(()) => tx.forget_mark().await?,
                Err(error @ (Error::Refused(_) | Error::NoSeat(_))) => {
                    self.applied.truncate(kept);
                    tx.back_to_mark().await?;
                    if let [entry] = part {
                        self.refuse(entry, &error);
                    } else {
                        let middle = range.start + part.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn range(&mut self, tx: &mut Tx, part: &[&'w Entry], found: &Found) -> Result<()> {
        let is_new =
            |entry: &&Entry| entry.action == Action::Keep && !found.contains_key(&entry.key);
        for alike in part.chunk_by(|one, other| is_new(one) && is_new(other)) {
            if let [_, _, ..] = alike
                && self.newcomers(tx, alike).await?
            {
                continue;
            }
            for entry in alike {
                let before = found.get(&entry.key);
                let applied = self.one(tx, entry, before).await?;
                self.applied.extend(applied);
            }
        }
        Ok(())
    }

    /// Creates the accounts of several entries at once; nothing was done if it is `false`, because the name
    /// of one of them is not free.
    async fn newcomers(&mut self, tx: &mut Tx, part: &[&'w Entry]) -> Result<bool> {
        let (caller, author) = (self.caller, self.author);
        let documents = part.iter().map(|entry| entry.document.clone());
        tx.mark().await?;
        match Users::create_all(tx, caller, author, documents).await {
            Ok(Some(created)) => {
                tx.forget_mark().await?;
                for (entry, created) in part.iter().zip(created) {
                    let applied = self.created(tx, entry, &created).await?;
                    self.applied.push(applied);
                }
                Ok(true)
            }
            Ok(None) => {
                tx.back_to_mark().await?;
                Ok(false)
            }
            Err(error @ (Error::Refused(_) | Error::NoSeat(_))) => {
                tx.back_to_mark().await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Applies one entry; nothing if there is nothing to do.
    async fn one(
        &self,
        tx: &mut Tx,
        entry: &'w Entry,
        before: Option<&Account>,
    ) -> Result<Option<Applied<'w>>> {
        let (caller, author) = (self.caller, self.author);
        let Some(before) = before.cloned() else {
            return match entry.action {
                Action::Delete => Ok(None),
                Action::Suspend => Err(refusal("nobody of this name is here to be suspended")),
                Action::Keep => self.create(tx, entry).await.map(Some),
            };
        };
        let meaning =
            claim(before.connection, caller.connection, caller.settings.pick_up, before.protected);
        let id = before.id;
        // Rows before it may have linked the account to its manager: who writes it must know.
        let now = accounts::some(tx, caller.instance, &[id]).await?.pop();
        let now = now.ok_or(StoreError::Stale)?;
        let picked_up = before.connection.is_none();
        let applied = |asked| Applied { entry, before: Some(before.clone()), id, picked_up, asked };
        match (meaning, entry.action) {
            (Claim::Foreign, _) => Err(refusal(
                "the account belongs to another connection, which stays its owner: take the person out \
                 of this file, or make the account Local first",
            )),
            (Claim::Protected, _) => {
                Err(refusal("the account is protected: no connection can change it"))
            }
            (Claim::Refused, _) => Err(refusal(
                "the account is Local and this connection picks up none (its policy is \"never\")",
            )),
            (Claim::PickUp | Claim::Ask, Action::Suspend | Action::Delete) => Err(refusal(
                "the account is Local: a connection suspends and deletes its own people only",
            )),
            (Claim::Own, Action::Delete) => {
                Users::delete(tx, caller, author, now).await?;
                Ok(Some(applied(false)))
            }
            (Claim::Own, Action::Suspend) => {
                let mut document = now.document.clone();
                document.insert("active".to_owned(), Value::Bool(false));
                Users::replace(tx, caller, author, now, document).await?;
                Ok(Some(applied(false)))
            }
            (Claim::Own | Claim::PickUp | Claim::Ask, Action::Keep) => {
                let document = entry.document.clone();
                let any = &Expected::ANY;
                let met = claims::meet::<Users>(tx, caller, author, now, any).await?;
                Users::replace(tx, caller, author, met, document).await?;
                Ok(Some(applied(meaning == Claim::Ask)))
            }
        }
    }

    async fn create(&self, tx: &mut Tx, entry: &'w Entry) -> Result<Applied<'w>> {
        let (caller, author) = (self.caller, self.author);
        let document = entry.document.clone();
        let created = Users::create(tx, caller, author, author.ids, document).await?;
        self.created(tx, entry, &created).await
    }

    async fn created(
        &self,
        tx: &mut Tx,
        entry: &'w Entry,
        created: &Account,
    ) -> Result<Applied<'w>> {
        let (caller, author) = (self.caller, self.author);
        let is_new = created.version == 1;
        // Whoever comes back is reported as created.
        let picked_up = !is_new && caller.settings.recreate == Recreate::New;
        // Somebody Local may have come by this name just now, and wait for an administrator.
        let asked = created.connection != Some(caller.connection);
        if let Some(hash) = entry.password.as_deref().filter(|_| is_new && !asked) {
            accounts::keep_password(tx, caller.instance, created.id, hash, author.at).await?;
        }
        Ok(Applied { entry, before: None, id: created.id, picked_up, asked })
    }

    /// Notes a row that was refused; where no seat is free and the licence says so, the run ends with it.
    fn refuse(&mut self, entry: &Entry, error: &Error) {
        let reason = match error {
            Error::Refused(refusal) | Error::NoSeat(refusal) => refusal.detail.clone(),
            Error::Store(error) => error.to_string(),
        };
        if matches!(error, Error::NoSeat(_)) {
            self.batch.stopped = Some(format!("line {}: {reason}", entry.line));
        }
        self.batch.items.push(report::skipped(entry.line, &entry.name, &reason));
    }

    /// Brings the people who were applied into the groups that their rows name, and out of the others.
    async fn groups(&mut self, tx: &mut Tx) -> Result<Moved> {
        let said: Vec<(AccountId, &[String])> = self
            .applied
            .iter()
            .filter(|applied| !applied.asked && applied.entry.action == Action::Keep)
            .filter_map(|applied| Some((applied.id, applied.entry.groups.as_deref()?)))
            .collect();
        let moved = groups::settle(tx, self.caller, self.author, &said).await?;
        self.batch.notes.extend(moved.refused.iter().cloned());
        Ok(moved)
    }

    async fn report(mut self, tx: &mut Tx, schemas: &Schemas, moved: &Moved) -> Result<Batch> {
        let ids: Vec<AccountId> = self.applied.iter().map(|applied| applied.id).collect();
        let after = accounts::some(tx, self.caller.instance, &ids).await?;
        let after: HashMap<AccountId, Account> =
            after.into_iter().map(|account| (account.id, account)).collect();
        for Applied { entry, before, id, picked_up, asked } in &self.applied {
            let name = entry.name.clone();
            let plain = |outcome| Item {
                outcome,
                line: Some(entry.line),
                name: name.clone(),
                account: Some(*id),
                detail: None,
            };
            let item = match after.get(id) {
                None => Some(plain(Outcome::Deleted)),
                Some(_) if *asked => Some(plain(Outcome::Asked)),
                Some(after) => {
                    let (kind, before, line) = (&schemas.user, before.as_ref(), Some(entry.line));
                    report::item(kind, before, after, *picked_up, line)
                }
            };
            self.batch.left +=
                i64::from(before.as_ref().is_some_and(|was| leaves(was, after.get(id))));
            let item = match moved.of.get(id) {
                Some(groups) if before.is_some() => item
                    .or_else(|| Some(plain(Outcome::Updated)))
                    .map(|item| report::with(item, groups)),
                _ => item,
            };
            match item {
                Some(item) => self.batch.items.push(item),
                None => self.batch.unchanged += 1,
            }
        }
        self.batch.items.sort_by_key(|item| item.line);
        Ok(self.batch)
    }
}

fn refusal(reason: &str) -> Error {
    ScimError::invalid_value("the row", reason).into()
}
