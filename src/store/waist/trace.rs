//! Statements as they are logged.

use crate::store::Sql;

/// The log line of one statement, at trace level: its text, never its values.
pub(super) struct Trace(Option<String>);

impl Trace {
    pub(super) fn of(sql: &Sql) -> Self {
        let wanted = tracing::enabled!(target: "scimd::statement", tracing::Level::TRACE);
        Self(wanted.then(|| sql.text().to_owned()))
    }

    pub(super) fn done(self, rows: u64) {
        if let Some(sql) = self.0 {
            tracing::trace!(target: "scimd::statement", sql, rows);
        }
    }
}
