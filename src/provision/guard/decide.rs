//! What administrators decide about what the guard holds: it happens now, or it was never said.
//!
//! A decision goes through everything that is held, page by page, each page a transaction. What is decided
//! is no longer in the lists, so whoever is interrupted begins again.

use serde_json::json;
use uuid::Uuid;

use super::super::resource::{Resource, finish};
use super::super::{
    Caller, Error, Groups, Provision, Result, Users, approvals, mapping, scope, standing, transact,
    users,
};
use super::held::{GUARD_PAGE, GuardState, Stage, state};
use super::keep_members;
use crate::directory::{Account, Connection, Group, Scope};
use crate::store::audit::{self, Author, Category};
use crate::store::guard::{self, People};
use crate::store::held::{self as rows, Locked, Wanted};
use crate::store::{Tx, accounts, groups};

/// What is held that a preview goes through at most, where the scope of a connection has sync groups;
/// writers wait meanwhile.
pub const GUARD_FORESEEN_MAX: i64 = 10_000;

/// What an administrator says to what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldDecision {
    /// What the client has said happens.
    Apply,
    /// It never happens, and the client reads so.
    Discard,
}

impl HeldDecision {
    fn done(self) -> &'static str {
        match self {
            Self::Apply => "applied",
            Self::Discard => "discarded",
        }
    }
}

/// How much was decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Decided {
    /// Suspensions.
    pub suspensions: i64,
    /// Deletions of accounts.
    pub deletions: i64,
    /// Members of groups.
    pub removals: i64,
    /// Deletions of groups.
    pub group_deletions: i64,
    /// People who left the scope with a membership or a group.
    pub out_of_scope: i64,
    /// What could not be decided, and why not.
    pub refused: Vec<String>,
}

impl Decided {
    /// Takes in what was decided besides.
    pub fn add(&mut self, other: Self) {
        self.suspensions += other.suspensions;
        self.deletions += other.deletions;
        self.removals += other.removals;
        self.group_deletions += other.group_deletions;
        self.out_of_scope += other.out_of_scope;
        self.refused.extend(other.refused);
    }
}

/// How far a decision has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deciding {
    decision: HeldDecision,
    only: Option<Uuid>,
    stage: Option<Stage>,
    after: Option<Uuid>,
}

impl Deciding {
    /// About all that is held, or only about one account or group: its members, if they are held.
    #[must_use]
    pub fn begin(decision: HeldDecision, only: Option<Uuid>) -> Self {
        Self { decision, only, stage: Some(Stage::Suspensions), after: None }
    }

    /// Whether everything is decided.
    #[must_use]
    pub fn is_done(self) -> bool {
        self.stage.is_none()
    }
}

/// What came of one page.
#[derive(Default)]
struct Paged {
    decided: Decided,
    /// The last row; none if there was none.
    last: Option<Uuid>,
    /// Whether that row has more to decide.
    again: bool,
}

impl Provision {
    /// Decides about all that is held, or about what is held of one account or group.
    pub async fn decide_held(
        &self,
        author: &Author,
        connection: &Connection,
        decision: HeldDecision,
        only: Option<Uuid>,
    ) -> Result<Decided> {
        let (mut at, mut decided) = (Deciding::begin(decision, only), Decided::default());
        while !at.is_done() {
            decided.add(self.decide_held_step(author, connection, &mut at).await?);
        }
        Ok(decided)
    }

    /// One step of it: one page, in a transaction of its own.
    pub async fn decide_held_step(
        &self,
        author: &Author,
        connection: &Connection,
        at: &mut Deciding,
    ) -> Result<Decided> {
        let Some(stage) = at.stage else { return Ok(Decided::default()) };
        let mut limit = GUARD_PAGE;
        loop {
            let paged = transact!(self.store, Some(connection.instance), |tx| {
                page(&mut tx, author, connection, *at, limit).await
            });
            match paged {
                Ok(Paged { decided, last: Some(last), again }) => {
                    at.after = if again { at.after } else { Some(last) };
                    return Ok(decided);
                }
                Ok(Paged { decided, last: None, .. }) => {
                    (at.stage, at.after) = (stage.next(), None);
                    return Ok(decided);
                }
                // What cannot be done to one must not stop the others.
                Err(Error::Refused(_) | Error::NoSeat(_)) if limit > 1 => limit = 1,
                Err(Error::Refused(refusal) | Error::NoSeat(refusal)) => {
                    let mut tx = self.store.read().await?;
                    let first = first(&mut tx, connection, *at).await?;
                    at.after = first.or(Some(Uuid::max()));
                    let name = first.map(|id| id.to_string()).unwrap_or_default();
                    let refused = vec![format!("{name}: {}", refusal.detail)];
                    return Ok(Decided { refused, ..Decided::default() });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The people of a connection now and as they would be if all that is held were applied; whether the
    /// latter takes those into account who would leave the scope.
    ///
    /// For that it does so in a transaction that is given up, of at most [`GUARD_FORESEEN_MAX`] changes.
    pub async fn foresee_held(
        &self,
        author: &Author,
        connection: &Connection,
    ) -> Result<(GuardState, People, bool)> {
        let now = self.guard_state(connection).await?;
        let (People { may_enter, suspended, deleted }, held) = (now.people, now.holding);
        let moved = held.removals + held.group_deletions;
        let all = held.suspensions + held.deletions + moved;
        if connection.settings.scope == Scope::Groups && moved > 0 && all <= GUARD_FORESEEN_MAX {
            let mut tx = self.store.begin().await?;
            let after = rehearse(&mut tx, author, connection).await;
            tx.rollback().await;
            return Ok((now, after?.people, true));
        }
        let after = People {
            may_enter: may_enter - held.entering - held.deleted_entering,
            suspended: suspended + held.entering - (held.deletions - held.deleted_entering),
            deleted: deleted + held.deletions,
        };
        Ok((now, after, connection.settings.scope == Scope::All || moved == 0))
    }
}

async fn rehearse(tx: &mut Tx, author: &Author, connection: &Connection) -> Result<GuardState> {
    crate::store::licences::wait(tx, connection.instance).await?;
    let mut at = Deciding::begin(HeldDecision::Apply, None);
    while let Some(stage) = at.stage {
        let paged = page(tx, author, connection, at, GUARD_PAGE).await?;
        match paged.last {
            Some(_) if paged.again => {}
            Some(last) => at.after = Some(last),
            None => (at.stage, at.after) = (stage.next(), None),
        }
    }
    state(tx, connection, author.at).await
}

fn wanted(connection: &Connection, at: Deciding, limit: i64) -> Wanted {
    let (instance, connection) = (connection.instance, connection.id);
    Wanted { instance, connection, only: at.only, after: at.after, limit }
}

/// The row that a step begins with.
async fn first(tx: &mut Tx, connection: &Connection, at: Deciding) -> Result<Option<Uuid>> {
    let wanted = wanted(connection, at, 1);
    Ok(match at.stage {
        None => None,
        Some(Stage::Suspensions) => {
            rows::suspended(tx, wanted, Locked::No).await?.first().map(|account| account.id.0)
        }
        Some(Stage::Deletions) => {
            rows::deleted(tx, wanted, Locked::No).await?.first().map(|account| account.id.0)
        }
        Some(Stage::Removals) => {
            rows::left_groups(tx, wanted, Locked::No).await?.first().map(|group| group.id.0)
        }
        Some(Stage::GroupDeletions) => {
            rows::deleted_groups(tx, wanted, Locked::No).await?.first().map(|group| group.id.0)
        }
    })
}

/// Decides about one page, and says so.
async fn page(
    tx: &mut Tx,
    author: &Author,
    connection: &Connection,
    at: Deciding,
    limit: i64,
) -> Result<Paged> {
    let wanted = wanted(connection, at, limit);
    let paged = match at.stage {
        None => Paged::default(),
        Some(Stage::Suspensions) => suspensions(tx, author, wanted, at.decision).await?,
        Some(Stage::Deletions) => deletions(tx, author, wanted, at.decision).await?,
        Some(Stage::Removals) => removals(tx, author, wanted, at.decision).await?,
        Some(Stage::GroupDeletions) => group_deletions(tx, author, wanted, at.decision).await?,
    };
    if paged.last.is_none() {
        return Ok(paged);
    }
    if at.decision == HeldDecision::Apply {
        // What an administrator has agreed to counts no more, nor what came before.
        guard::forget_losses(tx, wanted.instance, wanted.connection).await?;
    }
    let action = format!("connection.guard_{}", at.decision.done());
    let event = author.event(Category::Settings, &action, "connection", connection.id.0);
    let after = serde_json::to_value(&paged.decided).ok();
    audit::append(tx, wanted.instance, &[audit::Event { after, ..event }]).await?;
    Ok(paged)
}

/// The connection as the writer of what its client has said, which is no longer judged.
async fn caller_of(tx: &mut Tx, wanted: Wanted) -> Result<Caller> {
    approvals::caller_of(tx, wanted.instance, wanted.connection).await
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

async fn suspensions(
    tx: &mut Tx,
    author: &Author,
    wanted: Wanted,
    decision: HeldDecision,
) -> Result<Paged> {
    let held = rows::suspended(tx, wanted, Locked::Yes).await?;
    match decision {
        HeldDecision::Apply => {
            let ids: Vec<_> = held.iter().map(|account| account.id).collect();
            rows::release_suspensions(tx, wanted.instance, &ids).await?;
            let released = |was: &Account| Account { suspension_held_at: None, ..was.clone() };
            let moving = held.iter().map(|was| (was, released(was))).collect();
            let cause = |_: &Account| json!({ "guard": "applied" });
            standing::move_many(tx, wanted.instance, author, moving, cause).await?;
        }
        HeldDecision::Discard => restore(tx, author, wanted, &held).await?,
    }
    let decided = Decided { suspensions: count(held.len()), ..Decided::default() };
    Ok(Paged { decided, last: held.last().map(|account| account.id.0), again: false })
}

async fn deletions(
    tx: &mut Tx,
    author: &Author,
    wanted: Wanted,
    decision: HeldDecision,
) -> Result<Paged> {
    let held = rows::deleted(tx, wanted, Locked::Yes).await?;
    match decision {
        HeldDecision::Apply if held.is_empty() => {}
        HeldDecision::Apply => {
            let caller = caller_of(tx, wanted).await?;
            for account in &held {
                // Who was deleted before may have moved this one: a link, a seat.
                let now = accounts::lock(tx, wanted.instance, &[account.id]).await?;
                for account in now {
                    Users::delete(tx, &caller, author, account).await?;
                }
            }
        }
        HeldDecision::Discard => restore(tx, author, wanted, &held).await?,
    }
    let decided = Decided { deletions: count(held.len()), ..Decided::default() };
    Ok(Paged { decided, last: held.last().map(|account| account.id.0), again: false })
}

/// Brings back what the client read of some accounts before it said what was held.
async fn restore(tx: &mut Tx, author: &Author, wanted: Wanted, held: &[Account]) -> Result<()> {
    if held.is_empty() {
        return Ok(());
    }
    let caller = caller_of(tx, wanted).await?;
    let mut restored: Vec<Account> = held.iter().map(|was| said_anew(was, author)).collect();
    let (owner, version) = (Some(wanted.connection), caller.settings.mapping_version);
    let all = restored.as_mut_slice();
    let misses = mapping::apply(tx, wanted.instance, owner, version, &caller.schemas, all).await?;
    misses.keep(tx, wanted.instance, author.at).await?;
    for (was, is) in held.iter().zip(restored) {
        let (schemas, done) = (&caller.schemas, "held_change_discarded");
        users::write(tx, wanted.instance, schemas, author, was, is, done).await?;
    }
    Ok(())
}

fn said_anew(was: &Account, author: &Author) -> Account {
    let mut is = Account { version: was.version + 1, modified_at: author.at, ..was.clone() };
    is.forget_holds();
    standing::judge(&mut is);
    is
}

/// Members of one group at a time.
async fn removals(
    tx: &mut Tx,
    author: &Author,
    wanted: Wanted,
    decision: HeldDecision,
) -> Result<Paged> {
    let one = Wanted { limit: 1, ..wanted };
    let Some(group) = rows::left_groups(tx, one, Locked::Yes).await?.pop() else {
        return Ok(Paged::default());
    };
    let instance = wanted.instance;
    let held = rows::held_members(tx, instance, group.id, None, wanted.limit).await?;
    let ids: Vec<_> = held.iter().map(|member| member.id).collect();
    let mut out_of_scope = 0;
    match decision {
        HeldDecision::Apply => {
            let taken = rows::take_out(tx, instance, group.id, &ids).await?;
            let events: Vec<_> = taken
                .iter()
                .map(|(member, _)| {
                    let event = author.change("group.member_removed", "group", group.id.0);
                    let after = Some(json!({ "cause": { "guard": "applied" } }));
                    audit::Event { member: Some(*member), after, ..event }
                })
                .collect();
            audit::append(tx, instance, &events).await?;
            out_of_scope = scope::reconsider(tx, instance, author, &group, &taken, &[]).await?;
        }
        HeldDecision::Discard => {
            keep_members(tx, instance, author, &group, &ids).await?;
        }
    }
    let again = !rows::held_members(tx, instance, group.id, None, 1).await?.is_empty();
    let after = Group {
        removals_held_at: group.removals_held_at.filter(|_| again),
        version: group.version + 1,
        modified_at: author.at,
        ..group.clone()
    };
    groups::update(tx, instance, &group, &after).await?;
    let decided = Decided { removals: count(ids.len()), out_of_scope, ..Decided::default() };
    Ok(Paged { decided, last: Some(group.id.0), again })
}

async fn group_deletions(
    tx: &mut Tx,
    author: &Author,
    wanted: Wanted,
    decision: HeldDecision,
) -> Result<Paged> {
    let held = rows::deleted_groups(tx, wanted, Locked::Yes).await?;
    let mut out_of_scope = 0;
    if held.is_empty() {
        return Ok(Paged::default());
    }
    let caller = caller_of(tx, wanted).await?;
    for group in &held {
        match decision {
            HeldDecision::Apply => {
                let lost = Groups::delete(tx, &caller, author, group.clone()).await?;
                out_of_scope += lost.suspensions;
            }
            HeldDecision::Discard => {
                let after = Group {
                    deletion_held_at: None,
                    version: group.version + 1,
                    modified_at: author.at,
                    ..group.clone()
                };
                let (instance, schemas) = (wanted.instance, &caller.schemas);
                groups::update(tx, instance, group, &after).await?;
                let done = "held_change_discarded";
                let before = Some(group);
                finish::<Groups>(tx, instance, schemas, author, before, &after, done).await?;
            }
        }
    }
    let group_deletions = count(held.len());
    let decided = Decided { group_deletions, out_of_scope, ..Decided::default() };
    Ok(Paged { decided, last: held.last().map(|group| group.id.0), again: false })
}
