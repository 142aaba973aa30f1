//! What changes cost: it follows the size of the change, not of the group or the instance.

use std::collections::BTreeSet;

use scimd::directory::{ConnectionKind, PickUp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::support::rules::{counting, execute, fill};
use super::support::statements::{Recorder, Statement};
use super::support::{Client, Database, TestInstance, both};

const SMALL: u32 = 10;
const LARGE: u32 = 50_000;

both! {
    /// The same statements with the same rows, whether the group has 10 members or 50,000; only the
    /// members that the answer shows differ, and those are bounded.
    async fn one_member_costs_the_same_in_every_group(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann@example.com").await;
        let small = filled(&database, &client, "Small", SMALL).await;
        let large = filled(&database, &client, "Large", LARGE).await;
        let recorder = Recorder::start();
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
        let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{ann}\"]") }]);
        let entra = json!([{ "op": "Remove", "path": "members", "value": [{ "value": ann }] }]);
        let rename = json!([{ "op": "replace", "value": { "displayName": "New name" } }]);
        for (step, operations) in [
            ("add", &add), ("add again", &add), ("remove", &remove), ("remove again", &remove),
            ("add once more", &add), ("remove as Entra does", &entra),
        ] {
            let in_small = cost(&recorder, &client, &small, operations.clone()).await;
            let in_large = cost(&recorder, &client, &large, operations.clone()).await;
            assert!(!in_small.is_empty());
            assert_eq!(in_small, in_large, "{step}");
            assert!(in_small.iter().all(|statement| statement.rows <= 1), "{step}: {in_small:?}");
        }
        // An answer with the members reads them, unless they are too many to be shown.
        let shown_small = shown(&recorder, &client, &small, &add, 200).await;
        let shown_large = shown(&recorder, &client, &large, &add, 204).await;
        let texts = |shown: &[Statement]| shown.iter().map(|one| one.sql.clone()).collect::<Vec<_>>();
        let (small_texts, large_texts) = (texts(&shown_small), texts(&shown_large));
        assert_eq!(small_texts.split_last().map(|(_, before)| before), Some(&large_texts[..]));
        assert!(shown_large.iter().all(|statement| statement.rows <= 1));
        // No statement of them all reads a table from end to end.
        cost(&recorder, &client, &large, rename).await;
        let _ = recorder.take();
        for operations in [&remove, &add] {
            client.patch(&format!("/Groups/{large}"), operations.clone()).await;
        }
        let all: BTreeSet<String> = recorder.take().into_iter().map(|one| one.sql).collect();
        assert!(all.len() >= 6, "{all:?}");
        assert_indexed(&database, all).await;
    }

    /// An import is not to wait for the minute in which the database looks by itself.
    async fn the_database_counts_again_when_much_has_come(database) {
        let test = TestInstance::on(&database).await;
        test.okta().await;
        let connection = test.app.provision.connections(test.id).await.unwrap().remove(0);
        assert!(!test.app.provision.learn().await.unwrap(), "nobody has come");
        fill(&database, &connection, "many", 2000).await;
        if database.is_postgres() {
            // What a session has changed is known to others a second later, or at once if it says so.
            let say = "SELECT pg_stat_force_next_flush(); UPDATE accounts SET version = version";
            execute(&database, say.to_owned()).await;
        }
        assert_eq!(test.app.provision.learn().await.unwrap(), database.is_postgres());
    }

    /// Looking for one person reads one person, whatever the directory holds.
    async fn look_ups_use_an_index(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let ann = client.user("ann@example.com").await;
        let group = filled(&database, &client, "Large", LARGE).await;
        let recorder = Recorder::start();
        for (endpoint, filter, index) in [
            ("/Users", format!("id eq \"{ann}\""), ["sqlite_autoindex_accounts_1", "accounts_pkey"]),
            ("/Users", "userName eq \"ann@example.com\"".to_owned(), ["accounts_by_user_name"; 2]),
            ("/Users", "externalId eq \"x\"".to_owned(), ["accounts_by_external_id"; 2]),
            ("/Users", "displayName eq \"x\"".to_owned(), ["accounts_by_display_name"; 2]),
            ("/Users", "emails.value eq \"x\"".to_owned(), ["account_emails_by_value"; 2]),
            ("/Users", "emails[type eq \"work\" and value eq \"x\"]".to_owned(), ["account_emails_by_value"; 2]),
            ("/Groups", "displayName eq \"x\"".to_owned(), ["groups_by_display_name"; 2]),
            ("/Groups", "externalId eq \"x\"".to_owned(), ["groups_by_external_id"; 2]),
            ("/Groups", format!("members.value eq \"{ann}\""), ["memberships_by_member"; 2]),
            ("/Groups", format!("members[value eq \"{ann}\"]"), ["memberships_by_member"; 2]),
        ] {
            let found = client.find(endpoint, &filter).await;
            assert_eq!(found.status, 200, "{filter}: {found:?}");
            let statements: Vec<Statement> = recorder.take();
            assert!(statements.iter().all(|statement| statement.rows <= 1), "{filter}: {statements:?}");
            assert_indexed(&database, statements.iter().map(|one| one.sql.clone()).collect()).await;
            let index = index[usize::from(database.is_postgres())];
            for Statement { sql, .. } in statements.iter().filter(|one| one.sql.contains(" r WHERE ")) {
                let plan = plan(&database, sql).await;
                assert!(plan.contains(index), "{filter}: {sql}:\n{plan}");
            }
        }
        // Neither does it for a connection that waits to pick somebody up, whose own words are looked
        // through too.
        let asking = test.actor(ConnectionKind::Okta, "Asking", PickUp::WithApproval).await.client;
        let lou = test.local_person("lou", json!({})).await;
        let said = json!([{ "op": "add", "path": "externalId", "value": "x1" }]);
        assert_eq!(asking.patch(&format!("/Users/{lou}"), said).await.status, 200);
        let _ = recorder.take();
        for (endpoint, filter, count) in [
            ("/Users", "userName eq \"lou\"", 1),
            ("/Users", "externalId eq \"x1\"", 1),
            ("/Users", "userName eq \"nobody\"", 0),
            ("/Users", "displayName eq \"nobody\"", 0),
            ("/Users", "emails.value eq \"nobody\"", 0),
            ("/Groups", "displayName eq \"nobody\"", 0),
        ] {
            let found = asking.count(endpoint, filter).await;
            assert_eq!(found, count, "{filter}");
            let statements: Vec<Statement> = recorder.take();
            assert!(statements.iter().all(|statement| statement.rows <= 1), "{filter}: {statements:?}");
            assert_indexed(&database, statements.into_iter().map(|one| one.sql).collect()).await;
        }
        // A page in the order of an indexed column is read in that order, not sorted.
        for (by, index) in [
            ("userName", "accounts_by_user_name"), ("displayName", "accounts_by_display_name"),
            ("externalId", "accounts_by_external_id"), ("meta.created", "accounts_by_created"),
            ("meta.lastModified", "accounts_by_modified"),
        ] {
            for order in ["ascending", "descending"] {
                let path = format!("/Users?sortBy={by}&sortOrder={order}&count=3&cursor=");
                let first = client.get(&path).await;
                let cursor = first.text("/nextCursor");
                let _ = recorder.take();
                assert_eq!(client.get(&format!("{path}{cursor}")).await.status, 200);
                let statements = recorder.take().into_iter();
                let pages: Vec<_> = statements.filter(|one| one.sql.contains("ORDER BY r.")
                    && !one.sql.contains(" IS NULL ORDER BY") && !one.sql.contains("ORDER BY r.id")).collect();
                for Statement { sql, rows } in pages {
                    let plan = plan(&database, &sql).await;
                    assert!(plan.contains(index), "{by} {order}: {sql}:\n{plan}");
                    // An incremental sort only orders equals, page by page.
                    let sorts = |line: &str| line.trim_start_matches([' ', '-', '>']).starts_with("Sort  (");
                    assert!(!plan.contains("TEMP B-TREE") && !plan.lines().any(sorts), "{sql}:\n{plan}");
                    assert!(rows <= 4, "{by} {order}: {rows} rows for a page of three");
                }
            }
        }
        assert_eq!(client.find("/Users", &format!("groups.value eq \"{group}\" and userName eq \"x\"")).await.status, 200);
    }
}

async fn cost(
    recorder: &Recorder,
    client: &Client,
    group: &str,
    operations: Value,
) -> Vec<Statement> {
    let _ = recorder.take();
    let answer =
        client.patch(&format!("/Groups/{group}?excludedAttributes=members"), operations).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    recorder.take()
}

async fn shown(
    recorder: &Recorder,
    client: &Client,
    group: &str,
    operations: &Value,
    status: u16,
) -> Vec<Statement> {
    let _ = recorder.take();
    let answer = client.patch(&format!("/Groups/{group}"), operations.clone()).await;
    assert_eq!(answer.status, status, "{answer:?}");
    recorder.take()
}

/// A group with this many members, put into the database as rows.
async fn filled(database: &Database, client: &Client, name: &str, members: u32) -> String {
    let group = client.group(name, &[]).await;
    let (series, id, link) = if database.is_postgres() {
        ("generate_series(1, $1) AS s(n)", "gen_random_uuid()", format!("'{group}'"))
    } else {
        let series = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < $1) \
                      SELECT n FROM s)";
        (series, "randomblob(16)", format!("X'{}'", group.replace('-', "")))
    };
    let statements = [
        format!(
            "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, active, \
             status, document, version, created_at, modified_at) \
             SELECT g.instance_id, {id}, g.connection_id, '{name}' || n, '{name}' || n, TRUE, \
             'active', '{{}}', 1, 0, 0 FROM groups g, {series} WHERE g.id = {link}",
        )
        .replace("$1", &members.to_string()),
        format!(
            "INSERT INTO memberships (instance_id, group_id, member_id, member_kind) \
             SELECT a.instance_id, {link}, a.id, 'account' FROM accounts a \
             WHERE substr(a.user_name, 1, {}) = '{name}'",
            name.len()
        ),
        format!(
            "INSERT INTO account_emails (instance_id, account_id, position, value_key) \
             SELECT a.instance_id, a.id, 0, a.user_name_key || '@x' FROM accounts a \
             WHERE substr(a.user_name, 1, {}) = '{name}'",
            name.len()
        ),
        format!(
            "INSERT INTO groups (instance_id, id, connection_id, display_name, display_name_key, \
             external_id, document, version, created_at, modified_at) \
             SELECT a.instance_id, {id}, a.connection_id, a.user_name, a.user_name, a.user_name, \
             '{{}}', 1, 0, 0 FROM accounts a WHERE substr(a.user_name, 1, {}) = '{name}'",
            name.len()
        ),
    ];
    // PostgreSQL chooses among indexes by what it knows of the rows, and learns it from time to time.
    let learn = database.is_postgres().then(|| counting(database));
    for statement in statements.into_iter().chain(learn) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        if database.is_postgres() {
            let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
            link.execute(statement).await.unwrap();
        } else {
            let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
            link.execute(statement).await.unwrap();
        }
    }
    group
}

/// Asserts that the database plans to read no table of people or groups from end to end.
async fn assert_indexed(database: &Database, statements: BTreeSet<String>) {
    for statement in statements {
        let plan = plan(database, &statement).await;
        for table in ["accounts", "account_emails", "groups", "memberships", "audit_events"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{statement}:\n{plan}");
        }
        // SQLite names a table by its alias: `SCAN a`.
        let whole = |line: &&str| line.starts_with("SCAN ") && !line.contains("CONSTANT ROW");
        assert_eq!(plan.lines().find(whole), None, "{statement}:\n{plan}");
    }
}

pub(super) async fn plan(database: &Database, statement: &str) -> String {
    if database.is_postgres() {
        postgres_plan(database, statement).await
    } else {
        sqlite_plan(database, statement).await
    }
}

async fn sqlite_plan(database: &Database, statement: &str) -> String {
    let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(&mut link).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
}

async fn postgres_plan(database: &Database, statement: &str) -> String {
    let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let count = scimd::store::sql::placeholder_count(statement);
    let nulls = vec!["NULL"; count].join(", ");
    let execute = if count == 0 { String::new() } else { format!("({nulls})") };
    // A table of a few rows is read whole for want of anything better: what counts is whether an
    // index can serve.
    let prepare = format!(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; PREPARE s AS {statement}"
    );
    link.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE s{execute}")));
    let rows = explain.fetch_all(&mut link).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}
