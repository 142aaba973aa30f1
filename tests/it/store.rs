//! The schema and the statements, on both databases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use scimd::directory::{Account, Group};
use scimd::store::row::Row;
use scimd::store::{Record, Sql, StoreError, accounts, groups, query};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqlSafeStr as _};

use super::support::{Database, both};

/// Tables that no instance owns.
const SHARED: &[&str] = &["tenants", "instances", "signing_keys"];

/// Table → column → (type, may be NULL).
type Schema = BTreeMap<String, BTreeMap<String, (String, bool)>>;

#[tokio::test]
async fn both_schemas_are_twins() {
    let Some(postgres) = Database::postgres().await else {
        return;
    };
    let sqlite = Database::sqlite();
    sqlite.open().await.close().await;
    postgres.open().await.close().await;
    let (one, other) = (sqlite_schema(&sqlite).await, postgres_schema(&postgres).await);
    assert!(one.len() > 8, "{:?}", one.keys());
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (table, columns) in &one {
        assert_eq!(columns, &other[table], "{table}");
    }
}

#[tokio::test]
async fn both_have_the_same_indexes() {
    let Some(postgres) = Database::postgres().await else {
        return;
    };
    let sqlite = Database::sqlite();
    sqlite.open().await.close().await;
    postgres.open().await.close().await;
    let (one, other) = (sqlite_keys(&sqlite).await, postgres_keys(&postgres).await);
    assert_eq!(one, other);
    // What is unique must be unique within its instance, so that instances can be spread over nodes.
    for (table, unique, columns) in one {
        if unique && !SHARED.contains(&table.as_str()) {
            assert!(columns.starts_with("instance_id"), "{table} ({columns})");
        }
    }
}

/// What an engine asks for that spreads instances over nodes: each table is spread by instance, all its keys and
/// references stay within one, or it is small and whole on each node.
#[tokio::test]
async fn every_table_can_be_spread_over_nodes_by_instance() {
    let Some(database) = Database::postgres().await else {
        return;
    };
    database.open().await.close().await;
    let schema = postgres_schema(&database).await;
    let spread = |table: &str| !SHARED.contains(&table);
    for (table, columns) in schema.iter().filter(|(table, _)| spread(table)) {
        let by = columns.get("instance_id").unwrap_or_else(|| panic!("{table} has no instance"));
        assert_eq!(by, &("id".to_owned(), false), "{table}");
    }
    let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let names = "(SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(";
    let query = format!(
        "SELECT t.relname::text AS t, c.contype::text AS k, c.confrelid::regclass::text AS other, \
         {names}c.conkey) WITH ORDINALITY k (c, n) JOIN pg_attribute a ON a.attrelid = c.conrelid \
         AND a.attnum = k.c) AS own, {names}c.confkey) WITH ORDINALITY k (c, n) JOIN pg_attribute a \
         ON a.attrelid = c.confrelid AND a.attnum = k.c) AS others FROM pg_constraint c \
         JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace s ON s.oid = t.relnamespace \
         WHERE s.nspname = current_schema() AND t.relname <> '_sqlx_migrations'"
    );
    let (mut primary, mut references) = (BTreeSet::new(), 0);
    for row in sqlx::query(AssertSqlSafe(query)).fetch_all(&mut link).await.unwrap() {
        let (table, kind): (String, String) = (row.get("t"), row.get("k"));
        let own: String = row.get("own");
        match (kind.as_str(), spread(&table)) {
            ("p" | "u", true) => assert!(own.starts_with("instance_id"), "{table} ({own})"),
            ("f", spread_out) => {
                let (other, others): (String, String) = (row.get("other"), row.get("others"));
                references += 1;
                let both = own.starts_with("instance_id") && others.starts_with("instance_id");
                let within = spread_out && spread(&other) && both;
                assert!(
                    within || SHARED.contains(&other.as_str()),
                    "{table} ({own}) -> {other} ({others})"
                );
            }
            _ => {}
        }
        if kind == "p" {
            primary.insert(table);
        }
    }
    assert!(references > 8, "only {references} references were found");
    assert_eq!(primary, schema.keys().cloned().collect(), "a table has no primary key");
    // What looks for work in all instances asks each node by an index of its own.
    let across = ["runs", "sources"];
    for (table, unique, columns) in postgres_keys(&database).await {
        let by_instance = columns.starts_with("instance_id") || !spread(&table);
        assert!(by_instance || !unique && across.contains(&table.as_str()), "{table} ({columns})");
    }
    // Numbers that all nodes would have to agree on.
    let query = "SELECT COUNT(*) FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
                 WHERE s.nspname = current_schema() AND c.relkind = 'S'";
    let sequences: i64 = sqlx::query_scalar(query).fetch_one(&mut link).await.unwrap();
    assert_eq!(sequences, 0);
}

both! {
    /// A database with rows in every table opens again, whatever migrations have come since.
    async fn sample_rows_survive_the_migrations(database) {
        database.open().await.close().await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
        for samples in ["0001_directory.sql", "0002_schemas.sql", "0004_rules.sql", "0005_pull.sql", "0006_audit.sql", "0009_directory.sql"] {
            execute(&database, fs::read_to_string(folder.join(samples)).unwrap()).await;
        }
        let store = database.open().await;
        let mut tx = store.read().await.unwrap();
        let instance = "01900000-0000-7000-8000-000000000002".parse().unwrap();
        let order = query::Order::default();
        let page = || query::Page { order, after: None, offset: 0, limit: 10 };
        let all = query::Narrow::All(Vec::new());
        let viewer = query::Viewer::Administrator;
        let (accounts, groups) = (accounts::TABLE, groups::TABLE);
        let accounts: Vec<Account> =
            query::page(&mut tx, &accounts, instance, viewer, &all, page()).await.unwrap();
        let groups: Vec<Group> =
            query::page(&mut tx, &groups, instance, viewer, &all, page()).await.unwrap();
        let names: Vec<_> = accounts.iter().map(|account| account.user_name.as_str()).collect();
        assert_eq!(names, ["ann@example.com"]);
        assert_eq!(groups.len(), 1);
        assert_eq!(scimd::store::signing::list(&mut tx).await.unwrap().len(), 1);
        let schemas = scimd::store::schemas::of_instance(&mut tx, instance).await.unwrap();
        assert!(schemas.user.extension("urn:example:2.0:User").is_some());
        assert!(schemas.user.attribute("password").is_none());
    }

    /// As when a request is cut off by its time limit in the middle of its work.
    async fn a_transaction_that_is_dropped_leaves_nothing_and_hinders_nobody(database) {
        let store = database.open().await;
        let tenant = |name: &str| scimd::store::tenants::Tenant {
            id: scimd::directory::TenantId(scimd::clock::Ids.fresh()),
            name: name.to_owned(),
            created_at: scimd::directory::Timestamp(0),
        };
        for _ in 0..3 {
            let mut tx = store.begin().await.unwrap();
            scimd::store::tenants::insert(&mut tx, &tenant("Example"), "example").await.unwrap();
            drop(tx);
        }
        let mut tx = store.begin().await.unwrap();
        scimd::store::tenants::insert(&mut tx, &tenant("Example"), "example").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        assert_eq!(scimd::store::tenants::list(&mut tx).await.unwrap().len(), 1);
    }

    /// What is acknowledged is on the disk: a power cut is not tested, the settings are.
    async fn commits_are_synchronous(database) {
        struct Setting(String);
        impl Record for Setting {
            fn read(row: &Row<'_>) -> Result<Self, StoreError> {
                let number = row.get::<i64>("synchronous").map(|number| number.to_string());
                number.or_else(|_| row.get("synchronous_commit")).map(Self)
            }
        }
        let store = database.open().await;
        let (question, answer) = if database.is_postgres() {
            ("SHOW synchronous_commit", "on")
        } else {
            ("PRAGMA synchronous", "2")
        };
        let mut tx = store.begin().await.unwrap();
        let found: Option<Setting> = tx.fetch_optional(Sql::new(question)).await.unwrap();
        assert_eq!(found.unwrap().0, answer);
    }

    async fn every_statement_can_be_prepared(database) {
        database.open().await.close().await;
        let mut checked = 0;
        for (file, statement) in statements() {
            // What only PostgreSQL has, and only PostgreSQL is asked.
            let only_postgres = statement.starts_with("LOCK ") || statement.contains("pg_");
            if only_postgres && !database.is_postgres() {
                continue;
            }
            let complete = complete(&statement);
            let prepared = if database.is_postgres() {
                let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
                link.prepare(AssertSqlSafe(complete.clone()).into_sql_str()).await.map(drop)
            } else {
                let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
                link.prepare(AssertSqlSafe(complete.clone()).into_sql_str()).await.map(drop)
            };
            assert!(prepared.is_ok(), "{file}: {complete}: {prepared:?}");
            checked += 1;
        }
        assert!(checked > 30, "only {checked} statements were found");
    }
}

/// Every statement that a source of the store holds. A literal is a statement that is complete by
/// itself, or ends where a list follows.
fn statements() -> Vec<(String, String)> {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let folders = [store.clone(), store.join("audit"), store.join("waist")];
    let within = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    // The writer has words for SQLite alone, without a row in them.
    let read = |path: &Path| path.is_file() && !path.ends_with("writer.rs");
    let mut found = Vec::new();
    for path in within.map(|entry| entry.unwrap().path()).filter(|path| read(path)) {
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap();
        let file = path.file_name().unwrap().to_str().unwrap();
        let before = found.len();
        for literal in literals(code) {
            let word = literal.split(' ').next().unwrap_or_default();
            let words =
                ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "LOCK", "SAVEPOINT", "RELEASE"];
            if words.contains(&word) || literal.starts_with("ROLLBACK TO ") {
                found.push((file.to_owned(), literal));
            }
        }
        let elsewhere = ["Sql::new(table.", "Sql::new(TABLE."];
        let elsewhere: usize = elsewhere.iter().map(|start| code.matches(start).count()).sum();
        let written = code.matches("Sql::new(").count() - elsewhere;
        if !matches!(file, "sql.rs" | "accounts.rs" | "groups.rs") {
            assert_eq!(found.len() - before, written, "a statement of {file} was not found");
        }
    }
    found
}

/// The string literals of a source, outside comments, with their line continuations undone.
fn literals(code: &str) -> Vec<String> {
    let code: Vec<&str> =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find('"') {
        let tail = &rest[start + 1..];
        let end = tail.find('"').unwrap();
        let pieces: Vec<&str> = tail[..end].split("\\\n").collect();
        let text: Vec<&str> = std::iter::once(pieces[0])
            .chain(pieces[1..].iter().map(|piece| piece.trim_start()))
            .collect();
        found.push(text.concat());
        rest = &tail[end + 1..];
    }
    found
}

/// A statement with something in the place of the list that follows it.
fn complete(statement: &str) -> String {
    if statement.starts_with("WITH ")
        && (statement.ends_with(" IN ") || statement.ends_with("(VALUES "))
    {
        let columns = statement.split_once(')').unwrap().0.matches(',').count() + 1;
        let columns = if statement.ends_with(" IN ") { 1 } else { columns };
        return format!("{statement}({})) SELECT 1", vec!["NULL"; columns].join(", "));
    }
    if let Some(columns) = statement.strip_suffix(" VALUES ") {
        let list = columns.rsplit_once('(').unwrap().1;
        let nulls = vec!["NULL"; list.split(',').count()].join(", ");
        return format!("{statement}({nulls})");
    }
    if statement.ends_with(" IN ") { format!("{statement}(NULL)") } else { statement.to_owned() }
}

async fn execute(database: &Database, script: String) {
    if database.is_postgres() {
        let script = script.replace("X'41'", "'\\x41'").replace("X'", "'");
        let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
        link.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
    } else {
        let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        link.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
    }
}

/// The columns of bytes that are no ids.
const BYTES: &[&str] = &["content", "salt", "said", "hash"];

async fn sqlite_schema(database: &Database) -> Schema {
    let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
    let query = "SELECT m.name AS t, c.name AS c, c.type AS k, c.\"notnull\" AS n FROM sqlite_master m \
                 JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name <> '_sqlx_migrations'";
    let mut schema = Schema::new();
    for row in sqlx::query(query).fetch_all(&mut link).await.unwrap() {
        let (table, column): (String, String) = (row.get("t"), row.get("c"));
        let kind = match row.get::<String, _>("k").as_str() {
            "BLOB" if BYTES.contains(&column.as_str()) => "bytes",
            "BLOB" => "id",
            "INTEGER" => "number",
            "TEXT" => "text",
            other => panic!("{table}.{column} is {other}"),
        };
        let nullable = row.get::<i64, _>("n") == 0;
        schema.entry(table).or_default().insert(column, (kind.to_owned(), nullable));
    }
    schema
}

async fn postgres_schema(database: &Database) -> Schema {
    let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let query = "SELECT table_name::text AS t, column_name::text AS c, data_type::text AS k, \
                 is_nullable = 'YES' AS n FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'";
    let mut schema = Schema::new();
    for row in sqlx::query(query).fetch_all(&mut link).await.unwrap() {
        let (table, column): (String, String) = (row.get("t"), row.get("c"));
        let kind = match row.get::<String, _>("k").as_str() {
            "uuid" => "id",
            "bytea" => "bytes",
            "bigint" | "boolean" => "number",
            "text" => "text",
            other => panic!("{table}.{column} is {other}"),
        };
        schema.entry(table).or_default().insert(column, (kind.to_owned(), row.get("n")));
    }
    schema
}

/// Every primary key and index: its table, whether it is unique, its columns.
type Keys = BTreeSet<(String, bool, String)>;

async fn sqlite_keys(database: &Database) -> Keys {
    let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
    let query = "SELECT m.name AS t, i.\"unique\" = 1 AS u, (SELECT group_concat(name, ', ') FROM \
                 (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) AS c \
                 FROM sqlite_master m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' \
                 AND m.name <> '_sqlx_migrations'";
    let rows = sqlx::query(query).fetch_all(&mut link).await.unwrap();
    rows.iter().map(|row| (row.get("t"), row.get("u"), row.get("c"))).collect()
}

async fn postgres_keys(database: &Database) -> Keys {
    let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let query = "SELECT t.relname::text AS t, i.indisunique AS u, (SELECT string_agg(a.attname, ', ' \
                 ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k (c, n) JOIN pg_attribute a \
                 ON a.attrelid = t.oid AND a.attnum = k.c) AS c FROM pg_index i \
                 JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace s ON s.oid = t.relnamespace \
                 WHERE s.nspname = current_schema() AND t.relname <> '_sqlx_migrations'";
    let rows = sqlx::query(query).fetch_all(&mut link).await.unwrap();
    rows.iter().map(|row| (row.get("t"), row.get("u"), row.get("c"))).collect()
}
