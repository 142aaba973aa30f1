//! A fresh database for each test, on SQLite and on PostgreSQL.

use std::io::Write as _;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use scimd::store::Store;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// A database that is there for one test.
pub(crate) struct Database {
    /// Its address, which another process can use too.
    pub(crate) url: String,
    /// The folder of a SQLite database; a server may keep its data there too.
    pub(crate) folder: TempDir,
}

impl Database {
    /// On SQLite.
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("scimd.db").display());
        Self { url, folder }
    }

    /// On PostgreSQL, in a schema of its own; `None` where there is none to test on.
    pub(crate) async fn postgres() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = environment("TEST_POSTGRES_URL") else {
            assert!(
                environment("TEST_POSTGRES_REQUIRED").is_none(),
                "TEST_POSTGRES_REQUIRED is set, but TEST_POSTGRES_URL names no database"
            );
            say_what_is_left_out();
            return None;
        };
        let schema = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        admin.execute(sqlx::query(create)).await.unwrap();
        admin.close().await.unwrap();
        let glue = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{glue}options=-csearch_path%3D{schema}");
        Some(Self { url, folder: TempDir::new().unwrap() })
    }

    /// The address of the hot standby of a PostgreSQL database, where it appears a moment later.
    pub(crate) fn standby_url(&self) -> String {
        let standby = environment("TEST_POSTGRES_STANDBY_URL");
        let standby = standby.unwrap_or_else(|| {
            panic!("TEST_POSTGRES_STANDBY_URL is not set: tests/with-postgres starts a standby")
        });
        let schema = self.url.rsplit_once("options=").unwrap().1;
        let glue = if standby.contains('?') { '&' } else { '?' };
        format!("{standby}{glue}options={schema}")
    }

    /// Opens it, as a process of its own would.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url, 8).await.unwrap()
    }

    /// All that the database holds, as text: what is looked for there must not be found.
    pub(crate) async fn raw_text(&self) -> String {
        if !self.is_postgres() {
            let files = std::fs::read_dir(self.folder.path()).unwrap();
            let bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
            return bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        }
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let tables = "SELECT CAST(tablename AS TEXT) FROM pg_tables \
                      WHERE schemaname = current_schema()";
        let tables: Vec<String> =
            sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut all = String::new();
        for table in tables {
            let rows = sqlx::AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM {table} t"));
            let rows: Vec<String> =
                sqlx::query_scalar(rows).fetch_all(&mut connection).await.unwrap();
            all.push_str(&rows.join("\n"));
        }
        all
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }
}

/// A variable of the environment that steers the tests.
#[expect(clippy::disallowed_methods, reason = "tests are configured by the environment alone")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says so on the terminal itself: the test harness would swallow `eprintln!`.
fn say_what_is_left_out() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let note = "\nnote: the PostgreSQL half of the tests is left out, because \
                    TEST_POSTGRES_URL is not set; `make test` runs all of them\n\n";
        std::io::stderr().write_all(note.as_bytes()).unwrap();
    });
}

/// Declares tests once and runs each on both databases.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($database:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(clippy::allow_attributes, unused_imports, reason = "not every test names all")]
            use super::*;

            async fn body($database: $crate::support::Database) $body

            #[tokio::test]
            async fn sqlite() {
                body($crate::support::Database::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(database) = $crate::support::Database::postgres().await {
                    body(database).await;
                }
            }
        }
    )*};
}
pub(crate) use both;
