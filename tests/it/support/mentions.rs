//! Which rows of a database name an id, whatever tables it has.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::Database;
use super::rules::literal;

/// What says what was: the audit trail, the reports of runs, the request log.
const HISTORY: &[&str] = &["audit_events", "exchanges", "run_items"];

/// How many rows name an id in which column, outside of what is history.
pub(crate) async fn mentions(database: &Database, id: &str) -> BTreeMap<String, i64> {
    let columns = if database.is_postgres() {
        "SELECT CAST(table_name AS TEXT) AS t, CAST(column_name AS TEXT) AS c \
         FROM information_schema.columns WHERE table_schema = current_schema() \
         AND data_type = 'uuid'"
    } else {
        "SELECT m.name AS t, c.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND c.type = 'BLOB'"
    };
    let id = literal(database, id);
    let count = |(table, column): (String, String)| {
        format!(
            "SELECT '{table}.{column}' AS place, COUNT(*) AS n FROM {table} WHERE {column} = {id}"
        )
    };
    let places = pairs(database, columns.to_owned(), ["t", "c"]).await;
    let counts = places.into_iter().filter(|(table, _)| !HISTORY.contains(&table.as_str()));
    let counts: Vec<String> = counts.map(count).collect();
    let sql = format!(
        "SELECT place, CAST(n AS TEXT) AS n FROM ({}) AS places WHERE n > 0",
        counts.join(" UNION ALL ")
    );
    let rows = pairs(database, sql, ["place", "n"]).await;
    rows.into_iter().map(|(place, rows)| (place, rows.parse().unwrap())).collect()
}

/// Two columns of texts of all rows.
async fn pairs(database: &Database, sql: String, columns: [&str; 2]) -> Vec<(String, String)> {
    let [one, other] = columns;
    let sql = AssertSqlSafe(sql);
    if database.is_postgres() {
        let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut link).await.unwrap();
        rows.iter().map(|row| (row.get(one), row.get(other))).collect()
    } else {
        let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut link).await.unwrap();
        rows.iter().map(|row| (row.get(one), row.get(other))).collect()
    }
}
