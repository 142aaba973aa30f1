//! What the drivers answer, in the words of both.

use crate::store::row::Row;

/// What a driver answers, without the driver.
pub(super) trait IntoEither<T> {
    fn into_either(self) -> T;
}

impl IntoEither<u64> for sqlx::sqlite::SqliteQueryResult {
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither<u64> for sqlx::postgres::PgQueryResult {
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither<Option<Row>> for Option<sqlx::sqlite::SqliteRow> {
    fn into_either(self) -> Option<Row> {
        self.map(Row::Sqlite)
    }
}

impl IntoEither<Option<Row>> for Option<sqlx::postgres::PgRow> {
    fn into_either(self) -> Option<Row> {
        self.map(Row::Postgres)
    }
}

impl IntoEither<Vec<Row>> for Vec<sqlx::sqlite::SqliteRow> {
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Sqlite).collect()
    }
}

impl IntoEither<Vec<Row>> for Vec<sqlx::postgres::PgRow> {
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Postgres).collect()
    }
}
