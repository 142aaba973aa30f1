//! Which statements the store runs, as it traces them.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One statement: its text, and the rows that it read or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) rows: u64,
}

/// Records the statements of this thread until it is dropped.
pub(crate) struct Recorder {
    seen: Arc<Mutex<Vec<Statement>>>,
    _guard: DefaultGuard,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let seen: Arc<Mutex<Vec<Statement>>> = Arc::default();
        let listener = Listener(Arc::clone(&seen));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(listener));
        Self { seen, _guard: guard }
    }

    /// The statements since the last time.
    pub(crate) fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

struct Listener(Arc<Mutex<Vec<Statement>>>);

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "scimd::statement" {
            let mut statement = Statement::default();
            event.record(&mut statement);
            // A mark in a transaction reads no rows and has no plan; whether the key was read within this second
            // is not up to the request.
            let is_of_request = !statement.sql.contains("FROM api_keys");
            if is_of_request && !statement.sql.ends_with("SAVEPOINT scimd") {
                self.0.lock().unwrap().push(statement);
            }
        }
    }
}

impl Visit for Statement {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows" {
            self.rows = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            value.clone_into(&mut self.sql);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
