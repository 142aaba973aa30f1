//! What the provisioning rules made of a directory, and whether that follows from the facts.

use std::collections::{BTreeMap, BTreeSet};

use scimd::directory::hand::Act;
use scimd::directory::rules::{Facts, effective_status};
use scimd::directory::{
    Account, Connection, ConnectionId, ConnectionKind, GroupId, Hand, Scope, SeatPolicy, Status,
};
use scimd::provision::{Done, LicenceState, Limit};
use scimd::store::memberships;
use scimd::store::query::{Narrow, Viewer};
use scimd::store::runs::{Run, RunState};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{Answer, Client, Database, TestInstance};

/// Where the protocol shows what the rules made of an account.
pub(crate) const DIRECTORY: &str = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";

/// The identity provider says whether somebody is active.
pub(crate) fn active(active: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": active }])
}

/// Somebody joins a group.
pub(crate) fn join(member: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": member }] }])
}

/// Somebody leaves a group.
pub(crate) fn leave(member: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{member}\"]") }])
}

/// A status and its reason as one text.
pub(crate) fn standing(account: &Account) -> String {
    match account.reason {
        Some(reason) => format!("{}: {reason}", account.status),
        None => account.status.to_string(),
    }
}

impl Answer {
    /// Status and reason as the client reads them.
    pub(crate) fn standing(&self) -> String {
        let view = self.at(&format!("/{DIRECTORY}"));
        let text = |key: &str| view[key].as_str().map(str::to_owned);
        let status = text("status").unwrap_or_else(|| panic!("no status: {self:?}"));
        text("statusReason").map_or(status.clone(), |reason| format!("{status}: {reason}"))
    }
}

impl Client {
    /// Changes a resource and expects it to be done.
    pub(crate) async fn change(&self, path: &str, operations: Value) -> Answer {
        let answer = self.patch(path, operations).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    pub(crate) async fn set_active(&self, id: &str, is: bool) -> Answer {
        self.change(&format!("/Users/{id}"), active(is)).await
    }

    pub(crate) async fn join(&self, group: &str, member: &str) {
        self.change(&format!("/Groups/{group}"), join(member)).await;
    }

    pub(crate) async fn leave(&self, group: &str, member: &str) {
        self.change(&format!("/Groups/{group}"), leave(member)).await;
    }
}

impl TestInstance {
    /// A connection and its client.
    pub(crate) async fn connected(&self, kind: ConnectionKind, name: &str) -> (Connection, Client) {
        let connection = self.connection(kind, name).await;
        let client = Client { app: self.app.clone(), token: self.token(&connection).await };
        (connection, client)
    }

    /// An account by its name or its id, also one that was deleted.
    pub(crate) async fn any(&self, name: &str) -> Account {
        let found = self.app.provision.account_for(self.id, name, None).await.unwrap();
        found.unwrap_or_else(|| panic!("no account {name}"))
    }

    /// What an act on an account would come to.
    pub(crate) async fn foresee(&self, account: &Account, act: Act) -> Done {
        let provision = &self.app.provision;
        let chosen = std::slice::from_ref(account);
        let done = provision.rehearse(&provision.operator(), self.id, chosen, act).await;
        done.unwrap().remove(0)
    }

    /// The status of an account, and why.
    pub(crate) async fn standing(&self, name: &str) -> String {
        standing(&self.any(name).await)
    }

    /// The status of some accounts in one text.
    pub(crate) async fn standings(&self, names: &[&str]) -> String {
        let mut all = Vec::new();
        for name in names {
            all.push(format!("{name} {}", self.standing(name).await));
        }
        all.join(", ")
    }

    /// Limits the licence.
    pub(crate) async fn limit(&self, seats: i64) -> LicenceState {
        self.set_limit(Limit::Seats(seats, None)).await
    }

    pub(crate) async fn stop_at(&self, seats: i64) -> LicenceState {
        self.set_limit(Limit::Seats(seats, Some(SeatPolicy::Stop))).await
    }

    pub(crate) async fn set_limit(&self, limit: Limit) -> LicenceState {
        let provision = &self.app.provision;
        provision.set_licence(&provision.operator(), self.id, limit).await.unwrap()
    }

    /// Who waits for a seat, in order.
    pub(crate) async fn queue(&self) -> Vec<String> {
        let waiting = self.app.provision.waiting(self.id, 1000).await.unwrap();
        waiting.into_iter().map(|account| account.user_name).collect()
    }

    /// An administrator does something to an account.
    pub(crate) async fn act(&self, id: &str, what: Act) -> Done {
        let provision = &self.app.provision;
        provision.act(&provision.operator(), self.id, id.parse().unwrap(), what).await.unwrap()
    }

    /// Changes the scope to these sync groups, or to everybody without one, and begins the run.
    pub(crate) async fn begin_scope(&self, connection: &Connection, groups: &[&str]) -> Run {
        let (provision, ids) = (&self.app.provision, group_ids(groups));
        let scope = if groups.is_empty() { Scope::All } else { Scope::Groups };
        provision.set_scope(&provision.operator(), connection, scope, &ids).await.unwrap()
    }

    /// The same, with the run worked off.
    pub(crate) async fn scope(&self, connection: &Connection, groups: &[&str]) -> Run {
        let run = self.begin_scope(connection, groups).await;
        let run = self.app.provision.work_off(run, |_| ()).await.unwrap();
        assert_eq!(run.state, RunState::Done);
        run
    }

    /// All live accounts.
    pub(crate) async fn accounts(&self) -> Vec<Account> {
        let (provision, all) = (&self.app.provision, Narrow::All(Vec::new()));
        provision.accounts(self.id, &all, None, 10_000).await.unwrap()
    }

    /// Asserts that every stored status is what the stored facts make of it, that the scope is what
    /// the memberships make of it, that the seats are counted and given out, and that the audit trail of
    /// all that holds.
    pub(crate) async fn assert_lawful(&self) {
        let provision = &self.app.provision;
        provision.seal_instance(self.id).await.unwrap();
        let trail = provision.verify_trail(self.id, None).await.unwrap();
        assert_eq!((trail.unsealed, &trail.broken), (0, &None), "{trail:?}");
        let state = self.lawful().await;
        let Some(licence) = state.licence else { return };
        assert!(state.waiting == 0 || licence.free() == 0, "{licence:?}");
    }

    /// The same where the limit may be lower than what was taken before; how many are active at most.
    pub(crate) async fn assert_lawful_beyond(&self, most: i64) {
        let state = self.lawful().await;
        assert!(state.taken <= most, "{state:?}");
        self.assert_lawful().await;
    }

    async fn lawful(&self) -> LicenceState {
        let reached = self.reached().await;
        let (mut taken, mut waiting) = (0, 0);
        for account in self.accounts().await {
            let in_scope = account
                .connection
                .and_then(|connection| reached.get(&connection))
                .is_none_or(|reached| reached.contains(&account.id.0.to_string()));
            assert_eq!(account.in_scope, in_scope, "{account:#?}");
            let facts = Facts {
                deleted: false,
                hand: account.hand.and_then(Hand::in_force),
                active: account.counts_as_active(),
                in_scope,
                in_source: account.in_source,
                protected: account.protected,
                seat: account.status == Status::Active,
            };
            let lawful = effective_status(facts);
            assert_eq!((account.status, account.reason), lawful, "{account:#?}");
            let blocked = account.status == Status::Blocked;
            assert_eq!(account.queued_at.is_some(), blocked, "{account:#?}");
            taken += i64::from(account.status == Status::Active && !account.protected);
            waiting += i64::from(blocked);
        }
        let state = self.app.provision.licence(self.id).await.unwrap();
        assert_eq!((state.taken, state.waiting), (taken, waiting));
        match state.licence {
            None => assert_eq!(waiting, 0, "somebody waits without a limit"),
            Some(licence) => {
                assert_eq!(licence.seats_taken, taken, "the seats are miscounted: {licence:?}");
                assert!(waiting == 0 || licence.free() == 0, "{waiting} wait: {licence:?}");
            }
        }
        state
    }

    /// For each connection that goes by sync groups, the ids of all members below them.
    async fn reached(&self) -> BTreeMap<ConnectionId, BTreeSet<String>> {
        let (provision, all) = (&self.app.provision, Narrow::All(Vec::new()));
        let groups = provision.groups(self.id, &all, None, 10_000).await.unwrap();
        let ids: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
        let mut tx = provision.store.read().await.unwrap();
        let viewer = Viewer::Administrator;
        let rows = memberships::of_groups(&mut tx, self.id, viewer, &ids, i64::MAX).await.unwrap();
        drop(tx);
        let mut members: BTreeMap<String, Vec<String>> =
            ids.iter().map(|id| (id.to_string(), Vec::new())).collect();
        for row in rows {
            members.get_mut(&row.group.to_string()).unwrap().push(row.id.0.to_string());
        }
        let mut reached = BTreeMap::new();
        for connection in provision.connections(self.id).await.unwrap() {
            if connection.settings.scope == Scope::All {
                continue;
            }
            let named = provision.sync_groups(&connection).await.unwrap();
            let named = named.iter().map(ToString::to_string);
            // A group that is deleted brings nobody.
            let mut left: Vec<String> = named.filter(|id| members.contains_key(id)).collect();
            let mut seen = BTreeSet::new();
            while let Some(id) = left.pop() {
                if seen.insert(id.clone()) {
                    left.extend(members.get(&id).into_iter().flatten().cloned());
                }
            }
            reached.insert(connection.id, seen);
        }
        reached
    }
}

pub(crate) fn group_ids(groups: &[&str]) -> Vec<GroupId> {
    groups.iter().map(|id| GroupId(id.parse().unwrap())).collect()
}

/// Runs statements on the database itself, as nobody but a test does.
pub(crate) async fn execute(database: &Database, statements: String) {
    let statements = sqlx::raw_sql(AssertSqlSafe(statements));
    if database.is_postgres() {
        let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
        link.execute(statements).await.unwrap();
    } else {
        let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        link.execute(statements).await.unwrap();
    }
}

/// Has the database count its rows. PostgreSQL counts the tables that tests fill: those of other tests come
/// and go.
pub(crate) fn counting(database: &Database) -> String {
    let tables = " accounts, account_emails, groups, memberships, audit_events";
    format!("ANALYZE{}", if database.is_postgres() { tables } else { "" })
}

/// An id as the database writes it.
pub(crate) fn literal(database: &Database, id: impl std::fmt::Display) -> String {
    let id = id.to_string();
    if database.is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.replace('-', "")) }
}

/// The rows of a series of numbers from 1, for `FROM`; the number is `n`.
pub(crate) fn series(database: &Database, count: u32) -> String {
    if database.is_postgres() {
        format!("generate_series(1, {count}) AS s(n)")
    } else {
        format!(
            "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) \
             SELECT n FROM s) AS s"
        )
    }
}

/// Gives a connection this many people, as rows: their names are `prefix` and a number from 1.
pub(crate) async fn fill(database: &Database, connection: &Connection, prefix: &str, count: u32) {
    let fresh = if database.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    let (series, of) = (series(database, count), literal(database, connection.id));
    let document = format!("'{{\"userName\":\"{prefix}' || n || '\",\"active\":true}}'");
    let sql = format!(
        "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, active, \
         status, document, version, created_at, modified_at) \
         SELECT c.instance_id, {fresh}, c.id, '{prefix}' || n, '{prefix}' || n, TRUE, 'active', \
         {document}, 1, 0, 0 FROM connections c, {series} WHERE c.id = {of}"
    );
    execute(database, sql).await;
}

/// Puts all people whose names begin with `prefix` into a group, as rows.
pub(crate) async fn enrol(database: &Database, group: &str, prefix: &str) {
    let (group, length) = (literal(database, group), prefix.len());
    let sql = format!(
        "INSERT INTO memberships (instance_id, group_id, member_id, member_kind) \
         SELECT g.instance_id, g.id, a.id, 'account' FROM groups g \
         JOIN accounts a ON a.instance_id = g.instance_id \
         WHERE g.id = {group} AND substr(a.user_name, 1, {length}) = '{prefix}'"
    );
    execute(database, sql).await;
}
