//! What the rules cost: a decision asks about the people whom it moves, whatever the directory holds.
//!
//! `cargo test --test it -- rules_cost --nocapture` prints the statements of each step.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use scimd::directory::{Connection, ConnectionKind, PushGuard};
use scimd::provision::Limit;
use scimd::provision::settings::SettingsChange;
use serde_json::{Value, json};

use super::cost::plan;
use super::support::database::environment;
use super::support::rules::{active, counting, enrol, execute, fill, join, leave, literal, series};
use super::support::statements::{Recorder, Statement};
use super::support::{Client, Database, ENTERPRISE, TestInstance, both};

/// What the large directory holds besides the people of the steps; `TEST_RULES_SCALE` multiplies people,
/// groups and queue, and with them the memberships. Everybody is in the sync group, too.
const PEOPLE: u32 = 5_000;
const GROUPS: u32 = 100;
const GROUPS_OF_EACH: u32 = 10;
const QUEUE: u32 = 500;

/// The same in the tiny directory.
const TINY: [u32; 3] = [10, 1, 3];

/// The members of the sync groups that are deleted.
const FEW: u32 = 10;
const MANY: u32 = 400;

/// The values in one list, and the identifiers of one person by which a manager may be named.
const BATCH: usize = scimd::store::BATCH_MAX;
const IDENTIFIERS: usize = 2;

both! {
    async fn a_decision_costs_the_same_in_every_directory(database) {
        let scale = environment("TEST_RULES_SCALE").map_or(1, |scale| scale.parse().unwrap());
        let root = TestInstance::on(&database).await;
        let began = Instant::now();
        let tiny = Directory::of(&database, root.named("Tiny").await, TINY).await;
        let large = [PEOPLE * scale, GROUPS * scale, QUEUE * scale];
        let large = Directory::of(&database, root.named("Large").await, large).await;
        // PostgreSQL gathers statistics by itself; SQLite only when somebody asks it to, as nobody does.
        if database.is_postgres() {
            execute(&database, counting(&database)).await;
        }
        let name = if database.is_postgres() { "PostgreSQL" } else { "SQLite" };
        eprintln!("{name}: filled in {:?}", began.elapsed());
        let recorder = Recorder::start();
        let (small, big) = (tiny.steps(&recorder).await, large.steps(&recorder).await);
        assert_eq!(small.len(), big.len());
        for (small, big) in small.iter().zip(&big) {
            let (step, statements) = (big.name, &big.statements);
            let (took, before) = (big.took, small.took);
            let count = statements.len();
            eprintln!("{name}: {step}: {count} statements; {took:?}, in the tiny directory {before:?}");
            assert!(!statements.is_empty());
            assert_eq!(&small.statements, statements, "{step}");
        }
        // Many who move cost what a few cost, but for what is cut into batches.
        let many = large.delete(&recorder, "delete a sync group of 400", MANY).await;
        let few = &big.iter().find(|step| step.name == FEW_LEAVE).unwrap().statements;
        eprintln!("{name}: {}: {} statements; {:?}", many.name, many.statements.len(), many.took);
        assert_eq!(shapes(few), shapes(&many.statements));
        let batches = |members: u32| (members as usize * IDENTIFIERS).div_ceil(BATCH);
        assert_eq!(many.statements.len() - few.len(), batches(MANY) - batches(FEW));
        let all = big.iter().chain([&many]).flat_map(|step| &step.statements);
        let all: BTreeSet<String> = all.map(|statement| statement.sql.clone()).collect();
        assert!(all.len() > 20, "{all:?}");
        assert_narrow(&database, &all).await;
        if !database.is_postgres() {
            execute(&database, counting(&database)).await;
            assert_narrow(&database, &all).await;
        }
    }
}

const FEW_LEAVE: &str = "delete a sync group of 10";

/// A step, and what it cost.
struct Step {
    name: &'static str,
    statements: Vec<Statement>,
    took: Duration,
}

/// A directory whose connection goes by sync groups.
struct Directory<'a> {
    database: &'a Database,
    test: TestInstance,
    connection: Connection,
    client: Client,
    /// Ann, Bob, Cy and Dee.
    ids: Vec<String>,
    sync: String,
    queue: u32,
}

impl<'a> Directory<'a> {
    async fn of(
        database: &'a Database,
        test: TestInstance,
        [people, groups, queue]: [u32; 3],
    ) -> Self {
        let (connection, client) = test.connected(ConnectionKind::Entra, "entra").await;
        // Four hundred people go at once here, and that is meant.
        let guard = Some(PushGuard { percent_max: 100, ..PushGuard::default() });
        let change = SettingsChange { guard, ..SettingsChange::default() };
        let provision = &test.app.provision;
        let author = provision.operator();
        let set = provision.set_connection_settings(&author, &connection, change).await;
        let connection = set.unwrap().connection;
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cy", "dee"] {
            ids.push(client.user(name).await);
        }
        let members: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sync = client.group("Sync", &members).await;
        test.scope(&connection, &[&sync]).await;
        crowd(database, &connection, people, groups).await;
        enrol(database, &sync, "crowd").await;
        Self { database, test, connection, client, ids, sync, queue }
    }

    /// Does what is counted.
    async fn steps(&self, recorder: &Recorder) -> Vec<Step> {
        let Self { test, client, ids, .. } = self;
        let [ann, bob, cy, _dee] = ids.as_slice() else { unreachable!("there are four") };
        let mut steps = Vec::new();
        let sync = format!("/Groups/{}?excludedAttributes=members", self.sync);
        let user = |id: &str| format!("/Users/{id}");
        let managed = |by: &str| json!([{ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": by }]);
        assert_eq!(client.get("/Groups?count=1").await.status, 200);
        steps.push(self.change(recorder, "suspend", &user(ann), active(false)).await);
        steps.push(self.change(recorder, "activate", &user(ann), active(true)).await);
        steps.push(self.change(recorder, "leave the sync group", &sync, leave(bob)).await);
        assert_eq!(test.standing("bob").await, "suspended: in no sync group");
        steps.push(self.change(recorder, "join the sync group", &sync, join(bob)).await);
        assert_eq!(test.standing("bob").await, "active");
        steps.push(self.change(recorder, "link a manager", &user(cy), managed("dee")).await);
        assert_eq!(test.manager_of("cy").await.as_deref(), Some("dee"));
        steps.push(
            self.change(recorder, "name an unknown manager", &user(cy), managed("eve")).await,
        );
        assert_eq!(test.manager_of("cy").await, None);
        let (_, began) = (recorder.take(), Instant::now());
        let eve = client.person("eve", json!({})).await;
        let (statements, took) = (recorder.take(), began.elapsed());
        steps.push(Step { name: "somebody new", statements, took });
        steps.push(self.change(recorder, "an awaited manager enters", &sync, join(&eve)).await);
        assert_eq!(test.manager_of("cy").await.as_deref(), Some("eve"));
        steps.push(self.delete(recorder, FEW_LEAVE, FEW).await);
        // The licence is full, and some wait.
        let wait = format!(
            "UPDATE accounts SET status = 'blocked', status_reason = 'no free seat', \
             queued_at = 1000 + CAST(substr(user_name, 6) AS INTEGER) \
             WHERE connection_id = {} AND substr(user_name, 1, 5) = 'crowd' \
             AND CAST(substr(user_name, 6) AS INTEGER) <= {}",
            literal(self.database, self.connection.id),
            self.queue,
        );
        execute(self.database, wait).await;
        let taken = test.app.provision.licence(test.id).await.unwrap().taken;
        assert_eq!(test.limit(taken).await.waiting, i64::from(self.queue));
        let name = "suspend, and the first in the queue enters";
        steps.push(self.change(recorder, name, &user(ann), active(false)).await);
        assert_eq!(test.standing("crowd1").await, "active");
        let name = "leave the sync group, and the next enters";
        steps.push(self.change(recorder, name, &sync, leave(bob)).await);
        assert_eq!(test.standing("crowd2").await, "active");
        steps.push(self.change(recorder, "activate, and wait", &user(ann), active(true)).await);
        let state = test.app.provision.licence(test.id).await.unwrap();
        assert_eq!((state.taken, state.waiting), (taken, i64::from(self.queue) - 1));
        assert_eq!(state.licence.unwrap().seats_taken, taken);
        test.set_limit(Limit::Unlimited).await;
        steps
    }

    async fn change(
        &self,
        recorder: &Recorder,
        name: &'static str,
        path: &str,
        operations: Value,
    ) -> Step {
        let (_, began) = (recorder.take(), Instant::now());
        self.client.change(path, operations).await;
        Step { name, statements: recorder.take(), took: began.elapsed() }
    }

    /// Deletes a sync group that this many people are in, and in no other.
    async fn delete(&self, recorder: &Recorder, name: &'static str, members: u32) -> Step {
        let group = self.client.group(&format!("Group of {members}"), &[]).await;
        let counts = format!(
            "INSERT INTO sync_groups (instance_id, connection_id, group_id) \
             SELECT instance_id, connection_id, id FROM groups WHERE id = {}",
            literal(self.database, &group),
        );
        execute(self.database, counts).await;
        let prefix = format!("leaver{members}-");
        fill(self.database, &self.connection, &prefix, members).await;
        enrol(self.database, &group, &prefix).await;
        let (_, began) = (recorder.take(), Instant::now());
        let answer = self.client.delete(&format!("/Groups/{group}")).await;
        let (statements, took) = (recorder.take(), began.elapsed());
        assert_eq!(answer.status, 204, "{answer:?}");
        for number in [1, members] {
            let standing = self.test.standing(&format!("{prefix}{number}")).await;
            assert_eq!(standing, "suspended: in no sync group");
        }
        Step { name, statements, took }
    }
}

/// People and groups of a connection, as rows: each person is in several of the groups, and reports to
/// somebody.
async fn crowd(database: &Database, connection: &Connection, people: u32, groups: u32) {
    fill(database, connection, "crowd", people).await;
    let fresh = if database.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    let of = literal(database, connection.id);
    let (series_of_groups, of_each) = (series(database, groups), GROUPS_OF_EACH.min(groups));
    let series_of_each = series(database, of_each);
    let person = "CAST(substr(a.user_name, 6) AS INTEGER)";
    // What holds many rows is written in the order of its key.
    let rows = [
        format!(
            "INSERT INTO groups (instance_id, id, connection_id, display_name, display_name_key, \
             document, version, created_at, modified_at) SELECT c.instance_id, {fresh}, c.id, \
             'Team ' || n, 'team ' || n, '{{}}', 1, 0, 0 \
             FROM connections c, {series_of_groups} WHERE c.id = {of}"
        ),
        format!(
            "INSERT INTO account_emails (instance_id, account_id, position, value_key) \
             SELECT a.instance_id, a.id, 0, a.user_name_key || '@example.com' FROM accounts a \
             WHERE a.connection_id = {of} AND substr(a.user_name, 1, 5) = 'crowd'"
        ),
        // Without it PostgreSQL looks for groups and managers in ways that take minutes.
        if database.is_postgres() { counting(database) } else { String::new() },
        format!(
            "INSERT INTO memberships (instance_id, group_id, member_id, member_kind) \
             SELECT a.instance_id, (SELECT g.id FROM groups g WHERE g.instance_id = a.instance_id \
             AND g.deleted_at IS NULL AND g.display_name_key = 'team ' || \
             (({person} * {of_each} + n) % {groups} + 1)), a.id, 'account' \
             FROM accounts a, {series_of_each} \
             WHERE a.connection_id = {of} AND substr(a.user_name, 1, 5) = 'crowd' ORDER BY 2, 3"
        ),
        format!(
            "UPDATE accounts SET manager_ref = 'crowd' || ({person} / 10), \
             manager_ref_key = 'crowd' || ({person} / 10), \
             manager_id = (SELECT m.id FROM accounts m WHERE m.instance_id = accounts.instance_id \
             AND m.deleted_at IS NULL AND m.user_name_key = 'crowd' || ({person} / 10)) \
             WHERE connection_id = {of} AND substr(user_name, 1, 5) = 'crowd' AND {person} >= 10",
            person = person.replace("a.", "accounts.")
        ),
    ];
    for rows in rows {
        execute(database, rows).await;
    }
}

/// The texts without the length of their lists, and the same text several times as once.
fn shapes(statements: &[Statement]) -> Vec<String> {
    let mut shapes: Vec<String> = statements.iter().map(|one| shape(&one.sql)).collect();
    shapes.dedup();
    shapes
}

fn shape(sql: &str) -> String {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        text.push('$');
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    text.push_str(rest);
    for (many, one) in [("$, $", "$"), ("($), ($)", "($)")] {
        while text.contains(many) {
            text = text.replace(many, one);
        }
    }
    text
}

/// The tables that grow with a directory.
const TABLES: &[&str] = &[
    "accounts",
    "account_emails",
    "groups",
    "memberships",
    "audit_events",
    "unique_values",
    "claims",
    "lookup_misses",
];

/// Indexes that hold only those rows that their statements are about.
const NARROW: &[&str] = &["accounts_by_queue", "accounts_by_protection"];

/// Asserts that the database plans to read neither a table from end to end nor all that an instance has
/// in it. What a statement has found so far is read whole: it is no more than what the statement is about.
pub(super) async fn assert_narrow(database: &Database, statements: &BTreeSet<String>) {
    let mut wide = Vec::new();
    for statement in statements {
        let plan = plan(database, &typed(database, statement)).await;
        let found = if database.is_postgres() { postgres_wide(&plan) } else { sqlite_wide(&plan) };
        if !found.is_empty() {
            let short: String = shape(statement).chars().take(2000).collect();
            wide.push(format!("{found:#?}\n{short}\n{plan}"));
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

/// SQLite names a table by its alias.
fn sqlite_wide(plan: &str) -> Vec<&str> {
    let aliases = ["a", "e", "g", "m", "p", "r"];
    plan.lines()
        .filter(|line| {
            let mut words = line.split(' ');
            let (verb, name) = (words.next(), words.next().unwrap_or_default());
            let grows = aliases.contains(&name) || TABLES.contains(&name);
            let scans = verb == Some("SCAN");
            let all = verb == Some("SEARCH") && line.ends_with("(instance_id=?)");
            let narrow = NARROW.iter().any(|index| line.contains(index));
            grows && (scans || all) && !narrow
        })
        .collect()
}

fn postgres_wide(plan: &str) -> Vec<&str> {
    let mut reads = "";
    plan.lines()
        .filter(|line| {
            if line.contains("(cost=") {
                reads = line;
            }
            let grows = TABLES.iter().any(|table| reads.contains(&format!(" on {table} ")));
            let narrow = NARROW.iter().any(|index| reads.contains(index));
            let scans = line.contains("Seq Scan on ");
            let all = line.trim().starts_with("Index Cond: (instance_id = $");
            grows && !narrow && (scans || all)
        })
        .collect()
}

/// PostgreSQL takes a placeholder in `VALUES` for a text, unless whoever prepares it says otherwise.
fn typed(database: &Database, statement: &str) -> String {
    match statement.split_once("IN (VALUES ($").filter(|_| database.is_postgres()) {
        Some((before, after)) => {
            let (first, rest) = after.split_once(',').unwrap();
            // A pair of ids, or an id and a text.
            let rest = match rest.strip_prefix(" $").and_then(|rest| rest.split_once(')')) {
                Some((second, rest)) if before.contains("member_id) ") => {
                    format!(" CAST(${second} AS UUID)){rest}")
                }
                _ => rest.to_owned(),
            };
            format!("{before}IN (VALUES (CAST(${first} AS UUID),{rest}")
        }
        None => statement.to_owned(),
    }
}
